"""One server works in an output folder at a time."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import TextIO

from core.errors import InputError

#: Uploads on their way into a run folder.
UPLOADS = ".uploads"
#: What previews are made from.
PREVIEWS = ".previews"

#: What a server that died may have left behind.
_LEFTOVERS = (".staging", ".deleted-*", UPLOADS, PREVIEWS)


class Claim:
    """An output folder held for this process, by a lock that ends with it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()


def claim(root: Path) -> Claim:
    """Hold an output folder; it is made when it is not there.

    Raises
    ------
    InputError
        It cannot be written, or another server works in it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / ".server.lock").open("w")
    except OSError as error:
        raise InputError(
            f"The output folder {root} cannot be written ({error.strerror}).", "Choose another with --output DIR."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(
            f"Another Understudy server works in {root}.", "Stop it, or choose another folder with --output DIR."
        ) from error
    return Claim(file)


def sweep(root: Path) -> None:
    """Remove what a server that died left half done."""
    for pattern in _LEFTOVERS:
        for path in root.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
