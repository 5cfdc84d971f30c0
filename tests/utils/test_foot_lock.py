from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.types import LANDMARK_NAMES, CameraPath, FootContacts
from utils.foot_lock import FootLock, detect_contacts
from utils.quality import foot_slide

FRAMES, HEIGHT_PX, FRAME_HEIGHT = 120, 300.0, 720
STEP = 20  # frames that a foot stands, and then swings


def camera(shift: float = 0.0, frames: int = FRAMES) -> CameraPath:
    H = np.tile(np.eye(3), (frames - 1, 1, 1))
    H[:, 0, 2] = shift
    return CameraPath(H, np.tile(np.eye(3), (frames, 1, 1)), np.ones(frames - 1, np.float32))


def walk(noise: float = 0.0, frames: int = FRAMES, step: int = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of a figure that walks to the right, and when its feet really stand, (T, 2)."""
    landmarks = np.zeros((frames, 33, 3), np.float32)
    landmarks[:, 0, 1] = 500 - HEIGHT_PX  # nose
    standing = np.zeros((frames, 2), bool)
    for foot, side in enumerate(("left", "right")):
        phase = np.arange(frames) + foot * step
        cycle, within = np.divmod(phase, 2 * step)
        swing = np.clip((within - step) / step, 0, 1)
        smooth = swing * swing * (3 - 2 * swing)
        x = 100 + 160.0 * (cycle + smooth) + (80 - 160 * foot) * 0.5
        y = 500 - 25 * np.sin(np.pi * swing)
        standing[:, foot] = within <= step
        for part, dx, dy in (("ankle", 0, -12), ("heel", -6, 0), ("foot_index", 22, 0), ("knee", 5, -80)):
            index = LANDMARK_NAMES.index(f"{side}_{part}")
            landmarks[:, index, 0], landmarks[:, index, 1] = x + dx, y + dy
    landmarks[..., :2] += np.random.default_rng(2).normal(0, noise, (frames, 33, 2)) if noise else 0
    return landmarks, standing


def contacts_of(landmarks: np.ndarray, path: CameraPath, rate: float = 30) -> np.ndarray:
    return detect_contacts(landmarks, path, height_px=HEIGHT_PX, frame_height=FRAME_HEIGHT, rate=rate).contact


@pytest.mark.parametrize("noise", [0.0, 0.8])
def test_contacts_of_a_walk_are_where_the_feet_stand(noise: float) -> None:
    landmarks, standing = walk(noise)
    contact = contacts_of(landmarks, camera())
    assert (contact == standing).mean() > 0.85
    for foot in range(2):
        assert np.abs(np.diff(contact[:, foot].astype(int))).sum() <= 7  # three steps each: no flicker


def test_a_camera_that_follows_changes_nothing() -> None:
    landmarks, _ = walk()
    panned = landmarks.copy()
    panned[..., 0] -= 8.0 * np.arange(FRAMES)[:, None]
    assert np.array_equal(contacts_of(panned, camera(-8.0)), contacts_of(landmarks, camera()))


def test_speed_limit_follows_the_frame_rate() -> None:
    slow, _ = walk()
    fast, standing_fast = walk(frames=2 * FRAMES, step=2 * STEP)  # the same walk at 60 frames per second
    at_30 = contacts_of(slow, camera())
    at_60 = contacts_of(fast, camera(frames=2 * FRAMES), rate=60)
    assert abs(at_30.mean() - at_60.mean()) < 0.06
    assert (at_60 == standing_fast).mean() > 0.85


def test_short_gaps_are_closed_and_absent_frames_have_no_contact() -> None:
    landmarks, _ = walk()
    stand = contacts_of(landmarks, camera())
    jumpy = landmarks.copy()
    jumpy[8, :, :2] += 30  # one bad frame in the middle of a stance of the left foot
    contact = contacts_of(jumpy, camera())
    assert stand[4:14, 0].all()
    assert contact[4:14, 0].all()
    gone = landmarks.copy()
    gone[40:60] = np.nan
    assert not contacts_of(gone, camera())[40:60].any()


def drawn_leg(x: float, y: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A layer with one leg whose ankle is at (x, y), and its landmarks (the right leg stands far off)."""
    rgb, alpha = np.full((300, 300, 3), 90, np.uint8), np.zeros((300, 300), np.float32)
    cv2.line(alpha, (round(x), round(y) - 110), (round(x), round(y)), 1.0, 16)
    cv2.ellipse(alpha, (round(x) + 12, round(y) + 6), (24, 9), 0, 0, 360, 1.0, -1)
    landmarks = np.full((33, 3), np.nan, np.float32)
    for name, dx, dy in (("left_knee", 0, -80), ("left_ankle", 0, 0), ("left_foot_index", 30, 8)):
        landmarks[LANDMARK_NAMES.index(name)] = (x + dx, y + dy, 0)
    return rgb, alpha, landmarks


def foot_centre(alpha: np.ndarray) -> float:
    rows = alpha[205:225]
    return float((rows * np.arange(alpha.shape[1])).sum() / rows.sum())


def hold_drifting_foot(lock: FootLock, contact: list[bool], drift: float = 1.0) -> list[float]:
    places = []
    for t, standing in enumerate(contact):
        rgb, alpha, landmarks = drawn_leg(150 + drift * t, 205)
        _, held = lock.hold(rgb, alpha, landmarks, np.array([standing, False]), np.eye(3) if t else None)
        places.append(foot_centre(held))
    return places


def test_a_standing_foot_is_held_by_seventy_percent() -> None:
    free = hold_drifting_foot(FootLock(strength=0.0), [True] * 9)
    held = hold_drifting_foot(FootLock(strength=0.7), [True] * 9)
    assert free[-1] - free[0] == pytest.approx(8, abs=0.6)
    assert held[-1] - held[0] == pytest.approx(0.3 * 8, abs=0.8)


def test_the_hold_lets_go_gently_and_leaves_the_thigh_alone() -> None:
    lock = FootLock(strength=1.0)
    places = hold_drifting_foot(lock, [True] * 8 + [False] * 8)
    assert np.abs(np.diff(places)).max() < 4.5
    assert places[-1] == pytest.approx(hold_drifting_foot(FootLock(strength=0.0), [True] * 16)[-1], abs=0.3)
    lock.reset()
    rgb, alpha, landmarks = drawn_leg(150, 205)
    lock.hold(rgb, alpha, landmarks, np.array([True, False]), None)
    rgb, alpha, landmarks = drawn_leg(158, 205)
    _, held = lock.hold(rgb, alpha, landmarks, np.array([True, False]), np.eye(3))
    assert np.abs(held[:110] - alpha[:110]).max() < 0.02


def test_a_foot_in_the_air_is_not_touched() -> None:
    rgb, alpha, landmarks = drawn_leg(150, 205)
    colour, held = FootLock().hold(rgb, alpha, landmarks, np.array([False, False]), np.eye(3))
    assert colour is rgb
    assert held is alpha


def test_the_anchor_moves_with_the_scene() -> None:
    lock = FootLock(strength=1.0)
    pan = np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]])
    for t in range(6):  # the scene moves by 3 px a frame and the foot with it: nothing to correct
        rgb, alpha, landmarks = drawn_leg(120 + 3 * t, 205)
        colour, held = lock.hold(rgb, alpha, landmarks, np.array([True, False]), pan if t else None)
        assert colour is rgb
        assert held is alpha


def test_slide_of_planted_feet_is_the_drift_that_was_put_in() -> None:
    landmarks, standing = walk()
    ankles = landmarks[:, [LANDMARK_NAMES.index("left_ankle"), LANDMARK_NAMES.index("right_ankle")], :2].copy()
    found = FootContacts(standing, np.zeros((FRAMES, 2), np.float32))
    assert foot_slide(ankles, found, camera(), FRAME_HEIGHT) == pytest.approx(0, abs=0.01)
    ankles[..., 1] += 0.8 * np.arange(FRAMES)[:, None]
    assert foot_slide(ankles, found, camera(), FRAME_HEIGHT) == pytest.approx(0.8, abs=0.01)
    assert foot_slide(ankles, found, camera(), 2 * FRAME_HEIGHT) == pytest.approx(0.4, abs=0.01)
    nothing = FootContacts(np.zeros((FRAMES, 2), bool), found.speed)
    assert foot_slide(ankles, nothing, camera(), FRAME_HEIGHT) is None
