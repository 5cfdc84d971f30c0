"""Finished segments on disk: what a run that was killed does not have to draw again.

A segment is one zip file of PNG pictures (lossless, and anybody can look at them) with an ``index.json``:

``NNNNNN.png``
    the finished picture inside the box of what changed, RGB plus the new person's alpha
``index.json``
    ``{"start", "end", "boxes": {"NNNNNN": [x0, y0, x1, y1]}}``; a frame without a box is the source's own

The file is written under another name and put in place whole when the segment is finished.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from core.errors import ResourceError
from core.types import Segment


@dataclass(frozen=True)
class Patch:
    """The part of a finished frame that differs from the source."""

    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in source pixels, end exclusive."""
    rgb: np.ndarray
    """(h, w, 3) uint8, the finished picture."""
    alpha: np.ndarray
    """(h, w) uint8, the new person's alpha times 255."""

    def paste(self, frame: np.ndarray) -> None:
        """Put the patch into a frame, in place."""
        x0, y0, x1, y1 = self.box
        frame[y0:y1, x0:x1] = self.rgb


def segment_file(folder: Path, index: int) -> Path:
    """Where the checkpoint of a segment stands."""
    return folder / f"segment_{index:03d}.zip"


class SegmentWriter:
    """Collects the patches of one segment. Used as a context manager; leaving it without an error finishes the file."""

    def __init__(self, path: Path, segment: Segment) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._segment = segment
        self._boxes: dict[str, tuple[int, int, int, int]] = {}
        self._zip: zipfile.ZipFile | None = None

    def __enter__(self) -> SegmentWriter:
        # PNG is compressed already.
        self._zip = zipfile.ZipFile(self._part, "w", zipfile.ZIP_STORED)
        return self

    def add(self, frame: int, patch: Patch) -> None:
        """Store the patch of one frame."""
        assert self._zip is not None, "use the writer as a context manager"
        bgra = np.dstack([patch.rgb[..., ::-1], patch.alpha])
        done, data = cv2.imencode(".png", bgra, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise ResourceError(f"Frame {frame} could not be packed as PNG.")
        name = f"{frame:06d}"
        self._zip.writestr(f"{name}.png", data.tobytes())
        self._boxes[name] = patch.box

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._zip is not None
        if kind is None:
            index = {"start": self._segment.start, "end": self._segment.end, "boxes": self._boxes}
            self._zip.writestr("index.json", json.dumps(index))
        self._zip.close()
        if kind is not None:
            self._part.unlink(missing_ok=True)
            return
        with self._part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self._part, self._path)


class SegmentReader:
    """Reads the patches of a finished segment."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        index = json.loads(self._zip.read("index.json"))
        self.start, self.end = int(index["start"]), int(index["end"])
        self._boxes = {int(name): tuple(box) for name, box in index["boxes"].items()}

    def patch(self, frame: int) -> Patch | None:
        """The patch of one frame; ``None`` where the frame is the source's own."""
        box = self._boxes.get(frame)
        if box is None:
            return None
        data = np.frombuffer(self._zip.read(f"{frame:06d}.png"), np.uint8)
        bgra = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        return Patch(box, np.ascontiguousarray(bgra[..., 2::-1]), bgra[..., 3])

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def is_finished(path: Path, segment: Segment) -> bool:
    """Whether a checkpoint is there, readable, and of this very segment."""
    if not path.is_file():
        return False
    try:
        reader = SegmentReader(path)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        return False
    reader.close()
    return (reader.start, reader.end) == (segment.start, segment.end)
