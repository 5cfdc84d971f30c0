"""LoRA files for the Wan transformer, applied without further libraries: merged into plain weights, added at run time to
quantised ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from models.weights.tensors import check_safetensors, load_tensors

if TYPE_CHECKING:
    import torch

#: How the names of the transformer's tensors begin in files written by peft.
PEFT_PREFIX = "base_model.model."


def read_lora(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a LoRA file under diffusers' names: ``blocks.0.attn1.to_q.lora_A.weight``.

    Raises
    ------
    InputError
        The file is damaged, a pickle, or no LoRA of a Wan transformer.
    """
    from diffusers import WanAnimatePipeline

    check_safetensors(path)
    renamed = {_plain(name): tensor for name, tensor in load_tensors(path).items()}
    try:
        found = WanAnimatePipeline.lora_state_dict(renamed)
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is no LoRA of a Wan transformer ({error}).", "Use the LoRA made for it.") from error
    return {name.removeprefix("transformer."): tensor for name, tensor in found.items()}


def _plain(name: str) -> str:
    """A peft file's name as the original checkpoint's tools write it; other names as they are."""
    return "diffusion_model." + name.removeprefix(PEFT_PREFIX) if name.startswith(PEFT_PREFIX) else name


def apply_lora(transformer: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> int:
    """Add a LoRA to a transformer.

    Parameters
    ----------
    transformer:
        The transformer, not yet on an offloading scheme.
    tensors:
        From :func:`read_lora`.
    path:
        The file, for messages.

    Returns
    -------
    How many layers it changed.

    Raises
    ------
    InputError
        It is made for a transformer of another size, or fits no layer at all.
    """
    layers = dict(transformer.named_modules())
    changed = 0
    for name, down in tensors.items():
        target = name.removesuffix(".lora_A.weight")
        if target == name or target not in layers:
            continue
        up = tensors.get(f"{target}.lora_B.weight")
        layer: Any = layers[target]
        if up is None or (up.shape[0], down.shape[1]) != (layer.out_features, layer.in_features):
            raise InputError(f"{path} does not fit this transformer (at {target}).", "Use the LoRA made for it.")
        _add(layer, down, up, tensors.get(f"{target}.lora_B.bias"))
        changed += 1
    if not changed:
        raise InputError(f"{path} fits no layer of this transformer.", "Use the LoRA made for it.")
    return changed


def _add(layer: Any, down: torch.Tensor, up: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Add ``up @ down`` to a linear layer: once and for all where its weights are plain numbers, else at each call."""
    import torch

    if type(layer) is torch.nn.Linear and layer.weight.dtype.is_floating_point:
        with torch.no_grad():
            weight = layer.weight
            weight.copy_(
                (weight.float() + up.to(weight.device).float() @ down.to(weight.device).float()).to(weight.dtype)
            )
            if bias is not None and layer.bias is not None:
                layer.bias.add_(bias.to(layer.bias))
        return
    # Several files may change the same layer; buffers follow it when it is moved.
    index = getattr(layer, "lora_count", 0)
    layer.lora_count = index + 1
    for part, tensor in (("down", down), ("up", up), ("bias", bias)):
        layer.register_buffer(f"lora_{part}_{index}", tensor, persistent=False)
    layer.register_forward_hook(_added(index))


def _added(index: int) -> Any:
    """A forward hook that adds LoRA ``index`` of a layer to the layer's output."""

    def hook(layer: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        down, up, bias = (getattr(layer, f"lora_{part}_{index}") for part in ("down", "up", "bias"))
        given = inputs[0]
        low = given @ down.to(given.device, given.dtype).T
        added = low @ up.to(given.device, given.dtype).T
        if bias is not None:
            added = added + bias.to(added.device, added.dtype)
        return output + added.to(output.dtype)

    return hook
