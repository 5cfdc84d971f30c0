"""A folder as a zip that is made while it is sent: nothing of it is ever whole in memory or on disk."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Bytes that are read at a time.
PIECE = 1 << 20


class _Sink(io.RawIOBase):
    """Takes what the zip's writer writes until it is fetched."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def fetch(self) -> bytes:
        """What was written since the last call."""
        content, self._waiting = bytes(self._waiting), bytearray()
        return content


def zipped(folder: Path) -> Iterator[bytes]:
    """The pieces of a zip of all files in a folder and below, by name; links are left out."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_symlink() or not file.is_file():
                continue
            entry = zipfile.ZipInfo.from_file(file, file.relative_to(folder.parent))
            entry.compress_type = zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(entry, "w") as member:
                while piece := source.read(PIECE):
                    member.write(piece)
                    yield sink.fetch()
    yield sink.fetch()
