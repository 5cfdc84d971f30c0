"""Axes of the exported files.

Files that other programs read have y up, as glTF has: x right, y up, z towards the viewer, the camera at the origin.
Bodies come in camera axes (y down, z forward) and rest in model axes (z up, the face along -y).
"""

from __future__ import annotations

import numpy as np

#: Camera axes -> axes of the files.
R_FILE_CAMERA = np.diag([1.0, -1.0, -1.0])

#: Model axes -> the same body upright in the axes of the files: the face along +z, the subject's left along +x.
R_UPRIGHT_MODEL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])

#: Camera axes -> a world with z up and y away from the camera, as motion libraries have it.
R_ZUP_CAMERA = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def affine(rotation: np.ndarray) -> np.ndarray:
    """(4, 4) of a rotation (3, 3)."""
    result = np.eye(4)
    result[:3, :3] = rotation
    return result
