"""Small pictures of a run: what lists and reports show."""

from __future__ import annotations

import cv2
import numpy as np

from core.runs import RunFolder

#: Width of thumbnail.jpg.
THUMBNAIL_WIDTH = 480


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 scaled to ``(width, height)``; the very array where it has that size."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def save_thumbnail(run: RunFolder, picture: np.ndarray) -> None:
    """Write ``thumbnail.jpg``: (H, W, 3) uint8, scaled down."""
    height, width = picture.shape[:2]
    scale = min(1.0, THUMBNAIL_WIDTH / width)
    small = resized(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    run.save_bytes("thumbnail.jpg", jpeg(small))


def jpeg(picture: np.ndarray, quality: int = 85) -> bytes:
    """(H, W, 3) uint8 as JPEG."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def png(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as PNG."""
    _, data = cv2.imencode(".png", picture[..., ::-1])
    return data.tobytes()
