"""What the readers of MakeHuman's text files share: lines, numbers, paths, and errors that name the file and the line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from core.errors import InputError

#: First line of what git leaves in place of a large file that was not fetched.
POINTER_START = b"version https://git-lfs.github.com/spec/"
#: Files larger than this are no garment: something else was named, bytes.
LARGEST_TEXT = 200_000_000


def bad(path: Path, line: int | None, problem: str, remedy: str = "") -> InputError:
    """The error for a file that is not right; ``line`` counts from 1."""
    where = f"{path}, line {line}" if line is not None else str(path)
    return InputError(f"{where}: {problem}.", remedy or "Mend the file, or get it anew from where it came from.")


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, with or without a mark at its start, else Latin-1, as old tools wrote it.

    Raises
    ------
    core.errors.InputError
        The file is missing, cannot be read, holds no text, or is only the pointer to a large file.
    """
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise bad(path, None, "the file is too large to be part of a garment", "Check which file is named.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise bad(path, None, "there is no such file", "Check the path.") from None
    except OSError as error:
        raise bad(path, None, f"it cannot be read ({error.strerror})", "Check the path and its permissions.") from None
    if data.startswith(POINTER_START):
        raise bad(path, 1, "this is a pointer to a large file, not the file itself", "Fetch it with: git lfs pull")
    if b"\0" in data:
        raise bad(
            path, data[: data.index(b"\0")].count(b"\n") + 1, "this is no text file", "Check which file is named."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def lines_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each line with content: its number from 1 and its words. Comments (``#``, ``//``) are left out."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith(("#", "//")):
            yield number, words


def integer(path: Path, line: int, word: str, what: str) -> int:
    """``word`` as a whole number, or an error that says what it should have been."""
    try:
        return int(word)
    except ValueError:
        raise bad(path, line, f"{word!r} is no {what}") from None


def number(path: Path, line: int, word: str, what: str) -> float:
    """``word`` as a finite number, or an error that says what it should have been."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad(path, line, f"{word!r} is no {what}")
    return value


def beside(folder: Path, name: str) -> Path | None:
    """The file that a garment's file calls ``name``, or ``None`` where there is none.

    Names may have been written on Windows (backslashes, another case, a drive letter): the path is followed from
    ``folder`` without regard to case, and if it leads nowhere, its last part is looked for in ``folder`` itself.
    """
    parts = [part for part in name.strip().strip('"').replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return None
    for tried in (parts, parts[-1:]):
        found: Path | None = folder
        for part in tried:
            found = _child(found, part) if found is not None else None
        if found is not None and found.is_file():
            return found
    return None


def _child(folder: Path, name: str) -> Path | None:
    if name == "..":
        return folder.parent
    exact = folder / name
    if exact.exists():
        return exact
    if not folder.is_dir():
        return None
    wanted = name.casefold()
    return next((entry for entry in sorted(folder.iterdir()) if entry.name.casefold() == wanted), None)
