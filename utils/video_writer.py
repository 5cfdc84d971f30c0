"""Writing H.264 in MP4 with the source's time stamps, colours and sound."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from core.errors import InputError, ResourceError, UnderstudyError
from utils.audio_copy import AudioCopy
from utils.video_color import FULL_RANGE, UNSPECIFIED, frame_from_rgb, has_matrix

_MAX_TIMESCALE = 2**31 - 1

#: The background must stay the source's own, so bits go where they lower the error: no redistribution for looks (psy,
#: aq), finer chroma. Against the preset's own choice this gains 1 to 2 dB at the same quality number and speed. Without
#: B-frames decoding order is display order, so the stamps in the file are exactly the given ones.
_X264_OPTIONS = {"bf": "0", "x264-params": "psy=0:aq-mode=0:chroma-qp-offset=-4"}


class VideoWriter:
    """An MP4 that appears under its name only when it is whole.

    Use as a context manager. Frames go to a temporary file beside ``path``, which is renamed when the block ends and
    removed when the block fails. Memory stays flat: sound is read and written alongside the frames.

    Even sizes are written as ``yuv420p``. Odd sizes become ``yuv444p``: 4:2:0 cannot hold an odd number of lines or
    columns, and the picture's size must not change; as not every player shows 4:4:4, it is noted in ``warnings``.

    Parameters
    ----------
    path:
        The file to make, ``.mp4``.
    size:
        ``(width, height)`` of the frames as they are given to :meth:`write`.
    rate:
        Average frames per second; the written file reports exactly this rate.
    time_base, pts:
        The source's unit in seconds and its (T,) stamps. Without ``pts`` frames follow each other evenly at ``rate``.
    crf, preset:
        libx264's quality (0 best, 51 worst) and effort.
    audio_from:
        A file whose audio streams are all copied.
    color:
        Colour tags as in ``VideoInfo.color``; also selects the RGB to YUV matrix.
    rotation:
        Clockwise quarter turn of the source, as in ``VideoInfo.rotation``. Frames are given upright; they are stored
        turned back, with the tag that turns them upright, as the source was.

    Raises
    ------
    InputError
        The file cannot be made in this folder, or ``audio_from`` cannot be read.
    ResourceError
        The disk is full or writing fails.
    ValueError
        A frame has another shape, or their number is not that of ``pts``.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        time_base: Fraction | None = None,
        pts: np.ndarray | Sequence[int] | None = None,
        *,
        crf: int = 14,
        preset: str = "superfast",
        audio_from: Path | None = None,
        color: dict[str, int] | None = None,
        rotation: int = 0,
    ) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        self.frames_written = 0
        self._size = (int(size[0]), int(size[1]))
        self._time = _Timing(Fraction(rate), time_base, pts)
        self._turns = rotation // 90 % 4
        self._partial = self.path.with_name(f".{self.path.name}.part")
        self._container = self._open()
        self._audio: AudioCopy | None = None
        try:
            self._stream = self._add_video(crf, preset, color or {}, rotation)
            if audio_from is not None:
                self._audio = AudioCopy(Path(audio_from), self._container)
                # One list for both: the sound may have more to say later on.
                self._audio.warnings[:0] = self.warnings
                self.warnings = self._audio.warnings
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame, (H, W, 3) uint8 RGB, upright."""
        if rgb.shape != (self._size[1], self._size[0], 3) or rgb.dtype != np.uint8:
            raise ValueError(f"a frame of {rgb.shape} {rgb.dtype} does not fit into a video of {self._size} uint8")
        # Positive turns of rot90 are counter-clockwise: the way back from the display.
        stored = np.ascontiguousarray(np.rot90(rgb, self._turns))
        frame = frame_from_rgb(stored, self._space, self._full_range, self._subsampled)
        frame.colorspace, frame.color_range = self._tags["space"], self._tags["range"]
        frame.pts, frame.time_base = self._time.stamp(self.frames_written), self._time.base
        self.frames_written += 1
        self._mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file and give it its name. Without frames, or with too few for ``pts``, nothing is kept."""
        try:
            self._time.check_count(self.frames_written)
            self._mux(self._stream.encode())
            if self._audio is not None:
                self._audio.copy_until(math.inf)
                self._audio.close()
            self._container.close()
            _make_durable(self._partial, self.path)
        except av.FFmpegError as error:
            self._discard()
            raise _write_error(self.path, error) from error
        except BaseException:
            self._discard()
            raise

    def _open(self) -> Any:
        # The video track's unit is set in _Timing; sound starts to the same precision only with a fine movie unit.
        options = {
            "movflags": "+faststart",
            "video_track_timescale": str(self._time.base.denominator),
            "movie_timescale": str(self._time.base.denominator),
        }
        try:
            # FFmpeg opens the file only with the first packet; a folder that cannot be written to shall be named now.
            self._partial.open("wb").close()
        except OSError as error:
            hint = "Choose a folder that exists and may be written to."
            raise InputError(f"{self.path} cannot be written: {error.strerror}.", hint) from error
        return av.open(str(self._partial.absolute()), "w", format="mp4", options=options)

    def _add_video(self, crf: int, preset: str, color: dict[str, int], rotation: int) -> Any:
        width, height = self._size if self._turns % 2 == 0 else self._size[::-1]
        self._subsampled = width % 2 == 0 and height % 2 == 0
        if not self._subsampled:
            self.warnings.append(f"The size {width}x{height} is odd: written as 4:4:4, which some players do not show.")
        self._tags = {key: int(color.get(key, UNSPECIFIED)) for key in ("space", "primaries", "transfer")}
        self._tags["range"] = int(color.get("range", 0))
        if not has_matrix(self._tags["space"]):
            # RGB sources and rare matrices: HD video's own colours.
            self._tags = {"space": 1, "primaries": 1, "transfer": 1, "range": 1}
        self._space, self._full_range = self._tags["space"], self._tags["range"] == FULL_RANGE
        stream = self._container.add_stream(
            "libx264", rate=self._time.rate, options={"crf": str(crf), "preset": preset, **_X264_OPTIONS}
        )
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if self._subsampled else "yuv444p"
        stream.time_base = stream.codec_context.time_base = self._time.base
        context = stream.codec_context
        context.colorspace, context.color_range = self._tags["space"], self._tags["range"]
        context.color_primaries, context.color_trc = self._tags["primaries"], self._tags["transfer"]
        # Two seconds between key frames: players and previews jump quickly, at little cost in size.
        context.gop_size = max(1, round(2 * self._time.rate))
        if self._turns:
            stream.set_display_rotation(-rotation)
        return stream

    def _mux(self, packets: list[av.Packet]) -> None:
        try:
            for packet in packets:
                packet.duration = self._time.duration_at(packet.pts)
                if self._audio is not None:
                    self._audio.copy_until(float(packet.pts * self._time.base))
                self._container.mux(packet)
        except av.FFmpegError as error:
            raise _write_error(self.path, error) from error

    def _discard(self) -> None:
        if self._audio is not None:
            self._audio.close()
        # The file is thrown away; what it lacks for a proper end does not matter.
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
        self._partial.unlink(missing_ok=True)


