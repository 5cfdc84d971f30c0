"""What most aligned pictures agree on: per-pixel order statistics over stacks with gaps, and fine alignment of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from utils import transforms

#: Pixels sorted at a time: the working set (samples x chunk bytes) then stays in the processor's cache.
_CHUNK = 1 << 15
#: Fewer agreeing points than this carry no alignment.
_MIN_POINTS = 12
#: The rough alignment is never further off than this, pixels.
_LARGEST_CORRECTION = 20.0
#: How far a point speaks in the field of what an affine transform leaves, cells.
_FIELD_SIGMA = 1.5
#: A point must agree with the median of so many nearest points to within so many pixels.
_NEIGHBOURS = 7
_NEIGHBOUR_PX = 1.5


@dataclass(frozen=True)
class StackStatistics:
    """Order statistics of P pixels over N samples."""

    median: np.ndarray
    """(P, C) float32, the mean of the middle values; 0 where no sample shows the pixel."""
    spread: np.ndarray
    """(P,) float32, interquartile range, the largest over the channels; 0 where fewer than 4 samples show the pixel."""
    count: np.ndarray
    """(P,) int16, samples that show the pixel."""


@lru_cache(maxsize=8)
def _sorting_network(count: int) -> tuple[tuple[int, int], ...]:
    """Pairs to compare and exchange, in order, that sort ``count`` values: Batcher's odd-even merge sort (1968)."""
    pairs = []
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                for i in range(min(k, count - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        pairs.append((i + j, i + j + k))
            k //= 2
        p *= 2
    return tuple(pairs)


def _sort_rows(values: np.ndarray) -> None:
    """Sort (N, M) uint8 along the first axis, in place: whole rows are compared at once, which the processor does 32 wide."""
    rows = list(values)
    low = np.empty_like(rows[0])
    for a, b in _sorting_network(len(rows)):
        np.minimum(rows[a], rows[b], out=low)
        np.maximum(rows[a], rows[b], out=rows[b])
        rows[a][:] = low


def stack_statistics(samples: np.ndarray, valid: np.ndarray) -> StackStatistics:
    """Median and spread of every pixel over the samples that show it.

    Parameters
    ----------
    samples:
        (N, P, C) uint8.
    valid:
        (N, P) bool, samples that show the pixel.
    """
    count, pixels, channels = samples.shape
    median = np.zeros((pixels, channels), np.float32)
    spread = np.zeros(pixels, np.float32)
    shown = valid.sum(axis=0, dtype=np.int16)
    for start in range(0, pixels, _CHUNK):
        part = slice(start, min(start + _CHUNK, pixels))
        values = np.where(valid[:, part, None], samples[:, part], 255).reshape(count, -1)
        _sort_rows(values)
        c = np.repeat(shown[part], channels).astype(np.intp)

        def rank(position: np.ndarray, values: np.ndarray = values) -> np.ndarray:
            return np.take_along_axis(values, np.clip(position, 0, count - 1)[None], axis=0)[0].astype(np.float32)

        middle = 0.5 * (rank((c - 1) // 2) + rank(c // 2))
        median[part] = np.where(c > 0, middle, 0).reshape(-1, channels)
        width = np.where(c >= 4, rank((3 * c) // 4) - rank(c // 4), 0)
        spread[part] = width.reshape(-1, channels).max(axis=-1)
    return StackStatistics(median, spread, shown)


@dataclass(frozen=True)
class Alignment:
    """How a roughly aligned picture is laid over the reference."""

    matrix: np.ndarray
    """(3, 3) float64, affine: picture pixels -> reference pixels."""
    points: np.ndarray
    """(N, 2) float32: points of the reference that agree."""
    residual: np.ndarray
    """(N, 2) float32, pixels of the reference: where each point still lies after the matrix, minus where it belongs."""

    extent: tuple[int, int] = (1, 1)
    """``(width, height)`` of the reference in pixels."""

    def field(self, cells: tuple[int, int]) -> np.ndarray:
        """What the matrix leaves (parallax, lens), spread smoothly between the points.

        Parameters
        ----------
        cells:
            ``(columns, rows)`` of the result; cells of about 16 pixels are meant.

        Returns
        -------
        (rows, columns, 2) float32: displacement in pixels.
        """
        width, height = cells
        total = np.zeros((height, width, 3), np.float32)
        cell = np.clip(self.points * np.array(cells) / self.extent, 0, (width - 1, height - 1)).astype(int)
        np.add.at(total, (cell[:, 1], cell[:, 0]), np.column_stack([self.residual, np.ones(len(self.points))]))
        # A point speaks for its neighbourhood; far from all points only the matrix speaks.
        near = cv2.GaussianBlur(total, (0, 0), _FIELD_SIGMA, borderType=cv2.BORDER_CONSTANT)
        wide = cv2.GaussianBlur(total, (0, 0), 3 * _FIELD_SIGMA, borderType=cv2.BORDER_CONSTANT)
        mixed = near + 0.3 * wide
        return mixed[..., :2] / (mixed[..., 2:] + 1e-3)


def refine_alignment(
    reference: np.ndarray, picture: np.ndarray, picture_valid: np.ndarray, points: np.ndarray
) -> Alignment | None:
    """Lay a roughly aligned picture exactly over the reference.

    Parameters
    ----------
    reference, picture:
        (H, W) uint8 grey.
    picture_valid:
        (H, W) bool, pixels of the picture that may be compared.
    points:
        (N, 2) float32, corners in the reference, from :func:`alignment_points`.

    Returns
    -------
    The alignment; None where too few points agree.
    """
    if len(points) < _MIN_POINTS:
        return None
    found, status, _ = cv2.calcOpticalFlowPyrLK(reference, picture, points, None, winSize=(25, 25), maxLevel=2)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(picture, reference, found, None, winSize=(25, 25), maxLevel=2)
    x, y = np.clip(np.rint(found), 0, (picture.shape[1] - 1, picture.shape[0] - 1)).astype(int).T
    good = (status.ravel() > 0) & (returned.ravel() > 0) & picture_valid[y, x]
    good &= np.linalg.norm(back - points, axis=-1) < 0.5
    good &= np.linalg.norm(found - points, axis=-1) < _LARGEST_CORRECTION
    found, points = found[good], points[good]
    if len(points) < _MIN_POINTS:
        return None
    # Six parameters for the whole, the field for the rest: the eight of a homography follow single wrong points far
    # out of the picture.
    affine, inliers = cv2.estimateAffine2D(
        found, points, method=cv2.RANSAC, ransacReprojThreshold=2.5, maxIters=1000, confidence=0.999, refineIters=10
    )
    if affine is None or np.count_nonzero(inliers) < max(_MIN_POINTS, 0.3 * len(points)):
        return None
    matrix = np.vstack([affine, [0.0, 0.0, 1.0]])
    residual = transforms.apply(matrix, found) - points
    # A displacement counts where its neighbours have about the same.
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    neighbours = np.argsort(distance, axis=1)[:, :_NEIGHBOURS]
    local = np.median(residual[neighbours], axis=1)
    agree = np.linalg.norm(residual - local, axis=-1) < _NEIGHBOUR_PX
    extent = (reference.shape[1], reference.shape[0])
    return Alignment(matrix, points[agree], residual[agree].astype(np.float32), extent)


def alignment_points(reference: np.ndarray, valid: np.ndarray, count: int = 100) -> np.ndarray:
    """(N, 2) float32: up to ``count`` corners of a grey picture, away from pixels that must not be compared."""
    allowed = cv2.erode(valid.astype(np.uint8), np.ones((15, 15), np.uint8), borderValue=0)
    corners = cv2.goodFeaturesToTrack(reference, count, 0.005, 8, mask=allowed)
    return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
