"""Matching the light of one picture to another: one exposure for the whole, and smooth corrections into holes."""

from __future__ import annotations

import cv2
import numpy as np

from utils.removal_mask import is_shadow, largest_channel

#: Ring around a hole in which a seam is looked for, how far its correction reaches into the hole, parts of the hole's
#: height, and the least of both, pixels.
_SEAM_RING, _SEAM_REACH, _SEAM_LEAST = 0.012, 0.02, 3.0
#: Share of the hole's height, from below, in which shadows lie on the ground; the correction sets in over a tenth more.
_SEAM_GROUND, _SEAM_ONSET = 0.2, 0.1
#: Larger differences around a hole are things, not light, unless they look like a shadow.
_LIGHT_LEVELS = 24


def exposure_gain(picture: np.ndarray, reference: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Gain that brings a picture to the reference's exposure.

    Parameters
    ----------
    picture, reference:
        (H, W, 3) uint8, aligned.
    both:
        (H, W) bool, pixels where both show the scene.

    Returns
    -------
    (3,) float64, one factor a channel; 1 where too little can be compared.
    """
    a, b = picture[::2, ::2][both[::2, ::2]], reference[::2, ::2][both[::2, ::2]]
    usable = (largest_channel(np.maximum(a, b)) < 240) & (largest_channel(255 - np.minimum(a, b)) < 239)
    if np.count_nonzero(usable) < 200:
        return np.ones(3)
    gain = np.median(b[usable] / a[usable].astype(np.float32), axis=0).astype(np.float64)
    return gain if np.abs(gain - 1).max() < 0.5 else np.ones(3)


def with_gain(picture: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 times (3,) gains; a gain within half a level of nothing changes nothing."""
    if np.abs(gain - 1).max() < 0.002:
        return picture
    table = np.clip(np.arange(256)[:, None] * gain + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table.reshape(256, 1, 3))


def light_difference(source: np.ndarray, scene: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Levels to add to the scene so that it meets the source around a hole.

    The difference on the ring around the hole is carried into the hole as a smooth membrane, so that neither an edge of
    light nor a cut shadow shows where the two meet.

    Parameters
    ----------
    source, scene:
        (H, W, 3) uint8, aligned.
    ring:
        (H, W) bool, pixels around the hole where both are known.

    Returns
    -------
    (H, W, 3) float32.
    """
    difference = cv2.subtract(source, scene, dtype=cv2.CV_32F)
    light = (largest_channel(np.abs(difference)) < _LIGHT_LEVELS) | is_shadow(source, scene)
    weight = (ring & light).astype(np.float32)
    if np.count_nonzero(weight) < 20:
        return np.zeros_like(difference)
    return membrane(difference, weight)


def seam_margin(height: int) -> int:
    """Pixels around a hole of that height that :func:`seam_difference` looks at."""
    return round(max(_SEAM_RING * height, _SEAM_LEAST)) + 1


def seam_difference(source: np.ndarray, scene: np.ndarray, hole: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Levels to add to the scene at the edge of a hole, so that a contact shadow which the edge cuts does not end there.

    What :func:`light_difference` carries into the hole is coarse, and mild where a shadow is deepest: next to the foot. Here
    the pixels at the edge tell, and what they tell fades out within a few centimetres.

    Parameters
    ----------
    source, scene:
        (H, W, 3) uint8, aligned, with :func:`seam_margin` pixels around the hole.
    hole:
        (H, W) bool.
    known:
        (H, W) bool, where the scene is known.

    Returns
    -------
    (H, W, 3) float32, 0 outside of the hole and in its upper part.
    """
    height, width = hole.shape
    rows = np.flatnonzero(hole.any(axis=1))
    result = np.zeros((height, width, 3), np.float32)
    if len(rows) == 0:
        return result
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    tall = bottom - top
    first = max(bottom - round((_SEAM_GROUND + _SEAM_ONSET) * tall), 0)
    low = np.s_[first:]
    holes = np.ascontiguousarray(hole[low]).view(np.uint8)
    reach = round(max(_SEAM_RING * tall, _SEAM_LEAST))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    ring = (cv2.dilate(holes, disc) > holes) & known[low]
    difference = cv2.subtract(source[low], scene[low], dtype=cv2.CV_32F)
    ring &= (largest_channel(np.abs(difference)) < _LIGHT_LEVELS) | is_shadow(source[low], scene[low])
    weight = ring.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), reach)
    near = cv2.GaussianBlur(difference * weight[..., None], (0, 0), reach) / np.maximum(total, 1e-3)[..., None]
    depth = cv2.distanceTransform(holes, cv2.DIST_L2, 3)
    onset = np.clip((np.arange(first, height) - first + 1) / max(_SEAM_ONSET * tall, 1.0), 0.0, 1.0)
    fade = holes * np.exp((1.0 - depth) / max(_SEAM_REACH * tall, _SEAM_LEAST)) * onset[:, None].astype(np.float32)
    result[low] = near * fade[..., None]
    return result


def membrane(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fill in smoothly what is not known (pull-push, Gortler et al., "The Lumigraph", 1996).

    Parameters
    ----------
    values:
        (H, W, C) float32.
    weight:
        (H, W) float32, 0..1, how well each value is known.

    Returns
    -------
    (H, W, C) float32: the values where they are known, a smooth surface through them elsewhere.
    """
    weighted = np.dstack([values * weight[..., None], weight])
    levels = [weighted]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))
    result = levels[-1][..., :-1] / np.maximum(levels[-1][..., -1:], 1e-6)
    for level in reversed(levels[:-1]):
        above = cv2.pyrUp(result, dstsize=(level.shape[1], level.shape[0]))
        # A cell is known fully as soon as a quarter of it is.
        trust = np.minimum(4.0 * level[..., -1:], 1.0)
        known = level[..., :-1] / np.maximum(level[..., -1:], 1e-6)
        result = above.reshape(known.shape) * (1 - trust) + known * trust
    return result
