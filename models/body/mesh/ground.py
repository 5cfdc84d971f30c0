"""Where the ground lies under a fitted body: read off its soles, over the whole clip, so that it neither jumps nor drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import percentile_filter, uniform_filter1d

from core.types import BodyParams, ShotLook
from models.body.articulation import Skin, params_transforms, rig_of
from models.body.base import JOINT_NAMES, RestBody
from models.body.ground_shadow import Footing

#: How far the shadow reaches from the feet, metres, in soft and in hard light; and that of a foot on its own.
SOFT_REACH, HARD_REACH, FOOT_REACH = 1.0, 2.0, 0.25
#: A foot less than this above the ground darkens it, metres.
FOOT_STEP = 0.14
#: A body whose lower sole is less than this above the ground stands on it: a fit is no more exact, metres.
STANDING = 0.06
#: Height above its lowest point within which a foot counts as sole, metres.
SOLE = 0.02
#: Softness above which the light casts no shadow that goes far.
NO_CAST_SHADOW = 0.9
#: Time over which a body that leaves the ground is expected back, seconds.
FLIGHT = 0.8
#: Percentile of the heights of the lower sole that is taken for the ground's (y points down); the lowest are noise.
USUAL = 60
#: Frames that are posed at a time.
CHUNK = 128


@dataclass(frozen=True)
class Ground:
    """The ground under a body in each frame of a clip."""

    soles: np.ndarray
    """(T, 2, 3) float32, metres, camera axes: the middle of the left and of the right sole; NaN where there is no body."""
    height: np.ndarray
    """(T,) float32, metres: y of the ground in camera axes (y points down); NaN where the clip has no body at all."""

    def footings(self, frame: int, look: ShotLook) -> tuple[Footing, ...]:
        """The patches of ground that the body darkens in one frame; none where there is no body."""
        soles, height = self.soles[frame], float(self.height[frame])
        if not np.isfinite(soles).all():
            return ()
        lowest = float(soles[:, 1].max())
        level = max(lowest, height - STANDING)
        middle = np.array([soles[:, 0].mean(), level, soles[:, 2].mean()], np.float32)
        patches = [Footing(middle, SOFT_REACH if look.softness > NO_CAST_SHADOW else HARD_REACH)]
        patches += [Footing(sole, FOOT_REACH) for sole in soles if level - sole[1] < FOOT_STEP]
        return tuple(patches)


def find_ground(rest: RestBody, params: BodyParams, rate: float) -> Ground:
    """The ground under a fitted body.

    The lower sole tells it in each frame; of ``FLIGHT`` seconds the low ones count, so that a jump lifts the body and not
    the ground.

    Parameters
    ----------
    rate:
        Frames per second.
    """
    feet = [_foot(rest, name) for name in ("left_foot", "right_foot")]
    skins = [Skin(rest.vertices[i], rest.bone_indices[i], rest.bone_weights[i], len(rest.bone_names)) for i in feet]
    soles = np.full((len(params), 2, 3), np.nan, np.float32)
    for start in range(0, len(params), CHUNK):
        transforms = params_transforms(rest, params.window(start, min(start + CHUNK, len(params))))
        for frame in np.flatnonzero(params.valid[start : start + CHUNK]):
            soles[start + frame] = [_sole(skin(transforms[frame])) for skin in skins]
    return Ground(soles, _smooth_height(soles[..., 1].max(axis=1), rate))


def _smooth_height(lowest: np.ndarray, rate: float) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(lowest))
    if len(known) == 0:
        return lowest
    filled = np.interp(np.arange(len(lowest)), known, lowest[known])
    reach = 2 * round(FLIGHT * rate / 2) + 1
    return uniform_filter1d(percentile_filter(filled, USUAL, reach), reach).astype(np.float32)


def _foot(rest: RestBody, joint: str) -> np.ndarray:
    """Indices of the vertices that a foot moves."""
    heaviest = np.take_along_axis(rest.bone_indices, rest.bone_weights.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.flatnonzero(rig_of(rest).carrier[heaviest] == JOINT_NAMES.index(joint))


def _sole(foot: np.ndarray) -> np.ndarray:
    """(3,) the middle of what touches the ground of a foot's (M, 3) vertices, at the height of its lowest point."""
    lowest = float(foot[:, 1].max())
    touching = foot[foot[:, 1] > lowest - SOLE]
    return np.array([touching[:, 0].mean(), lowest, touching[:, 2].mean()], np.float32)
