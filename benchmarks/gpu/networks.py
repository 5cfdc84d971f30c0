"""The networks of both diffusion engines, built from their published configurations with random weights.

Speed and memory do not depend on what the weights say, so nothing is downloaded. ``full`` is the real size; ``tiny`` has
a few channels, for trying the benchmark itself on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    ControlNetModel,
    MotionAdapter,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from models.generators.diffusion.loading import Networks

#: How Stable Diffusion 1.5 was trained.
TRAINED = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "skip_prk_steps": True, "set_alpha_to_one": False,
}  # fmt: skip
#: Standard deviation of a random weight, as a share of what keeps a layer's output as large as its input: small enough that
#: nothing overflows in half precision over hundreds of layers.
GAIN = 0.5


@dataclass(frozen=True)
class DiffusionSizes:
    """Stable Diffusion, ControlNets and motion network: what their constructors take."""

    unet: dict[str, Any]
    controlnet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    motion: dict[str, Any]


@dataclass(frozen=True)
class WanSizes:
    """Wan-Animate: what its parts' constructors take."""

    transformer: dict[str, Any]
    vae: dict[str, Any]
    image_encoder: dict[str, Any]

    @property
    def text_width(self) -> int:
        """Width of the encoded prompt."""
        return int(self.transformer.get("text_dim", 4096))


#: Stable Diffusion 1.5, the ControlNets 1.1 for it, the KL-f8 VAE, CLIP ViT-L/14's text encoder, AnimateDiff's motion
#: network v1-5-3.
FULL_DIFFUSION = DiffusionSizes(
    unet={
        "sample_size": 64, "in_channels": 4, "out_channels": 4, "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2, "cross_attention_dim": 768, "attention_head_dim": 8,
    },
    controlnet={
        "in_channels": 4, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "cross_attention_dim": 768,
        "attention_head_dim": 8, "conditioning_embedding_out_channels": (16, 32, 96, 256),
    },
    vae={
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 256,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    },
    text_encoder={
        "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
    },
    motion={
        "block_out_channels": (320, 640, 1280, 1280), "motion_layers_per_block": 2, "motion_num_attention_heads": 8,
        "motion_norm_num_groups": 32, "motion_max_seq_length": 32, "use_motion_mid_block": False,
    },
)  # fmt: skip

_TINY_BLOCKS = {"layers_per_block": 1, "cross_attention_dim": 32, "attention_head_dim": 2, "norm_num_groups": 8}
TINY_DIFFUSION = DiffusionSizes(
    unet={
        "sample_size": 8, "block_out_channels": (16, 32), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), **_TINY_BLOCKS,
    },
    controlnet={
        "block_out_channels": (16, 32), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "conditioning_embedding_out_channels": (4, 4, 8, 8), **_TINY_BLOCKS,
    },
    vae={
        "block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    },
    text_encoder={
        "vocab_size": 200, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "max_position_embeddings": 77,
    },
    motion={
        "block_out_channels": (16, 32), "motion_layers_per_block": 1, "motion_num_attention_heads": 2,
        "motion_norm_num_groups": 8, "motion_max_seq_length": 24, "use_motion_mid_block": False,
    },
)  # fmt: skip

