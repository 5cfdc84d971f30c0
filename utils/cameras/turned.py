"""Calibrations that were turned with their pictures, but for the principal point.

Cameras are often mounted on their side. Whoever turns the pictures upright by a quarter turn has to turn the calibration
too: focal lengths, rotation, size and principal point. Files are in use (Pose2Sim's Qualisys sample is one) where the
principal point's coordinates were exchanged but not mirrored. That shifts the picture by twice the distance of the
principal point from the middle, ten or twenty pixels, and differently in each view. One look at somebody who moves in
all views is enough to tell: the views agree on points in space only when the right axis of each is mirrored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from utils.cameras.camera import Camera
from utils.triangulation import MAX_ERROR_SHARE, solve_linear, triangulate

#: Points that are compared at most.
_POINTS = 600
#: The tolerance while nothing is known of the calibration, in times of the usual one.
_LENIENT = 4
#: Mirrored principal points must bring the error down to this share, or the file is believed.
_CONVINCING = 0.8
#: With more cameras than this, only turns that are the same for all are tried.
_EACH_ALONE = 8
_AS_READ, _MIRRORED_X, _MIRRORED_Y = 0, 1, 2


def mend_turned(
    cameras: Sequence[Camera], pixels: np.ndarray, confidence: np.ndarray
) -> tuple[list[Camera], str | None]:
    """Find out whether the principal points have to be mirrored, and mirror them.

    Parameters
    ----------
    cameras:
        V cameras in pixels of the clips; their sizes must be known.
    pixels, confidence:
        (V, T, N, 2) and (V, T, N): what the views see, as for :func:`utils.triangulation.triangulate`.

    Returns
    -------
    The cameras, and a note for the user where they were changed. They are changed only where that brings the median
    reprojection error down by a fifth at least.
    """
    if any(camera.size is None for camera in cameras):
        raise ValueError("the size of every camera's pictures must be known")
    tolerance = _LENIENT * MAX_ERROR_SHARE * max(camera.longest_side for camera in cameras)
    flat, weight = _sample(pixels, confidence)
    first = triangulate(cameras, flat[:, None], weight[:, None], max_error=tolerance)
    weight = np.where(first.used[:, 0], weight, 0)
    variants = [[camera, *_mirrored(camera)] for camera in cameras]
    rays = [[each.normalized(seen) for each in row] for row, seen in zip(variants, flat, strict=True)]

    def error(choice: Sequence[int]) -> float:
        chosen = [row[index] for row, index in zip(variants, choice, strict=True)]
        return _median_error(chosen, np.stack([row[i] for row, i in zip(rays, choice, strict=True)]), weight)

    read = error([_AS_READ] * len(cameras))
    best, choice = min((error(choice), choice) for choice in _turns(len(cameras)))
    if not best < _CONVINCING * read:
        return list(cameras), None
    told = ", ".join(
        f"{camera.name} {'across' if index == _MIRRORED_X else 'down'}"
        for camera, index in zip(cameras, choice, strict=True)
    )
    note = (
        f"The calibration was turned with the pictures without mirroring the principal points: the views disagree by "
        f"{read:.1f} px as it stands and by {best:.1f} px with them mirrored ({told}). The mirrored ones are used."
    )
    return [row[index] for row, index in zip(variants, choice, strict=True)], note


def _sample(pixels: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, M, 2) and (V, M): points that two views see at least, spread over the clip."""
    flat = np.asarray(pixels, np.float64).reshape(len(pixels), -1, 2)
    weight = np.where(np.isfinite(flat).all(-1), np.nan_to_num(confidence.reshape(len(pixels), -1)), 0)
    shared = np.flatnonzero((weight > 0).sum(axis=0) >= 2)
    chosen = shared[np.linspace(0, len(shared) - 1, min(len(shared), _POINTS)).round().astype(int)]
    return flat[:, chosen], weight[:, chosen]


def _mirrored(camera: Camera) -> tuple[Camera, Camera]:
    """The principal point mirrored from left to right, and from top to bottom."""
    assert camera.size is not None
    (x, y), (width, height) = camera.K[:2, 2], camera.size
    return camera.with_principal_point(width - 1 - x, y), camera.with_principal_point(x, height - 1 - y)


def _turns(count: int) -> Iterable[tuple[int, ...]]:
    """A quarter turn mirrors one axis of each camera: which one depends on the side that the camera lies on."""
    if count <= _EACH_ALONE:
        return product((_MIRRORED_X, _MIRRORED_Y), repeat=count)
    return [(_MIRRORED_X,) * count, (_MIRRORED_Y,) * count]


def _median_error(cameras: Sequence[Camera], rays: np.ndarray, weight: np.ndarray) -> float:
    """Median distance in pixels of the rays (V, M, 2) from where they meet; infinite where they meet nowhere."""
    weight = np.where(np.isfinite(rays).all(-1), weight, 0)
    X = solve_linear(cameras, np.nan_to_num(rays), weight)
    errors = []
    for camera, seen, trust in zip(cameras, rays, weight, strict=True):
        points = camera.to_camera(X)
        ahead = (points[:, 2] > 0) & (trust > 0)
        errors.append(camera.focal * np.linalg.norm(points[ahead, :2] / points[ahead, 2:] - seen[ahead], axis=1))
    every = np.concatenate(errors)
    return float(np.median(every)) if len(every) else np.inf
