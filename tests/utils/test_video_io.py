"""Reading, describing and writing clips: real files, made by ``tests.clips``."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import InputError, ResourceError
from tests import clips
from utils.video_color import frame_from_rgb, rgb_from_frame
from utils.video_io import VideoReader, prefetch
from utils.video_probe import probe
from utils.video_writer import VideoWriter


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 pictures."""
    error = float(((a.astype(np.float64) - b) ** 2).mean())
    return 10 * np.log10(255**2 / max(error, 1e-9))


def decoded(path: Path) -> tuple[list[int], Fraction, tuple[int, int]]:
    """Stamps, average rate and coded size as PyAV alone reports them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = [frame.pts for frame in container.decode(stream)]
        return stamps, Fraction(stream.average_rate), (stream.width, stream.height)


def samples(path: Path, track: int = 0) -> np.ndarray:
    """The samples of an audio stream, first channel, -1..1."""
    with av.open(str(path)) as container:
        values = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=track)])
    return values / 32768 if values.dtype == np.int16 else values


def copy(source: Path, target: Path, **options: object) -> list[str]:
    """Read a clip and write it again as the pipeline does; gives the writer's warnings."""
    info = probe(source)
    with VideoWriter(
        target, info.size, info.rate, info.time_base, info.pts,
        audio_from=source, color=info.color, rotation=info.rotation, **options,
    ) as writer:  # fmt: skip
        for rgb in VideoReader(info).frames():
            writer.write(rgb)
    return writer.warnings


# Describing


def test_a_plain_clip_is_described(tmp_path: Path) -> None:
    info = probe(clips.plain(tmp_path, sound=2, rate=Fraction(30000, 1001)))
    assert (info.size, info.rate, info.frame_count) == ((96, 64), Fraction(30000, 1001), 20)
    assert (info.rotation, info.constant_rate, info.audio_streams) == (0, True, 2)
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    assert info.duration == pytest.approx(20 * 1001 / 30000)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"), ("a.ts", "libx264"), ("a.mov", "libx265")],
)
def test_announced_stamps_are_those_that_decode(tmp_path: Path, name: str, codec: str) -> None:
    path = clips.plain(tmp_path, name=name, codec=codec)
    info = probe(path)
    assert info.pts.tolist() == decoded(path)[0]
    assert [clips.index_of(rgb) for rgb in VideoReader(info).frames()] == list(range(20))


