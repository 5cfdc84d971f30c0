"""How long a run will take and how much memory: typical figures, corrected by the runs that this machine has done.

What the person costs to draw depends on how large it is in the picture, which nobody knows before the survey. Where the
caller does not say (``person_share``), earlier runs have to tell, and the range is wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from core.settings import ReplaceSettings, make_settings
from pipelines.past_runs import (
    FOUR_OF_FIVE,
    LEAST_SPREAD,
    UNKNOWN_SPREAD,
    Estimate,
    deviation,
    learnt,
    shrunk,
    sound_figures,
)
from pipelines.replace.costs import DRAWING_STAGES, PERSON_SHARE, PERSON_STAGES, START_S, peak_mb, stage_seconds

#: How many like runs the typical machine is worth; it tells little about another one.
MACHINE_PRIOR_WEIGHT = 0.03
#: How much more a run counts that had as many frames of the same size: it was most likely of the same clip.
SAME_CLIP = 12.0
#: Seconds below which a stage's time says nothing about the machine.
TELLING_S = 0.05
#: Stages that are the engine's own as much as the machine's.
ENGINE_STAGES = PERSON_STAGES | {"load"}
#: Stages in which the first run of all builds tables; times more than it usually takes from which on that was the case.
BUILDING_STAGES, BUILDING = frozenset({"body", "load"}), 4.0
#: Standard deviation of the natural logarithm: of the person's size in clips that are not known, and where the person was
#: seen in one frame.
UNKNOWN_SHARE, SEEN_SHARE = 0.6, 0.2
#: The settings that a run's time depends on.
TELLING_SETTINGS = (
    "engine", "checkpoint", "detector_complexity", "plate", "plate_samples", "fit", "face", "hands", "occluders",
    "edge_samples", "shadow_rays", "occlusion_rays", "comparison", "quality", "generation_size", "steps", "few_step",
    "guidance", "denoising_strength", "start_from", "motion_window",
)  # fmt: skip


@dataclass(frozen=True)
class PastRun:
    """What a finished run tells."""

    settings: ReplaceSettings
    frames: int
    size: tuple[int, int]
    """Width and height, pixels."""
    stages: Mapping[str, float]
    """Seconds by stage."""
    peak_mb: float
    """Most memory, MB."""
    person_share: float
    """Share of the picture that the person's box covered, the mean over all frames."""
    typical: Mapping[str, float]
    """What the stages typically take for such a clip and person with such settings, seconds."""
    typical_mb: float
    """The same for the memory."""


def estimate(
    frames: int,
    size: tuple[int, int],
    settings: ReplaceSettings,
    *,
    history: Path,
    hourly_price: float | None = None,
    person_share: float | None = None,
) -> Estimate:
    """Foretell a run.

    Parameters
    ----------
    frames:
        Number of frames in the clip, at least 1.
    size:
        Its width and height, pixels.
    settings:
        What the run would be started with.
    history:
        Folder with earlier run folders; need not exist. Only finished runs of this machine count.
    hourly_price:
        What the machine costs, US dollars an hour.
    person_share:
        Share of the picture that the box of the person to replace covers, 0..1, where it has been seen already.

    Raises
    ------
    InputError
        There is no such engine, or its options contradict each other.
    """
    return foretell(past_runs(history), frames, size, settings, hourly_price=hourly_price, person_share=person_share)


