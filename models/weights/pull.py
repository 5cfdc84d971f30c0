"""Fetching a set: what is missing is found first, then fetched several files at a time, each continued where it stopped.

A file is put in place only when its digest is right, so every file of a set is whole or absent.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, ModelUnavailable, ResourceError, UnderstudyError
from models.weights import hub
from models.weights.github import GitHub
from models.weights.manifest import DAMAGED, Digest, FileRecord, Manifest, Meter
from models.weights.store import by_hand_help, state_of
from models.weights.table import WeightSet

#: Files that are fetched at the same time.
AT_ONCE = 4
#: Tries in a row without a single new byte before a file is given up, and seconds of the first pause between them.
TRIES, FIRST_PAUSE = 5, 0.5
#: What must be free beyond what is fetched.
SPARE = 0.05


@dataclass(frozen=True)
class Plan:
    """What a pull will do."""

    row: WeightSet
    folder: Path
    """The set's folder."""
    manifest: Manifest
    wanted: tuple[FileRecord, ...]
    """Files that are not there yet."""

    @property
    def total(self) -> int:
        """Bytes of all files that are wanted."""
        return sum(file.size for file in self.wanted)

    @property
    def bytes_to_fetch(self) -> int:
        """What is still to come, started files counted from where they stopped."""
        return sum(file.size - started(self.folder, file) for file in self.wanted)


def part_of(folder: Path, file: FileRecord) -> Path:
    """Where a file grows. The digest is in the name: a part of another version is never continued."""
    path = folder / file.path
    return path.with_name(f"{path.name}.{(file.sha256 or file.git or '')[:12]}.part")


def started(folder: Path, file: FileRecord) -> int:
    """Bytes of a file that have come."""
    try:
        return min(part_of(folder, file).stat().st_size, file.size)
    except OSError:
        return 0


def source_of(row: WeightSet, folder: Path) -> hub.Hub | GitHub:
    """Where a set comes from; ``folder`` is the set's own."""
    return GitHub(row, folder) if row.github is not None else hub.Hub(row)


def make_plan(row: WeightSet, cache: Path | None = None, meter: Meter = lambda _count: None) -> Plan:
    """See what of a set is missing. Asks where it comes from only if no manifest says it.

    Parameters
    ----------
    meter:
        Told the bytes of the list, which may be an archive of several megabytes; may raise to stop.

    Raises
    ------
    ModelUnavailable
        The user has to put the files in place; no network; offline mode; a repository that is gated or gone.
    UnderstudyError
        A repository does not hold what the table says.
    """
    state = state_of(row, cache)
    if state.status == "by hand":
        raise ModelUnavailable(
            f"The weights {row.name} are licensed and cannot be fetched for you.", by_hand_help(row, state.folder)
        )
    manifest = Manifest.load(state.folder)
    if state.status != "ready":
        from huggingface_hub import constants

        if constants.is_offline_mode():
            raise hub.offline(row)
        if manifest is None or manifest.request != row.request:
            # Files that lie there already and turn out right are kept.
            files = source_of(row, state.folder).list_files(meter)
            return Plan(row, state.folder, Manifest(row.request, files), files)
    files = () if manifest is None else manifest.files
    wanted = tuple(file for file in files if file.path in state.lacking)
    return Plan(row, state.folder, manifest or Manifest(row.request, ()), wanted)


def check_disk(plans: Sequence[Plan]) -> None:
    """See whether there is room for all of them.

    Raises
    ------
    ResourceError
        Too little is free.
    """
    need = sum(plan.bytes_to_fetch for plan in plans) * (1 + SPARE)
    if not need:
        return
    place = plans[0].folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < need:
        names = ", ".join(plan.row.name for plan in plans)
        raise ResourceError(
            f"The weights {names} need {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {place}.",
            "Free some space, or choose another disk with --cache DIR.",
        )


def pull(plan: Plan, meter: Meter, check: Callable[[], None]) -> None:
    """Fetch what a plan wants.

    Parameters
    ----------
    meter:
        Told the bytes that came, from several threads, one at a time.
    check:
        Called often; raises to stop. What has come is kept.

    Raises
    ------
    InputError
        Another process fetches the same set, or the folder cannot be written.
    ModelUnavailable, ResourceError, UnderstudyError
        See :func:`models.weights.hub.plain_errors`.
    """
    if not plan.wanted:
        return
    with _lock(plan.folder):
        _Pull(plan, meter, check).run()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}).", "Choose another with --cache DIR."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another process is fetching {folder.name}.", "Wait for it.") from error
        yield


