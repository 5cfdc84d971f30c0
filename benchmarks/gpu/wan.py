"""The wan-animate engine: one full call at each offload level."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModel

from benchmarks.gpu.common import Bench, Table, footage, free_memory, no, spread, timed_parts
from benchmarks.gpu.networks import FULL_WAN, TINY_WAN, WanSizes, empty, parameter_count, wan_pipeline, wan_transformer
from models.generators.base import EngineOptions
from models.generators.wan.loading import Networks
from models.generators.wan.prompts import TOKENS
from models.generators.wan_animate import CARRIED, FEW_STEPS, FRAMES_PER_CALL, STEPS, WanAnimateGenerator
from models.memory import GIB, OffloadLevel, apply_offload, compute_dtype, free_gb, reset_peak

LEVELS: tuple[OffloadLevel, ...] = ("none", "model", "group", "sequential")
#: Denoising steps of a timed call. All steps are alike, so more of them would only take longer.
TIMED_STEPS = 3
#: Longer side of what is drawn, pixels: that of the preset balanced.
SIZE = 768
#: Crop of a person in a 720p shot, ``(width, height)`` pixels.
CROP, TINY_CROP = (432, 720), (48, 64)
#: What must be free beside the weights where they lie in the machine's memory, GiB.
SPARE_GB = 4.0
PARTS = ("transformer", "VAE")


@dataclass(frozen=True)
class Call:
    """A full call at one offload level."""

    steps: list[float]
    """Seconds of each step that was timed."""
    rest: float
    """Seconds of everything else in the call."""
    parts: dict[str, float]
    """Seconds in the transformer and in the VAE."""
    peak: str

    def seconds(self, steps: int) -> float:
        """Of a call with so many steps."""
        return self.rest + steps * statistics.median(self.steps)


def sizes(bench: Bench) -> WanSizes:
    """Which networks to build."""
    return TINY_WAN if bench.tiny else FULL_WAN


def weights_gb(bench: Bench) -> float:
    """What the networks take, GiB, without building them."""
    made = sizes(bench)
    half = torch.finfo(compute_dtype(bench.device)).bits // 8
    image = CLIPVisionConfig(**made.image_encoder)
    count = parameter_count(empty(lambda: wan_transformer(made))) + parameter_count(
        empty(lambda: CLIPVisionModel(image))
    )
    return (half * count + 4 * parameter_count(empty(lambda: AutoencoderKLWan(**made.vae)))) / GIB


def measure_wan(bench: Bench, levels: tuple[OffloadLevel, ...] = LEVELS) -> None:
    """Print seconds a call and a frame, and memory, at each offload level."""
    width, height = TINY_CROP if bench.tiny else CROP
    new = FRAMES_PER_CALL - CARRIED
    table = Table(
        f"wan-animate: calls of {FRAMES_PER_CALL} frames ({new} new ones), crop {width}x{height}, bf16",
        [
            "offload", "s a step", "everything else, s", "of which VAE, s", f"s a call, {STEPS} steps", "s a new frame",
            f"s a call, {FEW_STEPS} steps", "s a new frame", "peak VRAM, GB",
        ],
    )  # fmt: skip
    for level in levels:
        call, reason = (None, "no CUDA")
        if level == "none" or bench.on_card or bench.blocked:
            call, reason = bench.attempt(f"wan-animate, offload {level}", partial(time_call, bench, level))
        free_memory()
        if call is None:
            table.row(level, no(reason))
            continue
        cells = [spread(call.steps), f"{call.rest:.1f}", f"{call.parts['VAE']:.1f}"]
        for steps in (STEPS, FEW_STEPS):
            cells += [f"{call.seconds(steps):.1f}", f"{call.seconds(steps) / new:.2f}"]
        table.row(level, *cells, call.peak)


def time_call(bench: Bench, level: OffloadLevel) -> Call:
    """Draw the first call of a clip to warm up, then time the second, which goes on from it."""
    need = weights_gb(bench)
    if level != "none" and free_gb("cpu") < need + SPARE_GB:
        raise MemoryError(f"{need:.0f} GB of weights do not fit in the machine's memory")
    with tempfile.TemporaryDirectory() as folder:
        return _time_second(bench, *engine(bench, level, Path(folder)))


def engine(bench: Bench, level: OffloadLevel, folder: Path) -> tuple[WanAnimateGenerator, Any]:
    """The engine with random networks, placed as the offload level says; and its pipeline."""
    picture = folder / "reference.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 270, 3), np.uint8)).save(picture)
    options = EngineOptions(
        reference=picture, generation_size=bench.size or SIZE, steps=TIMED_STEPS, device=bench.device
    )
    dtype = compute_dtype(bench.device)
    made = sizes(bench)
    pipe: Any = wan_pipeline(made, dtype, bench.device, bench.device if level == "none" else "cpu")
    apply_offload(pipe, level, bench.device)
    prompt = 0.1 * torch.randn((1, TOKENS, made.text_width), generator=torch.Generator().manual_seed(0))
    networks = Networks(pipe, prompt.to(dtype), None, bench.device, level)
    return WanAnimateGenerator(options, networks), pipe


def _time_second(bench: Bench, made: WanAnimateGenerator, pipe: Any) -> Call:
    crop = TINY_CROP if bench.tiny else CROP
    new = FRAMES_PER_CALL - CARRIED
    first = made.generate(footage(0, new, crop, ("pose",)))
    if first.warnings:
        raise MemoryError(f"memory ran out with {new + 1} frames at once")
    second = footage(new, new, crop, ("pose",), carried=first.frames[-CARRIED:])
    marks: list[float] = []

    def on_step(_share: float, _text: str) -> None:
        bench.synchronise()
        marks.append(time.perf_counter())

    networks = {"transformer": [pipe.transformer], "VAE": [pipe.vae.encoder, pipe.vae.decoder]}
    reset_peak()
    with timed_parts(networks, bench.on_card) as parts:
        results: list[Any] = []
        seconds = bench.seconds(lambda: results.append(made.generate(second, on_step)))
        inside = parts.seconds()
    if results[0].warnings:
        raise MemoryError(f"memory ran out with {FRAMES_PER_CALL} frames at once")
    # The first step's beginning is not reported; those after it are alike.
    steps = [after - before for before, after in pairwise(marks)]
    return Call(steps, seconds - TIMED_STEPS * statistics.median(steps), inside, bench.peak())
