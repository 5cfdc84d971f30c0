"""What drawing starts from: the avatar's picture, the previous result moved along, or the source."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.types import GenerationRequest, GenerationResult
from utils import optical_flow


@dataclass(frozen=True)
class Motion:
    """The footage's motion between two frames, canvas pixels."""

    forward: np.ndarray
    """(h, w, 2) float32, from the previous frame to this one."""
    backward: np.ndarray
    """(h, w, 2) float32, from this frame to the previous one."""

    @staticmethod
    def between(previous: np.ndarray, this: np.ndarray) -> Motion:
        """Motion between two (h, w, 3) uint8 pictures; exactly none between equal ones."""
        if np.array_equal(previous, this):
            still = np.zeros((*this.shape[:2], 2), np.float32)
            return Motion(still, still)
        return Motion(optical_flow.flow(previous, this, "fast"), optical_flow.flow(this, previous, "fast"))


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
