"""Eyes that look somewhere: the eyeballs turn with their bones."""

from __future__ import annotations

import numpy as np

from models.body.base import RestBody


def with_gaze(body: RestBody, transforms: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """(T, B, 4, 4) float32: bone transforms with the eyeballs turned in the head.

    Parameters
    ----------
    body:
        The body that ``transforms`` (T, B, 4, 4) move; one without eye bones is left as it is.
    gaze:
        (T, 2, 2) radians: left and right eye, to the subject's left and up.
    """
    from models.body.articulation import rotation_matrices

    if "eye.L" not in body.bone_names or not gaze.any():
        return transforms
    result = transforms.copy()
    for eye, side in enumerate("LR"):
        bone = body.bone(f"eye.{side}")
        head = body.bone_heads[bone].astype(np.float64)
        # In model axes (left, back, up) the eyes look along -y: to the left is about +z, up is about -x.
        sideways = rotation_matrices(gaze[:, eye, :1] * np.array([[0.0, 0.0, 1.0]]))
        upwards = rotation_matrices(gaze[:, eye, 1:] * np.array([[-1.0, 0.0, 0.0]]))
        turn = np.tile(np.eye(4), (len(result), 1, 1))
        turn[:, :3, :3] = sideways @ upwards
        turn[:, :3, 3] = head - turn[:, :3, :3] @ head
        result[:, bone] = result[:, bone] @ turn
    return result.astype(np.float32)
