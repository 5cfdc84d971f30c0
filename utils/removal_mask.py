"""Which pixels have to go when a person is taken out of a frame: the mask, its halo, and what moves along with it."""

from __future__ import annotations

import cv2
import numpy as np

from core.types import PersonTrack

#: How many levels (0..255) a pixel must differ from the scene, beyond what the scene itself varies by, to be a thing
#: for certain, or only if it hangs together with certain ones.
_CLEAR_LEVELS = 24.0
_WEAK_LEVELS = 11.0
#: What is forgiven: the spread of the scene's samples, and its local contrast for edges that are half a pixel off.
_RESIDUAL_SPREADS = 1.0
_RESIDUAL_EDGES = 0.4
#: What was grown may not be larger than this share of the hole: larger things are somebody else.
_LARGEST_GROWTH = 0.35
#: What was grown touches the hole to within so many pixels and has at least so many clear pixels.
_TOUCHING = 4.0
_SMALLEST = 10
#: Shadows lie below the lowest share of the person, the feet; higher up, dark things are things.
_GROUND_SHARE = 0.2
#: A shadow keeps at least this share of the light, about alike in all channels; where the sun is blocked and the sky is
#: not, red may lose more than blue.
_SHADOW_DARKEST = 0.3
_SHADOW_DARKEST_BLUE = 0.25
_SHADOW_TINT = 0.18
_SHADOW_TINT_BLUE = 0.5


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
    edges = largest_channel(cv2.morphologyEx(scene_part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    excess = residual - _RESIDUAL_SPREADS * spread[part] - _RESIDUAL_EDGES * edges
    excess[~known[part] | hole_part] = 0
    _, hole_top, _, hole_bottom = bounding_box(hole) or box
    ground = hole_bottom - top - int(_GROUND_SHARE * (hole_bottom - hole_top))
    excess[ground:][is_shadow(picture_part[ground:], scene_part[ground:])] = 0
    added = _hanging_on(excess, hole_part, reach)
    result = hole.copy()
    result[part] |= added
    return result


def _hanging_on(excess: np.ndarray, hole: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) bool: the foreign things that touch the hole and end within reach of it, filled and rounded off.

    Two thresholds (Canny's hysteresis): a thing has clear pixels, and its unclear ones tie it to the person.
    """
    distance = cv2.distanceTransform((~hole).view(np.uint8), cv2.DIST_L2, 3)
    weak = ((excess > _WEAK_LEVELS) & (distance <= reach)).view(np.uint8)
    joined = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    nearest, farthest = np.full(count, np.inf), np.zeros(count)
    at = np.flatnonzero(labels)
    np.minimum.at(nearest, labels.flat[at], distance.flat[at])
    np.maximum.at(farthest, labels.flat[at], distance.flat[at])
    clear = np.bincount(labels.flat[at], weights=excess.flat[at] > _CLEAR_LEVELS, minlength=count)
    # What goes on beyond the reach is somebody else; what is tiny is noise.
    keep = (nearest <= _TOUCHING) & (farthest < 0.95 * reach) & (clear >= _SMALLEST)
    things = keep[labels].view(np.uint8)
    if np.count_nonzero(things) > _LARGEST_GROWTH * np.count_nonzero(hole):
        return np.zeros_like(hole)
    # The strings of a racket look like what is behind them: what an outline encloses goes with it.
    outlines, _ = cv2.findContours(things | hole.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    touched = cv2.dilate(things, np.ones((3, 3), np.uint8))
    filled = cv2.drawContours(np.zeros_like(things), outlines, -1, 1, cv2.FILLED)
    enclosed, pieces = cv2.connectedComponents(filled & ~things & ~hole.view(np.uint8), connectivity=4)
    inside = np.unique(pieces[(touched > 0) & (pieces > 0)]) if enclosed > 1 else np.zeros(0, int)
    things |= np.isin(pieces, inside).view(np.uint8)
    return cv2.dilate(things, np.ones((5, 5), np.uint8)).view(bool)


def opened(mask: np.ndarray, size: int = 9) -> np.ndarray:
    """(H, W) bool: the mask without its parts that are thinner than ``size`` pixels."""
    return cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((size, size), np.uint8)).view(bool)


def is_shadow(picture: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """(H, W) bool: darker than the scene by about the same factor in all channels, or bluer: a shadow, not a thing.

    Judged on means of 5x5 pixels, because grass and gravel move a little and codecs blur what is dark.
    """
    ratio = (cv2.blur(picture, (5, 5)).astype(np.float32) + 8) / (cv2.blur(scene, (5, 5)).astype(np.float32) + 8)
    darkest, lightest = -largest_channel(-ratio), largest_channel(ratio)
    tint = lightest - darkest
    bluer = (ratio[..., 2] >= ratio[..., 1] - 0.05) & (ratio[..., 1] >= ratio[..., 0] - 0.05)
    plain = (darkest > _SHADOW_DARKEST) & (tint < _SHADOW_TINT)
    blue = bluer & (darkest > _SHADOW_DARKEST_BLUE) & (tint < _SHADOW_TINT_BLUE) & (tint > 0.5 * _SHADOW_TINT)
    # What is thin and dark is a stick, not the shadow of one.
    return opened((plain | blue) & (lightest < 1.02))
