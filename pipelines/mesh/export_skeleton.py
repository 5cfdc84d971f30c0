"""A body and its motion as a glTF skeleton and as a BVH skeleton."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from core.types import BodyParams
from models.body.articulation import (
    bone_transforms,
    joint_rotations,
    params_transforms,
    rest_change,
    rig_of,
    rotation_matrices,
    scales_of,
)
from models.body.base import JOINT_NAMES, JOINT_PARENTS, RestBody
from models.body.figure import vertex_normals
from pipelines.mesh.export_axes import R_FILE_CAMERA, R_UPRIGHT_MODEL, affine
from utils.mesh_files.bvh import BvhSkeleton
from utils.mesh_files.glb import Skeleton, SkinnedMesh

#: Frames that are posed at a time.
CHUNK = 128

#: What counts as movement of a bone against its parent, metres and radians: more than float32 noise, and unseen.
_STILL = 1e-4

#: Colour of the body's surface, linear RGB.
_COLOR = (0.62, 0.54, 0.48)


def chunks_of(params: BodyParams) -> Iterator[BodyParams]:
    """The clip in pieces that fit into memory."""
    for start in range(0, len(params), CHUNK):
        yield params.window(start, min(start + CHUNK, len(params)))


class BoneSpace:
    """The bones of one body as rigid frames, for formats that know only rotations and translations.

    Stretched limbs are no rigid motion. They are kept exactly, in the constant part: each bone's transform is
    ``M = N @ inverse_bind`` with a rigid N and an ``inverse_bind`` that holds the stretch.
    """

    def __init__(self, rest: RestBody, params: BodyParams) -> None:
        self._rest = rest
        self._shape = {name: value for name, value in params.shape.items() if name.startswith("scale_")}
        self._scale = params.scale
        self._joints = len(params.joint_names)
        self._parents = rest.bone_parents
        change = rest_change(rest, scales_of(self._shape)).bones
        bind = np.tile(np.eye(4), (len(change), 1, 1))
        bind[:, :3, :3] = _nearest_rotations(change[:, :3, :3])
        heads = rest.bone_heads.astype(np.float64)
        bind[:, :3, 3] = np.einsum("bij,bj->bi", change[:, :3, :3], heads) + change[:, :3, 3]
        up = affine(R_UPRIGHT_MODEL)
        self._bind = up @ bind @ up.T
        self.inverse_bind = up @ np.linalg.inv(bind) @ change @ up.T
        self._rigid_from_transform = np.linalg.inv(change) @ bind @ up.T
        self.turning, self.moving = self._animated()

    def skeleton(self) -> Skeleton:
        """The bones at rest."""
        turns, places = self._local(self._bind[None])
        return Skeleton(
            self._rest.bone_names, self._parents.tolist(), places[0], turns[0].as_quat(), self.inverse_bind, self._scale
        )

    def keyframes(self, params: BodyParams) -> tuple[np.ndarray, np.ndarray]:
        """Quaternions (T, R, 4) of the turning bones and translations (T, M, 3) of the moving ones."""
        turns, places = self._local(self._frames(params_transforms(self._rest, params)))
        quaternions = np.stack([turn.as_quat() for turn in turns])
        return quaternions[:, self.turning], places[:, self.moving]

    def _frames(self, transforms: np.ndarray) -> np.ndarray:
        """(T, B, 4, 4): bone transforms to rigid frames (times the body's scale) in the axes of the file."""
        return affine(R_FILE_CAMERA) @ transforms.astype(np.float64) @ self._rigid_from_transform

    def _local(self, frames: np.ndarray) -> tuple[list[Rotation], np.ndarray]:
        """Frames (T, B, 4, 4) against their parents' frames: a rotation of B for each T, and (T, B, 3) metres."""
        local = frames.copy()
        children = np.flatnonzero(self._parents >= 0)
        local[:, children] = np.linalg.inv(frames[:, self._parents[children]]) @ frames[:, children]
        return [Rotation.from_matrix(_nearest_rotations(frame[:, :3, :3])) for frame in local], local[:, :, :3, 3]

    def _animated(self) -> tuple[list[int], list[int]]:
        """Bones that some pose turns and bones that some pose moves against their parents, found by trying poses."""
        poses = np.random.default_rng(0).normal(0, 0.5, (4, self._joints, 3))
        transforms = bone_transforms(self._rest, poses, np.zeros((4, 3)), self._shape)
        turns, places = self._local(self._frames(transforms))
        turned = np.max([(turn * turns[0].inv()).magnitude() for turn in turns[1:]], axis=0)
        moved = np.ptp(places, axis=0).max(-1)
        roots = self._parents < 0
        return np.flatnonzero((turned > _STILL) | roots).tolist(), np.flatnonzero((moved > _STILL) | roots).tolist()


def _nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3): the rotation part of the polar decomposition."""
    left, _, right = np.linalg.svd(matrices)
    return left @ right


def skinned_mesh(rest: RestBody) -> SkinnedMesh:
    """The body's surface at rest, upright, with the weights of its bones."""
    vertices = rest.vertices @ R_UPRIGHT_MODEL.T
    return SkinnedMesh(
        vertices, vertex_normals(vertices, rest.faces), rest.faces, rest.bone_indices, rest.bone_weights, _COLOR
    )


@dataclass(frozen=True)
class JointSpace:
    """The joints that a fit turns, as a BVH skeleton."""

    skeleton: BvhSkeleton

    @classmethod
    def of(cls, rest: RestBody, params: BodyParams) -> JointSpace:
        """The joints of a body with the clip's proportions."""
        change = rest_change(rest, scales_of(params.shape))
        heads = change.joint_heads @ R_UPRIGHT_MODEL.T * params.scale
        parents = np.array(JOINT_PARENTS)
        offsets = np.where(parents[:, None] < 0, 0.0, heads - heads[parents])
        leaves = sorted(set(range(len(JOINT_NAMES))) - set(JOINT_PARENTS))
        return cls(BvhSkeleton(JOINT_NAMES, JOINT_PARENTS, offsets, _tips(rest, params, heads, leaves)))

    @staticmethod
    def motion(rest: RestBody, params: BodyParams) -> tuple[np.ndarray, np.ndarray]:
        """The root's place (T, 3) and the joints' rotations (T, J, 3, 3) against their parents, axes of the file."""
        local = rotation_matrices(joint_rotations(rest, params))
        up = R_UPRIGHT_MODEL.T
        turned = np.concatenate([R_FILE_CAMERA @ local[:, :1] @ up, R_UPRIGHT_MODEL @ local[:, 1:] @ up], 1)
        return params.translation @ R_FILE_CAMERA.T, turned


def _tips(rest: RestBody, params: BodyParams, heads: np.ndarray, leaves: list[int]) -> dict[int, np.ndarray]:
    """The point of the skin farthest from each end joint among those it carries: crown, finger tips, toes."""
    transforms = rest_change(rest, scales_of(params.shape)).bones
    heaviest = np.take_along_axis(rest.bone_indices, rest.bone_weights.argmax(1)[:, None], 1)[:, 0]
    carrier = rig_of(rest).carrier[heaviest]
    tips = {}
    for joint in leaves:
        mine = carrier == joint
        own = transforms[heaviest[mine]]
        points = np.einsum("vij,vj->vi", own[:, :3, :3], rest.vertices[mine]) + own[:, :3, 3]
        away = points @ R_UPRIGHT_MODEL.T * params.scale - heads[joint]
        tips[joint] = away[np.linalg.norm(away, axis=1).argmax()]
    return tips
