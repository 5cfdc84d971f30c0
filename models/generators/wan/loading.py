"""Loads Wan-Animate from a diffusers folder: files checked first, prompt encoded, LoRAs applied, put on its device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError, ModelUnavailable
from models.generators.base import LoadProgress
from models.generators.library_care import quiet_libraries
from models.generators.wan.checkpoint import WEIGHTS, WanCheckpoint
from models.generators.wan.conditioning import GRID, STEP
from models.generators.wan.lora import apply_lora, read_lora
from models.generators.wan.prompts import encode_prompts
from models.memory import OffloadLevel, apply_offload, compute_dtype, free_gb, offload_level, weights_gb
from models.weights import WEIGHTS as WEIGHT_SETS
from models.weights import missing, require
from models.weights.tensors import check_model_folder

if TYPE_CHECKING:
    import torch

#: Weight sets of the LoRAs: few denoising steps, and light that fits the scene.
FEW_STEP_WEIGHTS, RELIGHT_WEIGHTS = "wan-few-step", "wan-relight"
#: What one token of the sequence takes while it is computed, and everything else, both estimated from the layer's sizes.
BYTES_PER_TOKEN, FIXED_GB = 200_000, 2.5
#: Transformers larger than this are not run on a CPU unless it is asked for by name: it would take days.
LARGEST_ON_CPU_GB = 4.0
#: Parts that a folder must have.
PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "image_encoder", "image_processor", "scheduler")


@dataclass
class Networks:
    """Everything loaded, ready to draw."""

    pipe: Any
    """``diffusers.WanAnimatePipeline`` without text encoder."""
    prompt: torch.Tensor
    """(1, 512, C), on the CPU."""
    negative: torch.Tensor | None
    """The same for what to avoid; ``None`` without guidance."""
    device: str
    """Where it computes."""
    offload: OffloadLevel
    """How much of it stays off the card meanwhile."""

    @property
    def face_size(self) -> int:
        """Width and height of the faces' pictures, pixels."""
        return int(self.pipe.transformer.config.motion_encoder_size)


@dataclass(frozen=True)
class LoadPlan:
    """What to load."""

    checkpoint: WanCheckpoint
    device: str
    """Where it shall compute."""
    chosen_device: bool
    """Whether the user asked for that device by name."""
    prompts: list[str]
    """The prompt; with guidance, what to avoid too."""
    few_step: bool
    """Whether the few-step LoRA is needed."""
    frames: int
    """Most frames of a call, for the memory that it takes."""
    longer: int
    """Longer side of what is drawn, pixels."""


def load_networks(plan: LoadPlan, progress: LoadProgress) -> Networks:
    """Load everything.

    Raises
    ------
    ModelUnavailable
        Weights are not on disk, or the machine cannot run them.
    InputError
        A file is damaged or a pickle.
    """
    folder = plan.checkpoint.weights()
    loras = lora_files(plan.few_step)
    check_folder(folder)
    _check_device(folder, plan)
    dtype = compute_dtype(plan.device)
    with quiet_libraries():
        progress(0.05, "reading the prompt")
        prompts = encode_prompts(folder, plan.prompts, plan.device, dtype)
        progress(0.3, "loading the transformer")
        transformer = load_transformer(folder, plan.checkpoint, dtype)
        for file in loras:
            apply_lora(transformer, read_lora(file), file)
        progress(0.8, "loading the VAE and the image encoder")
        pipe = assemble(folder, transformer, dtype)
    level = choose_offload(pipe, plan)
    apply_offload(pipe, level, plan.device)
    progress(1.0, "Wan-Animate ready")
    return Networks(pipe, prompts[0], prompts[1] if len(prompts) > 1 else None, plan.device, level)


def lora_files(few_step: bool) -> list[Path]:
    """The LoRA files to apply: the few-step one where it is asked for, the relighting one where it is on disk.

    Raises
    ------
    ModelUnavailable
        The few-step LoRA is asked for and not on disk.
    """
    found = [require(FEW_STEP_WEIGHTS)] if few_step else []
    if RELIGHT_WEIGHTS in WEIGHT_SETS and missing(RELIGHT_WEIGHTS) is None:
        found.append(require(RELIGHT_WEIGHTS))
    return [file for folder in found for file in sorted(folder.rglob("*.safetensors"))]


