"""The head's attitude from the face: where the face is read, it says far better than the pose where the head points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from core.types import BodyParams
from models.body.articulation import rotation_matrices
from models.body.base import JOINT_NAMES, JOINT_PARENTS
from models.body.expression_capture import smoothed

#: Furthest that the face may turn the fitted head, radians.
MOST = np.radians(50.0)
#: Share of the turn that the neck takes: against it, so that the face stays where it is in the picture.
NECK_SHARE = -0.3
#: Strength of smoothing at 30 frames a second: the fitted head is smooth already, only the difference is smoothed.
CALM = 4.0
#: Model axes (left, back, up) -> axes of a face that looks into the camera (right, down, away).
FACE_MODEL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_NECK, _HEAD = JOINT_NAMES.index("neck"), JOINT_NAMES.index("head")


def with_head(params: BodyParams, turn: np.ndarray, centre: np.ndarray, trust: np.ndarray, rate: float) -> BodyParams:
    """The body with its head (and neck) turned as its face is; ``keypoints`` are left to the caller.

    Parameters
    ----------
    params:
        The fitted body.
    turn:
        (T, 3, 3) rotations of the face against one that looks along the line of sight.
    centre:
        (T, 2) pixels, middle of the face; NaN where it was not read, which is bridged as far as ``trust`` says.
    trust:
        (T,) 0..1.
    rate:
        Frames per second.
    """
    seen = (trust > 0.05) & np.isfinite(centre).all(axis=1)
    if not seen.any():
        return params
    neck, head = towards(params.rotations, _NECK), towards(params.rotations, _HEAD)
    wanted = line_of_sight(params.intrinsics, np.where(seen[:, None], centre, 0.0)) @ turn @ FACE_MODEL
    difference = np.zeros((len(trust), 3))
    difference[seen] = vectors(wanted[seen] @ head[seen].transpose(0, 2, 1))
    calm = smoothed(difference, np.where(seen, trust, 0.0), np.full(3, CALM * (rate / 30.0) ** 4)) * trust[:, None]
    length = np.linalg.norm(calm, axis=1, keepdims=True)
    calm *= np.minimum(1.0, MOST / np.maximum(length, 1e-9))
    new_neck, new_head = rotation_matrices(NECK_SHARE * calm) @ neck, rotation_matrices(calm) @ head
    trunk = towards(params.rotations, JOINT_PARENTS[_NECK])
    rotations = params.rotations.copy()
    rotations[:, _NECK] = vectors(trunk.transpose(0, 2, 1) @ new_neck)
    rotations[:, _HEAD] = vectors(new_neck.transpose(0, 2, 1) @ new_head)
    return replace(params, rotations=rotations)


def towards(rotations: np.ndarray, joint: int) -> np.ndarray:
    """(T, 3, 3) model axes -> camera axes for a joint, its parents' turns included."""
    parent = JOINT_PARENTS[joint]
    own = rotation_matrices(rotations[:, joint])
    return own if parent < 0 else towards(rotations, parent) @ own


def line_of_sight(intrinsics: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations that bring the camera's axis onto the rays through (T, 2) pixels."""
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(intrinsics).T
    axis = np.stack([-rays[:, 1], rays[:, 0], np.zeros(len(rays))], axis=1)
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    return rotation_matrices(axis / np.maximum(length, 1e-12) * np.arctan2(length, rays[:, 2:]))


def vectors(matrices: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations to (T, 3) rotation vectors."""
    result: np.ndarray = Rotation.from_matrix(matrices).as_rotvec()
    return result
