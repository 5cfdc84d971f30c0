"""Splitting a clip in time."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import CameraPath, PersonTrack
from utils import transforms
from utils.segmentation import is_uniform, motion_energy, split_clip

COME_STAY_GO = np.concatenate([np.full(60, 0.05), np.full(90, 0.004), np.full(50, 0.06)])


def track_of(x: np.ndarray, absent: tuple[int, ...] = ()) -> PersonTrack:
    """A rigid person 100 px high at the horizontal positions ``x`` (T,)."""
    count = len(x)
    landmarks = np.zeros((count, 33, 4), np.float32)
    landmarks[..., 0] = x[:, None]
    landmarks[..., 1] = np.linspace(0, 100, 33)
    boxes = np.stack([x - 20, x * 0, x + 20, x * 0 + 100], axis=1).astype(np.float32)
    state = np.full(count, "detected")
    for t in absent:
        landmarks[t], boxes[t], state[t] = np.nan, np.nan, "absent"
    masks = np.zeros((count, 100, 40), np.uint8)
    return PersonTrack(boxes, np.ones(count), landmarks, np.zeros((count, 33, 3)), state, masks, 320)


@given(
    count=st.integers(1, 900),
    segments=st.sampled_from([0, 1, 3, 5, 7]),
    overlap=st.integers(0, 12),
    max_length=st.integers(1, 300),
    seed=st.integers(0, 50),
)
def test_segments_cover_every_frame_and_share_at_most_the_overlap(
    count: int, segments: int, overlap: int, max_length: int, seed: int
) -> None:
    energy = np.random.default_rng(seed).uniform(0, 1, count)
    split = split_clip(energy, np.ones(count, bool), segments, overlap, max_length)
    drawn = np.zeros(count, int)
    for segment in split:
        drawn[segment.start : segment.end] += 1
        assert len(segment) - segment.overlap <= max_length
        assert segment.overlap <= overlap
    assert drawn.min() == 1
    assert drawn.max() <= 2
    assert split[0].start == 0
    assert split[0].overlap == 0
    assert split[-1].end == count
    for before, after in pairwise(split):
        assert after.start + after.overlap == before.end
    assert len({segment.role for segment in split}) == len(split)


def test_come_stay_go_is_seen() -> None:
    split = split_clip(COME_STAY_GO, np.ones(200, bool))
    assert [segment.role for segment in split] == ["approach", "hold", "exit"]
    assert split[1].start + split[1].overlap == pytest.approx(60, abs=5)
    assert split[1].end == pytest.approx(150, abs=5)
    assert [segment.overlap for segment in split] == [0, 5, 5]
    assert not is_uniform(split)


@pytest.mark.parametrize("segments", [5, 7])
def test_more_segments_are_cut_from_the_same_parts(segments: int) -> None:
    split = split_clip(COME_STAY_GO, np.ones(200, bool), segments)
    assert len(split) == segments
    assert {segment.role.split("_")[0] for segment in split} == {"approach", "hold", "exit"}


def test_even_motion_is_cut_evenly_and_says_so() -> None:
    split = split_clip(np.full(90, 0.03), np.ones(90, bool), 3)
    assert [segment.role for segment in split] == ["uniform_1", "uniform_2", "uniform_3"]
    assert is_uniform(split)
    assert [len(segment) - segment.overlap for segment in split] == [30, 30, 30]
    assert [segment.role for segment in split_clip(np.full(90, 0.03), np.ones(90, bool))] == ["hold"]


def test_clips_shorter_than_the_number_of_segments() -> None:
    assert [(s.start, s.end) for s in split_clip(np.zeros(1), np.ones(1, bool), 7)] == [(0, 1)]
    assert len(split_clip(np.zeros(4), np.ones(4, bool), 5)) == 4


@pytest.mark.parametrize("arguments", [{"segments": 2}, {"overlap": -1}, {"max_length": 0}])
def test_arguments_out_of_range_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot split"):
        split_clip(np.zeros(9), np.ones(9, bool), **arguments)
    with pytest.raises(ValueError, match="cannot split"):
        split_clip(np.zeros(0), np.zeros(0, bool))


def test_motion_energy_is_speed_in_heights_and_knows_the_camera() -> None:
    energy = motion_energy(track_of(100 + 5.0 * np.arange(20)))
    np.testing.assert_allclose(energy, 0.05 * 1.25, rtol=1e-4)
    following = CameraPath(np.stack([transforms.translation(5, 0)] * 19), np.stack([np.eye(3)] * 20), np.ones(19))
    np.testing.assert_allclose(motion_energy(track_of(100 + 5.0 * np.arange(20)), following), 0, atol=1e-6)


def test_absent_frames_have_no_energy() -> None:
    energy = motion_energy(track_of(100 + 5.0 * np.arange(20), absent=(8, 9)))
    assert (energy[[8, 9]] == 0).all()
    assert np.isfinite(energy).all()
