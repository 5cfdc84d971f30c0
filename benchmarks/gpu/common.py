"""What all the measurements share: the clock, where the time goes, tables that grow row by row, and footage to draw."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import torch

from core.errors import UnderstudyError
from core.types import ControlMaps, GenerationRequest
from models.memory import GIB, is_out_of_memory, limit_vram, peak_vram_mb, release_cuda_cache

Result = TypeVar("Result")

NOT_MEASURED = "not measured"
#: Libraries whose versions decide the speed.
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "numpy")


@dataclass
class Bench:
    """One run of the benchmark."""

    device: str
    """Torch device that computes."""
    tiny: bool
    """Networks of a few channels instead of the real ones."""
    repeats: int
    """Timed calls of each kind, after one that is not counted."""
    size: int | None = None
    """Longer side of what is drawn, pixels; ``None`` takes what each preset has."""
    blocked: str = ""
    """Why nothing can be measured; empty where something can."""
    unforeseen: list[str] = field(default_factory=list)
    """Errors other than a full memory; the benchmark goes on and ends with an error code."""

    @property
    def on_card(self) -> bool:
        """Whether it computes on an NVIDIA card."""
        return self.device.startswith("cuda")

    def synchronise(self) -> None:
        """Wait until the card has done everything that it was asked for."""
        if self.on_card:
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Wall time of some work, everything on the card included."""
        self.synchronise()
        started = time.perf_counter()
        work()
        self.synchronise()
        return time.perf_counter() - started

    def attempt(self, what: str, work: Callable[[], Result]) -> tuple[Result | None, str]:
        """The result of some work; or ``None`` and, in a few words, why there is none."""
        if self.blocked:
            return None, self.blocked
        free_memory()
        # An engine before this one may have had a budget.
        limit_vram(self.device, None)
        try:
            return work(), ""
        except (RuntimeError, MemoryError, UnderstudyError) as error:
            # The traceback holds on to what filled the memory.
            text = (str(error) or type(error).__name__).strip().partition("\n")[0][:160]
            full = is_out_of_memory(error)
        free_memory()
        if full:
            return None, "not enough memory"
        self.unforeseen.append(f"{what}: {text}")
        return None, text

    def peak(self) -> str:
        """Most graphics memory that was taken since ``models.memory.reset_peak``, for a table."""
        peak = peak_vram_mb() if self.on_card else None
        return no("no CUDA") if peak is None else f"{peak * 2**20 / GIB:.1f}"


def free_memory() -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    release_cuda_cache()


def no(reason: str) -> str:
    """A table's cell where there is no figure."""
    return f"{NOT_MEASURED} ({reason})"


# -- figures -------------------------------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median and, of four or more, the quartiles; else the least and the greatest."""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) < 2:
        return f"{middle} (one)"
    low, high = (
        statistics.quantiles(values, n=4, method="inclusive")[::2] if len(values) >= 4 else (min(values), max(values))
    )
    return f"{middle} ({low:.{digits}f} to {high:.{digits}f})"


class Table:
    """A Markdown table that shows each row as soon as it is there, so that a run that is cut off leaves what it had."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self._width = len(columns)
        say(f"\n### {title}\n")
        self.row(*columns)
        say("|" + "---|" * self._width)

    def row(self, *cells: str) -> None:
        """Add a row; cells that are left out at its end stay empty."""
        say("| " + " | ".join([*cells, *[""] * (self._width - len(cells))]) + " |")


def say(text: str) -> None:
    """Print a line now."""
    print(text, flush=True)


def facts(bench: Bench) -> str:
    """The machine and the versions, for the head of the output."""
    lines = [f"- {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"]
    if bench.on_card:
        card = torch.cuda.get_device_properties(bench.device)
        driver = f"driver {_driver()}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        lines.append(f"- {card.name}, {card.total_memory / GIB:.0f} GB, {driver}")
    else:
        lines.append("- no NVIDIA card in use")
    lines.append("- " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    size = "toy networks" if bench.tiny else "networks of full size"
    lines.append(f"- {size} with random weights; timed calls of each kind: {bench.repeats}")
    lines.append("- figures are medians; in brackets the quartiles of four or more, else the least and the greatest")
    return "\n".join(lines)


def _driver() -> str:
    """Version of the NVIDIA driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip().partition("\n")[0] or "unknown"


