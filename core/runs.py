"""A run is a folder: everything that a run knows lives there, and every file in it is complete or absent."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.errors import InputError
from core.masks import MaskArchive

#: Where run folders are filled that become visible when they are whole.
STAGING = ".staging"

#: How often a run's lock is tried, a twentieth of a second apart.
LOCK_TRIES = 4

RunState = Literal["queued", "running", "done", "failed", "cancelled"]


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Have ``write`` fill a file beside ``path``, then put it in place: readers see the old file or the new one whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""

    def write(part: Path) -> None:
        part.write_bytes(content)

    write_atomically(path, write)


def link_or_copy(file: Path, place: Path) -> None:
    """Give a file a second place: a hard link, or a copy where the file systems differ."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)


class RunFolder:
    """One run's folder. Made by :meth:`create`, found again by :meth:`open`. Several threads may add to its record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.RLock()
        self.record: dict[str, Any] = {}

    # -- life ------------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, root: Path, *, kind: str, source: Path, settings: dict[str, Any]) -> RunFolder:
        """A new folder under ``root``, named by time, clip and a random tail.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", source.stem.lower()).strip("-")[:24] or "clip"
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}-{secrets.token_hex(2)}"
        run = cls(root / run_id)
        try:
            (run.path / "segments").mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"The output folder {root} cannot be written ({error.strerror}).", "Choose another with --output DIR."
            ) from error
        run.record = {
            "id": run_id,
            "kind": kind,
            "state": "queued",
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "source": str(source.resolve()),
            "settings": settings,
            "stages": {},
            "vram_mb": {},
            "metrics": {},
            "warnings": [],
        }
        run.save()
        return run

    @classmethod
    @contextmanager
    def staged(
        cls, root: Path, *, kind: str, source: Path, settings: dict[str, Any], name: str = ""
    ) -> Iterator[RunFolder]:
        """As :meth:`create`, but out of sight while the block fills it: it is put in place whole, or not at all.

        ``name`` names the folder; empty takes the run's id.
        """
        run = cls.create(root / STAGING, kind=kind, source=source, settings=settings)
        try:
            yield run
            target = root / (name or run.path.name)
            os.rename(run.path, target)
            run.path = target
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)
            raise

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run in an existing folder.

        Raises
        ------
        InputError
            The folder holds no run, or its ``run.json`` is damaged.
        """
        file = path / "run.json"
        if not file.is_file():
            raise InputError(f"{path} is not a run folder: it has no run.json.", "Give the folder that a run printed.")
        run = cls(path)
        try:
            run.record = json.loads(file.read_text(encoding="utf-8"))
            run.record["settings"], run.record["source"], run.record["state"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise InputError(f"{file} is damaged ({error!r}).", "Start the run anew.") from error
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises
        ------
        InputError
            Another process works on it.
        """
        with (self.path / ".lock").open("w") as file:
            for left in reversed(range(LOCK_TRIES)):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if not left:
                        raise InputError(
                            f"Run {self.path.name} is being worked on by another process.", "Wait for it."
                        ) from error
                    # Somebody who only looks whether it is held, holds it for a moment.
                    time.sleep(0.05)
            yield

    @property
    def source(self) -> Path:
        """The clip: where it lay when the run was made, or inside the folder for a run that owns its clip."""
        return self.path / str(self.record["source"])

    # -- run.json --------------------------------------------------------------------------------------------------

    def update(self, **values: Any) -> None:
        """Change entries of ``run.json`` and write it."""
        with self._writing:
            self.record.update(values)
            self.save()

    def warn(self, text: str) -> None:
        """Note something that did not go the plain way (once)."""
        with self._writing:
            if text not in self.record["warnings"]:
                self.record["warnings"].append(text)
                self.save()

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add to a stage's time; written with the next :meth:`update`."""
        with self._writing:
            stages = self.record["stages"]
            stages[stage] = round(stages.get(stage, 0.0) + seconds, 3)

    def add_vram(self, stage: str, peak_mb: float | None) -> None:
        """Keep the most graphics memory that a stage took, MB; ``None`` without a card."""
        if peak_mb is None:
            return
        with self._writing:
            # Folders of earlier versions have no such entry.
            peaks = self.record.setdefault("vram_mb", {})
            peaks[stage] = max(peaks.get(stage, 0.0), round(peak_mb, 1))

    def save(self) -> None:
        """Write ``run.json`` atomically."""
        with self._writing:
            text = json.dumps(self.record, indent=2, default=str) + "\n"
            write_atomically(self.path / "run.json", lambda part: _write_text(part, text))

    # -- other files -----------------------------------------------------------------------------------------------

    def file(self, name: str) -> Path:
        """Path of a file in the folder."""
        return self.path / name

    def has(self, name: str) -> bool:
        """Whether a file is there; since files are put in place whole, it is complete then."""
        return self.file(name).is_file()

    def save_arrays(self, name: str, **arrays: np.ndarray | MaskArchive) -> None:
        """Write an ``.npz``; mask archives are streamed, so that the packed array is never whole in memory."""
        write_atomically(self.file(name), lambda part: _write_npz(part, arrays))

    def save_json(self, name: str, content: Any) -> None:
        """Write a JSON file."""
        self.save_text(name, json.dumps(content) + "\n")

    def save_text(self, name: str, text: str) -> None:
        """Write a text file (UTF-8)."""
        write_atomically(self.file(name), lambda part: _write_text(part, text))

    def save_bytes(self, name: str, content: bytes) -> None:
        """Write a file of any kind."""
        write_bytes(self.file(name), content)

    def load_arrays(self, name: str) -> dict[str, np.ndarray]:
        """All arrays of an ``.npz`` (no pickles)."""
        with np.load(self.file(name), allow_pickle=False) as data:
            return {key: data[key] for key in data.files}


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)


def _write_npz(path: Path, arrays: dict[str, np.ndarray | MaskArchive]) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if isinstance(array, MaskArchive):
                    header = {"descr": "|u1", "fortran_order": False, "shape": array.shape}
                    np.lib.format.write_array_header_1_0(member, header)
                    for frame in array:
                        member.write(frame.tobytes())
                else:
                    np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def read_mask_archive(path: Path, name: str, width: int) -> MaskArchive:
    """A packed ``(T, H, ceil(W/8))`` uint8 array of an ``.npz`` as an archive, read frame by frame."""
    import zipfile

    with zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as member:
        np.lib.format.read_magic(member)
        (count, height, row), _, _ = np.lib.format.read_array_header_1_0(member)
        archive = MaskArchive(height, width)
        for _ in range(count):
            archive.append_packed(np.frombuffer(member.read(height * row), np.uint8).reshape(height, row))
    return archive


def list_runs(root: Path) -> list[RunFolder]:
    """All runs under a folder, newest first; folders that hold no readable run are passed over."""
    runs = []
    for file in root.glob("*/run.json"):
        try:
            runs.append(RunFolder.open(file.parent))
        except InputError:
            continue  # a folder that somebody put there; it is not ours to complain about
    return sorted(runs, key=lambda run: run.record.get("created", ""), reverse=True)
