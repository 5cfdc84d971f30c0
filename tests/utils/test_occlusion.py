from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from core.types import LANDMARK_NAMES, CameraPath
from utils.occlusion import OcclusionFinder

WIDTH, HEIGHT, PERSON = 320, 200, 120.0
POLE = (150, 178)


def scene(with_pole: bool, width: int = WIDTH) -> np.ndarray:
    rows = np.linspace(200, 110, HEIGHT)[:, None, None]
    texture = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 30, (HEIGHT, width, 3)), (0, 0), 2)
    picture = np.clip(rows + texture, 0, 255).astype(np.uint8)
    if with_pole:
        bark = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 25, (HEIGHT, POLE[1] - POLE[0], 3)), (0, 0), 1)
        picture[:, POLE[0] : POLE[1]] = np.clip(70 + bark, 0, 255).astype(np.uint8)
    return picture


def landmarks_at(x: float, stride: float) -> np.ndarray:
    """A standing figure of ``PERSON`` pixels with its hips at x; its feet are ``stride`` apart."""
    places = {
        "shoulder": (9, 60), "elbow": (12, 82), "wrist": (14, 102), "hip": (7, 102),
        "knee": (stride / 2, 134), "ankle": (stride, 166), "heel": (stride, 170), "foot_index": (stride + 7, 170),
    }  # fmt: skip
    points = np.zeros((33, 3), np.float32)
    points[:11] = (x, 45, 0)
    for index, name in enumerate(LANDMARK_NAMES[11:], start=11):
        side, part = name.split("_", 1)
        dx, y = places.get(part, places["wrist"])
        points[index] = (x + (dx if side == "left" else -dx), y, 0)
    return points


def silhouette(points: np.ndarray) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    at = {name: tuple(int(v) for v in points[i, :2]) for i, name in enumerate(LANDMARK_NAMES)}
    for side in ("left", "right"):
        for chain in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
            for a, b in pairwise(chain):
                cv2.line(mask, at[f"{side}_{a}"], at[f"{side}_{b}"], 1, 11)
    corners = [at["left_shoulder"], at["right_shoulder"], at["right_hip"], at["left_hip"]]
    cv2.fillPoly(mask, [np.array(corners)], 1)
    cv2.polylines(mask, [np.array(corners)], True, 1, 11)
    cv2.circle(mask, at["nose"], 9, 1, -1)
    return mask.astype(bool)


def walk_past(with_pole: bool, *, in_front: bool = False, pan: int = 0, frames: int = 60) -> OcclusionFinder:
    """Let a figure walk from left to right, behind the pole if there is one and it does not walk ``in_front``."""
    world = scene(with_pole, WIDTH + pan * frames)
    H = np.tile(np.eye(3), (frames - 1, 1, 1))
    H[:, 0, 2] = -pan
    camera = CameraPath(H, np.tile(np.eye(3), (frames, 1, 1)), np.ones(frames - 1, np.float32))
    finder = OcclusionFinder(camera, (WIDTH, HEIGHT), rate=30, height_px=PERSON)
    pole = np.zeros((HEIGHT, world.shape[1]), bool)
    pole[:, POLE[0] : POLE[1]] = with_pole and not in_front
    for t in range(frames):
        plate = np.ascontiguousarray(world[:, pan * t : pan * t + WIDTH])
        points = landmarks_at(60 + 4.0 * t - pan * t, 14 * np.sin(t / 4))
        mask = silhouette(points) & ~pole[:, pan * t : pan * t + WIDTH]
        source = plate.copy()
        source[mask] = (190, 40, 60)
        finder.feed(t, source, plate, mask, points)
    finder.finish()
    return finder


def test_a_pole_that_hides_the_person_is_found_up_to_its_edges() -> None:
    finder = walk_past(True)
    found = finder.occluders(26)
    assert found is not None
    assert found.dtype == np.float32
    body = np.s_[55:165]
    inside = found[body, POLE[0] + 3 : POLE[1] - 3]
    outside = np.delete(found[body], np.s_[POLE[0] - 3 : POLE[1] + 3], axis=1)
    assert (inside > 0.5).mean() > 0.97
    assert (outside > 0.5).mean() < 0.01
    assert ((found > 0.05) & (found < 0.95)).any()  # its edges are soft


def test_the_pole_is_found_while_the_camera_pans() -> None:
    finder = walk_past(True, pan=1)
    found = finder.occluders(26)
    assert found is not None
    assert (found[60:160, POLE[0] - 26 + 3 : POLE[1] - 26 - 3] > 0.5).mean() > 0.97
    assert (found[60:160, : POLE[0] - 26 - 4] > 0.5).mean() < 0.01


@pytest.mark.parametrize("pan", [0, 1])
def test_a_clear_scene_has_no_occluder(pan: int) -> None:
    finder = walk_past(False, pan=pan)
    assert all(finder.occluders(t) is None for t in range(60))


def test_a_pole_behind_the_person_is_no_occluder() -> None:
    finder = walk_past(True, in_front=True)
    assert all(finder.occluders(t) is None for t in range(60))


def test_depth_order_may_change_over_time() -> None:
    """The figure walks behind the pole, and later, in another window, in front of it."""
    frames, later = 60, 180
    world = scene(True)
    camera = CameraPath(
        np.tile(np.eye(3), (later + frames - 1, 1, 1)),
        np.tile(np.eye(3), (later + frames, 1, 1)),
        np.ones(later + frames - 1, np.float32),
    )
    finder = OcclusionFinder(camera, (WIDTH, HEIGHT), rate=30, height_px=PERSON)
    for start in (0, later):
        for t in range(frames):
            points = landmarks_at(60 + 4.0 * t, 14 * np.sin(t / 4))
            mask = silhouette(points)
            if start == 0:
                mask[:, POLE[0] : POLE[1]] = False
            source = world.copy()
            source[mask] = (190, 40, 60)
            finder.feed(start + t, source, world, mask, points)
    finder.finish()
    assert finder.occluders(26) is not None
    assert finder.occluders(later + 26) is None


