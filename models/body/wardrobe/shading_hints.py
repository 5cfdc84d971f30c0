"""Fine occlusion: which corners of a figure see little of the sky because another part of it is close by."""

from __future__ import annotations

import numpy as np

from models.body.embree import RayScene
from models.body.wardrobe.mesh import neighbours, smooth, unit, vertex_normals

#: Rays per vertex and how far they look, metres.
_RAYS, _REACH = 24, 0.05


def fine_occlusion(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) float32 0..1: share of a cosine-weighted hemisphere that is free within 5 cm, 1 = open.

    Rays by Embree; directions are the same for every vertex (a Fibonacci spiral in its tangent frame).
    """
    # Not embreex's own scene: its device has a worker thread that never sleeps again once there is a second device.
    scene = RayScene(points.astype(np.float32), faces)
    normals = vertex_normals(points.astype(float), faces)
    helper = np.where(np.abs(normals[:, :1]) > 0.8, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    tangent = unit(np.cross(normals, helper))
    bitangent = np.cross(normals, tangent)
    index = np.arange(_RAYS)
    radius, angle = np.sqrt((index + 0.5) / _RAYS), index * np.pi * (3 - np.sqrt(5))
    u, v, w = radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)
    origins = (points + 0.0012 * normals).astype(np.float32)
    open_rays = np.zeros(len(points))
    for a, b, c in zip(u, v, w, strict=True):
        directions = (a * tangent + b * bitangent + c * normals).astype(np.float32)
        seen = scene.intersect(origins, directions)
        distance = np.where(seen.hit, seen.zbuf, np.inf)
        open_rays += np.clip(distance / _REACH, 0, 1) ** 0.7
    share = smooth(open_rays / _RAYS, neighbours(faces, len(points)), 1)
    return np.clip(share, 0, 1).astype(np.float32)
