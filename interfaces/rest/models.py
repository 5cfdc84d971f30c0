"""What the API answers, as pydantic classes: the OpenAPI document is made from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


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
    kind: str
    created: str = Field(description="ISO time.")
    name: str = Field(description="What the clip is called.")
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


class People(BaseModel):
    """The people in the clip's first good frame, largest first."""

    frame: int
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


class Engine(BaseModel):
    """What draws the new person."""

    name: str
    description: str
    ready: bool
    missing: str = Field(description="What it lacks on this machine; empty when it is ready.")
    command: str = Field(description="The command that gets what is missing.")
    takes: list[str] = Field(description="Which of the settings that say who plays the part it reads.")
    checkpoints: list[str]


class Avatar(BaseModel):
    """Somebody to put in."""

    name: str
    title: str
    description: str
    thumbnail: str = Field(description="Address of the picture.")


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
    """All settings of a replacement."""

    fields: list[SettingField]
    json_schema: dict[str, Any]
