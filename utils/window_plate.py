"""The finished plate of one window of the clip, and how it is laid into the window's frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from utils.removal_mask import bounding_box
from utils.scene_light import seam_difference, seam_margin
from utils.scene_region import Placement


@dataclass(frozen=True)
class Window:
    """A stretch of the clip that shares one plate."""

    start: int
    """First frame."""
    end: int
    """One past the last frame of its own."""
    stop: int
    """One past the last frame that it covers: the frames from ``end`` on are faded into the next window."""

    @property
    def span(self) -> tuple[int, int]:
        """First frame and one past the last frame that it covers."""
        return self.start, self.stop

    @property
    def reference(self) -> int:
        """The frame in whose pixels the plate is made."""
        return (self.start + self.stop - 1) // 2


@dataclass(frozen=True)
class PlateFrame:
    """The plate of one frame."""

    index: int
    """Frame of the clip."""
    rgb: np.ndarray
    """(H, W, 3) uint8: the source frame without the person; equal to the source where ``removed`` is False."""
    removed: np.ndarray
    """(H, W) bool: pixels that were replaced: the person, its halo, and what moves with it."""
    seen: float
    """Share of the removed pixels that another frame really shows, 0..1; the rest is inpainted."""


@dataclass(frozen=True)
class FrameFit:
    """How the window's scene is laid into one frame."""

    placement: Placement
    removed: np.ndarray
    """(H, ceil(W/8)) uint8: packed mask of the pixels that are replaced."""
    light: np.ndarray
    """(h, w, 3) float32 over the region at a quarter of its size: levels to add to the scene."""


class WindowPlate:
    """The plate of one window; made by :meth:`PlateBuilder.build`.

    Attributes
    ----------
    coverage:
        Share of the window's holes that some frame really shows, 0..1.
    """

    def __init__(self, scene: np.ndarray, seen: np.ndarray, fits: dict[int, FrameFit], width: int) -> None:
        self._scene, self._seen, self._fits, self._width = scene, seen, fits, width
        self._shares = {t: self._seen_share(t) for t in fits}
        self.coverage = float(np.mean(list(self._shares.values()))) if fits else 1.0

    def __contains__(self, t: int) -> bool:
        return t in self._fits

    def removal_mask(self, t: int) -> np.ndarray:
        """(H, W) bool: the pixels of frame ``t`` that the plate replaces."""
        return np.unpackbits(self._fits[t].removed, axis=-1, count=self._width).view(bool)

    def seen(self, t: int) -> float:
        """Share of frame ``t``'s replaced pixels that another frame really shows, 0..1."""
        return self._shares[t]

    def _seen_share(self, t: int) -> float:
        removed = self.removal_mask(t)
        box = bounding_box(removed)
        if box is None:
            return 1.0
        left, top, right, bottom = box
        seen = self._fits[t].placement.to_frame(self._seen, box)
        return float(np.count_nonzero(seen & removed[top:bottom, left:right]) / np.count_nonzero(removed))

    def frame(self, t: int, source_rgb: np.ndarray) -> np.ndarray:
        """The source frame with the person taken out.

        Parameters
        ----------
        t:
            Frame of the clip; one that is not in the window's plate comes back as it is.
        source_rgb:
            (H, W, 3) uint8, that frame.

        Returns
        -------
        (H, W, 3) uint8; equal to the source outside :meth:`removal_mask`.
        """
        if t not in self._fits:
            return source_rgb
        fit, removed = self._fits[t], self.removal_mask(t)
        box = bounding_box(removed)
        if box is None:
            return source_rgb
        left, top, right, bottom = box = bounding_box(removed, seam_margin(box[3] - box[1])) or box
        part = (slice(top, bottom), slice(left, right))
        plate = fit.placement.to_frame(self._scene, box, interpolation=cv2.INTER_CUBIC)
        light = fit.placement.to_frame(fit.light, box, fit.light.shape[1] / self._scene.shape[1])
        plate = cv2.add(plate, light, dtype=cv2.CV_8U)
        known = fit.placement.to_frame(self._seen, box)
        plate = cv2.add(plate, seam_difference(source_rgb[part], plate, removed[part], known), dtype=cv2.CV_8U)
        result = source_rgb.copy()
        cv2.copyTo(plate, removed[part].view(np.uint8), result[part])
        return result
