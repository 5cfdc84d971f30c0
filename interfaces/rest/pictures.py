"""Pictures in answers."""

from __future__ import annotations

import base64

import cv2
import numpy as np


def jpeg(rgb: np.ndarray, quality: int = 90) -> bytes:
    """(H, W, 3) uint8 as a JPEG file."""
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def data_url(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as a JPEG inside a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(rgb)).decode("ascii")


def box_share(xyxy: tuple[float, float, float, float], size: tuple[int, int]) -> float:
    """Share of a picture of that width and height, pixels, that a box in it covers, 0..1."""
    left, top, right, bottom = xyxy
    return min(max((right - left) * (bottom - top) / (size[0] * size[1]), 0.0), 1.0)
