"""Makes an avatar's body move as another body was fitted: same joints in the picture, the avatar's own build.

Avatars differ in height and proportions from the body that was fitted to the footage. The person in the shot sets where
the joints are, so the avatar's limbs are stretched to the fitted lengths; girth, face and hands stay its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.types import BodyParams
from models.body.articulation import STRETCHES, landmark_positions, params_transforms, rig_of
from models.body.base import JOINT_NAMES, SCALE_NAMES, RestBody
from models.body.expression_eyes import with_gaze
from models.body.fingers import with_fingers

#: Bones between whose heads a part's size is measured, for parts that are scaled evenly.
EVEN_PARTS = {
    "scale_head": ("head", "eye.L"),
    "scale_hand": ("wrist.L", "finger3-1.L"),
    "scale_foot": ("foot.L", "toe2-1.L"),
}
#: How far an avatar may be stretched.
LIMITS = (0.6, 1.6)


#: Joints that a landmark stands for: what is seen of a joint is the limb around it, and that depends on the build. Feet
#: are left where their bones are, because they stand on the ground.
SEEN_JOINTS = {
    "left_shoulder": 11, "right_shoulder": 12, "left_elbow": 13, "right_elbow": 14, "left_wrist": 15, "right_wrist": 16,
    "left_hip": 23, "right_hip": 24, "left_knee": 25, "right_knee": 26,
}  # fmt: skip
#: How often the landmarks are brought nearer (a landmark follows both bones at its joint, so once is not enough).
REFINEMENTS = 2


def _length(rest: RestBody, name: str) -> float:
    """Length in metres of the part that a scale factor stretches."""
    start, end = STRETCHES[name].axis or EVEN_PARTS[name]
    return float(np.linalg.norm(rest.bone_heads[rest.bone(end)] - rest.bone_heads[rest.bone(start)]))


def matched_shape(avatar: RestBody, fitted: RestBody, shape: dict[str, float]) -> dict[str, float]:
    """Scale factors that give ``avatar`` the limb lengths of ``fitted`` under its own factors.

    Parameters
    ----------
    shape:
        ``BodyParams.shape`` of the fit.
    """
    factors = {}
    for name in SCALE_NAMES:
        wanted = float(shape.get(name, 1.0)) * _length(fitted, name)
        factors[name] = float(np.clip(wanted / _length(avatar, name), *LIMITS))
    return factors


def retargeted_transforms(avatar: RestBody, fitted: RestBody, params: BodyParams) -> np.ndarray:
    """(T, B, 4, 4) float32: the bone transforms of ``avatar`` that follow a body fitted with ``fitted``, eyes and fingers
    included where they were followed.

    What proportions cannot match (the width of a pelvis, the angle at which the arms hang at rest) is a centimetre or
    two at each joint. Each part is moved by what its joint lacks, and the skin between two joints takes up the difference.
    Joints first, then what is seen of them.
    """
    transforms = params_transforms(avatar, params) if avatar is fitted else _on_own_build(avatar, fitted, params)
    if params.details is None:
        return transforms
    transforms = with_fingers(avatar, transforms, params.details.fingers, params.details.hand_trust)
    return with_gaze(avatar, transforms, params.details.gaze)


def _on_own_build(avatar: RestBody, fitted: RestBody, params: BodyParams) -> np.ndarray:
    """(T, B, 4, 4) float32: see :func:`retargeted_transforms`."""
    own = replace(params, shape=matched_shape(avatar, fitted, params.shape))
    transforms = params_transforms(avatar, own)
    target = _joint_positions(fitted, params_transforms(fitted, params))
    shift = target - _joint_positions(avatar, transforms)
    carrier = rig_of(avatar).carrier
    transforms[:, :, :3, 3] += shift[:, carrier]
    wanted = landmark_positions(fitted, params_transforms(fitted, params))[:, list(SEEN_JOINTS.values())]
    seen = [JOINT_NAMES.index(name) for name in SEEN_JOINTS]
    for _ in range(REFINEMENTS):
        shift = np.zeros_like(shift)
        shift[:, seen] = wanted - landmark_positions(avatar, transforms)[:, list(SEEN_JOINTS.values())]
        transforms[:, :, :3, 3] += shift[:, carrier]
    return transforms


def _joint_positions(rest: RestBody, transforms: np.ndarray) -> np.ndarray:
    """(T, J, 3) metres, camera axes: where the articulated joints lie."""
    bones = transforms[:, rest.joint_bones]
    heads = rest.bone_heads[rest.joint_bones]
    return np.einsum("tjik,jk->tji", bones[..., :3, :3], heads) + bones[..., :3, 3]
