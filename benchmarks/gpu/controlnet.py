"""The controlnet engine: its presets beside the plain pipeline, batch sizes and layouts, compilation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL import Image

from benchmarks.gpu.common import Bench, Table, footage, free_memory, no, spread, timed_parts
from benchmarks.gpu.networks import FULL_DIFFUSION, TINY_DIFFUSION, TRAINED, diffusion_networks
from core.presets import load_preset
from core.types import GenerationRequest
from models.generators.base import EngineOptions
from models.generators.controlnet import ControlNetGenerator
from models.generators.diffusion.canvas import Canvas
from models.generators.diffusion.drawing import network_dtype
from models.generators.diffusion.loading import Networks
from models.generators.diffusion.plan import make_plan
from models.memory import reset_peak

PRESETS = ("fast", "balanced", "high")
#: Denoising steps of diffusers' pipeline where nobody says a number.
DEFAULT_STEPS = 50
#: What a preset says to the engine.
PRESET_OPTIONS = ("steps", "generation_size", "few_step", "motion_window", "vram_gb")
BATCHES = (1, 2, 4, 8)
#: Timed calls of the preset high, which take long, and of the plain pipeline.
MOST_HIGH, MOST_PLAIN = 3, 3
#: Crop of a person in a 720p shot, and the shot, ``(width, height)`` pixels.
CROP, SHOT = (432, 720), (1280, 720)
PARTS = ("UNet", "ControlNets", "VAE")


def options(bench: Bench, preset: str, **changes: Any) -> EngineOptions:
    """Options of the engine as a preset has them, with three ControlNets.

    It starts from the source: drawing the avatar is the CPU's work, and the section clip measures it.
    """
    given = load_preset(preset, "replace")
    values: dict[str, Any] = {name: given[name] for name in PRESET_OPTIONS if name in given}
    values |= {
        "start_from": "source", "canny_weight": 0.4, "prompt": "a man", "negative_prompt": "blurry",
        "device": bench.device,
    }  # fmt: skip
    if bench.size:
        values["generation_size"] = bench.size
    return EngineOptions(**(values | changes))


def networks(bench: Bench, controls: int, window: bool = False) -> Networks:
    """New networks, so that no offloading of an earlier engine is left on them."""
    sizes = TINY_DIFFUSION if bench.tiny else FULL_DIFFUSION
    return diffusion_networks(sizes, controls, window, network_dtype(bench.device), bench.device)


def engine(bench: Bench, chosen: EngineOptions) -> ControlNetGenerator:
    """The engine, loaded with random networks."""
    plan = make_plan(chosen)
    made = ControlNetGenerator(chosen, networks(bench, len(plan.controls), plan.window))
    made.load()
    return made


def parts_of(pipe: Any) -> dict[str, Sequence[torch.nn.Module]]:
    """The modules whose time is taken."""
    return dict(zip(PARTS, ([pipe.unet], [pipe.controlnet], [pipe.vae.encoder, pipe.vae.decoder]), strict=True))


@dataclass(frozen=True)
class Timing:
    """Timed calls of the same kind."""

    per_frame: list[float]
    """Seconds a frame of each call."""
    parts: dict[str, float]
    """Share of the wall time in each network, all calls together."""
    peak: str
    """Peak of the graphics memory, for a table."""
    note: str = ""
    """What did not go the plain way."""

    @property
    def median(self) -> float:
        """Seconds a frame."""
        return statistics.median(self.per_frame)


def crop_of(bench: Bench) -> tuple[int, int]:
    """``(width, height)`` of the crop that is drawn."""
    return (CROP[0] // 10, CROP[1] // 10) if bench.tiny else CROP


def time_calls(bench: Bench, made: ControlNetGenerator, count: int, repeats: int) -> Timing:
    """Draw calls of ``count`` consecutive frames: two to warm up, then the timed ones, each going on from the last."""
    crop = crop_of(bench)
    # The second call of a windowed run sees frames of the first: only from then on all calls are alike.
    requests = [footage(index * count, count, crop, made.plan.controls) for index in range(repeats + 2)]
    made.load()
    warnings: list[str] = []
    together: list[int] = []
    watch = made.pipe.unet.register_forward_pre_hook(lambda _net, given: together.append(given[0].shape[0]))
    with timed_parts(parts_of(made.pipe), bench.on_card) as parts:
        for request in requests[:2]:
            warnings += made.generate(request).warnings
        parts.clear()
        reset_peak()
        seconds = [bench.seconds(partial(_draw, made, request, warnings)) for request in requests[2:]]
        inside = parts.seconds()
    watch.remove()
    most = max(together) // (2 if made.plan.guided else 1)
    if most < count and not made.plan.window:
        warnings.append(f"only {most} at once fit in the memory")
    shares = {name: spent / sum(seconds) for name, spent in inside.items()}
    return Timing([s / count for s in seconds], shares, bench.peak(), "; ".join(dict.fromkeys(warnings)))


def _draw(made: ControlNetGenerator, request: GenerationRequest, warnings: list[str]) -> None:
    warnings += made.generate(request).warnings


# -- the presets, and the plain pipeline ---------------------------------------------------------------------------


def measure_presets(bench: Bench) -> None:
    """Seconds a frame, memory and shares with each preset; then the same beside the pipeline called plainly."""
    width, height = crop_of(bench)
    table = Table(
        f"controlnet: the presets, three ControlNets, crop {width}x{height}, full calls",
        [
            "preset", "drawn at", "steps drawn", "frames a call", "s a frame", *PARTS, "ours", "peak VRAM, GB",
            "budget, GB", "note",
        ],
    )  # fmt: skip
    found: dict[str, Timing] = {}
    for name in PRESETS:
        chosen = options(bench, name)
        plan = make_plan(chosen)
        timing, reason = bench.attempt(f"preset {name}", partial(_measure_preset, bench, chosen))
        drawn = Canvas.fit((width, height), plan.size).size
        steps = f"{plan.drawn_steps} of {plan.steps}"
        cells = [name, f"{drawn[0]}x{drawn[1]}", steps, str(plan.capabilities.frames_per_call)]
        if timing is None:
            table.row(*cells, no(reason))
            continue
        found[name] = timing
        budget = "none" if chosen.vram_gb is None else f"{chosen.vram_gb:g}"
        table.row(*cells, spread(timing.per_frame), *shares(timing.parts), timing.peak, budget, timing.note)
    compare(bench, found)


def _measure_preset(bench: Bench, chosen: EngineOptions) -> Timing:
    made = engine(bench, chosen)
    try:
        repeats = min(bench.repeats, MOST_HIGH) if chosen.motion_window else bench.repeats
        return time_calls(bench, made, made.capabilities.frames_per_call, repeats)
    finally:
        made.unload()
        del made
        free_memory()


def shares(parts: dict[str, float]) -> list[str]:
    """Cells with the share of each network, and of everything else in the engine."""
    return [f"{100 * parts[name]:.1f} %" for name in PARTS] + [f"{100 * (1 - sum(parts.values())):.1f} %"]


def compare(bench: Bench, found: dict[str, Timing]) -> None:
    """Print the ratios to the plain pipeline."""
    table = Table(
        "controlnet: beside the same pipeline called plainly, three ControlNets",
        [
            "preset", "s a frame", "plain frame", "plain, as many steps, s a frame", "times faster",
            f"plain, {DEFAULT_STEPS} steps, s a frame", "times faster",
        ],
    )  # fmt: skip
    known: dict[tuple[int, int], tuple[list[float] | None, str]] = {}
    for name in PRESETS:
        plan = make_plan(options(bench, name))
        timing = found.get(name)
        width, height = plain_size(plan.size)
        cells = [name, no("see above") if timing is None else f"{timing.median:.3f}", f"{width}x{height}"]
        for steps in (plan.steps, DEFAULT_STEPS):
            if (plan.size, steps) not in known:
                known[plan.size, steps] = bench.attempt("plain", partial(time_plain, bench, 3, plan.size, steps))
            cells += ratio(timing.median if timing else None, *known[plan.size, steps])
        table.row(*cells)


def plain_size(longer: int) -> tuple[int, int]:
    """``(width, height)`` of a whole 720p frame at a generation size, pixels."""
    return longer, round(longer * SHOT[1] / SHOT[0] / 8) * 8


def ratio(ours: float | None, plain: list[float] | None, reason: str) -> list[str]:
    """Cells: the plain pipeline's seconds a frame, and how often ours goes into them."""
    if plain is None:
        return [no(reason), no(reason)]
    return [spread(plain), f"{statistics.median(plain) / ours:.2f}" if ours else no("see above")]


