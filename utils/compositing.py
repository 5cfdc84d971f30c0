"""A new body over the plate over the original frame, so that every pixel that need not change stays the source's own.

Colours are mixed in linear light on straight (not premultiplied) input, so edges get neither dark nor bright rims.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from utils.photometry import grain, linear_from_srgb, srgb_levels_from_linear

Box = tuple[int, int, int, int]
#: Blur in pixels that an anti-aliased drawing has by itself (a pixel's own area).
_DRAWN_BLUR = 0.4
#: Mean difference in levels between source and plate from which on the plate is used wholly.
_PERSON_LEVELS = (6.0, 14.0)


@dataclass(frozen=True)
class Layer:
    """The new person, in source pixels."""

    rgb: np.ndarray
    """(h, w, 3) uint8, straight colour: not multiplied by alpha."""
    alpha: np.ndarray
    """(h, w) float32, 0..1."""
    box: Box
    """x0, y0, x1, y1 in the frame, end exclusive; it may reach past the frame."""
    shadow: np.ndarray | None = None
    """(h, w) float32, factor on the linear light of what is behind; 1 = no shadow, more gives light back."""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if self.rgb.shape != (y1 - y0, x1 - x0, 3) or self.alpha.shape != (y1 - y0, x1 - x0):
            raise ValueError(f"layer {self.rgb.shape}, alpha {self.alpha.shape} do not fill the box {self.box}")
        if self.shadow is not None and self.shadow.shape != self.alpha.shape:
            raise ValueError(f"shadow {self.shadow.shape} must have the shape of alpha {self.alpha.shape}")


@dataclass(frozen=True)
class Finish:
    """The camera's marks that new pixels get."""

    grain: float = 0.0
    """Standard deviation of the footage's noise in sRGB levels."""
    blur: float = 0.0
    """Standard deviation of the footage's edge blur in pixels; the layer is softened up to it."""
    feather: int = 4
    """Width in pixels of the ramp, inside the removal mask, from the source to the plate."""
    seed: int = 0
    """Seed of the grain."""
    shadow_tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Exponents of the shadow's factor for R, G and B."""


