"""The wrist's turn from the hand: where the hand is read, its palm tells far better than the pose's three points on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.types import BodyParams
from models.body.articulation import rotation_matrices
from models.body.base import JOINT_NAMES, RestBody
from models.body.expression_capture import smoothed
from models.body.expression_head import line_of_sight, towards, vectors
from models.body.fingers import hand_rig, palm_axes

#: Furthest that a hand may turn the fitted one, radians: what is more is more likely a wrong reading.
MOST = np.radians(50.0)
#: Strength of smoothing at 30 frames a second.
CALM = 25.0
#: Knuckle of the middle finger, which stands for the place of the hand.
KNUCKLE = 9


def with_wrists(
    params: BodyParams, body: RestBody, world: np.ndarray, points: np.ndarray, trust: np.ndarray, rate: float
) -> BodyParams:
    """The body with its hands turned as they are seen; ``keypoints`` are left to the caller.

    Parameters
    ----------
    params, body:
        The fitted body, and the rest body that it was fitted with.
    world, points:
        (T, 2, 21, 3) hand landmarks in metres (camera axes) and in pixels, left and right; NaN where not read.
    trust:
        (T, 2) 0..1.
    rate:
        Frames per second.
    """
    rig = hand_rig(body)
    if rig is None or not trust.any():
        return params
    rotations = params.rotations.copy()
    for side, name in enumerate(("left_wrist", "right_wrist")):
        joint = JOINT_NAMES.index(name)
        seen = np.isfinite(world[:, side]).all(axis=(1, 2)) & (trust[:, side] > 0.05)
        if not seen.any():
            continue
        hand, forearm = (
            towards(params.rotations, joint),
            towards(params.rotations, JOINT_NAMES.index(f"{name[:-5]}elbow")),
        )
        axes = palm_axes(world[seen, side].astype(np.float64), side)
        wanted = (
            line_of_sight(params.intrinsics, points[seen, side, KNUCKLE, :2]) @ axes.transpose(0, 2, 1) @ rig.axes[side]
        )
        difference = np.zeros((len(world), 3))
        difference[seen] = vectors(wanted @ hand[seen].transpose(0, 2, 1))
        length = np.linalg.norm(difference, axis=1, keepdims=True)
        # A hand that is turned round altogether is the wrong reading, or the wrong hand: the fit's stays.
        weight = np.where(seen, trust[:, side], 0.0) * np.clip((2 * MOST - length[:, 0]) / MOST, 0.0, 1.0)
        difference *= np.minimum(1.0, MOST / np.maximum(length, 1e-9))
        calm = smoothed(difference, weight, np.full(3, CALM * (rate / 30.0) ** 4)) * trust[:, side, None]
        rotations[:, joint] = vectors(forearm.transpose(0, 2, 1) @ rotation_matrices(calm) @ hand)
    return replace(params, rotations=rotations)
