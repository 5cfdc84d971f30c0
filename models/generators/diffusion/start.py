"""What drawing starts from: the avatar's picture, the previous result moved along, or the source."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from core.types import GenerationRequest, GenerationResult
from utils import optical_flow


class Motion:
    """The footage's motion between two frames, canvas pixels; exactly none between equal ones. Found when it is asked for."""

    def __init__(self, previous: np.ndarray, this: np.ndarray) -> None:
        """Of two (h, w, 3) uint8 pictures."""
        self._previous, self._this = previous, this

    @cached_property
    def forward(self) -> np.ndarray:
        """(h, w, 2) float32, from the previous frame to this one."""
        return _flow(self._previous, self._this)

    @cached_property
    def backward(self) -> np.ndarray:
        """(h, w, 2) float32, from this frame to the previous one."""
        return _flow(self._this, self._previous)


def _flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if np.array_equal(a, b):
        return np.zeros((*a.shape[:2], 2), np.float32)
    return optical_flow.flow(a, b, "fast")


def background(request: GenerationRequest) -> np.ndarray:
    """(N, h, w, 3) uint8: the picture around the new person, without the old one where that is known."""
    return request.frames if request.plate is None else request.plate


def with_avatar(behind: np.ndarray, avatar: GenerationResult) -> np.ndarray:
    """(N, h, w, 3) uint8: the avatar's picture in front of ``behind``."""
    layers = zip(avatar.frames, behind, avatar.alpha, strict=True)
    return np.stack([cv2.blendLinear(front, back, alpha, 1 - alpha) for front, back, alpha in layers])


def moved_on(previous: np.ndarray, motion: Motion, otherwise: np.ndarray) -> np.ndarray:
    """The previous result carried along the footage's motion.

    Parameters
    ----------
    previous:
        (h, w, 3) uint8, the previous result.
    otherwise:
        (h, w, 3) uint8, taken where the motion cannot be trusted: what comes into view.

    Returns
    -------
    (h, w, 3) uint8.
    """
    trust = optical_flow.consistency(motion.backward, motion.forward)[..., None]
    carried = optical_flow.warp(previous, motion.backward)
    return np.clip(trust * carried + (1 - trust) * otherwise + 0.5, 0, 255).astype(np.uint8)
