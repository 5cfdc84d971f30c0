"""Reading clips lazily, and running any frame iterator ahead in the background."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import av
import cv2
import numpy as np

from core.types import VideoInfo
from utils.video_color import rgb_from_frame
from utils.video_probe import cut_off, open_video

T = TypeVar("T")

_CV_ROTATION = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class VideoReader:
    """A clip as frames: in order with :meth:`frames`, some of them with :meth:`at`. Memory does not grow with length.

    Each call opens the file for itself, so several may run side by side. Frames are (H, W, 3) uint8 RGB, turned as
    the clip is displayed, and exactly those that ``info.pts`` announces: a clip that turns out to be damaged raises
    :class:`core.errors.InputError` at the frame.

    Parameters
    ----------
    info:
        The clip, as :func:`utils.video_probe.probe` described it.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.backend = "pyav"

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the decoder of :meth:`at`."""

    def __len__(self) -> int:
        return self.info.frame_count

    def frames(self, start: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """The frames ``start`` to ``end`` (exclusive; ``None``: to the last) in order, decoded as they are asked for."""
        end = len(self) if end is None else end
        _check_range(start, end, len(self))
        return (rgb for _, rgb in self._decoded(range(start, end)))

    def at(self, indices: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """``(index, rgb)`` for indices that increase; what lies between is skipped by seeking where that pays."""
        wanted = [int(index) for index in indices]
        if any(b <= a for a, b in itertools.pairwise(wanted)):
            raise ValueError("indices must increase")
        if wanted:
            _check_range(wanted[0], wanted[-1] + 1, len(self))
        return self._decoded(wanted)

    def frame(self, index: int) -> np.ndarray:
        """One frame."""
        return next(self.at([index]))[1]

    def _decoded(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        with open_video(self.info.path) as (container, stream):
            cursor = _Cursor(self.info, container, stream)
            for index in wanted:
                yield index, self._rgb(cursor.move_to(index))

    def _rgb(self, frame: av.VideoFrame) -> np.ndarray:
        rgb = rgb_from_frame(frame)
        turn = _CV_ROTATION.get(self.info.rotation)
        return rgb if turn is None else cv2.rotate(rgb, turn)


class _Cursor:
    """Walks a decoder over a clip by frame index; goes only forward."""

    def __init__(self, info: VideoInfo, container: Any, stream: Any) -> None:
        self._info, self._container, self._stream = info, container, stream
        self._key_frames = sorted(int(e.timestamp) for e in stream.index_entries if e.is_keyframe)
        self._next = 0
        self._decoded: Iterator[av.VideoFrame] = container.decode(stream)

    def move_to(self, index: int) -> av.VideoFrame:
        """The frame ``index``, which is not before the last one asked for."""
        if self._seek_pays(index):
            self._seek(index)
        while True:
            frame = self._take()
            if self._next - 1 == index:
                return frame

    def _seek_pays(self, index: int) -> bool:
        """Whether a key frame lies between the frame that comes next and the wanted one."""
        low, high = self._info.pts[min(self._next, len(self._info.pts) - 1)], self._info.pts[index]
        return index > self._next and any(low < key <= high for key in self._key_frames)

    def _seek(self, index: int) -> None:
        """Go to the key frame before ``index``; to the start where the container cannot find it."""
        pts = self._info.pts
        for target in (int(pts[index]), int(pts[0])):
            self._container.seek(target, stream=self._stream)
            decoded = self._container.decode(self._stream)
            first = next(decoded, None)
            if first is None or first.pts is None:
                continue
            found = int(np.searchsorted(pts, first.pts))
            if found <= index and pts[found] == first.pts:
                self._decoded, self._next = itertools.chain([first], decoded), found
                return
        raise cut_off(self._info.path, index, len(pts))

    def _take(self) -> av.VideoFrame:
        """The next frame of the decoder, checked against the stamp that was announced for it."""
        info, index = self._info, self._next
        try:
            frame = next(self._decoded, None)
        except av.FFmpegError as error:
            raise cut_off(info.path, index, info.frame_count) from error
        stray = frame is not None and frame.pts is not None and index < info.frame_count and frame.pts != info.pts[index]
        if frame is None or frame.is_corrupt or stray:
            raise cut_off(info.path, index, info.frame_count)
        self._next += 1
        return frame


def _check_range(start: int, end: int, count: int) -> None:
    if not 0 <= start <= end <= count:
        raise ValueError(f"frames {start}..{end} are not within the clip's {count} frames")


def prefetch(iterator: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Run ``iterator`` in a background thread, at most ``depth`` items ahead.

    Errors of the iterator are raised where its item is taken. Closing the generator (or leaving it to be collected)
    stops the thread and closes the iterator.
    """
    items: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=max(depth, 1))
    stopped = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                items.put((kind, value), timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        source = iter(iterator)
        try:
            for item in source:
                if not put("item", item):
                    break
            else:
                put("end", None)
        except BaseException as error:  # handed over to the consumer, which raises it
            put("error", error)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def consume() -> Generator[T, None, None]:
        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            while True:
                kind, value = items.get()
                if kind == "end":
                    return
                if kind == "error":
                    raise value
                yield value
        finally:
            stopped.set()
            thread.join()

    return consume()
