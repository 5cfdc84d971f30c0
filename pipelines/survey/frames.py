"""Which frames are looked at, and how frames are named to a user."""

from __future__ import annotations

import numpy as np


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices spread evenly over ``count`` frames, the ends left out where there is room."""
    if count <= wanted:
        return list(range(count))
    return np.unique(np.linspace(0, count - 1, wanted + 2).round().astype(int)[1:-1]).tolist()


def ranges(flags: np.ndarray) -> str:
    """The true entries as text: ``3-7, 12``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    pairs = edges.reshape(-1, 2)
    return ", ".join(f"{a}" if b - a == 1 else f"{a}-{b - 1}" for a, b in pairs)
