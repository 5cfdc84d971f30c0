"""Settings: the only place where a range, a default or an explanation of a setting is written.

The command line, the REST schema, the web page and the presets are all made from these classes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.errors import InputError, SettingError


class Settings(BaseModel):
    """Base of all settings: unknown names are refused, values are checked, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def setting(
    default: Any, description: str, *, group: str, label: str = "", step: float | None = None, **limits: Any
) -> Any:
    """A setting's default, range and explanation, with what a form needs besides.

    Parameters
    ----------
    default:
        Its value where nobody gives one.
    description:
        What it does, in one sentence.
    group:
        Under which heading of :data:`GROUPS` it stands.
    label:
        Its name on the page; empty makes it from the field's name.
    step:
        Distance between two positions of a slider; empty takes one for whole numbers and a twentieth for others.
    limits:
        ``ge``, ``le``, ``gt``, ``lt`` as in pydantic.
    """
    return Field(
        default, description=description, json_schema_extra={"group": group, "label": label, "step": step}, **limits
    )


#: Headings that settings stand under, in the order of the work.
GROUPS = {
    "who": "Who plays the part",
    "person": "Who is replaced",
    "survey": "Survey: camera, scene, body",
    "perform": "Drawing",
    "finish": "Files",
}


# Settings that several products have.
_DETECTOR = setting("mediapipe", "What finds the person.", group="person")
_DETECTOR_COMPLEXITY = setting(
    1,
    "0 looks once, 1 finds small people too, 2 reads every frame twice.",
    group="person",
    label="Detector care",
    ge=0,
    le=2,
)
_MAX_GAP = setting(
    10,
    "Longest gap, in frames, that is predicted from its neighbours.",
    group="person",
    label="Longest gap",
    ge=0,
    le=120,
)
_SMOOTHING_WINDOW = setting(30, "Frames over which the camera path is smoothed.", group="survey", ge=1, le=300)
_FEATURE_POINTS = setting(200, "Points tracked to follow the camera.", group="survey", step=10, ge=20, le=2000)
_FIT = setting("thorough", "Effort of the body fit.", group="survey", label="Body fit")
_FOCAL_LENGTH = setting(
    None, "Focal length of the footage in pixels; empty takes 0.9 of the longer side.", group="survey", gt=0
)
_FOOT_LOCK = setting(True, "Hold feet that stand on the ground.", group="perform")


def _point_from_text(value: Any) -> Any:
    """Accept ``x,y`` as text."""
    if isinstance(value, str):
        if not value.strip():
            return None
        parts = value.replace(" ", "").split(",")
        if len(parts) != 2:
            raise ValueError("give the point as x,y")
        return tuple(parts)
    return value


def _finite_point(value: tuple[float, float] | None) -> tuple[float, float] | None:
    if value is not None and not all(math.isfinite(v) for v in value):
        raise ValueError("the point must be two numbers")
    return value