#: Wan2.2-Animate-14B; the VAE of Wan 2.1; CLIP ViT-H/14's image encoder. The transformer's constructor has the published
#: sizes as its defaults, but for the image branch of its attention.
FULL_WAN = WanSizes(
    transformer={
        "num_attention_heads": 40, "attention_head_dim": 128, "ffn_dim": 13824, "num_layers": 40, "text_dim": 4096,
        "image_dim": 1280, "added_kv_proj_dim": 5120, "in_channels": 36, "latent_channels": 16, "out_channels": 16,
    },
    vae={"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2},
    image_encoder={
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 14, "projection_dim": 1024, "hidden_act": "gelu",
    },
)  # fmt: skip
TINY_WAN = WanSizes(
    transformer={
        "num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 2, "text_dim": 16,
        "image_dim": 16, "added_kv_proj_dim": 24, "in_channels": 36, "latent_channels": 16, "out_channels": 16,
        "freq_dim": 16, "rope_max_seq_len": 64, "motion_encoder_channel_sizes": {"4": 8, "8": 8, "16": 8},
        "motion_encoder_size": 16, "motion_style_dim": 8, "motion_dim": 4, "motion_encoder_dim": 8,
        "face_encoder_hidden_dim": 16, "face_encoder_num_heads": 2, "inject_face_latents_blocks": 2,
    },
    vae={"base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    image_encoder={
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 224,
        "patch_size": 56,
    },
)  # fmt: skip


# -- building ------------------------------------------------------------------------------------------------------


def empty(make: Callable[[], Any]) -> Any:
    """A network whose weights have shapes but take no memory; what is no weight (tables of positions) is there."""
    with init_empty_weights(include_buffers=False):
        return make().eval()


def filled(make: Callable[[], Any], dtype: torch.dtype, fill_on: str, rest_on: str = "cpu") -> Any:
    """A network with random weights.

    Parameters
    ----------
    make:
        Makes it.
    dtype:
        Number format. Parts that the class keeps in float32 are kept so, as when real weights are loaded.
    fill_on:
        Torch device that makes the numbers: a graphics card does it in a few seconds.
    rest_on:
        Torch device on which each weight is left. Real weights are loaded to the CPU.
    """
    network = empty(make)
    exact = frozenset(getattr(network, "_keep_in_fp32_modules", None) or ())
    for prefix, module in network.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            kind = torch.float32 if exact.intersection([*prefix.split("."), name]) else dtype
            value = random_weight(parameter.shape, name, kind, fill_on).to(rest_on)
            setattr(module, name, torch.nn.Parameter(value, requires_grad=False))
        for name, table in list(module.named_buffers(recurse=False)):
            if table.is_floating_point() and not exact.intersection([*prefix.split("."), name]):
                setattr(module, name, table.to(dtype))
    return network.to(rest_on)


def random_weight(shape: torch.Size, name: str, dtype: torch.dtype, device: str) -> torch.Tensor:
    """A weight that keeps what goes through the network small: normalisations are 1, biases 0, matrices random."""
    if len(shape) < 2:
        return torch.full(shape, 1.0 if name.endswith("weight") else 0.0, dtype=dtype, device=device)
    deviation = GAIN / math.sqrt(math.prod(shape[1:]))
    return torch.empty(shape, dtype=dtype, device=device).normal_(std=deviation)


def parameter_count(network: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


# -- Stable Diffusion ----------------------------------------------------------------------------------------------


def tokenizer() -> CLIPTokenizer:
    """One that splits words into characters: the encoder always computes 77 tokens, whichever they are."""
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=77)


def text_config(sizes: DiffusionSizes) -> CLIPTextConfig:
    """Configuration of the text encoder, with the tokenizer's special tokens."""
    return CLIPTextConfig(bos_token_id=0, eos_token_id=1, pad_token_id=1, **sizes.text_encoder)


def diffusion_networks(
    sizes: DiffusionSizes, controls: int, window: bool, dtype: torch.dtype, fill_on: str
) -> Networks:
    """Everything that the controlnet engine draws with, left where loading leaves it: on the CPU.

    Parameters
    ----------
    controls:
        Number of ControlNets.
    window:
        Whether the motion network is needed.
    dtype, fill_on:
        See :func:`filled`.
    """
    config = text_config(sizes)
    return Networks(
        unet=filled(lambda: UNet2DConditionModel(**sizes.unet), dtype, fill_on),
        vae=filled(lambda: AutoencoderKL(**sizes.vae), dtype, fill_on),
        text_encoder=filled(lambda: CLIPTextModel(config), dtype, fill_on),
        tokenizer=tokenizer(),
        controlnets=[filled(lambda: ControlNetModel(**sizes.controlnet), dtype, fill_on) for _ in range(controls)],
        scheduler_config=dict(TRAINED),
        motion=filled(lambda: MotionAdapter(**sizes.motion), dtype, fill_on) if window else None,
    )


# -- Wan-Animate ---------------------------------------------------------------------------------------------------


def wan_transformer(sizes: WanSizes) -> WanAnimateTransformer3DModel:
    """The transformer, with torch's own starting weights."""
    return WanAnimateTransformer3DModel(**sizes.transformer)


def wan_pipeline(sizes: WanSizes, dtype: torch.dtype, fill_on: str, rest_on: str) -> WanAnimatePipeline:
    """The pipeline without text encoder, as the wan-animate engine assembles it: the VAE in float32, the rest in ``dtype``."""
    image = sizes.image_encoder
    side = {"height": image["image_size"], "width": image["image_size"]}
    pipeline: Any = WanAnimatePipeline
    pipe = pipeline(
        tokenizer=None,
        text_encoder=None,
        vae=filled(lambda: AutoencoderKLWan(**sizes.vae), torch.float32, fill_on, rest_on),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0),
        image_processor=CLIPImageProcessor(size={"shortest_edge": image["image_size"]}, crop_size=side),
        image_encoder=filled(lambda: CLIPVisionModel(CLIPVisionConfig(**image)), dtype, fill_on, rest_on),
        transformer=filled(lambda: wan_transformer(sizes), dtype, fill_on, rest_on),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
