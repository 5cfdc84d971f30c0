"""Hair below the ears, loose or tied: a combed cap and locks that fall from it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy, FaceFrame
from models.body.wardrobe.cloth import COTTON, Figure
from models.body.wardrobe.hair_cap import HAIR, cap, strand_color
from models.body.wardrobe.locks import Obstacle, Paths, fall, hanging_weights, taper, tubes
from models.body.wardrobe.mesh import grid_faces, neighbours, smooth, unit, vertex_normals
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import Scalp, combed, find_scalp, hairline, tangent
from models.body.wardrobe.spec import Hair, LongHair, TiedHair, linear
from models.body.wardrobe.strands import Growth, locks_on, locks_over

#: Size of a sheet of falling hair: strands side by side, points along each.
_COLUMNS, _ROWS = 132, 28
#: Metres along a tail from its knot to its tie.
_TIE = 0.024
#: Columns that fold each edge of a curtain in.
_FOLDED = 2


def _lock_part(paths: Paths, body: Anatomy, hair: Hair, share: np.ndarray, seed: int) -> Part:
    """All locks as one part; ``share`` (M, K) is how much each point follows the trunk."""
    points, faces, strand = tubes(paths)
    locks, steps = paths.points.shape[:2]
    sides = len(points) // (locks * steps)
    random = np.random.default_rng(seed)
    along = np.tile(np.linspace(0.25, 1, steps)[None], (locks, 1))
    each = random.normal(0, 0.8, (locks, 1)) + np.zeros((1, steps))
    color = strand_color(
        hair, np.repeat(along.ravel(), sides), np.repeat(each.ravel(), sides), random.normal(0, 0.7, len(points))
    )
    weights = hanging_weights(points, body, np.repeat(share.ravel(), sides))
    softness = np.repeat(smoothstep(along.ravel(), 0.75, 1.0), sides)
    return Part(points, faces, weights, color, (HAIR,), np.zeros(len(points), int), strand=strand, softness=softness)


def _farthest(points: np.ndarray, count: int, weight: np.ndarray, seed: int) -> np.ndarray:
    """Indices of ``count`` points spread evenly (Poisson-like), more likely where ``weight`` is large."""
    random = np.random.default_rng(seed)
    order = np.argsort(-(weight * random.random(len(points))))
    tree = cKDTree(points)
    radius = 0.6 * np.sqrt(0.06 / max(count, 1))
    while True:
        free, chosen = np.ones(len(points), bool), []
        for index in order:
            if free[index] and weight[index] > 0:
                chosen.append(index)
                free[tree.query_ball_point(points[index], radius)] = False
        if len(chosen) >= count or radius < 1e-3:
            return np.array(chosen[:count])
        radius *= 0.85


def _smooth_flow(scalp: Scalp, flow: np.ndarray) -> np.ndarray:
    flow = smooth(tangent(flow, scalp.normals), neighbours(scalp.faces, len(scalp.points)), 8)
    return tangent(flow + 1e-9, scalp.normals)


def long_hair(figure: Figure, hair: LongHair) -> list[Part]:
    """A bob or long hair, parted, falling in locks."""
    body = figure.body
    face = body.face_frame
    u = face.unit
    scalp = find_scalp(body, hairline(body, 0.0, hair.seed), 0.011)
    part_x = hair.parting * 0.5 * u
    away = scalp.points[:, 0] - part_x
    side = np.tanh(away / (0.12 * u))
    zero = np.zeros(len(side))
    over = np.stack([side, zero + 0.25, zero], axis=1)
    down = np.stack([0.2 * side, zero + 0.25, zero - 1], axis=1)
    flow = _smooth_flow(scalp, scalp.top[:, None] * over + (1 - scalp.top)[:, None] * down)
    grow = smoothstep(scalp.inside, -0.003, 0.03)
    groove = 1 - 0.5 * np.exp(-((away / (0.06 * u)) ** 2)) * scalp.top
    thickness = 0.002 + 0.004 * grow * groove
    thickness = smooth(thickness, neighbours(scalp.faces, len(scalp.points)), 4)
    parts = [cap(body, scalp, hair, thickness, flow, 0.3)]
    curtain = _curtain(figure, hair, scalp, thickness)
    # Not at the roots, whose hairs are one with the parting, nor on the folded edges beside the face.
    rows = len(curtain.points) // (_COLUMNS + 2 * _FOLDED)
    row, column = np.divmod(np.arange(len(curtain.points)), len(curtain.points) // rows)
    free = (row > 1) & (row < 0.75 * rows) & (column > 8) & (column < column.max() - 8)
    flyaways = Growth(70, (0.03, 0.07), 0.0007, (0.003, 0.010), 5, 0.35)
    parts += [curtain, *locks_over(hair, curtain, flyaways, free, hair.seed + 61)]
    if hair.fringe:
        parts.append(_fringe(figure, hair, scalp))
    return parts


def _curtain(figure: Figure, hair: LongHair, scalp: Scalp, thickness: np.ndarray) -> Part:
    """The falling hair: a sheet whose columns leave the parting, lie on the cap and hang down from it."""
    body, face = figure.body, figure.body.face_frame
    random = np.random.default_rng(hair.seed)
    roots, headings = _parting(hair, scalp, thickness)
    heights = {
        0.0: face.mouth[2],
        0.3: face.chin[2] - 0.1 * face.unit,
        0.6: body.level(1.0) - 0.01,
        1.0: body.level(0.70),
    }
    end = float(np.interp(hair.reach, list(heights), list(heights.values())))
    ragged = np.convolve(random.normal(0, 1, len(roots) + 4), np.array([1, 2, 3, 2, 1]) / 4, "valid")
    ends = end + ragged * (0.004 + 0.008 * hair.reach)
    grow = np.linspace(0, 1, _ROWS)
    off = 0.012 + (0.001 + 0.011 * hair.volume) * smoothstep(grow, 0.0, 0.3) - 0.006 * smoothstep(grow, 0.75, 1.0)
    points = fall(roots, headings, ends, off, Obstacle(figure), 0.80)
    points = _off_the_face(points, face)
    mean = np.array([1, 2, 3, 2, 1]) / 9
    for _ in range(3):
        padded = np.pad(points, ((2, 2), (0, 0), (0, 0)), "edge")
        points = sum(mean[k] * padded[k : k + len(points)] for k in range(5))
    points = np.concatenate([_tuck(points[:1], face, _FOLDED), points, _tuck(points[-1:], face, _FOLDED)[::-1]])
    return _sheet(points, body, hair, closed=False)


def _off_the_face(points: np.ndarray, face: FaceFrame) -> np.ndarray:
    """Comb (M, K, 3) strands back from the face, the more the lower they are."""
    u, eye = face.unit, face.eyes[0, 2]
    edge = face.ears[0, 1] - u * np.interp(points[..., 2], [eye - 1.5 * u, eye, eye + 1.3 * u], [0.45, 0.75, 1.9])
    soft = 0.008
    result = points.copy()
    result[..., 1] = edge + soft * np.logaddexp(0, (points[..., 1] - edge) / soft)
    return result


def _parting(hair: LongHair, scalp: Scalp, thickness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Roots (M, 3) along the parting and round the crown, and the directions (M, 3) in which the hair leaves them."""
    above = scalp.top > 0.2
    outer = (scalp.points + 0.8 * thickness[:, None] * scalp.normals)[above]
    share = np.linspace(0, 1, _COLUMNS)
    around = np.abs(2 * share - 1)
    span = scalp.points[above]
    front, back = span[:, 1].min() + 0.012, span[:, 1].max() - 0.03
    y = back + (front - back) * smoothstep(around, 0.15, 1.0)
    x = hair.parting * 0.032 * smoothstep(around, 0.1, 0.5) + 0.002 * np.sign(0.5 - share)
    tree = cKDTree(outer[:, :2])
    _, index = tree.query(np.stack([x, y], axis=1), k=4)
    upper = index[np.arange(len(x)), np.argmax(outer[index, 2], axis=1)]
    roots = np.stack([x, y, outer[upper, 2]], axis=1)
    turn = (share - 0.5) * 2 * np.radians(104)
    headings = np.stack([-np.sin(turn), np.cos(turn), np.zeros(len(turn))], axis=1)
    return roots, headings


