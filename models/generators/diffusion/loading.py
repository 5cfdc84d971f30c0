"""The networks from the weights on disk. Only safetensors are read, and no server is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    MotionAdapter,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import SingleFileComponentError
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from core.errors import InputError, ModelUnavailable
from models import weights
from models.generators.diffusion.lora import merge_lora
from models.generators.diffusion.plan import Plan
from models.generators.library_care import quiet_libraries
from models.weights.tensors import check_safetensors

#: Where the ControlNets lie in the folder of the weight set ``controlnet-sd15``.
CONTROLNET_FOLDERS = {"pose": "openpose", "depth": "depth", "canny": "canny"}
IP_ADAPTER_FILE = "ip-adapter-plus_sd15.safetensors"
LORA_FILE = "pytorch_lora_weights.safetensors"

Report = Callable[[float, str], None]


@dataclass
class Networks:
    """The parts of a pipeline, on the CPU; classes of diffusers and transformers."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    controlnets: list[Any]
    """In the order of ``plan.controls``."""
    scheduler_config: dict[str, Any]
    """How the checkpoint was trained."""
    motion: Any = None
    """The motion network, where a plan has windows."""
    image_encoder: Any = None
    """Where a plan has a reference."""


def load_networks(plan: Plan, checkpoint: str, dtype: torch.dtype, report: Report) -> Networks:
    """Load everything that a plan needs.

    Parameters
    ----------
    checkpoint:
        A name, a diffusers folder, or a ``.safetensors`` file; empty takes the weight set's own.

    Raises
    ------
    ModelUnavailable
        A weight set is not on disk, or does not hold what it should.
    InputError
        The checkpoint is unknown, a pickle, damaged, or none of Stable Diffusion 1.x.
    """
    with quiet_libraries():
        return _load_networks(plan, checkpoint, dtype, report)


def _load_networks(plan: Plan, checkpoint: str, dtype: torch.dtype, report: Report) -> Networks:
    base = weights.require("controlnet-sd15")
    report(0.0, "loading the VAE")
    vae = _model(AutoencoderKL, base / "vae", dtype)
    found = weights.checkpoint(checkpoint)
    report(0.05, f"loading {found.path.name}")
    if found.kind == "folder":
        networks = _from_folder(found.path, vae, dtype)
    else:
        networks = _from_file(found.path, base / "checkpoint", vae, dtype)
    for index, name in enumerate(plan.controls):
        report(0.4 + 0.3 * index / len(plan.controls), f"loading the {name} ControlNet")
        networks.controlnets.append(_model(ControlNetModel, base / CONTROLNET_FOLDERS[name], dtype))
    _check_fit(networks, found.path)
    if plan.few_step:
        report(0.7, "merging the few-step weights")
        path = weights.require("lcm-lora") / LORA_FILE
        parts = {"unet": networks.unet, "text_encoder": networks.text_encoder}
        merge_lora(weights.load_tensors(path), parts, path)
    if plan.window:
        report(0.75, "loading the motion network")
        networks.motion = _model(MotionAdapter, weights.require("animatediff"), dtype)
    if plan.reference:
        report(0.8, "loading the image encoder")
        folder = weights.require("ip-adapter") / "models"
        check_safetensors(folder / IP_ADAPTER_FILE)
        networks.image_encoder = _model(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
    return networks


def _from_folder(folder: Path, vae: Any, dtype: torch.dtype) -> Networks:
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
        config = _scheduler_config(folder)
    except (OSError, ValueError, TypeError) as error:
        raise _unfit(folder, error) from error
    return Networks(
        unet=_model(UNet2DConditionModel, folder / "unet", dtype),
        vae=vae,
        text_encoder=_model(CLIPTextModel, folder / "text_encoder", dtype),
        tokenizer=tokenizer,
        controlnets=[],
        scheduler_config=config,
    )


def _scheduler_config(folder: Path) -> dict[str, Any]:
    from diffusers import PNDMScheduler

    return PNDMScheduler.load_config(str(folder / "scheduler"), local_files_only=True)


def _from_file(path: Path, configs: Path, vae: Any, dtype: torch.dtype) -> Networks:
    """A checkpoint in one file. ``configs`` is a diffusers folder that says how Stable Diffusion 1.5 is built."""
    try:
        pipe = StableDiffusionPipeline.from_single_file(
            str(path),
            config=str(configs),
            local_files_only=True,
            torch_dtype=dtype,
            vae=vae,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    except (SingleFileComponentError, OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no checkpoint of Stable Diffusion 1.5 ({_short(error)}).",
            "Give a .safetensors file or a diffusers folder of a Stable Diffusion 1.5 model.",
        ) from error
    if any(value.is_meta for part in (pipe.unet, pipe.text_encoder) for value in part.state_dict().values()):
        raise InputError(
            f"{path} does not hold the whole network.", "Give a full checkpoint, not a LoRA or an embedding."
        )
    return Networks(pipe.unet, vae, pipe.text_encoder, pipe.tokenizer, [], dict(pipe.scheduler.config))


def _model(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """One network from its folder, every weight of it from the file.

    Raises
    ------
    InputError
        A file is damaged.
    ModelUnavailable
        The folder lacks a file, holds pickles only, or weights of another network.
    """
    for file in sorted(folder.glob("*.safetensors")):
        check_safetensors(file)
    named = {"dtype": dtype} if kind.__module__.startswith("transformers") else {"torch_dtype": dtype}
    try:
        model, facts = kind.from_pretrained(
            str(folder),
            variant=weights.variant_of(folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **named,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise _unfit(folder, error) from error
    lacking = sorted(facts["missing_keys"])
    if lacking:
        raise _unfit(folder, f"{lacking[0]} is missing")
    return model.eval()


def _check_fit(networks: Networks, path: Path) -> None:
    """See that checkpoint, ControlNets and text encoder speak of the same things."""
    width = networks.unet.config.cross_attention_dim
    others = [net.config.cross_attention_dim for net in networks.controlnets]
    if any(other != width for other in [*others, networks.text_encoder.config.hidden_size]):
        raise InputError(
            f"{path} does not fit the ControlNets: it is no Stable Diffusion 1.5.", "Choose a checkpoint that is."
        )


def _unfit(folder: Path, error: Exception | str) -> ModelUnavailable:
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        return ModelUnavailable(
            f"{folder} holds pickles only, and loading those could run code.", "Put the safetensors files there."
        )
    return ModelUnavailable(
        f"{folder} cannot be loaded ({_short(error)}).",
        "Check it with: python app.py weights verify; then pull what is damaged.",
    )


def _short(error: Exception | str) -> str:
    """The first line of an error's text, without what libraries add on where to ask."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) < 200 else text[:197] + "..."
