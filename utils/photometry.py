"""What the camera did to the light: transfer function, noise and blur of the footage, and how to imitate them.

Linear values are float32 with 1.0 for the white of the footage; encoded values are sRGB levels, 0..255.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

#: Rec. 709 luma, the weights of R, G, B in brightness.
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
#: Steps of the table that encodes linear light: fine enough that the darkest levels stay within a tenth of a level.
_ENCODE_STEPS = 1 << 15
#: Edge length in pixels of the noise tile from which the grain of every frame is cut.
_TILE = 640
#: Share of the grain's standard deviation that is colour noise; the rest is common to R, G and B.
_CHROMA_SHARE = 0.35


@lru_cache(maxsize=1)
def _decode_table() -> np.ndarray:
    level = np.arange(256) / 255.0
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(np.float32)


@lru_cache(maxsize=1)
def _encode_table() -> np.ndarray:
    linear = np.arange(_ENCODE_STEPS + 1) / _ENCODE_STEPS
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255).astype(np.float32)


def linear_from_srgb(rgb: np.ndarray) -> np.ndarray:
    """Linear light of encoded pixels.

    Parameters
    ----------
    rgb:
        (..., 3) or (H, W) uint8, sRGB levels.

    Returns
    -------
    Same shape, float32, 0..1.
    """
    return cv2.LUT(rgb, _decode_table())


def srgb_levels_from_linear(linear: np.ndarray) -> np.ndarray:
    """Encoded levels of linear light, not rounded, so that grain can still be added.

    Parameters
    ----------
    linear:
        Any shape, float32; values outside 0..1 are clipped.

    Returns
    -------
    Same shape, float32, 0..255.
    """
    index = cv2.multiply(linear, np.float64(_ENCODE_STEPS))
    np.clip(index, 0, _ENCODE_STEPS, out=index)
    return _encode_table().take(cv2.add(index, 0.5).astype(np.uint16).reshape(linear.shape))


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Like :func:`srgb_levels_from_linear`, rounded to uint8."""
    return np.rint(srgb_levels_from_linear(linear)).astype(np.uint8)


def luminance(linear: np.ndarray) -> np.ndarray:
    """(H, W) float32 luminance of (H, W, 3) float32 linear RGB."""
    return cv2.transform(linear, LUMA[None])


