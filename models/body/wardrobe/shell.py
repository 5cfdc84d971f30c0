"""Cloth as a shell over the body: cut out of its surface, stretched over its hollows, hung, folded, hemmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy, Limb
from models.body.wardrobe.mesh import (
    Matrix,
    boundary_edges,
    cut_along,
    halve,
    neighbours,
    refine,
    smooth,
    take_faces,
    unit,
    vertex_normals,
)  # fmt: skip
from models.body.wardrobe.noise import noise, smoothstep

#: Lines of ``divide`` that ``Shell.panel`` keeps account of.
_PANEL_BITS = 8


@dataclass
class Shell:
    """A piece of cloth being made."""

    source: Matrix
    """(V, N) each vertex as a convex combination of the N body vertices."""
    faces: np.ndarray
    """(F, 3)."""
    points: np.ndarray
    """(V, 3) metres."""
    panel: np.ndarray
    """(F,) int: on which side of the first eight lines of :func:`divide` a face lies, one bit a line (1 = positive)."""

    def of(self, values: np.ndarray) -> np.ndarray:
        """A field over the body ((N,) or (N, C)), on the cloth."""
        return self.source @ values

    @property
    def normals(self) -> np.ndarray:
        """(V, 3) unit normals."""
        return vertex_normals(self.points, self.faces)


def cut(
    body: Anatomy,
    where: np.ndarray,
    limits: Sequence[np.ndarray],
    longest: float = 0.032,
    fine: np.ndarray | None = None,
) -> Shell:
    """Cut the cloth out of the body.

    Parameters
    ----------
    where:
        (F,) bool, faces that may be used at all.
    limits:
        Fields (N,) over the body; the cloth lies where all are positive and ends exactly on their zero lines.
    longest:
        Metres: longer edges are halved.
    fine:
        (N,) bool, body vertices round which edges may be only half as long: narrow pieces.
    """
    inside = where & np.all([(field[body.faces] > 0).any(axis=1) for field in limits], axis=0)
    faces, source = take_faces(body.faces, inside, len(body))
    faces, matrix = refine(faces, source @ body.points, longest)
    source = matrix @ source
    if fine is not None:
        narrow = (source @ np.asarray(fine, float) > 0.3)[faces].any(axis=1)
        faces, matrix, _ = halve(faces, source @ body.points, narrow, longest / 2)
        source = matrix @ source
    for field in limits:
        faces, matrix, positive = cut_along(faces, source @ field)
        source = matrix @ source
        faces, matrix = take_faces(faces, positive, source.shape[0])
        source = matrix @ source
    source = source.tocsr()
    return Shell(source, faces, source @ body.points, np.zeros(len(faces), int))


def divide(shell: Shell, lines: Sequence[np.ndarray]) -> Matrix:
    """Make the zero lines of fields over the finished cloth into edges of its mesh, so that colours change sharply there.

    Done last: what shapes cloth moves its vertices along it too, and a line that was drawn before would come out ragged.
    The shape stays. ``lines`` are (V,) fields. Sets ``shell.panel``. Returns the matrix that takes other fields along.
    """
    count = len(shell.points)
    total: Matrix = sparse.identity(count, format="csr")
    for line in lines:
        faces, matrix, _ = cut_along(shell.faces, total @ line, snap=0.03)
        total = (matrix @ total).tocsr()
        shell.faces = faces
    shell.points = total @ shell.points
    shell.source = (total @ shell.source).tocsr()
    shell.panel = np.zeros(len(shell.faces), int)
    for bit, line in enumerate(lines[:_PANEL_BITS]):
        shell.panel |= ((total @ line)[shell.faces].mean(axis=1) > 0).astype(int) << bit
    return total


def edge_distance(shell: Shell, field: np.ndarray) -> np.ndarray:
    """(V,) metres from the opening where ``field`` (N,), over the body, is zero; 1 where there is no such opening."""
    rim, _ = boundary_edges(shell.faces)
    rim = rim[(np.abs(shell.of(field))[rim] < 1e-4).all(axis=1)]
    if len(rim) == 0:
        return np.ones(len(shell.points))
    a, b = shell.points[rim].transpose(1, 0, 2)
    dense = np.concatenate([a + t * (b - a) for t in (0.0, 0.25, 0.5, 0.75)])
    return np.asarray(cKDTree(dense).query(shell.points)[0])


def stretch(shell: Shell, body: Anatomy, offset: np.ndarray, rounds: int) -> None:
    """Lift the cloth at least ``offset`` (N,) metres off each body vertex and pull it taut over hollows.

    A membrane over an obstacle: neighbours are averaged along the normal, and no vertex may come nearer than its offset.
    Done on the body's own coarse mesh first, where a round reaches far, then on the cloth.
    """
    touched = np.asarray(shell.source.sum(axis=0)).ravel() > 0
    coarse, pick = take_faces(body.faces, touched[body.faces].all(axis=1), len(body))
    mean = neighbours(coarse, pick.shape[0])
    normal = unit(smooth(pick @ body.normals, mean, 8))
    lift = _taut(pick @ body.points, normal, pick @ offset, mean, rounds, pick @ offset)
    spread = pick.T @ lift
    base, least = shell.of(body.points), shell.of(offset)
    mean = open_mean(shell.faces, len(base))
    normal = unit(smooth(shell.of(body.normals), mean, 16))
    lift = _taut(base, normal, least, mean, 24, np.maximum(shell.of(spread), least))
    points = base + lift[:, None] * normal
    shell.points = points + 0.35 * (mean @ points - points)


def _taut(
    base: np.ndarray, normal: np.ndarray, least: np.ndarray, mean: Matrix, rounds: int, lift: np.ndarray
) -> np.ndarray:
    """(V,) lift along ``normal`` of a membrane that starts at ``lift`` and stays at or above ``least``."""
    for _ in range(rounds):
        points = base + lift[:, None] * normal
        pull = ((mean @ points - points) * normal).sum(axis=1)
        lift = np.maximum(lift + 0.7 * pull, least)
    return lift


def open_mean(faces: np.ndarray, count: int) -> Matrix:
    """Neighbour means in which a vertex on an opening sees only its neighbours on the opening: hems stay straight."""
    mean = neighbours(faces, count)
    rim, _ = boundary_edges(faces)
    on_rim = np.zeros(count, bool)
    on_rim[rim.ravel()] = True
    both = np.concatenate([rim, rim[:, ::-1]])
    along = sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count))
    along = sparse.diags(1 / np.maximum(np.asarray(along.sum(axis=1)).ravel(), 1)) @ along
    return (sparse.diags((~on_rim).astype(float)) @ mean + along).tocsr()


def widen(points: np.ndarray, limb: Limb, target: Callable[[np.ndarray], np.ndarray], share: np.ndarray) -> np.ndarray:
    """Push cloth (V, 3) away from a limb's centre line to at least ``target(s)`` metres, as far as ``share`` (V,) says."""
    s = limb.coordinate(points)
    centre, _ = limb.at(s)
    axis = limb.axis(s)
    radial = points - centre
    radial -= (radial * axis).sum(axis=1, keepdims=True) * axis
    radius = np.linalg.norm(radial, axis=1)
    soft = 0.006
    grown = radius + soft * np.logaddexp(0, (target(s) - radius) / soft)
    return points + (share * (grown - radius))[:, None] * unit(radial)


