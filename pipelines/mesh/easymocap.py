"""EasyMoCap's dataset folder: what it fits bodies to.

A dataset holds ``intri.yml``, ``extri.yml``, ``annots/CAMERA/000000.json`` and ``images/CAMERA/000000.jpg``.
Keypoints are OpenPose's BODY_25 with 21 points of each hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import InputError, ResourceError
from core.runs import write_bytes
from core.types import LANDMARK_NAMES
from utils.cameras.camera import Camera
from utils.cameras.opencv_yaml import check_terms, write_opencv_yaml

#: OpenPose's BODY_25, each with the landmarks that it is the middle of; none where there is no counterpart.
BODY25: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Nose", ("nose",)), ("Neck", ("left_shoulder", "right_shoulder")),
    ("RShoulder", ("right_shoulder",)), ("RElbow", ("right_elbow",)), ("RWrist", ("right_wrist",)),
    ("LShoulder", ("left_shoulder",)), ("LElbow", ("left_elbow",)), ("LWrist", ("left_wrist",)),
    ("MidHip", ("left_hip", "right_hip")),
    ("RHip", ("right_hip",)), ("RKnee", ("right_knee",)), ("RAnkle", ("right_ankle",)),
    ("LHip", ("left_hip",)), ("LKnee", ("left_knee",)), ("LAnkle", ("left_ankle",)),
    ("REye", ("right_eye",)), ("LEye", ("left_eye",)), ("REar", ("right_ear",)), ("LEar", ("left_ear",)),
    ("LBigToe", ("left_foot_index",)), ("LSmallToe", ()), ("LHeel", ("left_heel",)),
    ("RBigToe", ("right_foot_index",)), ("RSmallToe", ()), ("RHeel", ("right_heel",)),
)  # fmt: skip
#: Points of a hand, of 21, that a landmark lies on: wrist, knuckles of thumb, index and little finger.
HAND_POINTS = {0: "wrist", 3: "thumb", 5: "index", 17: "pinky"}
#: Margin of a box around its keypoints, as a share of their extent.
_MARGIN = 0.1


def _index(name: str) -> int:
    return LANDMARK_NAMES.index(name)


# -- keypoints -----------------------------------------------------------------------------------------------------


def body25_from_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """(..., 25, 3) x, y, confidence in BODY_25 order from (..., 33, 3) landmarks.

    Neck and middle of the hips are the mean of two landmarks, with the lower confidence of the two. Small toes have no
    counterpart; they and what is NaN become zeros, which EasyMoCap takes for not seen.
    """
    result = np.zeros((*landmarks.shape[:-2], len(BODY25), 3))
    for row, (_, names) in enumerate(BODY25):
        if names:
            points = landmarks[..., [_index(name) for name in names], :]
            result[..., row, :2] = points[..., :2].mean(axis=-2)
            result[..., row, 2] = points[..., 2].min(axis=-1)
    return _zero_unknown(result)


def hands_from_landmarks(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(..., 21, 3) left and right hand from (..., 33, 3) landmarks: four points each, the others zero."""
    hands = []
    for side in ("left", "right"):
        hand = np.zeros((*landmarks.shape[:-2], 21, 3))
        for row, part in HAND_POINTS.items():
            hand[..., row, :] = landmarks[..., _index(f"{side}_{part}"), :]
        hands.append(_zero_unknown(hand))
    return hands[0], hands[1]


def _zero_unknown(points: np.ndarray) -> np.ndarray:
    known = np.isfinite(points).all(axis=-1) & (points[..., 2] > 0)
    return np.where(known[..., None], points, 0)


# -- datasets ------------------------------------------------------------------------------------------------------


def check_cameras(cameras: Sequence[Camera]) -> None:
    """Raise :class:`core.errors.InputError` for cameras that no dataset can hold.

    Their names name folders, and EasyMoCap takes five distortion terms.
    """
    for camera in cameras:
        if camera.name in ("", ".", "..") or any(sign in camera.name for sign in '/\\"\n'):
            raise InputError(f"Camera {camera.name!r} cannot name a folder.", "Rename it in the calibration file.")
    check_terms(cameras)


