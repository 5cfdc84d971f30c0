"""Posing a rest body: joint rotations to bone transforms, and bone transforms to vertices.

A bone transform takes rest coordinates to camera coordinates. It is made of two parts: a *rest change*, constant over
the clip (proportions and curled fingers), and the rigid motion of the articulated joint that carries the bone:
``M[b] = G[joint(b)] @ C[b]``. The change is linear in the scale factors, which lets the fit solve for proportions.

Twist is spread along the limbs: where a joint turns about the axis of its limb, the skin near the shoulder, the hip and
the elbow follows only in part, as it does in a body (a single bone would wring the skin like a candy wrapper).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from core.types import BodyParams
from models.body.base import JOINT_NAMES, JOINT_PARENTS, SCALE_NAMES, RestBody


@dataclass(frozen=True)
class Stretch:
    """How one scale factor acts on the rest body."""

    bones: tuple[str, ...]
    """Bones whose surroundings are scaled; with ``descendants`` everything that hangs on them too."""
    axis: tuple[str, str] | None
    """The bones between whose heads the stretched axis runs; ``None`` scales evenly."""
    descendants: bool = False


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{side}" for side in "LR" for name in names)


#: The parts that each factor stretches. Axes of paired parts are given for the left side; the right one is mirrored.
STRETCHES: dict[str, Stretch] = {
    "scale_torso": Stretch(("spine05", "spine04", "spine03", "spine02", "spine01"), ("spine05", "neck01")),
    "scale_neck": Stretch(("neck01", "neck02", "neck03"), ("neck01", "head")),
    "scale_head": Stretch(("head",), None, descendants=True),
    "scale_shoulders": Stretch(_both("clavicle", "shoulder01"), ("clavicle.R", "clavicle.L")),
    "scale_upper_arm": Stretch(_both("upperarm01", "upperarm02"), ("upperarm01.L", "lowerarm01.L")),
    "scale_forearm": Stretch(_both("lowerarm01", "lowerarm02"), ("lowerarm01.L", "wrist.L")),
    "scale_hand": Stretch(_both("wrist"), None, descendants=True),
    "scale_hips": Stretch(_both("pelvis"), ("upperleg01.R", "upperleg01.L")),
    "scale_thigh": Stretch(_both("upperleg01", "upperleg02"), ("upperleg01.L", "lowerleg01.L")),
    "scale_shin": Stretch(_both("lowerleg01", "lowerleg02"), ("lowerleg01.L", "foot.L")),
    "scale_foot": Stretch(_both("foot"), None, descendants=True),
}


@dataclass(frozen=True)
class TwistShare:
    """A bone that takes only part of the twist of a joint about the axis of its limb."""

    bone: str
    joint: str
    """The joint whose twist is shared out."""
    axis: tuple[str, str]
    """The twist axis runs from the head of the first bone to that of the second."""
    share: float
    """Turn of the bone about the axis relative to the rigid motion that it would have, as a part of the twist."""


def _twist_shares() -> tuple[TwistShare, ...]:
    shares = []
    for side, name in (("L", "left"), ("R", "right")):
        upper_arm, thigh = (f"upperarm01.{side}", f"lowerarm01.{side}"), (f"upperleg01.{side}", f"lowerleg01.{side}")
        forearm = (f"lowerarm01.{side}", f"wrist.{side}")
        shares += [
            TwistShare(f"upperarm01.{side}", f"{name}_shoulder", upper_arm, -0.7),
            TwistShare(f"upperarm02.{side}", f"{name}_shoulder", upper_arm, -0.25),
            TwistShare(f"upperleg01.{side}", f"{name}_hip", thigh, -0.6),
            TwistShare(f"upperleg02.{side}", f"{name}_hip", thigh, -0.25),
            TwistShare(f"lowerarm01.{side}", f"{name}_wrist", forearm, 0.15),
            TwistShare(f"lowerarm02.{side}", f"{name}_wrist", forearm, 0.6),
        ]
    return tuple(shares)


TWIST_SHARES = _twist_shares()


@dataclass(frozen=True)
class RestChange:
    """The constant part of the bone transforms for one set of proportions."""

    bones: np.ndarray
    """(B, 4, 4) float64: rest coordinates -> changed rest coordinates, bone by bone."""
    joint_heads: np.ndarray
    """(J, 3) float64: where the joints lie after the change."""


@dataclass(frozen=True)
class Rig:
    """Tables derived from a rest body once; see :func:`rig_of`."""

    carrier: np.ndarray
    """(B,) int: the articulated joint that carries each bone."""
    stretch: np.ndarray
    """(S, B, 3, 3) float64: derivative of each bone's stretch by each factor of ``SCALE_NAMES``."""
    change: RestChange
    """At all factors 1."""
    change_by_scale: tuple[RestChange, ...] = field(repr=False)
    """Derivatives of the change by each factor; the change is linear in them."""


