"""A first pose for every frame, in closed form, from MediaPipe's world landmarks.

The root is framed by hips and shoulders, limbs are laid along the observed bones with elbows and knees bent in the plane
in which they are seen to bend, and the place in the camera follows linearly from the image positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from core.types import LANDMARK_NAMES
from models.body.articulation import rotation_matrices
from models.body.base import JOINT_NAMES, SCALE_NAMES, RestBody
from models.body.kinematics import LandmarkChain, PoseState

LANDMARK = {name: index for index, name in enumerate(LANDMARK_NAMES)}
JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}

#: Bend of a limb (sine) above which the plane in which it bends is trusted, and below which it is not.
_PLANE_SEEN, _PLANE_UNSEEN = 0.5, 0.15
#: Bend of an elbow towards the front at rest (sine) above which the rest pose shows its axis.
_BENT_FORWARDS = 0.4
#: Share of the landmark's own weight below which it has no say in the first placement.
_MIN_WEIGHT = 0.05


@dataclass(frozen=True)
class Hinge:
    """A joint that bends about one axis: elbow or knee."""

    joint: int
    """Index in ``JOINT_NAMES``."""
    axis: np.ndarray
    """(3,) unit vector in rest axes; positive angles bend further."""
    low: float
    """Smallest angle from the rest pose, radians (straight)."""
    high: float
    """Largest angle, radians."""


@dataclass(frozen=True)
class Limb:
    """Landmarks and joints of an arm or a leg."""

    upper: int
    lower: int
    points: tuple[int, int, int]
    """Landmarks at shoulder, elbow, wrist (hip, knee, ankle)."""
    bones: tuple[str, str, str]
    """Bones that begin at these three places."""
    hinge: Hinge


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def limbs_of(rest: RestBody) -> tuple[Limb, ...]:
    """Arms and legs with their hinges, from the rest skeleton."""
    found = []
    for side, mark in (("left", "L"), ("right", "R")):
        for parts, joints, bones in (
            (("shoulder", "elbow", "wrist"), ("shoulder", "elbow"), ("upperarm01", "lowerarm01", "wrist")),
            (("hip", "knee", "ankle"), ("hip", "knee"), ("upperleg01", "lowerleg01", "foot")),
        ):
            first, second, third = (f"{bone}.{mark}" for bone in bones)
            a, b, c = (rest.bone_heads[rest.bone(bone)].astype(float) for bone in (first, second, third))
            upper, lower = _unit(b - a), _unit(c - b)
            if parts[0] == "hip":
                # A straight knee has no plane of its own: it bends about the body's left, the shin going back.
                axis = _unit(np.array([1.0, 0, 0]) - upper[0] * upper)
                low, high = -0.05, 2.5
            else:
                axis, bend = _elbow(upper, lower)
                low, high = -bend, 2.6 - bend
            joint = JOINT[f"{side}_{joints[1]}"]
            start, middle, end = (LANDMARK[f"{side}_{part}"] for part in parts)
            hinge = Hinge(joint, axis, low, high)
            found.append(Limb(JOINT[f"{side}_{joints[0]}"], joint, (start, middle, end), (first, second, third), hinge))
    return tuple(found)


def _elbow(upper: np.ndarray, lower: np.ndarray) -> tuple[np.ndarray, float]:
    """Axis about which an elbow bends, and how far it is bent at rest, radians; from the directions of arm and forearm.

    An elbow that is bent forwards at rest shows its axis. The straight arms of a T-pose, sagging a little, do not: there
    the palms look down, so that the elbow bends forwards.
    """
    front = np.array([0.0, -1.0, 0.0])
    forwards = _unit(np.cross(upper, front))
    if np.cross(upper, lower) @ forwards > _BENT_FORWARDS:
        return _unit(np.cross(upper, lower)), float(np.arccos(np.clip(upper @ lower, -1, 1)))
    return forwards, float(np.arctan2(np.cross(upper, lower) @ forwards, upper @ lower))


def view_rotations(landmarks: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(T, 3, 3): from the axes of a camera that looks straight at the person to those of the real camera.

    The landmark network sees a crop, so its world axes look along the ray to the person and not along the optical axis.
    """
    hips = landmarks[:, [LANDMARK["left_hip"], LANDMARK["right_hip"]], :2].mean(1)
    ray = _unit(np.concatenate([(hips - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]], np.ones((len(hips), 1))], 1))
    axis = np.cross(np.array([0.0, 0.0, 1.0]), ray)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    return rotation_matrices(axis / np.maximum(sine, 1e-9) * np.arcsin(np.clip(sine, 0, 1)))


def _steady(values: np.ndarray, window: int = 7) -> np.ndarray:
    """Median and a little Gaussian over time."""
    if len(values) < 3:
        return values
    size = (window,) + (1,) * (values.ndim - 1)
    return gaussian_filter1d(median_filter(values, size, mode="nearest"), 1.0, axis=0, mode="nearest")


