"""The schedulers: which one draws with which weights, and one that takes its noise from outside."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler

from models.generators.diffusion.plan import Plan


class GivenNoiseLCMScheduler(LCMScheduler):
    """LCM's multistep sampling with the noise of each step given, so that it can move with the footage.

    The original draws new noise in every step but the last. Here step ``i`` of the schedule adds ``step_noise[i + 1]``.
    """

    step_noise: torch.Tensor | None = None
    """(steps, ...) with the shape of the latents behind the first axis; entry 0 is the noise that drawing starts from."""

    def step(
        self,
        model_output: torch.Tensor,
        timestep: int,
        sample: torch.Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        """As in the base class, with the given noise in place of the generator's."""
        result: Any = super().step(model_output, timestep, sample, generator, return_dict=True)
        index: Any = self.step_index  # already that of the next step
        if self.step_noise is not None and index < len(self.timesteps):
            noise = self.step_noise[index].to(sample.device, sample.dtype)
            level: Any = self.timesteps[index : index + 1]
            result.prev_sample = self.add_noise(result.denoised, noise, level)
        return result if return_dict else (result.prev_sample, result.denoised)


def make_scheduler(plan: Plan, config: dict[str, Any]) -> Any:
    """The scheduler for a plan.

    LCM for the few-step weights; DDIM for the motion network, which was trained with its linear schedule; UniPC otherwise,
    which needs the fewest full steps. None of the last two adds noise on the way.

    Parameters
    ----------
    config:
        Configuration of the checkpoint's own scheduler: how it was trained.
    """
    # The motion network learnt with evenly spaced betas, image checkpoints with those of Stable Diffusion.
    trained = {"beta_schedule": "linear"} if plan.window else {}
    if plan.few_step:
        return GivenNoiseLCMScheduler.from_config(config, **trained)
    if plan.window:
        return DDIMScheduler.from_config(
            config, clip_sample=False, timestep_spacing="linspace", steps_offset=1, **trained
        )
    return UniPCMultistepScheduler.from_config(config)
