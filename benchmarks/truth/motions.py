"""Motions of a body on level ground: joint angles over time, and the path of the root that keeps the standing foot still.

Model axes: z up, the body faces -y, +x is its left. Hips and knees turn about x: hips flex by negative angles, knees by
positive ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from benchmarks.known_walk import ANKLE, HIP, KNEE
from core.types import LANDMARK_NAMES
from models.body.articulation import bone_transforms, landmark_positions, rotation_matrices
from models.body.base import JOINT_NAMES, RestBody
from models.body.pose_init import limbs_of, rotation_vectors

CYCLE_SECONDS = 1.1
"""Two steps of the walk."""
MARCH_SECONDS = 0.95
"""Two steps on the spot."""
#: Points of the feet that may rest on the ground: left heel, left toe, right heel, right toe.
FEET = [LANDMARK_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in ("heel", "foot_index")]
#: A foot point rests from one frame to the next where it moves less than this, and is lower than that, metres.
STILL, LOW = 0.0015, 0.015
#: Angle by which the arms of the rest pose are lowered to hang at the sides, radians.
HANG = 0.6

_X, _Y, _Z = np.eye(3)


@dataclass(frozen=True)
class Motion:
    """A motion in model axes, the ground at z = 0."""

    vectors: np.ndarray
    """(T, J, 3) rotation vectors, radians; the root's takes model axes to world axes."""
    place: np.ndarray
    """(T, 3) metres: the root joint."""
    standing: np.ndarray
    """(T-1, 4) bool: which of ``FEET`` rest from each frame to the next."""


def _joint(name: str) -> int:
    return JOINT_NAMES.index(name)


def _ease(time: np.ndarray) -> np.ndarray:
    """0 to 1 over ``time`` 0 to 1 without a jerk at either end."""
    time = np.clip(time, 0, 1)
    return time**3 * (10 - 15 * time + 6 * time**2)


def _there_and_back(share: np.ndarray, start: float, top: float, leave: float, end: float) -> np.ndarray:
    """Rises from 0 at ``start`` to 1 at ``top``, falls from ``leave`` to 0 at ``end``; all in parts of the clip."""
    return _ease((share - start) / (top - start)) - _ease((share - leave) / (end - leave))


def _legs(vectors: np.ndarray, side: str, hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray) -> None:
    """Flexion of one leg, radians (T,); ``ankle`` is dorsiflexion."""
    vectors[:, _joint(f"{side}_hip")] += -hip[:, None] * _X
    vectors[:, _joint(f"{side}_knee")] += knee[:, None] * _X
    vectors[:, _joint(f"{side}_foot")] += -ankle[:, None] * _X


def _arm(
    rest: RestBody, vectors: np.ndarray, side: str, raised: np.ndarray, forward: np.ndarray, bend: np.ndarray
) -> None:
    """One arm: raised sideways from hanging, swung forward, elbow bent from straight; radians (T,)."""
    sign = 1.0 if side == "left" else -1.0
    sideways = rotation_matrices(((HANG - raised) * sign)[:, None] * _Y)
    swing = rotation_matrices(-forward[:, None] * _X)
    vectors[:, _joint(f"{side}_shoulder")] = rotation_vectors(swing @ sideways)
    # Above the shoulder the collar bone takes its part.
    vectors[:, _joint(f"{side}_clavicle")] = -sign * 0.2 * np.clip(raised + forward - 1.0, 0, 1.5)[:, None] * _Y
    hinge = next(limb.hinge for limb in limbs_of(rest) if limb.hinge.joint == _joint(f"{side}_elbow"))
    vectors[:, hinge.joint] = (hinge.low + bend)[:, None] * hinge.axis


def _cycle(degrees: tuple[int, ...], phase: np.ndarray) -> np.ndarray:
    """Radians at the phases (T,), 0..1, of a smooth periodic curve through evenly spaced values."""
    values = np.radians([*degrees, degrees[0]])
    return CubicSpline(np.linspace(0, 1, len(values)), values, bc_type="periodic")(phase % 1.0)


def walk(rest: RestBody, time: np.ndarray) -> np.ndarray:
    """Straight ahead, with the joint angles of normal walking (``benchmarks/known_walk.py``)."""
    vectors = np.zeros((len(time), len(JOINT_NAMES), 3))
    phase = time / CYCLE_SECONDS
    for side, shift in (("left", 0.0), ("right", 0.5)):
        own = phase + shift
        _legs(vectors, side, *(_cycle(table, own) for table in (HIP, KNEE, ANKLE)))
        swing = 0.02 - 0.36 * np.cos(2 * np.pi * own)
        _arm(rest, vectors, side, np.full(len(time), 0.03), swing, 0.3 + 0.5 * np.clip(swing, 0, 1))
    beat = np.cos(2 * np.pi * phase)
    vectors[:, _joint("spine_upper"), 2] = 0.10 * beat
    vectors[:, 0, 2] = -0.07 * beat
    return vectors


