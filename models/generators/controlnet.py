"""The controlnet engine: Stable Diffusion 1.5 draws the new person, steered by pose, depth and edges.

What it draws, from what, and how it stays steady over time: docs/engines-controlnet.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InputError
from core.types import GenerationRequest, GenerationResult
from models import weights
from models.generators.base import Capabilities, EngineOptions, LoadProgress
from models.generators.diffusion.canvas import Canvas, Sheet, soft_mask, whole_cells
from models.generators.diffusion.noise import MovingNoise
from models.generators.diffusion.plan import make_plan
from models.generators.diffusion.start import Motion, background, moved_on, with_avatar
from models.generators.library_care import quiet_libraries
from models.generators.reference_picture import check_reference
from models.memory import Batches, choose_device, limit_vram

if TYPE_CHECKING:
    from models.generators.diffusion.drawing import Drawer
    from models.generators.diffusion.loading import Networks


@dataclass
class _Memory:
    """What goes on from call to call inside one segment, in canvas pixels."""

    canvas: Canvas
    noise: MovingNoise
    next_frame: int
    """The frame that would continue it."""
    source: np.ndarray
    """(h, w, 3) uint8, the last frame's source."""
    result: np.ndarray | None = None
    """(h, w, 3) uint8, what was drawn for it."""


@dataclass
class _Work:
    """One call, prepared for the network, in canvas pixels."""

    sheet: Sheet
    alpha: np.ndarray
    """(N, H, W) float32, in crop pixels."""
    motions: list[Motion | None] = field(default_factory=list)
    """From the frame before to each frame; ``None`` at a segment's first."""


