"""Homographies between pictures: making them, applying them, resampling with them.

A transform is a (3, 3) float64 matrix ``H_target_source`` that takes source pixels to target pixels. Pixels are
``(x, y)`` with the origin at the centre of the top-left pixel, which is also what ``cv2.warpPerspective`` expects, so
no half-pixel shifts are needed except where a picture is resized (:func:`scaling`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Similarity:
    """The four parameters of a similarity about a centre point."""

    dx: float
    """Shift of the centre to the right, pixels."""
    dy: float
    """Shift of the centre downwards, pixels."""
    angle: float
    """Rotation in radians, from x towards y (clockwise on the screen)."""
    log_scale: float
    """Natural logarithm of the magnification."""

    def matrix(self, centre: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """(3, 3) float64: rotate and scale about ``centre`` (pixels), then shift."""
        scale = np.exp(self.log_scale)
        c, s = scale * np.cos(self.angle), scale * np.sin(self.angle)
        cx, cy = centre
        return np.array(
            [[c, -s, cx + self.dx - c * cx + s * cy], [s, c, cy + self.dy - s * cx - c * cy], [0.0, 0.0, 1.0]]
        )

    @staticmethod
    def of(H: np.ndarray, centre: tuple[float, float] = (0.0, 0.0)) -> Similarity:
        """Parameters about ``centre`` of a matrix that is a similarity; the inverse of :meth:`matrix`."""
        moved = apply(H, np.array(centre))
        return Similarity(
            dx=float(moved[0] - centre[0]),
            dy=float(moved[1] - centre[1]),
            angle=float(np.arctan2(H[1, 0], H[0, 0])),
            log_scale=float(0.5 * np.log(H[0, 0] ** 2 + H[1, 0] ** 2)),
        )


def translation(dx: float, dy: float) -> np.ndarray:
    """(3, 3) float64: a shift by ``dx`` to the right and ``dy`` downwards."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def scaling(fx: float, fy: float | None = None) -> np.ndarray:
    """(3, 3) float64: pixels of a picture -> pixels of the same picture resized by ``fx`` (and ``fy``).

    Resizing keeps the picture's outer edge in place, not the centre of its first pixel: hence the half pixels.
    """
    fy = fx if fy is None else fy
    return np.array([[fx, 0.0, 0.5 * fx - 0.5], [0.0, fy, 0.5 * fy - 0.5], [0.0, 0.0, 1.0]])


def apply(H_target_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points.

    Parameters
    ----------
    H_target_source:
        (3, 3), or (..., 3, 3) to map the points of every entry with its own matrix.
    points:
        (..., 2) source pixels; NaN stays NaN.

    Returns
    -------
    (..., 2) float64, target pixels.
    """
    H = np.asarray(H_target_source, np.float64)
    points = np.asarray(points, np.float64)
    if H.ndim > 2:
        H = H.reshape(*H.shape[:-2], *(1,) * (points.ndim - H.ndim + 1), 3, 3)
    mapped = np.einsum("...ij,...j->...i", H[..., :2], points) + H[..., 2]
    return mapped[..., :2] / mapped[..., 2:]


def invert(H: np.ndarray) -> np.ndarray:
    """(..., 3, 3) inverse transforms, scaled so that the last entry is 1. Raises ``numpy.linalg.LinAlgError``."""
    if H.ndim == 2:
        # The closed form: LAPACK's start-up costs more than the inversion of one small matrix.
        regular, inverse = cv2.invert(H, flags=cv2.DECOMP_LU)
        if not regular:
            raise np.linalg.LinAlgError("the transform is singular")
    else:
        inverse = np.linalg.inv(H)
    return inverse / inverse[..., 2:, 2:]


def compose(*transforms: np.ndarray) -> np.ndarray:
    """(3, 3) product, scaled so that the last entry is 1: ``compose(H_c_b, H_b_a)`` is ``H_c_a``."""
    H = np.eye(3)
    for transform in transforms:
        H = H @ transform
    return H / H[2, 2]


def chain(H_next_source: np.ndarray) -> np.ndarray:
    """Chain frame-to-frame motion.

    Parameters
    ----------
    H_next_source:
        (T-1, 3, 3), pixels of frame t -> pixels of frame t+1.

    Returns
    -------
    (T, 3, 3) float64 ``H_frame_first``: pixels of frame 0 -> pixels of frame t.
    """
    H_frame_first = [np.eye(3)]
    for H in H_next_source:
        H_frame_first.append(compose(H, H_frame_first[-1]))
    return np.stack(H_frame_first)


def corners(size: tuple[int, int]) -> np.ndarray:
    """(4, 2) float64: the outer corners of a ``(width, height)`` picture in pixels."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def corner_distance(H_a: np.ndarray, H_b: np.ndarray, size: tuple[int, int]) -> float:
    """Mean distance in pixels between where two transforms put the corners of a ``(width, height)`` picture."""
    points = corners(size)
    return float(np.linalg.norm(apply(H_a, points) - apply(H_b, points), axis=-1).mean())


def warp(
    image: np.ndarray,
    H_target_source: np.ndarray,
    size: tuple[int, int],
    interpolation: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_CONSTANT,
) -> np.ndarray:
    """Resample a picture.

    Parameters
    ----------
    image:
        (H, W) or (H, W, C); bool, uint8 or float32. Bool is resampled by nearest neighbour and stays bool.
    H_target_source:
        (3, 3), pixels of ``image`` -> pixels of the result. A shift by whole pixels copies and does not resample.
    size:
        ``(width, height)`` of the result.
    interpolation, border:
        OpenCV flags; a constant border is 0.
    """
    if image.dtype == bool:
        return warp(image.view(np.uint8), H_target_source, size, cv2.INTER_NEAREST, border).view(bool)
    H = np.asarray(H_target_source, np.float64)
    shift = np.round(H[:2, 2])
    if np.abs(H - translation(*shift)).max() < 1e-9:
        interpolation = cv2.INTER_NEAREST
    if np.abs(H[2] - (0.0, 0.0, 1.0)).max() < 1e-12:
        return cv2.warpAffine(image, H[:2], size, flags=interpolation, borderMode=border)
    return cv2.warpPerspective(image, H, size, flags=interpolation, borderMode=border)
