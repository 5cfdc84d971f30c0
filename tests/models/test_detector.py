"""The real detector on the bundled clip: who is found, how exactly, and who is followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.types import LANDMARK_NAMES
from models.detector import PersonDetector, create_detector
from models.detectors.region import NETWORK_SIDE, Region, apply_affine, cut, paste_mask
from models.person_tracker import PersonTracker, StartingPoint, choose_person

LIMBS = [LANDMARK_NAMES.index(f"{s}_{p}") for p in ("shoulder", "hip", "knee", "ankle") for s in ("left", "right")]


@pytest.fixture(scope="module")
def detector() -> Iterator[PersonDetector]:
    loaded = create_detector("mediapipe", complexity=1)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def walk() -> list[np.ndarray]:
    """A woman walks from right to left past a static camera; 960 pixels wide."""
    clip = Path(__file__).resolve().parents[2] / "assets" / "demo" / "walk.mp4"
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def pair(walk: list[np.ndarray]) -> np.ndarray:
    """The same woman twice in one frame: at x 375..551 and, taken from frame 90, at x 204..294."""
    frame = walk[60].copy()
    frame[:, 190:310] = walk[90][:, 190:310]
    return frame


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


# --- names


def test_an_unknown_detector_is_named_in_the_error() -> None:
    with pytest.raises(InputError, match="yolo99") as error:
        create_detector("yolo99", complexity=1)
    assert "mediapipe" in error.value.hint


def test_a_complexity_out_of_range_is_an_input_error() -> None:
    with pytest.raises(InputError, match="3"):
        create_detector("mediapipe", complexity=3)


# --- the region


@pytest.mark.parametrize("side", [150.0, 400.0, 900.0])
@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_what_is_cut_out_goes_back_to_the_same_pixels(side: float, turn: float) -> None:
    region = Region(np.array([310.3, 250.8]), side, np.array([np.sin(turn), -np.cos(turn)]))
    middle, radius = region.center + 0.1 * side * region.up, 0.2 * side
    y, x = np.mgrid[:540, :640]
    disc = np.hypot(x - middle[0], y - middle[1]) < radius
    crop = cut(np.repeat((disc * 255).astype(np.uint8)[..., None], 3, axis=2), region)
    assert crop.shape == (NETWORK_SIDE, NETWORK_SIDE, 3)
    back = paste_mask(crop[..., 0].astype(np.float32) / 255, region, 640, 540)
    assert iou(back, disc) > 0.97
    ys, xs = np.nonzero(back)
    assert np.hypot(*(np.array([xs.mean(), ys.mean()]) - np.argwhere(disc).mean(axis=0)[::-1])) < 0.5


def test_the_middle_of_the_network_picture_is_the_centre_of_the_region() -> None:
    region = Region(np.array([100.0, 80.0]), 200.0, np.array([1.0, 0.0]))
    middle = np.array([[(NETWORK_SIDE - 1) / 2] * 2])
    np.testing.assert_allclose(apply_affine(region.frame_region, middle)[0], region.center)


def test_stray_islands_do_not_reach_the_mask() -> None:
    soft = np.zeros((NETWORK_SIDE, NETWORK_SIDE), np.float32)
    soft[40:220, 100:160] = 1
    soft[10:16, 10:16] = 1
    mask = paste_mask(soft, Region(np.array([127.5, 127.5]), 256.0, np.array([0.0, -1.0])), 256, 256)
    assert mask[100, 130]
    assert not mask[:30, :30].any()


# --- one frame


def test_everybody_in_the_frame_is_found(detector: PersonDetector, pair: np.ndarray) -> None:
    people = detector.find_people(pair)
    assert len(people) == 2
    middles = sorted(float(p.xyxy[0] + p.xyxy[2]) / 2 for p in people)
    assert middles == pytest.approx([250, 460], abs=25)
    assert people[0].size >= people[1].size


def test_the_box_says_who_is_read(detector: PersonDetector, pair: np.ndarray) -> None:
    for person in detector.find_people(pair):
        found = detector.detect(pair, person.xyxy)
        assert found is not None
        outside = found.mask.copy()
        x0, y0, x1, y1 = person.xyxy.astype(int)
        outside[max(y0 - 10, 0) : y1 + 10, x0 - 10 : x1 + 10] = False
        assert outside.sum() < 0.01 * found.mask.sum()


def test_an_empty_picture_holds_nobody(detector: PersonDetector) -> None:
    grey = np.full((360, 640, 3), 90, np.uint8)
    assert detector.find_people(grey) == []
    assert detector.detect(grey) is None
    assert detector.detect(grey, np.array([200, 50, 300, 340], np.float32)) is None


def test_landmarks_lie_on_the_person_and_look_human(detector: PersonDetector, walk: list[np.ndarray]) -> None:
    found = detector.detect(walk[60])
    assert found is not None
    near = cv2.dilate(found.mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    columns, rows = found.landmarks[LIMBS, :2].round().astype(int).T
    assert near[rows, columns].all()
    index = {name: k for k, name in enumerate(LANDMARK_NAMES)}
    for upper, lower in (("hip", "knee"), ("knee", "ankle")):
        left, right = (
            np.linalg.norm(found.world[index[f"{s}_{upper}"]] - found.world[index[f"{s}_{lower}"]])
            for s in ("left", "right")
        )
        assert 0.2 < left < 0.6
        assert left == pytest.approx(right, rel=0.25)


def test_a_larger_picture_gives_the_same_pose_in_its_own_pixels(
    detector: PersonDetector, walk: list[np.ndarray]
) -> None:
    small = detector.detect(walk[60])
    large = detector.detect(cv2.resize(walk[60], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))
    assert small is not None
    assert large is not None
    expected = 3 * small.landmarks[LIMBS, :2] + 1  # pixel centres: (x + 0.5) * 3 - 0.5
    assert np.median(np.hypot(*(large.landmarks[LIMBS, :2] - expected).T)) < 0.01 * 3 * 300
    shrunk = cv2.resize(large.mask.astype(np.uint8), None, fx=1 / 3, fy=1 / 3, interpolation=cv2.INTER_AREA)
    assert iou(shrunk.astype(bool), small.mask) > 0.9


def test_thorough_reading_treats_both_sides_alike(walk: list[np.ndarray]) -> None:
    thorough = create_detector("mediapipe", complexity=2)
    box = np.array([375, 45, 551, 347], np.float32)
    width = walk[60].shape[1]
    plain = thorough.detect(walk[60], box)
    mirrored = thorough.detect(np.ascontiguousarray(walk[60][:, ::-1]), np.array([width - 551, 45, width - 375, 347.0]))
    thorough.close()
    assert plain is not None
    assert mirrored is not None
    assert iou(plain.mask, mirrored.mask[:, ::-1]) > 0.95
    swapped = [LIMBS[k ^ 1] for k in range(len(LIMBS))]
    back = mirrored.landmarks[swapped, :2] * [-1, 1] + [width - 1, 0]
    assert np.median(np.hypot(*(plain.landmarks[LIMBS, :2] - back).T)) < 0.01 * 300


# --- who is chosen


def test_the_point_says_who_is_chosen(detector: PersonDetector, pair: np.ndarray) -> None:
    left = choose_person([(0, pair)], detector, person=(250, 200))
    right = choose_person([(0, pair)], detector, person=(460, 200))
    assert left.box[2] < 310 < right.box[0]


def test_nobody_near_the_point_is_an_input_error(detector: PersonDetector, pair: np.ndarray) -> None:
    with pytest.raises(InputError, match="900,50"):
        choose_person([(0, pair)], detector, person=(900, 50))


def test_a_clip_without_people_is_an_input_error(detector: PersonDetector) -> None:
    empty = np.full((240, 320, 3), 128, np.uint8)
    with pytest.raises(InputError, match="No person was found in any of the 2 frames"):
        choose_person([(0, empty), (10, empty)], detector)


# --- who is followed


@pytest.fixture(scope="module")
def start(detector: PersonDetector, walk: list[np.ndarray]) -> StartingPoint:
    return choose_person([(k, walk[20 + k]) for k in (0, 20, 40)], detector)


def follow(detector: PersonDetector, start: StartingPoint, frames: list[np.ndarray]):
    tracker = PersonTracker(detector, start, (frames[0].shape[1], frames[0].shape[0]), max_gap=6)
    for index, rgb in enumerate(frames):
        tracker.feed(index, rgb)
    return tracker.finish()


def test_a_bystander_in_the_same_clothes_is_never_taken(
    detector: PersonDetector, start: StartingPoint, walk: list[np.ndarray]
) -> None:
    frames = [frame.copy() for frame in walk[20:60]]
    for frame in frames:
        frame[:, 820:940] = walk[0][:, 820:940]
    track = follow(detector, start, frames)
    assert (track.state == "detected").all()
    assert (np.diff(track.xyxy[:, 0]) < 30).all()
    assert (track.xyxy[:, 2] < 830).all()


def test_short_gaps_are_predicted_long_ones_absent_and_the_person_is_found_again(
    detector: PersonDetector, start: StartingPoint, walk: list[np.ndarray]
) -> None:
    whole = follow(detector, start, walk[20:70])
    frames = list(walk[20:70])
    empty = walk[30].copy()
    empty[:, 440:] = walk[90][:, 440:]  # the woman of frame 90 stands further left
    assert detector.find_people(empty) == []
    for gone in (*range(10, 14), *range(24, 40)):
        frames[gone] = empty
    track = follow(detector, start, frames)
    assert (track.state[10:14] == "predicted").all()
    assert (track.state[24:40] == "absent").all()
    assert (np.delete(track.state, [*range(10, 14), *range(24, 40)]) == "detected").all()
    assert not track.mask(30).any()
    assert np.isnan(track.landmarks[30]).all()
    for gap in range(10, 14):
        away = np.hypot(*(track.landmarks[gap] - whole.landmarks[gap])[LIMBS, :2].T)
        assert np.median(away) < 0.03 * whole.height_px
        assert iou(track.mask(gap), whole.mask(gap)) > 0.8


def test_a_person_who_comes_late_is_absent_before(
    detector: PersonDetector, start: StartingPoint, walk: list[np.ndarray]
) -> None:
    empty = np.full_like(walk[0], 128)
    late = StartingPoint(start.frame + 8, start.box)
    track = follow(detector, late, [empty] * 8 + walk[20:28])
    assert (track.state[:8] == "absent").all()
    assert (track.state[8:] == "detected").all()


def test_frames_must_come_in_order(detector: PersonDetector, start: StartingPoint, walk: list[np.ndarray]) -> None:
    tracker = PersonTracker(detector, start, (960, 392))
    with pytest.raises(ValueError, match="frame 3"):
        tracker.feed(3, walk[3])


def test_somebody_who_is_never_seen_again_is_an_input_error(detector: PersonDetector, start: StartingPoint) -> None:
    tracker = PersonTracker(detector, start, (960, 392))
    tracker.feed(0, np.full((392, 960, 3), 128, np.uint8))
    with pytest.raises(InputError, match="could not be followed"):
        tracker.finish()
