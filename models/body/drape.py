"""Skirts over moving legs: cloth that hangs free is pushed out of whatever comes to lie in front of it.

Skinning alone cannot do it: a skirt is one tube round two legs, and a vertex that follows both follows neither. So its cloth
has a grid of control points. They are skinned like all else, then pushed out of a row of balls along each leg, and what moved
them is spread over their neighbours. The vertices of the cloth take the shift of their control point along.
"""

from __future__ import annotations

import numpy as np

from models.body.articulation import Skin
from models.body.character import Character

#: Control points of each piece of hanging cloth: rows from the waist down, columns round the body.
DRAPE_ROWS, DRAPE_COLUMNS = 34, 96
#: Rows at the waist that do not leave their place.
FIXED_ROWS = 3
#: Times that the cloth is pushed out and spread, and rounds of spreading after each.
PUSHES, ROUNDS = 3, 4


class DrapeModel:
    """The hanging cloth of one character. ``active`` is False where it has none.

    Parameters
    ----------
    character, bone_count:
        The figure and the number of bones of its body.
    """

    def __init__(self, character: Character, bone_count: int) -> None:
        self.active = len(character.drape_points) > 0
        if not self.active:
            return
        balls = character.drape_radius > 0
        self._radius = character.drape_radius[balls]
        points, bones, weights = character.drape_points, character.drape_bones, character.drape_weights
        self._cloth = Skin(points[~balls], bones[~balls], weights[~balls], bone_count)
        self._balls = Skin(points[balls], bones[balls], weights[balls], bone_count)
        self._vertex = np.flatnonzero(character.drape_of >= 0)
        self._control = character.drape_of[self._vertex]
        self._free = np.zeros((DRAPE_ROWS, 1, 1), np.float32)
        self._free[FIXED_ROWS:] = 1.0

    def move(self, vertices: np.ndarray, bone_transforms: np.ndarray) -> None:
        """Shift the hanging cloth among skinned ``vertices`` (V, 3) out of the legs, in place."""
        points, centres = self._cloth(bone_transforms), self._balls(bone_transforms)
        shift = np.zeros((len(points), 3), np.float32)
        for _ in range(PUSHES):
            shift += self._push(points + shift, centres)
            shift = self._spread(shift)
        shift += self._push(points + shift, centres)
        vertices[self._vertex] += shift[self._control]

    def _push(self, points: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """(C, 3) the way out of the ball that each of (C, 3) points lies deepest in."""
        squared = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2.0 * points @ centres.T
        depth = self._radius - np.sqrt(np.maximum(squared, 0.0))
        deepest = depth.argmax(axis=1)
        inside = np.flatnonzero(depth[np.arange(len(points)), deepest] > 0)
        result = np.zeros_like(points)
        away = points[inside] - centres[deepest[inside]]
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
        result[inside] = away * depth[inside, deepest[inside], None]
        return np.asarray((result.reshape(-1, DRAPE_ROWS, DRAPE_COLUMNS, 3) * self._free).reshape(-1, 3))

    def _spread(self, shift: np.ndarray) -> np.ndarray:
        grid = shift.reshape(-1, DRAPE_ROWS, DRAPE_COLUMNS, 3)
        for _ in range(ROUNDS):
            beside = np.roll(grid, 1, axis=2) + np.roll(grid, -1, axis=2)
            above = np.concatenate([grid[:, :1], grid[:, :-1]], axis=1)
            below = np.concatenate([grid[:, 1:], grid[:, -1:]], axis=1)
            grid = (0.4 * grid + 0.15 * (beside + above + below)) * self._free
        return np.asarray(grid.reshape(-1, 3))
