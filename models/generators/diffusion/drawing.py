"""What both ways of drawing share: a pipeline on its device, and pictures as tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from core.errors import ModelUnavailable
from models import weights
from models.generators.diffusion.canvas import Sheet
from models.generators.diffusion.loading import IP_ADAPTER_FILE, Networks
from models.generators.diffusion.plan import Plan
from models.generators.library_care import no_numbers
from models.memory import apply_offload, compute_dtype, free_gb, offload_level, weights_gb

#: Called after every denoising step with the number of steps done; may raise ``Cancelled``.
OnStep = Callable[[int], None]

#: What one frame of 512x512 takes while it is drawn in half precision with guidance, GiB: latents and features in UNet and
#: ControlNets, and the VAE's decoder. An estimate: it sets the first batch, and running out of memory corrects it.
FRAME_GB = 0.7
#: How much the reference picture counts beside the prompt.
IP_ADAPTER_SCALE = 0.7


class Drawer(Protocol):
    """Draws the masked part of a few frames."""

    pipe: Any
    """The diffusers pipeline."""

    def draw(self, sheet: Sheet, on_step: OnStep) -> np.ndarray:
        """(N, h, w, 3) uint8: the frames of a sheet."""
        ...

    def reset(self) -> None:
        """Forget earlier frames."""
        ...


def network_dtype(device: str) -> torch.dtype:
    """float16 where the device computes in half precision: Stable Diffusion 1.5 was published in it and holds in it, while
    bfloat16's eight bits show as bands in smooth skin once the VAE has decoded them."""
    chosen = compute_dtype(device)
    return torch.float16 if chosen == torch.bfloat16 else chosen


def frame_gb(plan: Plan, size: tuple[int, int], device: str) -> float:
    """What one more frame is expected to take, GiB."""
    share = size[0] * size[1] / 512**2
    return FRAME_GB * share * (1.0 if plan.guided else 0.6) * (2 if device == "cpu" else 1)


def needed_gb(networks: Networks, frame: float) -> float:
    """What a run is expected to take with everything on the device, GiB: all weights but the encoders', and one frame."""
    nets = (networks.unet, networks.vae, networks.motion, *networks.controlnets)
    return weights_gb(nets) + frame


def place(pipe: Any, device: str, need_gb: float) -> None:
    """Put a complete pipeline on its device, offloaded as far as the free memory asks for."""
    pipe.set_progress_bar_config(disable=True)
    if device.startswith("cuda"):
        # Half-precision convolutions run in this layout on tensor cores; the other one is transposed on every call.
        for part in (pipe.unet, pipe.controlnet, pipe.vae):
            part.to(memory_format=torch.channels_last)
    apply_offload(pipe, "none" if device == "cpu" else offload_level(free_gb(device), need_gb), device)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(N, h, w, 3) uint8 as (N, 3, h, w) float32, 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def to_pictures(tensor: torch.Tensor) -> np.ndarray:
    """(N, 3, h, w), 0..1, as (N, h, w, 3) uint8.

    Raises
    ------
    StageError
        Values that are no numbers.
    """
    if not tensor.isfinite().all():
        raise no_numbers()
    scaled = tensor.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().numpy()


def picture_latents(vae: Any, pictures: torch.Tensor) -> torch.Tensor:
    """The latents of (N, 3, h, w) pictures in -1..1: the middle of the VAE's answer, since a sample of it would flicker."""
    return vae.config.scaling_factor * vae.encode(pictures).latent_dist.mode()


def step_callback(on_step: OnStep) -> Callable[..., dict[str, Any]]:
    """``callback_on_step_end`` that only counts."""

    def after(_pipe: Any, index: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        on_step(index + 1)
        return values

    return after


def add_reference(pipe: Any) -> None:
    """Teach the pipeline's UNet to look at a reference picture (IP-Adapter). Its image encoder is there already.

    Raises
    ------
    ModelUnavailable
        The adapter does not fit the checkpoint.
    """
    folder = weights.require("ip-adapter")
    try:
        pipe.load_ip_adapter(str(folder), "models", IP_ADAPTER_FILE, image_encoder_folder=None, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelUnavailable(
            f"{folder / 'models' / IP_ADAPTER_FILE} does not fit the checkpoint ({type(error).__name__}).",
            "Check it with: python app.py weights verify ip-adapter; or choose a Stable Diffusion 1.5 checkpoint.",
        ) from error
    pipe.set_ip_adapter_scale(IP_ADAPTER_SCALE)
