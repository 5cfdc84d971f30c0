"""The lens as a clip's own metadata tell it, in the places where phones write it."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from tests import clips
from utils.lens_metadata import focal_length_35mm, focal_pixels
from utils.video_probe import probe

KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


def metadata(value: bytes, code: int, *, full_box: bool) -> bytes:
    """A ``meta`` box with two keys, the second of which is the focal length."""
    keys = b"".join(box(b"mdta", name.encode()) for name in ("com.apple.quicktime.camera.lens_model", KEY))
    items = [box(b"data", struct.pack(">II", 1, 0) + b"back camera"), box(b"data", struct.pack(">II", code, 0) + value)]
    listed = b"".join(struct.pack(">II", len(item) + 8, number + 1) + item for number, item in enumerate(items))
    handler = box(b"hdlr", bytes(8) + b"mdta" + bytes(13))
    content = handler + box(b"keys", struct.pack(">II", 0, 2) + keys) + box(b"ilst", listed)
    return box(b"meta", (bytes(4) if full_box else b"") + content)


def with_track_metadata(folder: Path, meta: bytes) -> Path:
    """A clip whose video track carries metadata, as Apple's camera writes them. The index stands at the file's end."""
    path = folder / "phone.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    moov, trak = (content.rindex(kind) - 4 for kind in (b"moov", b"trak"))
    size = struct.unpack(">I", content[trak : trak + 4])[0]
    for start in (moov, trak):
        content[start : start + 4] = struct.pack(">I", struct.unpack(">I", content[start : start + 4])[0] + len(meta))
    path.write_bytes(content[: trak + size] + meta + content[trak + size :])
    return path


@pytest.mark.parametrize("full_box", [False, True])
@pytest.mark.parametrize(
    ("value", "code"), [(b"26.00mm", 1), (struct.pack(">f", 26.0), 23), (b"\x1a", 22), (struct.pack(">q", 26), 74)]
)
def test_a_track_tells_its_lens(tmp_path, value: bytes, code: int, full_box: bool) -> None:
    path = with_track_metadata(tmp_path, metadata(value, code, full_box=full_box))
    assert probe(path).frame_count == 3, "the clip is whole"
    assert focal_length_35mm(path) == pytest.approx(26.0)


def test_the_file_tells_its_lens(tmp_path) -> None:
    path = tmp_path / "file.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata[KEY] = "52"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    assert focal_length_35mm(path) == pytest.approx(52.0)


@pytest.mark.parametrize("value", [b"-13", b"0", b"wide", b"99999"])
def test_what_is_no_lens_is_not_taken_for_one(tmp_path, value: bytes) -> None:
    assert focal_length_35mm(with_track_metadata(tmp_path, metadata(value, 1, full_box=False))) is None


def test_a_clip_that_tells_nothing(tmp_path) -> None:
    assert focal_length_35mm(clips.plain(tmp_path)) is None


def test_a_broken_index_tells_nothing(tmp_path) -> None:
    meta = bytearray(metadata(b"26", 1, full_box=False))
    at = meta.index(b"keys") - 4
    meta[at : at + 4] = struct.pack(">I", 0x7FFFFFFF)
    assert focal_length_35mm(with_track_metadata(tmp_path, bytes(meta))) is None


def test_pixels_are_by_the_diagonal() -> None:
    # 43.27 mm is the diagonal of film: such a lens is as long as the picture's diagonal.
    assert focal_pixels(43.2666, (1920, 1080)) == pytest.approx(np.hypot(1920, 1080), rel=1e-4)
