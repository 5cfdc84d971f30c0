"""Noise that moves with the footage stays white noise."""

from __future__ import annotations

import numpy as np
import pytest

from models.generators.diffusion.noise import MovingNoise

CELLS = (48, 64)


def flow(kind: str, random: np.random.Generator) -> np.ndarray:
    height, width = CELLS[0] * 8, CELLS[1] * 8
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    centred = np.dstack([x - width / 2, y - height / 2])
    if kind == "shift":
        return np.broadcast_to(np.array([13.0, -6.0], np.float32), centred.shape)
    if kind == "slow":
        return np.broadcast_to(np.array([1.5, 0.5], np.float32), centred.shape)
    if kind == "grow":
        return 0.08 * centred
    if kind == "shrink":
        return -0.08 * centred
    coarse = random.standard_normal((6, 8, 2)).astype(np.float32) * 20
    return np.kron(coarse, np.ones((height // 6, width // 8, 1), np.float32))


@pytest.mark.parametrize("kind", ["shift", "slow", "grow", "shrink", "wild"])
def test_it_stays_white_with_unit_variance(kind: str) -> None:
    random = np.random.default_rng(5)
    noise = MovingNoise(3, CELLS)
    for _ in range(12):
        samples = noise.move(flow(kind, random))
    assert samples.shape == (1, 4, *CELLS) and samples.dtype == np.float32
    count = samples.size
    assert abs(samples.mean()) < 4 / np.sqrt(count)
    assert abs(samples.var() - 1) < 5 * np.sqrt(2 / count)
    for axis in (2, 3):
        ahead, behind = (
            np.take(samples, range(1, samples.shape[axis]), axis),
            np.take(samples, range(samples.shape[axis] - 1), axis),
        )
        assert abs((ahead * behind).mean()) < 4 / np.sqrt(count)
    # No sample is there twice.
    assert len(np.unique(samples)) > 0.999 * count


def test_what_stands_still_keeps_its_noise() -> None:
    noise = MovingNoise(3, CELLS, sets=2)
    first = noise.samples.copy()
    np.testing.assert_array_equal(noise.move(np.zeros((384, 512, 2), np.float32)), first)


def test_it_moves_with_the_flow_and_slow_motion_adds_up() -> None:
    noise = MovingNoise(3, CELLS)
    first = noise.samples.copy()
    moved = noise.move(np.broadcast_to(np.array([16.0, 8.0], np.float32), (384, 512, 2)))
    np.testing.assert_array_equal(moved[..., 1:, 2:], first[..., :-1, :-2])
    slow = MovingNoise(3, CELLS)
    for _ in range(8):
        shifted = slow.move(np.broadcast_to(np.array([3.0, 0.0], np.float32), (384, 512, 2)))
    np.testing.assert_array_equal(shifted[..., 4:-4], first[..., 1:-7])


def test_a_seed_repeats() -> None:
    random = np.random.default_rng(0)
    flows = [flow("wild", random) for _ in range(3)]
    a, b, c = MovingNoise(1, CELLS), MovingNoise(1, CELLS), MovingNoise(2, CELLS)
    for step in flows:
        np.testing.assert_array_equal(a.move(step), b.move(step))
        assert not np.array_equal(a.samples, c.move(step))


def test_flows_that_are_not_finite_bring_new_noise() -> None:
    noise = MovingNoise(1, CELLS)
    assert np.isfinite(noise.move(np.full((384, 512, 2), np.nan, np.float32))).all()
