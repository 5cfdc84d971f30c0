"""The prompt as the text encoder's numbers. It is encoded once; the encoder (11 GB) then leaves the memory."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.memory import free_gb, release_cuda_cache

if TYPE_CHECKING:
    import torch

#: What the network is told when the user says nothing: it was trained with a sentence that says as little.
PROMPT = "A person moves in the scene."
#: What it is told to avoid, where guidance is on and the user says nothing.
NEGATIVE_PROMPT = "blurred, distorted, extra limbs, deformed hands, deformed face, flicker, text, watermark"
#: Tokens of a prompt; the transformer's attention counts on this number.
TOKENS = 512
#: The encoder computes on the card where this many times its size is free, else on the CPU.
ROOM = 1.15


def encode_prompts(folder: Path, prompts: list[str], device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Encode prompts with a diffusers folder's tokenizer and text encoder.

    Parameters
    ----------
    folder:
        The diffusers folder.
    prompts:
        One sentence or several each.
    device:
        Where to compute if it fits there.
    dtype:
        Number format of the encoder.

    Returns
    -------
    One (1, 512, C) tensor a prompt on the CPU; rows past its end are zero, as the transformer was trained.
    """
    import torch
    from transformers import AutoTokenizer, UMT5EncoderModel

    tokenizer: Any = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    # In float16 the encoder's numbers overflow.
    dtype = torch.bfloat16 if dtype == torch.float16 else dtype
    encoder: Any = UMT5EncoderModel.from_pretrained(
        folder / "text_encoder", dtype=dtype, use_safetensors=True, local_files_only=True
    )
    need = sum(p.numel() * p.element_size() for p in encoder.parameters()) / 2**30
    place = device if ROOM * need < free_gb(device) else "cpu"
    encoder.to(place).eval()
    found = []
    for prompt in prompts:
        tokens = tokenizer(
            " ".join(prompt.split()), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        ).to(place)
        with torch.no_grad():
            states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        found.append((states * tokens.attention_mask[..., None]).cpu())
    del encoder
    gc.collect()
    release_cuda_cache()
    return found