def test_wrong_landmarks_in_a_clear_scene_make_no_occluder() -> None:
    world = scene(False)
    camera = CameraPath(np.tile(np.eye(3), (59, 1, 1)), np.tile(np.eye(3), (60, 1, 1)), np.ones(59, np.float32))
    finder = OcclusionFinder(camera, (WIDTH, HEIGHT), rate=30, height_px=PERSON)
    random = np.random.default_rng(3)
    for t in range(60):
        points = landmarks_at(60 + 4.0 * t, 14 * np.sin(t / 4))
        mask = silhouette(points)
        source = world.copy()
        source[mask] = (190, 40, 60)
        points[[13, 15, 25, 27], :2] += random.normal(0, 12, (4, 2))  # an arm and a leg off the body
        finder.feed(t, source, world, mask, points)
    finder.finish()
    assert all(finder.occluders(t) is None for t in range(60))


def test_frames_must_come_in_order() -> None:
    world, points = scene(False), landmarks_at(100, 0)
    camera = CameraPath(np.tile(np.eye(3), (9, 1, 1)), np.tile(np.eye(3), (10, 1, 1)), np.ones(9, np.float32))
    finder = OcclusionFinder(camera, (WIDTH, HEIGHT), rate=30, height_px=PERSON)
    finder.feed(3, world, world, silhouette(points), points)
    with pytest.raises(ValueError, match="order"):
        finder.feed(3, world, world, silhouette(points), points)
    with pytest.raises(ValueError, match="finish"):
        finder.occluders(3)
    finder.finish()
    assert finder.occluders(3) is None


def pass_rod(width: int, *, masked: bool, in_front: bool = False, pan: int = 0, frames: int = 60) -> OcclusionFinder:
    """Like :func:`walk_past`, with a rod of ``width`` pixels, grain, and a detector that may not see the rod."""
    world = scene(False, WIDTH + pan * frames)
    world[:, 150 : 150 + width] = (70, 66, 60)
    H = np.tile(np.eye(3), (frames - 1, 1, 1))
    H[:, 0, 2] = -pan
    camera = CameraPath(H, np.tile(np.eye(3), (frames, 1, 1)), np.ones(frames - 1, np.float32))
    finder = OcclusionFinder(camera, (WIDTH, HEIGHT), rate=30, height_px=PERSON)
    random = np.random.default_rng(0)
    for t in range(frames):
        plate = np.ascontiguousarray(world[:, pan * t : pan * t + WIDTH])
        points = landmarks_at(60 + 4.0 * t - pan * t, 14 * np.sin(t / 4))
        person = silhouette(points)
        visible = person.copy()
        if not in_front:
            visible[:, 150 - pan * t : 150 - pan * t + width] = False
        source = plate.copy()
        source[visible] = (190, 40, 60)
        noisy = cv2.GaussianBlur(source, (0, 0), 0.5) + random.normal(0, 2, source.shape)
        source = np.clip(noisy, 0, 255).astype(np.uint8)
        finder.feed(t, source, cv2.GaussianBlur(plate, (0, 0), 0.5), person if masked else visible, points)
    finder.finish()
    return finder


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("pan", [0, 1])
@pytest.mark.parametrize("width", [3, 4, 7])
def test_a_thin_rod_is_found(width: int, pan: int, masked: bool) -> None:
    """From 2.5 % of the person's height on, whether the detector leaves it out of the mask or not."""
    found = pass_rod(width, masked=masked, pan=pan).occluders(26)
    assert found is not None
    left = 150 - pan * 26
    body = np.s_[55:165]
    assert (found[body, left : left + width] > 0.5).mean() > 0.85
    outside = np.delete(found[body], np.s_[left - 2 : left + width + 2], axis=1)
    assert (outside > 0.5).mean() < 0.02


@pytest.mark.parametrize("width", [3, 7])
def test_a_rod_behind_the_person_is_no_occluder(width: int) -> None:
    finder = pass_rod(width, masked=True, in_front=True)
    assert all(finder.occluders(t) is None for t in range(60))


@pytest.mark.parametrize("with_ball", [True, False])
def test_what_passes_in_front_is_told(with_ball: bool) -> None:
    """A ball flies past before the body: it is no part of the scene, so it is not kept in front, but the frames are named."""
    frames = 40
    plate = scene(False)
    still = CameraPath(
        np.tile(np.eye(3), (frames - 1, 1, 1)), np.tile(np.eye(3), (frames, 1, 1)), np.ones(frames - 1, np.float32)
    )
    finder = OcclusionFinder(still, (WIDTH, HEIGHT), rate=30, height_px=PERSON)
    covered = np.zeros(frames, bool)
    for t in range(frames):
        points = landmarks_at(150 + 0.5 * t, 6 * np.sin(t / 4))
        person = silhouette(points)
        ball = np.zeros((HEIGHT, WIDTH), np.uint8)
        if with_ball:
            cv2.circle(ball, (20 + 8 * t, 85), 12, 1, -1)
        visible = person & (ball == 0)
        covered[t] = (person & (ball > 0)).sum() > 300
        source = plate.copy()
        source[visible] = (190, 40, 60)
        source[ball > 0] = (60, 230, 240)
        finder.feed(t, source, plate, visible, points)
    finder.finish()
    found = finder.passing()
    assert found.any() == with_ball
    assert not (found & ~cv2.dilate(covered[None].astype(np.uint8), np.ones((1, 5)))[0].astype(bool)).any()
    assert all(finder.occluders(t) is None for t in range(frames))
