"""Who is who between sampled frames, and what stands in frames where nobody was found."""

from __future__ import annotations

import numpy as np
import pytest

from core.types import Detection, PersonTrack
from utils.person_track import (
    Sighting,
    TrackRows,
    colour_distance,
    colour_histogram,
    largest_steady,
    link_sightings,
    nearest_to,
)

WIDTH, HEIGHT = 320, 240


def look(hue: int) -> np.ndarray:
    histogram = np.zeros(576, np.float32)
    histogram[hue] = 1
    return histogram


def sighting(frame: int, x: float, height: float = 100, hue: int = 0, size: float | None = None) -> Sighting:
    box = np.array([x - 20, 200 - height, x + 20, 200], np.float32)
    return Sighting(frame, box, look(hue), height if size is None else size)


def person(x: float, spread: float = 0.0) -> Detection:
    """A bar of 40 x 120 pixels whose landmarks fill it; ``spread`` moves its lower half sideways."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for y in range(60, 180):
        left = round(x - 20 + spread * max(y - 120, 0) / 60)
        mask[y, max(left, 0) : max(left + 40, 0)] = True
    y = np.linspace(62, 178, 33)
    landmarks = np.ones((33, 4), np.float32)
    landmarks[:, 0] = x + np.where(np.arange(33) % 2, 15, -15) + spread * np.maximum(y - 120, 0) / 60
    landmarks[:, 1] = y
    box = np.array([max(x - 20 + min(spread, 0), 0), 60, min(x + 20 + max(spread, 0), WIDTH), 180], np.float32)
    return Detection(box, 0.9, landmarks, np.zeros((33, 3), np.float32), mask)


def track_of(detections: list[Detection | None], **options: int) -> PersonTrack:
    rows = TrackRows(WIDTH, HEIGHT)
    for detection in detections:
        rows.add(detection)
    return rows.track(**options)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


# --- who is who


def test_equal_colours_are_no_distance_apart_and_foreign_ones_are_far() -> None:
    rng = np.random.default_rng(0)
    frame = rng.normal(0, 4, (HEIGHT, WIDTH, 3)) + np.array([60, 120, 190])
    frame[:, 160:] += [120, -60, -150]
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    blue, blue_too, red = (colour_histogram(frame, np.array([x, 40, x + 60, 200])) for x in (10, 90, 230))
    assert blue.sum() == pytest.approx(1)
    assert colour_distance(blue, blue_too) < 0.1
    assert colour_distance(blue, red) > 0.9


def test_only_the_masked_pixels_count() -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:, :100] = [200, 40, 40]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, :100] = True
    masked = colour_histogram(frame, np.array([0, 0, WIDTH, HEIGHT]), mask)
    cut_out = colour_histogram(frame, np.array([0, 0, 100, HEIGHT]))
    assert masked.sum() == pytest.approx(1)
    assert colour_distance(masked, cut_out) == pytest.approx(0, abs=1e-3)


def test_a_box_outside_the_frame_has_no_colours() -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert colour_histogram(frame, np.array([400, 10, 450, 100])).sum() == 0


def test_people_who_cross_keep_their_names() -> None:
    samples = [[sighting(10 * k, 60 + 20 * k, hue=3), sighting(10 * k, 240 - 20 * k, hue=400)] for k in range(10)]
    tracks = link_sightings(samples)
    assert len(tracks) == 2
    for track in tracks:
        assert len(track) == 10
        assert len({int(np.argmax(seen.look)) for seen in track}) == 1


def test_somebody_missing_in_a_sample_is_taken_up_again() -> None:
    tracks = link_sightings([[sighting(0, 100)], [], [sighting(20, 130)]])
    assert [len(track) for track in tracks] == [2]


def test_the_largest_of_those_who_stay_is_taken() -> None:
    small = [sighting(10 * k, 50, 60) for k in range(10)]
    large = [sighting(10 * k, 200, 110) for k in range(4, 10)]
    glimpse = [sighting(50, 120, 200)]
    assert largest_steady([small, large, glimpse], 10) is large


def test_raised_arms_do_not_make_a_person_larger() -> None:
    waving = [sighting(10 * k, 50, 140, size=100) for k in range(10)]
    walking = [sighting(10 * k, 200, 110, size=110) for k in range(10)]
    assert largest_steady([waving, walking], 10) is walking


def test_somebody_who_comes_closer_counts_by_the_near_end() -> None:
    still = [sighting(10 * k, 50, 100) for k in range(10)]
    coming = [sighting(10 * k, 200, 50 + 15 * k) for k in range(10)]
    assert largest_steady([still, coming], 10) is coming


def test_the_point_picks_the_nearest_at_the_earliest_frame_with_somebody_there() -> None:
    left = [sighting(10 * k, 50) for k in range(5)]
    right = [sighting(10 * k, 250 - 40 * k) for k in range(5)]
    assert nearest_to([left, right], (240, 150)) is right
    assert nearest_to([left, right], (60, 150)) is left
    assert nearest_to([left, right], (150, 20)) is None


# --- gaps


def test_a_short_gap_is_filled_along_the_way() -> None:
    truth = [person(60 + 8 * t, spread=4 * t - 20) for t in range(12)]
    track = track_of([None if 4 <= t < 8 else found for t, found in enumerate(truth)])
    assert track.state.tolist() == ["detected"] * 4 + ["predicted"] * 4 + ["detected"] * 4
    for t in range(4, 8):
        np.testing.assert_allclose(track.landmarks[t, :, :2], truth[t].landmarks[:, :2], atol=0.01)
        assert iou(track.mask(t), truth[t].mask) > 0.93
        assert 0 < track.score[t] < 0.9


def test_a_long_gap_is_absent() -> None:
    track = track_of([person(100)] * 5 + [None] * 6 + [person(110)] * 5, max_gap=5)
    assert (track.state[5:11] == "absent").all()
    assert np.isnan(track.xyxy[5:11]).all()
    assert not any(track.mask(t).any() for t in range(5, 11))
    assert track.present.sum() == 10


def test_frames_before_the_first_and_after_the_last_detection_are_absent() -> None:
    track = track_of([None] * 3 + [person(150)] * 6 + [None] * 3)
    assert track.present.tolist() == [False] * 3 + [True] * 6 + [False] * 3


def test_a_single_detection_far_from_all_others_is_a_mistake() -> None:
    track = track_of([person(200)] + [None] * 20 + [person(100)] * 10)
    assert not track.present[:21].any()
    assert not track.mask(0).any()


def test_a_clip_of_nothing_but_glimpses_keeps_them() -> None:
    track = track_of([person(100), *[None] * 12, person(100)], max_gap=5)
    assert track.present.sum() == 2


def test_somebody_who_leaves_is_carried_over_the_edge() -> None:
    truth = [person(60 - 10 * t) for t in range(9)]
    track = track_of([*truth[:6], None, None, None, None])
    assert (track.state[6:8] == "predicted").all()
    assert track.state[9] == "absent"
    for t in (6, 7):
        assert iou(track.mask(t), truth[t].mask) > 0.9
        assert track.xyxy[t].min() >= 0


def test_somebody_who_comes_in_is_carried_backwards_over_the_edge() -> None:
    truth = [person(-20 + 10 * t) for t in range(9)]
    track = track_of([None, None, *truth[2:]])
    assert track.state[1] == "predicted"
    assert iou(track.mask(1), truth[1].mask) > 0.8
