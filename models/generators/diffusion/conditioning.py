"""What tells the network what to draw: prompt, negative prompt and reference picture, encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from models.generators.diffusion.plan import Plan
from models.generators.reference_picture import read_reference


@dataclass(frozen=True)
class Conditioning:
    """Encoded, for one picture."""

    prompt: torch.Tensor
    """(1, tokens, width)."""
    negative_prompt: torch.Tensor | None
    """The same shape; ``None`` without guidance."""
    picture: list[torch.Tensor] | None
    """As the pipelines take it in ``ip_adapter_image_embeds``: guided pictures have the negative first."""
    warnings: tuple[str, ...] = ()

    def for_batch(self, count: int) -> dict[str, Any]:
        """Arguments of a pipeline call that draws ``count`` pictures."""
        negative = self.negative_prompt
        return {
            "prompt_embeds": self.prompt.expand(count, -1, -1),
            "negative_prompt_embeds": None if negative is None else negative.expand(count, -1, -1),
            "ip_adapter_image_embeds": self.picture,
        }


@torch.no_grad()
def encode(pipe: Any, plan: Plan, reference: Path | None, device: str) -> Conditioning:
    """Encode with the pipeline's text and image encoder, then let go of both: they are not needed again.

    Raises
    ------
    InputError
        The reference cannot be read as a picture.
    """
    warnings = _too_long(pipe.tokenizer, plan)
    pipe.text_encoder.to(device)
    prompt, negative = pipe.encode_prompt(plan.prompt, device, 1, plan.guided, plan.negative_prompt)
    pipe.text_encoder = None
    picture = None
    if reference is not None:
        pipe.image_encoder.to(device)
        pipe.unet.encoder_hid_proj.to(device)
        picture = pipe.prepare_ip_adapter_image_embeds(
            [Image.fromarray(read_reference(reference))], None, device, 1, plan.guided
        )
        pipe.image_encoder = None
    return Conditioning(prompt, negative if plan.guided else None, picture, warnings)


def _too_long(tokenizer: Any, plan: Plan) -> tuple[str, ...]:
    """A warning for each text whose end the network does not see."""
    texts = {"prompt": plan.prompt, "negative prompt": plan.negative_prompt}
    limit = tokenizer.model_max_length
    return tuple(
        f"The {name} is longer than {limit} tokens; its end is not read."
        for name, text in texts.items()
        if len(tokenizer(text, verbose=False).input_ids) > limit
    )
