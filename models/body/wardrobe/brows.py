"""Eyebrows: their density over the skin, and the single hairs that stand in it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.body.character import Material, Surface
from models.body.wardrobe.anatomy import FaceFrame
from models.body.wardrobe.mesh import Matrix, unit
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.spec import Skin, linear

BROW_HAIR = Surface(Material.HAIR, 0.55, specular=0.02)

#: Hairs of one brow: the fewest and the most, by its weight.
_FEWEST, _MOST = 80, 160
#: Length and root width of a hair, metres, and how far off the skin its tip lies.
_LENGTH, _WIDTH, _OFF = (0.005, 0.009), 0.0005, 0.0010


def _arch(x: np.ndarray) -> np.ndarray:
    """Height of the middle of a brow over the eye at ``x``, from the nose outwards; in units of the eyes' distance."""
    rise = 0.045 * np.exp(-(((x - 0.14) / 0.2) ** 2))
    return np.asarray(0.305 + rise - 0.080 * smoothstep(x, 0.15, 0.45) - 0.045 * smoothstep(-x, 0.0, 0.34))


def _half_width(x: np.ndarray, weight: float) -> np.ndarray:
    return np.asarray((0.030 + 0.035 * weight) * (1 - 0.55 * smoothstep(x, 0.0, 0.4)))


def brow_density(points: np.ndarray, normals: np.ndarray, face: FaceFrame, weight: float) -> np.ndarray:
    """(V,) 0..1 density of the eyebrows at (V, 3) points of the skin; ``weight`` as in :class:`Skin`."""
    u = face.unit
    total = np.zeros(len(points))
    for sign, eye in zip((1, -1), face.eyes, strict=True):
        x = (points[:, 0] - eye[0]) * sign / u
        z = (points[:, 2] - eye[2]) / u
        across = np.exp(-(np.abs((z - _arch(x)) / _half_width(x, weight)) ** 3))
        ends = smoothstep(x, -0.36, -0.22) * smoothstep(x, 0.44, 0.28)
        hairs = 0.8 + 0.2 * noise(points * [1, 1, 0.5], 0.0035, 81)
        total = np.maximum(total, across * ends * hairs * (normals[:, 1] < 0.1))
    return np.clip(total * (0.95 + 0.6 * weight), 0, 1)


def brow_hairs(points: np.ndarray, normals: np.ndarray, weights: Matrix, face: FaceFrame, skin: Skin) -> Part | None:
    """Single hairs of both brows, one triangle each, that lie on the skin (V, 3) and move with it; ``None`` without brows.

    Near the nose they stand up, farther out they lie along the brow; those of its upper half lean down, of its lower half up.
    """
    if skin.brow_weight <= 0:
        return None
    random = np.random.default_rng(83)
    u = face.unit
    near = np.flatnonzero(np.abs(points[:, 2] - face.eyes[0, 2] - 0.3 * u) < 0.3 * u)
    near = near[normals[near, 1] < -0.1]
    tree = cKDTree(points[near][:, [0, 2]])
    count = int(_FEWEST + (_MOST - _FEWEST) * skin.brow_weight)
    corners, bound, shades = [], [], []
    for sign, eye in zip((1, -1), face.eyes, strict=True):
        x = -0.36 + 0.74 * random.beta(1.15, 1.25, count)
        side = random.normal(0, 0.55, count).clip(-1.2, 1.2)
        z = _arch(x) + side * _half_width(x, skin.brow_weight)
        slope = (_arch(x + 0.02) - _arch(x - 0.02)) / 0.04
        lean = np.arctan(slope) + np.interp(x, [-0.36, -0.24, -0.05, 0.4], [1.15, 0.7, 0.3, 0.05])
        lean += -0.22 * side * smoothstep(x, -0.3, 0.0) + random.normal(0, 0.12, count)
        length = random.uniform(*_LENGTH, count) * np.interp(x, [-0.36, -0.2, 0.2, 0.4], [0.7, 1.0, 1.0, 0.75])
        root = np.stack([eye[0] + sign * u * x, eye[2] + u * z], axis=1)
        way = np.stack([sign * np.cos(lean), np.sin(lean)], axis=1)
        aside = np.stack([-way[:, 1], way[:, 0]], axis=1) * (0.5 * _WIDTH * (0.7 + 0.6 * random.random(count)))[:, None]
        flat = np.stack([root - aside, root + aside, root + length[:, None] * way], axis=1)
        on_skin, vertex = _on_skin(flat, points, normals, near, tree)
        corners.append(on_skin)
        bound.append(vertex)
        shades.append(random.uniform(0.75, 1.25, count))
    triangles = np.concatenate(corners)
    facing = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 1] > 0
    triangles[facing] = triangles[facing][:, [1, 0, 2]]
    flat_points = triangles.reshape(-1, 3)
    strand = np.repeat(unit(triangles[:, 2] - triangles[:, :2].mean(axis=1)), 3, axis=0)
    color = linear(skin.brows) * np.repeat(np.concatenate(shades), 3)[:, None]
    each = np.concatenate(bound).reshape(-1)
    return Part(
        flat_points, np.arange(len(flat_points)).reshape(-1, 3), weights[each].tocsr(), color, (BROW_HAIR,),
        np.zeros(len(flat_points), int), strand=strand,
    )  # fmt: skip


def _on_skin(
    flat: np.ndarray, points: np.ndarray, normals: np.ndarray, near: np.ndarray, tree: cKDTree
) -> tuple[np.ndarray, np.ndarray]:
    """(M, 3, 3) corners laid onto the skin for (M, 3, 2) places seen from the front (roots, roots, tip), and (M, 3) vertices
    of the skin that they go with."""
    distance, index = tree.query(flat, k=3)
    share = 1 / (distance + 1e-5)
    share /= share.sum(axis=-1, keepdims=True)
    vertex = near[index]
    lean = normals[vertex]
    # The depth of the tangent planes of the nearest vertices, which are as far apart as half a brow is high.
    aside = flat[:, :, None] - points[vertex][..., [0, 2]]
    plane = points[vertex][..., 1] - (lean[..., [0, 2]] * aside).sum(axis=-1) / np.minimum(lean[..., 1], -0.3)
    depth = (share * plane).sum(axis=-1)
    normal = unit((share[..., None] * lean).sum(axis=-2))
    placed = np.stack([flat[..., 0], depth, flat[..., 1]], axis=-1)
    off = np.array([0.4, 0.4, 1.0])[None, :, None] * _OFF
    # One vertex moves a whole hair: a hair does not stretch where the brow is raised.
    return placed + off * normal, np.repeat(vertex[:, :1, 0], 3, axis=1)
