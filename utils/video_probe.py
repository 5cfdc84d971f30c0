"""What is known of a clip before its pixels are looked at, and clear words where it cannot be used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from core.errors import InputError, NotAVideo
from core.types import VideoInfo

#: Sides outside this range are refused: nothing can be seen below, nothing can be held in memory above.
MIN_SIDE, MAX_SIDE = 16, 8192

#: Containers and codecs in which one packet is one picture, so that packets can be counted instead of decoded.
_PACKET_CONTAINERS = {"mov", "mp4", "matroska", "webm"}
_PACKET_CODECS = {"h264", "hevc", "vp9", "av1", "mjpeg", "prores", "mpeg4", "dnxhd", "ffv1", "png"}

#: Parts of a frame's length that stamps are counted in where a file has none.
_TICKS = 1000

_AGAIN = "Copy or download it again, or cut it to the part that plays."
_FORMATS = "Give a video file, such as MP4, MOV, MKV or WebM."


@dataclass(frozen=True)
class _Packets:
    """What a pass over the packets, without decoding, found."""

    pts: np.ndarray
    """(N,) int64, sorted stamps of the packets that are shown; empty where a stamp is missing or occurs twice."""
    count: int
    """Packets with data."""
    damaged: bool
    """Whether the file ends before the data that it announces."""
    expected: int
    """Frames that the file announces; 0 where it does not say."""


def probe(path: Path) -> VideoInfo:
    """Look at a clip: size, rate, time stamps, colour, sound. Only the last group of pictures is decoded as a rule.

    Raises
    ------
    InputError
        The file is missing, unreadable, not a video, without frames, cut off, or of a size that cannot be worked with.
    """
    path = Path(path)
    _check_readable(path)
    with open_video(path) as (container, stream):
        packets = _read_packets(path, container, stream)
        exact = _packets_are_frames(container, stream) and len(packets.pts) > 0
    if packets.count == 0:
        raise NotAVideo(f"{path} has a video stream without frames.", "Give a clip with at least one frame.")
    pts, made_up = packets.pts, False
    if packets.damaged or not exact or not _tail_decodes(path, pts):
        pts, made_up = _decoded_pts(path, packets)
    with open_video(path) as (container, stream):
        info = _describe(path, container, stream, pts)
    if made_up:
        # Stamps of our own need a unit of our own, by which the reader knows them.
        info = replace(info, time_base=1 / (info.rate * _TICKS), pts=np.arange(len(pts), dtype=np.int64) * _TICKS)
    return info


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a clip as ``(container, video stream)``, decoding on two threads; raises :class:`InputError`."""
    try:
        # Absolute, or FFmpeg takes the part before a colon in the name for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unopened(path, error) from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            what = "only sound" if container.streams.audio else "no sound either"
            raise NotAVideo(f"{path} has no video stream, {what}.", _FORMATS)
        stream = streams[0]
        # Frame threads overlap the decoding of two frames; more threads than cores only cost memory.
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = 2
        yield container, stream


def cut_off(path: Path, found: int, expected: int) -> InputError:
    """The error for a clip whose data end early or are damaged."""
    of = f"of {expected} frames" if expected > found else "frames, then the data are damaged"
    return InputError(f"{path} is damaged or cut off: only {found} {of} can be decoded.", _AGAIN)


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a video file.", _FORMATS)
    if path.exists() and not path.is_file():
        # Reading from a pipe or a device could wait for ever.
        raise InputError(f"{path} is not a regular file.", _FORMATS)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise NotAVideo(f"{path} is empty.", _AGAIN)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Check the spelling of the path.") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read.", "Change the file's permissions, or copy it.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check the path and the disk.") from error


