"""Frames drawn side by side by the inpainting pipeline, several in one batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.pipelines.controlnet.pipeline_controlnet_inpaint import StableDiffusionControlNetInpaintPipeline

from models.generators.diffusion.canvas import Sheet
from models.generators.diffusion.conditioning import Conditioning
from models.generators.diffusion.drawing import OnStep, picture_latents, step_callback, to_pictures, to_tensor
from models.generators.diffusion.loading import Networks
from models.generators.diffusion.plan import Plan
from models.generators.diffusion.schedulers import GivenNoiseLCMScheduler, make_scheduler


class GivenNoiseInpaintPipeline(StableDiffusionControlNetInpaintPipeline):
    """The inpainting pipeline with ``latents`` read as the noise to add to the picture.

    In the original, ``latents`` replace the noisy picture whatever the strength: what is drawn would start from noise, and
    at a strength below 1 from noise at the wrong level. Here they are the noise that is mixed with the picture's latents
    at the first step's level, and the one that the unmasked part gets at each later step.
    """

    scheduler: Any
    vae: Any

    def prepare_latents(
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: Any,
        latents: torch.Tensor | None = None,
        image: torch.Tensor | None = None,
        timestep: torch.Tensor | None = None,
        is_strength_max: bool = True,
        return_noise: bool = False,
        return_image_latents: bool = False,
    ) -> tuple[torch.Tensor, ...]:
        """As in the base class, with the noise given."""
        if latents is None or image is None or timestep is None:
            raise ValueError("noise, picture and timestep must be given")
        noise = latents.to(device=device, dtype=dtype)
        picture = self._encode_vae_image(image.to(device=device, dtype=dtype), generator)
        if is_strength_max:
            start = noise * self.scheduler.init_noise_sigma
        else:
            start = self.scheduler.add_noise(picture, noise, timestep)
        return (start, *((noise,) if return_noise else ()), *((picture,) if return_image_latents else ()))

    def _encode_vae_image(self, image: torch.Tensor, generator: Any) -> torch.Tensor:
        return picture_latents(self.vae, image)


class InpaintDrawer:
    """Draws each frame of a sheet by itself; frames of one sheet share the network's passes."""

    def __init__(self, networks: Networks, plan: Plan) -> None:
        self._plan = plan
        # The classes are annotated as if every part had to be there.
        pipeline: Any = GivenNoiseInpaintPipeline
        self.pipe: Any = pipeline(
            vae=networks.vae,
            text_encoder=networks.text_encoder,
            tokenizer=networks.tokenizer,
            unet=networks.unet,
            controlnet=networks.controlnets,
            scheduler=make_scheduler(plan, networks.scheduler_config),
            safety_checker=None,
            feature_extractor=None,
            image_encoder=networks.image_encoder,
            requires_safety_checker=False,
        )
        self.conditioning: Conditioning | None = None
        """Filled once the pipeline's encoders have run."""

    def reset(self) -> None:
        """Frames do not depend on each other; there is nothing to forget."""

    def draw(self, sheet: Sheet, on_step: OnStep) -> np.ndarray:
        """(N, h, w, 3) uint8: the frames of a sheet."""
        assert self.conditioning is not None
        plan, count = self._plan, len(sheet)
        height, width = sheet.masks.shape[1:]
        noise = torch.from_numpy(sheet.noise).transpose(0, 1)
        if isinstance(self.pipe.scheduler, GivenNoiseLCMScheduler):
            self.pipe.scheduler.step_noise = noise
        drawn = self.pipe(
            image=to_tensor(sheet.start),
            mask_image=torch.from_numpy(sheet.masks[:, None].astype(np.float32)),
            control_image=[to_tensor(maps) for maps in sheet.controls],
            height=height,
            width=width,
            strength=plan.strength,
            num_inference_steps=plan.steps,
            guidance_scale=plan.guidance,
            controlnet_conditioning_scale=list(plan.scales),
            latents=noise[0],
            output_type="pt",
            callback_on_step_end=step_callback(on_step),
            callback_on_step_end_tensor_inputs=["latents"],
            **self.conditioning.for_batch(count),
        )
        return to_pictures(drawn.images)
