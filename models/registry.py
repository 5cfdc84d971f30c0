"""The engines by name. A new engine is one file in ``models/generators`` and one row here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from models.generators.base import Capabilities, EngineOptions, Generator

#: How a diffusion engine samples, and in how much memory.
SAMPLING = ("vram_gb", "generation_size", "steps", "few_step", "guidance")
#: How much each ControlNet counts.
CONTROL_WEIGHTS = ("pose_weight", "depth_weight", "canny_weight")
#: The settings that say who plays the part; each engine reads some of them.
Taken = Literal["avatar", "reference", "prompt", "negative_prompt", "checkpoint"]


@dataclass(frozen=True)
class Missing:
    """What keeps an engine from running on this machine."""

    what: str
    """What is missing, in a few words: ``the package anny``."""
    command: str
    """The command that gets it, to be typed as it stands."""


@dataclass(frozen=True)
class EngineCost:
    """What an engine usually takes on two CPU cores. The estimate starts from it and goes on to this machine's runs."""

    load_s: float = 0.0
    """Seconds to load, once a run."""
    frame_s: float = 0.0
    """Seconds for each frame, whatever its size."""
    megapixel_s: Callable[[EngineOptions], float] = lambda _options: 0.0
    """Seconds for each frame and megapixel of the person's box, by the options."""
    frame_tflop: Callable[[EngineOptions], float] = lambda _options: 0.0
    """Arithmetic of the networks for each frame, by the options, in 10^12 operations: what it takes depends on the device."""
    memory_mb: float = 0.0
    """Memory over that of the engines that draw nothing, MB."""
    memory_mb_per_megapixel: float = 0.0
    """The same for each megapixel of the person's box, MB."""


@dataclass(frozen=True)
class EngineEntry:
    """One row of the table."""

    name: str
    """What the user types."""
    title: str
    """Its name for people to read."""
    description: str
    """One line for lists and help."""
    factory: Callable[[EngineOptions], Generator]
    """Makes the engine; imports its module only then."""
    capabilities: Callable[[EngineOptions], Capabilities]
    """What it needs and promises with some options, without making it: an engine that is not ready can be told about too.
    Raises ``InputError`` for options that contradict each other."""
    takes: tuple[Taken, ...] = ()
    """The settings that it reads, of those that say who plays the part."""
    settings: tuple[str, ...] = ()
    """The other settings that are passed on to it and that it reads."""
    checkpoints: Callable[[], tuple[str, ...]] = lambda: ()
    """What ``checkpoint`` may be, by name, where there is a choice; the first is the default."""
    missing: Callable[[], Missing | None] = lambda: None
    """What it lacks on this machine. Cheap: loads no network, asks no server."""
    note: Callable[[], str] = lambda: ""
    """A sentence on this machine's state that the user should know before a run; empty where there is nothing to say."""
    cost: EngineCost = EngineCost()
    """What it usually takes."""


# -- avatar --------------------------------------------------------------------------------------------------------


def _avatar(options: EngineOptions) -> Generator:
    from models.generators.avatar import AvatarGenerator

    return AvatarGenerator(options)


def _avatar_capabilities(_options: EngineOptions) -> Capabilities:
    from models.generators.avatar import AvatarGenerator

    return AvatarGenerator.capabilities


def _avatar_missing() -> Missing | None:
    return _missing_package("anny", "embreex")


def _avatar_note() -> str:
    from models.body.anny_body import cache_is_built

    return "" if cache_is_built() else "The first run builds the body's tables, which takes about a minute, once."


def _avatar_megapixel_s(options: EngineOptions) -> float:
    # The rays towards the light cost nothing that could be measured.
    return 0.78 + 0.066 * options.edge_samples + 0.014 * options.occlusion_rays


# -- passthrough ---------------------------------------------------------------------------------------------------


def _passthrough(_options: EngineOptions) -> Generator:
    from models.generators.passthrough import PassthroughGenerator

    return PassthroughGenerator()


def _passthrough_capabilities(_options: EngineOptions) -> Capabilities:
    from models.generators.passthrough import PassthroughGenerator

    return PassthroughGenerator.capabilities


# -- controlnet ----------------------------------------------------------------------------------------------------


def _controlnet(options: EngineOptions) -> Generator:
    from models.generators.controlnet import ControlNetGenerator

    return ControlNetGenerator(options)


