"""What the survey finds out about a clip, and everything that the later stages share."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.masks import MaskArchive
from core.progress import Progress
from core.runs import RunFolder
from core.settings import ReplaceSettings
from core.types import BodyParams, CameraPath, FootContacts, PersonTrack, PoseTrack, Segment, ShotLook, VideoInfo
from models.generators.base import Generator
from models.person_tracker import StartingPoint
from pipelines.replace.costs import wants_plate


@dataclass
class Shot:
    """One clip on its way through the pipeline. Each stage fills in what the next ones need."""

    info: VideoInfo
    """The source clip."""
    settings: ReplaceSettings
    """What the user asked for."""
    run: RunFolder
    """Where everything is kept."""
    engine: Generator
    """What draws the new person."""
    progress: Progress
    """How far the run is; raises where it was cancelled."""

    start: StartingPoint | None = None
    """Who is followed, where that is known beforehand."""
    track: PersonTrack | None = None
    """The person, filled by *detect*."""
    camera: CameraPath | None = None
    """The camera, filled by *stabilize*."""
    pose: PoseTrack | None = None
    """The cleaned landmarks, filled by *detect*."""
    contacts: FootContacts | None = None
    """Standing feet, filled by *segment*."""
    segments: tuple[Segment, ...] = ()
    """Filled by *segment*."""
    removal: MaskArchive | None = None
    """Pixels that the plate replaces, filled by *plate*; ``None`` where no plate is used."""
    occluders: MaskArchive | None = None
    """What stands in front of the person, filled by *plate*; ``None`` where nothing does."""
    body: BodyParams | None = None
    """The fitted body, filled by *body*; ``None`` where the engine needs none."""
    look: ShotLook | None = None
    """Light, grain and blur of the footage, filled by *look*."""
    figures: dict[str, float | None] = field(default_factory=dict)
    """Quality figures that stages found on the way."""

    @property
    def wants_plate(self) -> bool:
        """Whether the scene without the person is made."""
        return wants_plate(self.settings, self.engine.capabilities)

    @property
    def found(self) -> tuple[PersonTrack, PoseTrack, CameraPath]:
        """Person, pose and camera, which every stage after *stabilize* may count on."""
        assert self.track is not None and self.pose is not None and self.camera is not None, "stages out of order"
        return self.track, self.pose, self.camera