def foretell(
    runs: Sequence[PastRun],
    frames: int,
    size: tuple[int, int],
    settings: ReplaceSettings,
    *,
    hourly_price: float | None = None,
    person_share: float | None = None,
) -> Estimate:
    """Foretell a run from given earlier ones. Parameters and errors as for :func:`estimate`."""
    if frames < 1 or min(size) < 1:
        raise ValueError(f"{frames} frames of {size[0]}x{size[1]} are no clip")
    weights = [_likeness(run, frames, size, settings) for run in runs]
    factors = _factors(runs, weights, settings.engine)
    share, share_spread = _share(runs, weights, person_share)

    def seconds_with(person: float) -> dict[str, float]:
        return factors.applied(stage_seconds(frames, size, settings, min(person, 1.0)))

    stages = seconds_with(share)
    seconds = sum(stages.values())
    alike = [(run, weight) for run, weight in zip(runs, weights, strict=True) if run.settings.engine == settings.engine]
    spread = FOUR_OF_FIVE * _spread([run for run, _ in alike], [weight for _, weight in alike], factors)
    aside = [sum(seconds_with(share * math.exp(sign * FOUR_OF_FIVE * share_spread)).values()) for sign in (-1, 1)]
    low, high = (math.hypot(spread, math.log(other / seconds)) for other in aside)
    return Estimate(
        seconds=seconds,
        seconds_per_frame=seconds / frames,
        peak_mb=peak_mb(frames, size, settings, share) * factors.memory,
        runs=len(runs),
        cost_usd=None if hourly_price is None else seconds / 3600 * hourly_price,
        basis=_basis(runs, frames, size, settings.engine),
        range_s=(seconds * math.exp(-low), seconds * math.exp(high)),
        stages=MappingProxyType(stages),
    )


# -- what earlier runs say -----------------------------------------------------------------------------------------


def _likeness(run: PastRun, frames: int, size: tuple[int, int], settings: ReplaceSettings) -> float:
    """How much a run counts for such a clip and such settings: 1 for another clip of the same size, run the same way."""
    differing = sum(getattr(run.settings, name) != getattr(settings, name) for name in TELLING_SETTINGS)
    by_settings = 1 / (1 + differing / 4)
    if _same_clip(run, frames, size):
        return SAME_CLIP * by_settings
    by_size = math.exp(-abs(math.log(_area(run.size) / _area(size))) / 2)
    by_length = math.exp(-abs(math.log(run.frames / frames)) / 4)
    return by_settings * by_size * by_length


def _same_clip(run: PastRun, frames: int, size: tuple[int, int]) -> bool:
    return run.frames == frames and run.size == size


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _share(runs: Sequence[PastRun], weights: Sequence[float], seen: float | None) -> tuple[float, float]:
    """The person's likely share of the picture, and how uncertain it is (standard deviation of the logarithm)."""
    if seen is not None:
        return min(max(seen, 1e-4), 1.0), SEEN_SHARE
    share = shrunk([run.person_share for run in runs], weights, PERSON_SHARE)
    return share, deviation([math.log(run.person_share / share) for run in runs], weights, UNKNOWN_SHARE)


@dataclass(frozen=True)
class _Factors:
    """This machine's figures over the typical ones."""

    speed: float
    """Time as a whole."""
    stages: Mapping[str, float]
    """Time by stage, of those that something is known about."""
    memory: float
    """Most memory."""

    def applied(self, typical: Mapping[str, float]) -> dict[str, float]:
        """This machine's seconds by stage, and those to start."""
        stages = {name: seconds * self.stages.get(name, self.speed) for name, seconds in typical.items()}
        return {"start": START_S * self.speed, **stages}


def _factors(runs: Sequence[PastRun], weights: Sequence[float], engine: str) -> _Factors:
    """The whole comes from the stages that neither person nor engine matter to; a stage about which little is known is
    taken to follow the whole."""
    known = [(_survey_ratio(run), weight) for run, weight in zip(runs, weights, strict=True)]
    speed = shrunk(*_unzipped(pair for pair in known if pair[0]), 1.0, MACHINE_PRIOR_WEIGHT)
    stages = {}
    for name in {name for run in runs for name in run.typical}:
        told = [
            (run.stages[name] / run.typical[name], weight)
            for run, weight in zip(runs, weights, strict=True)
            if _tells(run, name) and (name not in ENGINE_STAGES or run.settings.engine == engine)
        ]
        if name in BUILDING_STAGES:
            told = [(ratio, weight) for ratio, weight in told if ratio < BUILDING * speed]
        stages[name] = shrunk(*_unzipped(told), speed)
    alike = [(run, weight) for run, weight in zip(runs, weights, strict=True) if run.settings.engine == engine]
    memory = shrunk(*_unzipped((run.peak_mb / run.typical_mb, weight) for run, weight in alike), 1.0)
    return _Factors(speed, stages, memory)


