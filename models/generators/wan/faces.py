"""The driving face: where it is, when it is seen, and its picture in the size that the motion encoder takes."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

#: Points of the 33 landmarks: nose, the eyes' six, ears, corners of the mouth.
NOSE, EYES, EARS, MOUTH = 0, slice(1, 7), slice(7, 9), slice(9, 11)
#: The brows above the eyes and the chin below the mouth, in distances from eyes to mouth: the landmarks have neither.
BROWS, CHIN = 0.4, 0.8
#: The box's side against the face's larger side.
ROOM = 1.3
#: Least mean visibility of nose and eyes.
LEAST_VISIBILITY = 0.5
#: How far the face may look away from the camera: the sine of the angle past a profile.
AWAY = 0.3
#: Standard deviation of the filter on the box, frames; and how many boxes of the last call it looks back at.
SMOOTHING, LOOK_BACK = 3.0, 12
#: Smallest box, pixels.
LEAST_SIDE = 8.0


def face_boxes(landmarks: np.ndarray) -> np.ndarray:
    """Square boxes around the faces.

    Parameters
    ----------
    landmarks:
        (N, 33, 4): x, y, z in pixels, visibility.

    Returns
    -------
    (N, 3) float64: centre x, centre y, side in pixels; NaN where the face is not seen.
    """
    points = landmarks[:, :11, :3].astype(np.float64)
    eyes, mouth = points[:, EYES].mean(axis=1), points[:, MOUTH].mean(axis=1)
    down = mouth - eyes
    outline = np.concatenate([points, (eyes - BROWS * down)[:, None], (mouth + CHIN * down)[:, None]], axis=1)[..., :2]
    low, high = outline.min(axis=1), outline.max(axis=1)
    side = np.maximum(ROOM * (high - low).max(axis=1), LEAST_SIDE)
    boxes = np.concatenate([(low + high) / 2, side[:, None]], axis=1)
    return np.where(_seen(landmarks)[:, None], boxes, np.nan)


def _seen(landmarks: np.ndarray) -> np.ndarray:
    """(N,) bool: the face is turned to the camera, at least to a profile, and nothing hides it."""
    forward = landmarks[:, NOSE, :3] - landmarks[:, EARS, :3].mean(axis=1)
    length = np.linalg.norm(forward, axis=1)
    visible = landmarks[:, :7, 3].mean(axis=1) >= LEAST_VISIBILITY
    return visible & np.isfinite(landmarks[:, :11]).all(axis=(1, 2)) & (forward[:, 2] <= AWAY * length)


def steady_boxes(boxes: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Filter boxes over time, so that the face does not jump about in its picture.

    Parameters
    ----------
    boxes:
        (N, 3) from :func:`face_boxes`.
    before:
        (M, 3), the unfiltered boxes of the frames just before, so that two calls meet without a jump.

    Returns
    -------
    (N, 3); NaN where ``boxes`` is NaN.
    """
    before = np.empty((0, 3)) if before is None else before[-LOOK_BACK:]
    together = np.concatenate([before, boxes])
    seen = np.isfinite(together).all(axis=1)
    if not seen.any():
        return boxes
    # Only frames that have a box count, by their share under the filter.
    weight = gaussian_filter1d(seen.astype(np.float64), SMOOTHING, mode="nearest")
    sums = gaussian_filter1d(np.where(seen[:, None], together, 0.0), SMOOTHING, axis=0, mode="nearest")
    filtered = np.where(seen[:, None], sums / np.maximum(weight, 1e-9)[:, None], np.nan)
    return filtered[len(before) :]


def cut_faces(frames: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """The faces' pictures.

    Parameters
    ----------
    frames:
        (N, H, W, 3) uint8.
    boxes:
        (N, 3) from :func:`steady_boxes`.
    size:
        Width and height of the pictures, pixels.

    Returns
    -------
    (N, size, size, 3) uint8, black where there is no box.
    """
    pictures = np.zeros((len(frames), size, size, 3), np.uint8)
    for picture, frame, (x, y, side) in zip(pictures, frames, boxes, strict=True):
        if np.isfinite(side):
            scale = size / side
            shift = (size - 1) / 2
            H = np.array([[scale, 0, shift - scale * x], [0, scale, shift - scale * y]])
            picture[:] = cv2.warpAffine(frame, H, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return pictures
