"""A long clip in pieces: stretches with the person, overlapping windows over them, and what is kept of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from models.body.kinematics import PoseState

#: Frames in a window, and frames that two windows share.
WINDOW, OVERLAP = 300, 40


class FitStore(Protocol):
    """Where a fit keeps what it has finished, so that one that was cut off goes on from there."""

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was kept under a name; ``None`` where nothing was."""

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Keep arrays under a name."""


def stretches(present: np.ndarray, cuts: Sequence[int] = ()) -> list[tuple[int, int]]:
    """(start, end) of the stretches with the person, (T,) bool; none reaches over a cut, a first frame of a new shot."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    result = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        ends = [start, *sorted(cut for cut in cuts if start < cut < end), end]
        result += list(pairwise(ends))
    return result


def windows(start: int, end: int) -> list[tuple[int, int]]:
    """Overlapping windows over one stretch, all about equally long."""
    length = end - start
    count = 1 if length <= WINDOW else int(np.ceil((length - OVERLAP) / (WINDOW - OVERLAP)))
    size = int(np.ceil((length + (count - 1) * OVERLAP) / count))
    return [(first, min(first + size, end)) for first in (start + i * (size - OVERLAP) for i in range(count))]


def nearest(present: np.ndarray) -> np.ndarray:
    """(T,) index of the pose that each frame holds: the last fitted one, or the first where there is none before."""
    index = np.where(present, np.arange(len(present)), -1)
    index = np.maximum.accumulate(index)
    return np.where(index < 0, np.flatnonzero(present)[0], index)


def join(rotations: np.ndarray, place: np.ndarray, state: PoseState, first: int, start: int, last: int) -> None:
    """Write a window; where it overlaps the one before, pass over smoothly from the old to the new.

    ``rotations`` (T, J, 3) and ``place`` (T, 3) are filled from ``first`` to ``last``; the stretch begins at ``start``.
    """
    vectors = state.vectors.copy()
    vectors[:, 0] = Rotation.from_matrix(state.root).as_rotvec()
    shared = OVERLAP if first > start else 0
    blend = np.clip((np.arange(last - first) + 0.5) / max(shared, 1), 0, 1) if shared else np.ones(last - first)
    for offset in range(shared):
        before, share = Rotation.from_rotvec(rotations[first + offset]), blend[offset]
        turn = (before.inv() * Rotation.from_rotvec(vectors[offset])).as_rotvec()
        vectors[offset] = (before * Rotation.from_rotvec(share * turn)).as_rotvec()
    rotations[first:last] = vectors
    place[first:last] = blend[:, None] * state.place + (1 - blend[:, None]) * place[first:last]