def write_dataset(
    folder: Path,
    cameras: Sequence[Camera],
    landmarks: np.ndarray,
    images: Sequence[Iterable[np.ndarray]],
) -> None:
    """Write a dataset that EasyMoCap can fit bodies to.

    Parameters
    ----------
    folder:
        Where to; made where it is not there.
    cameras:
        V cameras in pixels of the clips; their sizes must be known.
    landmarks:
        (V, T, 33, 3) x, y in pixels and confidence, T moments that are common to all views.
    images:
        V iterables of T frames (H, W, 3) uint8 RGB, which are written as JPEG; EasyMoCap draws on them, and most of its
        scripts look for them.
    Raises
    ------
    ValueError
        Shapes that do not fit each other, a camera whose size is not known, or too few or too many images.
    core.errors.InputError
        A camera's name cannot name a folder, or its lens has more distortion terms than EasyMoCap takes.
    """
    if landmarks.ndim != 4 or landmarks.shape[0] != len(cameras) or landmarks.shape[2:] != (len(LANDMARK_NAMES), 3):
        raise ValueError(f"landmarks {landmarks.shape} must be (V, T, 33, 3) for the {len(cameras)} cameras")
    for camera in cameras:
        if camera.size is None:
            raise ValueError(f"the picture size of camera {camera.name} must be known")
    check_cameras(cameras)
    write_opencv_yaml(folder, cameras)
    body = body25_from_landmarks(landmarks)
    left, right = hands_from_landmarks(landmarks)
    for view, camera in enumerate(cameras):
        (folder / "annots" / camera.name).mkdir(parents=True, exist_ok=True)
        for frame in range(landmarks.shape[1]):
            content = _annotation(camera, frame, body[view, frame], left[view, frame], right[view, frame])
            file = folder / "annots" / camera.name / f"{frame:06d}.json"
            write_bytes(file, json.dumps(content, indent=1).encode())
        _write_images(folder / "images" / camera.name, images[view], landmarks.shape[1])


def _annotation(camera: Camera, frame: int, body: np.ndarray, left: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    assert camera.size is not None
    person = {
        "personID": 0,
        "bbox": _box(body),
        "keypoints": body.round(3).tolist(),
        "bbox_handl2d": _box(left),
        "handl2d": left.round(3).tolist(),
        "bbox_handr2d": _box(right),
        "handr2d": right.round(3).tolist(),
        "isKeyframe": False,
    }
    return {
        "filename": f"images/{camera.name}/{frame:06d}.jpg",
        "height": camera.size[1],
        "width": camera.size[0],
        # EasyMoCap's programs for a single view look for it here and guess a focal length otherwise.
        "K": camera.K.tolist(),
        # A person of whom nothing is seen is left out, as if nobody were there.
        "annots": [person] if (body[:, 2] > 0).any() else [],
        "isKeyframe": False,
    }


def _box(points: np.ndarray) -> list[float]:
    """x0, y0, x1, y1, confidence around the points that are seen; zeros where none is."""
    seen = points[points[:, 2] > 0]
    if not len(seen):
        return [0.0] * 5
    low, high = seen[:, :2].min(axis=0), seen[:, :2].max(axis=0)
    margin = _MARGIN * (high - low)
    return [*(low - margin).round(3).tolist(), *(high + margin).round(3).tolist(), round(float(seen[:, 2].mean()), 3)]


def _write_images(folder: Path, images: Iterable[np.ndarray], count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for rgb in images:
        if written == count:
            raise ValueError(f"there are more images than the {count} frames")
        done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            raise ResourceError(f"Frame {written} could not be written as JPEG into {folder}.", "Free some memory.")
        write_bytes(folder / f"{written:06d}.jpg", data.tobytes())
        written += 1
    if written != count:
        raise ValueError(f"there are {written} images for {count} frames")
