"""Where a run stands, as seen from outside, and how that is read from its folder."""

from __future__ import annotations

import fcntl
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.runs import RunFolder
from interfaces.jobs.errors import NoSuchRun
from interfaces.settings_from import SETTINGS, file_settings

#: States in which nothing more happens by itself.
FINAL = ("done", "failed", "cancelled")

#: Entries of ``run.json`` that anybody who may see the run may see; paths and bookkeeping are not among them.
_PUBLIC = (
    "kind", "created", "name", "preset", "error", "warnings", "frames_in", "frames_out", "fps", "size", "segments",
    "stages", "metrics", "versions", "device", "peak_rss_mb", "peak_vram_mb", "vram_mb",
)  # fmt: skip

#: Settings that may be paths: only the last part is shown.
_NAMES_OF_FILES = ("avatar", "checkpoint", *(name for kind in SETTINGS.values() for name in file_settings(kind)))

#: The folders of an absolute path in a message.
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/]+/)+")

#: A queued run that nobody holds is still being made when it is younger than this, in seconds.
BEING_MADE_S = 5.0

_CUT_OFF = "The run was cut off before it ended. Resume it."


@dataclass(frozen=True)
class JobStatus:
    """One moment of a run."""

    id: str
    state: str
    """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``."""
    stage: str
    """Name of the stage that is under way; empty when none is."""
    stage_fraction: float
    """How much of the stage is done, 0..1."""
    progress: float
    """How much of the run is done, 0..1."""
    seconds_left: float | None
    """Estimated seconds to the end; ``None`` where nobody can tell."""
    detail: str
    """What the stage is doing just now, e.g. ``frame 12 of 150``."""
    queue_position: int | None
    """1 for the run that is next; ``None`` unless it waits."""
    version: int
    """Another number whenever something has changed."""
    record: dict[str, Any] = field(repr=False)
    """Content of ``run.json``; not to be changed."""
    live_frame: int | None = None
    """Index of the frame that ``live.jpg`` shows."""

    def public(self) -> dict[str, Any]:
        """What REST answers: plain values, and no path of this machine."""
        answer: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "stage": self.stage,
            "stage_fraction": round(self.stage_fraction, 4),
            "progress": round(self.progress, 4),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
            "detail": self.detail,
            "queue_position": self.queue_position,
            "live_frame": self.live_frame,
            "version": self.version,
        }
        answer.update({key: self.record[key] for key in _PUBLIC if key in self.record})
        if answer.get("error"):
            answer["error"] = _FOLDERS.sub("", answer["error"])
        answer["name"] = display_name(self.record)
        answer["clips"] = [Path(source["path"]).name for source in self.record.get("sources", [])]
        settings = dict(self.record["settings"])
        for key in _NAMES_OF_FILES:
            if settings.get(key):
                settings[key] = Path(settings[key]).name
        answer["settings"] = settings
        return answer


def display_name(record: dict[str, Any]) -> str:
    """What the user calls the clip of a run."""
    return record.get("name") or Path(record["source"]).name


class RecordCache:
    """Reads ``run.json`` files, each again only after it has changed, so that polling costs one ``stat``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def read(self, folder: Path) -> tuple[dict[str, Any], int]:
        """Content of a run's ``run.json``, and a number that is another one after each change of it.

        Raises
        ------
        NoSuchRun
            There is no readable ``run.json``.
        """
        try:
            found = (folder / "run.json").stat()
        except OSError as error:
            self.forget(folder)
            raise no_such_run(folder.name) from error
        key = (found.st_mtime_ns, found.st_ino)
        with self._lock:
            known = self._records.get(folder)
        # JavaScript holds whole numbers up to 2**53: microseconds fit, nanoseconds do not.
        version = found.st_mtime_ns // 1000
        if known is not None and known[0] == key:
            return known[1], version
        try:
            record = RunFolder.open(folder).record
        except InputError as error:
            raise no_such_run(folder.name) from error
        with self._lock:
            self._records[folder] = (key, record)
        return record, version

    def forget(self, folder: Path) -> None:
        """Drop what is known of a folder."""
        with self._lock:
            self._records.pop(folder, None)


def status_on_disk(folder: Path, record: dict[str, Any], version: int) -> JobStatus:
    """Status of a run that this process does not work on."""
    state = record["state"]
    if state not in FINAL:
        # Another process holds the lock while it works. Nobody does: the run was cut off.
        if is_held(folder):
            state = "running"
        elif state != "queued" or time.time() - version / 1e6 > BEING_MADE_S:
            state, record = "failed", {**record, "error": _CUT_OFF}
    progress = 1.0 if state == "done" else float(record.get("progress", 0.0))
    return JobStatus(folder.name, state, "", 0.0, progress, None, "", None, version, record)


#: Longer names are no run's, and more than file systems take.
_ID = re.compile(r"[a-z0-9-]{1,200}")


def find_folder(root: Path, run_id: str) -> Path:
    """The folder of a run. Names that are no plain run names, and links that lead elsewhere, are not followed.

    Raises
    ------
    NoSuchRun
        There is none of that name.
    """
    folder = root / run_id if _ID.fullmatch(run_id) else None
    if folder is None or folder.is_symlink() or not (folder / "run.json").is_file():
        raise no_such_run(run_id)
    return folder


def no_such_run(run_id: str) -> NoSuchRun:
    """The error for a name that is no run's."""
    shown = run_id if len(run_id) <= 60 else run_id[:57] + "..."
    return NoSuchRun(f"There is no run {shown!r}.", "GET /runs lists all runs.")


def is_held(folder: Path) -> bool:
    """Whether a process works on the run just now."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