def composite(
    source: np.ndarray,
    plate: np.ndarray,
    layer: Layer | None,
    *,
    removal_mask: np.ndarray,
    frame: int,
    finish: Finish | None = None,
    occluder: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one result frame.

    Only pixels inside the removal mask, under the (softened) layer or in its shadow can change; all others are the
    source's, bit for bit.

    Parameters
    ----------
    source:
        (H, W, 3) uint8, the original frame.
    plate:
        (H, W, 3) uint8, the scene without the person; read only inside the removal mask.
    layer:
        The new person, or ``None`` to only remove the old one.
    removal_mask:
        (H, W) bool, the old person, dilated by at least ``finish.feather`` and its edge blur.
    frame:
        Index of the frame; it decides the grain.
    finish:
        Grain, blur and feather; nothing is added if ``None``.
    occluder:
        (H, W) float32, 1 where something stands in front of the person: layer and shadow are hidden there.

    Returns
    -------
    (H, W, 3) uint8.

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    _check_shapes(source, plate, removal_mask, occluder)
    finish = finish or Finish()
    placed = None if layer is None else _place(layer, (source.shape[1], source.shape[0]), finish.blur)
    # One pixel around the mask, so that the ramp sees where it ends; where the frame ends it goes on.
    box = _union(_mask_box(removal_mask, 1), placed.box if placed else None)
    result = source.copy()
    if box is None:
        return result
    x0, y0, x1, y1 = box
    window = np.s_[y0:y1, x0:x1]
    source_box = np.ascontiguousarray(source[window])
    weight = _plate_weight(source_box, plate[window], removal_mask[window], finish.feather)
    behind = _mix(linear_from_srgb(source_box), linear_from_srgb(np.ascontiguousarray(plate[window])), weight)
    new = weight
    if placed is not None:
        hidden = None if occluder is None else occluder[placed.window]
        behind, alpha, shaded = _draw(behind, placed, box, hidden, finish.shadow_tint)
        new = 1 - (1 - weight) * (1 - alpha)
        changed = (new > 0) | shaded
    else:
        changed = new > 0
    levels = srgb_levels_from_linear(behind)
    _add_grain(levels, new, finish, frame, (x0, y0))
    drawn = cv2.convertScaleAbs(np.maximum(levels, 0, out=levels))
    cv2.copyTo(drawn, changed.astype(np.uint8), result[window])
    return result


def _check_shapes(source: np.ndarray, plate: np.ndarray, removal: np.ndarray, occluder: np.ndarray | None) -> None:
    if plate.shape != source.shape:
        raise ValueError(f"plate {plate.shape} must have the shape of the source {source.shape}")
    for name, mask in (("removal_mask", removal), ("occluder", occluder)):
        if mask is not None and mask.shape != source.shape[:2]:
            raise ValueError(f"{name} {mask.shape} must have the size of the source {source.shape[:2]}")


# --- boxes ----------------------------------------------------------------------------------------------------------


def _mask_box(mask: np.ndarray, margin: int) -> Box | None:
    """Box around the true pixels, or ``None`` where there is none."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return None
    rows, columns = mask.shape
    return max(x - margin, 0), max(y - margin, 0), min(x + width + margin, columns), min(y + height + margin, rows)


def _union(first: Box | None, second: Box | None) -> Box | None:
    if first is None or second is None:
        return first or second
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


# --- the layer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placed:
    """The layer inside the frame: linear, premultiplied, softened."""

    colour: np.ndarray  # (h, w, 3) float32
    alpha: np.ndarray  # (h, w) float32
    shadow: np.ndarray | None  # (h, w) float32
    box: Box

    @property
    def window(self) -> tuple[slice, slice]:
        x0, y0, x1, y1 = self.box
        return np.s_[y0:y1, x0:x1]


def _place(layer: Layer, size: tuple[int, int], blur: float) -> _Placed | None:
    """Cut the layer to what is drawn and to the frame, soften it, or ``None`` where nothing of it is in the frame."""
    touched = layer.alpha > 0
    if layer.shadow is not None:
        touched |= layer.shadow != 1
    inner = _mask_box(touched, round(3 * blur) + 1)
    if inner is None:
        return None
    left, top = layer.box[:2]
    x0, y0 = max(inner[0], -left), max(inner[1], -top)
    x1, y1 = min(inner[2], size[0] - left), min(inner[3], size[1] - top)
    if x0 >= x1 or y0 >= y1:
        return None
    cut = np.s_[y0:y1, x0:x1]
    alpha = np.ascontiguousarray(layer.alpha[cut])
    colour = linear_from_srgb(np.ascontiguousarray(layer.rgb[cut]))
    colour = cv2.multiply(colour, cv2.merge([alpha, alpha, alpha]))
    softening = np.sqrt(max(blur**2 - _DRAWN_BLUR**2, 0.0))
    if softening > 0.2:
        alpha = cv2.GaussianBlur(alpha, (0, 0), softening)
        colour = cv2.GaussianBlur(colour, (0, 0), softening)
        alpha[alpha < 1 / 512] = 0  # the far tail of the blur would change pixels by less than a level
    shadow = None if layer.shadow is None else np.ascontiguousarray(layer.shadow[cut])
    return _Placed(colour, alpha, shadow, (x0 + left, y0 + top, x1 + left, y1 + top))


def _draw(
    behind: np.ndarray,
    placed: _Placed,
    box: Box,
    hidden: np.ndarray | None,
    tint: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay shadow and body over ``behind`` (in place). Returns it, alpha and the shadowed pixels of the whole box."""
    height, width = box[3] - box[1], box[2] - box[0]
    full_alpha, shaded = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    dx, dy = placed.box[0] - box[0], placed.box[1] - box[1]
    spot = np.s_[dy : dy + placed.alpha.shape[0], dx : dx + placed.alpha.shape[1]]
    alpha, colour, shadow = placed.alpha, placed.colour, placed.shadow
    if hidden is not None:
        seen = 1 - hidden
        alpha = alpha * seen
        colour = colour * seen[..., None]
        shadow = None if shadow is None else 1 - (1 - shadow) * seen
    through = cv2.merge([1 - alpha] * 3)
    if shadow is not None:
        through *= _tinted(shadow, tint)
        shaded[spot] = shadow != 1
    behind[spot] = cv2.add(cv2.multiply(behind[spot], through), colour)
    full_alpha[spot] = alpha
    return behind, full_alpha, shaded


def _tinted(shadow: np.ndarray, tint: tuple[float, float, float]) -> np.ndarray:
    """(h, w, 3) float32 the shadow's factor by channel."""
    if all(abs(exponent - 1) < 1e-3 for exponent in tint):
        return cv2.merge([shadow] * 3)
    return cv2.merge([cv2.pow(shadow, exponent) for exponent in tint])


# --- the plate ------------------------------------------------------------------------------------------------------


def _plate_weight(source: np.ndarray, plate: np.ndarray, removal: np.ndarray, feather: int) -> np.ndarray:
    """Share of the plate, (h, w) float32: 0 outside the mask, a ramp inside its edge, 1 further in.

    The ramp hides small differences of exposure. Where source and plate differ by more than that the source still
    shows the old person (or its shadow), so there the plate is used wholly, ramp or not.
    """
    mask = removal.view(np.uint8)
    if feather <= 0 or not mask.any():
        return mask.astype(np.float32)
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    ramp = np.clip(inside / (feather + 1), 0, 1)
    difference = cv2.blur(cv2.transform(cv2.absdiff(source, plate), np.full((1, 3), 1 / 3)).astype(np.float32), (5, 5))
    low, high = _PERSON_LEVELS
    person = np.clip((difference - low) / (high - low), 0, 1)
    return np.maximum(ramp, person) * mask


def _mix(under: np.ndarray, over: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return cv2.add(under, cv2.multiply(cv2.subtract(over, under), cv2.merge([weight] * 3)))


# --- grain ----------------------------------------------------------------------------------------------------------


def _add_grain(levels: np.ndarray, new: np.ndarray, finish: Finish, frame: int, origin: tuple[int, int]) -> None:
    """Add the footage's grain where pixels are new (in place).

    A pixel that is partly the source's has part of the grain already: variances add, so the missing part is
    sqrt(1 - kept^2). Noise is weaker where the tone curve is flat: near black and near white.
    """
    if finish.grain <= 0:
        return
    height, width = new.shape
    noise = grain(height, width, finish.grain, frame, finish.seed)
    tone = levels[..., 1] * np.float32(1 / 255)
    strength = np.sqrt(np.clip(new * (2 - new), 0, 1)) * (0.55 + 1.8 * tone * (1 - tone))
    levels += cv2.multiply(noise, cv2.merge([strength] * 3))
