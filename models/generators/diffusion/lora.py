"""Low-rank updates merged into the weights themselves: they cost nothing while drawing and need no further library."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch

#: What stands in front of a module's name, by the part that it belongs to.
_PREFIXES = {"unet": ("lora_unet_", "unet."), "text_encoder": ("lora_te_", "text_encoder.")}
#: Endings of the two factors and of the scale, over the formats in use (kohya, diffusers, PEFT).
_FACTOR = re.compile(
    r"(?:\.processor)?[._](?:lora_(?P<ab>[AB])(?:\.default)?\.weight|lora_(?P<kohya>down|up)\.weight"
    r"|lora(?:_linear_layer)?\.(?P<diffusers>down|up)\.weight|alpha)$"
)


def merge_lora(tensors: dict[str, torch.Tensor], parts: dict[str, torch.nn.Module], path: Path) -> int:
    """Add a LoRA's updates to the weights of the networks, in place.

    Parameters
    ----------
    tensors:
        The file's tensors by name.
    parts:
        Networks by their name in a pipeline: ``unet``, ``text_encoder``.
    path:
        The file, for messages.

    Returns
    -------
    Number of modules that were changed.

    Raises
    ------
    ModelUnavailable
        The file holds no LoRA, or one for another network.
    """
    updates: dict[tuple[str, str], dict[str, torch.Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        part, module, role = _parse(key, path)
        if part in parts:
            updates[part, module][role] = tensor
    modules = {
        (part, name.replace(".", "_")): module for part, net in parts.items() for name, module in net.named_modules()
    }
    for (part, name), factors in updates.items():
        target = modules.get((part, name))
        if target is None or not {"down", "up"} <= factors.keys():
            raise _unfit(path, f"it changes {name}, which the checkpoint's {part} has not")
        _add(target, factors, path, name)
    if not updates:
        raise _unfit(path, "it holds no low-rank weights")
    return len(updates)


def _parse(key: str, path: Path) -> tuple[str, str, str]:
    """A tensor's part, module (dots as underscores) and role: ``down``, ``up`` or ``alpha``."""
    ending = _FACTOR.search(key)
    part = next((p for p, starts in _PREFIXES.items() if key.startswith(starts)), None)
    if ending is None or part is None:
        raise _unfit(path, f"the tensor {key} is in no format that is known")
    start = next(s for s in _PREFIXES[part] if key.startswith(s))
    side = ending["ab"] or ending["kohya"] or ending["diffusers"]
    role = {"A": "down", "B": "up", None: "alpha"}.get(side, side)
    return part, key[len(start) : ending.start()].replace(".", "_"), role


def _add(target: torch.nn.Module, factors: dict[str, torch.Tensor], path: Path, name: str) -> None:
    """``W += alpha / rank * up @ down``, in single precision."""
    weight = getattr(target, "weight", None)
    down, up = factors["down"].float(), factors["up"].float()
    rank = down.shape[0]
    scale = float(factors["alpha"]) / rank if "alpha" in factors else 1.0
    if weight is None or up.shape[1] != rank or up.shape[0] * down[0].numel() != weight.numel():
        raise _unfit(path, f"its update of {name} has another shape")
    update = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape) * scale
    weight.data.copy_(weight.data.float() + update.to(weight.device))


def _unfit(path: Path, why: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"The LoRA {path} does not fit: {why}.", "Use one made for Stable Diffusion 1.5, or get ours again."
    )
