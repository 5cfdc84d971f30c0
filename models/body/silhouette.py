"""The body stays inside the person's silhouette: a term of the most careful fit.

Points spread over the body's surface are drawn towards the mask where they lie outside it, along the gradient of the
distance transform. Nothing pulls the body outwards: clothes and hair make a person larger than the body in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from models.body.base import RestBody
from models.body.block_solver import NormalEquations
from models.body.fit_terms import Observations, project
from models.body.joint_tables import is_fine
from models.body.kinematics import PARAMETERS, LandmarkChain, PoseState

#: Points on the surface, and the size of the distance maps in pixels.
POINTS, MAP_HEIGHT, MAP_WIDTH = 72, 128, 128
#: Room around the landmarks in the maps, parts of the standing height.
MARGIN = 0.25
#: Weight of the term, and the distance in per cent of the height beyond which the mask is rather taken to be wrong
#: (something may stand in front of the person).
WEIGHT, ROBUST_SCALE = 1.0, 4.0


@dataclass(frozen=True)
class DistanceMaps:
    """How far outside the mask each place lies, frame by frame, in a window around the person."""

    values: np.ndarray
    """(T, MAP_HEIGHT, MAP_WIDTH) float32, pixels of the source."""
    origin: np.ndarray
    """(T, 2) source pixel of the map's first sample."""
    step: np.ndarray
    """(T,) source pixels between two samples."""

    def sample(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bilinear distances (T, K) at source pixels (T, K, 2), and their gradients (T, K, 2); flat beyond the edge."""
        place = (pixels - self.origin[:, None]) / self.step[:, None, None]
        place = np.clip(place, 0, [MAP_WIDTH - 1.001, MAP_HEIGHT - 1.001])
        corner = place.astype(int)
        fx, fy = np.moveaxis(place - corner, -1, 0)
        x, y = np.moveaxis(corner, -1, 0)
        frame = np.arange(len(pixels))[:, None]
        a, b = self.values[frame, y, x], self.values[frame, y, x + 1]
        c, d = self.values[frame, y + 1, x], self.values[frame, y + 1, x + 1]
        value = (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d)
        slope = np.stack([(1 - fy) * (b - a) + fy * (d - c), (1 - fx) * (c - a) + fx * (d - b)], -1)
        return value, slope / self.step[:, None, None]


def distance_maps(
    mask: Callable[[int], np.ndarray], frames: np.ndarray, landmarks: np.ndarray, size_px: np.ndarray
) -> DistanceMaps:
    """Maps of some frames; ``landmarks`` (T, 33, 2) and ``size_px`` (T,) say where the person is and how tall."""
    low, high = landmarks.min(1) - MARGIN * size_px[:, None], landmarks.max(1) + MARGIN * size_px[:, None]
    step = np.maximum(((high - low) / [MAP_WIDTH - 1, MAP_HEIGHT - 1]).max(1), 1e-3)
    values = np.zeros((len(frames), MAP_HEIGHT, MAP_WIDTH), np.float32)
    for row, frame in enumerate(frames):
        to_map = np.array([[1, 0, -low[row, 0]], [0, 1, -low[row, 1]]]) / step[row]
        person = mask(int(frame)).astype(np.uint8)
        outside = cv2.warpAffine(1 - person, to_map, (MAP_WIDTH, MAP_HEIGHT), flags=cv2.INTER_NEAREST, borderValue=0)
        if not outside.all():
            values[row] = cv2.distanceTransform(outside, cv2.DIST_L2, 5) * step[row]
    return DistanceMaps(values, low, step)


def surface_points(rest: RestBody, count: int = POINTS) -> np.ndarray:
    """(count, B, 4): points spread evenly over the skin (farthest point sampling), as a table like ``rest.landmarks``.

    Fingers and toes are left out: they are finer than a mask.
    """
    fine = np.array([is_fine(name) for name in rest.bone_names])
    usable = np.flatnonzero((fine[rest.bone_indices] * rest.bone_weights).sum(1) < 0.2)
    vertices = rest.vertices[usable].astype(float)
    chosen, distance = [0], np.full(len(usable), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, ((vertices - vertices[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    picked = usable[chosen]
    table = np.zeros((count, len(rest.bone_names), 4))
    homogeneous = np.concatenate([rest.vertices[picked], np.ones((count, 1))], 1)
    parts = rest.bone_weights[picked][..., None] * homogeneous[:, None]
    np.add.at(table, (np.arange(count)[:, None], rest.bone_indices[picked]), parts)
    return table


class Silhouette:
    """The term for one window of frames."""

    def __init__(self, chain: LandmarkChain, maps: DistanceMaps) -> None:
        self._chain, self._maps = chain, maps

    def add(self, system: NormalEquations, state: PoseState, seen: Observations, intrinsics: np.ndarray) -> None:
        """Draw points that lie outside the mask to its edge."""
        posed = self._chain.pose(state)
        pixels, slope = project(posed.points, intrinsics)
        distance, gradient = self._maps.sample(pixels)
        per_cent = 100.0 / seen.size_px[:, None]
        residual = distance * per_cent
        robust = ROBUST_SCALE**2 / (ROBUST_SCALE**2 + residual**2)
        weight = np.sqrt(WEIGHT) * robust
        along = np.einsum("tki,tkij->tkj", gradient * (per_cent * weight)[..., None], slope)
        jacobian = (along[:, :, None] @ posed.jacobian)[:, :, 0].reshape(len(state), -1, PARAMETERS)
        system.add(residual * weight, jacobian)
        system.cost += float((WEIGHT * residual**2 * (robust - robust**2)).sum())