def test_a_variable_rate_is_noticed_and_its_stamps_kept(tmp_path: Path) -> None:
    path = clips.variable_rate(tmp_path)
    info = probe(path)
    assert not info.constant_rate
    seconds = info.pts * float(info.time_base)
    assert np.diff(seconds)[:5] == pytest.approx([0.033, 0.033, 0.050, 0.034, 0.100])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (clips.text, "text file"),
        (clips.truncated, r"only \d+ of 20 frames"),
        (clips.without_index, "index .* is missing"),
        (clips.corrupted, r"only \d+ of 20 frames"),
        (clips.without_video, "no video stream, only sound"),
        (clips.without_frames, "without frames"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "nowhere.mp4", "does not exist"),
        (lambda folder: clips.plain(folder, size=(96, 8)), "96x8 pixels"),
    ],
)  # fmt: skip
def test_unusable_clips_are_named_in_one_sentence(tmp_path: Path, make, words: str) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        probe(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = clips.plain(tmp_path)
    path.chmod(0)
    with pytest.raises(InputError, match="may not be read"):
        probe(path)


def test_a_matroska_file_that_ends_early_is_noticed(tmp_path: Path) -> None:
    path = clips.plain(tmp_path, name="whole.mkv", frames=60, options={"crf": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"only \d+ of 60 frames"):
        probe(path)


# Reading


@pytest.mark.parametrize(("rotation", "turns"), [(90, 3), (180, 2), (270, 1)])
def test_rotated_clips_are_given_as_they_are_shown(tmp_path: Path, rotation: int, turns: int) -> None:
    info = probe(clips.rotated(tmp_path, rotation))
    shown = np.rot90(clips.picture(0), turns)
    assert info.rotation == rotation
    assert info.size == (shown.shape[1], shown.shape[0])
    first = VideoReader(info).frame(0)
    assert first.shape == shown.shape
    assert psnr(first, shown) > 30


@pytest.mark.parametrize("make", [clips.plain, clips.variable_rate, clips.ten_bit, clips.odd_sized])
def test_frames_by_index_are_the_frames_in_order(tmp_path: Path, make) -> None:
    info = probe(make(tmp_path))
    in_order = list(VideoReader(info).frames())
    assert [clips.index_of(rgb) for rgb in in_order] == list(range(20))
    assert all(rgb.dtype == np.uint8 and rgb.shape == (info.height, info.width, 3) for rgb in in_order)
    with VideoReader(info) as reader:
        wanted = [0, 1, 5, 11, 12, 19]
        got = list(reader.at(wanted))
        assert [index for index, _ in got] == wanted
        assert all((rgb == in_order[index]).all() for index, rgb in got)
        assert (reader.frame(13) == in_order[13]).all()
        window = list(reader.frames(7, 15))
        assert len(window) == 8
        assert all((a == b).all() for a, b in zip(window, in_order[7:15], strict=True))


def test_reading_outside_the_clip_is_refused(tmp_path: Path) -> None:
    reader = VideoReader(probe(clips.plain(tmp_path)))
    with pytest.raises(ValueError, match="20 frames"):
        reader.frames(5, 21)
    with pytest.raises(ValueError, match="increase"):
        reader.at([4, 3])


def test_decord_serves_only_plain_clips_and_shows_the_same_frames(tmp_path: Path) -> None:
    info = probe(clips.plain(tmp_path))
    fast = VideoReader(info, exact=False)
    assert fast.backend == "decord"
    assert VideoReader(info).backend == "pyav"
    exact = list(VideoReader(info).frames())
    for window in ((0, 20), (7, 15)):
        got = list(fast.frames(*window))
        for a, b in zip(got, exact[slice(*window)], strict=True):
            assert np.abs(a.astype(int) - b).max() <= 3
            assert abs(float(a.mean()) - float(b.mean())) < 0.7
    for make in (clips.rotated, clips.variable_rate, clips.ten_bit, clips.odd_sized):
        assert VideoReader(probe(make(tmp_path)), exact=False).backend == "pyav"


def test_a_clip_that_breaks_after_probing_is_reported_at_the_frame(tmp_path: Path) -> None:
    path = clips.plain(tmp_path, options={"crf": "5"})
    info = probe(path)
    clips.corrupted(tmp_path).replace(path)
    with pytest.raises(InputError, match=r"only \d+ of 20 frames"):
        list(VideoReader(info).frames())


def test_a_clip_that_changes_its_size_is_named(tmp_path: Path) -> None:
    path = clips.plain(tmp_path, name="a.ts")
    path.write_bytes(path.read_bytes() + clips.plain(tmp_path, name="b.ts", size=(64, 96)).read_bytes())
    # Which of the two the decoder's threads notice first is up to them.
    with pytest.raises(InputError, match=r"changes its picture size at frame 20|is damaged or cut off"):
        list(VideoReader(probe(path)).frames())


def test_closing_the_reader_ends_its_iterators(tmp_path: Path) -> None:
    with VideoReader(probe(clips.plain(tmp_path))) as reader:
        frames = reader.frames()
        next(frames)
    assert list(frames) == []


def test_a_stream_without_stamps_is_counted_and_read_in_order(tmp_path: Path) -> None:
    info = probe(clips.plain(tmp_path, name="a.h264"))
    assert (info.frame_count, info.constant_rate) == (20, True)
    assert np.diff(info.pts * float(info.time_base)) == pytest.approx(1 / float(info.rate))
    reader = VideoReader(info)
    assert [clips.index_of(rgb) for rgb in reader.frames()] == list(range(20))
    assert [clips.index_of(rgb) for _, rgb in reader.at([2, 17])] == [2, 17]


# Colours


@pytest.mark.parametrize("space", [1, 2, 5, 6, 7, 9])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_survive_the_way_to_yuv_and_back(space: int, full_range: bool) -> None:
    # One colour for each 2x2 block, so that halving the chroma loses nothing.
    blocks = np.random.default_rng(space).integers(20, 235, (24, 32, 3), dtype=np.uint8)
    rgb = blocks.repeat(2, axis=0).repeat(2, axis=1)
    frame = frame_from_rgb(rgb, space, full_range, subsampled=True)
    frame.colorspace, frame.color_range = space, 2 if full_range else 1
    assert np.abs(rgb_from_frame(frame).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("space", [1, 5, 9])
def test_colours_are_those_of_ffmpeg_but_not_darkened(space: int) -> None:
    frame = frame_from_rgb(clips.picture(3), space, full_range=False, subsampled=True)
    frame.colorspace, frame.color_range = space, 1
    exact, theirs = rgb_from_frame(frame).astype(int), frame.to_ndarray(format="rgb24").astype(int)
    assert np.abs(exact - theirs).max() <= 3
    assert np.abs(exact - clips.picture(3)).mean() < 2.5


# Writing


@pytest.mark.parametrize(
    "make",
    [
        clips.plain,
        clips.variable_rate,
        clips.ten_bit,
        clips.odd_sized,
        clips.rotated,
        lambda folder: clips.plain(folder, rate=Fraction(30000, 1001)),
        lambda folder: clips.plain(folder, name="late.mp4", pts=range(5, 25)),
        lambda folder: clips.plain(folder, color=(1, 1)),
        lambda folder: clips.plain(folder, color=(5, 2), pixel_format="yuvj420p"),
        lambda folder: clips.plain(folder, name="one.mp4", frames=1),
        lambda folder: clips.plain(folder).rename(folder / "part 1:2 ä%03d.mp4"),
    ],
)  # fmt: skip
def test_a_copy_has_the_frames_stamps_rate_size_and_colours_of_its_source(tmp_path: Path, make) -> None:
    source, target = make(tmp_path), tmp_path / "copy.mp4"
    copy(source, target)
    assert decoded(target) == decoded(source)
    a, b = probe(source), probe(target)
    assert (a.size, a.rotation, a.constant_rate) == (b.size, b.rotation, b.constant_rate)
    assert (b.pts * b.time_base == a.pts * a.time_base).all()
    assert {**a.color, "range": a.color["range"] or 1} == {**b.color, "range": b.color["range"] or 1}
    for before, after in zip(VideoReader(a).frames(), VideoReader(b).frames(), strict=True):
        assert psnr(before, after) > 40


def test_matroska_milliseconds_keep_stamps_and_rate(tmp_path: Path) -> None:
    source, target = clips.plain(tmp_path, name="a.mkv", rate=Fraction(30)), tmp_path / "copy.mp4"
    copy(source, target)
    a, b = probe(source), probe(target)
    assert b.rate == a.rate
    assert (b.pts * b.time_base == a.pts * a.time_base).all()


def test_all_audio_streams_are_copied_sample_for_sample(tmp_path: Path) -> None:
    source, target = clips.plain(tmp_path, sound=2), tmp_path / "copy.mp4"
    assert copy(source, target) == []
    for track in (0, 1):
        assert (samples(source, track) == samples(target, track)).all()
    assert decoded(target) == decoded(source)


def test_sound_that_mp4_cannot_hold_becomes_aac_and_is_reported(tmp_path: Path) -> None:
    source = clips.plain(tmp_path, name="a.avi", sound=1, audio_codec="pcm_mulaw")
    target = tmp_path / "copy.mp4"
    warnings = copy(source, target)
    assert len(warnings) == 1
    assert "pcm_mulaw" in warnings[0]
    before, after = samples(source), samples(target)
    assert len(after) == pytest.approx(len(before), abs=4096)
    assert after.std() == pytest.approx(before.std(), rel=0.05)


def test_odd_sizes_are_kept_and_the_format_is_reported(tmp_path: Path) -> None:
    target = tmp_path / "copy.mp4"
    assert "97x65" in copy(clips.odd_sized(tmp_path), target)[0]
    assert probe(target).size == (97, 65)


def test_the_index_comes_first_for_streaming(tmp_path: Path) -> None:
    target = tmp_path / "copy.mp4"
    copy(clips.plain(tmp_path), target)
    data = target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_failed_run_leaves_nothing_and_keeps_the_older_file(tmp_path: Path) -> None:
    target = tmp_path / "result.mp4"
    target.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), VideoWriter(target, (96, 64), Fraction(25)) as writer:
        writer.write(clips.picture(1 // writer.frames_written))
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize("written", [0, 2])
def test_missing_frames_are_refused(tmp_path: Path, written: int) -> None:
    target = tmp_path / "result.mp4"
    writer = VideoWriter(target, (96, 64), Fraction(25), Fraction(1, 25), [0, 1, 2])
    for index in range(written):
        writer.write(clips.picture(index))
    with pytest.raises(ValueError, match="were expected"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit"), VideoWriter(tmp_path / "a.mp4", (64, 64), Fraction(25)) as w:
        w.write(clips.picture(0))


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        VideoWriter(tmp_path / "nowhere" / "a.mp4", (96, 64), Fraction(25))


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(ResourceError, match="failed"),
        VideoWriter(tmp_path / "a.mp4", (96, 64), Fraction(25)) as writer,
    ):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
            for index in range(2000):
                writer.write(np.random.default_rng(index).integers(0, 255, (64, 96, 3), dtype=np.uint8))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


# Prefetch


def test_prefetch_gives_the_same_items_and_stays_ahead_within_its_depth() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    ahead = prefetch(numbers(), depth=3)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert len(made) <= 1 + 3 + 1
    assert list(ahead) == list(range(1, 50))


def test_prefetch_raises_the_error_where_it_belongs() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise InputError("broken")

    ahead = prefetch(numbers())
    assert next(ahead) == 1
    with pytest.raises(InputError, match="broken"):
        next(ahead)


def test_closing_prefetch_stops_its_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    ahead = prefetch(endless(), depth=2)
    next(ahead)
    ahead.close()
    assert closed.is_set()
    assert threading.active_count() == before


# Real footage


def test_the_demo_clip_is_copied_without_visible_loss(tmp_path: Path, demo_clip: Path) -> None:
    info = probe(demo_clip)
    assert info.width == 960
    assert info.audio_streams == 1
    assert demo_clip.stat().st_size < 2_000_000
    target = tmp_path / "copy.mp4"
    with VideoWriter(target, info.size, info.rate, color=info.color) as writer:
        for rgb in VideoReader(info).frames(0, 30):
            writer.write(rgb)
    pairs = zip(VideoReader(info).frames(0, 30), VideoReader(probe(target)).frames(), strict=True)
    assert np.mean([psnr(a, b) for a, b in pairs]) > 44


def test_an_uneven_rate_of_real_footage_is_kept(tmp_path: Path, shared: Path) -> None:
    source, target = shared / "footage" / "tennis.mp4", tmp_path / "copy.mp4"
    copy(source, target, preset="ultrafast")
    assert decoded(target) == decoded(source)
