"""The vocabulary checks what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from core.masks import MaskArchive
from core.types import COCO_FROM_LANDMARKS, LANDMARK_NAMES, CameraPath, GenerationResult, PersonTrack, Segment


def test_coco_points_are_the_landmarks_of_the_same_name() -> None:
    assert [LANDMARK_NAMES[i] for i in COCO_FROM_LANDMARKS][:7] == [
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
    ]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="H_next_source"):
        CameraPath(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), np.zeros(2))
    with pytest.raises(ValueError, match="alpha must be float32"):
        GenerationResult(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2)), 0, "x")
    with pytest.raises(ValueError, match="empty"):
        Segment("hold", 3, 3)


def test_track_reads_its_masks_back() -> None:
    mask = np.zeros((10, 19), bool)
    mask[2:5, 3:17] = True
    count = 4
    track = PersonTrack(
        xyxy=np.tile(np.array([3, 2, 17, 5], np.float32), (count, 1)),
        score=np.ones(count, np.float32),
        landmarks=np.zeros((count, 33, 4), np.float32),
        world=np.zeros((count, 33, 3), np.float32),
        state=np.array(["detected", "predicted", "absent", "detected"]),
        packed_masks=MaskArchive.from_masks(10, 19, [mask] * count),
        width=19,
    )
    assert np.array_equal(track.mask(2), mask)
    assert track.present.tolist() == [True, True, False, True]
    assert track.height_px == 3
