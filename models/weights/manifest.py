"""What a set's folder must hold, file by file, as the hub announced it. Written beside the files, so it moves with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from core.runs import write_bytes

#: Name of the file in the set's folder.
MANIFEST = "manifest.json"
#: A file that failed its check is set aside under this ending.
DAMAGED = ".damaged"
#: Bytes that are hashed between two calls of a meter.
PIECE = 1 << 20

#: Called with the number of bytes just read or written; may raise to stop.
Meter = Callable[[int], None]


@dataclass(frozen=True)
class FileRecord:
    """One file of a set."""

    path: str
    """Where it lies in the set's folder."""
    size: int
    """Bytes."""
    repository: str
    """``owner/name`` on the hub."""
    commit: str
    """Commit of the repository that it is taken from."""
    source: str
    """Its path in the repository."""
    sha256: str | None = None
    """Hex digest: from the table or the hub; of small files, which the hub knows by git's digest, as they arrived."""
    git: str | None = None
    """Git's SHA-1 of the blob, of files that the hub keeps in git itself."""
    lfs: bool = False
    """Of files from GitHub: whether it comes from the large-file storage, not in the archive."""


class Digest:
    """Running digest of what should be one file of a set."""

    def __init__(self, file: FileRecord) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        # Git's name of a blob: how the hub knows the small files that it keeps in git itself.
        self._git = None if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        """Add bytes."""
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)

    def read(self, path: Path, meter: Meter | None = None) -> None:
        """Add all of a file on disk."""
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                self.update(piece)
                if meter is not None:
                    meter(len(piece))

    @property
    def sha256(self) -> str:
        """Hex digest so far."""
        return self._sha256.hexdigest()

    @property
    def is_right(self) -> bool:
        """Whether the bytes so far are the whole file as it was announced."""
        if self._git is not None:
            return self._git.hexdigest() == self._file.git
        return self.sha256 == self._file.sha256


@dataclass(frozen=True)
class Manifest:
    """All files of a set."""

    request: str
    """What the table asked for when it was written, as :attr:`models.weights.table.WeightSet.request`."""
    files: tuple[FileRecord, ...]

    def with_sha256(self, path: str, sha256: str) -> Manifest:
        """The same with one file's digest filled in."""
        files = tuple(replace(f, sha256=sha256) if f.path == path else f for f in self.files)
        return replace(self, files=files)

    def save(self, folder: Path) -> None:
        """Write it into a set's folder, whole or not at all."""
        write_bytes(folder / MANIFEST, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @staticmethod
    def load(folder: Path) -> Manifest | None:
        """Read it from a set's folder; ``None`` where there is none, or none that can be read: the next pull writes it
        anew and keeps the files that are right."""
        try:
            content = json.loads((folder / MANIFEST).read_bytes())
            return Manifest(content["request"], tuple(FileRecord(**entry) for entry in content["files"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
