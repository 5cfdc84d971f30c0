"""A small draft of the scene behind the person: quick to make, and good enough to align, judge and mask by."""

from __future__ import annotations

import cv2
import numpy as np

from utils import optical_flow
from utils.aligned_median import stack_statistics
from utils.removal_mask import grow_by_residual, largest_channel
from utils.scene_light import exposure_gain, with_gain
from utils.scene_region import Placement, View, view

#: Samples that differ by less than this from the reference, on average, are never dropped, levels.
_MISFIT_LEVELS = 8.0
#: The flow to the scene is averaged over cells of this size and never larger than this, draft pixels.
_FLOW_CELL = 4
_FLOW_LIMIT = 4.0
#: A scene pixel that fewer samples show than this is no ground to judge a frame by.
_SURE_COUNT = 4


class SceneDraft:
    """The scene at reduced size, as the median of aligned samples.

    Parameters
    ----------
    reference:
        What the window's reference frame shows, at the draft's size.
    scale:
        Size of the draft against the region.

    Attributes
    ----------
    placements, gains:
        By frame: where the samples lie, and the factors (3,) that bring them to the reference's exposure.
    scene:
        (h, w, 3) uint8.
    spread:
        (h, w) float32, how much the samples differ, levels.
    count:
        (h, w) int16, samples that show the pixel.
    """

    def __init__(self, reference: View, scale: float) -> None:
        self._reference, self._scale = reference, scale
        self._views: dict[int, View] = {}
        self.placements: dict[int, Placement] = {}
        self.gains: dict[int, np.ndarray] = {}
        self.scene = np.zeros_like(reference.patch)
        self.spread = np.zeros(reference.hole.shape, np.float32)
        self.count = np.zeros(reference.hole.shape, np.int16)

    def add(self, t: int, rgb: np.ndarray, hole: np.ndarray, placement: Placement) -> None:
        """Add a sample: frame ``t``, (H, W, 3) uint8 with the person's (H, W) bool mask, and where it lies."""
        sample = view(placement, rgb, hole, self._scale, cv2.INTER_LINEAR)
        gain = exposure_gain(sample.patch, self._reference.patch, sample.shown & self._reference.shown)
        sample.patch = with_gain(sample.patch, gain)
        self._views[t], self.placements[t], self.gains[t] = sample, placement, gain

    def settle(self) -> None:
        """Make the scene from the samples that fit, and forget those that do not."""
        self._drop_misfits()
        if not self._views:
            return
        height, width = self.spread.shape
        views = list(self._views.values())
        found = stack_statistics(
            np.stack([v.patch.reshape(-1, 3) for v in views]), np.stack([v.shown.ravel() for v in views])
        )
        self.scene = np.rint(found.median).astype(np.uint8).reshape(height, width, 3)
        self.spread = found.spread.reshape(height, width)
        self.count = found.count.reshape(height, width)

    def align_to_scene(self) -> None:
        """Lay every sample over the scene by dense flow, where the two still differ by parallax, and settle again.

        Around the person the reference itself is the scene, so that the plate continues what stays of the frame.
        """
        shown = self._reference.shown
        target = np.where(shown[..., None], self._reference.patch, self.scene)
        known = shown | (self.count > 0)
        for t, sample in self._views.items():
            both = sample.shown & known
            # Where one of the two does not know, both look alike, so that nothing pulls there.
            picture = np.where(both[..., None], sample.patch, target)
            flow = optical_flow.flow(target, picture, "balanced")
            move = _smooth_flow(flow, both)
            self.placements[t] = self.placements[t].moved(move / self._scale)
            sample.patch = optical_flow.warp(sample.patch, cv2.resize(move, both.shape[::-1]))
        self.settle()

    def grown_hole(self, shown: View, reach: int) -> np.ndarray:
        """(h, w) bool at draft size: a frame's hole with what hangs on the person and moves with it."""
        known = shown.inside & (self.count >= _SURE_COUNT)
        return grow_by_residual(shown.patch, shown.hole, self.scene, self.spread, known, reach)

    def grown_samples(self, reach: int) -> dict[int, np.ndarray]:
        """(h, w) bool at draft size by frame: :meth:`grown_hole` of every sample that is used."""
        return {t: self.grown_hole(sample, reach) for t, sample in self._views.items()}

    def _drop_misfits(self) -> None:
        """Drop samples that do not lie well over the reference: wrongly aligned, or another shot altogether."""
        misfit = {}
        for t, sample in self._views.items():
            both = sample.shown & self._reference.shown
            if np.count_nonzero(both) > 100:
                difference = largest_channel(cv2.absdiff(sample.patch, self._reference.patch))
                misfit[t] = float(difference[both].mean())
        if not misfit:
            return
        limit = max(_MISFIT_LEVELS, 2.0 * float(np.quantile(list(misfit.values()), 0.3)))
        self._views = {t: v for t, v in self._views.items() if misfit.get(t, np.inf) <= limit}


def _smooth_flow(flow: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(h/4, w/4, 2) float32: the flow averaged over cells and their neighbours, from valid pixels only."""
    size = (max(flow.shape[1] // _FLOW_CELL, 1), max(flow.shape[0] // _FLOW_CELL, 1))
    usable = valid & (np.abs(flow[..., 0]) < _FLOW_LIMIT) & (np.abs(flow[..., 1]) < _FLOW_LIMIT)
    weight = usable.astype(np.float32)
    packed = cv2.resize(np.dstack([flow * weight[..., None], weight]), size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(packed, (0, 0), 1.5)
    return blurred[..., :2] / (blurred[..., 2:] + 0.02)
