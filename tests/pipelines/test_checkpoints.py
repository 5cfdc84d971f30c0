"""Checkpoints: lossless, whole or absent."""

from __future__ import annotations

import os

import numpy as np
import pytest

from core.types import Segment
from pipelines.replace.checkpoints import Patch, SegmentReader, SegmentWriter, is_finished, segment_file


@pytest.fixture
def patch() -> Patch:
    random = np.random.default_rng(0)
    return Patch(
        (2, 3, 12, 9), random.integers(0, 256, (6, 10, 3), np.uint8), random.integers(0, 256, (6, 10), np.uint8)
    )


def test_patches_come_back_bit_for_bit(tmp_path, patch) -> None:
    segment = Segment("hold", 5, 8)
    path = segment_file(tmp_path, 0)
    with SegmentWriter(path, segment) as writer:
        writer.add(6, patch)
        assert not path.exists()
    assert is_finished(path, segment)
    assert not is_finished(path, Segment("hold", 5, 9))
    reader = SegmentReader(path)
    back = reader.patch(6)
    assert reader.patch(5) is None
    assert back.box == patch.box
    assert np.array_equal(back.rgb, patch.rgb)
    assert np.array_equal(back.alpha, patch.alpha)
    frame = np.zeros((20, 20, 3), np.uint8)
    back.paste(frame)
    assert np.array_equal(frame[3:9, 2:12], patch.rgb)
    assert frame.sum() == patch.rgb.sum()


def test_a_crash_leaves_no_checkpoint(tmp_path, patch) -> None:
    path = segment_file(tmp_path, 3)
    with pytest.raises(RuntimeError), SegmentWriter(path, Segment("hold", 0, 4)) as writer:
        writer.add(1, patch)
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    assert not is_finished(path, Segment("hold", 0, 4))


def test_a_damaged_checkpoint_is_not_finished(tmp_path) -> None:
    path = segment_file(tmp_path, 0)
    path.write_bytes(b"PK not really")
    assert not is_finished(path, Segment("hold", 0, 4))
