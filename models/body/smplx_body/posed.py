"""A rest body of the SMPL family: a :class:`RestBody` that also knows how its skin bulges when it is posed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.body.articulation import bone_rotations, skin
from models.body.base import RestBody
from models.body.joint_tables import COUNTERPARTS

#: Axes of the SMPL family's files (y up, the face looks along +z) to model axes (z up, the face looks along -y).
R_model_file = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True, eq=False)
class SmplxRestBody(RestBody):
    """A body of SMPL-X, SMPL-H or SMPL in its T-pose.

    What Anny has and these have not: the base mesh is the skin itself, without helper geometry. Bones bear SMPL-X's names;
    :meth:`bone` also answers to the names of Anny's rig that have a counterpart.
    """

    pose_directions: np.ndarray
    """(9 (B - 1), V * 3) float32, metres in the file's axes: the pose blend shapes."""

    def bone(self, name: str) -> int:
        """Index of a bone by its own name, or by that of its counterpart in Anny's rig; ``KeyError`` for others."""
        counterpart = COUNTERPARTS.get(name)
        return super().bone(counterpart if counterpart in self.bone_names else name)

    def pose_offsets(self, rotations: np.ndarray) -> np.ndarray:
        """(V, 3) float32, metres, model axes: what the pose blend shapes add to the skin at rest in one frame.

        ``rotations`` (J, 3) or (B, 3): the rotation vectors of one frame, as in ``BodyParams``. The root's has no effect.
        """
        local = bone_rotations(self, rotations[None])[0]
        in_file = R_model_file.T @ local[1:] @ R_model_file
        features = (in_file - np.eye(3)).reshape(-1).astype(np.float32)
        return (features @ self.pose_directions).reshape(-1, 3) @ R_model_file.T.astype(np.float32)


def final_vertices(rest: RestBody, transforms: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(V, 3) float32, metres, camera axes: the skin of one frame as it is rendered and exported.

    ``transforms`` (B, 4, 4) of the frame, ``rotations`` of the same as in ``BodyParams``. Pose blend shapes are added where
    the body has them; any other body is skinned as it is.
    """
    vertices = rest.vertices
    if isinstance(rest, SmplxRestBody):
        vertices = vertices + rest.pose_offsets(rotations)
    return skin(vertices, rest.bone_weights, rest.bone_indices, transforms)


def file_pose(rest: RestBody, rotations: np.ndarray) -> np.ndarray:
    """(T, B, 3) float64: the pose in the form in which the SMPL family's tools take it, hands included.

    Rotation vectors in the file's axes; the first is the root's, which takes the file's axes to camera axes. The relaxed
    hands' rotations are contained, so tools must not add the mean hand pose again (``flat_hand_mean=True`` in ``smplx``).

    Parameters
    ----------
    rest:
        The body of the SMPL family.
    rotations:
        (T, J, 3) or (T, B, 3) as in ``BodyParams``.
    """
    from scipy.spatial.transform import Rotation

    curl = Rotation.from_matrix(rest.bone_curl.astype(np.float64)).as_rotvec()
    pose = np.tile(curl, (len(rotations), 1, 1))
    joints = len(rest.joint_bones)
    pose[:, rest.joint_bones] = rotations[:, :joints]
    if rotations.shape[1] > joints:
        pose[:, rest.free_bones] = rotations[:, joints:]
    root = Rotation.from_rotvec(pose[:, rest.joint_bones[0]]) * Rotation.from_matrix(R_model_file)
    pose = pose @ R_model_file
    pose[:, rest.joint_bones[0]] = root.as_rotvec()
    return pose


def file_translation(rest: RestBody, translation: np.ndarray) -> np.ndarray:
    """(T, 3) float64, metres: ``transl`` of the SMPL family's tools for the root's places (T, 3) of ``BodyParams``.

    Those tools move a body whose root joint lies where the file puts it; ``BodyParams`` says where the joint comes to lie.
    """
    return np.asarray(translation, np.float64) - rest.bone_heads[rest.joint_bones[0]].astype(np.float64) @ R_model_file
