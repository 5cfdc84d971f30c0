"""How much of the sky, of the ground and of the light each part of a figure sees.

Rays are shot from a few hundred probes that are fixed to the surface, always in the same directions relative to it, and
spread from there over the whole mesh: the result moves with the body and does not flicker.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
from scipy.spatial import cKDTree

from models.body.character import Character
from models.body.embree import RayScene
from models.body.figure import PosedFigure, vertex_normals

#: Distance between probes in the rest pose, metres.
PROBE_SPACING = 0.042
#: How far rays start off the surface, and how far they look, metres.
LIFT, REACH = 0.006, 0.9


def hemisphere(count: int) -> np.ndarray:
    """(count, 3) float32 directions around +z, density proportional to the cosine (Fibonacci spiral on the disc)."""
    number = np.arange(count) + 0.5
    radius = np.sqrt(number / count)
    angle = number * (np.pi * (3.0 - np.sqrt(5.0)))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1.0 - radius**2)], axis=1).astype(
        np.float32
    )


def frames_around(normals: np.ndarray, spin: np.ndarray) -> np.ndarray:
    """(M, 3, 3) float32 orthonormal frames whose columns are two tangents and the normal.

    Parameters
    ----------
    normals:
        (M, 3) unit vectors.
    spin:
        (M,) radians, turns the tangents.
    """
    x, y, z = normals.T
    # Branch-free basis of Duff et al., "Building an Orthonormal Basis, Revisited" (2017).
    sign = np.where(z >= 0, np.float32(1.0), np.float32(-1.0))
    a = -1.0 / (sign + z)
    b = x * y * a
    first = np.stack([1.0 + sign * x * x * a, sign * b, -sign * x], axis=1)
    second = np.stack([b, sign + y * y * a, -y], axis=1)
    cos, sin = np.cos(spin)[:, None], np.sin(spin)[:, None]
    return np.stack([cos * first + sin * second, cos * second - sin * first, normals], axis=2).astype(np.float32)


class OcclusionModel:
    """Openness of a character's surface.

    Parameters
    ----------
    character:
        The dressed figure.
    rays:
        Rays from each probe.
    """

    def __init__(self, character: Character, rays: int) -> None:
        normals = vertex_normals(character.vertices, character.faces)
        layer = np.zeros(len(normals), np.int64)
        layer[character.faces.ravel()] = np.repeat(character.layer, 3)
        self.probes = _choose_probes(character.vertices, normals, layer)
        self._spread = _spread_matrix(character.vertices, normals, layer, self.probes)
        self._directions = hemisphere(rays)
        self._spin = (np.arange(len(self.probes)) * 2.399963).astype(np.float32)
        self._fine = character.occlusion.astype(np.float32)

    def openness(self, scene: RayScene, figure: PosedFigure, light: np.ndarray, up: np.ndarray) -> np.ndarray:
        """How much each vertex sees.

        Parameters
        ----------
        scene:
            The posed figure as a scene.
        light, up:
            (3,) unit vectors in camera axes.

        Returns
        -------
        (V, 3) float32, 0..1: the light as a broad source, the sky, the ground. An unoccluded surface has sky + ground = 1.
        """
        normals = figure.normals[self.probes]
        frames = frames_around(normals, self._spin)
        directions = np.einsum("pij,rj->pri", frames, self._directions)
        origins = figure.vertices[self.probes] + LIFT * normals
        starts = np.broadcast_to(origins[:, None], directions.shape).reshape(-1, 3)
        blocked = scene.occluded(starts, directions.reshape(-1, 3), REACH)
        free = ~blocked.reshape(directions.shape[:2])
        above = np.clip(0.5 + 0.75 * np.einsum("prj,j->pr", directions, up), 0.0, 1.0)
        lobe = np.clip(np.einsum("prj,j->pr", directions, light), 0.0, None) ** 2
        count = directions.shape[1]
        key = (lobe * free).sum(axis=1) * (2.0 / count)
        sky = (above * free).sum(axis=1) / count
        ground = ((1.0 - above) * free).sum(axis=1) / count
        seen = np.stack([key, sky, ground], axis=1).astype(np.float32)
        return (self._spread @ seen) * self._fine[:, None]


def _choose_probes(vertices: np.ndarray, normals: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Indices of vertices that stand for their neighbourhood: one for each small cube, layer and side."""
    side = np.argmax(np.concatenate([normals, -normals], axis=1), axis=1)
    cells = np.concatenate([np.floor(vertices / PROBE_SPACING).astype(np.int64), layer[:, None], side[:, None]], axis=1)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.sort(first)


def _spread_matrix(
    vertices: np.ndarray, normals: np.ndarray, layer: np.ndarray, probes: np.ndarray, near: int = 8
) -> sparse.csr_matrix:
    """(V, P) weights: each vertex takes a smooth mean of the probes around it on the same layer that face its way."""
    separate = layer[:, None].astype(np.float64) * 10.0
    features = np.concatenate([vertices, normals * PROBE_SPACING, separate], axis=1)
    near = min(near, len(probes))
    distance, index = cKDTree(features[probes]).query(features, k=near)
    distance, index = distance.reshape(len(vertices), near), index.reshape(len(vertices), near)
    weight = np.exp(-((distance / (1.1 * PROBE_SPACING)) ** 2)) + 1e-6
    weight /= weight.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(vertices)), near)
    return sparse.csr_matrix(
        (weight.ravel().astype(np.float32), (rows, index.ravel())), shape=(len(vertices), len(probes))
    )
