"""Pose and edge maps are drawn as the networks know them, and only the maps that are asked for are made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputError
from models.controls import ControlSource, make_controls
from models.controls.pose import LEAST_SCORE, OPENPOSE, STICK, pose_map

ROOT = Path(__file__).resolve().parents[2]


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
    with pytest.raises(InputError, match="no control map named 'smell'"):
        make_controls(["pose", "smell"], source)


def test_edges_are_one_pixel_wide_where_the_picture_changes(source) -> None:
    edges = make_controls(["canny"], source).maps["canny"][0]
    assert edges.shape == source.frames.shape[1:]
    rows, counts = np.unique(np.nonzero(edges[..., 0])[0], return_counts=True)
    assert rows.tolist() in ([99], [100]) and counts.tolist() == [240]
    assert set(np.unique(edges)) == {0, 255}


def test_every_trusted_keypoint_is_drawn_and_others_are_not(source) -> None:
    drawn = make_controls(["pose"], source).maps["pose"][0]
    for x, y, _ in source.keypoints[0]:
        assert drawn[round(float(y)), round(float(x))].any()
    source.keypoints[0, :, 2] = 0.1
    assert not make_controls(["pose"], source).maps["pose"].any()
    source.keypoints[:] = np.nan
    assert not make_controls(["pose"], source).maps["pose"].any()


@pytest.mark.parametrize("seed", range(8))
def test_pose_is_drawn_as_controlnet_aux_draws_it(seed: int) -> None:
    from controlnet_aux.open_pose.body import Keypoint
    from controlnet_aux.open_pose.util import draw_bodypose

    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.uniform(-20, 532, (17, 2)), rng.uniform(0, 1, 17)])
    neck = points[[5, 6]].mean(axis=0)
    neck[2] = points[[5, 6], 2].min()
    ordered = np.vstack([points, neck])[list(OPENPOSE)]
    keypoints = [Keypoint(x / 512, y / 512) if score >= LEAST_SCORE else None for x, y, score in ordered]
    expected = draw_bodypose(np.zeros((512, 512, 3), np.uint8), keypoints)
    assert expected.any()
    np.testing.assert_array_equal(pose_map(points, (512, 512)), expected)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_sticks_have_their_width_after_resizing(scale: float) -> None:
    points = np.zeros((17, 3))
    points[[5, 7]] = [[256, 100, 1], [256, 400, 1]]
    at_size = pose_map(points, (512, 512))
    points[:, :2] /= scale
    crop = round(512 / scale)
    resized = cv2.resize(pose_map(points, (crop, crop), scale), (512, 512), interpolation=cv2.INTER_AREA)
    wide = [(picture[250].max(axis=1) > 60).sum() for picture in (at_size, resized)]
    assert wide[0] == 2 * STICK + 1
    assert abs(wide[1] - wide[0]) <= 2


# -- what is imported ----------------------------------------------------------------------------------------------

IMPORTS = """
import sys
import numpy as np
from models.controls import ControlSource, make_controls
source = ControlSource(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 17, 3), np.float32),
                       find_network=lambda: sys.exit("a network was asked for"))
make_controls(sys.argv[1:], source)
print(*(name for name in sys.modules if "." not in name))
"""


def imported(*maps: str) -> set[str]:
    command = [sys.executable, "-c", IMPORTS, *maps]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    return set(result.stdout.split())


def test_libraries_are_imported_only_for_the_maps_that_need_them() -> None:
    assert not {"torch", "transformers", "controlnet_aux", "embreex", "mediapipe"} & imported("pose")
    canny = imported("canny")
    assert "_controlnet_aux_parts" in canny
    assert not {"transformers", "embreex", "mediapipe", "timm"} & canny
