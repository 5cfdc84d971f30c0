"""Closed shoes: an upper and a sole, lofted along the foot."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import CANVAS, HIDDEN_DEPTH, LEATHER, RUBBER, SMOOTH_LEATHER, Figure
from models.body.wardrobe.mesh import cut_along, grid_faces, take_faces, unit
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part, separate
from models.body.wardrobe.shell import Shell, hem_in
from models.body.wardrobe.spec import Shoes, linear

#: Share of the foot beyond which it cannot be seen through the opening for the leg.
_OPENING_ENDS = 0.66
_STATIONS, _AROUND = 29, 30
#: Length of a station's half window along the foot, as a share of its length.
_WINDOW = 0.06


class Foot:
    """A foot measured along its length: 0 heel, 1 toe tip."""

    def __init__(self, body: Anatomy, side: str) -> None:
        sign = 1 if side == "L" else -1
        weight = body.bone_weight(f"foot.{side}", "toe")
        mine = (weight > 0.35) & (body.points[:, 0] * sign > 0)
        self.points = body.points[mine]
        self.ground = body.ground
        low = self.points[self.points[:, 2] < self.ground + 0.05]
        heel = low[low[:, 1] > np.quantile(low[:, 1], 0.85)].mean(axis=0)
        toes = low[low[:, 1] < np.quantile(low[:, 1], 0.15)].mean(axis=0)
        self.forward = unit(np.array([toes[0] - heel[0], toes[1] - heel[1], 0.0]))
        self.across = np.array([-self.forward[1], self.forward[0], 0.0])
        along = low @ self.forward
        self.start, self.length = along.min(), np.ptp(along)
        self.ankle = body.joints[f"foot.{side}"]
        self.inner = -sign * np.sign(self.across[0])

    def place(self, t: np.ndarray, across: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Points from share along the foot, metres across and height."""
        base = (self.start + t * self.length)[..., None] * self.forward + across[..., None] * self.across
        return base + z[..., None] * np.array([0.0, 0.0, 1.0])

    def extents(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left edge, right edge and height over the ground of the foot at each station, smoothed."""
        share = (self.points @ self.forward - self.start) / self.length
        across = self.points @ self.across
        left, right, top = [], [], []
        for value in np.clip(t, 0.02, 0.98):
            near = np.abs(share - value) < _WINDOW
            low = near & (self.points[:, 2] < self.ground + 0.065)
            left.append(across[low].min())
            right.append(across[low].max())
            top.append(self.points[near, 2].max() - self.ground)
        kernel = np.array([1, 3, 4, 3, 1]) / 12
        return tuple(np.convolve(np.pad(v, 2, "edge"), kernel, "valid") for v in (left, right, top))  # type: ignore[return-value]


def make_shoes(figure: Figure, shoes: Shoes) -> None:
    """Put a pair of shoes on ``figure``."""
    body = figure.body
    parts = [part for side in "LR" for part in _shoe(body, side, shoes)]
    depth = np.where(body.leg_weight > 0.3, body.ground + 0.04 + HIDDEN_DEPTH - body.points[:, 2], -1.0)
    for side, mine in (("L", body.points[:, 0] > 0), ("R", body.points[:, 0] < 0)):
        foot = Foot(body, side)
        # The instep is seen through the opening: only what lies ahead of it is hidden.
        ahead = body.points @ foot.forward - foot.start - _OPENING_ENDS * foot.length + HIDDEN_DEPTH
        low = mine & (body.points[:, 2] < body.ground + 0.12)
        depth = np.where(low, np.maximum(depth, ahead), depth)
    figure.wear(parts, depth)


def opening_end(shoes: Shoes) -> float:
    """Share of the foot at which the opening for the leg ends."""
    return 0.50 if shoes.laces else 0.60 - 0.12 * min(2 * shoes.collar, 1)


def vamp_height(top: np.ndarray) -> np.ndarray:
    """Metres over the ground of the upper where it lies on a foot of height ``top`` (S,)."""
    return np.minimum(top + 0.008, 0.105)


def _upper_height(t: np.ndarray, top: np.ndarray, shoes: Shoes) -> np.ndarray:
    """Height of the upper at each station, before the opening is cut out."""
    collar = 0.074 + 0.05 * shoes.collar + 0.006 * np.exp(-((t / 0.1) ** 2))
    instep = smoothstep(t, 0.36, opening_end(shoes) - 0.02)
    height = (1 - instep) * collar + instep * vamp_height(top)
    front = np.clip((t - 0.80) / 0.22, 0, 1)
    toe_box = 0.020 + 0.032 * np.sqrt(np.clip(1 - front**2, 0, 1))
    height = np.where(t > 0.72, np.minimum(height, np.maximum(toe_box, 0.012)), height)
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    return np.convolve(np.pad(height, 2, "edge"), kernel, "valid")


def _shoe(body: Anatomy, side: str, shoes: Shoes) -> list[Part]:
    foot = Foot(body, side)
    t = -0.035 + 1.085 * (1 - np.cos(np.linspace(0, np.pi, _STATIONS))) / 2
    left, right, top = foot.extents(t)
    ends = np.sqrt(np.clip(1 - np.clip((t - 0.80) / 0.25, 0, 1) ** 2.2, 0, 1)) * np.sqrt(
        np.clip(1 - np.clip((0.13 - t) / 0.165, 0, 1) ** 2.2, 0, 1)
    )
    middle = (left + right) / 2
    bend = smoothstep(t, 0.72, 1.05) * 0.006 * foot.inner
    half = ((right - left) / 2 + 0.006) * ends + 1e-5
    height = _upper_height(t, top, shoes)
    spring = 0.010 * smoothstep(t, 0.75, 1.05) ** 1.5 + 0.003 * smoothstep(t, 0.05, -0.04)
    sole = shoes.thickness * (0.72 + 0.28 * smoothstep(t, 0.55, 0.1))
    lowered = sole - 0.012
    upper = _upper(foot, t, middle + bend, half, height, spring + 0.012, body, shoes)
    base = _sole(foot, t, middle + bend, half, spring - lowered - 0.0, sole + 0.002, body, shoes)
    parts = [upper, base]
    if shoes.laces:
        parts.append(_tongue(foot, t, middle + bend, height, top, body, shoes))
        parts.append(_laces(foot, t, middle + bend, half, height, body, shoes))
    return parts


def _skinned(points: np.ndarray, body: Anatomy, side_points: np.ndarray) -> sparse.csr_matrix:
    """(V, B) weights from the nearest foot skin, blended over a few neighbours."""
    feet = np.flatnonzero(body.bone_weight("foot", "toe") > 0.35)
    distance, index = cKDTree(body.points[feet]).query(points, k=12)
    share = 1 / (distance + 0.01) ** 2
    share /= share.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), 12)
    mix = sparse.csr_matrix((share.ravel(), (rows, feet[index].ravel())), shape=(len(points), len(body)))
    return (mix @ body.weights).tocsr()


def _upper(
    foot: Foot, t: np.ndarray, middle: np.ndarray, half: np.ndarray, height: np.ndarray, floor: np.ndarray,
    body: Anatomy, shoes: Shoes,
) -> Part:  # fmt: skip
    """The upper: each section rises from the sole over the foot; the opening for the leg is cut out of that."""
    phi = np.linspace(0, np.pi, _AROUND)
    cosine, sine = np.cos(phi)[None], np.sin(phi)[None]
    boxy = 0.62
    bulge = 1 + 0.05 * np.sin(2 * phi[None]) ** 2
    across = half[:, None] * np.sign(cosine) * np.abs(cosine) ** boxy * bulge
    rise = np.maximum(height - floor, 0.002)[:, None]
    z = foot.ground + floor[:, None] + rise * sine ** (0.30 + 0.36 * smoothstep(t, 0.3, 0.5)[:, None])
    across = across * (1 - 0.16 * smoothstep(height, 0.06, 0.1)[:, None] * sine**3)
    along = np.repeat(t[:, None], _AROUND, 1)
    points = foot.place(along, middle[:, None] + across, z).reshape(-1, 3)
    faces = _outward(grid_faces(_STATIONS, _AROUND, False), points, points.mean(axis=0))
    # Square at the heel, narrower towards the toes.
    begin, end = -0.020, opening_end(shoes)
    centre, reach = (begin + end) / 2, (end - begin) / 2
    place = (along - centre) / reach
    widest = np.minimum(0.90 * half, 0.88 * np.interp(0.2, t, half))[:, None] + 1e-4
    square = np.where(place < 0, np.abs(place) ** 5, np.abs(place) ** 2)
    field = (square + (across / (widest * (1 - 0.35 * np.clip(place, 0, 1) ** 2))) ** 2 - 1).ravel()
    near_toe, near_heel = (along - 0.83).ravel(), (along - 0.11).ravel()
    faces, matrix, outside = cut_along(faces, field)
    faces, picked = take_faces(faces, outside, matrix.shape[0])
    matrix = (picked @ matrix).tocsr()
    for line in (near_toe, near_heel):
        faces, more, _ = cut_along(faces, matrix @ line, 0.03)
        matrix = (more @ matrix).tocsr()
    shell = Shell(sparse.csr_matrix((matrix.shape[0], len(body))), faces, matrix @ points, np.zeros(len(faces), int))
    points, faces, origin, parents = hem_in(shell, 0.022, 0.0028, np.abs(matrix @ field) < 1e-6)
    _line(foot, points, origin, len(shell.points), middle, t)
    inner = np.arange(len(points)) >= len(shell.points)
    toe, heel = ((matrix @ line)[shell.faces].mean(axis=1) for line in (near_toe, near_heel))
    faces, pick, label = separate(faces, ((toe > 0) | (heel < 0)).astype(int)[parents], len(points))
    main = linear(shoes.color)
    second = linear(shoes.trim) if shoes.trim else main * 0.86
    albedo = np.stack([main, second])[label]
    albedo[np.asarray(pick @ inner.astype(float)) > 0.5] *= 0.55
    surfaces = (LEATHER, SMOOTH_LEATHER) if shoes.leather else (CANVAS, SMOOTH_LEATHER)
    points = pick @ points
    return Part(points, faces, _skinned(points, body, foot.points), albedo, surfaces, label.astype(int))


def _line(foot: Foot, points: np.ndarray, origin: np.ndarray, count: int, middle: np.ndarray, t: np.ndarray) -> None:
    """Let the two rows behind the edge of the opening, which follow the first ``count`` points, hang down into the shoe."""
    rows = (len(points) - count) // 2
    edge = points[origin[count : count + rows]]
    share = np.clip((edge @ foot.forward - foot.start) / foot.length, 0.12, 0.40)
    axis = foot.place(share, np.interp(share, t, middle), edge[:, 2])
    inward = unit(axis - edge)
    points[count : count + rows] = edge + 0.0034 * inward + [0.0, 0.0, 0.0006]
    points[count + rows :] = edge + 0.0044 * inward - [0.0, 0.0, 0.022]


def _tongue(
    foot: Foot, t: np.ndarray, middle: np.ndarray, height: np.ndarray, top: np.ndarray, body: Anatomy, shoes: Shoes
) -> Part:
    """The tongue: it comes out from under the laces and lies on the instep."""
    end = opening_end(shoes)
    place = np.linspace(end + 0.07, end - 0.075, 9)
    m = np.interp(place, t, middle)
    lying, instep = np.interp(place, t, height) - 0.0015, np.interp(place, t, vamp_height(top)) + 0.001
    up = foot.ground + np.where(
        place > end, lying, np.maximum(instep, np.interp(end, t, height) + 0.16 * (end - place))
    )
    across = np.array([-1.0, -0.97, -0.5, 0.0, 0.5, 0.97, 1.0])
    wide = 0.023 * np.sqrt(np.clip((place - place[-1]) / 0.02 + 0.35, 0, 1))
    z = up[:, None] - 0.010 * across**2 - np.array([0.006, 0, 0, 0, 0, 0, 0.006])
    points = foot.place(np.repeat(place[:, None], len(across), 1), m[:, None] + wide[:, None] * across, z)
    points = points.reshape(-1, 3)
    faces = grid_faces(len(place), len(across), False)
    a, b, c = points[faces].transpose(1, 0, 2)
    if np.cross(b - a, c - a)[:, 2].sum() < 0:
        faces = faces[:, ::-1]
    color = np.tile((linear(shoes.trim) if shoes.trim else linear(shoes.color)) * 0.9, (len(points), 1))
    cloth = LEATHER if shoes.leather else CANVAS
    return Part(points, faces, _skinned(points, body, foot.points), color, (cloth,), np.zeros(len(points), int))


def _outward(faces: np.ndarray, points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Turn all faces round if most of them look towards ``center``."""
    a, b, c = points[faces].transpose(1, 0, 2)
    facing = (np.cross(b - a, c - a) * (a - center)).sum()
    return faces if facing > 0 else faces[:, ::-1]


def _sole(
    foot: Foot, t: np.ndarray, middle: np.ndarray, half: np.ndarray, bottom: np.ndarray, thickness: np.ndarray,
    body: Anatomy, shoes: Shoes,
) -> Part:  # fmt: skip
    """A slab under the upper, a little wider than it, with rounded edges."""
    path = [(0.0, 0.0), (0.86, 0.0), (0.99, 0.14), (1.0, 0.5), (0.985, 0.92), (0.93, 1.0), (0.6, 1.0)]
    outline = [*path, *[(-x, z) for x, z in reversed(path)]]
    wide = half + 0.0045 * np.minimum(1, half / 0.01)
    across = np.stack([middle + x * wide for x, _ in outline], axis=1)
    z = np.stack([foot.ground + bottom + h * thickness for _, h in outline], axis=1)
    grown = (t - 0.5) * 1.012 + 0.5
    points = foot.place(np.repeat(grown[:, None], len(outline), 1), across, z).reshape(-1, 3)
    faces = _outward(grid_faces(_STATIONS, len(outline), True), points, points.mean(axis=0))
    color = np.tile(linear(shoes.sole), (len(points), 1))
    level = np.tile([h for _, h in outline], _STATIONS)
    color[level < 0.1] *= 0.45
    return Part(points, faces, _skinned(points, body, foot.points), color, (RUBBER,), np.zeros(len(points), int))


def _laces(
    foot: Foot, t: np.ndarray, middle: np.ndarray, half: np.ndarray, height: np.ndarray, body: Anatomy, shoes: Shoes
) -> Part:
    """Flat bars across the instep."""
    rows, bars = [], []
    for number, place in enumerate(np.linspace(0.525, 0.70, 5)):
        m, h, w = (float(np.interp(place, t, values)) for values in (middle, height, half))
        x = np.linspace(-0.5, 0.5, 7) * min(0.042, w)
        drop = 0.25 * h * (np.abs(x) / max(w, 1e-3)) ** 2.2
        z = foot.ground + h + 0.0014 - drop
        for edge in (-0.011, 0.011):
            slope = np.interp(place + edge, t, height) - h
            rows.append(foot.place(np.full(7, place + edge), m + x, z + slope))
        bars.append(grid_faces(2, 7, False) + number * 14)
    points, faces = np.concatenate(rows), np.concatenate(bars)
    a, b, c = points[faces].transpose(1, 0, 2)
    if np.cross(b - a, c - a)[:, 2].sum() < 0:
        faces = faces[:, ::-1]
    color = np.tile(linear(shoes.laces or shoes.color), (len(points), 1))
    return Part(points, faces, _skinned(points, body, foot.points), color, (CANVAS,), np.zeros(len(points), int))
