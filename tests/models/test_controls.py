"""Control maps lie where the body is."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InputError
from models.controls import ControlSource, make_controls


@pytest.fixture
def source() -> ControlSource:
    points = np.zeros((1, 17, 3), np.float32)
    points[0, :, :2] = np.random.default_rng(0).uniform(40, 200, (17, 2))
    points[0, :, 2] = 1
    frames = np.zeros((1, 256, 240, 3), np.uint8)
    frames[:, 100:] = 255
    return ControlSource(frames, points)


def test_only_the_maps_that_are_asked_for(source) -> None:
    maps = make_controls(["canny"], source).maps
    assert list(maps) == ["canny"]
    assert maps["canny"].shape == source.frames.shape
    rows = np.flatnonzero(maps["canny"][0].any(axis=(1, 2)))
    assert rows.min() >= 98 and rows.max() <= 101
    with pytest.raises(InputError, match="no control map named 'smell'"):
        make_controls(["smell"], source)


def test_every_trusted_keypoint_is_drawn_and_others_are_not(source) -> None:
    drawn = make_controls(["pose"], source).maps["pose"][0]
    for x, y, _ in source.keypoints[0]:
        assert drawn[round(float(y)), round(float(x))].any()
    source.keypoints[0, :, 2] = 0.1
    assert not make_controls(["pose"], source).maps["pose"].any()