def _tuck(column: np.ndarray, face: FaceFrame, count: int) -> np.ndarray:
    """(count, K, 3) columns that fold the edge of a sheet in behind itself, the innermost first."""
    inward = unit(np.array([0.0, face.skull[1] + 0.02, 0.0]) - column * [1, 1, 0])
    return np.concatenate([column + 0.009 * step * inward + [0, 0.004 * step, 0] for step in range(count, 0, -1)])


def _sheet(points: np.ndarray, body: Anatomy, hair: Hair, closed: bool) -> Part:
    """A combed surface from (M, K, 3) columns of hair, each from root to tip; ``closed`` makes it a tube."""
    columns, rows = points.shape[:2]
    flat = points.transpose(1, 0, 2).reshape(-1, 3)
    faces = grid_faces(rows, columns, closed)
    normals = vertex_normals(flat, faces)
    away = flat - flat.reshape(rows, columns, 3).mean(axis=1).repeat(columns, axis=0)
    if (normals * away).sum() < 0:
        faces, normals = faces[:, ::-1], -normals
    flow = tangent(np.gradient(points.transpose(1, 0, 2), axis=0).reshape(-1, 3) + 1e-9, normals)
    along = np.repeat(np.linspace(0, 1, rows), columns)
    random = np.random.default_rng(hair.seed + 41)
    strands, clumps, broad = (_columns_of_noise(random, columns, rows, width, closed) for width in (1, 3, 9))
    depth = smoothstep(along, 0.02, 0.25) * (0.0022 * clumps + 0.0011 * strands + (0.0035 + 0.004 * hair.curl) * broad)
    wave = 0.007 * hair.curl * smoothstep(along, 0.3, 0.7) * np.sin(14 * along + 1.6 * broad)
    flat = flat + (depth + wave)[:, None] * normals
    color = strand_color(hair, 0.25 + 0.75 * along, clumps, strands)
    share = 0.75 * smoothstep(flat[:, 2], body.face_frame.chin[2], body.face_frame.chin[2] - 0.22)
    softness = smoothstep(along, 0.86, 1.0)
    return Part(
        flat,
        faces,
        hanging_weights(flat, body, share),
        color,
        (HAIR,),
        np.zeros(len(flat), int),
        strand=flow,
        softness=softness,
    )