def time_plain(bench: Bench, controls: int, longer: int, steps: int) -> list[float]:
    """Seconds a frame of diffusers' pipeline as its examples call it.

    Whole frames at the generation size, one at a time, PIL pictures in and out, the prompt encoded for each, the
    checkpoint's own scheduler, guidance and strength as they come, no change of layout.

    Parameters
    ----------
    controls:
        Number of ControlNets.
    longer:
        Longer side of the picture, pixels.
    steps:
        Denoising steps; all of them are run, since the strength is 1.
    """
    from diffusers import PNDMScheduler
    from diffusers.pipelines.controlnet.pipeline_controlnet_inpaint import StableDiffusionControlNetInpaintPipeline

    free_memory()
    made = networks(bench, controls)
    pipeline: Any = StableDiffusionControlNetInpaintPipeline
    pipe = pipeline(
        vae=made.vae, text_encoder=made.text_encoder, tokenizer=made.tokenizer, unet=made.unet,
        controlnet=made.controlnets, scheduler=PNDMScheduler.from_config(TRAINED), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).to(bench.device)  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    width, height = plain_size(longer)
    names = [f"control {index}" for index in range(controls)]
    count = 1 + min(bench.repeats, MOST_PLAIN)
    shot = footage(0, count, (width, height), names)
    assert shot.controls is not None
    maps = shot.controls.maps

    def draw(index: int) -> None:
        pipe(
            prompt="a man", negative_prompt="blurry", image=Image.fromarray(shot.frames[index]),
            mask_image=Image.fromarray(shot.masks[index]), control_image=[Image.fromarray(maps[n][index]) for n in names],
            height=height, width=width, num_inference_steps=steps, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

    draw(0)
    return [bench.seconds(partial(draw, index)) for index in range(1, count)]


# -- batch sizes, layouts, compilation ------------------------------------------------------------------------------


def measure_batches(bench: Bench) -> None:
    """Seconds a frame with the preset fast, over batch sizes and memory layouts."""
    columns = ["frames at once", "layout", "s a frame", *PARTS, "ours", "peak VRAM, GB", "note"]
    table = Table("controlnet: batch size and layout, preset fast, three ControlNets", columns)
    made, reason = bench.attempt("loading", partial(engine, bench, options(bench, "fast", vram_gb=None)))
    layouts = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
    for layout, form in layouts.items():
        if made is not None:
            set_layout(made.pipe, form)
        for count in BATCHES:
            timing = None
            if made is not None:
                timing, reason = bench.attempt(f"batch {count}", partial(time_calls, bench, made, count, bench.repeats))
            if timing is None:
                table.row(str(count), layout, no(reason))
            else:
                table.row(str(count), layout, spread(timing.per_frame), *shares(timing.parts), timing.peak, timing.note)
    if made is not None:
        made.unload()
    del made
    free_memory()


def set_layout(pipe: Any, form: torch.memory_format) -> None:
    """Bring the networks' weights into a memory layout."""
    for part in (pipe.unet, pipe.controlnet, pipe.vae):
        part.to(memory_format=form)


def measure_compile(bench: Bench) -> None:
    """Seconds a frame with the preset fast with and without ``torch.compile``, one after the other on the same networks."""
    table = Table(
        "controlnet: torch.compile of UNet and ControlNets, preset fast, three ControlNets, full calls",
        ["torch.compile", "s a frame", *PARTS, "ours", "peak VRAM, GB", "compilation, s"],
    )
    made, reason = None, "no CUDA"
    if bench.on_card:
        made, reason = bench.attempt("loading", partial(engine, bench, options(bench, "fast", vram_gb=None)))
    for label in ("no", "yes"):
        found = None
        if made is not None:
            found, reason = bench.attempt("torch.compile", partial(_time_compiled, bench, made, label == "yes"))
        if found is None:
            table.row(label, no(reason))
        else:
            timing, compiling = found
            table.row(label, spread(timing.per_frame), *shares(timing.parts), timing.peak, compiling)


def _time_compiled(bench: Bench, made: ControlNetGenerator, compiled: bool) -> tuple[Timing, str]:
    """The calls' times, and how much longer the first one took than those that followed."""
    count = made.capabilities.frames_per_call
    compiling = ""
    if compiled:
        for net in (made.pipe.unet, *made.pipe.controlnet.nets):
            # The method alone, so that what hangs on the module (timers, offloading) stays outside.
            net.forward = torch.compile(net.forward)
        made.load()
        first = bench.seconds(lambda: made.generate(footage(0, count, crop_of(bench), made.plan.controls)))
    timing = time_calls(bench, made, count, bench.repeats)
    if compiled:
        compiling = f"{first - count * timing.median:.0f}"
    return timing, compiling
