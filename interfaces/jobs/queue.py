"""Runs wait their turn, one worker a device takes them in order, and a restart loses none.

A run is computed in a process of its own (:mod:`interfaces.jobs.child`). What is known of it lives in its folder; in memory
there is only what changes by the second, and only of runs that wait or run here.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.runs import RunFolder
from core.settings import MeshSettings, ReplaceSettings
from core.types import VideoInfo
from interfaces.jobs.claim import Claim, claim, sweep
from interfaces.jobs.errors import NoSuchRun, QueueFull, WrongState
from interfaces.jobs.intake import make_run
from interfaces.jobs.recovery import unfinished
from interfaces.jobs.runners import RUNNERS
from interfaces.jobs.status import JobStatus, RecordCache, find_folder, status_on_disk
from interfaces.jobs.worker import Job, work_on

if TYPE_CHECKING:
    from pipelines.mesh.submit import Take

#: Seconds that a run has to stop by itself before its process is killed.
GRACE_S = 1.2
#: Seconds after which a killed process is surely gone.
KILL_S = 5.0


class JobQueue:
    """The runs of one output folder.

    Parameters
    ----------
    root:
        The output folder; made when it is not there. One queue at a time works in it.
    devices:
        ``cpu`` or ``cuda:N``: one worker each.
    limit:
        Most runs that wait, those that are being worked on not counted.
    """

    def __init__(self, root: Path, *, devices: Sequence[str] = ("cpu",), limit: int = 20) -> None:
        self.root = root.resolve()
        self.devices = tuple(devices)
        self.limit = limit
        self._records = RecordCache()
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._reserved = 0
        self._idle = 0
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._claim: Claim | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what an earlier server left, and begin to work. Does nothing when it was started before.

        Raises
        ------
        InputError
            The folder cannot be written, or another server works in it.
        """
        if self._claim is not None:
            return
        self._claim = claim(self.root)
        self._stopping = False
        sweep(self.root)
        self._take_up()
        for device in self.devices:
            thread = threading.Thread(target=self._work, args=(device,), name=f"worker {device}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Cut the running runs off and put them back into the queue, for the next start."""
        with self._changed:
            self._stopping = True
            processes = [job.process for job in self._jobs.values() if job.process is not None]
            self._changed.notify_all()
        for process in processes:
            process.kill()
        for thread in self._threads:
            thread.join(KILL_S)
        self._threads.clear()
        with self._changed:
            self._jobs.clear()
            self._waiting.clear()
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def counts(self) -> tuple[int, int]:
        """How many runs wait, and how many are being worked on."""
        with self._changed:
            return len(self._waiting), sum(job.state == "running" for job in self._jobs.values())

    # -- what users ask for ----------------------------------------------------------------------------------------

    def submit(
        self,
        given: Path | Take,
        settings: ReplaceSettings | MeshSettings,
        *,
        name: str = "",
        preset: str = "",
        check: Callable[[VideoInfo], None] | None = None,
    ) -> JobStatus:
        """Put a new run at the end of the queue. It keeps clips, reference picture and calibration of its own.

        Parameters
        ----------
        given:
            The video, or for a mesh a whole take; may be removed afterwards.
        settings:
            What to do; their class says which kind of run it is.
        name, preset:
            What the user calls it, and where the settings come from; for lists.
        check:
            May refuse a clip by raising an :class:`InputError`.

        Raises
        ------
        QueueFull
            Too many runs wait.
        InputError, ModelUnavailable
            A clip or a setting cannot be used; nothing is left behind.
        """
        with self._place():
            run = make_run(given, settings, output=self.root, name=name, preset=preset, check=check)
            job = Job(run.path.name)
            with self._changed:
                # Known here before it is known on disk as ours, so that nobody takes it for a run that was cut off.
                self._jobs[job.run_id] = job
            run.update(queued_by="web", submitted=time.time(), attempts=0)
            self._append(job)
        return self.status(job.run_id)

    def status(self, run_id: str) -> JobStatus:
        """Where a run stands. Runs that the command line made in the same folder are found too.

        Raises
        ------
        NoSuchRun
            There is none of that name.
        """
        folder = find_folder(self.root, run_id)
        with self._changed:
            job = self._jobs.get(run_id)
        record, version = self._records.read(folder)
        with self._changed:
            # It may have ended meanwhile; then the record is a moment too old.
            if job is not None and self._jobs.get(run_id) is job:
                position = self._waiting.index(job) + 1 if job in self._waiting else None
                return job.status(record, position)
        if job is not None:
            record, version = self._records.read(folder)
        return status_on_disk(folder, record, version)

    def all(self) -> list[JobStatus]:
        """All runs, newest first."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root) as entries:
            for entry in entries:
                with contextlib.suppress(NoSuchRun):
                    found.append(self.status(entry.name))
        return sorted(found, key=lambda s: (s.record.get("created", ""), s.record.get("submitted", 0.0)), reverse=True)

    def wait(self, run_id: str, version: int, timeout: float) -> JobStatus:
        """Status of a run, as soon as its version is another one than ``version``, or after ``timeout`` seconds.

        Raises
        ------
        NoSuchRun
            There is none of that name (any more).
        """
        end = time.monotonic() + timeout
        while True:
            status = self.status(run_id)
            left = end - time.monotonic()
            if status.version != version or left <= 0:
                return status
            with self._changed:
                job = self._jobs.get(run_id)
                if job is None or job.version == version:
                    # Runs of other processes tell nothing: their folder is looked at now and then.
                    self._changed.wait(min(left, 0.5))

    def cancel(self, run_id: str) -> JobStatus:
        """Stop a run, within two seconds. What is finished is kept.

        Raises
        ------
        NoSuchRun
            There is none of that name.
        WrongState
            It has ended, or another process works on it.
        """
        before = self.status(run_id)
        with self._changed:
            job = self._jobs.get(run_id)
            if job is not None:
                job.cancelled = True
                waits = job in self._waiting
                if waits:
                    self._waiting.remove(job)
        if job is None:
            if before.state == "running":
                raise WrongState(
                    f"Run {run_id} is being worked on outside of this server.", "Stop it where it was started."
                )
            raise WrongState(f"Run {run_id} is {before.state}: there is nothing to cancel.", "")
        if waits:
            try:
                RunFolder.open(self.folder(run_id)).update(state="cancelled")
            finally:
                self._forget(job)
            return self.status(run_id)
        if job.process is not None:
            job.process.ask_to_stop()
        if not self._gone(job, GRACE_S) and job.process is not None:
            job.process.kill()
            self._gone(job, KILL_S)
        return self.status(run_id)

    def resume(self, run_id: str) -> JobStatus:
        """Put a run that was cancelled, failed or cut off at the end of the queue.

        Raises
        ------
        NoSuchRun
            There is none of that name.
        WrongState
            It waits, runs or is done already.
        QueueFull
            Too many runs wait.
        """
        before = self.status(run_id)
        kind = before.record.get("kind")
        if before.state not in ("cancelled", "failed"):
            raise WrongState(f"Run {run_id} is {before.state}: it cannot be resumed.", "")
        if kind not in RUNNERS:
            raise WrongState(f"Run {run_id} is of kind {kind!r}, which this server cannot resume.", "")
        with self._place():
            job = Job(run_id)
            with self._changed:
                if run_id in self._jobs:
                    raise WrongState(f"Run {run_id} is queued: it cannot be resumed.", "")
                self._jobs[run_id] = job
            run = RunFolder.open(self.folder(run_id))
            run.update(state="queued", error=None, queued_by="web", submitted=time.time(), attempts=0)
            self._append(job)
        return self.status(run_id)

    def delete(self, run_id: str) -> None:
        """Remove a run and all its files.

        Raises
        ------
        NoSuchRun
            There is none of that name.
        WrongState
            It is being worked on.
        """
        if self.status(run_id).state == "running":
            raise _running(run_id)
        folder = self.folder(run_id)
        with self._changed:
            job = self._jobs.get(run_id)
            if job is not None:
                if job not in self._waiting:
                    raise _running(run_id)
                self._waiting.remove(job)
        # Renamed first, so that nobody finds half a run.
        trash = self.root / f".deleted-{run_id}-{secrets.token_hex(4)}"
        try:
            os.rename(folder, trash)
        finally:
            self._records.forget(folder)
            if job is not None:
                self._forget(job)
        shutil.rmtree(trash, ignore_errors=True)

    def folder(self, run_id: str) -> Path:
        """The folder of a run.

        Raises
        ------
        NoSuchRun
            There is none of that name.
        """
        return find_folder(self.root, run_id)

    # -- the waiting line ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        """Keep a place in the queue while a run is made ready for it."""
        with self._changed:
            # A run that an idle worker takes at once does not wait.
            if len(self._waiting) + self._reserved - self._idle >= self.limit:
                raise QueueFull(
                    f"The queue is full: {len(self._waiting)} runs wait.",
                    "Try again later, or start the server with a higher --max-queue.",
                )
            self._reserved += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= 1

    def _append(self, job: Job) -> None:
        with self._changed:
            self._waiting.append(job)
            self._touch_waiting()

    def _forget(self, job: Job) -> None:
        with self._changed:
            if self._jobs.get(job.run_id) is job:
                del self._jobs[job.run_id]
            self._touch_waiting()

    def _touch_waiting(self) -> None:
        """Tell everybody; places in the queue have changed."""
        for job in self._waiting:
            job.version += 1
        self._changed.notify_all()

    def _gone(self, job: Job, timeout: float) -> bool:
        """Wait until a job has ended. Returns whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._jobs.get(job.run_id) is not job, timeout)

    def _take_up(self) -> None:
        """Put what waited or ran when the last server ended back into the queue, in the old order."""
        for run_id in unfinished(self.root, [status.id for status in self.all()]):
            job = Job(run_id)
            self._jobs[run_id] = job
            self._waiting.append(job)

    # -- the workers -----------------------------------------------------------------------------------------------

    def _work(self, device: str) -> None:
        """One device's worker."""
        while (job := self._next()) is not None:
            try:
                work_on(job, self.root / job.run_id, device, self._changed, lambda: self._stopping)
            finally:
                self._forget(job)

    def _next(self) -> Job | None:
        """The next run to work on, once there is one; ``None`` at the end."""
        with self._changed:
            self._idle += 1
            try:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
            finally:
                self._idle -= 1
            if self._stopping:
                return None
            job = self._waiting.popleft()
            job.state = "running"
            job.version += 1
            self._touch_waiting()
            return job


def _running(run_id: str) -> WrongState:
    return WrongState(f"Run {run_id} is running: it cannot be deleted.", "Cancel it first.")


__all__ = ["JobQueue", "JobStatus", "NoSuchRun", "QueueFull", "WrongState"]
