"""Memory of the graphics card: what was used, and giving it back."""

from __future__ import annotations

import sys


def _cuda_in_use() -> bool:
    """Whether torch was imported by somebody and has started CUDA; asking must not start it."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def release_cuda_cache() -> bool:
    """Give cached blocks back to the driver. Returns whether there was a card to do it on."""
    if not _cuda_in_use():
        return False
    import torch

    torch.cuda.empty_cache()
    return True


def peak_vram_mb() -> float | None:
    """Most graphics memory that was taken so far in MB; ``None`` without a card."""
    if not _cuda_in_use():
        return None
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def device_name() -> str:
    """What the heavy work runs on, for the report."""
    if _cuda_in_use():
        import torch

        return torch.cuda.get_device_name()
    return "cpu"
