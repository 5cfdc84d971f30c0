"""Exact conversion between decoded pictures (YUV planes) and RGB.

FFmpeg's default YUV to RGB converter truncates at every step: measured over real footage it darkens luma by one level
throughout, which caps a decode-encode round trip at 46 dB however good the encoder is. The conversion here is one
rounded 3x4 matrix on replicated chroma, and its inverse on averaged chroma: the round trip costs 0.01 levels (66 dB and
more) and about a millisecond at 960x544. Matrices follow ITU-R BT.601, BT.709, BT.2020 and SMPTE 240M; numbers are FFmpeg's
``AVColorSpace`` and ``AVColorRange``.
"""

from __future__ import annotations

from functools import lru_cache

import av
import cv2
import numpy as np

FULL_RANGE = 2
UNSPECIFIED = 2

#: (Kr, Kb) by AVColorSpace. Unspecified is read as BT.601, as FFmpeg does, so that other readers see the same colours.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    UNSPECIFIED: (0.299, 0.114),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}

#: 8-bit planar formats that are read as they lie; every other YUV format is first brought to one of these.
_PLANAR = {f"{name}{layout}p" for name in ("yuv", "yuvj") for layout in ("410", "411", "420", "422", "440", "444")}


def has_matrix(space: int) -> bool:
    """Whether the AVColorSpace number names a matrix of luma and two colour differences that is known here."""
    return space in _LUMA_WEIGHTS


@lru_cache(maxsize=16)
def rgb_from_yuv(space: int, full_range: bool) -> np.ndarray:
    """(3, 4) float64: 8-bit ``(Y, U, V, 1)`` to 8-bit RGB for an AVColorSpace number."""
    red, blue = _LUMA_WEIGHTS[space]
    green = 1 - red - blue
    luma, chroma, black = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    matrix = np.array(
        [
            [luma, 0.0, chroma * 2 * (1 - red)],
            [luma, -chroma * 2 * blue * (1 - blue) / green, -chroma * 2 * red * (1 - red) / green],
            [luma, chroma * 2 * (1 - blue), 0.0],
        ]
    )
    return np.hstack([matrix, -matrix @ [[black], [128.0], [128.0]]])


@lru_cache(maxsize=16)
def yuv_from_rgb(space: int, full_range: bool) -> np.ndarray:
    """(3, 4) float64: the inverse of :func:`rgb_from_yuv`."""
    forward = rgb_from_yuv(space, full_range)
    inverse = np.linalg.inv(forward[:, :3])
    return np.hstack([inverse, -inverse @ forward[:, 3:]])


def rgb_from_frame(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as (H, W, 3) uint8 RGB, not rotated; more than 8 bits a channel are rounded to 8."""
    space = int(frame.colorspace)
    if frame.format.is_rgb or len(frame.format.components) < 3 or not has_matrix(space):
        return frame.to_ndarray(format="rgb24")
    full_range = frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL_RANGE
    if frame.format.name not in _PLANAR:
        frame = frame.reformat(
            format=_eight_bit(frame.format), src_color_range=frame.color_range, dst_color_range=frame.color_range
        )
    luma, *chroma = (_plane(plane) for plane in frame.planes[:3])
    planes = [luma, *(_enlarged(plane, frame.width, frame.height) for plane in chroma)]
    return cv2.transform(cv2.merge(planes), rgb_from_yuv(space, full_range))


def frame_from_rgb(rgb: np.ndarray, space: int, full_range: bool, subsampled: bool) -> av.VideoFrame:
    """(H, W, 3) uint8 RGB as a ``yuv420p`` (even sizes) or ``yuv444p`` frame."""
    height, width = rgb.shape[:2]
    planes = cv2.split(cv2.transform(rgb, yuv_from_rgb(space, full_range)))
    if subsampled:
        half = (width // 2, height // 2)
        planes = [planes[0], *(cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in planes[1:])]
    frame = av.VideoFrame(width, height, "yuv420p" if subsampled else "yuv444p")
    for target, plane in zip(frame.planes, planes, strict=True):
        np.copyto(_plane(target), plane)
    return frame


def _plane(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """(h, w) uint8 view of a plane, without the padding at the ends of its lines."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _enlarged(plane: np.ndarray, width: int, height: int) -> np.ndarray:
    """A chroma plane with each sample repeated to cover its luma samples; odd sizes lose the part that sticks out."""
    across, down = -(-width // plane.shape[1]), -(-height // plane.shape[0])
    if (across, down) == (1, 1):
        return plane
    size = (plane.shape[1] * across, plane.shape[0] * down)
    return cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST)[:height, :width]


def _eight_bit(format: av.VideoFormat) -> str:
    """Name of the 8-bit planar format with the same chroma layout."""
    across, down = -(-64 // max(format.chroma_width(64), 1)), -(-64 // max(format.chroma_height(64), 1))
    return {(1, 1): "yuv444p", (2, 1): "yuv422p", (2, 2): "yuv420p"}.get((across, down), "yuv444p")
