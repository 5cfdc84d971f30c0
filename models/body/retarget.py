"""Makes an avatar's body move as another body was fitted: same joints in the picture, the avatar's own build.

Avatars differ in height and proportions from the body that was fitted to the footage. The person in the shot sets where
the joints are, so the avatar's limbs are stretched to the fitted lengths; girth, face and hands stay its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.types import BodyParams
from models.body.articulation import STRETCHES, landmark_positions, params_transforms
from models.body.base import SCALE_NAMES, RestBody

#: Bones between whose heads a part's size is measured, for parts that are scaled evenly.
EVEN_PARTS = {
    "scale_head": ("head", "eye.L"),
    "scale_hand": ("wrist.L", "finger3-1.L"),
    "scale_foot": ("foot.L", "toe2-1.L"),
}
#: How far an avatar may be stretched.
LIMITS = (0.6, 1.6)
#: Landmarks that tie the avatar to the fitted body: shoulders, hips, ankles, heels and toes count most.
ANCHORS = {11: 1.0, 12: 1.0, 23: 1.0, 24: 1.0, 27: 2.0, 28: 2.0, 29: 1.0, 30: 1.0, 31: 1.0, 32: 1.0}


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

    What proportions cannot match (the depth of a chest, the width of a pelvis) is shared out by moving the whole body,
    frame by frame, so that shoulders, hips and above all feet lie where they were fitted.
    """
    if avatar is fitted:
        return params_transforms(avatar, params)
    own = replace(params, shape=matched_shape(avatar, fitted, params.shape))
    transforms = params_transforms(avatar, own)
    target = landmark_positions(fitted, params_transforms(fitted, params))
    at, weight = np.array(list(ANCHORS)), np.array(list(ANCHORS.values()))
    shift = target[:, at] - landmark_positions(avatar, transforms)[:, at]
    transforms[:, :, :3, 3] += np.average(shift, axis=1, weights=weight)[:, None].astype(np.float32)
    return transforms