def _unopened(path: Path, error: Exception) -> NotAVideo:
    """Why a readable file does not open as a video."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] == b"ftyp":
        return NotAVideo(
            f"{path} is cut off: its index (moov) is missing, so 0 frames can be decoded.",
            "Copy or download it again; a recording that broke off needs a repair tool first.",
        )
    if b"\0" not in head:
        return NotAVideo(f"{path} is a text file, not a video.", _FORMATS)
    return NotAVideo(f"{path} is not a video that can be read ({type(error).__name__}).", _FORMATS)


def _read_packets(path: Path, container: Any, stream: Any) -> _Packets:
    """Go over all packets of all streams; cheap, as nothing is decoded."""
    shown: list[int | None] = []
    count, corrupt, last = 0, False, 0.0
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            if packet.pts is not None:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == stream.index:
                count += 1
                corrupt |= packet.is_corrupt
                if not packet.is_discard:
                    shown.append(packet.pts)
    except av.FFmpegError:
        corrupt = True
    # A stamp that is missing or double does not name a frame: such clips are decoded to be counted.
    stamps = [s for s in shown if s is not None]
    pts = np.unique(np.array(stamps, np.int64))
    if len(pts) != len(shown):
        pts = pts[:0]
    size = path.stat().st_size
    outside = any(entry.pos + entry.size > size for entry in stream.index_entries)
    expected = stream.frames
    if _short(container, last):
        outside, expected = True, round(container.duration / av.time_base * float(stream.average_rate or 0))
    return _Packets(pts, count, corrupt or outside, expected)


def _short(container: Any, last: float) -> bool:
    """Whether a Matroska file ends more than half a second before the length in its header, in all streams."""
    if "matroska" not in container.format.name or not container.duration:
        return False
    start = (container.start_time or 0) / av.time_base
    return container.duration / av.time_base - (last - start) > 0.5


def _packets_are_frames(container: Any, stream: Any) -> bool:
    names = set(container.format.name.split(","))
    return bool(names & _PACKET_CONTAINERS) and stream.codec_context.codec.canonical_name in _PACKET_CODECS


def _tail_decodes(path: Path, pts: np.ndarray) -> bool:
    """Whether the frames after the last key frame decode to the stamps that the packets announced."""
    with open_video(path) as (container, stream):
        try:
            container.seek(int(pts[-1]), stream=stream)
            tail = [frame.pts for frame in container.decode(stream) if not frame.is_corrupt]
        except av.FFmpegError:
            return False
    return 0 < len(tail) <= len(pts) and tail == pts[-len(tail) :].tolist()


def _decoded_pts(path: Path, packets: _Packets) -> tuple[np.ndarray, bool]:
    """The stamps of all frames, by decoding them, and whether they had to be made up as the file has none to go by."""
    stamps: list[int | None] = []
    broken = False
    with open_video(path) as (container, stream):
        try:
            for frame in container.decode(stream):
                broken |= frame.is_corrupt
                if not frame.is_corrupt:
                    stamps.append(frame.pts)
        except av.FFmpegError:
            broken = True
    if packets.damaged or broken:
        raise cut_off(path, len(stamps), max(packets.expected, packets.count))
    if not stamps:
        raise cut_off(path, 0, packets.count)
    known = np.array([s for s in stamps if s is not None], np.int64)
    if len(known) == len(stamps) and (np.diff(known) > 0).all():
        return known, False
    return np.arange(len(stamps), dtype=np.int64), True


def _describe(path: Path, container: Any, stream: Any, pts: np.ndarray) -> VideoInfo:
    try:
        first = next(container.decode(stream), None)
    except av.FFmpegError as error:
        raise cut_off(path, 0, len(pts)) from error
    if first is None:
        raise cut_off(path, 0, len(pts))
    # PyAV counts counter-clockwise; phones write quarter turns only.
    rotation = round(-first.rotation / 90) % 4 * 90
    width, height = (first.height, first.width) if rotation % 180 else (first.width, first.height)
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        limits = f"Give a clip with sides from {MIN_SIDE} to {MAX_SIDE} pixels."
        raise InputError(f"{path} has pictures of {width}x{height} pixels, which cannot be worked with.", limits)
    codec = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate or _measured_rate(pts, stream.time_base)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        rate=Fraction(rate),
        frame_count=len(pts),
        time_base=Fraction(stream.time_base),
        pts=pts,
        rotation=rotation,
        constant_rate=_is_constant(pts),
        audio_streams=len(container.streams.audio),
        codec=codec.codec.canonical_name,
        pixel_format=codec.pix_fmt or first.format.name,
        color={
            "space": int(first.colorspace),
            "range": int(first.color_range),
            "primaries": int(first.color_primaries),
            "transfer": int(first.color_trc),
        },
    )


def _measured_rate(pts: np.ndarray, time_base: Fraction) -> Fraction:
    """Frames a second from the stamps; one frame alone is taken to last 1/25 s."""
    if len(pts) < 2:
        return Fraction(25)
    return Fraction(len(pts) - 1) / (int(pts[-1] - pts[0]) * time_base)


def _is_constant(pts: np.ndarray) -> bool:
    """Whether the steps between stamps are equal but for rounding to the time base."""
    steps = np.diff(pts)
    return len(steps) == 0 or bool(np.ptp(steps) <= max(1.0, 0.01 * np.median(steps)))