def _columns_of_noise(random: np.random.Generator, columns: int, rows: int, width: int, closed: bool) -> np.ndarray:
    """(rows * columns,) noise of unit variance that changes over ``width`` columns and only slowly along the strands."""
    kernel = np.hanning(2 * width + 1)[1:-1] if width > 1 else np.ones(1)
    pad = len(kernel) // 2
    ends = []
    for _ in range(3):
        values = np.pad(random.standard_normal(columns), pad, "wrap" if closed else "reflect")
        values = np.convolve(values, kernel, "valid")
        ends.append(values / values.std())
    t = np.linspace(0, 2, rows)[:, None]
    first, second = np.clip(1 - t, 0, 1), np.clip(t - 1, 0, 1)
    mixed = first * ends[0] + (1 - first - second) * ends[1] + second * ends[2]
    return np.clip(mixed.ravel(), -2.2, 2.2)


def _fringe(figure: Figure, hair: LongHair, scalp: Scalp) -> Part:
    """Locks over the forehead."""
    face = figure.body.face_frame
    u = face.unit
    random = np.random.default_rng(hair.seed + 20)
    level = (scalp.points[:, 2] - face.eyes[0, 2]) / u
    place = (np.abs(scalp.points[:, 0]) < 0.85 * u) & (scalp.front > 0.5) & (level < 1.6)
    chosen = _farthest(scalp.points, 34, place.astype(float), hair.seed + 21)
    roots = scalp.points[chosen] + 0.010 * scalp.normals[chosen]
    ends = face.eyes[0, 2] + u * (0.42 + 0.06 * random.random(len(chosen)))
    start = np.tile([0.0, -0.8, 0.1], (len(chosen), 1)) + 0.3 * scalp.normals[chosen]
    points = fall(roots, start, ends, np.full(8, 0.009), Obstacle(figure), 0.5)
    out = np.tile(np.array([0.0, -1.0, 0.0]), (*points.shape[:2], 1))
    width = taper(8, 0.007, 0.009, 0.002)[None] * random.uniform(0.8, 1.2, (len(chosen), 1))
    return _lock_part(
        Paths(points, width, 0.4 * width, out), figure.body, hair, np.zeros(points.shape[:2]), hair.seed + 22
    )