def _unzipped(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    listed = list(pairs)
    return [first for first, _ in listed], [second for _, second in listed]


def _tells(run: PastRun, stage: str) -> bool:
    return run.typical.get(stage, 0.0) >= TELLING_S and run.stages.get(stage, 0.0) >= TELLING_S


def _survey_ratio(run: PastRun) -> float:
    """Time over typical time of the stages that do not depend on the person; 0 where none took long enough."""
    telling = [name for name in run.typical if name not in PERSON_STAGES | BUILDING_STAGES and _tells(run, name)]
    typical = sum(run.typical[name] for name in telling)
    return sum(run.stages[name] for name in telling) / typical if typical else 0.0


def _spread(runs: Sequence[PastRun], weights: Sequence[float], factors: _Factors) -> float:
    """How far a run may lie from its estimate with the person's size known: standard deviation of the logarithm."""
    misses = []
    for run in runs:
        usual = {name: seconds for name, seconds in run.typical.items() if name not in BUILDING_STAGES}
        took = START_S * factors.speed + sum(run.stages.get(name, 0.0) for name in usual)
        misses.append(math.log(took / sum(factors.applied(usual).values())))
    return max(LEAST_SPREAD, deviation(misses, weights, UNKNOWN_SPREAD))


def _basis(runs: Sequence[PastRun], frames: int, size: tuple[int, int], engine: str) -> str:
    if not runs:
        return "Typical of two cores; no earlier runs on this machine yet."
    text = f"From {len(runs)} earlier run{'s' if len(runs) > 1 else ''} on this machine"
    alike = sum(_same_clip(run, frames, size) for run in runs)
    if not any(run.settings.engine == engine for run in runs):
        return f"{text}, none of them with this engine."
    if alike:
        return f"{text}, {alike} of them with as many frames of this size."
    return f"{text}."


# -- reading them --------------------------------------------------------------------------------------------------


def past_runs(history: Path) -> list[PastRun]:
    """The newest finished runs of this machine. What holds no readable run is passed over."""
    return learnt(history, _past_run)


def _person_share(folder: Path, record: Mapping[str, Any]) -> float:
    """Share of the picture that the person's box covered, the mean over all frames; at least a ten-thousandth."""
    with np.load(folder / "person.npz", allow_pickle=False) as data:
        boxes = np.nan_to_num(data["xyxy"].astype(np.float64))
    width, height = record["size"]
    return max(1e-4, float(np.mean(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))) / (width * height))


def _by_the_clock(stages: dict[str, float], drawing: Any) -> dict[str, float]:
    """Seconds by stage, those of the second pass shortened to what it took by the clock (``drawing``), where that is known."""
    together = sum(stages.get(name, 0.0) for name in DRAWING_STAGES)
    if drawing is None or not 0 < float(drawing) < together:
        return stages
    return {k: v * float(drawing) / together if k in DRAWING_STAGES else v for k, v in stages.items()}


def _past_run(folder: Path, record: Mapping[str, Any]) -> PastRun | None:
    share = _person_share(folder, record)
    settings = make_settings(ReplaceSettings, record["settings"])
    width, height = (int(side) for side in record["size"])
    frames = int(record["frames_in"])
    figures = sound_figures(record)
    if figures is None or min(width, height, frames) <= 0:
        return None
    stages, peak = figures
    stages = _by_the_clock(stages, record.get("drawing_s"))
    typical = stage_seconds(frames, (width, height), settings, share)
    typical_mb = peak_mb(frames, (width, height), settings, share)
    return PastRun(settings, frames, (width, height), stages, peak, share, typical, typical_mb)


__all__ = ["Estimate", "PastRun", "estimate", "foretell", "past_runs"]