class _Pull:
    """One pull at work."""

    def __init__(self, plan: Plan, meter: Meter, check: Callable[[], None]) -> None:
        self._plan, self._meter, self._check = plan, meter, check
        self._manifest = plan.manifest
        self._source = source_of(plan.row, plan.folder)
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        self._manifest.save(self._plan.folder)
        self._source.begin(self._plan.wanted)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            jobs = [pool.submit(self._fetch, file) for file in self._plan.wanted]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
                for leftover in self._plan.folder.rglob("*.part"):
                    leftover.unlink()
                self._source.finish()
            finally:
                # Whatever ended this: nothing new is begun, and what runs stops at its next piece.
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, file: FileRecord) -> None:
        with self._source.plain_errors(file.repository):
            target = self._plan.folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not self._keep(file, target):
                part = part_of(self._plan.folder, file)
                continued = started(self._plan.folder, file) > 0
                digest = self._download(file, part)
                if not digest.is_right and continued:
                    # The old bytes may be at fault, say after a power cut: once more from the start.
                    part.unlink()
                    self._count(-file.size)
                    digest = self._download(file, part)
                if not digest.is_right:
                    part.unlink()
                    raise UnderstudyError(
                        f"{file.source} of {file.repository} did not arrive as it was announced.",
                        f"Run again: {self._plan.row.command}",
                    )
                _put_in_place(part, target)
                self._note(file, digest)
            target.with_name(target.name + DAMAGED).unlink(missing_ok=True)

    def _keep(self, file: FileRecord, target: Path) -> bool:
        """Whether a file that is there without a manifest is already right."""
        if not target.is_file() or target.stat().st_size != file.size:
            return False
        digest = Digest(file)
        digest.read(target, lambda _count: self._go_on())
        if not digest.is_right:
            return False
        self._count(file.size)
        self._note(file, digest)
        return True

    def _download(self, file: FileRecord, part: Path) -> Digest:
        """Fetch a file into its part, going on after broken connections. Returns the digest of all of it."""
        failures = 0
        while True:
            before = part.stat().st_size if part.is_file() else 0
            try:
                digest = self._stream_into(file, part)
                if digest is not None:
                    return digest
                problem: Exception | None = None
            except Exception as error:
                if not self._source.is_passing(error):
                    raise
                problem = error
            failures = 0 if part.stat().st_size > before else failures + 1
            if failures >= TRIES:
                raise problem or UnderstudyError(f"The hub sends only part of {file.source}.", "Try later.")
            self._pause(FIRST_PAUSE * 2**failures)

    def _stream_into(self, file: FileRecord, part: Path) -> Digest | None:
        """One connection's worth. Returns the digest, or ``None`` if the file is not complete."""
        digest = Digest(file)
        with part.open("ab") as out:
            if out.tell() > file.size:
                out.truncate(0)
            start = out.tell()
            if start:
                digest.read(part, lambda _count: self._go_on())
            if start < file.size:
                for anew, piece in self._source.stream(file, start):
                    if anew:
                        self._count(-start)
                        out.truncate(0)
                        digest = Digest(file)
                    out.write(piece)
                    digest.update(piece)
                    self._count(len(piece))
                    if out.tell() > file.size:
                        break
            out.flush()
            os.fsync(out.fileno())
            return digest if out.tell() >= file.size else None

    def _note(self, file: FileRecord, digest: Digest) -> None:
        """Fill in the SHA-256 of a file that the hub knows by git's digest only."""
        with self._lock:
            if file.sha256 is None:
                self._manifest = self._manifest.with_sha256(file.path, digest.sha256)
                self._manifest.save(self._plan.folder)

    def _count(self, count: int) -> None:
        self._go_on()
        with self._lock:
            self._meter(count)

    def _go_on(self) -> None:
        """Raise if this pull is to stop."""
        if self._stop.is_set():
            raise UnderstudyError("Stopped because another file failed.")
        self._check()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._go_on()
            time.sleep(0.1)


def _put_in_place(part: Path, target: Path) -> None:
    os.replace(part, target)
    # The name has to survive a power cut as well as the bytes.
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
