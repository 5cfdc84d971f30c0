"""Locks of hair: tapered tubes along paths that fall from the head and lie on whatever is below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import Figure
from models.body.wardrobe.mesh import Matrix, grid_faces, unit
from models.body.wardrobe.noise import smoothstep

_SIDES = 6


class Obstacle:
    """The dressed figure as something that hair lies on."""

    def __init__(self, figure: Figure) -> None:
        body = figure.body
        near = body.points[:, 2] > body.level(0.2)
        self.normals = body.normals[near]
        self.points = body.points[near] + figure.clearance[near, None] * self.normals
        self.tree = cKDTree(self.points)

    def push_out(self, places: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Move (M, 3) places out until each is ``distance`` (M,) metres off the figure."""
        _, index = self.tree.query(places, k=6)
        normal = unit(self.normals[index].mean(axis=1))
        height = ((places[:, None] - self.points[index]) * normal[:, None]).sum(axis=-1).mean(axis=1)
        return places + np.maximum(distance - height, 0)[:, None] * normal


@dataclass(frozen=True)
class Paths:
    """Centre lines of M locks with K points each."""

    points: np.ndarray
    """(M, K, 3)."""
    width: np.ndarray
    """(M, K) half widths across, metres."""
    depth: np.ndarray
    """(M, K) half widths outwards, metres."""
    out: np.ndarray
    """(M, K, 3) unit, away from the head."""


def fall(
    roots: np.ndarray, directions: np.ndarray, ends: np.ndarray, off: np.ndarray, obstacle: Obstacle, stiff: float
) -> np.ndarray:
    """(M, K, 3) paths that leave ``roots`` (M, 3) along ``directions`` and hang down to the heights ``ends`` (M,).

    ``off`` (K,) is how far they keep off the figure from root to tip, ``stiff`` (0..1) how slowly they turn downwards.
    """
    steps = len(off)
    place, heading = roots.copy(), unit(directions)
    path = [place]
    for step in range(1, steps):
        left = steps - step
        stride = np.maximum(place[:, 2] - ends, 0.0) / left * 1.05 + 0.0035 * left / steps
        heading = unit(stiff * heading + (1 - stiff) * np.array([0.0, 0.0, -1.0]))
        moved = obstacle.push_out(place + stride[:, None] * heading, np.full(len(place), off[step]))
        heading = unit(0.4 * heading + 0.6 * unit(moved - place))
        place = moved
        path.append(place)
    result = np.stack(path, axis=1)
    for _ in range(2):
        result[:, 1:-1] = (result[:, :-2] + 2 * result[:, 1:-1] + result[:, 2:]) / 4
    return result


def tubes(paths: Paths, sides: int = _SIDES, turn: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (V, 3), faces (F, 3) and unit strand directions (V, 3) of all locks; each point of a path has ``sides``.

    ``turn`` radians turns the cross-section from across to outwards.
    """
    locks, steps = paths.points.shape[:2]
    heading = unit(np.gradient(paths.points, axis=1))
    across = unit(np.cross(heading, paths.out))
    outward = np.cross(across, heading)
    angle = turn + np.arange(sides) * 2 * np.pi / sides
    ring = (
        np.cos(angle)[:, None] * (across * paths.width[..., None])[:, :, None]
        + np.sin(angle)[:, None] * (outward * paths.depth[..., None])[:, :, None]
    )
    points = (paths.points[:, :, None] + ring).reshape(-1, 3)
    one = grid_faces(steps, sides, True)
    faces = (one[None] + (np.arange(locks) * steps * sides)[:, None, None]).reshape(-1, 3)
    a, b, c = points[faces].transpose(1, 0, 2)
    centre = np.repeat(paths.points.reshape(-1, 3), sides, axis=0)[faces[:, 0]]
    if (np.cross(b - a, c - a) * (a - centre)).sum() < 0:
        faces = faces[:, ::-1]
    strand = np.repeat(heading.reshape(-1, 3), sides, axis=0)
    return points, faces, strand


def taper(steps: int, start: float, belly: float, end: float) -> np.ndarray:
    """(steps,) width along a lock: from ``start`` over ``belly`` in the middle to ``end``."""
    t = np.linspace(0, 1, steps)
    return np.where(
        t < 0.4, start + (belly - start) * smoothstep(t, 0, 0.4), belly + (end - belly) * smoothstep(t, 0.4, 1.0)
    )


def hanging_weights(points: np.ndarray, body: Anatomy, share: np.ndarray) -> Matrix:
    """(V, B) weights: the head's, and by ``share`` (V,) those of the neck and trunk nearby, so that long hair follows both."""
    columns = len(body.bone_names)
    head = body.bone_names.index("head")
    count = len(points)
    allowed = np.flatnonzero(
        (body.arm_weight < 0.05) & (body.bone_weight("head", "eye") < 0.6) & (body.points[:, 2] > body.level(0.3))
    )
    distance, index = cKDTree(body.points[allowed]).query(points, k=24)
    near = 1 / (distance + 0.03) ** 2
    near /= near.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(count), 24)
    mix = sparse.csr_matrix((near.ravel(), (rows, allowed[index].ravel())), shape=(count, len(body)))
    on_head = sparse.csr_matrix((1 - share, (np.arange(count), np.full(count, head))), shape=(count, columns))
    return (sparse.diags(share) @ (mix @ body.weights) + on_head).tocsr()
