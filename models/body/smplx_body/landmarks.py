"""Where the 33 landmarks lie on a body of the SMPL family, as a table over bone transforms."""

from __future__ import annotations

import numpy as np

from core.types import LANDMARK_NAMES
from models.body.joint_tables import LANDMARKS
from models.body.landmark_regression import EAR_RAISE

#: Our names of the vertices that the library ``smplx`` names.
_VERTEX_NAMES = {"nose": "nose"} | {
    f"{side}_{part}": name.format(mark=side[0], MARK=side[0].upper())
    for side in ("left", "right")
    for part, name in {
        "eye": "{mark}eye", "ear": "{mark}ear", "big_toe": "{MARK}BigToe", "small_toe": "{MARK}SmallToe",
        "heel": "{MARK}Heel", "thumb_tip": "{mark}thumb", "index_tip": "{mark}index", "pinky_tip": "{mark}pinky",
    }.items()
}  # fmt: skip

#: Places of SMPL-X's landmarks on the face: the usual 68 begin at the chin's right, SMPL-X's 51 after the jaw line.
_FACE_LANDMARKS = {
    "right_eye_outer": 19, "right_eye_inner": 22, "left_eye_inner": 25, "left_eye_outer": 28,
    "mouth_right": 31, "mouth_left": 37,
}  # fmt: skip

#: Vertices within this height of the hip joint, and this far from the outermost of them, make up the side of the hip, metres.
_HIP_BAND, _HIP_DEPTH = 0.02, 0.008


def point_weights(
    family: str,
    vertices: np.ndarray,
    faces: np.ndarray,
    bone_names: tuple[str, ...],
    bone_heads: np.ndarray,
    weights: np.ndarray,
    face_landmarks: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """Named points on the skin as (V,) weights on its vertices.

    ``vertices`` (V, 3) at rest in model axes, ``faces`` (F, 3), ``bone_heads`` (B, 3), ``weights`` (V, B) of the skinning,
    ``face_landmarks`` faces and barycentric weights of SMPL-X's landmarks on the face.
    """
    from smplx.vertex_ids import vertex_ids

    known = vertex_ids["smplx" if family == "smplx" else "smplh"]
    points = {name: _at(len(vertices), np.array([known[theirs]])) for name, theirs in _VERTEX_NAMES.items()}
    arms = np.array([any(p in name for p in ("collar", "shoulder", "elbow", "wrist", "hand")) for name in bone_names])
    trunk = weights[:, arms].sum(1) < 0.01
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hip = bone_heads[bone_names.index(f"{side}_hip")]
        near = np.flatnonzero(trunk & (np.abs(vertices[:, 2] - hip[2]) < _HIP_BAND))
        if not len(near):
            raise ValueError(f"no skin lies beside the {side} hip")
        out = sign * vertices[near, 0]
        points[f"{side}_hip_side"] = _at(len(vertices), near[out > out.max() - _HIP_DEPTH])
    if face_landmarks is not None:
        for name, place in _FACE_LANDMARKS.items():
            points[name] = np.zeros(len(vertices))
            np.add.at(points[name], faces[face_landmarks[0][place]], face_landmarks[1][place])
    return points


def _at(count: int, vertices: np.ndarray) -> np.ndarray:
    weights = np.zeros(count)
    weights[vertices] = 1.0 / len(vertices)
    return weights


def landmark_table(
    family: str,
    vertices: np.ndarray,
    weights: np.ndarray,
    bone_names: tuple[str, ...],
    bone_heads: np.ndarray,
    points: dict[str, np.ndarray],
) -> np.ndarray:
    """(33, B, 4) float32: the landmarks as ``RestBody.landmarks`` has them.

    ``vertices`` (V, 3), ``weights`` (V, B), ``bone_heads`` (B, 3), ``points`` as :func:`point_weights` gives them.
    """
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    table = np.zeros((len(LANDMARK_NAMES), len(bone_names), 4))
    reach = np.linalg.norm((points["nose"] - points["left_ear"]) @ vertices)
    for row, (name, source) in zip(table, LANDMARKS[family].items(), strict=True):
        for bone, share in source.bones.items():
            at = bone_names.index(bone)
            row[at] += share * np.array([*bone_heads[at], 1.0])
        for point, share in source.points.items():
            used = np.flatnonzero(points[point])
            placed = homogeneous[used]
            if name.endswith("ear"):
                placed = placed + np.array([0.0, 0.0, EAR_RAISE * reach, 0.0])
            row += share * (weights[used] * points[point][used, None]).T @ placed
    return table.astype(np.float32)
