"""Motion blur of a drawn layer along the motion of its own surface.

After McGuire et al., "A Reconstruction Filter for Plausible Motion Blur" (I3D 2012): every pixel gathers along the
fastest motion in its neighbourhood, and a sample counts as far as its own motion really carries it there. Unlike
splatting, gathering leaves the inside of a body opaque.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Blur lengths under this many pixels cannot be seen.
_LEAST = 1.0
#: Longest blur that is drawn, in pixels; longer ones are shortened, as the gather would break up into ghosts.
_LONGEST = 64.0


def motion_blur(
    rgb: np.ndarray, alpha: np.ndarray, motion: np.ndarray, shutter: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Blur a layer as a camera with an open shutter would, the drawn moment in the middle of the exposure.

    Parameters
    ----------
    rgb:
        (H, W, 3) uint8, straight colour.
    alpha:
        (H, W) float32, 0..1.
    motion:
        (H, W, 2) float32, motion of the surface at each pixel in px/frame; read only where alpha > 0.
    shutter:
        Exposure as a fraction of the frame time, 0..1 (0.5 = a 180 degree shutter).

    Returns
    -------
    Straight colour (H, W, 3) uint8 and alpha (H, W) float32. The very inputs where nothing moves by a pixel during
    the exposure.

    Raises
    ------
    ValueError
        If shapes disagree or the shutter is outside 0..1.
    """
    if rgb.shape[:2] != alpha.shape or motion.shape != (*alpha.shape, 2):
        raise ValueError(f"rgb {rgb.shape}, alpha {alpha.shape} and motion {motion.shape} do not belong together")
    if not 0 <= shutter <= 1:
        raise ValueError(f"shutter {shutter} is outside 0..1")
    path = _exposure_path(alpha, motion, shutter)
    box = _moving_box(path)
    if box is None:
        return rgb, alpha
    y0, y1, x0, x1 = box
    window = np.s_[y0:y1, x0:x1]
    colour, cover = _gather(rgb[window], alpha[window], path[window])
    out_rgb, out_alpha = rgb.copy(), alpha.copy()
    out_rgb[window], out_alpha[window] = colour, cover
    return out_rgb, out_alpha


def _exposure_path(alpha: np.ndarray, motion: np.ndarray, shutter: float) -> np.ndarray:
    """(H, W, 2) float32 px that each surface point travels during the exposure; 0 where there is no surface."""
    path = motion * np.float32(shutter)
    path[alpha <= 0] = 0
    length = cv2.magnitude(path[..., 0], path[..., 1])
    if length.max(initial=0.0) > _LONGEST:
        path *= np.minimum(1, _LONGEST / np.maximum(length, 1e-6))[..., None]
    return path


def _moving_box(path: np.ndarray) -> tuple[int, int, int, int] | None:
    """Rows and columns (y0, y1, x0, x1) that the blur reaches and reads, or ``None`` where nothing moves visibly."""
    length = cv2.magnitude(path[..., 0], path[..., 1])
    x, y, width, height = cv2.boundingRect((length > _LEAST).astype(np.uint8))
    if width == 0:
        return None
    # Once for where it reaches, and once more for what is read from there.
    reach = 2 * int(np.ceil(length.max() / 2)) + 2
    y1, x1 = min(y + height + reach, path.shape[0]), min(x + width + reach, path.shape[1])
    return max(y - reach, 0), y1, max(x - reach, 0), x1


def _dominant_path(path: np.ndarray, reach: int) -> np.ndarray:
    """The fastest motion within ``reach`` pixels of each pixel, without the seams of tiles.

    Dilating the length finds the fastest speed in reach; the motion that has it is spread as a mean weighted with a
    high power of the length, and given that speed.
    """
    scale = max(1, reach // 4)
    small = (-(-path.shape[1] // scale), -(-path.shape[0] // scale))
    coarse = cv2.resize(path, small, interpolation=cv2.INTER_NEAREST) if scale > 1 else path
    length = cv2.magnitude(coarse[..., 0], coarse[..., 1])
    size = 2 * -(-reach // scale) + 1
    fastest = cv2.dilate(length, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    weight = (length / max(float(length.max()), 1e-6)) ** 4
    spread = cv2.blur(coarse * weight[..., None], (size, size))
    norm = cv2.magnitude(spread[..., 0], spread[..., 1])
    spread *= (fastest / np.maximum(norm, 1e-9))[..., None]
    return cv2.resize(spread, (path.shape[1], path.shape[0])) if scale > 1 else spread


def _gather(rgb: np.ndarray, alpha: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average premultiplied colour and alpha along the dominant motion of each pixel."""
    length = cv2.magnitude(path[..., 0], path[..., 1])
    longest = float(length.max())
    dominant = _dominant_path(path, int(np.ceil(longest / 2)))
    speed = cv2.magnitude(dominant[..., 0], dominant[..., 1])
    packed = cv2.merge([*cv2.split(cv2.multiply(rgb, cv2.merge([alpha] * 3), dtype=cv2.CV_32F)), alpha])
    columns, rows = np.meshgrid(np.arange(path.shape[1], dtype=np.float32), np.arange(path.shape[0], dtype=np.float32))
    count = int(np.clip(np.ceil(longest / 1.5), 4, 14)) // 2 * 2 + 1
    total = np.zeros_like(packed)
    weights = np.zeros_like(alpha)
    # The window's edge cuts through the layer: beyond it goes on, it does not end.
    for offset in (np.arange(count) + 0.5) / count - 0.5:
        x, y = columns + dominant[..., 0] * offset, rows + dominant[..., 1] * offset
        sample = cv2.remap(packed, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        own = cv2.remap(length, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        weight = _reaches(own, length, speed * abs(offset), sample[..., 3])
        total += sample * weight[..., None]
        weights += weight
    total /= np.maximum(weights, 1e-6)[..., None]
    cover = np.clip(total[..., 3], 0, 1)
    cover[cover < 1 / 512] = 0
    colour = total[..., :3] / np.maximum(cover, 1 / 512)[..., None]
    return np.clip(colour + 0.5, 0, 255).astype(np.uint8), cover


def _reaches(sample_length: np.ndarray, here_length: np.ndarray, distance: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """How far a sample takes part in a pixel ``distance`` away: what moves that far, and the clear space around it."""
    carried = np.clip(sample_length / 2 - distance + 1, 0, 1)
    uncovered = np.clip(here_length / 2 - distance + 1, 0, 1)
    return np.maximum(np.maximum(carried, uncovered), 1 - cover)
