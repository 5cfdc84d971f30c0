"""A rectangle of the scene in the pixels of one reference frame, and how other frames are laid into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from utils import transforms
from utils.transforms import compose, invert, scaling, translation

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Placement:
    """How one frame lies in the region."""

    H_region_frame: np.ndarray
    """(3, 3) float64: frame pixels -> region pixels."""
    size: tuple[int, int]
    """``(width, height)`` of the region in pixels."""
    field: np.ndarray | None = None
    """(h, w, 2) float32 over the region at any resolution, pixels: what the matrix leaves. The scene point at region
    pixel p is seen where the matrix alone would put p + field(p)."""

    def maps(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Where in the frame each pixel of the region, resized by ``scale``, is seen: x and y, (h, w) float32."""
        size = scaled(self.size, scale)
        x, y = _grid(size)
        (a, b, c), (d, e, f), (g, h, i) = invert(compose(scaling(scale), self.H_region_frame)).astype(np.float32)
        if self.field is not None:
            move = cv2.resize(self.field, size, interpolation=cv2.INTER_LINEAR) * np.float32(scale)
            x, y = x + move[..., 0], y + move[..., 1]
        if g == 0 and h == 0:
            return a * x + b * y + c, d * x + e * y + f
        depth = g * x + h * y + i
        return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth

    def to_frame(
        self, image: np.ndarray, box: Box, scale: float = 1.0, interpolation: int = cv2.INTER_LINEAR
    ) -> np.ndarray:
        """Lay a picture of the region, resized by ``scale``, into a box of the frame.

        The field is inverted to first order, which is exact to a hundredth of a pixel for the smooth fields used here.
        """
        left, top, right, bottom = box
        size = (right - left, bottom - top)
        H = compose(translation(-left, -top), self.H_region_frame_inverse, scaling(1 / scale))
        if self.field is None:
            return transforms.warp(image, H, size, interpolation, cv2.BORDER_REPLICATE)
        x, y = _grid(size)
        (a, b, c), (d, e, f), _ = invert(H).astype(np.float32)
        x, y = a * x + b * y + c, d * x + e * y + f
        height, width = image.shape[:2]
        move = cv2.remap(
            self.field,
            (x + 0.5) * (self.field.shape[1] / width) - 0.5,
            (y + 0.5) * (self.field.shape[0] / height) - 0.5,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ) * np.float32(scale)
        flags = cv2.INTER_NEAREST if image.dtype == bool else interpolation
        picture = image.view(np.uint8) if image.dtype == bool else image
        result = cv2.remap(picture, x - move[..., 0], y - move[..., 1], flags, borderMode=cv2.BORDER_REPLICATE)
        return result.view(bool) if image.dtype == bool else result

    @property
    def H_region_frame_inverse(self) -> np.ndarray:
        """(3, 3): region pixels -> frame pixels."""
        return invert(self.H_region_frame)

    def moved(self, displacement: np.ndarray) -> Placement:
        """The placement with a further displacement, (h, w, 2) in region pixels, before the present one."""
        if self.field is not None:
            size = (displacement.shape[1], displacement.shape[0])
            displacement = displacement + cv2.resize(self.field, size, interpolation=cv2.INTER_LINEAR)
        return replace(self, field=displacement)


@dataclass
class View:
    """What one frame shows of the region, at full or reduced size."""

    patch: np.ndarray
    """(h, w, 3) uint8."""
    hole: np.ndarray
    """(h, w) bool: on the person."""
    inside: np.ndarray
    """(h, w) bool: within the frame."""
    level: np.ndarray
    """(h, w) uint8: 0 off the person, else how deep within its mask (255 = outside the frame)."""

    @property
    def shown(self) -> np.ndarray:
        """(h, w) bool: pixels where the frame shows the scene."""
        return self.inside & ~self.hole


def view(
    placement: Placement, rgb: np.ndarray, hole: np.ndarray, scale: float, interpolation: int, box: Box | None = None
) -> View:
    """Fetch what a frame shows of the region.

    Parameters
    ----------
    placement:
        How the frame lies in the region.
    rgb:
        (H, W, 3) uint8, or (H, W) uint8 grey.
    hole:
        (H, W) bool, the person in the frame, or uint8 levels of it, 0 off the person.
    scale:
        1 for region pixels, 0.5 for half the size.
    interpolation:
        OpenCV flag.
    box:
        Part of the resized region to fetch; all of it by default.
    """
    x, y = placement.maps(scale)
    if box is not None:
        left, top, right, bottom = box
        x, y = (np.ascontiguousarray(m[top:bottom, left:right]) for m in (x, y))
    patch = cv2.remap(rgb, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)
    # One look-up for both: outside the frame the border value comes back.
    level = cv2.remap(hole.view(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
    return View(patch, (level > 0) & (level < 255), level < 255, level)


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """``(width, height)`` of a picture resized by ``scale``, at least one pixel."""
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def enclosing(outlines: Iterable[np.ndarray]) -> Box | None:
    """The smallest box of whole pixels around some point sets; None where there are none."""
    points = [np.asarray(outline).reshape(-1, 2) for outline in outlines]
    if not points:
        return None
    everything = np.concatenate(points)
    left, top = np.floor(everything.min(axis=0)).astype(int)
    right, bottom = np.ceil(everything.max(axis=0)).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x as (1, w) and y as (h, 1), float32, ready to broadcast."""
    return np.arange(size[0], dtype=np.float32)[None], np.arange(size[1], dtype=np.float32)[:, None]