class _Timing:
    """Stamps and durations in a unit in which the file's average rate comes out exactly.

    An MP4's average rate is the number of frames divided by the sum of their durations. All but the last are the steps
    between stamps; the last is chosen so that the sum fits, in a finer unit where the given one cannot express it
    (Matroska's milliseconds, say).
    """

    def __init__(self, rate: Fraction, time_base: Fraction | None, pts: np.ndarray | Sequence[int] | None) -> None:
        self.rate = rate
        self.base = 1 / rate if time_base is None or pts is None else Fraction(time_base)
        self._pts = None if pts is None else [int(p) for p in pts]
        # MP4 counts in 1/n seconds, so the numerator goes into the stamps.
        self._step = self.base.numerator
        self.base = Fraction(1, self.base.denominator)
        self._last = self._step
        if self._pts:
            self._fit_last()
        self._index = {} if self._pts is None else {self.stamp(i): i for i in range(len(self._pts))}

    def stamp(self, index: int) -> int:
        """Presentation stamp of a frame in ``base``."""
        if self._pts is None:
            return index * self._step
        if index >= len(self._pts):
            raise ValueError(f"frame {index} has no time stamp: pts has {len(self._pts)}")
        return self._pts[index] * self._step

    def duration_at(self, stamp: int) -> int:
        """How long the frame at ``stamp`` lasts, in ``base``."""
        if self._pts is None:
            return self._step
        index = self._index[stamp]
        return self._last if index + 1 == len(self._pts) else self.stamp(index + 1) - stamp

    def check_count(self, written: int) -> None:
        """Refuse a file without frames, or one that lacks some."""
        if written == 0 or (self._pts is not None and written != len(self._pts)):
            raise ValueError(f"{written} frames were written, {len(self._pts or [1])} or more were expected")

    def _fit_last(self) -> None:
        assert self._pts is not None
        span = (self._pts[-1] - self._pts[0]) * self._step
        total = len(self._pts) / self.rate / self.base
        finer = total.denominator
        if total > span and self.base.denominator * finer <= _MAX_TIMESCALE:
            self.base /= finer
            self._step *= finer
            self._last = int(total * finer) - span * finer
        else:
            steps = np.diff(self._pts)
            self._last = int(np.median(steps)) * self._step if len(steps) else max(1, round(total))


def _write_error(path: Path, error: av.FFmpegError) -> UnderstudyError:
    """What to tell the user of a failure while writing."""
    message = f"Writing {path} failed: {error.strerror}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return ResourceError(message, "Make room on the disk or choose another folder.")
    return UnderstudyError(message)


def _make_durable(partial: Path, path: Path) -> None:
    """Put a finished file under its name so that a crash leaves either the whole file or none."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
