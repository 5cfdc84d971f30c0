"""Stable Diffusion at toy size: the true classes with a few channels and random weights, saved in the layout in which
``weights pull`` leaves the real ones, so that they are loaded through the same code."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, MotionAdapter, PNDMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from models.weights.manifest import FileRecord, Manifest
from models.weights.table import weight_set

#: Channels of UNet and ControlNets, and width of the text.
CHANNELS, WIDTH = (16, 32), 32
#: Groups of the normalisations.
GROUPS = 8


def unet(in_channels: int = 4, width: int = WIDTH) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        norm_num_groups=GROUPS,
    )


def controlnet() -> ControlNetModel:
    net = ControlNetModel(
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=GROUPS,
        conditioning_embedding_out_channels=(4, 4, 8, 8),
    )
    # A new ControlNet ends in zeros, so that it changes nothing; a trained one does not.
    for block in [*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(block.weight, std=0.2)
    return net


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
    )


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Every character is a token."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    made.save_pretrained(folder)
    return made


def text_encoder(words: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=WIDTH,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def save_checkpoint(folder: Path, in_channels: int = 4, width: int = WIDTH) -> None:
    """A checkpoint as a diffusers folder, without a VAE."""
    words = tokenizer(folder / "tokenizer")
    text_encoder(len(words)).save_pretrained(folder / "text_encoder")
    unet(in_channels, width).save_pretrained(folder / "unet")
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))


def save_ip_adapter(folder: Path) -> None:
    """IP-Adapter Plus with its image encoder, in the format in which it is published."""
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
            projection_dim=16,
        )
    )  # fmt: skip
    encoder.save_pretrained(folder / "models" / "image_encoder")
    projection = IPAdapterPlusImageProjection(24, WIDTH, 16, depth=4, heads=1, num_queries=4)
    tensors = {}
    for name, value in projection.state_dict().items():
        for ours, published in (
            (".ln0", ".0.norm1"), (".ln1", ".0.norm2"), (".attn.to_out.0", ".0.to_out"), (".attn.to_q", ".0.to_q"),
            (".ff.0.", ".1.0."), (".ff.1.net.0.proj", ".1.1"), (".ff.1.net.2", ".1.3"),
        ):  # fmt: skip
            name = name.replace(ours, published)
        tensors["image_proj." + name] = value.clone()
    for index in range(4):
        keys, values = (tensors.pop(f"image_proj.layers.{index}.attn.to_{part}.weight") for part in "kv")
        tensors[f"image_proj.layers.{index}.0.to_kv.weight"] = torch.cat([keys, values])
    # The numbers count all attention layers, the updates stand at the cross-attention ones.
    for number, name in enumerate(unet().attn_processors):
        if name.endswith("attn2.processor"):
            size = CHANNELS[1] if name.startswith("mid") else CHANNELS[0]
            for part in "kv":
                tensors[f"ip_adapter.{number}.to_{part}_ip.weight"] = torch.randn(size, WIDTH) * 0.3
    save_file(tensors, folder / "models" / "ip-adapter-plus_sd15.safetensors")


def save_lora(folder: Path, rank: int = 2) -> None:
    """Low-rank weights of every attention and convolution of the UNet, as kohya's tools write them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, module in unet().named_modules():
        attends = isinstance(module, torch.nn.Linear) and ".attentions." in name
        if attends or name.endswith(("conv1", "conv_in")):
            down, up = torch.randn(rank, *module.weight.shape[1:]), torch.randn(module.weight.shape[0], rank)
            key = "lora_unet_" + name.replace(".", "_")
            tensors[key + ".lora_down.weight"] = down * 0.1
            tensors[key + ".lora_up.weight"] = up.reshape(*up.shape, *(1,) * (down.ndim - 2)) * 0.1
            tensors[key + ".alpha"] = torch.tensor(1.0)
    save_file(tensors, folder / "pytorch_lora_weights.safetensors")


def save_motion(folder: Path) -> None:
    MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=1,
        motion_norm_num_groups=GROUPS,
        motion_num_attention_heads=2,
        motion_max_seq_length=24,
        use_motion_mid_block=False,
    ).save_pretrained(folder)


#: A module of diffusers' UNet in the names of the original code, for one layer a block and two blocks.
_ORIGINAL = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "down_blocks.0.resnets.0": "input_blocks.1.0", "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op", "down_blocks.1.resnets.0": "input_blocks.3.0",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2", "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0", "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0", "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0", "up_blocks.1.attentions.1": "output_blocks.3.1",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_ORIGINAL_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def save_single_file(checkpoint: Path, path: Path) -> None:
    """A checkpoint folder as one file in the names of the original code, as checkpoints are traded."""
    tensors = {}
    for key, value in load_file(checkpoint / "unet" / "diffusion_pytorch_model.safetensors").items():
        start = next(name for name in _ORIGINAL if key.startswith(name + "."))
        rest = key[len(start) + 1 :]
        if ".resnets." in start + ".":
            part, _, leaf = rest.partition(".")
            rest = f"{_ORIGINAL_RESNET[part]}.{leaf}"
        tensors[f"model.diffusion_model.{_ORIGINAL[start]}.{rest}"] = value
    for key, value in load_file(checkpoint / "text_encoder" / "model.safetensors").items():
        name = key if key.startswith("text_model.") else "text_model." + key
        tensors["cond_stage_model.transformer." + name] = value
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


def write_manifest(folder: Path) -> None:
    """Make a set count as pulled."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    records = tuple(
        FileRecord(str(path.relative_to(folder)), path.stat().st_size, "test/tiny", "0" * 40, path.name)
        for path in files
    )
    Manifest(weight_set(folder.name).request, records).save(folder)


def save_all(root: Path) -> None:
    """All sets that the controlnet engine may need."""
    torch.manual_seed(0)
    base = root / "controlnet-sd15"
    save_checkpoint(base / "checkpoint")
    for name in ("openpose", "depth", "canny"):
        # As published: half precision, under the variant's name.
        controlnet().half().save_pretrained(base / name, variant="fp16")
    autoencoder().save_pretrained(base / "vae")
    save_ip_adapter(root / "ip-adapter")
    save_lora(root / "lcm-lora")
    save_motion(root / "animatediff")
    for folder in root.iterdir():
        write_manifest(folder)