def tied_hair(figure: Figure, hair: TiedHair) -> list[Part]:
    """Hair combed back into a pony tail or a bun."""
    body = figure.body
    face = body.face_frame
    scalp = find_scalp(body, hairline(body, 0.0, hair.seed), 0.007)
    angle = np.radians(-12 + 62 * hair.height)
    direction = np.array([0.0, np.cos(angle), np.sin(angle)])
    back = scalp.points[
        np.argmax((scalp.points - face.skull) @ direction / np.linalg.norm(scalp.points - face.skull, axis=1))
    ]
    knot = back + 0.010 * direction
    flow = _smooth_flow(scalp, knot - scalp.points)
    grow = smoothstep(scalp.inside, -0.002, 0.022)
    distance = np.linalg.norm(scalp.points - knot, axis=1)
    thickness = 0.002 + 0.009 * grow + 0.012 * np.exp(-((distance / 0.03) ** 2))
    lying = cap(body, scalp, hair, thickness, flow, 0.8)
    combed_back = Growth(80, (0.035, 0.06), 0.0028, (0.0008, 0.0035), stray=0.10)
    flyaways = Growth(60, (0.02, 0.045), 0.0007, (0.003, 0.010), 5, 0.6)
    parts = [
        lying,
        *locks_on(body, scalp, hair, lying, flow, combed_back, hair.seed + 61),
        *locks_on(body, scalp, hair, lying, flow, flyaways, hair.seed + 62),
    ]
    if hair.style == "bun":
        return [*parts, _bun(body, hair, knot, direction)]
    spine = _spine(figure, hair, knot, direction)
    return [*parts, _tail(body, hair, spine), _tie(body, hair, spine)]