class ReplaceSettings(Settings):
    """Everything that can be set about a replacement."""

    engine: str = setting(
        "avatar", "What draws the new person: avatar, controlnet, wan-animate or passthrough.", group="who"
    )
    avatar: str = setting(
        "alex",
        "Avatar for the avatar engine: a name from assets/avatars, random-N for somebody random, or a YAML file.",
        group="who",
    )
    reference: Path | None = setting(
        None,
        "Picture of the person to put in; the avatar engine wants one person from head to feet.",
        group="who",
        label="Reference image",
    )
    checkpoint: str | None = setting(None, "Weights for the engine, where it has a choice.", group="who")
    prompt: str = setting("", "Text that describes the new person, for engines that read one.", group="who")
    negative_prompt: str = setting("", "Text that says what to avoid, for engines that read one.", group="who")
    seed: int = setting(
        0, "Seed of all randomness: the same seed gives the same result.", group="who", ge=0, le=2**32 - 1
    )

    person: tuple[float, float] | None = setting(
        None, "A point x,y in pixels on the person to replace; empty takes the largest steady one.", group="person"
    )
    detector: Literal["mediapipe"] = _DETECTOR
    detector_complexity: int = _DETECTOR_COMPLEXITY
    max_gap: int = _MAX_GAP

    segments: Literal[0, 1, 3, 5, 7] = setting(
        0, "Number of segments; 0 lets the clip's length decide.", group="survey"
    )
    overlap: int = setting(5, "Frames that neighbouring segments share and blend.", group="survey", ge=0, le=30)
    smoothing_window: int = _SMOOTHING_WINDOW
    feature_points: int = _FEATURE_POINTS
    plate: Literal["auto", "on", "off"] = setting(
        "auto",
        "The scene without the person behind the new one: auto makes it when the engine needs it.",
        group="survey",
        label="Background plate",
    )
    plate_samples: int = setting(20, "Frames that each stretch of the plate is made from.", group="survey", ge=5, le=60)
    inpaint: Literal["telea", "ns"] = setting(
        "telea", "How places that no frame shows are filled.", group="survey", label="Inpainting"
    )
    fit: Literal["quick", "thorough", "best"] = _FIT
    focal_length: float | None = _FOCAL_LENGTH
    face: Literal["auto", "off"] = setting(
        "auto",
        "Mouth, eyes and brows follow the person's where the face is large enough; off leaves them at rest.",
        group="survey",
    )
    hands: Literal["auto", "off"] = setting(
        "auto",
        "Fingers follow the person's where the hands are large enough; off leaves them relaxed.",
        group="survey",
    )
    occluders: bool = setting(
        True, "Keep what stands in front of the person in front of the new one.", group="survey", label="Keep occluders"
    )

    vram_gb: float | None = setting(
        None,
        "Most graphics memory that a diffusion engine may take, GB; empty takes what is free.",
        group="perform",
        label="Graphics memory",
        step=1,
        ge=2,
        le=512,
    )
    generation_size: int = setting(
        640,
        "Longer side of the picture that a diffusion engine draws, pixels.",
        group="perform",
        step=64,
        ge=64,
        le=2048,
    )
    steps: int = setting(0, "Denoising steps; 0 takes what the engine is made for.", group="perform", ge=0, le=100)
    few_step: bool = setting(
        False, "Draw in four to eight denoising steps, with weights made for it.", group="perform", label="Few steps"
    )
    guidance: float | None = setting(
        None,
        "How closely the prompt is followed; empty takes what the engine is made for.",
        group="perform",
        ge=0,
        le=20,
    )
    denoising_strength: float = setting(
        0.75,
        "How much a diffusion engine may change what it starts from; 1 starts from noise.",
        group="perform",
        ge=0,
        le=1,
    )
    start_from: Literal["previous", "avatar", "source"] = setting(
        "avatar",
        "What a diffusion engine starts from: its previous frame moved along, the avatar's picture, or the source.",
        group="perform",
    )
    pose_weight: float = setting(
        1.0, "How much the skeleton steers a diffusion engine; 0 leaves it out.", group="perform", ge=0, le=2
    )
    depth_weight: float = setting(
        0.6, "How much the body's depth steers a diffusion engine; 0 leaves it out.", group="perform", ge=0, le=2
    )
    canny_weight: float = setting(
        0.0, "How much the source's edges steer a diffusion engine; 0 leaves them out.", group="perform", ge=0, le=2
    )
    motion_window: bool = setting(
        False, "Draw several frames together with a motion network: steadier, slower, more memory.", group="perform"
    )
    temporal_strength: float = setting(
        0.5, "How much the previous frame steadies this one, for engines that draw pixels.", group="perform", ge=0, le=1
    )
    foot_lock: bool = _FOOT_LOCK
    foot_lock_strength: float = setting(0.7, "How firmly standing feet are held.", group="perform", ge=0, le=1)
    edge_samples: int = setting(4, "Rays through each pixel on the avatar's edges.", group="perform", ge=1, le=16)
    shadow_rays: int = setting(1, "Rays towards the light for each point of the avatar.", group="perform", ge=0, le=16)
    occlusion_rays: int = setting(16, "Rays for the avatar's ambient occlusion.", group="perform", ge=0, le=64)
    shutter: float | None = setting(
        None,
        "Share of the frame time that the shutter is open: length of the motion blur. Empty reads it off the footage.",
        group="perform",
        ge=0,
        le=1,
    )
    grain: bool = setting(True, "Give new pixels the footage's own grain.", group="perform", label="Match grain")
    release_cuda_cache: bool = setting(
        True, "Release GPU memory after every frame.", group="perform", label="Release CUDA cache"
    )

    quality: int = setting(
        14,
        "H.264 constant rate factor of the result: lower is better.",
        group="finish",
        label="Output quality (CRF)",
        ge=0,
        le=40,
    )
    comparison: bool = setting(
        True, "Also write source and result side by side.", group="finish", label="Side-by-side video"
    )

    _person_from_text = field_validator("person", mode="before")(_point_from_text)
    _person_is_finite = field_validator("person")(_finite_point)


