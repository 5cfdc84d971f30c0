"""What the survey finds out about a clip, and everything that the later stages share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from core.masks import MaskArchive
from core.settings import ReplaceSettings
from core.types import Segment
from models.generators.base import Generator
from pipelines.replace.costs import wants_plate
from pipelines.survey.findings import Survey

if TYPE_CHECKING:
    from pipelines.replace.ground import Ground


@dataclass
class Shot(Survey):
    """One clip on its way through the pipeline. Each stage fills in what the next ones need."""

    settings: ReplaceSettings
    """What the user asked for."""
    engine: Generator = field(kw_only=True)
    """What draws the new person."""

    segments: tuple[Segment, ...] = ()
    """Filled by *segment*."""
    removal: MaskArchive | None = None
    """Pixels that the plate replaces, filled by *plate*; ``None`` where no plate is used."""
    occluders: MaskArchive | None = None
    """What stands in front of the person, filled by *plate*; ``None`` where nothing does."""
    ground: Ground | None = None
    """The ground and the light on it, filled by *look*; ``None`` where no cast shadow was seen."""

    absent_frames: ClassVar[str] = "they are the source's own"

    @property
    def wants_plate(self) -> bool:
        """Whether the scene without the person is made."""
        return wants_plate(self.settings, self.engine.capabilities)
