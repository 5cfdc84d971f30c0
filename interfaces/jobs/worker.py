"""From the moment a run is taken from the queue to its end, whatever end that is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.errors import UnderstudyError
from core.runs import RunFolder
from interfaces.jobs.process import LOG, RunProcess
from interfaces.jobs.status import FINAL, JobStatus, is_held

#: Seconds that a process of an earlier server, which is dying, has to let go of its run.
LET_GO_S = 10.0

logger = logging.getLogger("understudy.jobs")


def _stamp() -> int:
    """Microseconds since some moment: kept below 2**53, which is as far as whole numbers go in JavaScript."""
    return time.monotonic_ns() // 1000


@dataclass(eq=False)
class Job:
    """What is known in memory of a run that waits or is being worked on. Changed under the queue's lock only."""

    run_id: str
    state: Literal["queued", "running"] = "queued"
    stage: str = ""
    stage_fraction: float = 0.0
    fraction: float = 0.0
    seconds_left: float | None = None
    detail: str = ""
    live_frame: int | None = None
    cancelled: bool = False
    process: RunProcess | None = None
    version: int = field(default_factory=_stamp)
    """Begins with a time stamp, so that no two jobs of a run share one."""

    def status(self, record: dict[str, Any], position: int | None) -> JobStatus:
        """Its status, with the content of its ``run.json``."""
        return JobStatus(
            self.run_id, self.state, self.stage, self.stage_fraction, self.fraction, self.seconds_left, self.detail,
            position, self.version, record, self.live_frame,
        )  # fmt: skip

    def note(self, message: dict[str, Any]) -> None:
        """Take in a message of the child's."""
        if message["event"] == "progress":
            self.stage, self.stage_fraction = message["stage"], message["stage_fraction"]
            self.fraction, self.seconds_left = message["fraction"], message["seconds_left"]
            self.detail = message["detail"]
        elif message["event"] == "view":
            self.live_frame = message["frame"]
        self.version += 1


def work_on(job: Job, folder: Path, device: str, changed: threading.Condition, stopping: Callable[[], bool]) -> None:
    """Have a run done by a process of its own, and see to it that ``run.json`` says how that ended.

    Parameters
    ----------
    job, folder:
        The run.
    device:
        What it is done on.
    changed:
        Lock of the job, notified whenever it changes.
    stopping:
        Whether the server is about to end: the run is put back into the queue then.
    """
    try:
        _await_lock(folder)
        run = RunFolder.open(folder)
        attempts = run.record.get("attempts", 0) + 1
        run.update(state="running", error=None, attempts=attempts)
        with changed:
            if not (job.cancelled or stopping()):
                job.process = RunProcess(folder, device)
        end, code = (None, 0) if job.process is None else _follow(job, job.process, changed)
        _note_end(folder, job, end, code, stopping())
    except Exception:
        # The folder is gone, the disk is full, or worse: this run is lost, the queue goes on.
        logger.exception("run %s", job.run_id)


def _await_lock(folder: Path) -> None:
    """Wait until no process of an earlier server holds the run."""
    end = time.monotonic() + LET_GO_S
    while is_held(folder):
        if time.monotonic() > end:
            raise UnderstudyError(f"Run {folder.name} is being worked on outside of this server.")
        time.sleep(0.1)


def _follow(job: Job, process: RunProcess, changed: threading.Condition) -> tuple[dict[str, Any] | None, int]:
    """Take in what the child tells until it ends. Returns its last word, if it had one, and its exit code."""
    end = None
    for message in process.messages():
        if message["event"] == "end":
            end = message
            continue
        with changed:
            job.note(message)
            changed.notify_all()
    return end, process.wait()


def _note_end(folder: Path, job: Job, end: dict[str, Any] | None, code: int, stopping: bool) -> None:
    """Write the state that the child could not write."""
    run = RunFolder.open(folder)
    if end is not None and end["state"] == "done":
        return
    if job.cancelled:
        run.update(state="cancelled", error=None, progress=round(job.fraction, 4))
    elif stopping and end is None:
        run.update(state="queued", attempts=max(0, run.record.get("attempts", 1) - 1))
    elif end is None:
        run.update(state="failed", error=_death(code), progress=round(job.fraction, 4))
    elif run.record["state"] not in FINAL:
        # It failed before the pipeline began to keep the record.
        run.update(state=end["state"], error=end["error"], progress=round(job.fraction, 4))
    else:
        run.update(progress=round(job.fraction, 4))


def _death(code: int) -> str:
    """Why a child ended without a word."""
    if code == -9:
        how = "was killed, most likely because memory ran out"
    elif code < 0:
        how = f"ended by signal {-code}"
    else:
        how = f"ended unexpectedly with code {code}"
    return f"The run's process {how}. See {LOG} in the run folder; resume the run to continue from its last segment."
