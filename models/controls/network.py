"""A network that guesses depth from one picture, for what the fitted body does not cover."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from core.errors import ModelUnavailable

#: The network's name in the weights table.
WEIGHTS = "depth"


class DepthNetwork(Protocol):
    """Depth from one picture."""

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W) float32 inverse depth, up to a scale and a shift, of an (H, W, 3) uint8 picture; near is large."""
        ...


class TransformersDepth:
    """A depth network of the transformers library, such as Depth Anything V2.

    Parameters
    ----------
    folder:
        Where ``config.json``, ``preprocessor_config.json`` and ``model.safetensors`` are.
    device:
        Torch device to run on.

    Raises
    ------
    ModelUnavailable
        The folder does not hold a depth network that can be read.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from safetensors import SafetensorError
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils import logging

        from models.memory import compute_dtype

        # Its bars would break into the run's own lines.
        logging.disable_progress_bar()
        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model = AutoModelForDepthEstimation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=compute_dtype(device)
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise ModelUnavailable(
                f"The depth network in {folder} cannot be loaded: {reason}.",
                f"Fetch it again: python app.py weights pull {WEIGHTS}",
            ) from error
        self._model = model.to(device).eval()
        self._metric = getattr(model.config, "depth_estimation_type", "relative") == "metric"

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """See :class:`DepthNetwork`."""
        import torch

        with torch.inference_mode():
            pixels = self._processor(images=rgb, return_tensors="pt")["pixel_values"]
            output = self._model(pixel_values=pixels.to(self._model.device, self._model.dtype))
            output.predicted_depth = output.predicted_depth.float()
            found = self._processor.post_process_depth_estimation(output, target_sizes=[rgb.shape[:2]])
        depth = found[0]["predicted_depth"].cpu().numpy()
        return 1.0 / np.maximum(depth, 1e-2) if self._metric else depth


@lru_cache(maxsize=1)
def _loaded(folder: Path, device: str) -> TransformersDepth:
    return TransformersDepth(folder, device)


def installed_depth_network(device: str = "") -> DepthNetwork | None:
    """The depth network, where its weights are on disk; ``None`` where they are not. It stays loaded.

    Parameters
    ----------
    device:
        Torch device; empty takes the best there is.

    Raises
    ------
    ModelUnavailable
        The weights are there, but damaged.
    """
    from models import weights
    from models.memory import best_device

    try:
        folder = weights.require(WEIGHTS)
    except ModelUnavailable:
        return None
    return _loaded(folder, device or best_device())
