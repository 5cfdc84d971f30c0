"""The camera tracker on scenes whose camera is known, and the path of the virtual camera."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import transforms
from utils.stabilization import CameraTracker, camera_path, fit_similarity
from utils.transforms import Similarity

SIZE = (480, 270)
CENTRE = ((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)


def texture(seed: int, size: tuple[int, int] = (700, 450)) -> np.ndarray:
    """A picture with detail at several scales, (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), np.float32)
    for cell in (4, 12, 40):
        coarse = rng.uniform(0, 1, (size[1] // cell + 2, size[0] // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(total / 3 * 255, 0, 255).astype(np.uint8)


def film(scene: np.ndarray, pose: Similarity) -> np.ndarray:
    H = transforms.compose(pose.matrix(CENTRE), transforms.translation(-110, -90))
    return transforms.warp(scene, H, SIZE, cv2.INTER_CUBIC)


def shaky_poses(count: int, seed: int = 3) -> list[Similarity]:
    rng = np.random.default_rng(seed)
    return [
        Similarity(i + rng.normal(0, 4), rng.normal(0, 4), rng.normal(0, 0.006), rng.normal(0, 0.004))
        for i in range(count)
    ]


def test_known_motion_is_found_to_a_twentieth_of_a_pixel_although_somebody_else_walks() -> None:
    scene, poses = texture(0), shaky_poses(8)
    tracker, walker = CameraTracker(200), texture(9, (80, 160))
    errors = []
    previous = None
    for i, pose in enumerate(poses):
        frame = film(scene, pose)
        frame[60:220, 60 + 9 * i : 140 + 9 * i] = walker
        mask = np.zeros(frame.shape[:2], bool)
        frame[40:240, 380:440] = np.roll(texture(5, (60, 200)), 7 * i, axis=0)
        mask[40:240, 380:440] = True
        H = tracker.update(frame, mask)
        if previous is not None and H is not None:
            truth = transforms.compose(pose.matrix(CENTRE), transforms.invert(previous.matrix(CENTRE)))
            errors.append(transforms.corner_distance(H, truth, SIZE))
        else:
            assert H is None
        previous = pose
    assert np.mean(errors) < 0.05
    assert min(tracker.inliers) > 0.6
    assert tracker.lost_frames == []


def test_nothing_to_follow_is_the_identity_and_is_noted() -> None:
    tracker = CameraTracker()
    blank = np.full((270, 480, 3), 90, np.uint8)
    assert tracker.update(blank) is None
    np.testing.assert_array_equal(tracker.update(blank), np.eye(3))
    assert tracker.inliers == [0.0]
    assert tracker.lost_frames == [1]


def test_pictures_larger_than_the_tracking_size_are_measured_in_their_own_pixels() -> None:
    big = cv2.resize(texture(1), (2100, 1350), interpolation=cv2.INTER_CUBIC)
    tracker = CameraTracker()
    tracker.update(big[100:1100, 100:2000])
    H = tracker.update(big[106:1106, 90:1990])
    assert transforms.corner_distance(H, transforms.translation(10, -6), (1900, 1000)) < 0.05


def test_similarity_fit_shrugs_off_a_third_of_wrong_points() -> None:
    rng = np.random.default_rng(0)
    truth = Similarity(5, -3, 0.02, 0.01).matrix()
    source = rng.uniform(0, 900, (90, 2)).astype(np.float32)
    target = transforms.apply(truth, source).astype(np.float32)
    target[:30] += rng.uniform(10, 60, (30, 2)).astype(np.float32)
    fit = fit_similarity(source, target)
    assert fit is not None
    assert transforms.corner_distance(fit.matrix, truth, (900, 900)) < 0.01
    assert not fit.inliers[:30].any()
    assert fit.inliers[30:].all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), window=st.integers(1, 40), count=st.integers(1, 60))
