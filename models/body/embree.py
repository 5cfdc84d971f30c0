"""Ray casting against a triangle mesh on the CPU, by Embree.

Fragments follow PyTorch3D's convention (``pix_to_face``, ``bary_coords``, ``zbuf``), so that shading does not care which of
the two made them. Pixels are named by their centres: pixel (x, y) is the ray through image point (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

#: Value of ``pix_to_face``, ``zbuf`` and ``bary_coords`` where nothing was hit.
EMPTY = -1


@dataclass(frozen=True)
class Fragments:
    """What each of a set of rays meets first. ``...`` is ``(M,)`` for loose rays, ``(H, W)`` for pictures."""

    pix_to_face: np.ndarray
    """(...) int32, index of the face, -1 for none."""
    zbuf: np.ndarray
    """(...) float32, camera-space depth in metres, -1 for none."""
    bary_coords: np.ndarray
    """(..., 3) float32, perspective-correct weights of the face's three corners, -1 for none."""

    @property
    def hit(self) -> np.ndarray:
        """(...) bool, whether the ray meets the mesh."""
        return self.pix_to_face >= 0


@cache
def _device() -> Any:
    """Embree's device, one for the process: making it starts a task scheduler."""
    from embreex.rtcore import EmbreeDevice

    return EmbreeDevice()


class RayScene:
    """A triangle mesh that rays can be shot at. It is a snapshot: make a new one for every pose.

    Parameters
    ----------
    vertices:
        (V, 3) float32, metres, any axes.
    faces:
        (F, 3) int32.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        if len(faces) == 0:
            raise ValueError("a scene needs at least one face")
        self._scene = EmbreeScene(_device())
        self._mesh = TriangleMesh(
            self._scene, np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
        )

    def intersect(self, origins: np.ndarray, directions: np.ndarray) -> Fragments:
        """The first face on each ray.

        Parameters
        ----------
        origins, directions:
            (M, 3) float32. ``zbuf`` is the distance in units of the direction's length, which is camera depth for rays
            from :func:`camera_rays`.
        """
        found = self._scene.run(_rays(origins), _rays(directions), output=True)
        face = found["primID"].astype(np.int32, copy=False)
        miss = face < 0
        u, v = found["u"], found["v"]
        bary = np.stack([1.0 - u - v, u, v], axis=-1)
        bary[miss] = EMPTY
        return Fragments(face, np.where(miss, np.float32(EMPTY), found["tfar"]), bary)

    def occluded(self, origins: np.ndarray, directions: np.ndarray, reach: float = 1e4) -> np.ndarray:
        """Whether anything stands on each ray within ``reach`` lengths of its direction.

        Start rays a little off the surface: nothing keeps a ray from meeting the face that it starts on.

        Returns
        -------
        (M,) bool.
        """
        distances = np.full(len(origins), reach, np.float32)
        return self._scene.run(_rays(origins), _rays(directions), distances, query="OCCLUDED") >= 0


def _rays(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def camera_rays(intrinsics: np.ndarray, H_crop_source: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Directions, in camera axes and with z = 1, of the rays through points of a crop.

    Parameters
    ----------
    intrinsics:
        (3, 3), K of the source camera in pixels.
    H_crop_source:
        (3, 3), source pixels -> crop pixels.
    pixels:
        (M, 2) float, x and y in the crop, fractions allowed.

    Returns
    -------
    (M, 3) float32. The camera stands at the origin.
    """
    matrix = np.linalg.inv(_crop_from_ray(intrinsics, H_crop_source))
    x, y = pixels[:, 0], pixels[:, 1]
    rays = np.empty((len(pixels), 3), np.float32)
    scale = x * matrix[2, 0] + y * matrix[2, 1] + matrix[2, 2]
    for row in range(2):
        rays[:, row] = (x * matrix[row, 0] + y * matrix[row, 1] + matrix[row, 2]) / scale
    rays[:, 2] = 1.0
    return rays


def _crop_from_ray(intrinsics: np.ndarray, H_crop_source: np.ndarray) -> np.ndarray:
    """(3, 3) float64: camera coordinates -> homogeneous crop pixels."""
    return np.asarray(H_crop_source, np.float64) @ np.asarray(intrinsics, np.float64)


def project(intrinsics: np.ndarray, H_crop_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where points in camera axes lie in a crop: the inverse of :func:`camera_rays`.

    Parameters
    ----------
    points:
        (M, 3), metres, z > 0.

    Returns
    -------
    (M, 2) float32, crop pixels.
    """
    matrix = _crop_from_ray(intrinsics, H_crop_source).astype(np.float32)
    x, y, z = points.astype(np.float32, copy=False).T
    u, v, w = (x * row[0] + y * row[1] + z * row[2] for row in matrix)
    return np.stack([u / w, v / w], axis=1)


def rasterize(
    scene: RayScene,
    intrinsics: np.ndarray,
    H_crop_source: np.ndarray,
    size: tuple[int, int],
    window: tuple[int, int, int, int] | None = None,
) -> Fragments:
    """One ray through the centre of every pixel of a crop.

    Parameters
    ----------
    size:
        (width, height) of the crop in pixels.
    window:
        xyxy box in crop pixels outside which nothing is to be seen; ``None`` looks everywhere.

    Returns
    -------
    Fragments as (H, W) pictures of the whole crop.
    """
    width, height = size
    x0, y0, x1, y1 = window if window is not None else (0, 0, width, height)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    face = np.full((height, width), EMPTY, np.int32)
    zbuf = np.full((height, width), EMPTY, np.float32)
    bary = np.full((height, width, 3), EMPTY, np.float32)
    if x1 > x0 and y1 > y0:
        grid = np.mgrid[y0:y1, x0:x1][::-1].reshape(2, -1).T
        directions = camera_rays(intrinsics, H_crop_source, grid)
        seen = scene.intersect(np.zeros_like(directions), directions)
        shape = (y1 - y0, x1 - x0)
        face[y0:y1, x0:x1] = seen.pix_to_face.reshape(shape)
        zbuf[y0:y1, x0:x1] = seen.zbuf.reshape(shape)
        bary[y0:y1, x0:x1] = seen.bary_coords.reshape(*shape, 3)
    return Fragments(face, zbuf, bary)


def window_of(points: np.ndarray, size: tuple[int, int], margin: int = 2) -> tuple[int, int, int, int]:
    """The xyxy box of whole pixels around projected points, cut to the crop; empty boxes have x1 <= x0 or y1 <= y0.

    Parameters
    ----------
    points:
        (M, 2), crop pixels.
    size:
        (width, height) of the crop.
    """
    low = np.floor(points.min(axis=0)).astype(int) - margin
    high = np.ceil(points.max(axis=0)).astype(int) + margin + 1
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), size[0]), min(int(high[1]), size[1])
