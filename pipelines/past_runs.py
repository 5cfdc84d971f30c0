"""What estimates of every kind of run rest on: the runs that this machine has finished, and what they say on average."""

from __future__ import annotations

import itertools
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

from core.errors import InputError
from core.runs import RunFolder
from pipelines.machine import machine_key

T = TypeVar("T")

#: Runs that an estimate rests on at most, the newest ones, and run folders that are looked at to find them.
NEWEST, LOOKED_AT = 200, 800
#: How many like runs the typical figures are worth.
PRIOR_WEIGHT = 1.0
#: Standard deviation of the natural logarithm: of a run's time about the typical one, on a machine that is not known.
UNKNOWN_SPREAD = 0.4
#: The same, of runs of one clip on one machine, whose speed drifts.
LEAST_SPREAD = 0.10
#: Standard deviations on either side that hold four runs of five.
FOUR_OF_FIVE = 1.28

#: What reading a damaged run folder, or one of a version with other settings, may raise.
DAMAGE = (
    InputError, OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, BadZipFile,
    zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, before it is started."""

    seconds: float
    """From start to end."""
    seconds_per_frame: float
    """The same for each frame."""
    peak_mb: float
    """Most memory, MB."""
    runs: int
    """Earlier runs of this machine that it rests on."""
    cost_usd: float | None
    """What a rented machine asks for that time, US dollars; ``None`` where no price is known."""
    basis: str
    """Where the figures come from, one sentence."""
    range_s: tuple[float, float]
    """Seconds between which four runs of five end."""
    stages: Mapping[str, float]
    """Seconds by stage, as in ``run.json``, and ``start``. Adds up to ``seconds``."""


def learnt(history: Path, tell: Callable[[Path, dict[str, Any]], T | None]) -> list[T]:
    """What the newest finished runs of this machine tell, :data:`NEWEST` at most.

    Parameters
    ----------
    history:
        Folder with run folders; need not exist.
    tell:
        Given a run's folder and its record; ``None`` where it has nothing to tell. A folder is asked again only after its
        record has changed. What holds no readable run is passed over.
    """
    here = json.dumps(machine_key(), sort_keys=True)
    told = (_told(tell, folder, changed, size, here) for folder, changed, size in _run_files(history))
    return list(itertools.islice((value for value in told if value is not None), NEWEST))


@lru_cache(maxsize=4 * LOOKED_AT)
def _told(
    tell: Callable[[Path, dict[str, Any]], T | None], folder: Path, _changed_ns: int, _bytes: int, here: str
) -> T | None:
    try:
        record = RunFolder.open(folder).record
        if record["state"] != "done" or json.dumps(record.get("machine"), sort_keys=True) != here:
            return None
        return tell(folder, record)
    except DAMAGE:
        return None  # damaged, or of a version with other settings: nothing to learn from


def _run_files(history: Path) -> list[tuple[Path, int, int]]:
    """Run folders, the newest first, :data:`LOOKED_AT` at most, with time (ns) and size (bytes) of their records."""
    if not history.is_dir():
        return []
    files = []
    for entry in os.scandir(history):
        try:
            state = (history / entry.name / "run.json").stat()
        except OSError:
            continue  # not a run, or deleted just now
        files.append((state.st_mtime_ns, state.st_size, history / entry.name))
    return [(folder, changed, size) for changed, size, folder in sorted(files, reverse=True)[:LOOKED_AT]]


def sound_figures(record: Mapping[str, Any]) -> tuple[dict[str, float], float] | None:
    """Seconds by stage and the most memory (MB) of a finished run; ``None`` where they cannot be true."""
    stages = {str(name): float(seconds) for name, seconds in record["stages"].items()}
    peak = float(record["peak_rss_mb"])
    sound = all(math.isfinite(value) and value >= 0 for value in stages.values()) and math.isfinite(peak)
    return (stages, peak) if sound and min(peak, sum(stages.values())) > 0 else None


def deviation(values: Sequence[float], weights: Sequence[float], unknown: float) -> float:
    """Weighted standard deviation about 0, drawn towards that of the unknown the more, the less is known."""
    squares = sum(weight * value**2 for value, weight in zip(values, weights, strict=True))
    return math.sqrt((squares + PRIOR_WEIGHT * unknown**2) / (sum(weights) + PRIOR_WEIGHT))


def shrunk(
    ratios: Sequence[float], weights: Sequence[float], towards: float, prior_weight: float = PRIOR_WEIGHT
) -> float:
    """Weighted median of ratios, drawn towards a value the more, the less is known."""
    total = sum(weights)
    if not total:
        return towards
    known = math.log(_weighted_median(ratios, weights))
    return math.exp((total * known + prior_weight * math.log(towards)) / (total + prior_weight))


def _weighted_median(values: Iterable[float], weights: Iterable[float]) -> float:
    """The value with half of the weight on either side; between two of them where neither has."""
    pairs = sorted(zip(values, weights, strict=True))
    half = sum(weight for _, weight in pairs) / 2
    below = 0.0
    for index, (value, weight) in enumerate(pairs):
        below += weight
        if math.isclose(below, half) and index + 1 < len(pairs):
            return (value + pairs[index + 1][0]) / 2
        if below > half:
            return value
    return pairs[-1][0]