def _carriers(rest: RestBody) -> np.ndarray:
    carrier = np.full(len(rest.bone_names), -1)
    carrier[rest.joint_bones] = np.arange(len(rest.joint_bones))
    for bone, parent in enumerate(rest.bone_parents):
        if carrier[bone] < 0:
            carrier[bone] = carrier[parent]
    return carrier


def _stretches(rest: RestBody) -> np.ndarray:
    """(S, B, 3, 3): what each factor adds to the stretch of each bone."""
    result = np.zeros((len(SCALE_NAMES), len(rest.bone_names), 3, 3))
    for row, name in zip(result, SCALE_NAMES, strict=True):
        part = STRETCHES[name]
        for bone_name in part.bones:
            direction = np.eye(3)
            if part.axis is not None:
                start, end = (rest.bone_heads[rest.bone(end)].astype(float) for end in part.axis)
                along = (end - start) / np.linalg.norm(end - start)
                if bone_name.endswith(".R"):
                    along = along * (-1, 1, 1)
                direction = np.outer(along, along)
            row[rest.bone(bone_name)] = direction
        if part.descendants:
            for bone, parent in enumerate(rest.bone_parents):
                if parent >= 0 and row[parent].any():
                    row[bone] = row[parent]
    return result


def _rest_change(rest: RestBody, stretch: np.ndarray, carrier: np.ndarray) -> RestChange:
    """Stretch and curl the rest skeleton. ``stretch`` is (B, 3, 3), each bone's own linear map about its head."""
    count = len(rest.bone_names)
    heads = rest.bone_heads.astype(np.float64)
    turned, placed = np.empty((count, 3, 3)), np.empty((count, 3))
    for bone, parent in enumerate(rest.bone_parents):
        joint_bone = rest.joint_bones[carrier[bone]] == bone
        above = np.eye(3) if parent < 0 else turned[parent]
        turned[bone] = np.eye(3) if joint_bone else above @ rest.bone_curl[bone]
        placed[bone] = (
            heads[bone] if parent < 0 else placed[parent] + above @ stretch[parent] @ (heads[bone] - heads[parent])
        )
    result = np.tile(np.eye(4), (count, 1, 1))
    result[:, :3, :3] = turned @ stretch
    result[:, :3, 3] = placed - np.einsum("bij,bj->bi", result[:, :3, :3], heads)
    return RestChange(result, placed[rest.joint_bones])


@lru_cache(maxsize=8)
def _rig_by_identity(key: _Identity) -> Rig:
    rest = key.rest
    carrier, by_scale = _carriers(rest), _stretches(rest)
    plain = np.tile(np.eye(3), (len(rest.bone_names), 1, 1))
    change = _rest_change(rest, plain, carrier)
    slopes = []
    for row in by_scale:
        grown = _rest_change(rest, plain + row, carrier)
        slopes.append(RestChange(grown.bones - change.bones, grown.joint_heads - change.joint_heads))
    return Rig(carrier, by_scale, change, tuple(slopes))


