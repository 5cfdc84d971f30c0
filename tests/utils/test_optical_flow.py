"""Flow with known answers, and what the steadier makes of it."""

import cv2
import numpy as np
import pytest

from utils import optical_flow, transforms
from utils.optical_flow import TemporalSteadier


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = np.random.default_rng(4).uniform(0, 255, (160, 200, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip((smooth - 127) * 6 + 127, 0, 255).astype(np.uint8)


def shifted(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    size = (image.shape[1], image.shape[0])
    return transforms.warp(image, transforms.translation(dx, dy), size, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)


INNER = (slice(24, -24), slice(24, -24))


@pytest.mark.parametrize("quality", ["fast", "balanced", "high"])
def test_a_shift_is_found(picture: np.ndarray, quality: optical_flow.Quality) -> None:
    found = optical_flow.flow(picture, shifted(picture, 3, -2), quality)[INNER]
    assert np.abs(np.median(found.reshape(-1, 2), axis=0) - (3, -2)).max() < 0.1
    assert np.quantile(np.abs(found - (3, -2)), 0.9) < 0.5


def test_pictures_of_other_size_and_tiny_ones(picture: np.ndarray) -> None:
    assert optical_flow.flow(picture[:9, :7], picture[:9, :7]).shape == (9, 7, 2)
    with pytest.raises(ValueError, match="differ in size"):
        optical_flow.flow(picture, picture[1:])


def test_warping_along_the_flow_brings_the_second_picture_to_the_first(picture: np.ndarray) -> None:
    other = shifted(picture, 4, 1)
    back = optical_flow.warp(other, optical_flow.flow(picture, other))
    assert np.abs(back[INNER].astype(int) - picture[INNER]).mean() < 3


def test_trust_is_high_where_there_and_back_agree_and_low_where_they_do_not() -> None:
    there = np.zeros((40, 80, 2), np.float32)
    there[..., 0] = 5
    back = -there
    back[:, 40:] = 0
    trust = optical_flow.consistency(there, back)
    assert (trust[:, :34] > 0.99).all()
    assert (trust[:, 40:74] < 1e-6).all()


def test_trust_is_zero_where_the_flow_leaves_the_picture() -> None:
    there = np.zeros((20, 30, 2), np.float32)
    there[..., 0] = 10
    trust = optical_flow.consistency(there, -there)
    assert (trust[:, :20] > 0.99).all()
    assert (trust[:, 20:] == 0).all()


def flickering(picture: np.ndarray, count: int = 8) -> list[tuple[np.ndarray, np.ndarray]]:
    """Source frames that move by 2 px, and layers that move along but flicker in brightness."""
    frames = []
    for i in range(count):
        moved = shifted(picture, 2 * i, 0)
        frames.append((moved, np.clip(moved.astype(int) // 2 + 60 + 6 * (-1) ** i, 0, 255).astype(np.uint8)))
    return frames


def test_flicker_is_calmed_and_sharpness_kept(picture: np.ndarray) -> None:
    alpha = np.ones(picture.shape[:2], np.float32)
    steadier = TemporalSteadier(0.6, "balanced")
    frames = flickering(picture)
    steady = [steadier.update(source, layer, alpha, np.eye(3))[0] for source, layer in frames]
    middle = (slice(40, 120), slice(60, 140))

    def flicker(layers: list[np.ndarray]) -> float:
        return float(np.abs(np.diff([layer[middle].mean() for layer in layers[2:]])).mean())

    assert flicker(steady) < 0.5 * flicker([layer for _, layer in frames])
    assert steady[-1][middle].std() > 0.85 * frames[-1][1][middle].std()


def test_strength_zero_changes_nothing_and_reset_forgets(picture: np.ndarray) -> None:
    alpha = np.random.default_rng(0).uniform(0, 1, picture.shape[:2]).astype(np.float32)
    idle = TemporalSteadier(0.0)
    steadier = TemporalSteadier(0.8)
    for source, layer in flickering(picture, 3):
        rgb, kept = idle.update(source, layer, alpha, np.eye(3))
        assert rgb is layer
        assert kept is alpha
        steadier.reset()
        np.testing.assert_array_equal(steadier.update(source, layer, alpha, np.eye(3))[0], layer)
    with pytest.raises(ValueError, match="strength"):
        TemporalSteadier(1.5)


def test_a_moving_crop_is_followed(picture: np.ndarray) -> None:
    steadier = TemporalSteadier(0.9, "balanced")
    alpha = np.zeros(picture.shape[:2], np.float32)
    alpha[40:120, 60:140] = 1
    steadier.update(picture, picture, alpha, np.eye(3))
    step = transforms.translation(7, -5)
    moved, moved_alpha = shifted(picture, 7, -5), transforms.warp(alpha, step, (200, 160))
    rgb, kept = steadier.update(moved, moved, moved_alpha, step)
    np.testing.assert_allclose(kept, moved_alpha, atol=0.05)
    assert np.abs(rgb[50:100, 80:130].astype(int) - moved[50:100, 80:130]).max() <= 2


def test_what_really_changed_is_not_smeared(picture: np.ndarray) -> None:
    alpha = np.ones(picture.shape[:2], np.float32)
    steadier = TemporalSteadier(0.9)
    steadier.update(picture, np.zeros_like(picture), alpha, np.eye(3))
    rgb, _ = steadier.update(picture, np.full_like(picture, 200), alpha, np.eye(3))
    assert rgb.min() >= 199
