"""Cleaning landmarks, on a synthetic walker whose true path is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.types import LANDMARK_NAMES, PersonTrack, PoseTrack
from utils.landmarks import clean_landmarks, doubled_trust, find_swaps, path_trust, smooth

COUNT, WIDTH, HEIGHT, TALL = 60, 480, 320, 200
INDEX = {name: k for k, name in enumerate(LANDMARK_NAMES)}
LEGS = [[INDEX[f"{side}_{part}"] for part in ("knee", "ankle", "heel", "foot_index")] for side in ("left", "right")]
ARMS = [
    [INDEX[f"{side}_{part}"] for part in ("elbow", "wrist", "pinky", "index", "thumb")] for side in ("left", "right")
]


def walker() -> np.ndarray:
    """(T, 33, 3): somebody walks through the picture, legs and arms swinging like pendulums."""
    points = np.zeros((COUNT, 33, 3))
    for t in range(COUNT):
        middle, top = 100 + 4 * t, 60
        points[t, :11] = [middle, top + 10, 0]
        for sign, side in ((1, "left"), (-1, "right")):
            swing = sign * np.sin(2 * np.pi * t / 30)
            chain = {"shoulder": (0, 40), "elbow": (-12 * swing, 70), "wrist": (-28 * swing, 98)}
            chain |= dict.fromkeys(("pinky", "index", "thumb"), (-30 * swing, 104))
            chain |= {"hip": (0, 100), "knee": (20 * swing, 148), "ankle": (44 * swing, 192)}
            chain |= {"heel": (42 * swing, 198), "foot_index": (52 * swing, 198)}
            for part, (x, y) in chain.items():
                points[t, INDEX[f"{side}_{part}"]] = [middle + x + 3 * sign, top + y, 20 * sign]
    return points


def mask_of(points: np.ndarray) -> np.ndarray:
    """The walker's silhouette: thick lines along the limbs."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for side in ("left", "right"):
        for chain in (("shoulder", "elbow", "wrist"), ("shoulder", "hip", "knee", "ankle", "foot_index")):
            line = np.array([points[INDEX[f"{side}_{part}"], :2] for part in chain]).round().astype(np.int32)
            cv2.polylines(mask, [line], False, 1, 17)
    cv2.circle(mask, tuple(int(v) for v in points[0, :2]), 16, 1, -1)
    return mask.astype(bool)


def track_of(points: np.ndarray, truth: np.ndarray) -> PersonTrack:
    packed = np.stack([np.packbits(mask_of(p), axis=-1) for p in truth])
    boxes = np.stack([[p[:, 0].min(), 60, p[:, 0].max(), 60 + TALL] for p in truth]).astype(np.float32)
    landmarks = np.concatenate([points, np.ones((COUNT, 33, 1))], axis=-1).astype(np.float32)
    state = np.full(COUNT, "detected", "<U9")
    world = (points / TALL * 1.7).astype(np.float32)
    return PersonTrack(boxes, np.ones(COUNT, np.float32), landmarks, world, state, packed, WIDTH)


def error(pose: PoseTrack, truth: np.ndarray) -> np.ndarray:
    """(T, 33) distance from the truth in heights."""
    return np.hypot(*np.moveaxis(pose.landmarks[..., :2] - truth[..., :2], -1, 0)) / TALL


def swap(points: np.ndarray, frames: slice, limb: list[list[int]]) -> np.ndarray:
    swapped = points.copy()
    swapped[frames, limb[0]], swapped[frames, limb[1]] = points[frames, limb[1]], points[frames, limb[0]]
    return swapped


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return walker()


def test_clean_landmarks_stay_what_they_are(truth: np.ndarray) -> None:
    pose = clean_landmarks(track_of(truth, truth), fps=30)
    assert error(pose, truth).max() < 0.02
    assert pose.repaired == {"swaps": 0, "strays": 0, "interpolated": 0}
    assert (pose.weight > 0.9).all()


@pytest.mark.parametrize("limb", [LEGS, ARMS], ids=["legs", "arms"])
@pytest.mark.parametrize("frames", [slice(5, 10), slice(20, 26), slice(36, 37), slice(0, 4)])
def test_swapped_limbs_are_put_right(truth: np.ndarray, limb: list[list[int]], frames: slice) -> None:
    pose = clean_landmarks(track_of(swap(truth, frames, limb), truth), fps=30)
    assert error(pose, truth).max() < 0.04
    assert np.median(error(pose, truth)[frames]) < 0.01


def test_crossing_legs_are_no_swap(truth: np.ndarray) -> None:
    assert not find_swaps(truth[:, LEGS[0], :2], truth[:, LEGS[1], :2], 0.08 * TALL).any()


