"""What the stages of a run typically take: seconds and memory on two x86-64 cores, fitted to 64 runs.

The runs were of clips of 24 to 600 frames from 480x196 to 1920x1088, with the three presets and with single settings
changed. With the person's size known, the figures hold within a fifth or so on that machine. ``benchmarks/estimate.py``
says how well they foretell the runs in a folder.
"""

from __future__ import annotations

from core.settings import ReplaceSettings
from models.generators.base import Capabilities, EngineOptions
from models.registry import EngineCost, engine_entry
from pipelines.machine import gpus
from pipelines.replace.engine import engine_options
from pipelines.survey.costs import details_seconds, detect_seconds, fit_seconds, look_seconds, probe_seconds

#: Seconds to start Python and to import what a run needs; they stand in no stage.
START_S = 1.2
#: Typical share of the picture that the person's box covers, over all frames.
PERSON_SHARE = 0.09
#: Stages whose time depends on how large the person is in the picture.
PERSON_STAGES = frozenset({"control", "generate", "reshake", "composite", "checkpoint"})
#: Stages of the second pass, which go on side by side: together they take less time than one after the other.
DRAWING_STAGES = PERSON_STAGES | {"temporal", "foot_lock", "release"}

#: Seconds to look for the sun and the shutter of a clip, and for each frame to light the ground where there is a sun; the
#: share of clips that has one, which nobody knows before the survey.
OBSERVE_S, SUNLIT_S, SUNNY = 2.0, 0.020, 0.5
#: The comparison is scaled down: megapixels of each half above which it costs no more.
COMPARISON_MEGAPIXELS = 0.5
#: How much longer each step of the rate factor takes to encode, downwards from the default.
FINER, DEFAULT_QUALITY = 1.01, 14
#: What a graphics card of the A40's class and two cores compute in a large network, 10^12 operations a second. Rough: 40 %
#: of what the card's data sheet promises in half precision, and a matrix product timed on the cores.
GPU_TFLOPS, CPU_TFLOPS = 60.0, 0.2
#: Frames after which the caches of the survey are full.
CACHED_FRAMES = 150


def stage_seconds(
    frames: int, size: tuple[int, int], settings: ReplaceSettings, person_share: float = PERSON_SHARE
) -> dict[str, float]:
    """Typical seconds by stage, named as in ``run.json``. Stages that take next to nothing are left out.

    Parameters
    ----------
    frames:
        Number of frames.
    size:
        Width and height, pixels.
    settings:
        What the run is started with.
    person_share:
        Share of the picture that the person's box covers, 0..1, the mean over all frames.

    Raises
    ------
    InputError
        There is no such engine, or its options contradict each other.
    """
    entry = engine_entry(settings.engine)
    options = engine_options(settings)
    needs, cost = entry.capabilities(options), entry.cost
    picture = size[0] * size[1] / 1e6
    person = picture * person_share
    comparison = 0.026 * min(picture, COMPARISON_MEGAPIXELS) if settings.comparison else 0.0
    seconds = {
        "probe": probe_seconds(frames, size),
        "detect": detect_seconds(frames, size, settings.detector_complexity),
        **_perform_seconds(frames, picture, person, settings, needs, cost, options),
        "encode": 0.1 + frames * (0.016 * FINER ** (DEFAULT_QUALITY - settings.quality) * picture + comparison),
    }
    if wants_plate(settings, needs):
        occluders = 0.016 if settings.occluders else 0.0
        samples = 0.097 + 0.0133 * settings.plate_samples
        seconds["plate"] = frames * (0.007 + (0.016 + occluders) * picture + samples * person)
    if needs.needs_body:
        seconds["details"] = details_seconds(
            frames, size, person_share, settings.face != "off", settings.hands != "off"
        )
        seconds["body"] = fit_seconds(frames, settings.fit)
    if not needs.matches_shot:
        seconds["look"] = look_seconds(frames, size) + (OBSERVE_S if _on_ground(settings, needs) else 0.0)
    return seconds


def _perform_seconds(
    frames: int,
    picture: float,
    person: float,
    settings: ReplaceSettings,
    needs: Capabilities,
    cost: EngineCost,
    options: EngineOptions,
) -> dict[str, float]:
    """The second pass; ``picture`` and ``person`` in megapixels."""
    networks = cost.frame_tflop(options) / (GPU_TFLOPS if gpus().cards else CPU_TFLOPS)
    resampled = needs.draws_in == "stable"
    sunlit = SUNNY * SUNLIT_S if needs.casts_shadow and _on_ground(settings, needs) else 0.0
    reshake = (0.25 if needs.gives_motion and settings.shutter != 0 else 0.0) + (0.15 if resampled else 0.0)
    return {
        "load": cost.load_s,
        "control": frames * ((0.088 if resampled else 0.02) * person + sunlit),
        "generate": frames * (cost.frame_s + networks + cost.megapixel_s(options) * person),
        "reshake": frames * reshake * person,
        "composite": frames * (0.0011 + 0.0106 * picture + 0.19 * person),
        "checkpoint": frames * (0.0022 + 0.144 * person),
    }


def _on_ground(settings: ReplaceSettings, needs: Capabilities) -> bool:
    """Whether the ground under a fitted body is looked at: for the sun, and for the shutter."""
    return needs.needs_body and not needs.matches_shot and wants_plate(settings, needs)


def wants_plate(settings: ReplaceSettings, needs: Capabilities) -> bool:
    """Whether the scene without the person is made."""
    return settings.plate == "on" or (settings.plate == "auto" and needs.needs_plate)


def peak_mb(frames: int, size: tuple[int, int], settings: ReplaceSettings, person_share: float = PERSON_SHARE) -> float:
    """Most memory that a run typically holds, MB. Parameters as for :func:`stage_seconds`."""
    cost = engine_entry(settings.engine).cost
    picture = size[0] * size[1] / 1e6
    cached = 1.8 * min(frames, CACHED_FRAMES) * picture
    person = picture * person_share
    return 154 + 137 * picture + cached + 1400 * person + cost.memory_mb + cost.memory_mb_per_megapixel * person
