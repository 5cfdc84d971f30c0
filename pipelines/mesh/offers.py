"""What a mesh can be asked for, and what a finished run has to give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.errors import ModelUnavailable
from models import weights
from pipelines.mesh.export import FORMATS
from pipelines.mesh.stages import EXPORTS
from pipelines.mesh.videos import file_of

#: The videos, in the order in which they are offered: name, what it shows.
VIDEOS = {
    "overlay": "Over the footage",
    "side_by_side": "Side by side",
    "mesh": "Body alone",
    "turntable": "Turntable",
}


@dataclass(frozen=True)
class BodyCard:
    """A body that can be fitted, as a list of choices shows it."""

    name: str
    """What goes into ``settings.body``."""
    title: str
    """Its name for people to read."""
    description: str
    """What to know of it."""
    ready: bool
    """Whether it can be fitted on this machine now."""
    missing: str
    """What it lacks and how to get it; empty when it is ready."""
    page: str
    """Where to register for it; empty where nobody has to."""


@dataclass(frozen=True)
class FormatCard:
    """A format that a body can be exported in."""

    name: str
    """What goes into ``settings.formats``."""
    description: str
    """What it is."""
    is_folder: bool
    """Whether it is a folder of files."""


@dataclass(frozen=True)
class Result:
    """A file, or a folder of files, that a finished run gives."""

    name: str
    """Its name among those of its kind."""
    kind: Literal["video", "export"]
    label: str
    """What it is, for people to read."""
    path: str
    """Where it lies in the run folder."""
    is_folder: bool = False


def bodies() -> tuple[BodyCard, ...]:
    """All bodies, the embedded one first. Looks at the machine each time: what was missing may have come."""
    missing = ""
    try:
        weights.require("smplx")
    except ModelUnavailable as error:
        missing = error.hint
    return (
        BodyCard("anny", "Anny", "The embedded body: all ages and builds, free to use.", True, "", ""),
        BodyCard(
            "smplx",
            "SMPL-X",
            "The body that most research tools read. Its licence is non-commercial.",
            not missing,
            missing,
            weights.weight_set("smplx").page,
        ),
    )


def formats() -> tuple[FormatCard, ...]:
    """All formats."""
    return tuple(FormatCard(entry.name, entry.label, entry.is_folder) for entry in FORMATS.values())


def results_of(settings: Mapping[str, Any]) -> tuple[Result, ...]:
    """What a finished run with these settings gives besides its figures: videos, then exports."""
    videos = [name for name in str(settings.get("videos", "")).split(",") if name in VIDEOS]
    exports = [FORMATS[name] for name in str(settings.get("formats", "")).split(",") if name in FORMATS]
    return (
        *(Result(name, "video", VIDEOS[name], file_of(name)) for name in videos),
        *(
            Result(entry.name, "export", entry.label, str(Path(EXPORTS) / entry.target), entry.is_folder)
            for entry in exports
        ),
    )