def test_a_burst_of_strays_is_bridged(truth: np.ndarray) -> None:
    """A leg that jumps to the background for four frames: longer than a five-frame median survives."""
    broken = truth.copy()
    broken[20:24, LEGS[0], :2] += [70, -60]
    pose = clean_landmarks(track_of(broken, truth), fps=30)
    assert error(pose, truth).max() < 0.06
    assert (pose.weight[20:24][:, LEGS[0]] == 0).all()
    assert pose.repaired["strays"] >= 16


def test_a_jump_within_the_person_is_a_stray_too(truth: np.ndarray) -> None:
    """A wrist that is read at the other hip for three frames: it lies on the mask all the time."""
    wrist = INDEX["left_wrist"]
    broken = truth.copy()
    broken[7:10, wrist] = truth[7:10, INDEX["right_knee"]]
    pose = clean_landmarks(track_of(broken, truth), fps=30)
    assert error(pose, truth)[7:10, wrist].max() < 0.05


def test_distrust_goes_down_the_limb(truth: np.ndarray) -> None:
    broken = truth.copy()
    broken[30, INDEX["right_knee"], :2] += [-80, 0]
    pose = clean_landmarks(track_of(broken, truth), fps=30)
    assert (pose.weight[30, LEGS[1]] == 0).all()
    assert (pose.weight[30, LEGS[0]] > 0.9).all()


def test_a_hidden_arm_on_top_of_the_visible_one_is_not_believed(truth: np.ndarray) -> None:
    doubled = truth.copy()
    doubled[:, ARMS[1]] = truth[:, ARMS[0]]
    visibility = np.ones((COUNT, 33))
    visibility[:, ARMS[1]] = 0.1
    trust = doubled_trust(doubled, visibility, TALL)
    assert (trust[:, ARMS[1]] == 0).all()
    assert (np.delete(trust, ARMS[1], axis=1) == 1).all()


def test_jitter_shrinks_and_nothing_lags(truth: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(0, 1.5, truth.shape)
    track = track_of(truth + noise, truth)
    pose = clean_landmarks(track, fps=30)

    def acceleration(points: np.ndarray) -> float:
        return float(np.abs(np.diff(points[..., :2], 2, axis=0)).mean())

    assert acceleration(pose.landmarks) < 0.5 * acceleration(track.landmarks)
    limbs = [*LEGS[0], *LEGS[1], *ARMS[0], *ARMS[1]]
    bias = (pose.landmarks - truth)[2:-2, limbs, :2].mean(axis=0)
    assert np.abs(bias).max() < 0.8


def test_frames_without_the_person_stay_empty(truth: np.ndarray) -> None:
    track = track_of(truth, truth)
    away = slice(20, 35)
    for rows in (track.landmarks, track.world, track.xyxy):
        rows[away] = np.nan
    track.state[away] = "absent"
    track.state[40] = "predicted"
    pose = clean_landmarks(track, fps=30)
    assert np.isnan(pose.landmarks[away]).all()
    assert (pose.weight[away] == 0).all()
    assert np.isfinite(pose.landmarks[pose.present]).all()
    assert np.isfinite(pose.world[pose.present]).all()
    assert (pose.weight[40] == 0).all()


def test_a_clip_of_one_frame_passes(truth: np.ndarray) -> None:
    track = track_of(truth, truth)
    one = replace(
        track,
        **{name: getattr(track, name)[:1] for name in ("xyxy", "score", "landmarks", "world", "state", "packed_masks")},
    )
    pose = clean_landmarks(one, fps=30)
    np.testing.assert_allclose(pose.landmarks[0, :, :2], truth[0, :, :2], atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.integers(2, 6))
def test_smoothing_leaves_every_quadratic_path_alone(coefficients: list[float], half: int) -> None:
    t = np.linspace(-1, 1, 25)
    path = np.polyval(coefficients, t)[:, None, None] * np.ones((25, 2, 2))
    np.testing.assert_allclose(smooth(path, np.ones((25, 2)), half, 1.0), path, atol=0.02)


@settings(max_examples=20, deadline=None)
@given(st.floats(-500, 500), st.floats(-500, 500))
def test_trust_in_a_path_does_not_depend_on_where_it_is(x: float, y: float) -> None:
    points = walker()
    points[10:12, INDEX["left_ankle"], 0] += 60
    trust = path_trust(points, TALL)
    np.testing.assert_array_equal(path_trust(points + np.array([x, y, 0]), TALL), trust)
    assert (trust[10:12, INDEX["left_ankle"]] == 0).all()
