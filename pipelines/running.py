"""What every kind of run does alike: look at the clip, note versions, time stages, say how it ended."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from core.errors import Cancelled, InputError, StageError, UnderstudyError
from core.progress import Progress
from core.runs import RunFolder
from core.types import VideoInfo
from models.memory import peak_vram_mb, reset_peak
from utils.video_probe import probe

#: Libraries whose versions are noted in run.json.
VERSIONS = ("numpy", "torch", "mediapipe", "anny", "embreex", "av", "opencv-contrib-python")

#: Endings that the copy of an uploaded clip may keep; others are left out. What the file is shows when it is opened.
SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv"})


def probe_as(clip: Path, name: str) -> VideoInfo:
    """Look at a clip that the user knows by another name than the file's; errors call it by that name."""
    try:
        return probe(clip)
    except InputError as error:
        raise type(error)(error.message.replace(str(clip), name), error.hint) from error


def frame_facts(info: VideoInfo) -> dict[str, object]:
    """What ``run.json`` says of the clip."""
    return {"frames_in": info.frame_count, "frames_out": 0, "fps": str(info.rate), "size": list(info.size)}


def versions(*more: str) -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on; ``more`` of them by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in (*VERSIONS, *more)}}


def peak_rss_mb() -> float:
    """Most memory that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def outcome_noted(run: RunFolder) -> Iterator[None]:
    """Do the work of a run; whatever happens, ``run.json`` says how it ended."""
    run.update(state="running", error=None)
    try:
        yield
    except Cancelled:
        run.update(state="cancelled")
        raise
    except UnderstudyError as error:
        run.update(state="failed", error=str(error))
        raise
    except BaseException as error:
        run.update(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    run.update(state="done")


@contextmanager
def metered(run: RunFolder, name: str, *, graphics: bool = True) -> Iterator[None]:
    """Note what a stage takes: seconds, and with ``graphics`` the peak of graphics memory."""
    started = time.monotonic()
    if graphics:
        reset_peak()
    try:
        yield
    finally:
        run.add_seconds(name, time.monotonic() - started)
        if graphics:
            run.add_vram(name, peak_vram_mb())


@contextmanager
def timed_stage(run: RunFolder, progress: Progress, name: str, meter: AbstractContextManager[None]) -> Iterator[None]:
    """Run a stage under its meter; name the stage in errors that nobody foresaw."""
    try:
        with progress.stage(name), meter:
            yield
    except UnderstudyError:
        raise
    except (ValueError, IndexError, KeyError, ArithmeticError, AssertionError, np.linalg.LinAlgError) as error:
        raise StageError(name, f"{type(error).__name__}: {error}") from error
    run.save()
