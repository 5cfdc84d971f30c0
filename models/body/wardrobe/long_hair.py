"""Hair below the ears, loose or tied: a combed cap and locks that fall from it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import COTTON, Figure
from models.body.wardrobe.hair_cap import HAIR, cap, strand_color
from models.body.wardrobe.locks import Obstacle, Paths, fall, hanging_weights, taper, tubes
from models.body.wardrobe.mesh import grid_faces, neighbours, smooth, unit, vertex_normals
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import Scalp, combed, find_scalp, hairline, tangent
from models.body.wardrobe.spec import Hair, LongHair, TiedHair, linear

_STEPS = 11


def _lock_part(paths: Paths, body: Anatomy, hair: Hair, share: np.ndarray, seed: int) -> Part:
    """All locks as one part; ``share`` (M, K) is how much each point follows the trunk."""
    points, faces, strand = tubes(paths)
    locks, steps = paths.points.shape[:2]
    sides = len(points) // (locks * steps)
    random = np.random.default_rng(seed)
    along = np.tile(np.linspace(0.25, 1, steps)[None], (locks, 1))
    each = random.normal(0, 0.8, (locks, 1)) + np.zeros((1, steps))
    color = strand_color(hair, np.repeat(along.ravel(), sides), np.repeat(each.ravel(), sides), random.normal(0, 0.7, len(points)))
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
    scalp = find_scalp(body, hairline(body, 0.0, hair.seed), 0.006)
    part_x = hair.parting * 0.5 * u
    away = scalp.points[:, 0] - part_x
    side = np.tanh(away / (0.12 * u))
    zero = np.zeros(len(side))
    over = np.stack([side, zero + 0.25, zero], axis=1)
    down = np.stack([0.2 * side, zero + 0.25, zero - 1], axis=1)
    flow = _smooth_flow(scalp, scalp.top[:, None] * over + (1 - scalp.top)[:, None] * down)
    grow = smoothstep(scalp.inside, -0.003, 0.03)
    groove = 1 - 0.5 * np.exp(-((away / (0.06 * u)) ** 2)) * scalp.top
    thickness = 0.003 + (0.010 + 0.016 * hair.volume) * grow * groove
    thickness = smooth(thickness, neighbours(scalp.faces, len(scalp.points)), 4)
    parts = [cap(body, scalp, hair, thickness, flow, 0.8)]
    parts.append(_curtain(figure, hair, scalp, flow, thickness))
    if hair.fringe:
        parts.append(_fringe(figure, hair, scalp))
    return parts


def _curtain(figure: Figure, hair: LongHair, scalp: Scalp, flow: np.ndarray, thickness: np.ndarray) -> Part:
    """The falling locks."""
    body, face = figure.body, figure.body.face_frame
    u = face.unit
    random = np.random.default_rng(hair.seed)
    level = (scalp.points[:, 2] - face.eyes[0, 2]) / u
    band = smoothstep(level, 1.75, 1.0) * (0.35 + smoothstep(level, 1.2, 0.2)) * (scalp.inside > 0.003)
    turn = np.arctan2(np.abs(scalp.points[:, 0]), -(scalp.points[:, 1] - face.skull[1]))
    band *= smoothstep(turn, 0.45, 0.75)
    chosen = _farthest(scalp.points, 110, band, hair.seed + 5)
    normal = scalp.normals[chosen]
    roots = scalp.points[chosen] + (0.55 * thickness[chosen])[:, None] * normal
    heights = {0.0: face.mouth[2], 0.3: face.chin[2] - 0.1 * u, 0.6: body.level(1.0) - 0.01, 1.0: body.level(0.70)}
    end = float(np.interp(hair.reach, list(heights), list(heights.values())))
    ends = end + random.normal(0, 0.008 + 0.012 * hair.reach, len(chosen)) + 0.03 * smoothstep(turn[chosen], 1.1, 0.6)
    off = 0.010 + (0.010 + 0.012 * hair.volume) * random.random(len(chosen))
    start = flow[chosen] + 0.15 * normal
    points = fall(roots, start, ends, off, Obstacle(figure), _STEPS, 0.55)
    wave = hair.curl * 0.012 * np.linspace(0, 1, _STEPS)[None]
    for axis in range(2):
        phase = random.random((len(chosen), 1)) * 0.5 + 2.2 * axis
        points[..., axis] += wave * np.sin(np.linspace(0, 4.2 * np.pi * (0.5 + hair.reach), _STEPS)[None] + 2 * np.pi * phase)
    out = unit(points - np.array([0.0, face.skull[1] + 0.01, 0.0]) * [1, 1, 0] - points * [0, 0, 1])
    width = taper(_STEPS, 0.010, 0.014, 0.004)[None] * random.uniform(0.8, 1.25, (len(chosen), 1))
    paths = Paths(points, width, 0.48 * width, out)
    share = smoothstep(points[..., 2], face.chin[2], face.chin[2] - 0.22) * 0.75
    return _lock_part(paths, body, hair, share, hair.seed + 9)


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
    points = fall(roots, start, ends, np.full(len(chosen), 0.007) + 0.004 * random.random(len(chosen)), Obstacle(figure), 8, 0.5)
    out = np.tile(np.array([0.0, -1.0, 0.0]), (*points.shape[:2], 1))
    width = taper(8, 0.007, 0.009, 0.002)[None] * random.uniform(0.8, 1.2, (len(chosen), 1))
    return _lock_part(Paths(points, width, 0.4 * width, out), figure.body, hair, np.zeros(points.shape[:2]), hair.seed + 22)


def tied_hair(figure: Figure, hair: TiedHair) -> list[Part]:
    """Hair combed back into a pony tail or a bun."""
    body = figure.body
    face = body.face_frame
    u = face.unit
    scalp = find_scalp(body, hairline(body, 0.0, hair.seed), 0.005)
    angle = np.radians(-12 + 62 * hair.height)
    direction = np.array([0.0, np.cos(angle), np.sin(angle)])
    back = scalp.points[np.argmax((scalp.points - face.skull) @ direction / np.linalg.norm(scalp.points - face.skull, axis=1))]
    knot = back + 0.016 * direction
    flow = _smooth_flow(scalp, knot - scalp.points)
    grow = smoothstep(scalp.inside, -0.002, 0.022)
    distance = np.linalg.norm(scalp.points - knot, axis=1)
    thickness = 0.002 + 0.009 * grow + 0.012 * np.exp(-((distance / 0.03) ** 2))
    parts = [cap(body, scalp, hair, thickness, flow, 0.8)]
    if hair.style == "bun":
        return [*parts, _bun(body, hair, knot, direction)]
    return [*parts, _tail(figure, hair, knot, direction), _tie(body, hair, knot, direction)]


def _tail(figure: Figure, hair: TiedHair, knot: np.ndarray, direction: np.ndarray) -> Part:
    """Locks from the knot down the back."""
    body = figure.body
    random = np.random.default_rng(hair.seed + 31)
    count, steps = 26, 13
    angle = np.linspace(0, 6 * np.pi, count)
    radius = 0.011 * np.sqrt(np.linspace(0.05, 1, count)) * (0.7 + 0.6 * hair.volume)
    side = np.array([1.0, 0.0, 0.0])
    up = unit(np.cross(direction, side))
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up
    roots = knot - 0.004 * direction + radius[:, None] * ring
    ends = np.full(count, body.level(0.80)) + random.normal(0, 0.02, count)
    start = direction + 0.45 * ring
    off = 0.012 + 0.9 * radius + 0.006 * random.random(count)
    points = fall(roots, start, ends, off, Obstacle(figure), steps, 0.70)
    spread = smoothstep(np.linspace(0, 1, steps), 0, 0.35) - 0.75 * smoothstep(np.linspace(0, 1, steps), 0.5, 1)
    flat = ring * np.array([1.0, 0.5, 0.4])
    points = points + 0.011 * (0.5 + hair.volume) * spread[None, :, None] * flat[:, None]
    center = points.mean(axis=0)
    out = unit(points - center[None] + 0.004 * np.array([0, 1.0, 0]))
    width = taper(steps, 0.006, 0.011 + 0.004 * hair.volume, 0.003)[None] * random.uniform(0.8, 1.2, (count, 1))
    share = 0.55 * smoothstep(points[..., 2], knot[2] - 0.05, knot[2] - 0.30)
    return _lock_part(Paths(points, width, 0.7 * width, out), body, hair, share, hair.seed + 32)


def _head_part(body: Anatomy, points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    return hanging_weights(points, body, np.zeros(len(points)))


def _tie(body: Anatomy, hair: TiedHair, knot: np.ndarray, direction: np.ndarray) -> Part:
    """A ring round the root of the tail."""
    around, tube = 16, 8
    big, small = np.meshgrid(np.arange(around) * 2 * np.pi / around, np.arange(tube) * 2 * np.pi / tube, indexing="ij")
    side = np.array([1.0, 0.0, 0.0])
    up = unit(np.cross(direction, side))
    radius = 0.0135 * (0.8 + 0.5 * hair.volume)
    out = np.cos(big)[..., None] * side + np.sin(big)[..., None] * up
    points = knot + out * (radius + 0.0045 * np.cos(small))[..., None] + direction * (0.0055 * np.sin(small))[..., None]
    flat = points.reshape(-1, 3)
    faces = np.concatenate([grid_faces(around, tube, True), _closing(around, tube)])
    a, b, c = flat[faces].transpose(1, 0, 2)
    ring = (knot + radius * out).reshape(-1, 3)[faces[:, 0]]
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
    points = flat + (size * (0.05 * clumps + 0.025 * strands + 0.05 * spiral + 0.06 * noise(flat, 0.02, 3)))[:, None] * normals
    color = strand_color(hair, 0.45 + 0.2 * spiral, clumps, strands)
    return Part(points, faces, _head_part(body, points, faces), color, (HAIR,), np.zeros(len(points), int), strand=flow)