def turn(rest: RestBody, time: np.ndarray) -> np.ndarray:
    """Once round on the spot, in small steps."""
    vectors = np.zeros((len(time), len(JOINT_NAMES), 3))
    phase = 2 * np.pi * time / MARCH_SECONDS
    for side, shift in (("left", 0.0), ("right", np.pi)):
        lift = np.clip(np.sin(phase + shift), 0, None) ** 2
        # The foot stays level with the ground while it is lifted.
        _legs(vectors, side, 0.55 * lift, 1.0 * lift, 0.45 * lift)
        swing = -0.25 * np.sin(phase + shift)
        _arm(rest, vectors, side, np.full(len(time), 0.05), swing, 0.5 + 0.4 * np.clip(swing, 0, 1))
    heading = 2 * np.pi * time / time[-1]
    sway = rotation_matrices((0.04 * np.sin(phase))[:, None] * _Y)
    vectors[:, 0] = rotation_vectors(rotation_matrices(heading[:, None] * _Z) @ sway)
    vectors[:, _joint("head"), 2] = 0.15
    return vectors


def arms(rest: RestBody, time: np.ndarray) -> np.ndarray:
    """Both arms up at the sides, down again, then forward with bent elbows; the feet stay."""
    vectors = np.zeros((len(time), len(JOINT_NAMES), 3))
    share = time / time[-1]
    up, reach = _there_and_back(share, 0.05, 0.35, 0.45, 0.65), _there_and_back(share, 0.6, 0.8, 0.9, 1.05)
    for side, lead in (("left", 1.0), ("right", 0.85)):
        _arm(rest, vectors, side, 0.05 + 2.5 * lead * up, 1.5 * lead * reach, 0.3 + 0.3 * up + 0.8 * reach)
    vectors[:, _joint("spine_upper")] = -0.08 * up[:, None] * _X
    vectors[:, _joint("head")] = -0.2 * up[:, None] * _X
    return vectors


def crouch(rest: RestBody, time: np.ndarray) -> np.ndarray:
    """Down with the arms stretched forward and up again; the soles stay flat."""
    vectors = np.zeros((len(time), len(JOINT_NAMES), 3))
    down = _there_and_back(time / time[-1], 0.08, 0.42, 0.55, 0.92)
    lean, hip, knee = 0.45 * down, 1.55 * down, 1.7 * down
    vectors[:, 0] = lean[:, None] * _X
    vectors[:, _joint("spine_upper")] = 0.15 * down[:, None] * _X
    vectors[:, _joint("neck")] = -0.3 * down[:, None] * _X
    for side in ("left", "right"):
        # Trunk, hip, knee and ankle add up to nothing at the sole.
        _legs(vectors, side, hip, knee, knee + lean - hip)
        _arm(rest, vectors, side, np.full(len(time), 0.08), 0.1 + 1.2 * down, 0.25 + 0.1 * down)
    return vectors


#: By name; the angle is the heading at the start, degrees about the vertical: 0 faces the camera.
MOTIONS: dict[str, tuple[Callable[[RestBody, np.ndarray], np.ndarray], float]] = {
    "walk": (walk, -62.0),
    "turn": (turn, 0.0),
    "arms": (arms, 20.0),
    "crouch": (crouch, 50.0),
}


def _foot_points(rest: RestBody, vectors: np.ndarray) -> np.ndarray:
    """(T, 4, 3) metres, with the root joint at the origin."""
    posed = bone_transforms(rest, vectors, np.zeros((len(vectors), 3)))
    return landmark_positions(rest, posed).astype(float)[:, FEET]


def motion_of(name: str, rest: RestBody, frames: int, rate: float) -> Motion:
    """One of ``MOTIONS`` by a body, ``KeyError`` where there is none of that name. The lowest foot point never slides."""
    make, heading = MOTIONS[name]
    vectors = make(rest, np.arange(frames) / rate)
    to_world = rotation_matrices(np.array([0, 0, np.radians(heading)]))
    vectors[:, 0] = rotation_vectors(to_world @ rotation_matrices(vectors[:, 0]))
    feet = _foot_points(rest, vectors)
    # Heels and toes are marked at different heights of the foot: each is compared with itself at rest.
    sole = _foot_points(rest, np.zeros((1, len(JOINT_NAMES), 3)))[0, :, 2]
    clearance = feet[..., 2] - sole
    lowest = clearance.argmin(1)
    place = np.zeros((frames, 3))
    for t in range(1, frames):
        place[t] = place[t - 1] + feet[t - 1, lowest[t - 1]] - feet[t, lowest[t - 1]]
    place -= place.mean(0)
    place[:, 2] = -clearance.min(1)
    placed = feet + place[:, None]
    step = np.linalg.norm(np.diff(placed, axis=0), axis=-1)
    height = placed[..., 2] - sole
    place[:, 2] -= sole.min()
    return Motion(vectors, place, (step < STILL) & (height[:-1] < LOW))
