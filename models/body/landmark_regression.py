"""Where the 33 landmarks lie on a body: weights on vertices and bones, folded into one table over bone transforms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.types import LANDMARK_NAMES

#: Landmarks that are blends of the named COCO and foot points of Anny's regressor. MediaPipe's foot index lies between
#: the toes, nearer to the big one.
FROM_POINTS: dict[str, dict[str, float]] = {
    name: {name: 1.0}
    for name in LANDMARK_NAMES
    if name.split("_", 1)[-1] in ("nose", "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "heel")
} | {f"{side}_foot_index": {f"{side}_big_toe": 0.6, f"{side}_small_toe": 0.4} for side in ("left", "right")}

#: Landmarks that lie where a bone turns.
FROM_BONES = {
    "left_thumb": "finger1-2.L", "right_thumb": "finger1-2.R",
    "left_index": "finger2-1.L", "right_index": "finger2-1.R",
    "left_pinky": "finger5-1.L", "right_pinky": "finger5-1.R",
}  # fmt: skip

#: Landmarks on the face that the regressor lacks: position as (outwards, up) from the point between the eyes, in parts of
#: the distance between the eyes, measured on the model's neutral face.
FROM_FACE = {"eye_inner": (0.27, -0.02), "eye_outer": (0.73, -0.02), "mouth": (0.40, -1.06)}

#: How much higher MediaPipe puts an ear than the model's ear is, in parts of the distance between nose and ears. Measured on
#: renders of the model walking with a level head, where MediaPipe's ear-to-nose and ear-to-eye directions both
#: point 13 degrees lower than the model's own; without it every fitted head looks at the ground.
EAR_RAISE = 0.21


def _face_point(
    vertices: np.ndarray, skin: np.ndarray, eyes: tuple[np.ndarray, np.ndarray], landmark: str
) -> np.ndarray:
    """(V,) weights: the frontmost skin vertices near a place on the face."""
    side = 1.0 if "left" in landmark else -1.0
    outwards, up = FROM_FACE[
        landmark.replace("left_", "").replace("right_", "").replace("_left", "").replace("_right", "")
    ]
    middle, distance = (eyes[0] + eyes[1]) / 2, float(np.linalg.norm(eyes[0] - eyes[1]))
    x, z = middle[0] + side * outwards * distance, middle[2] + up * distance
    near = skin[np.hypot(vertices[skin, 0] - x, vertices[skin, 2] - z) < 0.1 * distance]
    front = near[vertices[near, 1] < vertices[near, 1].min() + 0.15 * distance]
    weights = np.zeros(len(vertices))
    weights[front] = 1.0 / len(front)
    return weights


def landmark_table(
    vertices: np.ndarray,
    bone_indices: np.ndarray,
    bone_weights: np.ndarray,
    bone_names: tuple[str, ...],
    bone_heads: np.ndarray,
    skin: np.ndarray,
    points: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Fold landmark weights on vertices into weights on bone transforms.

    A skinned vertex is linear in the bone transforms, and a landmark is a fixed blend of vertices, so that landmark k
    under transforms M is ``sum_b M[b, :3] @ A[k, b]`` with ``A[k, b] = sum_v K[k, v] W[v, b] [v; 1]``.

    Parameters
    ----------
    vertices, bone_indices, bone_weights:
        (V, 3), (V, K), (V, K): the mesh at rest and its skinning.
    bone_names, bone_heads:
        (B) names and (B, 3) positions.
    skin:
        Indices of the vertices of the visible skin, for points on the face.
    points:
        (V,) weights by name: COCO's 17 points, toes and heels.

    Returns
    -------
    np.ndarray
        (33, B, 4) float32.
    """
    count = len(bone_names)
    dense = np.zeros((len(vertices), count))
    np.put_along_axis(dense, bone_indices, 0.0, 1)
    np.add.at(dense, (np.arange(len(vertices))[:, None], bone_indices), bone_weights)
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], 1)
    eyes = points["left_eye"] @ vertices, points["right_eye"] @ vertices
    table = np.zeros((len(LANDMARK_NAMES), count, 4))
    for k, name in enumerate(LANDMARK_NAMES):
        if name in FROM_BONES:
            bone = bone_names.index(FROM_BONES[name])
            table[k, bone] = [*bone_heads[bone], 1.0]
            continue
        if name in FROM_POINTS:
            weights = sum(share * points[point] for point, share in FROM_POINTS[name].items())
        else:
            weights = _face_point(vertices, skin, eyes, name)
        used = np.flatnonzero(weights)
        placed = homogeneous[used]
        if name.endswith("ear"):
            reach = np.linalg.norm(points["nose"] @ vertices - points["left_ear"] @ vertices)
            placed = placed + np.array([0.0, 0.0, EAR_RAISE * reach, 0.0])
        table[k] = (dense[used] * np.asarray(weights)[used, None]).T @ placed
    return table.astype(np.float32)
