"""How long a mesh run will take and how much memory: typical figures, corrected by the runs that this machine has done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.settings import MeshSettings, make_settings
from pipelines.mesh.costs import START_S, ClipShape, peak_mb, stage_seconds
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

#: Seconds below which a stage's time says nothing about the machine.
TELLING_S = 0.05
#: How much more a run counts that had a clip of as many frames and the same size.
SAME_CLIP = 12.0


@dataclass(frozen=True)
class PastMesh:
    """What a finished run tells: its clip, and its figures over the typical ones."""

    clip: ClipShape
    """The clip that the videos show."""
    ratios: Mapping[str, float]
    """Time by stage over the typical, of those that took long enough."""
    whole: float
    """The time of all stages together over the typical."""
    memory: float
    """The most memory over the typical."""


def estimate(
    clips: Sequence[ClipShape],
    settings: MeshSettings,
    *,
    history: Path,
    reference: int = 0,
    hourly_price: float | None = None,
) -> Estimate:
    """Foretell a run.

    Parameters
    ----------
    clips:
        All clips of the take, at least one.
    settings:
        What the run would be started with.
    history:
        Folder with earlier run folders; need not exist. Only finished runs of this machine count.
    reference:
        Index of the clip that the videos show.
    hourly_price:
        What the machine costs, US dollars an hour.
    """
    runs = past_meshes(history)
    weights = [_likeness(run, clips[reference]) for run in runs]
    whole = shrunk([run.whole for run in runs], weights, 1.0)
    typical = stage_seconds(clips, reference, settings)
    stages = {"start": START_S * whole}
    for name, seconds in typical.items():
        told = [(run.ratios[name], weight) for run, weight in zip(runs, weights, strict=True) if name in run.ratios]
        stages[name] = seconds * shrunk([ratio for ratio, _ in told], [weight for _, weight in told], whole)
    seconds = sum(stages.values())
    misses = [math.log(run.whole / whole) for run in runs]
    spread = math.exp(FOUR_OF_FIVE * max(LEAST_SPREAD, deviation(misses, weights, UNKNOWN_SPREAD)))
    return Estimate(
        seconds=seconds,
        seconds_per_frame=seconds / clips[reference].frames,
        peak_mb=peak_mb(clips) * shrunk([run.memory for run in runs], weights, 1.0),
        runs=len(runs),
        cost_usd=None if hourly_price is None else seconds / 3600 * hourly_price,
        basis=_basis(len(runs)),
        range_s=(seconds / spread, seconds * spread),
        stages=MappingProxyType(stages),
    )


def _likeness(run: PastMesh, clip: ClipShape) -> float:
    """How much a run counts for a clip: 1 for another one of the same size."""
    if run.clip == clip:
        return SAME_CLIP
    return math.exp(-abs(math.log(math.prod(run.clip.size) / math.prod(clip.size))) / 2)


def _basis(runs: int) -> str:
    if not runs:
        return "Typical of two cores; no earlier meshes on this machine yet."
    return f"From {runs} earlier mesh{'es' if runs > 1 else ''} on this machine."


def past_meshes(history: Path) -> list[PastMesh]:
    """The newest finished mesh runs of this machine. What holds no readable run is passed over."""
    return learnt(history, _past_mesh)


def _past_mesh(_folder: Path, record: Mapping[str, Any]) -> PastMesh | None:
    if record["kind"] != "mesh":
        return None
    figures = sound_figures(record)
    width, height = (int(side) for side in record["size"])
    clip = ClipShape(int(record["frames_in"]), (width, height))
    if figures is None or min(width, height, clip.frames) <= 0:
        return None
    took, peak = figures
    settings = make_settings(MeshSettings, record["settings"])
    # The other views' clips are like the reference one, or nearly.
    clips = [clip] * len(record["sources"])
    typical = stage_seconds(clips, 0, settings)
    ratios = {
        name: took[name] / seconds
        for name, seconds in typical.items()
        if seconds >= TELLING_S and took.get(name, 0.0) >= TELLING_S
    }
    if not ratios:
        return None
    whole = sum(took[name] for name in ratios) / sum(typical[name] for name in ratios)
    return PastMesh(clip, MappingProxyType(ratios), whole, peak / peak_mb(clips))
