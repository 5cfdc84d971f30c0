"""What this machine is: its devices, and what tells it from another one."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Seconds after which a driver that does not answer is given up.
DRIVER_TIMEOUT_S = 10


@dataclass(frozen=True)
class Gpu:
    """One graphics card, as its driver describes it."""

    name: str
    """The driver's name for it, e.g. ``NVIDIA A40``."""
    memory_mb: int | None
    """Its memory in MiB; ``None`` where the driver does not say."""
    index: str = ""
    """Its number among all cards of the machine."""
    uuid: str = ""
    """What names it whatever its number is."""


@dataclass(frozen=True)
class Gpus:
    """The cards that a program on this machine may use."""

    cards: tuple[Gpu, ...]
    """In the order of their CUDA numbers."""
    problem: str = ""
    """Why there is none although there is a driver; empty where all is well."""


def parse_driver(text: str) -> tuple[Gpu, ...]:
    """The cards in nvidia-smi's answer to ``--query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits``."""
    cards = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) >= 4:
            # Cards that share the machine's memory answer "[N/A]".
            memory = int(parts[-1]) if parts[-1].isdigit() else None
            cards.append(Gpu(", ".join(parts[2:-1]), memory, parts[0], parts[1]))
    return tuple(cards)


def visible(cards: tuple[Gpu, ...], choice: str | None) -> tuple[Gpu, ...]:
    """Those cards that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; all of them where it is ``None``.

    As in CUDA, the list ends at the first entry that names no card.
    """
    if choice is None:
        return cards
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in choice.split(",")):
        found = [card for card in cards if entry and (card.index == entry or card.uuid.startswith(entry))]
        if len(found) != 1 or found[0] in chosen:
            break
        chosen += found
    return tuple(chosen)


@cache
def gpus() -> Gpus:
    """The NVIDIA cards that may be used. Asks the driver, not torch: importing torch takes seconds."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Gpus(())
    query = [tool, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=DRIVER_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Gpus((), f"nvidia-smi did not answer within {DRIVER_TIMEOUT_S} seconds")
    except OSError as error:
        return Gpus((), f"nvidia-smi cannot be run: {error.strerror}")
    if answer.returncode != 0:
        lines = (answer.stdout + answer.stderr).strip().splitlines()
        return Gpus((), lines[0] if lines else f"nvidia-smi ended with code {answer.returncode}")
    cards = parse_driver(answer.stdout)
    choice = os.environ.get("CUDA_VISIBLE_DEVICES")
    left = visible(cards, choice)
    return Gpus(left, f"CUDA_VISIBLE_DEVICES={choice} hides every card" if cards and not left else "")


def devices() -> tuple[str, ...]:
    """What runs can be put on, one worker each: ``("cpu",)``, or ``("cuda:0", "cuda:1", ...)``."""
    return tuple(f"cuda:{number}" for number in range(len(gpus().cards))) or ("cpu",)


@cache
def cpu_model() -> str:
    """The processor's name, as it calls itself."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            # ARM kernels give no model name.
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def cpu_quota(folder: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many cores' time a container may take; ``None`` where nothing limits it."""
    for name in ("cpu.max", "cpu/cpu.cfs_quota_us"):
        file = folder / name
        if not file.is_file():
            continue
        parts = file.read_text().split()
        period = parts[1] if len(parts) > 1 else _period(folder)
        if parts and parts[0].isdigit() and period.isdigit() and int(period) > 0:
            return int(parts[0]) / int(period)
    return None


def _period(folder: Path) -> str:
    file = folder / "cpu" / "cpu.cfs_period_us"
    return file.read_text().strip() if file.is_file() else ""


@cache
def cores() -> int:
    """How many cores this process may use: rented pods see all of the host's and get a few."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def machine_key() -> dict[str, object]:
    """What tells this machine from another one, as far as the speed of a run goes. Plain values, fit for JSON."""
    return {"cpu": cpu_model(), "cores": cores(), "gpus": [card.name for card in gpus().cards]}