def _root_rotations(world: np.ndarray) -> np.ndarray:
    """(T, 3, 3): columns left, back, up of the trunk in camera axes."""
    shoulders = world[:, [LANDMARK["left_shoulder"], LANDMARK["right_shoulder"]]]
    hips = world[:, [LANDMARK["left_hip"], LANDMARK["right_hip"]]]
    up = _unit(_steady(shoulders.mean(1) - hips.mean(1)))
    left = _steady(_unit(shoulders[:, 0] - shoulders[:, 1]) + _unit(hips[:, 0] - hips[:, 1]))
    left = _unit(left - (left * up).sum(1, keepdims=True) * up)
    return np.stack([left, np.cross(up, left), up], -1)


def _turn_between(start: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(T, 3, 3): the smallest rotations that take the unit vector ``start`` (3,) to each of ``ends`` (T, 3)."""
    axis = np.cross(start, ends)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (ends @ start)[:, None])
    return rotation_matrices(axis / np.maximum(sine, 1e-9) * angle)


def _lay_limb(limb: Limb, world: np.ndarray, root: np.ndarray, heads: np.ndarray, vectors: np.ndarray) -> None:
    """Set the joint rotations of one limb so that it lies along the observed bones."""
    a, b, c = (world[:, point] for point in limb.points)
    upper = np.einsum("tji,tj->ti", root, _unit(b - a))
    lower = np.einsum("tji,tj->ti", root, _unit(c - b))
    upper_rest = _unit(heads[1] - heads[0])
    axis = _unit(limb.hinge.axis - (limb.hinge.axis @ upper_rest) * upper_rest)
    plain = _turn_between(upper_rest, upper)
    normal = np.cross(upper, lower)
    sine = np.linalg.norm(normal, axis=1, keepdims=True)
    seen = np.clip((sine - _PLANE_UNSEEN) / (_PLANE_SEEN - _PLANE_UNSEEN), 0, 1)
    side = seen * normal / np.maximum(sine, 1e-9) + (1 - seen) * (plain @ axis)
    side = _unit(side - (side * upper).sum(1, keepdims=True) * upper)
    observed = np.stack([upper, side, np.cross(upper, side)], -1)
    at_rest = np.stack([upper_rest, axis, np.cross(upper_rest, axis)], -1)
    vectors[:, limb.upper] = rotation_vectors(observed @ at_rest.T)
    bend = np.arctan2(sine[:, 0], (upper * lower).sum(1))
    lower_rest = _unit(heads[2] - heads[1])
    bend_rest = np.arctan2(np.cross(upper_rest, lower_rest) @ axis, upper_rest @ lower_rest)
    angle = np.clip(bend - bend_rest, limb.hinge.low, limb.hinge.high)
    vectors[:, limb.lower] = angle[:, None] * limb.hinge.axis


def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """(T, 3) rotation vectors of (T, 3, 3) matrices, angles in 0..pi."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(matrices).as_rotvec()


def place_in_camera(
    points: np.ndarray, landmarks: np.ndarray, weight: np.ndarray, intrinsics: np.ndarray
) -> np.ndarray:
    """(T, 3): the shift of each frame's ``points`` (T, K, 3) that projects them best onto ``landmarks`` (T, K, 2).

    Linear least squares on ``(X + tx) = x (Z + tz)`` with normalised image coordinates x, and the same for y.
    """
    image = (landmarks[..., :2] - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]]
    count, landmark_count = image.shape[:2]
    system = np.zeros((count, landmark_count, 2, 3))
    system[:, :, 0, 0] = system[:, :, 1, 1] = 1.0
    system[..., 2] = -image
    target = image * points[..., 2:] - points[..., :2]
    system = (system * weight[..., None, None]).reshape(count, -1, 3)
    target = (target * weight[..., None]).reshape(count, -1, 1)
    normal = system.transpose(0, 2, 1) @ system + 1e-9 * np.eye(3)
    return np.linalg.solve(normal, system.transpose(0, 2, 1) @ target)[..., 0]


def initial_state(
    rest: RestBody,
    chain: LandmarkChain,
    landmarks: np.ndarray,
    world: np.ndarray,
    weight: np.ndarray,
    intrinsics: np.ndarray,
) -> PoseState:
    """The first pose of consecutive frames.

    ``landmarks`` (T, 33, >=2) pixels, ``world`` (T, 33, 3) metres in camera axes, ``weight`` (T, 33) trust 0..1.
    """
    root = _root_rotations(world)
    vectors = np.zeros((len(world), len(JOINT_NAMES), 3))
    for limb in limbs_of(rest):
        heads = np.stack([rest.bone_heads[rest.bone(bone)] for bone in limb.bones]).astype(float)
        _lay_limb(limb, world, root, heads, vectors)
    state = PoseState(root, vectors, np.zeros((len(world), 3)), np.ones(len(SCALE_NAMES)))
    points = chain.points(state)
    trust = np.where(weight > _MIN_WEIGHT, weight, _MIN_WEIGHT)
    place = place_in_camera(points, landmarks, trust, intrinsics)
    # One frame's depth is uncertain; the person's depth changes slowly.
    place[:, 2] = np.maximum(_steady(place[:, 2:], 9)[:, 0], 0.3)
    state.place = place
    return state
