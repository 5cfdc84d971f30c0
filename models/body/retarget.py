"""Makes an avatar's body move as another body was fitted: same joints in the picture, the avatar's own build.

Avatars differ in height and proportions from the body that was fitted to the footage. The person in the shot sets where
the joints are, so the avatar's limbs are stretched to the fitted lengths; girth, face and hands stay its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.types import BodyParams
from models.body.articulation import STRETCHES, params_transforms, rig_of
from models.body.base import SCALE_NAMES, RestBody

#: Bones between whose heads a part's size is measured, for parts that are scaled evenly.
EVEN_PARTS = {
    "scale_head": ("head", "eye.L"),
    "scale_hand": ("wrist.L", "finger3-1.L"),
    "scale_foot": ("foot.L", "toe2-1.L"),
}
#: How far an avatar may be stretched.
LIMITS = (0.6, 1.6)


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
    """(T, B, 4, 4) float32: the bone transforms of ``avatar`` that follow a body fitted with ``fitted``.

    What proportions cannot match (the width of a pelvis, the angle at which the arms hang at rest) is a centimetre or
    two at each joint. Each part is moved by what its joint lacks, and the skin between two joints takes up the difference.
    """
    if avatar is fitted:
        return params_transforms(avatar, params)
    own = replace(params, shape=matched_shape(avatar, fitted, params.shape))
    transforms = params_transforms(avatar, own)
    target = _joint_positions(fitted, params_transforms(fitted, params))
    shift = target - _joint_positions(avatar, transforms)
    transforms[:, :, :3, 3] += shift[:, rig_of(avatar).carrier]
    return transforms


def _joint_positions(rest: RestBody, transforms: np.ndarray) -> np.ndarray:
    """(T, J, 3) metres, camera axes: where the articulated joints lie."""
    bones = transforms[:, rest.joint_bones]
    heads = rest.bone_heads[rest.joint_bones]
    return np.einsum("tjik,jk->tji", bones[..., :3, :3], heads) + bones[..., :3, 3]