def check_folder(folder: Path) -> None:
    """See that a diffusers folder is complete, and holds safetensors that are whole.

    Raises
    ------
    ModelUnavailable
        A part is missing.
    InputError
        A file is damaged or a pickle; the message names it.
    """
    for part in PARTS:
        if not (folder / part).is_dir():
            raise ModelUnavailable(
                f"{folder} is not complete: {part} is missing.", f"Get it with: python app.py weights pull {WEIGHTS}"
            )
    check_model_folder(folder)


def _check_device(folder: Path, plan: LoadPlan) -> None:
    size = sum(file.stat().st_size for file in (folder / "transformer").glob("*.safetensors")) / 2**30
    if plan.device == "cpu" and not plan.chosen_device and size > LARGEST_ON_CPU_GB:
        raise ModelUnavailable(
            "The wan-animate engine needs a graphics card with 12 GB or more, and this machine has none.",
            "Use --engine avatar, which needs none.",
        )
    if plan.checkpoint.kind == "int8" and plan.device.partition(":")[0] != "cuda":
        raise ModelUnavailable(
            f"The checkpoint int8 needs an NVIDIA card, and this run computes on {plan.device}.",
            "Choose checkpoint bf16 or a GGUF file.",
        )


def load_transformer(folder: Path, checkpoint: WanCheckpoint, dtype: torch.dtype) -> Any:
    """The transformer in its number format, on the CPU (int8: where bitsandbytes puts it).

    Raises
    ------
    InputError
        The GGUF file is damaged, or not of this transformer.
    """
    from diffusers import BitsAndBytesConfig, GGUFQuantizationConfig, WanAnimateTransformer3DModel

    if checkpoint.gguf is not None:
        try:
            transformer = WanAnimateTransformer3DModel.from_single_file(
                str(checkpoint.gguf),
                config=str(folder),
                subfolder="transformer",
                quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
                dtype=dtype,
                local_files_only=True,
            )
        except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
            raise _bad_gguf(checkpoint.gguf, str(error).partition("\n")[0]) from error
        empty = [name for name, parameter in transformer.named_parameters() if parameter.is_meta]
        if empty:
            raise _bad_gguf(checkpoint.gguf, f"{empty[0]} is missing")
        return transformer
    options: dict[str, Any] = {}
    if checkpoint.kind == "int8":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    return WanAnimateTransformer3DModel.from_pretrained(
        folder, subfolder="transformer", dtype=dtype, use_safetensors=True, local_files_only=True, **options
    )


def _bad_gguf(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged, or no Wan-Animate transformer ({reason}).", "Use a GGUF of Wan2.2-Animate-14B."
    )


def assemble(folder: Path, transformer: Any, dtype: torch.dtype) -> Any:
    """The pipeline around a transformer, on the CPU, without text encoder. The VAE computes in float32: in half
    precision its colours shift."""
    import torch
    from diffusers import AutoencoderKLWan, WanAnimatePipeline

    vae = AutoencoderKLWan.from_pretrained(
        folder, subfolder="vae", dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    pipe = WanAnimatePipeline.from_pretrained(
        folder,
        transformer=transformer,
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def choose_offload(pipe: Any, plan: LoadPlan) -> OffloadLevel:
    """How much stays off the card, from what is free on it.

    Raises
    ------
    ModelUnavailable
        Weights in 8 bits do not fit as a whole, and cannot be moved in parts.
    """
    if plan.device.partition(":")[0] not in ("cuda", "xpu"):
        return "none"
    free, need = free_gb(plan.device), weights_gb(pipe.components.values()) + working_gb(plan.frames, plan.longer)
    level = offload_level(free, need)
    if plan.checkpoint.kind == "int8" and level in ("group", "sequential"):
        raise ModelUnavailable(
            f"The 8-bit weights need about {need:.0f} GB of graphics memory; {free:.0f} GB are free.",
            "Choose checkpoint bf16, which is fetched block by block, a GGUF file, or a smaller generation size.",
        )
    # Layer by layer goes through code that loses a GGUF tensor's type; block by block does not.
    return "group" if plan.checkpoint.kind == "gguf" and level == "sequential" else level


def working_gb(frames: int, longer: int) -> float:
    """What a call takes beyond the weights, GiB, for a crop of 9 to 16: an estimate, not measured."""
    tokens = ((frames - 1) // STEP + 2) * (longer / GRID) * (longer * 9 / 16 / GRID)
    return FIXED_GB + tokens * BYTES_PER_TOKEN / 2**30
