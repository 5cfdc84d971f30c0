"""The picture that the network draws: a crop scaled to the generation size, and what is known of its pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.types import ControlMaps, GenerationRequest
from utils import transforms

#: Pixels of one cell of the latent grid, along each side. True of every Stable Diffusion 1.x VAE.
CELL = 8
#: How far the mask grows beyond the person, and over which width it falls off beyond that, as shares of the crop's
#: longer side: room for hair and clothes that the old person did not have.
REACH, FEATHER = 0.02, 0.02


@dataclass(frozen=True)
class Canvas:
    """How crops of one size are scaled for the network, and back."""

    crop_size: tuple[int, int]
    """``(width, height)`` of the crop."""
    size: tuple[int, int]
    """``(width, height)`` that the network draws; multiples of :data:`CELL`."""

    @staticmethod
    def fit(crop_size: tuple[int, int], longer_side: int) -> Canvas:
        """The canvas whose longer side is nearest to ``longer_side``; sides are rounded to whole cells."""
        factor = longer_side / max(crop_size)
        width, height = (max(1, round(side * factor / CELL)) * CELL for side in crop_size)
        return Canvas(crop_size, (width, height))

    @property
    def cells(self) -> tuple[int, int]:
        """``(rows, columns)`` of the latent grid."""
        return self.size[1] // CELL, self.size[0] // CELL

    @property
    def H_canvas_crop(self) -> np.ndarray:
        """(3, 3) float64: crop pixels -> canvas pixels."""
        return transforms.scaling(self.size[0] / self.crop_size[0], self.size[1] / self.crop_size[1])

    def scaled(self, request: GenerationRequest) -> GenerationRequest:
        """The same request in canvas pixels."""
        masks = np.stack([_resize(mask.astype(np.uint8) * 255, self.size) >= 128 for mask in request.masks])
        controls = request.controls
        if controls is not None:
            controls = ControlMaps({name: self.to_canvas(maps) for name, maps in controls.maps.items()})
        return replace(
            request,
            frames=self.to_canvas(request.frames),
            masks=masks,
            H_crop_source=self.H_canvas_crop @ request.H_crop_source,
            plate=None if request.plate is None else self.to_canvas(request.plate),
            controls=controls,
            carried=None,
            landmarks=None,
            # Networks draw no shadow on the ground.
            sunlit=None,
        )

    def to_canvas(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 pictures in canvas pixels."""
        return np.stack([_resize(picture, self.size) for picture in pictures])

    def to_crop(self, pictures: np.ndarray) -> np.ndarray:
        """(N, h, w) or (N, h, w, 3), drawn by the network, in crop pixels."""
        return np.stack([_resize(picture, self.crop_size) for picture in pictures])


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample without aliasing when it shrinks and without steps when it grows."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    shrinks = size[0] * size[1] < width * height
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def soft_mask(mask: np.ndarray) -> np.ndarray:
    """Grow a mask and let it fall off smoothly, to exactly 0.

    Parameters
    ----------
    mask:
        (H, W) bool.

    Returns
    -------
    (H, W) float32, 0..1: 1 within :data:`REACH` of the mask, 0 beyond ``REACH + FEATHER`` (shares of the longer side).
    """
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    longer = max(mask.shape)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    ramp = np.clip(1 - (away - REACH * longer) / max(FEATHER * longer, 1.0), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def whole_cells(mask: np.ndarray) -> np.ndarray:
    """Grow a canvas mask, (h, w) bool, to whole cells of the latent grid: the network draws cells, not pixels."""
    rows, columns = mask.shape[0] // CELL, mask.shape[1] // CELL
    cells = mask.reshape(rows, CELL, columns, CELL).any(axis=(1, 3))
    return cells.repeat(CELL, axis=0).repeat(CELL, axis=1)


@dataclass(frozen=True)
class Sheet:
    """What the network needs to draw a few frames, in canvas pixels."""

    start: np.ndarray
    """(N, h, w, 3) uint8: what it starts from, inside the mask; the picture around it, outside."""
    masks: np.ndarray
    """(N, h, w) bool, whole cells: where it draws."""
    controls: tuple[np.ndarray, ...]
    """(N, h, w, 3) uint8 for each ControlNet."""
    noise: np.ndarray
    """(N, K, 4, h / 8, w / 8) float32, white: K noises for each frame, for as many steps as need new noise."""

    def __len__(self) -> int:
        return len(self.start)

    def part(self, rows: slice) -> Sheet:
        """Some of the frames."""
        return Sheet(self.start[rows], self.masks[rows], tuple(c[rows] for c in self.controls), self.noise[rows])
