"""Wavefront OBJ: a triangle mesh as text, with texture coordinates where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class ObjWriter:
    """Writes one surface in many poses; what does not change from file to file is put into words once.

    Parameters
    ----------
    faces:
        (F, 3) int, corners counted from 0, counter-clockwise seen from outside.
    uv, uv_faces:
        (U, 2) texture coordinates 0..1 with v upwards, and (F, 3) int, the corners of ``faces`` in ``uv``. Both or neither.
    name:
        Name of the object in the file.
    """

    def __init__(
        self,
        faces: np.ndarray,
        uv: np.ndarray | None = None,
        uv_faces: np.ndarray | None = None,
        name: str = "body",
    ) -> None:
        if (uv is None) != (uv_faces is None):
            raise ValueError("uv and uv_faces must be given together")
        self._head = f"o {name}\n"
        corners = np.asarray(faces) + 1
        if uv is None or uv_faces is None:
            self._tail = "f %d %d %d\n" * len(corners) % tuple(corners.ravel().tolist())
            return
        if uv_faces.shape != faces.shape:
            raise ValueError(f"uv_faces {uv_faces.shape} do not fit faces {faces.shape}")
        both = np.stack([corners, np.asarray(uv_faces) + 1], -1)
        self._tail = "vt %.6f %.6f\n" * len(uv) % tuple(uv.ravel().tolist())
        self._tail += "f %d/%d %d/%d %d/%d\n" * len(corners) % tuple(both.ravel().tolist())

    def write(self, path: Path, vertices: np.ndarray) -> None:
        """Write one pose: ``vertices`` (V, 3), metres, kept to a hundredth of a millimetre."""
        text = "v %.5f %.5f %.5f\n" * len(vertices) % tuple(np.asarray(vertices).ravel().tolist())
        with path.open("w", encoding="ascii", newline="\n") as file:
            file.writelines((self._head, text, self._tail))
