"""Which pixels have to go when a person is taken out of a frame: the mask, its halo, and what moves along with it."""

from __future__ import annotations

import cv2
import numpy as np

from core.types import PersonTrack

#: A pixel belongs to the person when it differs from the scene by this many levels (0..255), plus what the scene
#: itself varies by, times the factor.
_RESIDUAL_LEVELS = 22.0
_RESIDUAL_SPREADS = 2.0
#: What was grown may not be larger than this share of the hole: larger things are somebody else.
_LARGEST_GROWTH = 0.35
#: A shadow keeps at least this share of the light, alike in all channels.
_SHADOW_DARKEST = 0.3
_SHADOW_TINT = 0.18


def dilation_px(track: PersonTrack, share: float) -> int:
    """Radius in pixels by which the mask is grown: ``share`` of the person's height, at least 3."""
    return max(3, round(share * track.height_px + 2))


def person_hole(track: PersonTrack, frame: int, radius: int) -> np.ndarray:
    """(H, W) bool: the person's mask in one frame, grown by ``radius`` pixels; all False where the person is absent."""
    mask = track.mask(frame)
    box = bounding_box(mask, radius)
    if box is None:
        return mask
    left, top, right, bottom = box
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    part = mask[top:bottom, left:right].view(np.uint8)
    mask[top:bottom, left:right] = cv2.dilate(part, disc, borderValue=0).view(bool)
    return mask


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[int, int, int, int] | None:
    """``(left, top, right, bottom)`` of the True pixels plus a margin, within the picture; None where there is none."""
    left, top, wide, high = cv2.boundingRect(mask.view(np.uint8))
    if wide == 0:
        return None
    height, width = mask.shape
    right, bottom = min(left + wide + margin, width), min(top + high + margin, height)
    return max(left - margin, 0), max(top - margin, 0), right, bottom


def largest_channel(image: np.ndarray) -> np.ndarray:
    """(H, W): the largest of the three channels of each pixel; many times faster than ``image.max(axis=-1)``."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def grow_by_residual(
    picture: np.ndarray, hole: np.ndarray, scene: np.ndarray, spread: np.ndarray, known: np.ndarray, reach: int
) -> np.ndarray:
    """Add to a hole what hangs on it and is not the scene: a racket, a pony tail, the rest of a sleeve.

    Parameters
    ----------
    picture:
        (H, W, 3) uint8, the frame, aligned with the scene.
    hole:
        (H, W) bool, the dilated person.
    scene:
        (H, W, 3) uint8, the scene without the person.
    spread:
        (H, W) float32, how much the scene's samples vary, levels.
    known:
        (H, W) bool, pixels where both picture and scene are known.
    reach:
        How far from the hole something may still belong to it, pixels.

    Returns
    -------
    (H, W) bool: the hole and what was added. Shadows on the ground are left out: they stay in the shot.
    """
    box = bounding_box(hole, reach)
    if box is None:
        return hole
    left, top, right, bottom = box
    part = (slice(top, bottom), slice(left, right))
    hole_part, picture_part, scene_part = hole[part], picture[part], scene[part]
    residual = largest_channel(cv2.absdiff(picture_part, scene_part))
    # A scene edge that is half a pixel off looks like a residual: the local contrast of the scene is forgiven.
    edges = largest_channel(cv2.morphologyEx(scene_part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    limit = _RESIDUAL_LEVELS + _RESIDUAL_SPREADS * spread[part] + 0.5 * edges
    foreign = (residual > limit) & known[part] & ~is_shadow(picture_part, scene_part)
    foreign = cv2.morphologyEx((foreign | hole_part).view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(foreign | hole_part.view(np.uint8), connectivity=8)
    grown = np.isin(labels, np.unique(labels[hole_part])) & (labels > 0)
    if np.count_nonzero(grown & ~hole_part) > _LARGEST_GROWTH * np.count_nonzero(hole_part):
        return hole
    added = cv2.dilate((grown & ~hole_part).view(np.uint8), np.ones((5, 5), np.uint8)).view(bool)
    result = hole.copy()
    result[part] |= added
    return result


def is_shadow(picture: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """(H, W) bool: darker than the scene by about the same factor in all channels: a shadow, not a thing."""
    ratio = (picture.astype(np.float32) + 8) / (scene.astype(np.float32) + 8)
    darkest, lightest = -largest_channel(-ratio), largest_channel(ratio)
    return (lightest < 1.02) & (darkest > _SHADOW_DARKEST) & (lightest - darkest < _SHADOW_TINT)
