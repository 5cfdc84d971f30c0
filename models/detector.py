"""What a person detector is, and where to get one.

A detector looks at single frames. Who is followed through the clip, and what happens where nobody is found, is decided
one floor up, in :mod:`models.person_tracker`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.errors import InputError
from core.types import Detection


@dataclass(frozen=True)
class PersonBox:
    """Where somebody is in a frame, without a pose."""

    xyxy: np.ndarray
    """(4,) float32, pixels."""
    score: float
    """Confidence, 0..1."""
    mask: np.ndarray | None = None
    """(H, W) bool, the person's pixels, where the detector knows them."""
    stature: float | None = None
    """Pixels from head to heel along the body, raised arms left out, where the detector knows them."""

    @property
    def size(self) -> float:
        """How large the person is: the stature, or the height of the box where that is all there is."""
        return float(self.xyxy[3] - self.xyxy[1]) if self.stature is None else self.stature


class PersonDetector(Protocol):
    """Finds people in single frames. Frames are (H, W, 3) uint8 RGB."""

    name: str

    def find_people(self, rgb: np.ndarray) -> list[PersonBox]:
        """Everybody in the frame, largest first."""
        ...

    def detect(self, rgb: np.ndarray, box: np.ndarray | None = None) -> Detection | None:
        """Pose and mask of one person.

        Parameters
        ----------
        rgb:
            (H, W, 3) uint8, the whole frame.
        box:
            (4,) xyxy in pixels, where the person is expected; only what is near it is looked at, so that others do not
            disturb. Without it the most prominent person of the frame is taken.

        Returns
        -------
        Detection in whole-frame pixels, or ``None`` where nobody is found in the box.
        """
        ...

    def close(self) -> None:
        """Free the networks. The detector cannot be used afterwards."""
        ...


def _mediapipe(complexity: int) -> PersonDetector:
    from models.detectors.mediapipe_pose import MediaPipeDetector

    return MediaPipeDetector(complexity)


#: Builders by name; each takes the complexity (0 fast, 1 balanced, 2 thorough) and imports its libraries itself.
DETECTORS: dict[str, Callable[[int], PersonDetector]] = {"mediapipe": _mediapipe}


def create_detector(name: str = "mediapipe", *, complexity: int = 1) -> PersonDetector:
    """Load a detector.

    Parameters
    ----------
    name:
        A key of :data:`DETECTORS`.
    complexity:
        0 fast, 1 balanced, 2 thorough; what it buys is the detector's own business.

    Raises
    ------
    InputError
        Unknown name, or a complexity other than 0, 1, 2.
    ModelUnavailable
        The detector's library or weights are missing.
    """
    if name not in DETECTORS:
        raise InputError(f"There is no detector called {name!r}.", f"Choose one of: {', '.join(sorted(DETECTORS))}.")
    if complexity not in (0, 1, 2):
        raise InputError(f"Detector complexity {complexity!r} is out of range.", "Choose 0, 1 or 2.")
    return DETECTORS[name](complexity)
