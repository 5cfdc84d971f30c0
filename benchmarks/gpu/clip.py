"""A whole clip through the replacement with random networks: how much of the time is spent around them."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.common import Bench, Parts, Table, free_memory, no, say
from benchmarks.gpu.controlnet import DEFAULT_STEPS, PARTS, engine, parts_of, time_plain
from core.presets import load_preset
from core.settings import ReplaceSettings, make_settings
from models import registry
from models.generators.base import EngineOptions
from models.generators.controlnet import ControlNetGenerator
from models.memory import GIB
from pipelines.replace.processor import replace_clip

#: The engine's name in the table of engines while a clip is measured.
NAME = "controlnet-random-weights"
#: What the reference system takes for 10 s of 720p at 30 fps, seconds and GB; and what the fast preset shall take.
LONG_FRAMES, LONG_PIXELS = 300, 1280 * 720
REFERENCE_S, REFERENCE_GB, FAST_S = 300, 40, 120
#: Share of the wall time that may be spent around the networks.
MOST_AROUND = 0.15
#: Stages whose work does not grow with the shot's size.
FIXED = ("body",)


class ClipEngine:
    """Makes the engine for a clip, and keeps hold of its timers."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.parts: Parts | None = None
        self.controls = 0
        self.size = 0
        self.load_s = 0.0

    def __call__(self, chosen: EngineOptions) -> ControlNetGenerator:
        """As a factory in the table of engines. The networks are loaded here, outside the run's own time."""
        started = time.perf_counter()
        made = engine(self._bench, replace(chosen, device=self._bench.device))
        self.parts = Parts(parts_of(made.pipe), self._bench.on_card)
        self.controls, self.size = len(made.plan.controls), made.plan.size
        self.load_s = time.perf_counter() - started
        return made


@dataclass(frozen=True)
class ClipRun:
    """One run, timed."""

    seconds: float
    """Wall time of the whole run without loading the networks."""
    networks: dict[str, float]
    """Seconds in each network."""
    stages: dict[str, float]
    """Seconds of each stage of the pipeline."""
    frames: int
    drawn: int
    """Frames with the person in them."""
    pixels: int
    """Of one frame."""
    controls: int
    """Number of ControlNets."""
    size: int
    """Longer side of what was drawn, pixels."""
    peak: str
    """Most graphics memory of all stages, for a table."""
    warnings: list[str]

    @property
    def network_s(self) -> float:
        """Seconds in all networks."""
        return sum(self.networks.values())

    @property
    def around(self) -> float:
        """Share of the wall time outside the networks."""
        return 1 - self.network_s / self.seconds

    @property
    def rows(self) -> dict[str, float]:
        """Seconds by what they were spent on; they add up to the wall time."""
        stages = {name: spent for name, spent in self.stages.items() if name != "generate"}
        engine_s = self.stages.get("generate", 0.0) - self.network_s
        rest = self.seconds - sum(self.stages.values())
        own = {"engine: avatar's picture, flow, noise, scaling": engine_s}
        return {**self.networks, **own, **stages, "files, hashes and the rest, less what ran beside the drawing": rest}

    @property
    def long_s(self) -> float:
        """Seconds that 300 frames of 1280x720 with the person in all of them would take, in proportion."""
        grown = LONG_PIXELS / self.pixels
        generate = self.stages.get("generate", 0.0)
        fixed = sum(self.stages.get(name, 0.0) for name in FIXED)
        # Stages that run beside the drawing do not lengthen the run.
        others = self.seconds - generate - fixed
        return LONG_FRAMES * (generate / max(self.drawn, 1) + (fixed + grown * others) / self.frames)


@contextmanager
def engine_row(make: ClipEngine) -> Iterator[None]:
    """The engine in the table of engines, for the length of a block."""
    registry.ENGINES[NAME] = replace(registry.ENGINES["controlnet"], name=NAME, factory=make)
    try:
        yield
    finally:
        del registry.ENGINES[NAME]