def keep_off(shell: Shell, body: Anatomy, least: np.ndarray) -> None:
    """Push cloth that smoothing has drawn in out again, to ``least`` (N,) metres off the body."""
    base, normal = shell.of(body.points), unit(shell.of(body.normals))
    height = ((shell.points - base) * normal).sum(axis=1)
    shell.points = shell.points + np.maximum(shell.of(least) - height, 0)[:, None] * normal


class Drape:
    """Hangs the lower part of a top from its widest places: cloth falls, it does not follow a hollow back in."""

    ANGLES, ROWS = 72, 48

    def __init__(self, body: Anatomy, points: np.ndarray, top: float, bottom: float) -> None:
        self.top, self.bottom = top, bottom
        inner = (body.arm_weight < 0.2) & (body.points[:, 2] > bottom - 0.05) & (body.points[:, 2] < top + 0.05)
        heights = np.linspace(top, bottom, 12)
        middle = [body.points[inner & (np.abs(body.points[:, 2] - z) < 0.04), 1] for z in heights]
        self.heights = heights[::-1]
        self.middle = np.array([(m.min() + m.max()) / 2 for m in middle])[::-1]
        self.radius = self._map(points)

    def _polar(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        y = points[:, 1] - np.interp(points[:, 2], self.heights, self.middle)
        angle = (np.arctan2(y, points[:, 0]) / (2 * np.pi)) % 1 * self.ANGLES
        row = (self.top - points[:, 2]) / (self.top - self.bottom) * (self.ROWS - 1)
        return angle, row, np.hypot(points[:, 0], y), np.stack([points[:, 0], y], axis=1)

    def _map(self, points: np.ndarray) -> np.ndarray:
        """(ROWS, ANGLES) radius of the cloth."""
        angle, row, radius, _ = self._polar(points)
        total = np.zeros((self.ROWS, self.ANGLES))
        count = np.zeros_like(total)
        inside = (row >= -0.5) & (row <= self.ROWS - 0.5)
        cells = (
            np.rint(row[inside]).astype(int).clip(0, self.ROWS - 1),
            np.rint(angle[inside]).astype(int) % self.ANGLES,
        )
        np.add.at(total, cells, radius[inside])
        np.add.at(count, cells, 1)
        for _ in range(40):
            grown_total, grown_count = total.copy(), count.copy()
            for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
                moved_total, moved_count = np.roll(total, step, axis), np.roll(count, step, axis)
                if axis == 0:
                    moved_total[0 if step == 1 else -1] = moved_count[0 if step == 1 else -1] = 0
                grown_total += 0.02 * moved_total
                grown_count += 0.02 * moved_count
            empty = count == 0
            total, count = np.where(empty, grown_total, total), np.where(empty, grown_count, count)
        return total / np.maximum(count, 1e-9)

    def _convex(self) -> np.ndarray:
        """(ROWS, ANGLES) radius of the cloth, drawn taut round each section: hollows of the front and back are bridged."""
        angle = (np.arange(self.ANGLES) + 0.0) * 2 * np.pi / self.ANGLES
        cosine = np.cos(angle[:, None] - angle[None])
        support = (self.radius[:, :, None] * cosine[None]).max(axis=1)
        reach = np.where(cosine > 0.05, support[:, :, None] / np.maximum(cosine, 0.05)[None], np.inf)
        return reach.min(axis=1)

    def __call__(self, points: np.ndarray, share: np.ndarray, slope: float, flare: float) -> np.ndarray:
        """Hang ``points`` (V, 3).

        ``share`` (V,): how freely each hangs. ``slope``: how fast the cloth may come back in, metres per metre
        (0 falls straight). ``flare``: metres added at the hem.
        """
        step = (self.top - self.bottom) / (self.ROWS - 1)
        hung = self._convex()
        for row in range(1, self.ROWS):
            hung[row] = np.maximum(hung[row], hung[row - 1] - slope * step)
        hung += flare * (np.linspace(0, 1, self.ROWS) ** 1.5)[:, None]
        push = hung - self.radius
        for _ in range(6):
            push = (2 * push + np.roll(push, 1, 1) + np.roll(push, -1, 1)) / 4
            push[1:-1] = (2 * push[1:-1] + push[:-2] + push[2:]) / 4
        angle, place, _, outward = self._polar(points)
        r = np.clip(place, 0, self.ROWS - 1.001)
        r0, a0 = r.astype(int), np.floor(angle).astype(int)
        fr, fa = r - r0, angle - a0
        a0, a1 = a0 % self.ANGLES, (a0 + 1) % self.ANGLES
        move = (1 - fr) * ((1 - fa) * push[r0, a0] + fa * push[r0, a1])
        move += fr * ((1 - fa) * push[r0 + 1, a0] + fa * push[r0 + 1, a1])
        move *= share * smoothstep(place, 0, 4)
        result = points.copy()
        result[:, :2] += move[:, None] * unit(outward)
        return result


def rings(points: np.ndarray, limb: Limb, wave: float, seed: int) -> np.ndarray:
    """(V,) -1..1: folds that run round a limb, ``wave`` metres apart, broken and slanted by noise."""
    s = limb.coordinate(points)
    length = np.linalg.norm(limb.joints[1] - limb.joints[0])
    along = s * length
    drift = noise(points, 0.09, seed) * 1.9 + noise(points, 0.05, seed + 1) * 0.8
    broken = smoothstep(noise(points, 0.07, seed + 2), -0.5, 0.5)
    return np.sin(2 * np.pi * along / wave + 2.2 * drift) * (0.35 + 0.65 * broken)


def creases(points: np.ndarray, direction: np.ndarray, wave: float, seed: int) -> np.ndarray:
    """(V,) -1..1: long folds along ``direction`` (3,), about ``wave`` metres apart."""
    direction = unit(np.asarray(direction, float))
    flat = points - 0.82 * (points @ direction)[:, None] * direction
    field = noise(flat, wave, seed) + 0.5 * noise(flat, wave / 2, seed + 1)
    return np.clip(1.4 * field, -1, 1)


def hem_in(
    shell: Shell, depth: float, thickness: float, where: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fold the openings inwards; only those all of whose vertices are in ``where`` (V,) bool, if it is given.

    Adds two rows behind each open edge: one ``thickness`` inside the cloth, one ``depth`` back along it, so that an
    opening shows the cloth's edge and its lining instead of nothing.

    Returns the points and faces of the hemmed cloth, for each vertex the vertex of the shell that it came from, and for
    each face the face of the shell that it continues.
    """
    rim, owners = boundary_edges(shell.faces)
    if where is not None:
        mine = where[rim].all(axis=1)
        rim, owners = rim[mine], owners[mine]
    count = len(shell.points)
    ring = np.unique(rim)
    where = np.full(count, -1)
    where[ring] = np.arange(len(ring))
    normal = shell.normals[ring]
    inner = np.zeros((len(ring), 3))
    tangent = shell.points[rim[:, 1]] - shell.points[rim[:, 0]]
    face_normal = normal[where[rim[:, 0]]] + normal[where[rim[:, 1]]]
    back = unit(np.cross(face_normal, tangent))
    for end in (0, 1):
        np.add.at(inner, where[rim[:, end]], back)
    inner = unit(inner)
    first = shell.points[ring] - thickness * normal + 0.3 * thickness * inner
    second = shell.points[ring] - (1.6 * thickness + 0.22 * depth) * normal + depth * inner
    a, b = rim.T
    a1, b1 = count + where[a], count + where[b]
    a2, b2 = a1 + len(ring), b1 + len(ring)
    strips = [np.stack(corners, 1) for corners in ((b, a, a1), (b, a1, b1), (b1, a1, a2), (b1, a2, b2))]
    points = np.concatenate([shell.points, first, second])
    faces = np.concatenate([shell.faces, *strips])
    return points, faces, np.r_[np.arange(count), ring, ring], np.r_[np.arange(len(shell.faces)), np.tile(owners, 4)]
