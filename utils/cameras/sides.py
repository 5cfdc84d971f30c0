"""Left and right, agreed on by all views.

Seen from the front or from behind at an odd angle, a pose network takes the left limb for the right one, and keeps doing
so for as long as the view stays odd; no look at that view alone reveals it. The other views do: the limb lies where they
see its counterpart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.types import LANDMARK_NAMES
from utils.cameras.camera import Camera
from utils.triangulation import MAX_ERROR_SHARE, triangulate

#: What is exchanged as a whole: parts of the landmarks' names.
_GROUPS = (
    ("eye_inner", "eye", "eye_outer", "ear", "mouth"),
    ("shoulder", "hip"),
    ("elbow", "wrist", "pinky", "index", "thumb"),
    ("knee", "ankle", "heel", "foot_index"),
)
#: The disagreement of a group must fall to this share for its sides to be exchanged.
_CONVINCING = 0.6
_ROUNDS = 2


def _counterparts() -> np.ndarray:
    """(33,) index of each landmark's counterpart on the other side."""
    other = {"left": "right", "right": "left"}
    return np.array([LANDMARK_NAMES.index("_".join(other.get(p, p) for p in n.split("_"))) for n in LANDMARK_NAMES])


#: Index of each landmark's counterpart on the other side of the body.
COUNTERPARTS = _counterparts()


def _members(parts: tuple[str, ...]) -> np.ndarray:
    names = {f"{side}_{part}" for side in ("left", "right") for part in parts}
    names |= {f"{part}_{side}" for side in ("left", "right") for part in parts}
    return np.array([index for index, name in enumerate(LANDMARK_NAMES) if name in names])


def agree_on_sides(cameras: Sequence[Camera], pixels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Find out in which views left and right are exchanged.

    Parameters
    ----------
    cameras:
        V cameras in pixels of the clips. With fewer than three nothing can be told and nothing is exchanged.
    pixels, confidence:
        (V, T, 33, 2) and (V, T, 33): the 33 landmarks of each view.

    Returns
    -------
    (V, T, 33) int64: which landmark as read each landmark is, to be used with ``numpy.take_along_axis`` on whatever
    belongs to the landmarks; 0..32 in order where nothing is exchanged.
    """
    order = np.broadcast_to(np.arange(len(LANDMARK_NAMES)), pixels.shape[:3]).copy()
    if len(cameras) < 3:
        return order
    limits = [MAX_ERROR_SHARE * camera.longest_side for camera in cameras]
    for _ in range(_ROUNDS):
        before = order.copy()
        for view in range(len(cameras)):
            seen = np.take_along_axis(pixels, order[..., None], axis=2)
            trust = np.take_along_axis(confidence, order, axis=2)
            others = [index for index in range(len(cameras)) if index != view]
            solved = triangulate([cameras[index] for index in others], seen[others], trust[others])
            there = cameras[view].project(solved.points)
            for group in map(_members, _GROUPS):
                swapped = _better_exchanged(there, solved.confidence, seen[view], trust[view], group, limits[view])
                order[view][np.ix_(swapped, group)] = order[view][np.ix_(swapped, COUNTERPARTS[group])]
        if (order == before).all():
            break
    return order


def _better_exchanged(
    there: np.ndarray, sure: np.ndarray, seen: np.ndarray, trust: np.ndarray, group: np.ndarray, limit: float
) -> np.ndarray:
    """(T,) frames in which a group of landmarks lies better with its sides exchanged."""
    exchanged = COUNTERPARTS[group]
    read, other = (
        _disagreement(there[:, group], sure[:, group], seen[:, chosen], trust[:, chosen], limit)
        for chosen in (group, exchanged)
    )
    return np.flatnonzero(other < _CONVINCING * read)


def _disagreement(there: np.ndarray, sure: np.ndarray, seen: np.ndarray, trust: np.ndarray, limit: float) -> np.ndarray:
    """(T,) truncated mean squared distance, 0..1; 0 where nothing is known."""
    squared = ((there - seen) ** 2).sum(-1) / limit**2
    weight = np.where(np.isfinite(squared), np.nan_to_num(trust) * sure, 0)
    # Far beyond the tolerance a larger distance still means more: whole limbs are what is compared.
    cost = np.minimum(np.nan_to_num(squared), 16) / 16
    return (weight * cost).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
