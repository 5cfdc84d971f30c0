"""Control maps: pictures that tell a diffusion engine where the body is. Only the maps that an engine asks for are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from core.errors import InputError
from core.types import ControlMaps
from models.controls.edges import canny_maps
from models.controls.geometry import depth_maps, depth_reach, normal_maps
from models.controls.network import installed_depth_network
from models.controls.pose import pose_maps
from models.controls.source import ControlSource

__all__ = ["MAKERS", "ControlSource", "depth_reach", "installed_depth_network", "make_controls"]

#: Makers by the name that an engine asks for; each gives (N, H, W, 3) uint8 in crop pixels.
MAKERS: dict[str, Callable[[ControlSource], np.ndarray]] = {
    "pose": pose_maps,
    "depth": depth_maps,
    "normal": normal_maps,
    "canny": canny_maps,
}


def make_controls(names: Iterable[str], source: ControlSource) -> ControlMaps:
    """The maps that are asked for, and only those; libraries that a map needs are imported when it is made.

    Raises
    ------
    InputError
        A map that nobody makes, or a map of the body's surface without a fitted body.
    ModelUnavailable
        A library that a map needs is missing, or the depth network's files are damaged.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in MAKERS]
    if unknown:
        raise InputError(f"There is no control map named {unknown[0]!r}.", f"Maps: {', '.join(MAKERS)}.")
    return ControlMaps({name: MAKERS[name](source) for name in wanted})
