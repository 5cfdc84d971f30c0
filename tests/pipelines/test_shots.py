"""Cuts: what is one and what is not, and that nothing is lost in taking a track apart and together."""

import numpy as np
import pytest

from core.masks import MaskArchive
from core.types import LANDMARK_NAMES, PersonTrack
from pipelines.survey.shots import CutFinder, clean_shots, joined, person_jumps, shot_spans, track_of

SIZE = (320, 180)


def scene(seed: int) -> np.ndarray:
    """(180, 640, 3) float: large patches of colour."""
    patches = np.random.default_rng(seed).uniform(30, 220, (6, 20, 3))
    return patches.repeat(30, 0).repeat(32, 1)


def film(*parts: tuple[int, int]) -> list[np.ndarray]:
    """Pans over scenes, (seed, frames) each, with noise."""
    random = np.random.default_rng(9)
    frames = []
    for seed, count in parts:
        for t in range(count):
            picture = scene(seed)[:, 3 * t : 3 * t + SIZE[0]]
            frames.append(np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8))
    return frames


def fed(frames: list[np.ndarray]) -> CutFinder:
    finder = CutFinder()
    for frame in frames:
        finder.feed(frame)
    return finder


def test_every_cut_is_found_and_nothing_else() -> None:
    assert fed(film((1, 30), (2, 20), (3, 25))).cuts() == [30, 50]
    assert fed(film((1, 60))).cuts() == []
    assert fed(film((1, 1))).cuts() == [] == fed([]).cuts()


def test_a_flash_and_a_change_of_exposure_are_no_cuts() -> None:
    frames = film((1, 60))
    frames[20:22] = [np.clip(frame.astype(int) + 90, 0, 255).astype(np.uint8) for frame in frames[20:22]]
    frames[40:] = [(frame * 0.6).astype(np.uint8) for frame in frames[40:]]
    assert fed(frames).cuts() == []


def test_a_jump_in_front_of_the_same_scene_is_suspected_and_the_person_decides() -> None:
    frames = [scene(1)[:, : SIZE[0]].astype(np.uint8) for _ in range(40)]
    boxes = []
    for t, frame in enumerate(frames):
        left = 30 + t if t < 20 else 200 + t
        frame[40:160, left : left + 40] = (250, 20, 20)
        boxes.append(np.array([left, 40, left + 40, 160], np.float32))
    finder = fed(frames)
    assert 20 in finder.suspects()
    assert person_jumps(boxes, 20) and not person_jumps(boxes, 10)
    hidden = [None if 18 <= t < 24 else box for t, box in enumerate(boxes)]
    assert person_jumps(hidden, 20)
    assert person_jumps([*boxes[:20], *[None] * 20], 20), "not found again"
    assert not person_jumps([None] * 40, 20)


def test_spans_cover_the_clip() -> None:
    assert shot_spans((), 5) == [(0, 5)]
    assert shot_spans((3, 2, 3), 5) == [(0, 2), (2, 3), (3, 5)]


@pytest.fixture
def track() -> PersonTrack:
    """Somebody who stands on the left, and from frame 12 on somewhere else."""
    random = np.random.default_rng(0)
    landmarks = np.tile(random.uniform(20, 60, (33, 4)), (24, 1, 1)).astype(np.float32)
    landmarks[..., 1] = np.linspace(20, 160, 33)
    landmarks[..., 3] = 1.0
    landmarks[12:, :, 0] += 200
    boxes = np.concatenate([landmarks[..., :2].min(1), landmarks[..., :2].max(1)], 1)
    masks = MaskArchive.from_masks(
        SIZE[1], SIZE[0], (np.arange(SIZE[0]) >= np.full((SIZE[1], 1), t) for t in range(24))
    )
    world = np.zeros((24, 33, 3), np.float32)
    return PersonTrack(boxes, np.ones(24, np.float32), landmarks, world, np.full(24, "detected"), masks, SIZE[0])


def test_a_track_taken_apart_and_together_is_the_same(track: PersonTrack) -> None:
    again = joined([track_of(track, *span) for span in shot_spans((12,), 24)])
    for name in ("xyxy", "score", "landmarks", "world", "state"):
        np.testing.assert_array_equal(getattr(again, name), getattr(track, name))
    assert all((again.mask(t) == track.mask(t)).all() for t in range(24))


def test_landmarks_are_not_smoothed_across_a_cut(track: PersonTrack) -> None:
    nose = LANDMARK_NAMES.index("nose")
    whole, apart = (clean_shots(track, cuts, 30.0).landmarks[:, nose, 0] for cuts in ((), (12,)))
    true = track.landmarks[:, nose, 0]
    assert np.abs(whole - true).max() > 3
    assert np.abs(apart - true).max() < 0.5
