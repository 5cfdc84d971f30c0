"""Small clips, plain and awkward, made with PyAV for the tests of anything that reads a video.

Each function writes a file into ``folder`` and returns its path. The pictures are a moving gradient with a bright block
whose place tells the frame's index, so that a test sees which frame it got (:func:`index_of`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

BLOCK = 16


def picture(index: int, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """(H, W, 3) uint8: a smooth scene, with a block whose place gives ``index`` (up to 24 in the usual size)."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    rgb = np.stack([40 + 100 * x / width, 40 + 100 * y / height, 90 + 40 * np.sin((x + y + 3 * index) / 9)], axis=-1)
    left, top = _block(index, width, height)
    rgb[top : top + BLOCK, left : left + BLOCK] = (250, 240, 60)
    return rgb.astype(np.uint8)


def index_of(rgb: np.ndarray, count: int = 24) -> int:
    """Which frame a decoded picture is."""
    height, width = rgb.shape[:2]
    scores = []
    for index in range(count):
        left, top = _block(index, width, height)
        scores.append(float(rgb[top + 2 : top + BLOCK - 2, left + 2 : left + BLOCK - 2, :2].mean()))
    return int(np.argmax(scores))


def plain(
    folder: Path,
    *,
    name: str = "clip.mp4",
    frames: int = 20,
    size: tuple[int, int] = (96, 64),
    rate: Fraction = Fraction(25),
    sound: int = 0,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    color: tuple[int, int] = (2, 0),
    audio_codec: str = "aac",
    options: dict[str, str] | None = None,
) -> Path:
    """A clip to order.

    ``sound`` is the number of audio streams, ``rotation`` clockwise degrees in the display matrix, ``color`` the
    AVColorSpace and AVColorRange tags; ``pts`` in ``time_base`` replace the even stamps.
    """
    path = folder / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = 6
        stream.codec_context.colorspace, stream.codec_context.color_range = color
        unit = time_base or 1 / rate
        stream.time_base = stream.codec_context.time_base = unit
        if rotation:
            stream.set_display_rotation(-rotation)
        tracks = [container.add_stream(audio_codec, rate=48000, layout="mono") for _ in range(sound)]
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            frame = frame.reformat(
                format=pixel_format,
                dst_colorspace=color[0] if color[0] != 2 else None,
                dst_color_range=color[1] or None,
            )
            frame.pts, frame.time_base = (index if pts is None else pts[index]), unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for number, track in enumerate(tracks):
            _write_tone(container, track, 220 * (number + 1), frames / float(rate))
    return path


def variable_rate(folder: Path) -> Path:
    """20 frames in uneven steps, as phones record in poor light."""
    steps = np.tile([33, 33, 50, 34, 100], 4)
    return plain(
        folder,
        name="variable.mp4",
        pts=np.concatenate([[0], np.cumsum(steps)[:-1]]).tolist(),
        time_base=Fraction(1, 1000),
    )


def rotated(folder: Path, rotation: int = 90) -> Path:
    """A clip that is stored lying and shown turned clockwise by ``rotation`` degrees."""
    return plain(folder, name=f"rotated{rotation}.mp4", rotation=rotation)


def ten_bit(folder: Path) -> Path:
    """10-bit H.264 with BT.2020 tags, as HDR cameras write."""
    return plain(folder, name="ten_bit.mp4", pixel_format="yuv420p10le", color=(9, 1))


def odd_sized(folder: Path) -> Path:
    """97x65 pixels."""
    return plain(folder, name="odd.mp4", size=(97, 65), pixel_format="yuv444p")


def truncated(folder: Path, share: float = 0.6) -> Path:
    """An MP4 whose index comes first and whose data end early, as an interrupted download leaves it."""
    plain(folder, name="whole.mp4", options={"crf": "5"})
    # The index must come first for the head to be readable.
    path = folder / "truncated.mp4"
    faststart = {"movflags": "+faststart"}
    with av.open(str(folder / "whole.mp4")) as source, av.open(str(path), "w", options=faststart) as target:
        _copy_packets(source, target, source.streams.video[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def without_index(folder: Path) -> Path:
    """An MP4 whose index, which comes last, is cut away, as a camera that lost power leaves it."""
    path = plain(folder, name="without_index.mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"moov") - 4])
    return path


def corrupted(folder: Path) -> Path:
    """A clip of the right length whose data are overwritten with noise from the middle on."""
    path = plain(folder, name="corrupted.mp4", options={"crf": "5"})
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.rindex(b"moov") - 4
    middle = (start + end) // 2
    data[middle:end] = np.random.default_rng(0).bytes(end - middle)
    path.write_bytes(bytes(data))
    return path


def without_video(folder: Path) -> Path:
    """Sound alone."""
    path = folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        _write_tone(container, container.add_stream("aac", rate=48000, layout="mono"), 440, 0.5)
    return path


def without_frames(folder: Path) -> Path:
    """A video stream that holds no frame."""
    path = folder / "empty.mp4"
    # Without fragments the muxer would leave the empty track out.
    with av.open(str(path), "w", options={"movflags": "+empty_moov+frag_keyframe"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    return path


#: Frames and size of :func:`demo_cut`.
DEMO_FRAMES, DEMO_SIZE = 24, (480, 270)


def demo_cut(demo: Path, folder: Path, frames: int = DEMO_FRAMES, size: tuple[int, int] = DEMO_SIZE) -> Path:
    """The first frames of the bundled clip, scaled down, with a tone."""
    path = folder / "small.mp4"
    with av.open(str(demo)) as source, av.open(str(path), "w") as out:
        stream = source.streams.video[0]
        video = out.add_stream("libx264", rate=stream.average_rate, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = out.add_stream("aac", rate=48000, layout="mono")
        for frame in itertools.islice(source.decode(stream), frames):
            picture = frame.to_ndarray(format="rgb24")
            height = round(picture.shape[1] * size[1] / size[0])
            picture = cv2.resize(picture[:height], size, interpolation=cv2.INTER_AREA)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        _write_tone(out, audio, 440, frames / float(stream.average_rate))
    return path


def text(folder: Path) -> Path:
    """A text file with a video's name."""
    path = folder / "text.mp4"
    path.write_text("This is not a video.\n" * 20)
    return path


def _block(index: int, width: int, height: int) -> tuple[int, int]:
    columns, rows = max(1, width // BLOCK), max(1, height // BLOCK)
    place = index % (columns * rows)
    return place % columns * BLOCK, place // columns * BLOCK


def _write_tone(container: av.container.OutputContainer, stream: av.AudioStream, hertz: float, seconds: float) -> None:
    """A sine, encoded into a stream."""
    count = round(48000 * seconds)
    wave = np.sin(2 * np.pi * hertz * np.arange(count) / 48000).astype(np.float32) * 0.4
    resampler = av.AudioResampler(stream.codec_context.format.name, "mono", 48000, frame_size=1024)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    pieces: Iterable[av.AudioFrame] = [*resampler.resample(frame), *resampler.resample(None)]
    for piece in pieces:
        container.mux(stream.encode(piece))
    container.mux(stream.encode())


def _copy_packets(
    source: av.container.InputContainer, target: av.container.OutputContainer, stream: av.VideoStream
) -> None:
    copy = target.add_stream_from_template(stream)
    for packet in source.demux(stream):
        if packet.size:
            packet.stream = copy
            target.mux(packet)