def _spine(figure: Figure, hair: TiedHair, knot: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(30, 3) middle line of a tail from the knot down the back."""
    off = np.full(30, 0.024 + 0.010 * hair.volume)
    end = np.array([figure.body.level(0.80)])
    return fall((knot - 0.006 * direction)[None], direction[None], end, off, Obstacle(figure), 0.62)[0]


def _thickness(hair: TiedHair, rows: int) -> np.ndarray:
    """(rows,) half the thickness of a tail from the knot to its tip, metres."""
    t = np.linspace(0, 1, rows)
    grow = (0.010 + 0.014 * hair.volume) * smoothstep(t, 0.0, 0.28)
    return np.maximum(0.0135 + grow - (0.020 + 0.012 * hair.volume) * smoothstep(t, 0.45, 1.02), 0.0012)


def _tail(body: Anatomy, hair: TiedHair, spine: np.ndarray) -> Part:
    """A tapering tube of combed hair along ``spine`` (K, 3)."""
    random = np.random.default_rng(hair.seed + 31)
    columns, rows = 36, len(spine)
    heading = unit(np.gradient(spine, axis=0))
    side = np.array([1.0, 0.0, 0.0])
    outward = unit(np.cross(side, heading))
    t = np.linspace(0, 1, rows)
    angle = np.arange(columns) * 2 * np.pi / columns
    ring = 1.15 * np.cos(angle)[:, None, None] * side + 0.80 * np.sin(angle)[:, None, None] * outward[None]
    points = spine[None] + _thickness(hair, rows)[None, :, None] * ring
    tips = np.convolve(np.pad(random.normal(0, 1, columns), 2, "wrap"), np.array([1, 2, 2, 2, 1]) / 3, "valid")
    points = points + (0.012 * tips[:, None] * smoothstep(t, 0.7, 1.0)[None])[..., None] * heading[None]
    return _sheet(points, body, hair, closed=True)


def _head_part(body: Anatomy, points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return hanging_weights(points, body, np.zeros(len(points)))


def _tie(body: Anatomy, hair: TiedHair, spine: np.ndarray) -> Part:
    """A ring round the tail, where it leaves the hair that heaps up round the knot."""
    around, tube = 16, 8
    big, small = np.meshgrid(np.arange(around) * 2 * np.pi / around, np.arange(tube) * 2 * np.pi / tube, indexing="ij")
    gone = np.cumsum(np.linalg.norm(np.diff(spine, axis=0, prepend=spine[:1]), axis=1))
    place = int(np.searchsorted(gone, _TIE))
    centre, direction = spine[place], unit(spine[place + 1] - spine[place - 1])
    side = np.array([1.0, 0.0, 0.0])
    up = unit(np.cross(direction, side))
    out = np.cos(big)[..., None] * side + np.sin(big)[..., None] * up
    # The tail is wider than deep.
    middle = (1.15 * np.cos(big))[..., None] * side + (0.80 * np.sin(big))[..., None] * up
    middle = centre + _thickness(hair, len(spine))[place] * middle
    points = middle + 0.0045 * (np.cos(small)[..., None] * out + np.sin(small)[..., None] * direction)
    flat = points.reshape(-1, 3)
    faces = np.concatenate([grid_faces(around, tube, True), _closing(around, tube)])
    a, b, c = flat[faces].transpose(1, 0, 2)
    ring = middle.reshape(-1, 3)[faces[:, 0]]
    if (np.cross(b - a, c - a) * (a - ring)).sum() < 0:
        faces = faces[:, ::-1]
    color = np.tile(linear(hair.band), (len(flat), 1))
    return Part(flat, faces, _head_part(body, flat, faces), color, (COTTON,), np.zeros(len(flat), int))


def _closing(rows: int, columns: int) -> np.ndarray:
    """Faces that join the last row of a closed grid to its first."""
    strip = grid_faces(2, columns, True)
    return np.where(strip < columns, strip + (rows - 1) * columns, strip - columns)


def _bun(body: Anatomy, hair: TiedHair, knot: np.ndarray, direction: np.ndarray) -> Part:
    """A coil of hair on the knot."""
    rows, columns = 26, 40
    size = 0.026 + 0.016 * hair.volume
    theta = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    phi = (np.arange(columns) * 2 * np.pi / columns)[None]
    side = np.array([1.0, 0.0, 0.0])
    up = unit(np.cross(direction, side))
    radial = np.cos(phi)[..., None] * side + np.sin(phi)[..., None] * up
    ball = np.sin(theta)[..., None] * radial + 0.78 * np.cos(theta)[..., None] * direction + 0 * radial
    flat = (knot + 0.35 * size * direction + size * ball).reshape(-1, 3)
    faces = grid_faces(rows, columns, True)
    a, b, c = flat[faces].transpose(1, 0, 2)
    if (np.cross(b - a, c - a) * (a - knot)).sum() < 0:
        faces = faces[:, ::-1]
    normals = vertex_normals(flat, faces)
    around = np.cross(np.broadcast_to(direction, flat.shape), normals)
    flow = tangent(around + 0.55 * direction + 1e-6, normals)
    clumps, strands = combed(flat, faces, flow, 2, 30, hair.seed + 51), combed(flat, faces, flow, 0, 14, hair.seed + 52)
    spiral = np.sin(phi + 2.4 * theta).ravel()
    points = (
        flat
        + (size * (0.05 * clumps + 0.025 * strands + 0.05 * spiral + 0.06 * noise(flat, 0.02, 3)))[:, None] * normals
    )
    color = strand_color(hair, 0.45 + 0.2 * spiral, clumps, strands)
    return Part(points, faces, _head_part(body, points, faces), color, (HAIR,), np.zeros(len(points), int), strand=flow)
