"""What control maps are made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from core.types import BodyParams
from models.controls.network import DepthNetwork

if TYPE_CHECKING:
    from models.controls.geometry import Scene


@dataclass(frozen=True)
class ControlSource:
    """What the maps of N consecutive frames are made from, in crop pixels."""

    frames: np.ndarray
    """(N, H, W, 3) uint8."""
    keypoints: np.ndarray
    """(N, 17, 3) float32, COCO keypoints x, y, score."""
    scale: float = 1.0
    """Pixels of the generated picture for each pixel of the crop: lines are drawn so that they have the width that the
    networks know once the maps are resized by this."""
    body: BodyParams | None = None
    """The fitted body in the N frames, for ``depth`` and ``normal``."""
    H_crop_source: np.ndarray | None = None
    """(N, 3, 3) source pixels -> crop pixels, for ``depth`` and ``normal``."""
    masks: np.ndarray | None = None
    """(N, H, W) bool, the source person: the depth network is compared with the body only where the person is seen."""
    reach: float | None = None
    """How far the body reaches in front of its root anywhere in the clip, metres (:func:`depth_reach`); ``None`` takes the
    N frames, and the grey levels then depend on how the clip is cut into groups."""
    find_network: Callable[[], DepthNetwork | None] = lambda: None
    """Gives the depth network for what is not the body, or ``None``; called when a map needs it, and not before."""

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of the crop in pixels."""
        return self.frames.shape[2], self.frames.shape[1]

    @cached_property
    def scene(self) -> Scene:
        """Depth of every pixel, found once for all maps that show it."""
        from models.controls.geometry import scene_of

        return scene_of(self)
