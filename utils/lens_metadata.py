"""What a clip's own metadata say of its lens."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utils.video_probe import open_video

#: The key under which phones and cameras write the focal length; Apple's stands with the video track.
_KEY = "camera.focal_length.35mm_equivalent"
#: Diagonal of a 35 mm frame of film, millimetres.
_FILM_DIAGONAL = float(np.hypot(36.0, 24.0))
#: Values beyond these are no lens, millimetres.
_SHORTEST, _LONGEST = 8.0, 800.0
#: How numbers are stored in QuickTime metadata, by the type code.
_NUMBERS = {
    23: ">f", 24: ">d", 65: ">b", 66: ">h", 67: ">i", 74: ">q", 75: ">B", 76: ">H", 77: ">I", 78: ">Q",
}  # fmt: skip
#: Boxes that hold boxes.
_PARENTS = (b"moov", b"trak", b"udta", b"meta")
#: The most that is read of one box of metadata.
_MOST_BYTES = 1 << 20


def focal_length_35mm(path: Path) -> float | None:
    """The focal length in millimetres of the lens that would see as much on 35 mm film; ``None`` where a clip does not tell.

    Read from QuickTime and MP4 files (``com.apple.quicktime.camera.focal_length.35mm_equivalent``, of the file or of a
    track), and from the tags of other containers under a key that ends alike.

    Raises
    ------
    core.errors.InputError
        The file is no video.
    """
    with open_video(path) as (container, stream):
        for name, value in {**container.metadata, **stream.metadata}.items():
            if name.lower().endswith(_KEY) and (length := _length_of(str(value))) is not None:
                return length
    with path.open("rb") as file:
        if file.read(8)[4:8] not in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
            return None
        file.seek(0, 2)
        for value in _values(file, 0, file.tell()):
            if (length := _length_of(value)) is not None:
                return length
    return None


def focal_pixels(length_35mm: float, size: tuple[int, int]) -> float:
    """Focal length in pixels of pictures of ``(width, height)``: the same angle across the diagonal as on film."""
    return length_35mm * float(np.hypot(*size)) / _FILM_DIAGONAL


def _length_of(value: str) -> float | None:
    """Millimetres from ``26``, ``26.0`` or ``26.00mm``; ``None`` where that is no lens."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:mm)?\s*", value)
    length = float(match.group(1)) if match else 0.0
    return length if _SHORTEST <= length <= _LONGEST else None


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the contents of the boxes between two places of a file."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head[:8])
        skip = 8
        if size == 1 and len(head) == 16:
            size, skip = struct.unpack(">Q", head[8:])[0], 16
        elif size == 0:
            size = end - start
        if size < skip or start + size > end:
            return
        yield kind, start + skip, start + size
        start += size


def _values(file: BinaryIO, start: int, end: int) -> Iterator[str]:
    """Values of the key in all metadata between two places."""
    keys: list[str] = []
    for kind, first, last in _boxes(file, start, end):
        if kind in _PARENTS:
            yield from _values(file, _inside(file, kind, first), last)
        elif last - first > _MOST_BYTES:
            continue
        elif kind == b"keys":
            file.seek(first + 8)
            keys = _names(file.read(last - first - 8))
        elif kind == b"ilst":
            for index, item, item_end in _boxes(file, first, last):
                number = int.from_bytes(index, "big")
                if 1 <= number <= len(keys) and keys[number - 1].lower().endswith(_KEY):
                    yield from _data(file, item, item_end)


def _inside(file: BinaryIO, kind: bytes, first: int) -> int:
    """Where a box's boxes begin: MP4 puts version and flags before those of ``meta``, QuickTime does not."""
    if kind != b"meta":
        return first
    file.seek(first)
    return first if file.read(8)[4:8] in (b"hdlr", b"keys") else first + 4


def _names(content: bytes) -> list[str]:
    names = []
    while len(content) >= 8:
        size = struct.unpack(">I", content[:4])[0]
        if size < 8:
            break
        names.append(content[8:size].decode("utf-8", "replace"))
        content = content[size:]
    return names


def _data(file: BinaryIO, start: int, end: int) -> Iterator[str]:
    for kind, first, last in _boxes(file, start, end):
        if kind != b"data":
            continue
        file.seek(first)
        content = file.read(last - first)
        code, value = struct.unpack(">I", content[:4])[0], content[8:]
        form = _NUMBERS.get(code)
        if code == 1:
            yield value.decode("utf-8", "replace")
        elif code in (21, 22) and len(value) in (1, 2, 3, 4):
            yield str(int.from_bytes(value, "big", signed=code == 21))
        elif form is not None and len(value) == struct.calcsize(form):
            yield str(float(struct.unpack(form, value)[0]))