# -- where the time goes -------------------------------------------------------------------------------------------


class Parts:
    """Times the passes through some networks: by CUDA events on a card, which do not slow it down, else by the clock.

    Parameters
    ----------
    networks:
        Name of a part -> the modules that it consists of; none of them inside another one.
    on_card:
        Whether they compute on an NVIDIA card.
    """

    def __init__(self, networks: Mapping[str, Sequence[Any]], on_card: bool) -> None:
        self._on_card = on_card
        self._marks: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self._open: list[Any] = []
        self._hooks: list[Any] = []
        self.names = tuple(networks)
        for name, modules in networks.items():
            for module in modules:
                self._hooks.append(module.register_forward_pre_hook(lambda *_: self._open.append(self._mark())))
                self._hooks.append(module.register_forward_hook(self._closing(name), always_call=True))

    def _mark(self) -> Any:
        if not self._on_card:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _closing(self, name: str) -> Callable[..., None]:
        def close(*_: object) -> None:
            self._marks[name].append((self._open.pop(), self._mark()))

        return close

    def clear(self) -> None:
        """Forget what was timed."""
        self._marks.clear()

    def seconds(self) -> dict[str, float]:
        """Seconds in each part since :meth:`clear`."""
        if self._on_card:
            torch.cuda.synchronize()
            return {n: sum(a.elapsed_time(b) for a, b in self._marks[n]) / 1000 for n in self.names}
        return {n: sum(b - a for a, b in self._marks[n]) for n in self.names}

    def remove(self) -> None:
        """Take the hooks off again."""
        for hook in self._hooks:
            hook.remove()


@contextmanager
def timed_parts(networks: Mapping[str, Sequence[Any]], on_card: bool) -> Iterator[Parts]:
    """:class:`Parts` for the length of a block."""
    parts = Parts(networks, on_card)
    try:
        yield parts
    finally:
        parts.remove()


# -- footage -------------------------------------------------------------------------------------------------------


def footage(
    start: int, count: int, size: tuple[int, int], controls: Sequence[str], carried: np.ndarray | None = None
) -> GenerationRequest:
    """A request for a crop in which a figure walks to the right, two pixels a frame, over a smooth scene.

    Parameters
    ----------
    start:
        Index of the first frame; frames that follow on are those of the same clip.
    size:
        ``(width, height)`` of the crop, pixels.
    controls:
        Names of the control maps.
    carried:
        The last results, where the engine goes on from them.
    """
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = np.dstack([x * 255 / width, y * 255 / height, 90 + 40 * np.sin((x + y) / 9)])
    frames, masks = [], []
    for t in range(start, start + count):
        centre = width * 0.4 + (2 * t) % (width * 0.2)
        mask = np.hypot((x - centre) / (width * 0.2), (y - height / 2) / (height * 0.4)) < 1
        person = np.dstack([np.full_like(x, 180), 90 + 40 * np.sin((x - centre) / 5), 60 + 40 * np.cos(y / 7)])
        frames.append(np.where(mask[..., None], person, scene).astype(np.uint8))
        masks.append(mask)
    pictures = np.stack(frames)
    return GenerationRequest(
        start,
        pictures,
        np.stack(masks),
        np.tile(np.eye(3), (count, 1, 1)),
        seed=0,
        controls=ControlMaps({name: pictures // (2 + index) for index, name in enumerate(controls)}),
        carried=carried,
        landmarks=_face(count, width * 0.5, height * 0.2, width / 12),
    )


def _face(count: int, x: float, y: float, size: float) -> np.ndarray:
    """(count, 33, 4) landmarks of a face, ``size`` pixels wide, that looks at the camera."""
    points = np.zeros((count, 33, 4), np.float32)
    points[..., 3] = 1
    # Nose; three points of each eye; ears; corners of the mouth.
    shape = [[0, 0], [1, -3], [2, -3], [3, -3], [-1, -3], [-2, -3], [-3, -3], [6, -2], [-6, -2], [2, 3], [-2, 3]]
    points[:, :11, :2] = np.array(shape, np.float32) * size / 12 + (x, y)
    points[:, 0, 2] = -size / 2
    return points
