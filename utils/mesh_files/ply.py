"""PLY: a triangle mesh in binary, little-endian."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_FACE = np.dtype([("count", "u1"), ("corners", "<i4", (3,))])


class PlyWriter:
    """Writes one surface in many poses.

    Parameters
    ----------
    faces:
        (F, 3) int, corners counted from 0, counter-clockwise seen from outside.
    """

    def __init__(self, faces: np.ndarray) -> None:
        records = np.empty(len(faces), _FACE)
        records["count"] = 3
        records["corners"] = faces
        self._faces = records.tobytes()
        self._count = len(faces)

    def write(self, path: Path, vertices: np.ndarray) -> None:
        """Write one pose: ``vertices`` (V, 3), metres, stored as float32."""
        head = (
            "ply\nformat binary_little_endian 1.0\n"
            f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
            f"element face {self._count}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        with path.open("wb") as file:
            file.write(head.encode("ascii"))
            file.write(np.ascontiguousarray(vertices, "<f4").tobytes())
            file.write(self._faces)
