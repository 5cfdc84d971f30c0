"""Wan-Animate at toy size: the true classes with a few channels and random weights, saved in the layout in which
``weights pull`` leaves the real ones, so that they are loaded through the same code."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from models.weights import WEIGHTS, WeightSet
from models.weights.manifest import FileRecord, Manifest
from models.weights.table import Repository

#: Width of the transformer: two heads of twelve. Width and height of the faces' pictures.
WIDTH, FACE = 24, 16


def transformer(layers: int = 2, heads: int = 2) -> WanAnimateTransformer3DModel:
    return WanAnimateTransformer3DModel(
        num_attention_heads=heads,
        attention_head_dim=WIDTH // 2,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=layers,
        image_dim=16,
        added_kv_proj_dim=heads * WIDTH // 2,
        in_channels=None,
        latent_channels=16,
        out_channels=16,
        rope_max_seq_len=64,
        motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8},
        motion_encoder_size=FACE,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=8,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )


def autoencoder() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )


def tokenizer() -> T5Tokenizer:
    """Every letter is a token."""
    letters = [(letter, -3.0 - index / 10) for index, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz.,")]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters], extra_ids=0)


def pipeline() -> WanAnimatePipeline:
    """All parts, with the same random weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return WanAnimatePipeline(
            tokenizer(),
            UMT5EncoderModel(UMT5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)),
            autoencoder(),
            UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
            CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
            CLIPVisionModel(
                CLIPVisionConfig(
                    hidden_size=16,
                    intermediate_size=16,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    image_size=32,
                    patch_size=16,
                )
            ),
            transformer(),
        )


def write_set(root: Path, name: str) -> None:
    """The manifest of a set whose files are in place."""
    folder = root / name
    files = tuple(
        FileRecord(str(path.relative_to(folder)), path.stat().st_size, "toy/toy", "0" * 40, path.name)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
    Manifest(WEIGHTS[name].request, files).save(folder)


def write_weights(root: Path) -> Path:
    """The set ``wan-animate`` under ``root``; gives back its folder."""
    folder = root / "wan-animate"
    pipeline().save_pretrained(folder, safe_serialization=True)
    write_set(root, "wan-animate")
    return folder


def lora(scale: float = 1.0, layout: str = "original", rank: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA on two layers, with its tensors named as the original tools do or as peft does."""
    source = torch.Generator().manual_seed(5)
    before = {"original": "diffusion_model.", "peft": "base_model.model."}[layout]
    made = {}
    for layer in ("blocks.0.self_attn.q", "blocks.1.self_attn.v"):
        made[f"{before}{layer}.lora_A.weight"] = scale * torch.randn((rank, WIDTH), generator=source)
        made[f"{before}{layer}.lora_B.weight"] = torch.randn((WIDTH, rank), generator=source)
    return made


def write_lora(root: Path, name: str, tensors: dict[str, torch.Tensor]) -> Path:
    """A set that is one LoRA file; gives back the file."""
    file = root / name / "LoRAs" / "lora.safetensors"
    file.parent.mkdir(parents=True)
    save_file(tensors, file)
    write_set(root, name)
    return file


def lora_row(name: str) -> WeightSet:
    """A row of the weights table for a LoRA."""
    return WeightSet(name, "a LoRA", "see its page", 0.001, (Repository("toy/toy", ("LoRAs/lora.safetensors",)),))
