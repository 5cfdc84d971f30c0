"""Frames drawn together with a motion network (AnimateDiff), window after window.

A window holds up to :data:`~models.generators.diffusion.plan.WINDOW` frames, the first few of which were drawn in the
window before. Those are known: at every step they are set to their finished latents plus that step's noise, so the
motion network sees them and goes on from them, and they cannot change any more. The pipeline has no inpainting mask
either; what lies outside the mask is held in the same way, with the latents of the picture around the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AnimateDiffVideoToVideoControlNetPipeline

from models.generators.diffusion.canvas import CELL, Sheet
from models.generators.diffusion.conditioning import Conditioning
from models.generators.diffusion.drawing import OnStep, picture_latents, to_pictures, to_tensor
from models.generators.diffusion.loading import Networks
from models.generators.diffusion.plan import WINDOW_OVERLAP, Plan
from models.generators.diffusion.schedulers import GivenNoiseLCMScheduler, make_scheduler

#: Frames that the VAE takes in one go.
VAE_CHUNK = 4


@dataclass(frozen=True)
class _Known:
    """The last frames of the window before."""

    latents: torch.Tensor
    """(n, 4, h / 8, w / 8), finished."""
    noise: torch.Tensor
    """(n, K, 4, h / 8, w / 8)."""
    controls: tuple[torch.Tensor, ...]
    """(n, 3, h, w) for each ControlNet."""


class WindowDrawer:
    """Draws the frames of a sheet together, continuing from the last ones. ``reset`` at every segment start."""

    def __init__(self, networks: Networks, plan: Plan) -> None:
        self._plan = plan
        self._known: _Known | None = None
        pipeline: Any = AnimateDiffVideoToVideoControlNetPipeline
        self.pipe: Any = pipeline(
            vae=networks.vae,
            text_encoder=networks.text_encoder,
            tokenizer=networks.tokenizer,
            unet=networks.unet,
            motion_adapter=networks.motion,
            controlnet=networks.controlnets,
            scheduler=make_scheduler(plan, networks.scheduler_config),
            image_encoder=networks.image_encoder,
        )
        # The motion UNet has copied the weights of both.
        self.pipe.motion_adapter = None
        self.conditioning: Conditioning | None = None
        """Filled once the pipeline's encoders have run."""

    def reset(self) -> None:
        """Forget the window before."""
        self._known = None

    @torch.no_grad()
    def draw(self, sheet: Sheet, on_step: OnStep) -> np.ndarray:
        """(N, h, w, 3) uint8: the frames of a sheet."""
        assert self.conditioning is not None
        pipe, known = self.pipe, self._known
        device, dtype = pipe._execution_device, pipe.unet.dtype
        latents = self._encode(sheet, device)
        noise = torch.from_numpy(sheet.noise).to(device, dtype)
        masks = torch.from_numpy(sheet.masks[:, None, ::CELL, ::CELL].astype(np.float32)).to(device, dtype)
        controls = tuple(to_tensor(maps) for maps in sheet.controls)
        held = 0 if known is None else len(known.latents)
        if known is not None:
            latents, noise = torch.cat([known.latents, latents]), torch.cat([known.noise, noise])
            masks = torch.cat([torch.zeros_like(masks[:1]).expand(held, -1, -1, -1), masks])
            controls = tuple(torch.cat(pair) for pair in zip(known.controls, controls, strict=True))
        drawn = self._denoise(latents, noise, masks, controls, on_step)
        pictures = pipe.decode_latents(_as_video(drawn[held:]), VAE_CHUNK)[0].transpose(0, 1)
        keep = slice(-WINDOW_OVERLAP, None)
        self._known = _Known(drawn[keep], noise[keep], tuple(maps[keep] for maps in controls))
        return to_pictures(pictures / 2 + 0.5)

    def _encode(self, sheet: Sheet, device: torch.device) -> torch.Tensor:
        vae = self.pipe.vae
        pictures = (to_tensor(sheet.start) * 2 - 1).to(device, vae.dtype)
        return torch.cat([picture_latents(vae, part) for part in pictures.split(VAE_CHUNK)])

    def _denoise(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        masks: torch.Tensor,
        controls: tuple[torch.Tensor, ...],
        on_step: OnStep,
    ) -> torch.Tensor:
        """(F, 4, h / 8, w / 8): ``latents`` drawn anew where ``masks`` is 1."""
        assert self.conditioning is not None
        pipe, plan = self.pipe, self._plan
        scheduler = pipe.scheduler
        scheduler.set_timesteps(plan.steps, device=latents.device)
        timesteps = scheduler.timesteps[plan.steps - plan.drawn_steps :]
        if isinstance(scheduler, GivenNoiseLCMScheduler):
            scheduler.step_noise = noise.permute(1, 2, 0, 3, 4)[:, None]
        first = noise[:, 0]

        def held(step: int) -> torch.Tensor:
            """What is not drawn, at the noise level before ``step``."""
            return scheduler.add_noise(latents, first, timesteps[step : step + 1]) if step < len(timesteps) else latents

        def after(_pipe: Any, index: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            on_step(index + 1)
            values["latents"] = _as_video(torch.lerp(held(index + 1), _as_frames(values["latents"]), masks))
            return values

        start = first * scheduler.init_noise_sigma if plan.strength == 1 else held(0)
        height, width = (side * CELL for side in latents.shape[2:])
        drawn = pipe(
            latents=_as_video(torch.lerp(held(0), start, masks)),
            conditioning_frames=[list(maps) for maps in controls],
            height=height,
            width=width,
            strength=plan.strength,
            num_inference_steps=plan.steps,
            guidance_scale=plan.guidance,
            controlnet_conditioning_scale=list(plan.scales),
            output_type="latent",
            callback_on_step_end=after,
            callback_on_step_end_tensor_inputs=["latents"],
            **self.conditioning.for_batch(1),
        )
        return _as_frames(drawn.frames)


def _as_video(frames: torch.Tensor) -> torch.Tensor:
    """(F, C, H, W) -> (1, C, F, H, W)."""
    return frames.transpose(0, 1)[None]


def _as_frames(video: torch.Tensor) -> torch.Tensor:
    """(1, C, F, H, W) -> (F, C, H, W)."""
    return video[0].transpose(0, 1)