def _controlnet_capabilities(options: EngineOptions) -> Capabilities:
    from models.generators.diffusion.plan import make_plan

    return make_plan(options).capabilities


def _controlnet_tflop(options: EngineOptions) -> float:
    from models.generators.diffusion.plan import make_plan

    return make_plan(options).frame_tflop


def _stable_diffusion_checkpoints() -> tuple[str, ...]:
    from models import weights

    return weights.checkpoint_names()


def _diffusion_note() -> str:
    return "Made for a graphics card; without one a frame takes many minutes."


# -- wan-animate ---------------------------------------------------------------------------------------------------


def _wan_animate(options: EngineOptions) -> Generator:
    from models.generators.wan_animate import WanAnimateGenerator

    return WanAnimateGenerator(options)


def _wan_animate_capabilities(options: EngineOptions) -> Capabilities:
    from models.generators.wan_animate import capabilities_of

    return capabilities_of(options)


def _wan_animate_tflop(options: EngineOptions) -> float:
    from models.generators.wan.arithmetic import frame_tflop

    return frame_tflop(options)


# -- the table -----------------------------------------------------------------------------------------------------


def _missing_weights(*names: str) -> Missing | None:
    """The first of some weight sets that is not on disk."""
    from models import weights

    lacking = weights.missing(*names)
    return None if lacking is None else Missing(*lacking)


def _missing_package(*modules: str) -> Missing | None:
    """The first of some packages that is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            return Missing(f"the package {module}", "pip install -r requirements.txt")
    return None


ENGINES: dict[str, EngineEntry] = {
    entry.name: entry
    for entry in (
        EngineEntry(
            "avatar",
            "Avatar",
            "draws the fitted body as a dressed figure; CPU or GPU, nothing to download",
            _avatar,
            _avatar_capabilities,
            takes=("avatar", "reference"),
            settings=("edge_samples", "shadow_rays", "occlusion_rays"),
            missing=_avatar_missing,
            note=_avatar_note,
            cost=EngineCost(load_s=0.2, frame_s=0.036, megapixel_s=_avatar_megapixel_s, memory_mb=205),
        ),
        EngineEntry(
            "passthrough",
            "Passthrough",
            "gives back the source person; shows what the pipeline does by itself",
            _passthrough,
            _passthrough_capabilities,
            cost=EngineCost(frame_s=0.001),
        ),
        EngineEntry(
            "controlnet",
            "ControlNet",
            "draws a photo-like person with Stable Diffusion 1.5 and ControlNets, from words or a picture",
            _controlnet,
            _controlnet_capabilities,
            takes=("avatar", "reference", "prompt", "negative_prompt", "checkpoint"),
            settings=(*SAMPLING, "denoising_strength", "start_from", *CONTROL_WEIGHTS, "motion_window"),
            checkpoints=_stable_diffusion_checkpoints,
            missing=lambda: _missing_weights("controlnet-sd15"),
            note=_diffusion_note,
            cost=EngineCost(load_s=30, frame_s=0.1, frame_tflop=_controlnet_tflop, memory_mb=9000),
        ),
        EngineEntry(
            "wan-animate",
            "Wan-Animate",
            "draws the person of a picture with Wan2.2-Animate, a video model; 12 GB of graphics memory or more",
            _wan_animate,
            _wan_animate_capabilities,
            takes=("avatar", "reference", "prompt", "negative_prompt", "checkpoint"),
            settings=SAMPLING,
            checkpoints=lambda: ("bf16", "int8"),
            missing=lambda: _missing_weights("wan-animate"),
            note=_diffusion_note,
            cost=EngineCost(load_s=180, frame_s=0.1, frame_tflop=_wan_animate_tflop, memory_mb=40_000),
        ),
    )
}


def engine_entry(name: str) -> EngineEntry:
    """The row of an engine.

    Raises
    ------
    InputError
        There is no engine of that name.
    """
    entry = ENGINES.get(name)
    if entry is None:
        raise InputError(f"There is no engine named {name!r}.", f"Choose one of: {', '.join(sorted(ENGINES))}.")
    return entry


def create_engine(name: str, options: EngineOptions | None = None) -> Generator:
    """Make an engine by name, not yet loaded.

    Raises
    ------
    InputError
        There is no engine of that name.
    """
    return engine_entry(name).factory(options if options is not None else EngineOptions())
