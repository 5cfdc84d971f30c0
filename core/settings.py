"""Settings: the only place where a range, a default or an explanation of a setting is written.

The command line, the REST schema, the web page and the presets are all made from these classes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.errors import InputError


class Settings(BaseModel):
    """Base of all settings: unknown names are refused, values are checked, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReplaceSettings(Settings):
    """Everything that can be set about a replacement."""

    # Who plays the part
    engine: str = Field("avatar", description="What draws the new person: avatar, passthrough, ...")
    avatar: str = Field("alex", description="Avatar for the avatar engine: a name from assets/avatars or a YAML file.")
    reference: Path | None = Field(None, description="Picture of the person to put in, for engines that take one.")
    checkpoint: str | None = Field(None, description="Weights for the engine, where it has a choice.")
    prompt: str = Field("", description="Text that describes the new person, for engines that read one.")
    negative_prompt: str = Field("", description="Text that says what to avoid, for engines that read one.")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of all randomness: the same seed gives the same result.")

    # Who is replaced
    person: tuple[float, float] | None = Field(
        None, description="A point x,y in pixels on the person to replace; empty takes the largest steady one."
    )
    detector: Literal["mediapipe"] = Field("mediapipe", description="What finds the person.")
    detector_complexity: int = Field(
        1, ge=0, le=2, description="0 looks once, 1 finds small people too, 2 reads every frame twice."
    )
    max_gap: int = Field(10, ge=0, le=120, description="Longest gap, in frames, that is predicted from its neighbours.")

    # Survey
    segments: Literal[0, 1, 3, 5, 7] = Field(0, description="Number of segments; 0 lets the clip's length decide.")
    overlap: int = Field(5, ge=0, le=30, description="Frames that neighbouring segments share and blend.")
    smoothing_window: int = Field(30, ge=1, le=300, description="Frames over which the camera path is smoothed.")
    feature_points: int = Field(200, ge=20, le=2000, description="Points tracked to follow the camera.")
    plate: Literal["auto", "on", "off"] = Field(
        "auto", description="The scene without the person behind the new one: auto makes it when the engine needs it."
    )
    plate_samples: int = Field(20, ge=5, le=60, description="Frames that each stretch of the plate is made from.")
    inpaint: Literal["telea", "ns"] = Field("telea", description="How places that no frame shows are filled.")
    fit: Literal["quick", "thorough", "best"] = Field("thorough", description="Effort of the body fit.")
    focal_length: float | None = Field(
        None, gt=0, description="Focal length of the footage in pixels; empty takes 0.9 of the longer side."
    )
    occluders: bool = Field(True, description="Keep what stands in front of the person in front of the new one.")

    # Perform
    temporal_strength: float = Field(
        0.5, ge=0, le=1, description="How much the previous frame steadies this one, for engines that draw pixels."
    )
    foot_lock: bool = Field(True, description="Hold feet that stand on the ground.")
    foot_lock_strength: float = Field(0.7, ge=0, le=1, description="How firmly standing feet are held.")
    edge_samples: int = Field(4, ge=1, le=16, description="Rays through each pixel on the avatar's edges.")
    shadow_rays: int = Field(1, ge=0, le=16, description="Rays towards the light for each point of the avatar.")
    occlusion_rays: int = Field(16, ge=0, le=64, description="Rays for the avatar's ambient occlusion.")
    shutter: float = Field(
        0.4, ge=0, le=1, description="Share of the frame time that the shutter is open: length of the motion blur."
    )
    grain: bool = Field(True, description="Give new pixels the footage's own grain.")
    release_cuda_cache: bool = Field(True, description="Release GPU memory after every frame.")

    # Finish
    quality: int = Field(14, ge=0, le=40, description="H.264 constant rate factor of the result: lower is better.")
    comparison: bool = Field(True, description="Also write source and result side by side.")

    @field_validator("person", mode="before")
    @classmethod
    def _person_from_text(cls, value: Any) -> Any:
        """Accept ``x,y`` as text."""
        if isinstance(value, str):
            if not value.strip():
                return None
            parts = value.replace(" ", "").split(",")
            if len(parts) != 2:
                raise ValueError("give the point as x,y")
            return tuple(parts)
        return value

    @field_validator("person")
    @classmethod
    def _person_is_finite(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not all(math.isfinite(v) for v in value):
            raise ValueError("the point must be two numbers")
        return value


def parse_assignments(pairs: list[str]) -> dict[str, Any]:
    """``["key=value", ...]`` as a dictionary; values are JSON where they parse as such, text otherwise.

    Raises
    ------
    InputError
        A pair has no ``=``.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise InputError(f"--set {pair!r} is not a setting.", "Write it as key=value, e.g. --set segments=3.")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = None if text == "" else text
    return values


def make_settings(kind: type[Settings], values: dict[str, Any]) -> Any:
    """Settings from plain values.

    Raises
    ------
    InputError
        An unknown name or a value out of range; the message names the first one, what it was and what is allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "extra_forbidden":
            raise InputError(f"There is no setting {name!r}.", f"Settings: {', '.join(kind.model_fields)}.") from None
        if name not in kind.model_fields:
            raise InputError(f"Settings: {first['msg']}.") from None
        hint = kind.model_fields[name].description or ""
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        raise InputError(f"Setting {name}={_shown(values.get(name))}: {reason}.", f"({hint})") from None


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
