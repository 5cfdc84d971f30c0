"""What the survey finds out about a clip, and which settings it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np

from core.progress import Progress
from core.runs import RunFolder
from core.types import BodyParams, CameraPath, FootContacts, PersonTrack, PoseTrack, ShotLook, VideoInfo
from models.person_tracker import StartingPoint


class SurveySettings(Protocol):
    """The settings that the survey reads; every product's settings have them."""

    @property
    def person(self) -> tuple[float, float] | None:
        """A point on the person to follow, pixels."""

    @property
    def detector(self) -> str:
        """What finds the person."""

    @property
    def detector_complexity(self) -> int:
        """Its effort, 0 to 2."""

    @property
    def max_gap(self) -> int:
        """Longest gap, in frames, that is predicted."""

    @property
    def feature_points(self) -> int:
        """Points tracked to follow the camera."""

    @property
    def smoothing_window(self) -> int:
        """Frames over which the camera's path is smoothed."""

    @property
    def fit(self) -> Literal["quick", "thorough", "best"]:
        """Effort of the body fit."""

    @property
    def focal_length(self) -> float | None:
        """Focal length of the footage, pixels."""

    @property
    def foot_lock(self) -> bool:
        """Whether standing feet are held."""


@dataclass
class Survey:
    """One clip on its way through the survey. Each stage fills in what the next ones need."""

    info: VideoInfo
    """The source clip."""
    settings: SurveySettings
    """What the user asked for."""
    run: RunFolder
    """Where everything is kept."""
    progress: Progress
    """How far the run is; raises where it was cancelled."""

    K: np.ndarray | None = None
    """(3, 3) camera matrix in pixels, where it is known beforehand."""
    start: StartingPoint | None = None
    """Who is followed, where that is known beforehand."""
    track: PersonTrack | None = None
    """The person, filled by *detect*."""
    cuts: tuple[int, ...] = ()
    """First frames of new shots, filled by *detect* where it looks for them."""
    camera: CameraPath | None = None
    """The camera, filled by *stabilize*."""
    pose: PoseTrack | None = None
    """The cleaned landmarks, filled by *detect*."""
    contacts: FootContacts | None = None
    """Standing feet, filled by :func:`pipelines.survey.motion.find_contacts`."""
    body: BodyParams | None = None
    """The fitted body, filled by *body*; ``None`` where none is needed."""
    look: ShotLook | None = None
    """Light, grain and blur of the footage, filled by *look*."""
    figures: dict[str, float | None] = field(default_factory=dict)
    """Quality figures that stages found on the way."""

    absent_frames: ClassVar[str] = "they hold no body"
    """What becomes of frames without the person, for the warning."""

    @property
    def found(self) -> tuple[PersonTrack, PoseTrack, CameraPath]:
        """Person, pose and camera, which every stage after *stabilize* may count on."""
        assert self.track is not None and self.pose is not None and self.camera is not None, "stages out of order"
        return self.track, self.pose, self.camera
