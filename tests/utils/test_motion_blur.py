from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils.motion_blur import motion_blur


def bar(height: int = 80, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    alpha = np.zeros((height, width), np.float32)
    alpha[20:60, 70:90] = 1
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[alpha > 0] = (200, 100, 50)
    return rgb, alpha


def moving(alpha: np.ndarray, dx: float, dy: float) -> np.ndarray:
    return np.where(alpha[..., None] > 0, np.float32([dx, dy]), 0).astype(np.float32)


@pytest.mark.parametrize(("dx", "dy"), [(24, 0), (0, 16), (-18, 12)])
def test_blur_conserves_the_mass_of_alpha(dx: float, dy: float) -> None:
    rgb, alpha = bar()
    _, blurred = motion_blur(rgb, alpha, moving(alpha, dx, dy), 0.5)
    assert blurred.sum() == pytest.approx(alpha.sum(), rel=0.02)


def test_blur_reaches_past_the_outline_by_half_the_way_on_both_sides() -> None:
    rgb, alpha = bar()
    _, blurred = motion_blur(rgb, alpha, moving(alpha, 24, 0), 0.5)
    row = blurred[40]
    touched = np.flatnonzero(row > 0.02)
    assert abs(touched[0] - (70 - 6)) <= 1
    assert abs(touched[-1] - (89 + 6)) <= 1
    assert row[70] == pytest.approx(0.5, abs=0.12)
    assert (np.diff(row[60:78]) > -0.02).all()


def test_colour_stays_straight_at_soft_edges() -> None:
    rgb, alpha = bar()
    colour, blurred = motion_blur(rgb, alpha, moving(alpha, 24, 0), 0.5)
    visible = blurred > 0.1
    assert np.abs(colour[visible].astype(int) - (200, 100, 50)).max() <= 3


def test_slow_layers_are_not_touched() -> None:
    rgb, alpha = bar()
    colour, blurred = motion_blur(rgb, alpha, moving(alpha, 1.5, 0), 0.5)
    assert colour is rgb
    assert blurred is alpha
    assert motion_blur(rgb, alpha, moving(alpha, 40, 0), 0.0)[1] is alpha


def test_a_fast_limb_leaves_the_still_body_sharp_and_opaque() -> None:
    alpha = np.zeros((160, 200), np.float32)
    cv2.ellipse(alpha, (90, 90), (40, 60), 0, 0, 360, 1.0, -1)
    rgb = np.zeros((160, 200, 3), np.uint8)
    rgb[alpha > 0] = (50, 80, 160)
    rgb[::8][alpha[::8] > 0] = 220
    limb = np.zeros((160, 200), np.uint8)
    cv2.line(limb, (90, 60), (180, 40), 1, 14)
    rgb[limb > 0] = (220, 160, 130)
    alpha[limb > 0] = 1
    motion = np.where(limb[..., None] > 0, np.float32([4, 30]), 0).astype(np.float32)
    colour, blurred = motion_blur(rgb, alpha, motion, 0.5)
    assert np.array_equal(colour[110:140, 60:120], rgb[110:140, 60:120])
    assert blurred[30:150, 70:110][cv2.erode(alpha, np.ones((21, 21)))[30:150, 70:110] > 0].min() > 0.97
    assert (blurred[30:60, 140:170] < 0.99).any()


def test_wrong_input_is_refused() -> None:
    rgb, alpha = bar()
    with pytest.raises(ValueError, match="belong together"):
        motion_blur(rgb, alpha, np.zeros((4, 4, 2), np.float32))
    with pytest.raises(ValueError, match="shutter"):
        motion_blur(rgb, alpha, moving(alpha, 9, 0), 1.5)


def test_slow_motion_next_to_fast_leaves_no_line() -> None:
    """The blur works in a box around what moves fast; its edge must not show on a body that moves slowly there."""
    rgb = np.full((200, 150, 3), (180, 50, 40), np.uint8)
    alpha = np.ones((200, 150), np.float32)
    motion = np.full((200, 150, 2), 0.8, np.float32)
    motion[100:, 50:100, 0] = 12
    blurred, cover = motion_blur(rgb, alpha, motion, 0.5)
    assert np.abs(blurred.astype(int) - rgb).max() <= 1
    assert cover.min() > 0.99
