"""Clips whose exports are looked at."""

from fractions import Fraction

import numpy as np
from scipy.spatial.transform import Rotation

from core.types import BodyParams
from models.body.base import JOINT_NAMES

RATE = Fraction(30000, 1001)
#: Crosses the border between two pieces of 128 frames.
COUNT = 150
#: Frames without a fit, at the start, in the middle and at the end.
MISSING = (0, 1, 70, 149)
CHECKED = (2, 74, 148)
MILLIMETRE = 1e-3
STRETCHED = {"scale_thigh": 1.12, "scale_shin": 0.9, "scale_torso": 1.08, "scale_upper_arm": 0.88, "scale_hand": 1.1}
FACING = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
UP = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])


def joint(name: str) -> int:
    return JOINT_NAMES.index(name)


def params_of(rotations: np.ndarray, place: np.ndarray, valid: np.ndarray | None = None, **more) -> BodyParams:
    count = len(rotations)
    return BodyParams(
        model="anny",
        shape=more.pop("shape", {}),
        joint_names=JOINT_NAMES,
        rotations=rotations.astype(np.float32),
        translation=place.astype(np.float32),
        intrinsics=np.array([[1000.0, 0, 480], [0, 1000, 270], [0, 0, 1]]),
        keypoints=np.zeros((count, 33, 3), np.float32),
        valid=np.ones(count, bool) if valid is None else valid,
        **more,
    )


def lively(count: int = COUNT) -> BodyParams:
    """Somebody who turns right round while every joint bends and twists, with other proportions than the rest body."""
    time = np.arange(count)[:, None, None] / 30.0
    rng = np.random.default_rng(3)
    phase, rate = rng.uniform(0, 6, (2, 1, len(JOINT_NAMES), 3))
    rotations = 0.7 * np.sin(phase + rate * time)
    yaw = Rotation.from_rotvec(np.linspace(0, 7, count)[:, None] * [0, 0, 1])
    rotations[:, 0] = (Rotation.from_matrix(FACING) * yaw).as_rotvec()
    place = np.stack([0.3 * np.sin(time[:, 0, 0]), np.full(count, 0.1), 4 + 0.02 * np.arange(count)], 1)
    valid = np.ones(count, bool)
    valid[[frame for frame in MISSING if frame < count]] = False
    return params_of(rotations, place, valid, shape=STRETCHED, scale=1.05)