def clip_settings(bench: Bench) -> ReplaceSettings:
    """The preset fast; everything else as the product has it."""
    own: dict[str, Any] = {"engine": NAME}
    if bench.size:
        own["generation_size"] = bench.size
    if bench.tiny:
        own |= {"prompt": "a man", "negative_prompt": "blurry"}
    return make_settings(ReplaceSettings, load_preset("fast", "replace") | own)


def run_clip(bench: Bench, clip: Path) -> ClipRun:
    """Replace the person in a clip, and time it."""
    made = ClipEngine(bench)
    with tempfile.TemporaryDirectory() as folder, engine_row(made):
        runs: list[Path] = []
        seconds = bench.seconds(lambda: runs.append(replace_clip(clip, clip_settings(bench), output=Path(folder))))
        run = runs[0]
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        with np.load(run / "person.npz") as person:
            drawn = int((person["state"] != "absent").sum())
    assert made.parts is not None
    width, height = record["size"]
    networks = made.parts.seconds()
    made.parts.remove()
    return ClipRun(
        seconds - made.load_s, networks, record["stages"], record["frames_in"], drawn, width * height, made.controls,
        made.size, _peak(bench, record), record.get("warnings", []),
    )  # fmt: skip


def _peak(bench: Bench, record: dict[str, Any]) -> str:
    peaks = [peak for peak in record.get("vram_mb", {}).values() if peak is not None]
    return f"{max(peaks) * 2**20 / GIB:.1f}" if peaks and bench.on_card else no("no CUDA")


def measure_clip(bench: Bench, clip: Path) -> None:
    """Print where the time of a whole clip goes, and what ten seconds of 720p would take."""
    found, reason = bench.attempt("clip", lambda: run_clip(bench, clip))
    free_memory()
    table = Table(f"controlnet: a whole clip ({clip.name}), preset fast", ["part", "s", "share"])
    if found is None:
        for part in (*PARTS, "everything around the networks", "the whole run"):
            table.row(part, no(reason))
    else:
        for part, spent in found.rows.items():
            table.row(part, f"{spent:.2f}", f"{100 * spent / found.seconds:.1f} %")
        table.row(
            "**everything around the networks**", f"{found.seconds - found.network_s:.2f}", _percent(found.around)
        )
        table.row("**the whole run**", f"{found.seconds:.2f}", "100 %")
        say(f"\n{found.frames} frames, {found.drawn} with the person, {found.controls} ControlNets.")
        for warning in found.warnings:
            say(f"Warning of the run: {warning}")
    reach(bench, found, reason)


def reach(bench: Bench, found: ClipRun | None, reason: str) -> None:
    """Print the targets beside what was measured."""
    table = Table("controlnet: 10 s of 720p at 30 fps, in proportion from the clip", ["what", "measured", "target"])
    most = f"< {100 * MOST_AROUND:.0f} %"
    targets = (
        ("share around the networks", most), ("seconds, preset fast", f"{FAST_S} (reference {REFERENCE_S})"),
        ("peak VRAM, GB", str(REFERENCE_GB)), (f"plain pipeline, {DEFAULT_STEPS} steps, seconds", ""),
        ("times faster than that", ""),
    )  # fmt: skip
    if found is None:
        for what, target in targets:
            table.row(what, no(reason), target)
        return
    figures = [f"{100 * found.around:.1f} %", f"{found.long_s:.0f}", found.peak]
    plain, why = bench.attempt("plain", partial(time_plain, bench, found.controls, found.size, DEFAULT_STEPS))
    if plain is None:
        figures += [no(why), no(why)]
    else:
        long = LONG_FRAMES * statistics.median(plain)
        figures += [f"{long:.0f}", f"{long / found.long_s:.2f}"]
    for (what, target), figure in zip(targets, figures, strict=True):
        table.row(what, figure, target)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
