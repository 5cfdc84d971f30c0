"""How large a fitted body is. One view does not tell size from distance, so the fit leaves the body at its model's size;
here it is brought to the size of the landmarks in space, or to a height that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.types import BodyParams, PoseTrack
from models.body.articulation import Skin, bone_transforms
from models.body.base import RestBody
from models.body.pose_init import LANDMARK, view_rotations

#: Landmarks that tell size: those that lie well apart from each other.
_TELLING = np.array(
    [LANDMARK[f"{side}_{part}"] for side in ("left", "right") for part in ("shoulder", "elbow", "hip", "knee", "ankle")]
)
#: Landmarks trusted less do not count.
_MIN_WEIGHT = 0.3
#: Sizes beyond these, against the body model's own, are not believed.
SMALLEST, LARGEST = 0.3, 1.5


def height_of(rest: RestBody, params: BodyParams) -> float:
    """Metres from sole to crown of a fitted body that stands at rest, with its proportions and its scale."""
    still = np.zeros((1, len(params.joint_names), 3))
    transforms = bone_transforms(rest, still, np.zeros((1, 3)), params.shape)[0]
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))(transforms)
    return float(params.scale * np.ptp(skin[:, 2]))


def size_in_space(params: BodyParams, pose: PoseTrack) -> float | None:
    """By which factor a fitted body is smaller than the person's landmarks in space.

    The factor of each frame is the best one in least squares along the body, not a ratio of lengths, so that
    noise does not make the person taller. The median over the frames counts.

    Parameters
    ----------
    params:
        The body as fitted.
    pose:
        What it was fitted to; ``world`` in metres.

    Returns
    -------
    ``None`` where too little is seen of the person to tell.
    """
    frames = np.flatnonzero(params.valid & pose.present)
    view = view_rotations(pose.landmarks[frames, :, :2].astype(np.float64), params.intrinsics)
    world = (pose.world[frames].astype(np.float64) @ view.transpose(0, 2, 1))[:, _TELLING]
    own = params.keypoints[frames].astype(np.float64)[:, _TELLING]
    trust = np.where(pose.weight[frames][:, _TELLING] > _MIN_WEIGHT, 1.0, 0.0)[..., None]
    enough = trust.sum((1, 2)) >= len(_TELLING) / 2
    if not enough.any():
        return None
    total = np.maximum(trust.sum(1, keepdims=True), 1.0)
    world, own = (points - (trust * points).sum(1, keepdims=True) / total for points in (world, own))
    factor = (trust * own * world).sum((1, 2)) / np.maximum((trust * own * own).sum((1, 2)), 1e-9)
    return float(np.clip(np.median(factor[enough]), SMALLEST, LARGEST))


def resized(params: BodyParams, factor: float) -> BodyParams:
    """The same body ``factor`` times as large and as far away: in the picture nothing changes."""
    return replace(
        params,
        scale=params.scale * factor,
        translation=(factor * params.translation).astype(np.float32),
        keypoints=(factor * params.keypoints).astype(np.float32),
    )
