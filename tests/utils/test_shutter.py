"""The shutter of made footage, whose shutter is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils.shutter import ShutterEstimate

WIDTH, HEIGHT = 320, 240


def _frame(t: float, shutter: float, speed: float, steps: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A dark limb that sweeps to the right before a bright, grainy wall, and one that stands still: picture and mask."""
    wall = 170 + cv2.GaussianBlur(np.random.default_rng(3).normal(0, 6, (HEIGHT, WIDTH)), (0, 0), 1.5)

    def limb(x: float) -> np.ndarray:
        cover = np.zeros((HEIGHT * 2, WIDTH * 2), np.float32)
        cv2.ellipse(cover, (round(2 * x), 150), (56, 110), 0, 0, 360, 1.0, -1)
        cv2.rectangle(cover, (60, 320), (580, 440), 1.0, -1)
        return cv2.resize(cover, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)

    middle = 60 + speed * t
    offsets = (np.arange(steps) + 0.5) / steps - 0.5
    cover = np.mean([limb(middle + speed * shutter * o) for o in offsets], axis=0)
    cover = cv2.GaussianBlur(cover, (0, 0), 0.8)
    noise = np.random.default_rng(int(t)).normal(0, 1.5, (HEIGHT, WIDTH))
    picture = wall * (1 - cover) + 40 * cover + noise
    rgb = np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return rgb, limb(middle) > 0.5


def _watched(*shutters: float | None) -> ShutterEstimate:
    """An estimate that saw one frame for each shutter, the limb sweeping; ``None`` for a frame in which it stands."""
    estimate = ShutterEstimate()
    for t, shutter in enumerate(shutters):
        speed = 0.0 if shutter is None else 12.0
        rgb, mask = _frame(t + 1, shutter or 0.0, speed)
        y, x = np.nonzero(mask)
        points = np.stack([x, y], axis=1)[::7].astype(float)
        estimate.add(rgb, mask, points, np.where(points[:, 1:] < 150, [[speed, 0.0]], [[0.0, 0.0]]))
    return estimate


@pytest.mark.parametrize("shutter", [0.0, 0.25, 0.5, 0.9])
def test_the_shutter_is_read_off_moving_edges(shutter: float) -> None:
    assert _watched(*[shutter] * 14).shutter() == pytest.approx(shutter, abs=0.1)


def test_what_stands_still_tells_nothing() -> None:
    assert _watched(*[None] * 6).shutter() is None


def test_two_frames_with_motion_are_too_few_to_tell() -> None:
    assert _watched(0.9, 0.9, *[None] * 12).shutter() is None
    assert _watched(*[0.9] * 12, None, None).shutter() is not None


def test_frames_that_disagree_pull_the_shutter_to_the_usual_one() -> None:
    sure, unsure = _watched(*[0.9] * 12).shutter(), _watched(*[0.9, 0.0] * 6).shutter()
    assert sure is not None and unsure is not None
    assert sure > 0.75
    assert 0.2 < unsure < 0.7


def test_a_frame_without_a_person_tells_nothing() -> None:
    estimate = ShutterEstimate()
    empty = np.zeros((HEIGHT, WIDTH), bool)
    estimate.add(np.zeros((HEIGHT, WIDTH, 3), np.uint8), empty, np.zeros((0, 2)), np.zeros((0, 2)))
    assert estimate.shutter() is None


@pytest.mark.parametrize("blur", [1.0, 1.6, 2.4])
def test_the_sharpness_is_that_of_the_outline_at_rest(blur: float) -> None:
    cover = np.zeros((HEIGHT * 2, WIDTH * 2), np.float32)
    cv2.ellipse(cover, (320, 240), (120, 180), 20, 0, 360, 1.0, -1)
    cover = cv2.resize(cover, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    mask = cover > 0.5
    picture = 190 - 150 * cv2.GaussianBlur(cover, (0, 0), blur)
    rgb = np.repeat(picture.astype(np.uint8)[..., None], 3, axis=2)
    estimate = ShutterEstimate()
    y, x = np.nonzero(mask)
    points = np.stack([x, y], axis=1)[::9].astype(float)
    estimate.add(rgb, mask, points, np.zeros_like(points))
    assert estimate.still_blur() == pytest.approx(blur, rel=0.2)