class ControlNetGenerator:
    """Draws inside the dilated person mask; everything else keeps alpha 0. Repeats bit for bit for a seed on one machine.

    Calls with consecutive frames share their noise and, as the options say, their results; a call that does not continue
    the last one starts afresh, and so does every ``load``.
    """

    name = "controlnet"

    def __init__(self, options: EngineOptions, networks: Networks | None = None) -> None:
        """Check the options and that the weights are there.

        Parameters
        ----------
        networks:
            Draw with these instead of the weights on disk. They are kept until the engine itself goes.

        Raises
        ------
        core.errors.InputError
            Options that are out of range or exclude each other; an unknown checkpoint, avatar or device.
        core.errors.ModelUnavailable
            Weights that are not on disk; the hint names the command that gets them.
        """
        self.options = options
        self.plan = make_plan(options)
        self.device = choose_device(options.device)
        if networks is None:
            for name in self.plan.weights:
                weights.require(name)
            weights.checkpoint(options.checkpoint)
        if options.reference is not None:
            check_reference(options.reference)
        self._avatar = _avatar(options) if self.plan.needs_avatar else None
        self._given = networks
        self._drawer: Drawer | None = None
        self._batches: Batches | None = None
        self._memory: _Memory | None = None
        self._notes: tuple[str, ...] = ()

    @property
    def capabilities(self) -> Capabilities:
        """What these options need and promise."""
        return self.plan.capabilities

    @property
    def pipe(self) -> Any:
        """The diffusers pipeline; ``None`` while it is not loaded."""
        return None if self._drawer is None else self._drawer.pipe

    # -- loading ---------------------------------------------------------------------------------------------------

    def load(self, progress: LoadProgress | None = None) -> None:
        """Load the networks, once; forget what was carried over from frame to frame, every time.

        Raises
        ------
        core.errors.ModelUnavailable, core.errors.InputError
            Weights that are missing, damaged, pickles, or of another network.
        """
        self._memory = None
        if self._drawer is not None:
            self._drawer.reset()
        if self._avatar is not None:
            self._avatar.load()
        if self._drawer is None:
            self._load_networks(progress or (lambda _share, _text: None))

    def _load_networks(self, report: LoadProgress) -> None:
        from models.generators.diffusion import drawing
        from models.generators.diffusion.loading import load_networks

        networks = self._given
        if networks is None:
            dtype = drawing.network_dtype(self.device)
            networks = load_networks(self.plan, self.options.checkpoint, dtype, report)
        self.adopt(networks, report)

    def adopt(self, networks: Networks, report: LoadProgress) -> None:
        """Draw with these networks: encode the prompt, and put them on the device as far as they fit."""
        from models.generators.diffusion import conditioning, drawing
        from models.generators.diffusion.inpainting import InpaintDrawer
        from models.generators.diffusion.windows import WindowDrawer

        plan = self.plan
        limit_vram(self.device, self.options.vram_gb)
        size = (plan.size, plan.size)
        need_gb = drawing.needed_gb(networks, drawing.frame_gb(plan, size, self.device))
        drawer = WindowDrawer(networks, plan) if plan.window else InpaintDrawer(networks, plan)
        with quiet_libraries():
            if plan.reference:
                drawing.add_reference(drawer.pipe)
            report(0.9, "encoding the prompt")
            drawer.conditioning = conditioning.encode(drawer.pipe, plan, self.options.reference, self.device)
            drawing.place(drawer.pipe, self.device, need_gb)
        self._notes = drawer.conditioning.warnings
        self._drawer = drawer
        report(1.0, "networks ready")

    def unload(self) -> None:
        """Let go of the networks and of what was drawn."""
        self._drawer = self._batches = self._memory = None
        if self._avatar is not None:
            self._avatar.unload()

    # -- drawing ---------------------------------------------------------------------------------------------------

    def generate(self, request: GenerationRequest, progress: LoadProgress | None = None) -> GenerationResult:
        """Draw the frames of ``request``. ``progress`` is called after every denoising step.

        Raises
        ------
        core.errors.InputError
            A control map, the body or the look of the shot is missing.
        core.errors.ResourceError
            Not even one frame fits into memory.
        """
        self._check(request)
        if self._drawer is None:
            self.load()
        drawer = self._drawer
        assert drawer is not None
        height, width = request.masks.shape[1:]
        canvas = Canvas.fit((width, height), self.plan.size)
        memory = self._memory
        if memory is None or memory.next_frame != request.start or memory.canvas != canvas:
            self._memory = memory = None
            drawer.reset()
        scaled = canvas.scaled(request)
        work = self._prepare(canvas, request, scaled, memory)
        assert self._memory is not None
        # A call that is cut short leaves a memory that no frame continues.
        self._memory.next_frame = -1
        steps = _Steps(len(request), self.plan.drawn_steps, progress)
        drawn, warnings = self._sized(canvas).run(
            lambda rows: list(self._draw(drawer, work, rows, steps)), range(len(request))
        )
        self._memory.next_frame = request.start + len(request)
        self._memory.source = scaled.frames[-1]
        notes, self._notes = self._notes, ()
        frames = canvas.to_crop(np.stack(drawn))
        return GenerationResult(frames, work.alpha, request.seed, self.name, warnings=(*notes, *warnings))

    def _check(self, request: GenerationRequest) -> None:
        maps = request.controls.maps if request.controls is not None else {}
        for name in self.plan.controls:
            if name not in maps:
                raise InputError(f"The controlnet engine needs the {name} map.", "Ask for it in the controls stage.")
        if self.plan.needs_avatar and (request.body is None or request.shot is None):
            raise InputError(
                f"Starting from {self.plan.start_from} needs the fitted body and the look of the shot.",
                "Run the survey first, or choose start_from source.",
            )

    def _sized(self, canvas: Canvas) -> Batches:
        """The batches, whose size is remembered from call to call."""
        from models.generators.diffusion.drawing import frame_gb

        if self._batches is None:
            most = 1 if self.plan.start_from == "previous" else self.capabilities.frames_per_call
            self._batches = Batches(frame_gb(self.plan, canvas.size, self.device), most, self.device)
        return self._batches

    def _prepare(
        self, canvas: Canvas, request: GenerationRequest, scaled: GenerationRequest, memory: _Memory | None
    ) -> _Work:
        """Everything that is known before the network draws."""
        start = scaled.frames
        masks = request.masks
        if self._avatar is not None:
            avatar = self._avatar.generate(scaled)
            start = with_avatar(background(scaled), avatar)
            masks = masks | (canvas.to_crop(avatar.alpha) > 0.5)
        alpha = np.stack([soft_mask(mask) for mask in masks])
        drawn = np.stack([whole_cells(mask > 0) for mask in canvas.to_canvas(alpha)])
        start = np.where(drawn[..., None], start, background(scaled))
        sources = scaled.frames if memory is None else np.concatenate([memory.source[None], scaled.frames])
        motions: list[Motion | None] = [Motion(a, b) for a, b in pairwise(sources)]
        if memory is None:
            motions.insert(0, None)
        noise = np.stack([self._noise(canvas, request.seed, scaled, motion) for motion in motions])
        maps = scaled.controls.maps if scaled.controls is not None else {}
        return _Work(Sheet(start, drawn, tuple(maps[name] for name in self.plan.controls), noise), alpha, motions)

    def _noise(self, canvas: Canvas, seed: int, scaled: GenerationRequest, motion: Motion | None) -> np.ndarray:
        """The next frame's noise: moved along, or the segment's first."""
        if self._memory is None or motion is None:
            noise = MovingNoise(seed, canvas.cells, self.plan.noise_sets)
            self._memory = _Memory(canvas, noise, scaled.start, scaled.frames[0])
            return noise.samples
        return self._memory.noise.move(motion.forward)

    def _draw(self, drawer: Drawer, work: _Work, rows: Sequence[int], steps: _Steps) -> np.ndarray:
        """(n, h, w, 3) uint8: some of the frames."""
        memory = self._memory
        assert memory is not None
        part = work.sheet.part(slice(rows[0], rows[-1] + 1))
        motion = work.motions[rows[0]]
        if self.plan.start_from == "previous" and memory.result is not None and motion is not None:
            carried = moved_on(memory.result, motion, part.start[0])
            inside = part.masks[0][..., None]
            part = replace(part, start=np.where(inside, carried, part.start[0])[None])
        drawn = drawer.draw(part, steps.counter(rows))
        memory.result = drawn[-1]
        return drawn


def _avatar(options: EngineOptions) -> Any:
    """The avatar engine, with few rays: the network redraws its shading."""
    from models.generators.avatar import AvatarGenerator

    # The reference picture is the network's: it need not show a whole person.
    return AvatarGenerator(replace(options, reference=None, edge_samples=1, shadow_rays=0, occlusion_rays=0))


class _Steps:
    """Tells a listener how far a call is, over batches that may be drawn again in halves; never goes back."""

    def __init__(self, frames: int, steps: int, progress: LoadProgress | None) -> None:
        self._frames, self._steps = frames, steps
        self._progress = progress
        self._share = 0.0

    def counter(self, rows: Sequence[int]) -> Callable[[int], None]:
        """What to call with the number of steps done for these frames."""

        def done(step: int) -> None:
            share = (rows[0] + len(rows) * step / self._steps) / self._frames
            self._share = max(self._share, min(share, 1.0))
            if self._progress is not None:
                self._progress(self._share, f"step {step} of {self._steps}, {len(rows)} of {self._frames} frames")

        return done