def test_stabilising_and_shaking_again_changes_nothing(seed: int, window: int, count: int) -> None:
    poses = [pose.matrix(CENTRE) for pose in shaky_poses(count, seed)]
    steps = [transforms.compose(b, transforms.invert(a)) for a, b in pairwise(poses)]
    path = camera_path(steps, np.ones(count - 1), SIZE, window)
    for H in path.H_stable_source:
        back = transforms.compose(transforms.invert(H), H)
        assert transforms.corner_distance(back, np.eye(3), SIZE) < 1e-6
    if window == 1:
        np.testing.assert_array_equal(path.H_stable_source, np.tile(np.eye(3), (count, 1, 1)))


def test_pictures_stabilised_and_shaken_again_stay_within_a_tenth_of_a_pixel() -> None:
    poses = shaky_poses(12)
    matrices = [pose.matrix(CENTRE) for pose in poses]
    steps = [transforms.compose(b, transforms.invert(a)) for a, b in pairwise(matrices)]
    path = camera_path(steps, np.ones(11), SIZE)
    frame = film(texture(0), poses[4])
    stable = transforms.warp(frame, path.H_stable_source[4], SIZE, cv2.INTER_CUBIC)
    shaken = transforms.warp(stable, transforms.invert(path.H_stable_source[4]), SIZE, cv2.INTER_CUBIC)
    inner = (slice(30, -30), slice(30, -30))
    grey = [np.float32(cv2.cvtColor(image[inner], cv2.COLOR_RGB2GRAY)) for image in (frame, shaken)]
    shift, _ = cv2.phaseCorrelate(*grey)
    assert np.hypot(*shift) < 0.1


def test_the_virtual_camera_is_smoother_and_keeps_a_steady_pan() -> None:
    poses = [pose.matrix(CENTRE) for pose in shaky_poses(90)]
    steps = [transforms.compose(b, transforms.invert(a)) for a, b in pairwise(poses)]
    path = camera_path(steps, np.ones(89), SIZE)
    centre = np.array(CENTRE)
    raw = np.array([transforms.apply(H, centre) for H in transforms.chain(path.H_next_source)])
    virtual = [
        transforms.apply(transforms.compose(S, F), centre)
        for S, F in zip(path.H_stable_source, transforms.chain(path.H_next_source), strict=True)
    ]
    assert np.abs(np.diff(virtual, 2, axis=0)).mean() < 0.2 * np.abs(np.diff(raw, 2, axis=0)).mean()

    pan = camera_path([transforms.translation(3, 0)] * 50, np.ones(50), SIZE)
    np.testing.assert_allclose(pan.H_stable_source, np.tile(np.eye(3), (51, 1, 1)), atol=1e-6)


def test_a_static_camera_is_exactly_static_but_a_slow_pan_is_not() -> None:
    rng = np.random.default_rng(1)
    noise = [transforms.translation(*rng.normal(0, 0.01, 2)) for _ in range(200)]
    still = camera_path(noise, np.ones(200), SIZE)
    np.testing.assert_array_equal(still.H_next_source, np.tile(np.eye(3), (200, 1, 1)))
    np.testing.assert_array_equal(still.H_stable_source, np.tile(np.eye(3), (201, 1, 1)))
    assert still.is_static

    pan = [transforms.compose(H, transforms.translation(0.05, 0)) for H in noise]
    moved = transforms.chain(camera_path(pan, np.ones(200), SIZE).H_next_source)[-1]
    assert moved[0, 2] == pytest.approx(10.0, abs=0.5)


def test_a_shot_that_stands_still_first_and_then_pans_keeps_its_total_motion() -> None:
    steps = [transforms.translation(0.004 * (-1) ** i, 0) for i in range(60)]
    steps += [transforms.translation(2, 0)] * 20
    path = camera_path(steps, np.ones(80), SIZE)
    np.testing.assert_array_equal(path.H_next_source[:59], np.tile(np.eye(3), (59, 1, 1)))
    np.testing.assert_allclose(transforms.chain(path.H_next_source)[-1], transforms.translation(40, 0), atol=1e-6)


def test_one_frame_has_a_path() -> None:
    path = camera_path([], [], SIZE)
    assert path.H_next_source.shape == (0, 3, 3)
    np.testing.assert_array_equal(path.H_stable_source, [np.eye(3)])