@dataclass(frozen=True, eq=False)
class _Identity:
    """Makes a rest body usable as a cache key: same object, same key."""

    rest: RestBody

    def __hash__(self) -> int:
        return id(self.rest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.rest is self.rest


def rig_of(rest: RestBody) -> Rig:
    """The tables for posing ``rest``; made once for each body and remembered."""
    return _rig_by_identity(_Identity(rest))


def scales_of(shape: Mapping[str, float]) -> np.ndarray:
    """(S,) float64: the factors of ``SCALE_NAMES`` in a shape; 1 where it names none."""
    return np.array([float(shape.get(name, 1.0)) for name in SCALE_NAMES])


def rest_change(rest: RestBody, scales: np.ndarray) -> RestChange:
    """The constant part of the bone transforms for the factors ``scales`` (S,) in the order of ``SCALE_NAMES``."""
    rig = rig_of(rest)
    bones, heads = rig.change.bones.copy(), rig.change.joint_heads.copy()
    for factor, slope in zip(scales, rig.change_by_scale, strict=True):
        bones += (factor - 1.0) * slope.bones
        heads += (factor - 1.0) * slope.joint_heads
    return RestChange(bones, heads)


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors ``(..., 3)`` in radians to matrices ``(..., 3, 3)`` float64 (Rodrigues' formula)."""
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    small = np.maximum(angle, 1e-12)
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)
    return np.eye(3) + np.sin(angle) / small * cross + (1 - np.cos(angle)) / small**2 * (cross @ cross)


def twist_angle(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Angle by which rotations turn about an axis, the swing of the axis itself left out.

    ``vectors`` (..., 3) rotation vectors, ``axis`` (3,) unit vector; radians in -pi..pi (swing-twist decomposition).
    """
    angle = np.linalg.norm(vectors, axis=-1)
    along = np.where(angle > 1e-9, np.sin(angle / 2) / np.maximum(angle, 1e-9), 0.5) * (vectors @ axis)
    twist = 2 * np.arctan2(along, np.cos(angle / 2))
    return (twist + np.pi) % (2 * np.pi) - np.pi


def _joint_motion(rotations: np.ndarray, translation: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(T, J, 4, 4): changed rest coordinates -> camera for each joint; forward kinematics over parents first."""
    local = rotation_matrices(rotations)
    motion = np.zeros((*rotations.shape[:2], 4, 4))
    motion[..., 3, 3] = 1
    for joint, parent in enumerate(JOINT_PARENTS):
        turn = local[:, joint] if parent < 0 else motion[:, parent, :3, :3] @ local[:, joint]
        place = translation if parent < 0 else motion[:, parent, :3, :3] @ heads[joint] + motion[:, parent, :3, 3]
        motion[:, joint, :3, :3] = turn
        motion[:, joint, :3, 3] = place - turn @ heads[joint]
    return motion


def _turn_about(axis: np.ndarray, through: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(T, 4, 4): rotations by ``angle`` (T,) about the line along ``axis`` through the point ``through``."""
    result = np.tile(np.eye(4), (len(angle), 1, 1))
    result[:, :3, :3] = rotation_matrices(angle[:, None] * axis)
    result[:, :3, 3] = through - result[:, :3, :3] @ through
    return result


def bone_transforms(
    rest: RestBody, rotations: np.ndarray, translation: np.ndarray, shape: Mapping[str, float] | None = None
) -> np.ndarray:
    """Pose a body.

    Parameters
    ----------
    rest:
        The body.
    rotations:
        (T, J, 3) rotation vectors in radians: the root's takes model axes to camera axes, the others are deltas from the
        rest pose in rest axes. (T, B, 3) where the body's other bones turn too: they follow the joints, in the order of
        ``RestBody.free_bones``, each against its parent, and no twist is spread.
    translation:
        (T, 3) metres: position of the root joint in the camera.
    shape:
        Where it names factors of ``SCALE_NAMES``, the body is stretched by them; not with all bones given.

    Returns
    -------
    np.ndarray
        (T, B, 4, 4) float32: rest coordinates -> camera coordinates for each bone. They move whatever is skinned to the
        same bones: the skin, garments, hair.
    """
    rotations, translation = np.asarray(rotations, np.float64), np.asarray(translation, np.float64)
    if rotations.shape[1:] == (len(rest.bone_names), 3) and translation.shape == (len(rotations), 3):
        if (scales_of(shape or {}) != 1).any():
            raise ValueError("a body all of whose bones are turned cannot be stretched")
        return _chained(rest, bone_rotations(rest, rotations), translation).astype(np.float32)
    if rotations.ndim != 3 or rotations.shape[1:] != (len(JOINT_NAMES), 3) or translation.shape != (len(rotations), 3):
        raise ValueError(
            f"rotations {rotations.shape} and translation {translation.shape} must be (T, 19, 3) and (T, 3)"
        )
    rig, change = rig_of(rest), rest_change(rest, scales_of(shape or {}))
    motion = _joint_motion(rotations, translation, change.joint_heads)[:, rig.carrier]
    for twist in TWIST_SHARES:
        if twist.bone not in rest.bone_names:
            continue  # a rig without bones for it, such as SMPL-X's, lets a limb's one bone take the whole twist
        bone, joint = rest.bone(twist.bone), JOINT_NAMES.index(twist.joint)
        start, end = (rest.bone_heads[rest.bone(name)].astype(float) for name in twist.axis)
        axis = (end - start) / np.linalg.norm(end - start)
        angle = twist.share * twist_angle(rotations[:, joint], axis)
        motion[:, bone] = motion[:, bone] @ _turn_about(axis, change.joint_heads[joint], angle)
    return (motion @ change.bones).astype(np.float32)


def bone_rotations(rest: RestBody, rotations: np.ndarray) -> np.ndarray:
    """(T, B, 3, 3) float64: each bone's rotation against its parent, in rest axes.

    ``rotations`` (T, J, 3) of the joints, or (T, B, 3) of the joints and the bones that no joint turns; where these are
    not given they are curled as at rest.
    """
    matrices = rotation_matrices(rotations)
    local = np.tile(rest.bone_curl.astype(np.float64), (len(matrices), 1, 1, 1))
    local[:, rest.joint_bones] = matrices[:, : len(rest.joint_bones)]
    if matrices.shape[1] > len(rest.joint_bones):
        local[:, rest.free_bones] = matrices[:, len(rest.joint_bones) :]
    return local


def joint_rotations(rest: RestBody, params: BodyParams) -> np.ndarray:
    """(T, J, 3): rotation vectors of ``JOINT_NAMES`` alone, with which what hangs on the joints points where it does.

    Where a body turns a bone between a joint and those that hang on it (``spine3`` of the SMPL family), the joint takes
    over its turn.
    """
    if len(params.joint_names) == len(JOINT_NAMES):
        return params.rotations
    local = bone_rotations(rest, params.rotations)
    rows = {int(bone): row for row, bone in enumerate(rest.joint_bones)}
    turns = local[:, rest.joint_bones]
    carrying = _with_joints_below(rest)
    for bone in rest.free_bones.tolist():
        if bone in carrying:
            rows[bone] = rows[int(rest.bone_parents[bone])]
            turns[:, rows[bone]] = turns[:, rows[bone]] @ local[:, bone]
    return np.stack([Rotation.from_matrix(turn).as_rotvec() for turn in turns])


def _with_joints_below(rest: RestBody) -> set[int]:
    """The bones that a joint hangs on, near or far."""
    found: set[int] = set()
    for bone in rest.joint_bones.tolist():
        parent = int(rest.bone_parents[bone])
        while parent >= 0:
            found.add(parent)
            parent = int(rest.bone_parents[parent])
    return found


def _chained(rest: RestBody, local: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(T, B, 4, 4): rest coordinates -> camera for rotations (T, B, 3, 3) of all bones against their parents."""
    heads = rest.bone_heads.astype(np.float64)
    result = np.tile(np.eye(4), (*local.shape[:2], 1, 1))
    for bone, parent in enumerate(rest.bone_parents):
        above = result[:, parent]
        turn = local[:, bone] if parent < 0 else above[:, :3, :3] @ local[:, bone]
        place = translation if parent < 0 else above[:, :3, :3] @ heads[bone] + above[:, :3, 3]
        result[:, bone, :3, :3] = turn
        result[:, bone, :3, 3] = place - turn @ heads[bone]
    return result


def params_transforms(rest: RestBody, params: BodyParams) -> np.ndarray:
    """(T, B, 4, 4) float32: the bone transforms of a fitted body, its scale included."""
    transforms = bone_transforms(rest, params.rotations, params.translation, params.shape)
    if params.scale != 1.0:
        root = params.translation[:, None]
        transforms[..., :3, :3] *= params.scale
        transforms[..., :3, 3] = params.scale * (transforms[..., :3, 3] - root) + root
    return transforms


def landmark_positions(rest: RestBody, transforms: np.ndarray) -> np.ndarray:
    """(T, 33, 3) float32, metres, camera axes: the body's counterparts of the 33 landmarks under bone transforms."""
    return np.einsum("tbij,kbj->tki", transforms[..., :3, :], rest.landmarks, optimize=True).astype(np.float32)


class Skin:
    """Linear blend skinning of one mesh, prepared for many frames.

    Parameters
    ----------
    vertices:
        (V, 3) rest positions.
    indices, weights:
        (V, K) bones of each vertex and their weights.
    bone_count:
        Number of bones of the body.
    """

    def __init__(self, vertices: np.ndarray, indices: np.ndarray, weights: np.ndarray, bone_count: int) -> None:
        rows = np.repeat(np.arange(len(vertices)), indices.shape[1])
        shape = (len(vertices), bone_count)
        table = sparse.csr_matrix((weights.ravel().astype(np.float32), (rows, indices.ravel())), shape=shape)
        table.eliminate_zeros()
        self._weights = table
        self._vertices = vertices.astype(np.float32)

    def __call__(self, transforms: np.ndarray) -> np.ndarray:
        """(V, 3) float32: the mesh under the bone transforms (B, 4, 4) of one frame."""
        blended = (self._weights @ transforms[:, :3].reshape(len(transforms), 12)).reshape(-1, 3, 4)
        return np.einsum("vij,vj->vi", blended[:, :, :3], self._vertices) + blended[:, :, 3]


def skin(vertices: np.ndarray, weights: np.ndarray, indices: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Pose any mesh that is skinned to a body's bones, once; use :class:`Skin` for many frames.

    ``vertices`` (V, 3), ``weights`` and ``indices`` (V, K), ``transforms`` (B, 4, 4); returns (V, 3) float32.
    """
    return Skin(vertices, indices, weights, len(transforms))(transforms)
