"""The engine that changes nothing: the source person comes back as the new layer.

It is the test double of every other engine, and the proof that the pipeline alters nothing by itself.
"""

from __future__ import annotations

import cv2
import numpy as np

from core.types import GenerationRequest, GenerationResult
from models.generators.base import Capabilities, LoadProgress

#: How far the layer reaches beyond the mask, in pixels, and how softly it ends.
REACH = 4
FEATHER = 2.0


def soft_dilation(mask: np.ndarray, reach: int = REACH, feather: float = FEATHER) -> np.ndarray:
    """Grow a mask by ``reach`` pixels and let it fall off softly beyond that.

    Parameters
    ----------
    mask:
        (H, W) bool.
    reach, feather:
        Pixels: growth, and standard deviation of the fall-off.

    Returns
    -------
    (H, W) float32, 0..1; exactly 1 on the mask itself.
    """
    size = 2 * reach + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    grown = cv2.dilate(mask.astype(np.uint8), kernel).astype(np.float32)
    return np.maximum(cv2.GaussianBlur(grown, (0, 0), feather), mask.astype(np.float32))


class PassthroughGenerator:
    """Gives back the source person. Deterministic, needs nothing."""

    name = "passthrough"
    capabilities = Capabilities(draws_in="stable", steady=True, holds_feet=True, matches_shot=True)

    def load(self, progress: LoadProgress | None = None) -> None:
        """Nothing has to be loaded."""
        if progress is not None:
            progress(1.0, "ready")

    def generate(self, request: GenerationRequest, progress: LoadProgress | None = None) -> GenerationResult:
        """The request's own frames, with the softly dilated mask as alpha."""
        alpha = np.stack([soft_dilation(mask) for mask in request.masks])
        return GenerationResult(frames=request.frames.copy(), alpha=alpha, seed=request.seed, engine=self.name)

    def unload(self) -> None:
        """Nothing was loaded."""
