"""Reads EasyMoCap's dataset folder as EasyMoCap does: OpenCV's own YAML reader, OpenPose's published numbering."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.types import LANDMARK_NAMES
from utils.cameras.camera import Camera, pose

#: OpenPose's BODY_25 and hand numbering of the points that have a landmark of their own.
BODY = {
    0: "nose", 2: "right_shoulder", 3: "right_elbow", 4: "right_wrist", 5: "left_shoulder", 6: "left_elbow",
    7: "left_wrist", 9: "right_hip", 10: "right_knee", 11: "right_ankle", 12: "left_hip", 13: "left_knee",
    14: "left_ankle", 15: "right_eye", 16: "left_eye", 17: "right_ear", 18: "left_ear", 19: "left_foot_index",
    21: "left_heel", 22: "right_foot_index", 24: "right_heel",
}  # fmt: skip
HAND = {3: "thumb", 5: "index", 17: "pinky"}


@dataclass(frozen=True)
class Dataset:
    """One person in a dataset. V views, T frames."""

    cameras: tuple[Camera, ...]
    landmarks: np.ndarray
    """(V, T, 33, 3) float64: x, y in pixels, confidence; NaN with confidence 0 where not seen."""


def read_dataset(folder: Path) -> Dataset:
    cameras = _cameras(folder)
    views = []
    for camera in cameras:
        files = sorted((folder / "annots" / camera.name).iterdir())
        assert [file.name for file in files] == [f"{frame:06d}.json" for frame in range(len(files))]
        views.append([_landmarks(json.loads(file.read_text())) for file in files])
    return Dataset(cameras, np.array(views))


def _cameras(folder: Path) -> tuple[Camera, ...]:
    inner, outer = (cv2.FileStorage(str(folder / name), cv2.FILE_STORAGE_READ) for name in ("intri.yml", "extri.yml"))
    names = inner.getNode("names")
    cameras = []
    for index in range(names.size()):
        name = names.at(index).string()
        K, lens = inner.getNode(f"K_{name}").mat(), inner.getNode(f"dist_{name}").mat()
        R, T = outer.getNode(f"R_{name}").mat(), outer.getNode(f"T_{name}").mat()
        np.testing.assert_allclose(cv2.Rodrigues(R)[0], outer.getNode(f"Rot_{name}").mat(), atol=1e-8)
        size = tuple(int(inner.getNode(f"{side}_{name}").real()) for side in "WH")
        cameras.append(Camera(name, size, K, lens.ravel(), pose(R, T)))
    return tuple(cameras)


def _landmarks(content: dict) -> np.ndarray:
    result = np.full((len(LANDMARK_NAMES), 3), np.nan)
    result[:, 2] = 0
    for person in content["annots"]:
        assert person["personID"] == 0
        rows = {name: person["keypoints"][index] for index, name in BODY.items()}
        for side, key in (("left", "handl2d"), ("right", "handr2d")):
            rows |= {f"{side}_{part}": person[key][index] for index, part in HAND.items()}
        for name, row in rows.items():
            if row[2] > 0:
                result[LANDMARK_NAMES.index(name)] = row
    return result
