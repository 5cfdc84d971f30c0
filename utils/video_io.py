"""Reading clips lazily, and running any frame iterator ahead in the background."""

from __future__ import annotations

import itertools
import queue
import threading
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Literal, TypeVar

import av
import cv2
import numpy as np

from core.errors import InputError
from core.types import VideoInfo
from utils.video_color import rgb_from_frame
from utils.video_probe import cut_off, open_video

T = TypeVar("T")

#: Frames that are rather decoded than jumped over where the positions of the key frames are not known.
_LONG_WAY = 120

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
    exact:
        ``True``: colours are exact, by PyAV. ``False``: colours may be off by two levels, for looking only (detection,
        thumbnails); :meth:`frames` then takes decord where that yields the same frames, as it decodes ahead by itself.

    Attributes
    ----------
    backend:
        ``pyav`` or ``decord``: what :meth:`frames` decodes with.
    """

    # Why decord is not the first choice: it converts colours by truncation (one luma level too dark, so a copy of the
    # clip could not exceed 46 dB), and jumping about costs it 750 MB against PyAV's 110 MB (300 frames of 960x852,
    # every 12th) without being faster. Reading in order it stays as small as PyAV, hence its place in ``frames``.

    def __init__(self, info: VideoInfo, *, exact: bool = True) -> None:
        self.info = info
        self.backend: Literal["pyav", "decord"] = "pyav" if exact or _open_decord(info) is None else "decord"
        self._closed = False

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End what :meth:`frames` and :meth:`at` gave out, also where a thread is reading it: no further frame comes."""
        self._closed = True

    def __len__(self) -> int:
        return self.info.frame_count

    def frames(self, start: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """The frames ``start`` to ``end`` (exclusive; ``None``: all that follow) in order, decoded one by one."""
        end = len(self) if end is None else end
        _check_range(start, end, len(self))
        if self.backend == "decord":
            return self._until_closed(_decord_frames(self.info, start, end))
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

    def _until_closed(self, frames: Iterable[T]) -> Iterator[T]:
        return itertools.takewhile(lambda _: not self._closed, frames)

    def _decoded(self, wanted: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        with open_video(self.info.path) as (container, stream):
            cursor = _Cursor(self.info, container, stream)
            for index in self._until_closed(wanted):
                rgb = rgb_from_frame(cursor.move_to(index))
                turn = _CV_ROTATION.get(self.info.rotation)
                rgb = rgb if turn is None else cv2.rotate(rgb, turn)
                if rgb.shape[:2] != (self.info.height, self.info.width):
                    message = f"{self.info.path} changes its picture size at frame {index}."
                    raise InputError(message, "Convert it to one size first.")
                yield index, rgb


def _open_decord(info: VideoInfo) -> Any | None:
    """A decord reader, or ``None`` where decord would not give PyAV's frames: decided by what the probe found."""
    plain = info.pixel_format == "yuv420p" and info.width % 2 == info.height % 2 == 0 and info.rotation == 0
    # decord reads every matrix as BT.601 unless the stream says BT.709.
    if not (plain and info.constant_rate and info.color.get("space", 2) in (1, 2, 5, 6)):
        return None
    import decord

    try:
        reader = decord.VideoReader(str(info.path.absolute()), num_threads=2)
    except decord.DECORDError:
        return None
    return reader if len(reader) == info.frame_count else None


def _decord_frames(info: VideoInfo, start: int, end: int) -> Iterator[np.ndarray]:
    from decord import DECORDError

    reader = _open_decord(info)
    if reader is None:
        raise cut_off(info.path, 0, info.frame_count)
    if 0 < start < end:
        reader.seek_accurate(start)
    for index in range(start, end):
        try:
            rgb = reader.next().asnumpy()
        except (DECORDError, StopIteration) as error:
            raise cut_off(info.path, index, info.frame_count) from error
        # One level up puts the truncated colours around the exact ones: 0.3 levels off in the mean, 2 at most.
        yield cv2.add(rgb, (1, 1, 1, 0))


class _Cursor:
    """Walks a decoder over a clip by frame index; goes only forward."""

    def __init__(self, info: VideoInfo, container: Any, stream: Any) -> None:
        self._info, self._container, self._stream = info, container, stream
        # Stamps in another unit than the stream's were made up by the probe: the clip has none to check or to seek by.
        self._stamped = info.time_base == stream.time_base
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
        if index <= self._next or not self._stamped:
            return False
        if not self._key_frames:
            # The container keeps no list (or reads it late): a long way is worth a try.
            return index - self._next > _LONG_WAY
        low, high = self._info.pts[self._next], self._info.pts[index]
        return bisect_right(self._key_frames, high) > bisect_right(self._key_frames, low)

    def _seek(self, index: int) -> None:
        """Go to the key frame before ``index``; to the start where the container cannot find it."""
        pts = self._info.pts
        # Some demuxers seek by decoding stamps and land behind the frame: go further back, at last to the start.
        for target in (int(pts[index]), int(pts[max(0, index - _LONG_WAY)]), int(pts[0])):
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
        if frame is None or frame.is_corrupt or (self._stamped and frame.pts != info.pts[index]):
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
        except BaseException as error:  # noqa: BLE001  (handed over to the consumer, which raises it)
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
