"""How pictures of a mesh are arranged: beside each other, and around the body."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def side_by_side(pictures: Sequence[np.ndarray], gap: int = 0) -> np.ndarray:
    """Pictures in a row, left to right, at the height of the first.

    Parameters
    ----------
    pictures:
        (H, W, 3) uint8 each. Those of another height are scaled to the first's, with their shape kept.
    gap:
        Black pixels between two pictures.

    Returns
    -------
    (H, W, 3) uint8. The width is even, as video needs it: an odd one gets one more black column on the right.

    Raises
    ------
    ValueError
        There are no pictures.
    """
    if not pictures:
        raise ValueError("side_by_side needs at least one picture")
    height = pictures[0].shape[0]
    row: list[np.ndarray] = []
    for picture in pictures:
        if row:
            row.append(np.zeros((height, gap, 3), np.uint8))
        row.append(_at_height(picture, height))
    if sum(part.shape[1] for part in row) % 2:
        row.append(np.zeros((height, 1, 3), np.uint8))
    return np.concatenate(row, axis=1)


def _at_height(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.shape[0] == height:
        return picture
    width = max(round(picture.shape[1] * height / picture.shape[0]), 1)
    shrinks = height < picture.shape[0]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def turntable_angles(count: int, turns: float = 1.0) -> np.ndarray:
    """(count,) float64, radians: even steps around the body, made so that the last picture leads on to the first."""
    return 2 * np.pi * turns * np.arange(count) / max(count, 1)
