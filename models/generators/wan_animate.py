"""The wan-animate engine: a video model draws the person of a picture in place of the one in the shot.

A call draws up to 77 frames at once. The next call is shown this one's last frames as they were drawn, which is how the
model's own long mode goes on: memory stays flat, and no seam shows.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import InputError
from core.types import GenerationRequest, GenerationResult
from models.generators.base import Capabilities, EngineOptions, LoadProgress
from models.generators.library_care import no_numbers
from models.generators.reference_picture import check_reference, read_reference
from models.generators.wan.checkpoint import WEIGHTS, parse_checkpoint
from models.generators.wan.conditioning import Conditioning, conditioning, holes, resized, soft_edge
from models.generators.wan.faces import cut_faces, face_boxes, steady_boxes
from models.generators.wan.loading import FEW_STEP_WEIGHTS, LoadPlan, Networks, load_networks, lora_files
from models.generators.wan.prompts import NEGATIVE_PROMPT, PROMPT
from models.generators.wan.reference import avatar_portrait, fitted
from models.memory import Batches, choose_device, limit_vram, release_cuda_cache

#: Frames of one call, those carried over included; the model was trained on this number.
FRAMES_PER_CALL = 77
#: Last frames of a call that the next one is shown; one where a call had fewer.
CARRIED = 5
#: Denoising steps, without and with the few-step LoRA.
STEPS, FEW_STEPS = 20, 6
#: Without guidance; the model is made for that, and it takes half the time.
GUIDANCE = 1.0


def capabilities_of(options: EngineOptions) -> Capabilities:
    """What the engine needs and promises with some options."""
    return Capabilities(
        controls=("pose",),
        crop_margin=0.2,
        frames_per_call=FRAMES_PER_CALL,
        carried_frames=CARRIED,
        minimum_vram_gb=12.0,
        weights=(WEIGHTS, FEW_STEP_WEIGHTS) if options.few_step else (WEIGHTS,),
        draws_in="stable",
        # It follows the skeleton, whose feet stand as the old person's did.
        holds_feet=True,
        steady=True,
        matches_shot=True,
    )


def step_count(options: EngineOptions) -> int:
    """Denoising steps of a call."""
    return options.steps or (FEW_STEPS if options.few_step else STEPS)


def guidance_scale(options: EngineOptions) -> float:
    """Classifier-free guidance scale; none at 1."""
    return GUIDANCE if options.guidance is None else options.guidance


@dataclass(frozen=True)
class _Tail:
    """What one call leaves for the next."""

    next_frame: int
    """The frame that would continue it."""
    results: np.ndarray
    """(C, H, W, 3) uint8, the last results in crop pixels, as the request carries them."""
    shown: Conditioning
    """The last frames as the next call is shown them: the results at the size that was drawn."""
    boxes: np.ndarray
    """(M, 3) the last boxes around the face, unfiltered."""


class WanAnimateGenerator:
    """Replaces the person by that of ``options.reference``, or by ``options.avatar`` where there is no picture.

    A call whose request carries this engine's own last results, and begins where they end, continues from them. Every
    other call starts afresh, and so does every ``load``. The same request with the same history gives the same pictures.
    """

    name = "wan-animate"

    def __init__(self, options: EngineOptions, networks: Networks | None = None) -> None:
        """Check the options and that the weights are there.

        Parameters
        ----------
        networks:
            Draw with these instead of the weights on disk.

        Raises
        ------
        core.errors.InputError
            An unknown checkpoint or avatar, or a reference that is no picture.
        core.errors.ModelUnavailable
            Weights that are not on disk, or a package that the checkpoint needs; the hint names the command that gets it.
        """
        self.options = options
        self._checkpoint = parse_checkpoint(options.checkpoint)
        if networks is None:
            self._checkpoint.weights()
            lora_files(options.few_step)
        if options.reference is not None:
            check_reference(options.reference)
        else:
            from models.body.wardrobe import load_avatar

            load_avatar(options.avatar)
        self._networks: Networks | None = None
        self._picture: np.ndarray | None = None
        self._tail: _Tail | None = None
        self._batches: Batches | None = None
        if networks is not None:
            self.adopt(networks)

    @property
    def capabilities(self) -> Capabilities:
        """What these options need and promise."""
        return capabilities_of(self.options)

    @property
    def steps(self) -> int:
        """Denoising steps of a call."""
        return step_count(self.options)

    @property
    def guidance(self) -> float:
        """Classifier-free guidance scale."""
        return guidance_scale(self.options)

    def load(self, progress: LoadProgress | None = None) -> None:
        """Load the networks and read the reference picture, the first time; forget the frames of earlier calls.

        Raises
        ------
        core.errors.ModelUnavailable
            Weights are not on disk, or the machine cannot run them.
        core.errors.InputError
            A file of weights is damaged or a pickle, or the reference picture cannot be read.
        """
        self._tail = None
        if self._networks is not None:
            return
        report = progress or (lambda _share, _text: None)
        device = choose_device(self.options.device)
        limit_vram(device, self.options.vram_gb)
        prompts = [self.options.prompt or PROMPT]
        if self.guidance > 1:
            prompts.append(self.options.negative_prompt or NEGATIVE_PROMPT)
        plan = LoadPlan(
            self._checkpoint,
            device,
            bool(self.options.device),
            prompts,
            self.options.few_step,
            FRAMES_PER_CALL,
            self.options.generation_size,
        )
        self.adopt(load_networks(plan, report))
        self._read_picture(report)

    def adopt(self, networks: Networks) -> None:
        """Draw with these networks."""
        self._networks = networks
        # What a call takes does not grow evenly with its frames: it is tried, and halved where it does not fit.
        self._batches = Batches(frame_gb=0.0, most=FRAMES_PER_CALL - CARRIED, device=networks.device)

    def unload(self) -> None:
        """Give back the networks' memory."""
        self._networks = self._batches = self._tail = self._picture = None
        gc.collect()
        release_cuda_cache()

    def generate(self, request: GenerationRequest, progress: LoadProgress | None = None) -> GenerationResult:
        """Draw the frames of ``request``, any number of them.

        Raises
        ------
        core.errors.InputError
            The request has no pose maps or no landmarks.
        core.errors.ResourceError
            Not even one frame fits in the memory.
        """
        if self._networks is None:
            self.load()
        if self._picture is None:
            self._read_picture(lambda _share, _text: None)
        assert self._batches is not None
        hole = holes(request.masks)
        tail = self._continued(request)
        shown, boxes = self._shown(request, hole, tail)
        before, known = (tail.shown if tail is not None else None), 0
        if request.given is not None:
            known = len(request.given)
            finished = shown.at(slice(0, known)).kept(resized(request.given, shown.size))
            before = finished.at(slice(-carried_count(known), None))
        call = _Calls(self, request, shown, before, progress)
        drawn, warnings = self._batches.run(call.draw, range(known, len(request)))
        results = self._in_crop(request, drawn)
        assert call.before is not None
        self._tail = _Tail(request.start + len(request), results[-CARRIED:].copy(), call.before, boxes)
        alpha = np.stack([soft_edge(mask) for mask in hole])
        return GenerationResult(results, alpha, request.seed, self.name, warnings=tuple(warnings))

    def _in_crop(self, request: GenerationRequest, drawn: list[np.ndarray]) -> np.ndarray:
        """(N, H, W, 3) uint8: what was given and what was drawn, in crop pixels."""
        height, width = request.masks.shape[1:]
        parts = [] if request.given is None else [request.given]
        if drawn:
            parts.append(resized(np.stack(drawn), (width, height)))
        return np.concatenate(parts)

    def _read_picture(self, report: LoadProgress) -> None:
        reference = self.options.reference
        self._picture = read_reference(reference) if reference else avatar_portrait(self.options.avatar, report)

    def _continued(self, request: GenerationRequest) -> _Tail | None:
        """What the last call left, where this request goes on from it."""
        tail = self._tail
        if tail is None or request.carried is None or tail.next_frame != request.start:
            return None
        return tail if np.array_equal(tail.results, request.carried) else None

    def _shown(
        self, request: GenerationRequest, hole: np.ndarray, tail: _Tail | None
    ) -> tuple[Conditioning, np.ndarray]:
        """What the network is shown of the request's frames, and the faces' boxes before they are filtered."""
        assert self._networks is not None
        pose = None if request.controls is None else request.controls.maps.get("pose")
        if pose is None or request.landmarks is None:
            raise InputError("The wan-animate engine needs pose maps and landmarks.", "Run the survey first.")
        boxes = face_boxes(request.landmarks)
        before = tail.boxes if tail is not None else None
        faces = cut_faces(request.frames, steady_boxes(boxes, before), self._networks.face_size)
        return conditioning(request.frames, pose, faces, hole, self.options.generation_size), boxes

    def run_pipeline(self, shown: Conditioning, seed: int, on_step: Any) -> np.ndarray:
        """One call of the pipeline.

        Parameters
        ----------
        shown:
            4n + 1 frames.
        seed:
            Of the noise that it starts from.
        on_step:
            Called with the number of steps done after each.

        Returns
        -------
        (N, h, w, 3) uint8.
        """
        import torch
        from PIL import Image

        assert self._networks is not None and self._picture is not None
        networks = self._networks
        height, width = shown.pose.shape[1:3]

        def after_step(_pipe: Any, index: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
            on_step(index + 1)
            return {}

        result = networks.pipe(
            image=Image.fromarray(fitted(self._picture, (width, height))),
            pose_video=[Image.fromarray(picture) for picture in shown.pose],
            face_video=[Image.fromarray(picture) for picture in shown.face],
            background_video=[Image.fromarray(picture) for picture in shown.scene],
            mask_video=[Image.fromarray(picture) for picture in shown.hole],
            prompt_embeds=networks.prompt.to(networks.device),
            negative_prompt_embeds=None if networks.negative is None else networks.negative.to(networks.device),
            height=height,
            width=width,
            segment_frame_length=len(shown),
            num_inference_steps=self.steps,
            mode="replace",
            # Carried frames come in as part of the scene. This says how the pipeline would cut a longer video; with 1 it
            # takes any 4n + 1 frames as one segment.
            prev_segment_conditioning_frames=1,
            guidance_scale=self.guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
            callback_on_step_end=after_step,
            callback_on_step_end_tensor_inputs=[],
        ).frames[0]
        if not np.isfinite(result).all():
            raise no_numbers()
        return np.rint(result * 255).astype(np.uint8)


class _Calls:
    """The calls of the pipeline that draw one request, each shown the last frames of the one before."""

    def __init__(
        self,
        engine: WanAnimateGenerator,
        request: GenerationRequest,
        shown: Conditioning,
        before: Conditioning | None,
        progress: LoadProgress | None,
    ) -> None:
        self._engine, self._request, self._shown = engine, request, shown
        self._progress = progress
        self.before = before
        """The last frames that were drawn, as the next call is shown them."""

    def draw(self, frames: Sequence[int]) -> list[np.ndarray]:
        """Draw some consecutive frames of the request, the first of which follows those drawn last."""
        fresh = self._shown.at(slice(frames[0], frames[-1] + 1))
        given = fresh if self.before is None else self.before + fresh
        known = len(given) - len(fresh)
        seed = noise_seed(self._request.seed, self._request.start + frames[0])
        steps = self._engine.steps

        def on_step(done: int) -> None:
            if self._progress is not None:
                share = (frames[0] + len(fresh) * done / steps) / len(self._request)
                self._progress(share, f"step {done} of {steps}")

        drawn = self._engine.run_pipeline(given.padded(), seed, on_step)[known : len(given)]
        together = given.kept(np.concatenate([given.scene[:known], drawn]))
        self.before = together.at(slice(-carried_count(len(together)), None))
        return list(drawn)


def carried_count(drawn: int) -> int:
    """How many of the last ``drawn`` frames the next call is shown: five, or one where there are fewer."""
    return CARRIED if drawn >= CARRIED else 1


def noise_seed(seed: int, frame: int) -> int:
    """Seed of the noise of a call that begins at ``frame``: the same whatever was drawn before."""
    return int(np.random.SeedSequence([seed % 2**64, frame]).generate_state(1)[0])
