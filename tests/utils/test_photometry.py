from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils.photometry import (
    estimate_blur,
    estimate_grain,
    exposure_gain,
    grain,
    linear_from_srgb,
    luminance,
    srgb_from_linear,
    srgb_levels_from_linear,
)


def scene(height: int = 240, width: int = 320) -> np.ndarray:
    """A smooth gradient with some shapes on it, (H, W) float, without noise."""
    rows, columns = np.mgrid[:height, :width]
    picture = 90 + 50 * rows / height + 30 * columns / width
    picture[60:120, 80:140] += 50
    picture[150:200, 200:290] -= 60
    return picture


def test_every_level_survives_the_way_to_linear_light_and_back() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.array_equal(srgb_from_linear(linear_from_srgb(levels)), levels)


def test_transfer_function_matches_the_standard() -> None:
    grey = np.full((1, 1, 3), 188, np.uint8)
    assert linear_from_srgb(grey)[0, 0, 0] == pytest.approx(0.5029, abs=1e-3)
    assert srgb_levels_from_linear(np.float32([[0.18]]))[0, 0] == pytest.approx(117.7, abs=0.2)
    assert luminance(np.ones((1, 1, 3), np.float32))[0, 0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sigma", [1.0, 2.5, 6.0])
def test_grain_estimate_recovers_a_known_sigma(sigma: float) -> None:
    random = np.random.default_rng(3)
    frames = []
    for _ in range(4):
        noisy = scene() + random.normal(0, sigma, (240, 320))
        frames.append(np.repeat(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    assert estimate_grain(frames) == pytest.approx(sigma, rel=0.15)


def test_grain_of_a_clean_picture_is_almost_none() -> None:
    clean = np.repeat(np.rint(scene()).astype(np.uint8)[..., None], 3, axis=2)
    assert estimate_grain([clean]) < 0.6
    assert estimate_grain([]) == 0


def test_grain_has_the_strength_asked_for_and_repeats() -> None:
    first = grain(200, 300, 3.0, frame=7, seed=1)
    assert first.std() == pytest.approx(3.0, rel=0.1)
    assert abs(first.mean()) < 0.2
    assert np.array_equal(first, grain(200, 300, 3.0, frame=7, seed=1))
    other = grain(200, 300, 3.0, frame=8, seed=1)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05


def test_grain_is_mostly_brightness() -> None:
    noise = grain(200, 300, 3.0, frame=0)
    assert np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1] > 0.7


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.5])
def test_blur_estimate_recovers_the_width_of_edges(sigma: float) -> None:
    big = np.zeros((480, 480), np.float32)
    cv2.fillPoly(big, [np.array([[80, 60], [420, 130], [330, 430], [110, 390]])], 255)
    sharp = cv2.resize(big, (240, 240), interpolation=cv2.INTER_AREA)
    frame = np.repeat(np.rint(cv2.GaussianBlur(sharp, (0, 0), sigma)).astype(np.uint8)[..., None], 3, axis=2)
    assert estimate_blur([frame]) == pytest.approx(sigma, rel=0.3)


def test_blur_is_looked_for_near_the_person() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[:, 40:] = 200  # sharp edge on the left
    soft = cv2.GaussianBlur(np.pad(np.full((200, 100), 200, np.uint8), ((0, 0), (0, 200)))[:, :300], (0, 0), 2.0)
    frame[:, 150:] = np.repeat(np.roll(soft, 100, axis=1)[:, 150:, None], 3, axis=2)  # soft edge on the right
    mask = np.zeros((200, 300), bool)
    mask[:, 190:210] = True
    assert estimate_blur([frame], [mask]) > 1.4
    assert estimate_blur([frame]) < 0.8


def test_exposure_gain_is_found_in_spite_of_something_that_moved() -> None:
    random = np.random.default_rng(0)
    reference = random.integers(60, 200, (80, 80, 3)).astype(np.uint8)
    darker = srgb_from_linear(linear_from_srgb(reference) * np.float32(0.7))
    darker[:20, :20] = 0
    assert np.allclose(exposure_gain(reference, darker), 1 / 0.7, rtol=0.02)
