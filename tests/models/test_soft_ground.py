"""Grass in front of the feet, and none on hard floors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.body.embree import RayScene
from models.body.renderer import View
from models.body.soft_ground import Foot, blades_in_front, grass_share

SCALE = 160.0
SIZE = (200, 120)
INTRINSICS = np.array([[480.0, 0, 99.5], [0, 480.0, 20.0], [0, 0, 1]])
DEPTH, GROUND = 3.0, 0.5


def grass(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """Blades: noise that is longer than it is wide, in greens."""
    noise = np.random.default_rng(seed).normal(0, 1, size[::-1])
    blades = cv2.GaussianBlur(noise, (0, 0), 0.9, sigmaY=1.6)
    grey = 95 + 20 * blades / blades.std()
    return np.clip(np.stack([0.9 * grey, grey, 0.6 * grey], -1), 0, 255).astype(np.uint8)


def floor(kind: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Hard ground: a smooth court, boards that run across, gravel seen at a low angle, a carpet with painted lines."""
    random = np.random.default_rng(1)
    grey = 110 + random.normal(0, 1.5, size[::-1])
    if kind == "boards":
        grey += 25 * np.sign(np.sin(np.arange(size[1]) / 2.2))[:, None] + 6 * random.normal(0, 1, (size[1], 1))
    if kind == "gravel":
        stones = cv2.GaussianBlur(random.normal(0, 1, size[::-1]), (0, 0), 3.2, sigmaY=0.8)
        grey += 15 * stones / stones.std()
    if kind == "lines":
        grey[::30] = 230
        grey[:, 60:64] = 230
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_grass_is_told_from_hard_floors() -> None:
    assert grass_share(grass(), SCALE) > 0.9
    for kind in ("court", "boards", "gravel", "lines"):
        assert grass_share(floor(kind), SCALE) < 0.05, kind


def test_ground_that_is_too_far_away_to_show_blades_is_hard() -> None:
    assert grass_share(grass(), 30.0) == 0.0
    assert grass_share(grass((4, 4)), SCALE) == 0.0


def shoe(lift: float) -> tuple[np.ndarray, np.ndarray]:
    """A box of the size of a shoe, ``lift`` metres above the ground."""
    x, y, z = np.meshgrid(
        [-0.14, 0.14], [GROUND - lift - 0.12, GROUND - lift], [DEPTH - 0.05, DEPTH + 0.05], indexing="ij"
    )
    vertices = np.stack([x.ravel(), y.ravel(), z.ravel()], 1).astype(np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))]
    return vertices, np.array(faces, np.int32)


def cover_of(lift: float, plate: np.ndarray) -> np.ndarray | None:
    vertices, faces = shoe(lift)
    sole = np.array([0.0, GROUND - lift, DEPTH], np.float32)
    foot = Foot(vertices, sole, GROUND)
    return blades_in_front(RayScene(vertices, faces), View(INTRINSICS, np.eye(3), SIZE), plate, [foot])


def test_grass_hides_the_sole_and_not_the_instep() -> None:
    cover = cover_of(0.0, grass())
    assert cover is not None and cover.shape == SIZE[::-1]

    # The front of the shoe, in the picture: its bottom, three centimetres up, and its upper half.
    def row(height: float) -> int:
        return round(480 * (GROUND - height) / (DEPTH - 0.05) + 20)

    across = np.s_[80:120]
    assert cover[row(0.004), across].mean() > 0.75
    middle = cover[row(0.03), across]
    assert 0.1 < middle.mean() < 0.75
    assert middle.std() > 0.15, "single blades, not a veil"
    assert cover[: row(0.07)].max() == 0
    assert cover.min() >= 0 and cover.max() <= 1


def test_a_lifted_foot_and_a_hard_floor_have_none() -> None:
    lifted = cover_of(0.2, grass())
    assert lifted is None or lifted.max() == 0
    for kind in ("court", "boards", "gravel", "lines"):
        assert cover_of(0.0, floor(kind)) is None


def test_the_same_grass_hides_the_same_pixels() -> None:
    first, second = cover_of(0.0, grass()), cover_of(0.0, grass())
    assert first is not None and second is not None
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("lift", [0.0, 0.01, 0.025])
def test_a_foot_that_is_a_little_off_still_stands_in_the_grass(lift: float) -> None:
    cover = cover_of(lift, grass())
    assert cover is not None and cover.max() > 0.8
