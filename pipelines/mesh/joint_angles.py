"""Joint angles as anatomy names them, in degrees. The definitions stand in docs/mesh-exports.md.

Every segment carries axes x forward, y along the segment towards the trunk (upwards in the trunk), z to the subject's
right, as the ISB recommends. A joint's angles are the Cardan angles of the distal segment's axes in the proximal's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from core.types import LANDMARK_NAMES
from models.body.articulation import landmark_positions, rotation_matrices
from models.body.base import JOINT_NAMES, JOINT_PARENTS, RestBody
from models.body.pose_init import limbs_of

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}

#: Columns forward, up, right of a person who stands straight, in model axes.
_STANDING = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])

#: The same, in camera axes, of a person who faces the camera.
_FACING_CAMERA = np.array([[0.0, 0, -1], [0, -1, 0], [-1, 0, 0]])


@dataclass(frozen=True)
class _Column:
    """One angle: which of a joint's Cardan angles, and the sign that makes it read as its name says."""

    name: str
    axis: str
    sign: float


@dataclass(frozen=True)
class _Joint:
    """The angles between two segments."""

    proximal: str
    """A joint whose segment it is; empty for the camera's surroundings."""
    distal: str
    order: str
    """Axes about which the distal segment is turned, one after the other, each carried along."""
    columns: tuple[_Column, ...]


def _trunk() -> tuple[_Joint, ...]:
    def bends(part: str) -> tuple[_Column, ...]:
        return (
            _Column(f"{part}_flexion", "Z", -1),
            _Column(f"{part}_lateral_bend", "X", 1),
            _Column(f"{part}_rotation", "Y", 1),
        )

    pelvis = (_Column("pelvis_rotation", "Y", 1), _Column("pelvis_obliquity", "X", 1), _Column("pelvis_tilt", "Z", -1))
    return (
        _Joint("", "root", "YXZ", pelvis),
        _Joint("root", "spine_upper", "ZXY", bends("trunk")),
        _Joint("spine_upper", "head", "ZXY", bends("neck")),
    )


def _side(side: str) -> tuple[_Joint, ...]:
    mirror = 1.0 if side == "right" else -1.0

    def ball(part: str) -> tuple[_Column, ...]:
        return (
            _Column(f"{side}_{part}_flexion", "Z", 1),
            _Column(f"{side}_{part}_abduction", "X", -mirror),
            _Column(f"{side}_{part}_rotation", "Y", mirror),
        )

    ankle = (_Column(f"{side}_ankle_dorsiflexion", "Z", 1), _Column(f"{side}_ankle_inversion", "X", mirror))
    wrist = (
        _Column(f"{side}_forearm_pronation", "Y", mirror),
        _Column(f"{side}_wrist_flexion", "Z", 1),
        _Column(f"{side}_wrist_ulnar_deviation", "X", mirror),
    )
    return (
        _Joint("root", f"{side}_hip", "ZXY", ball("hip")),
        _Joint(f"{side}_hip", f"{side}_knee", "ZXY", (_Column(f"{side}_knee_flexion", "Z", -1),)),
        _Joint(f"{side}_knee", f"{side}_foot", "ZXY", ankle),
        _Joint("spine_upper", f"{side}_shoulder", "ZXY", ball("shoulder")),
        _Joint(f"{side}_shoulder", f"{side}_elbow", "ZXY", (_Column(f"{side}_elbow_flexion", "Z", 1),)),
        _Joint(f"{side}_elbow", f"{side}_wrist", "YZX", wrist),
    )


_JOINTS = (*_trunk(), *_side("left"), *_side("right"))
_ELEVATIONS = tuple(f"{side}_shoulder_elevation" for side in ("left", "right"))

#: Names of the angles, in the order of :func:`joint_angles`.
ANGLE_NAMES = (*(column.name for joint in _JOINTS for column in joint.columns), *_ELEVATIONS)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def axes_along(along: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(3, 3) columns forward, along, right: ``along`` is kept, ``right`` made square to it."""
    y = _unit(along)
    z = _unit(right - (right @ y) * y)
    return np.stack([np.cross(y, z), y, z], 1)


def segment_axes(rest: RestBody) -> dict[str, np.ndarray]:
    """The (3, 3) axes of the segment below each joint at rest, columns forward, along, right in model axes."""
    heads = {
        name: rest.bone_heads[bone].astype(float) for name, bone in zip(JOINT_NAMES, rest.joint_bones, strict=True)
    }
    plain = np.tile(np.eye(4), (1, len(rest.bone_names), 1, 1))
    points = dict(zip(LANDMARK_NAMES, landmark_positions(rest, plain)[0].astype(float), strict=True))
    hinges = {JOINT_NAMES[limb.hinge.joint]: limb.hinge.axis for limb in limbs_of(rest)}
    found = dict.fromkeys(("root", "spine_upper", "head", "left_foot", "right_foot"), _STANDING)
    for side in ("left", "right"):
        hip, knee, foot, shoulder, elbow, wrist = (
            heads[f"{side}_{joint}"] for joint in ("hip", "knee", "foot", "shoulder", "elbow", "wrist")
        )
        # A knee's positive angle bends it about the left.
        lateral = -hinges[f"{side}_knee"]
        found[f"{side}_hip"], found[f"{side}_knee"] = axes_along(hip - knee, lateral), axes_along(knee - foot, lateral)
        lateral = hinges[f"{side}_elbow"]
        found[f"{side}_shoulder"] = axes_along(shoulder - elbow, lateral)
        found[f"{side}_elbow"] = axes_along(elbow - wrist, lateral)
        index, pinky = points[f"{side}_index"], points[f"{side}_pinky"]
        # With the palm to the front, the right hand's index finger lies on the right, the left hand's on the left.
        lateral = index - pinky if side == "right" else pinky - index
        found[f"{side}_wrist"] = axes_along(wrist - (index + pinky) / 2, lateral)
    return found


def joint_turns(rotations: np.ndarray) -> np.ndarray:
    """(T, J, 3, 3): rotation of each joint's segment, model axes -> camera axes, from (T, J, 3) rotation vectors."""
    turns = rotation_matrices(rotations)
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            turns[:, joint] = turns[:, parent] @ turns[:, joint]
    return turns


def joint_angles(axes: Mapping[str, np.ndarray], rotations: np.ndarray) -> np.ndarray:
    """The angles of a motion.

    Parameters
    ----------
    axes:
        From :func:`segment_axes`.
    rotations:
        (T, J, 3) rotation vectors as in ``BodyParams``.

    Returns
    -------
    np.ndarray
        (T, len(ANGLE_NAMES)) float64, degrees in -180..180.
    """
    turns = joint_turns(rotations)
    frames = {name: turns[:, JOINT[name]] @ own for name, own in axes.items()}
    frames[""] = np.broadcast_to(_FACING_CAMERA, (len(turns), 3, 3))
    columns = []
    for joint in _JOINTS:
        relative = np.swapaxes(frames[joint.proximal], 1, 2) @ frames[joint.distal]
        cardan = Rotation.from_matrix(relative).as_euler(joint.order, degrees=True)
        columns += [column.sign * cardan[:, joint.order.index(column.axis)] for column in joint.columns]
    for side in ("left", "right"):
        cosine = (frames["spine_upper"][:, :, 1] * frames[f"{side}_shoulder"][:, :, 1]).sum(1)
        columns.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.stack(columns, 1)
