"""What the API answers, as pydantic classes: the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from interfaces.jobs.limits import MOST_CLIPS
from interfaces.settings_from import DEFAULT_PRESET, Kind

#: Width or height of a picture, pixels.
Side = Annotated[int, Field(ge=1, le=2**16)]


class ResultFile(BaseModel):
    """A file that a finished run gives."""

    kind: Literal["video", "export", "page", "data", "picture"]
    name: str = Field(description="Its name among those of its kind, e.g. `overlay` or `glb`.")
    label: str = Field(description="What it is.")
    address: str = Field(description="Where to get it; `?download=1` sends it as a file to be saved.")


class RunStatus(BaseModel):
    """Where a run stands, and what is known of it."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    stage: str = Field(description="Stage that is under way; empty when none is.")
    stage_fraction: float = Field(description="How much of the stage is done, 0 to 1.")
    progress: float = Field(description="How much of the run is done, 0 to 1.")
    seconds_left: float | None = Field(description="Estimated seconds to the end; null where nobody can tell.")
    detail: str = Field(description="What the stage is doing, e.g. `frame 12 of 150`.")
    queue_position: int | None = Field(description="1 for the run that is next; null unless it waits.")
    live_frame: int | None = Field(description="Index of the frame at `/runs/{id}/live`.")
    version: int = Field(description="Another number whenever something has changed.")
    kind: str = Field(description="`replace` or `mesh`.")
    created: str = Field(description="ISO time.")
    name: str = Field(description="What the clip is called.")
    clips: list[str] = Field([], description="Names of all clips of a mesh.")
    files: list[ResultFile] = Field([], description="What a finished run gives.")
    preset: str = ""
    settings: dict[str, Any] = Field(description="Every setting of the run, defaults included.")
    error: str | None = Field(None, description="Why it failed.")
    warnings: list[str] = Field([], description="What did not go the plain way.")
    frames_in: int | None = None
    frames_out: int | None = None
    fps: str | None = Field(None, description="Frames a second as a fraction, e.g. `30000/1001`.")
    size: list[int] | None = Field(None, description="Width and height in pixels.")
    segments: list[list[Any]] | None = Field(None, description="Role, first frame, one past the last, overlap.")
    stages: dict[str, float] = Field({}, description="Seconds by stage.")
    metrics: dict[str, Any] = Field({}, description="Quality figures.")
    versions: dict[str, str] = {}
    device: str | None = None
    peak_rss_mb: float | None = None
    peak_vram_mb: float | None = None
    vram_mb: dict[str, float] | None = Field(
        None, description="Most graphics memory by stage, MB; null without a card."
    )


class Health(BaseModel):
    """How the server is."""

    status: Literal["ok"] = "ok"
    version: str
    devices: list[str] = Field(description="One worker each.")
    queue: int = Field(description="Runs that wait.")
    running: int = Field(description="Runs that are being worked on.")
    limits: dict[str, float] = Field(
        description="Largest upload (MB), longest clip (s), largest picture, longest queue."
    )


class Person(BaseModel):
    """Somebody in a frame."""

    xyxy: tuple[float, float, float, float] = Field(description="Box in pixels.")
    score: float = Field(description="Confidence, 0 to 1.")
    point: tuple[float, float] = Field(description="A point on the person: what goes into the setting `person`.")
    share: float = Field(description="Share of the picture that the box covers: `person_share` of `POST /estimate`.")


class People(BaseModel):
    """The people in the clip's first good frame, largest first."""

    frame: int = Field(description="Index of the frame that was looked at.")
    frames: int = Field(description="How many frames the clip has.")
    size: tuple[int, int] = Field(description="Width and height in pixels.")
    people: list[Person]
    picture: str = Field(description="The frame as a data URL (JPEG).")


class PreviewPictures(BaseModel):
    """One frame before and after."""

    frame: int
    seconds: float = Field(description="How long it took.")
    warnings: list[str]
    source: str = Field(description="The frame as it is, a data URL (JPEG).")
    result: str = Field(description="The frame as the run would make it, a data URL (JPEG).")


class EstimateQuestion(BaseModel):
    """What is to be run."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = Field("replace", description="What kind of run.")
    frames: int = Field(ge=1, le=10**7, description="How many frames the clip has.")
    size: tuple[Side, Side] = Field(description="Width and height in pixels.")
    clips: int = Field(1, ge=1, le=MOST_CLIPS, description="How many clips of that kind a mesh is made from.")
    preset: str = Field(DEFAULT_PRESET, description="Name of a preset.")
    settings: dict[str, Any] = Field({}, description="Settings that differ from the preset's.")
    person_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the picture that the person covers, where it is known: see `POST /people`.",
    )


class EstimateAnswer(BaseModel):
    """What a run will take, before it is started."""

    seconds: float = Field(description="From start to end.")
    seconds_per_frame: float
    range_s: tuple[float, float] = Field(description="Seconds between which four runs of five end.")
    peak_mb: float = Field(description="Most memory, MB.")
    cost_usd: float | None = Field(description="US dollars; null where the server knows no hourly price.")
    basis: str = Field(description="Where the figures come from, one sentence.")
    missing: str = Field(description="What the run lacks on this machine; empty when it can be started.")
    command: str = Field(description="The command that gets what is missing.")


class Engine(BaseModel):
    """What draws the new person."""

    name: str
    title: str
    description: str
    ready: bool
    missing: str = Field(description="What it lacks on this machine; empty when it is ready.")
    command: str = Field(description="The command that gets what is missing.")
    takes: list[str] = Field(description="Which of the settings that say who plays the part it reads.")
    settings: list[str] = Field(
        description="The other settings that it reads. What no engine lists is read whatever the engine."
    )
    checkpoints: list[str] = Field(description="What the setting `checkpoint` may be, the default first.")
    own_checkpoints: bool = Field(description="Whether it draws with checkpoints that the user brings.")


class Avatar(BaseModel):
    """Somebody to put in."""

    name: str
    title: str
    description: str
    thumbnail: str = Field(description="Address of the picture.")


class Body(BaseModel):
    """A body that can be fitted."""

    name: str
    title: str
    description: str
    ready: bool
    missing: str = Field(description="What it lacks on this machine and how to get it; empty when it is ready.")
    page: str = Field(description="Where to register for it; empty where nobody has to.")


class Format(BaseModel):
    """A format that a body can be exported in."""

    name: str
    description: str
    is_folder: bool = Field(description="Whether it is a folder of files, which is sent as a zip.")


class Preset(BaseModel):
    """A named set of settings."""

    name: str
    settings: dict[str, Any]


class SettingField(BaseModel):
    """One setting: what it means, what it may be."""

    name: str
    label: str
    help: str
    group: str
    kind: str
    default: Any
    minimum: float | None
    maximum: float | None
    step: float | None
    choices: list[Any]
    optional: bool


class SettingsDescription(BaseModel):
    """All settings of a kind of run."""

    fields: list[SettingField]
    json_schema: dict[str, Any]
