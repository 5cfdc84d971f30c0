"""The edge map: Canny edges by controlnet-aux, at the crop's own size."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from core.errors import ModelUnavailable
from models.controls.source import ControlSource

#: Thresholds of the gradient, controlnet-aux's own defaults.
LOW, HIGH = 100, 200
#: controlnet-aux works at sizes that are multiples of this.
MULTIPLE = 64
#: Name under which controlnet-aux's folder is entered without running its ``__init__``.
_FOLDER = "_controlnet_aux_parts"


@cache
def _detector() -> Any:
    """controlnet-aux's ``CannyDetector``.

    Importing the package imports all of its detectors: five seconds, mediapipe, timm and names taken in timm's registry.
    Canny needs none of that, so its module is loaded from the package's folder under a name of its own.

    Raises
    ------
    ModelUnavailable
        The package is not installed.
    """
    package = find_spec("controlnet_aux")
    if package is None or not package.submodule_search_locations:
        raise ModelUnavailable("The package controlnet-aux is not installed.", "Run: make setup")
    folder = ModuleType(_FOLDER)
    folder.__path__ = list(package.submodule_search_locations)
    sys.modules[_FOLDER] = folder
    try:
        return importlib.import_module(f"{_FOLDER}.canny").CannyDetector()
    except ImportError as error:
        raise ModelUnavailable(f"controlnet-aux cannot be loaded: {error}.", "Run: make setup") from error


def canny_map(rgb: np.ndarray) -> np.ndarray:
    """Edges, white on black, (H, W, 3) uint8, of an (H, W, 3) uint8 picture."""
    height, width = rgb.shape[:2]
    # At a multiple of its size the detector resamples nothing: every edge stays one pixel wide and in its place.
    rows, columns = -height % MULTIPLE, -width % MULTIPLE
    padded = np.pad(rgb, ((0, rows), (0, columns), (0, 0)), mode="edge")
    side = min(padded.shape[:2])
    edges = _detector()(padded, LOW, HIGH, detect_resolution=side, image_resolution=side, output_type="np")
    return np.ascontiguousarray(edges[:height, :width])


def canny_maps(source: ControlSource) -> np.ndarray:
    """(N, H, W, 3) uint8: the edges in each frame."""
    return np.stack([canny_map(frame) for frame in source.frames])
