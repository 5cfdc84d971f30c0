"""A crop window that follows the person smoothly and keeps one size, so that an engine sees a steady picture."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d


def crop_boxes(
    boxes: np.ndarray, *, margin: float = 0.25, multiple: int = 8, smoothing: float = 8.0, aspect: float | None = None
) -> np.ndarray:
    """Crop windows of one common size that contain the person, with a margin, in every frame.

    The centre is filtered over time (widest extent in a window, then a Gaussian), which takes out the detector's
    jitter; the size is the smallest that still holds every frame's box around the filtered centre.

    Parameters
    ----------
    boxes:
        (T, 4) float, ``xyxy`` around the person; NaN rows where it is absent take over from their neighbours.
    margin:
        Space on each side, as a share of the person's larger side (hair, clothes and shadow may be larger).
    multiple:
        Width and height are multiples of this.
    smoothing:
        Standard deviation, in frames, of the filter on the centre.
    aspect:
        Width over height; the window grows on one side to have it (within ``multiple``). As it comes if ``None``.

    Returns
    -------
    (T, 4) int32, ``xyxy``, end exclusive, all of the same width and height. A window may reach past the frame: cut it
    with :func:`crop`.

    Raises
    ------
    ValueError
        If no frame has a box.
    """
    filled = _fill(np.asarray(boxes, np.float64))
    low, high = filled[:, :2], filled[:, 2:]
    reach = max(1, round(smoothing))
    centre = (minimum_filter1d(low, reach, axis=0) + maximum_filter1d(high, reach, axis=0)) / 2
    centre = gaussian_filter1d(centre, smoothing, axis=0, mode="nearest") if len(filled) > 1 else centre
    room = margin * (high - low).max(axis=1).max()
    half = np.maximum(centre - low, high - centre).max(axis=0) + room
    size = _rounded(2 * half, multiple, aspect)
    start = np.rint(centre - size / 2).astype(np.int32)
    return np.concatenate([start, start + size.astype(np.int32)], axis=1)


def _fill(boxes: np.ndarray) -> np.ndarray:
    """Interpolate rows that are NaN."""
    known = np.isfinite(boxes).all(axis=1)
    if not known.any():
        raise ValueError("no frame has a box to crop around")
    frames = np.arange(len(boxes))
    return np.stack([np.interp(frames, frames[known], boxes[known, k]) for k in range(4)], axis=1)


def _rounded(size: np.ndarray, multiple: int, aspect: float | None) -> np.ndarray:
    width, height = size
    if aspect is not None:
        width, height = max(width, height * aspect), max(height, width / aspect)
    # One pixel more than needed, because the corner is rounded to whole pixels.
    return (np.ceil((np.array([width, height]) + 1) / multiple) * multiple).astype(np.int64)


def crop(image: np.ndarray, box: np.ndarray, *, fill: float = 0) -> np.ndarray:
    """Cut a window out of a picture; what lies past the frame is ``fill``.

    Parameters
    ----------
    image:
        (H, W) or (H, W, C), any dtype.
    box:
        (4,) int ``xyxy``, end exclusive.
    fill:
        Value of the pixels outside the frame.

    Returns
    -------
    (y1 - y0, x1 - x0[, C]) of the same dtype, a copy.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    out = np.full((y1 - y0, x1 - x0, *image.shape[2:]), fill, image.dtype)
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x1, image.shape[1]), min(y1, image.shape[0])
    if left < right and top < bottom:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return out


def H_crop_source(box: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Transform from source pixels to the pixels of a crop, resized to ``size`` (width, height) if given.

    Returns
    -------
    (3, 3) float64. Pixel centres are at whole numbers, so a change of size moves the origin by half a pixel's change.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    width, height = (x1 - x0, y1 - y0) if size is None else size
    sx, sy = width / (x1 - x0), height / (y1 - y0)
    return np.array([[sx, 0, (0.5 - x0) * sx - 0.5], [0, sy, (0.5 - y0) * sy - 0.5], [0, 0, 1]])
