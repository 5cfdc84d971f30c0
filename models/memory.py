"""Memory of the graphics card: which device, how much is free, what was used, giving it back, and working within it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from core.errors import InputError, ModelUnavailable, ResourceError

if TYPE_CHECKING:
    import torch

Frame = TypeVar("Frame")
Result = TypeVar("Result")
OffloadLevel = Literal["none", "model", "group", "sequential"]

GIB = 2**30
#: Devices in order of preference.
DEVICES = ("cuda", "xpu", "mps", "cpu")
#: Share of the free memory that is counted on: the rest goes to fragments, and to other programs that grow.
USABLE = 0.9
#: What an engine needs at each offload level, as a share of what it needs with everything on the card.
MODEL_SHARE, GROUP_SHARE = 0.75, 0.35
#: How messages begin or what they contain where memory ran out without an error class of its own: MPS, XPU, the CPU's
#: allocator, and CUDA libraries that fail to get their workspace.
OUT_OF_MEMORY_WORDS = (
    "out of memory", "can't allocate memory", "not enough memory", "out_of_device_memory", "out_of_host_memory",
    "out_of_resources", "cublas_status_alloc_failed", "cudnn_status_alloc_failed",
)  # fmt: skip


# -- devices -------------------------------------------------------------------------------------------------------


def _is_there(kind: str) -> bool:
    import torch

    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "xpu":
        return torch.xpu.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"


def best_device() -> str:
    """The best device of this machine: ``cuda``, ``xpu``, ``mps`` or ``cpu``, in this order."""
    return next(kind for kind in DEVICES if _is_there(kind))


def choose_device(wanted: str = "") -> str:
    """The device that the user asks for, or the best one where ``wanted`` is empty.

    Raises
    ------
    InputError
        No device has such a name.
    ModelUnavailable
        This machine has no such device.
    """
    if not wanted:
        return best_device()
    kind, _, number = wanted.partition(":")
    if kind not in DEVICES or (number and not number.isdecimal()):
        raise InputError(
            f"{wanted!r} is no device.", f"Choose one of {', '.join(DEVICES)}, or cuda:1 for a second card."
        )
    if not _is_there(kind) or int(number or 0) >= _count(kind):
        raise ModelUnavailable(f"This machine has no device {wanted}.", f"The best it has is {best_device()}.")
    return wanted


def _count(kind: str) -> int:
    import torch

    if kind in ("cuda", "xpu"):
        return int(getattr(torch, kind).device_count())
    return 1


def compute_dtype(device: str) -> torch.dtype:
    """The number format for networks on ``device``: half precision where the hardware computes in it.

    bfloat16 on NVIDIA cards from Ampere on and on Intel's cards: it has float32's range, so nothing overflows. float16 on
    older NVIDIA cards, which only imitate bfloat16, and on Apple's. float32 on the CPU, where half precision is slower.
    """
    import torch

    place = torch.device(device)
    if place.type == "cuda":
        with torch.cuda.device(place):
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"xpu": torch.bfloat16, "mps": torch.float16}.get(place.type, torch.float32)


# -- what is free, what was used -----------------------------------------------------------------------------------


def free_gb(device: str) -> float:
    """Memory of ``device`` in GiB that this process can still take: the card's, or the machine's for the CPU.

    What torch keeps in reserve counts as free; it is used again before the driver is asked for more.
    """
    kind = device.partition(":")[0]
    if kind in ("cuda", "xpu"):
        import torch

        place, backend = torch.device(device), getattr(torch, kind)
        free, total = backend.mem_get_info(place)
        taken = backend.memory_allocated(place)
        room = free + backend.memory_reserved(place) - taken
        if kind == "cuda":
            # What this process may take: the driver does not know of the limit.
            room = min(room, torch.cuda.get_per_process_memory_fraction(_card(place)) * total - taken)
        return max(room, 0) / GIB
    if kind == "mps":
        import torch

        return (torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()) / GIB
    import psutil

    return psutil.virtual_memory().available / GIB


def limit_vram(device: str, limit_gb: float | None) -> None:
    """Let this process take no more than ``limit_gb`` GiB of an NVIDIA card; ``None`` lets it take all.

    What goes beyond fails as if the card were full, and :func:`free_gb` counts with the limit. Other devices have no limit.
    """
    import torch

    place = torch.device(device)
    if place.type == "cuda":
        card = _card(place)
        total = torch.cuda.mem_get_info(card)[1] / GIB
        torch.cuda.set_per_process_memory_fraction(1.0 if limit_gb is None else min(1.0, limit_gb / total), card)


def _card(place: torch.device) -> int:
    """A card's number. Some of torch's functions take no device without one."""
    import torch

    return torch.cuda.current_device() if place.index is None else place.index


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
    """Most graphics memory that was taken since :func:`reset_peak`, on the fullest card, in MB; ``None`` without a card.

    Without a reset it is the most since the process started. A report of the whole run takes the greatest of its stages.
    """
    if not _cuda_in_use():
        return None
    import torch

    return max(torch.cuda.max_memory_allocated(card) for card in range(torch.cuda.device_count())) / 2**20


def reset_peak() -> None:
    """Start measuring :func:`peak_vram_mb` anew, for the next stage. Does nothing without a card."""
    if _cuda_in_use():
        import torch

        for card in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(card)


def device_name() -> str:
    """What the heavy work runs on, for the report."""
    if _cuda_in_use():
        import torch

        return torch.cuda.get_device_name()
    return "cpu"


# -- offloading ----------------------------------------------------------------------------------------------------


def offload_level(free_gb: float, need_gb: float) -> OffloadLevel:
    """How much of a pipeline must stay off the card.

    Each level needs less memory than the one before and is slower, so the first one that fits is taken:

    * ``none``: everything on the card. Fits where nine tenths of the free memory hold what the engine declares.
    * ``model``: one network at a time, moved as a whole. The text and image encoders and the VAE leave while the denoiser
      works, which makes up about a quarter; the denoiser and its activations must fit. A few moves a call: nearly as fast.
    * ``group``: the denoiser too is fetched block by block, the next one while this one computes. Activations and two
      blocks must fit, about a third. The bus is read once per step.
    * ``sequential``: layer by layer. Little more than the activations must fit; several times slower.

    Parameters
    ----------
    free_gb:
        Free graphics memory.
    need_gb:
        What the engine needs with everything on the card.
    """
    usable = USABLE * free_gb
    if usable >= need_gb:
        return "none"
    if usable >= MODEL_SHARE * need_gb:
        return "model"
    return "group" if usable >= GROUP_SHARE * need_gb else "sequential"


def apply_offload(pipe: Any, level: OffloadLevel, device: str) -> None:
    """Put a diffusers pipeline on ``device`` at an offload level. Call it once, after the pipeline is complete.

    The VAE takes frames one by one at every level, which changes no pixel and costs nothing to speak of. At every level
    but ``none`` it also works tile by tile, which keeps its memory flat for large pictures and may shift colours by less
    than can be seen where tiles meet.

    Parameters
    ----------
    pipe:
        A ``diffusers.DiffusionPipeline``.
    level:
        See :func:`offload_level`.
    device:
        Torch device that computes. Where that is the CPU, there is nothing to offload: the level is ``none``.
    """
    import torch

    place = torch.device(device)
    vae: Any = getattr(pipe, "vae", None)
    if hasattr(vae, "use_slicing"):
        vae.enable_slicing()
    if level != "none" and hasattr(vae, "use_tiling"):
        vae.enable_tiling()
    if level == "none":
        pipe.to(place)
    elif level == "model":
        pipe.enable_model_cpu_offload(device=place)
    elif level == "sequential":
        pipe.enable_sequential_cpu_offload(device=place)
    else:
        streams = place.type in ("cuda", "xpu")
        pipe.enable_group_offload(
            onload_device=place,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=streams,
            # Pinning everything beforehand is faster, but takes the weights' size in memory that cannot be swapped.
            low_cpu_mem_usage=streams and weights_gb(pipe.components.values()) > 0.5 * free_gb("cpu"),
            # Fetching ahead follows the order of the first call, and tiles break it; the VAE is small.
            exclude_modules=["vae"] if vae is not None else None,
        )


def weights_gb(networks: Iterable[Any]) -> float:
    """Size of the weights of some networks, GiB; parts of a pipeline that have none count nothing."""
    parameters = (p for network in networks if hasattr(network, "parameters") for p in network.parameters())
    return sum(p.numel() * p.element_size() for p in parameters) / GIB


# -- batches that fit ----------------------------------------------------------------------------------------------


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's or the machine's memory ran out."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY_WORDS)


def _give_back(device: str) -> None:
    """Let go of everything that nobody holds."""
    gc.collect()
    torch = sys.modules.get("torch")
    kind = device.partition(":")[0]
    if torch is not None and kind in ("cuda", "xpu", "mps"):
        getattr(torch, kind).empty_cache()


@dataclass
class Batches:
    """Runs a function over frames in batches that fit, and remembers from call to call how many do."""

    frame_gb: float
    """What one frame is expected to take while it is drawn, GiB; 0 where nobody knows."""
    most: int
    """Most frames in a batch."""
    device: str = "cpu"
    """Torch device whose memory counts."""
    size: int = field(default=0, init=False)
    """Frames in a batch; 0 before the first."""

    def run(
        self, draw: Callable[[Sequence[Frame]], Sequence[Result]], frames: Sequence[Frame]
    ) -> tuple[list[Result], list[str]]:
        """``draw`` all frames, in order.

        The first batch is sized to the free memory. After an out-of-memory error the batch is drawn again in halves, and
        stays that small. Whatever else ``draw`` raises passes through.

        Parameters
        ----------
        draw:
            Takes a run of consecutive frames, gives as many results.

        Returns
        -------
        The results, and for the run's warnings what had to be made smaller.

        Raises
        ------
        ResourceError
            Not even one frame fits.
        """
        if self.size == 0:
            self.size = batch_size(free_gb(self.device), self.frame_gb, self.most)
        results: list[Result] = []
        warnings: list[str] = []
        while len(results) < len(frames):
            batch = frames[len(results) : len(results) + self.size]
            done, reason = self._attempt(draw, batch)
            if done is not None:
                results.extend(done)
                continue
            _give_back(self.device)
            if len(batch) == 1:
                raise ResourceError(*self._too_large(reason))
            self.size = len(batch) // 2
            warnings.append(f"Memory ran out with {len(batch)} frames at once; went on with {self.size}.")
        return results, warnings

    def _attempt(
        self, draw: Callable[[Sequence[Frame]], Sequence[Result]], batch: Sequence[Frame]
    ) -> tuple[Sequence[Result] | None, str]:
        """The results, or ``None`` and why memory ran out. The error itself goes: it holds on to what filled the memory."""
        try:
            done = draw(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None, str(error).strip().partition("\n")[0]
        if len(done) != len(batch):
            raise ValueError(f"{len(done)} results for {len(batch)} frames")
        return done, ""

    def _too_large(self, reason: str) -> tuple[str, str]:
        expected = f", about {self.frame_gb:.1f} GB expected" if self.frame_gb else ""
        said = f" ({reason[:200].rstrip('.')})" if reason else ""
        return (
            f"One frame does not fit in the memory of {self.device}: {free_gb(self.device):.1f} GB free{expected}{said}.",
            "Choose a smaller generation size or a smaller preset, or close other programs that use the device.",
        )


def batch_size(free_gb: float, frame_gb: float, most: int) -> int:
    """How many frames of ``frame_gb`` fit in the free memory: 1 to ``most``."""
    if frame_gb <= 0:
        return most
    return max(1, min(most, int(USABLE * free_gb / frame_gb)))