def exposure_gain(reference: np.ndarray, other: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Factor on the linear light of ``other`` that gives it the exposure of ``reference``, by channel.

    The median of the pixel ratios: neither things that moved nor clipped highlights pull at it.

    Parameters
    ----------
    reference, other:
        (H, W, 3) uint8, the same scene.
    valid:
        (H, W) bool, pixels to compare; all of them if ``None``.

    Returns
    -------
    (3,) float32; ones where no pixel is usable.
    """
    usable = (np.minimum(reference, other).min(axis=2) > 12) & (np.maximum(reference, other).max(axis=2) < 245)
    if valid is not None:
        usable &= valid
    if not usable.any():
        return np.ones(3, np.float32)
    ratio = linear_from_srgb(reference)[usable] / linear_from_srgb(other)[usable]
    return np.median(ratio, axis=0).astype(np.float32)


# --- grain ----------------------------------------------------------------------------------------------------------


def estimate_grain(frames: Iterable[np.ndarray], valid: Iterable[np.ndarray] | None = None) -> float:
    """Standard deviation of the footage's noise.

    Immerkaer's high-pass mask removes everything that is locally planar; of what remains, only the flattest blocks
    of each frame are kept, because texture can only raise their energy ("Fast Noise Variance Estimation", 1996). Over
    the frames the median is taken, so that one blurred or empty frame does not decide.

    Parameters
    ----------
    frames:
        A few (H, W, 3) uint8 frames, best spread over the clip.
    valid:
        For each frame (H, W) bool: where to look. Everywhere if ``None``.

    Returns
    -------
    Standard deviation of the green-weighted brightness in sRGB levels (0..255); 0 without a frame.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    masks: Iterable[np.ndarray | None] = valid if valid is not None else _endless_none()
    sigmas = []
    for frame, mask in zip(frames, masks, strict=False):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        energy = _block_means(cv2.filter2D(grey, cv2.CV_32F, kernel) ** 2)
        usable = (_block_means(((grey > 8) & (grey < 247)).astype(np.float32)) > 0.99) & (energy > 0)
        if mask is not None:
            usable &= _block_means(mask.astype(np.float32)) > 0.99
        if usable.sum() >= 8:
            sigmas.append(_flat_sigma(energy[usable]))
    return float(np.median(sigmas)) if sigmas else 0.0


def _endless_none() -> Iterable[None]:
    while True:
        yield None


def _block_means(image: np.ndarray, size: int = 16) -> np.ndarray:
    rows, columns = image.shape[0] // size, image.shape[1] // size
    return image[: rows * size, : columns * size].reshape(rows, size, columns, size).mean(axis=(1, 3))


def _flat_sigma(energy: np.ndarray) -> float:
    """Noise sigma from block energies: mean of the blocks within sampling error of the 10th percentile."""
    low = np.percentile(energy, 10)
    flat = energy[energy <= low * 1.6]
    return float(np.sqrt(flat.mean()))


@lru_cache(maxsize=4)
def _noise_tile(seed: int) -> np.ndarray:
    """(_TILE, _TILE, 3) float32 noise of unit standard deviation, mostly common to the channels, softened a little."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((_TILE, _TILE, 1), np.float32)
    colour = random.standard_normal((_TILE, _TILE, 3), np.float32)
    tile = np.sqrt(1 - _CHROMA_SHARE**2) * common + _CHROMA_SHARE * colour
    # Sensors' demosaicing and the codec leave no noise in single pixels: real grain is a little larger than a pixel.
    tile = gaussian_filter(tile, (0.55, 0.55, 0), mode="wrap")
    return (tile / tile.std()).astype(np.float32)


def grain(height: int, width: int, sigma: float, frame: int, seed: int = 0) -> np.ndarray:
    """Film-like noise for one frame, always the same for the same frame and seed.

    Parameters
    ----------
    height, width:
        Size in pixels.
    sigma:
        Standard deviation in sRGB levels.
    frame:
        Index of the frame: consecutive frames get independent noise.
    seed:
        Seed of the clip.

    Returns
    -------
    (height, width, 3) float32, zero mean, to be added to sRGB levels; R, G and B are strongly correlated.
    """
    tile = _noise_tile(seed)
    dy, dx = np.random.default_rng([seed & 0xFFFFFFFF, frame]).integers(0, _TILE, 2)
    rows = (np.arange(height) + dy) % _TILE
    columns = (np.arange(width) + dx) % _TILE
    return tile[rows[:, None], columns[None]] * np.float32(sigma)


# --- blur -----------------------------------------------------------------------------------------------------------


def estimate_blur(frames: Iterable[np.ndarray], masks: Iterable[np.ndarray] | None = None) -> float:
    """How soft the footage is: standard deviation of the Gaussian that its sharpest edges look blurred with.

    Zhuo and Sim's edge re-blur ratio ("Defocus map estimation from a single image", 2011): an ideal edge of blur s,
    blurred once more with r, loses gradient by sqrt(s^2 + r^2) / s. Near the person, in focus with it, the sharper
    quarter of the strong edges is taken: soft edges are shading or other depths.

    Parameters
    ----------
    frames:
        A few (H, W, 3) uint8 frames.
    masks:
        For each frame (H, W) bool, the person: edges are looked for on it and around it. Everywhere if ``None``.

    Returns
    -------
    Sigma in pixels, 0.3..4; 0.5 where no frame has a usable edge.
    """
    found = []
    reach: Iterable[np.ndarray | None] = masks if masks is not None else _endless_none()
    for frame, mask in zip(frames, reach, strict=False):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        sigmas = _edge_sigmas(grey, mask)
        if len(sigmas) >= 20:
            found.append(float(np.percentile(sigmas, 25)))
    return float(np.clip(np.median(found), 0.3, 4.0)) if found else 0.5


def _edge_sigmas(grey: np.ndarray, mask: np.ndarray | None, reblur: float = 1.0) -> np.ndarray:
    """Blur of each strong edge pixel of a picture, in pixels."""
    before = _gradient(grey)
    after = _gradient(cv2.GaussianBlur(grey, (0, 0), reblur))
    strong = before > max(12.0, float(np.percentile(before, 90)))
    strong &= before >= cv2.dilate(before, np.ones((3, 3), np.uint8)) - 1e-3
    if mask is not None:
        strong &= cv2.dilate(mask.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    ratio = before[strong] / np.maximum(after[strong], 1e-3)
    ratio = ratio[ratio > 1.02]
    # The derivative kernel itself blurs: its variance, (1, 0, -1) / 2 being a box of two pixels, is taken off.
    variance = reblur**2 / (ratio**2 - 1) - 1 / 3
    return np.sqrt(np.maximum(variance, 0.0))


def _gradient(grey: np.ndarray) -> np.ndarray:
    gx = cv2.filter2D(grey, cv2.CV_32F, np.array([[-0.5, 0, 0.5]], np.float32))
    gy = cv2.filter2D(grey, cv2.CV_32F, np.array([[-0.5], [0], [0.5]], np.float32))
    return cv2.magnitude(gx, gy)