class MeshSettings(Settings):
    """Everything that can be set about a body mesh."""

    body: Literal["anny", "smplx"] = setting("anny", "The body that is fitted; smplx needs your own file.", group="who")

    person: tuple[float, float] | None = setting(
        None, "A point x,y in pixels on the person to follow; empty takes the largest steady one.", group="person"
    )
    detector: Literal["mediapipe"] = _DETECTOR
    detector_complexity: int = _DETECTOR_COMPLEXITY
    max_gap: int = _MAX_GAP
    height: float | None = setting(
        None, "Height of the person in metres; empty takes it from what is seen.", group="person", ge=0.5, le=2.5
    )

    calibration: Path | None = setting(
        None, "Calibration of the cameras, for several clips of one take.", group="survey", label="Calibration file"
    )
    calibration_unit: Literal["auto", "m", "cm", "mm"] = setting(
        "auto", "Unit of the lengths in a calibration that does not tell.", group="survey"
    )
    find_offsets: bool = setting(
        False, "Find out from the motion whether several clips begin at different moments.", group="survey"
    )
    smoothing_window: int = _SMOOTHING_WINDOW
    feature_points: int = _FEATURE_POINTS
    fit: Literal["quick", "thorough", "best"] = _FIT
    easymocap_results: Path | None = setting(
        None,
        "Folder of EasyMoCap's results, to show the body that it fitted; needs body=smplx.",
        group="survey",
        label="EasyMoCap's results",
    )
    focal_length: float | None = setting(
        None, "Focal length in pixels; empty finds it: metadata, turning camera, 0.9 of the side.", group="survey", gt=0
    )
    foot_lock: bool = _FOOT_LOCK

    surface: Literal["clay", "parts"] = setting(
        "clay", "Colour of the body in the videos: plain clay, or a colour for each part of it.", group="perform"
    )
    edge_samples: int = setting(8, "Rays through each pixel on the body's edges.", group="perform", ge=1, le=16)
    turntable_height: int = setting(
        720, "Height of the turntable video, pixels.", group="perform", step=16, ge=64, le=2160, multiple_of=2
    )

    videos: str = setting(
        "overlay,side_by_side,mesh,turntable",
        "Videos to draw, separated by commas: overlay, side_by_side, mesh, turntable.",
        group="finish",
    )
    formats: str = setting(
        "glb,bvh,npz,json,csv",
        "Files to export, separated by commas: glb, bvh, npz, json, csv, obj, ply, easymocap.",
        group="finish",
    )
    quality: int = setting(
        18, "H.264 constant rate factor of the videos: lower is better.", group="finish", ge=0, le=40
    )

    _person_from_text = field_validator("person", mode="before")(_point_from_text)
    _person_is_finite = field_validator("person")(_finite_point)

    @field_validator("formats", "videos", mode="before")
    @classmethod
    def _names_from_list(cls, value: Any) -> Any:
        """Accept a list of names; empty is none."""
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else value

    @field_validator("formats", "videos")
    @classmethod
    def _names_in_order(cls, value: str) -> str:
        return ",".join(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))

    @field_validator("videos")
    @classmethod
    def _videos_are_known(cls, value: str) -> str:
        known = ("overlay", "side_by_side", "mesh", "turntable")
        unknown = [name for name in value.split(",") if name and name not in known]
        if unknown:
            raise ValueError(f"there is no video {unknown[0]!r}; choose among {', '.join(known)}")
        return value


class ServerSettings(Settings):
    """Everything that can be set about the web app."""

    host: str = Field("127.0.0.1", description="Address to listen on; any but this machine's own needs a password.")
    port: int = Field(7860, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    auth: str | None = Field(None, repr=False, description="user:password that the page and the REST API ask for.")
    output: Path = Field(Path("outputs"), description="Folder of the run folders.")
    max_upload_mb: int = Field(4096, ge=1, description="Largest upload, in MB.")
    max_duration_s: float = Field(600, gt=0, description="Longest clip, in seconds.")
    max_pixels: int = Field(3840 * 2160, ge=256, description="Largest picture, width times height.")
    max_queue: int = Field(20, ge=1, description="Most runs that wait.")
    hourly_price: float | None = Field(
        None, ge=0, description="What an hour of this machine costs, in US dollars, for the estimate."
    )

    @field_validator("auth")
    @classmethod
    def _auth_is_a_pair(cls, value: str | None) -> str | None:
        if value is not None:
            user, separator, password = value.partition(":")
            if not (user and separator and password):
                raise ValueError("write it as user:password, neither of them empty")
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
    SettingError
        An unknown name or a value out of range; the message names the first one, what it was and what is allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "extra_forbidden":
            hint = f"Settings: {', '.join(kind.model_fields)}."
            raise SettingError(name, f"There is no setting {name!r}.", hint) from None
        if name not in kind.model_fields:
            raise SettingError(name, f"Settings: {first['msg']}.") from None
        hint = kind.model_fields[name].description or ""
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:]
        # What must not be seen in a listing must not be seen in a message either.
        value = _shown(values.get(name)) if kind.model_fields[name].repr else "***"
        raise SettingError(name, f"Setting {name}={value}: {reason}.", f"({hint})") from None


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
