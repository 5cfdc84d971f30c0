from __future__ import annotations

import numpy as np
import pytest

from utils import transforms
from utils.person_crop import H_crop_source, crop, crop_boxes


def walking_boxes(frames: int = 90) -> np.ndarray:
    """A person of 60x160 that walks to the right; the detector jitters by a few pixels."""
    random = np.random.default_rng(1)
    x = 50 + 6.0 * np.arange(frames)
    boxes = np.stack([x, np.full(frames, 100.0), x + 60, np.full(frames, 260.0)], axis=1)
    return boxes + random.normal(0, 2.5, boxes.shape)


def test_every_window_holds_the_person_with_a_margin() -> None:
    boxes = walking_boxes()
    windows = crop_boxes(boxes, margin=0.2, multiple=16)
    room = 0.2 * 150
    assert (windows[:, :2] <= boxes[:, :2] - room + 1).all()
    assert (windows[:, 2:] >= boxes[:, 2:] + room - 1).all()


def test_windows_have_one_size_in_multiples_and_move_smoothly() -> None:
    boxes = walking_boxes()
    windows = crop_boxes(boxes, multiple=16)
    sizes = windows[:, 2:] - windows[:, :2]
    assert (sizes == sizes[0]).all()
    assert (sizes % 16 == 0).all()
    jerk = np.abs(np.diff(windows[:, :2].astype(float), n=2, axis=0)).max()
    assert jerk <= 2 < np.abs(np.diff(boxes[:, :2], n=2, axis=0)).max()


def test_missing_boxes_are_bridged_and_none_at_all_is_an_error() -> None:
    boxes = walking_boxes()
    whole = crop_boxes(boxes)
    boxes[30:36] = np.nan
    assert np.abs(crop_boxes(boxes) - whole).max() <= 16
    with pytest.raises(ValueError, match="no frame"):
        crop_boxes(np.full((5, 4), np.nan))


def test_aspect_is_kept() -> None:
    windows = crop_boxes(walking_boxes(), multiple=8, aspect=1.0)
    width, height = windows[0, 2:] - windows[0, :2]
    assert abs(width - height) <= 8


def test_a_crop_past_the_frame_is_filled() -> None:
    picture = np.arange(30, dtype=np.uint8).reshape(5, 6)
    cut = crop(picture, np.array([-2, -1, 4, 7]), fill=99)
    assert cut.shape == (8, 6)
    assert np.array_equal(cut[1:6, 2:], picture[:, :4])
    assert (cut[0] == 99).all()
    assert (crop(picture, np.array([50, 50, 54, 54]), fill=7) == 7).all()


def test_crop_transform_matches_the_crop() -> None:
    box = np.array([10, 20, 50, 100])
    assert np.allclose(transforms.apply(H_crop_source(box), np.array([13.0, 25.0])), [3, 5])
    half = H_crop_source(box, (20, 40))
    corners = transforms.apply(half, np.array([[9.5, 19.5], [49.5, 99.5]]))
    assert np.allclose(corners, [[-0.5, -0.5], [19.5, 39.5]])
