"""What a garment covers: which skin lies under it and how deep inside its edges; and keeping things below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from models.body.embree import RayScene
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import HIDDEN_DEPTH
from models.body.wardrobe.mesh import Matrix, edges_of, neighbours, vertex_normals

#: Cloth is looked for from this far inside the skin to this far outside, metres.
INSIDE, OUTSIDE = 0.03, 0.05
#: What lies under a garment stays this far below it, metres.
GAP = 0.003
#: Most that anything is moved inwards, metres: beyond that skin would come out at the other side of a finger.
DEEPEST = 0.025
#: Skin that the garment's file hides is left out only this far inside the edges, metres: nearer, one may look in.
MARGIN = 0.012
#: Least cosine between the skin and cloth that covers it: the far side of a sleeve does not.
SAME_WAY = 0.2


class Cloth:
    """The surface of a garment at rest.

    Parameters
    ----------
    points, faces:
        (V, 3) metres and (F, 3), counter-clockwise seen from outside.
    """

    def __init__(self, points: np.ndarray, faces: np.ndarray) -> None:
        self._scene = RayScene(points.astype(np.float32), faces)
        a, b, c = points[faces].transpose(1, 0, 2)
        outward = np.cross(b - a, c - a)
        self._outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)

    def height_over(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(M,) metres from each point along its normal to the cloth over it, negative where the cloth lies inside; infinite
        where no cloth is near. Points and unit normals (M, 3)."""
        rays = normals.astype(np.float32)
        start = np.full(len(points), -INSIDE)
        height = np.full(len(points), np.inf)
        looking = np.arange(len(points))
        for _ in range(4):
            origins = points[looking] + start[looking, None] * normals[looking]
            found = self._scene.intersect(origins.astype(np.float32), rays[looking])
            reached = start[looking] + found.zbuf
            near = found.hit & (reached < OUTSIDE)
            cosine = np.einsum("ij,ij->i", self._outward[found.pix_to_face], normals[looking])
            good = near & (cosine > SAME_WAY)
            height[looking[good]] = reached[good]
            on = near & ~good
            start[looking[on]] = reached[on] + 2e-4
            looking = looking[on]
            if len(looking) == 0:
                break
        return height


@dataclass(frozen=True)
class Cover:
    """What a garment does to what lies under it."""

    depth: np.ndarray
    """(N,) how many metres inside its edges, over the skin, each body vertex lies; negative outside."""
    cloth: Cloth | None
    """Its surface, which keeps what lies under it below; ``None`` for garments that were made over what they cover."""


def depth_under(body: Anatomy, height: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(N,) metres inside the edges of cloth.

    Parameters
    ----------
    height:
        (N,) metres of the cloth over each body vertex, infinite where there is none.
    hidden:
        (N,) bool: skin that the garment's file says it hides.
    """
    depth = _depth(body, np.isfinite(height) | hidden)
    deep = hidden & (depth > MARGIN)
    return np.where(deep, np.maximum(depth, 1.1 * HIDDEN_DEPTH), depth)


def _depth(body: Anatomy, covered: np.ndarray) -> np.ndarray:
    """(N,) metres over the skin to where the cover ends; negative outside of it."""
    edges, _ = edges_of(body.faces)
    length = np.linalg.norm(body.points[edges[:, 0]] - body.points[edges[:, 1]], axis=1)
    graph = sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=(len(body), len(body)))
    depth = np.zeros(len(body))
    for side, sign in ((~covered, 1.0), (covered, -1.0)):
        sources = np.flatnonzero(side)
        if len(sources) == 0:
            depth[:] = sign * 1.0
            continue
        # Nothing is told apart beyond this.
        away = dijkstra(graph, directed=False, indices=sources, min_only=True, limit=0.5)
        depth[~side] = sign * np.minimum(away[~side], 0.5)
    return depth


def nearest_skin(points: np.ndarray, body: Anatomy, near: int = 3) -> Matrix:
    """(V, N) each point as a mean of the body vertices nearest to it."""
    distance, index = cKDTree(body.points).query(points, k=near)
    share = 1 / (distance + 0.002) ** 2
    share /= share.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), near)
    return sparse.csr_matrix((share.ravel(), (rows, index.ravel())), shape=(len(points), len(body)))


def pressed(points: np.ndarray, normals: np.ndarray, cloths: list[Cloth]) -> np.ndarray:
    """(V, 3) points that are worn under ``cloths``, moved inwards along the normals (V, 3) of the skin under them until they
    lie below all of them."""
    length = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    inwards = -normals / length
    drop = np.zeros(len(points))
    for cloth in cloths:
        height = cloth.height_over(points, -inwards)
        drop = np.maximum(drop, np.where(np.isfinite(height), GAP - height, 0.0))
    return points + np.minimum(drop, DEEPEST)[:, None] * inwards


def pushed_over(
    points: np.ndarray, normals: np.ndarray, faces: np.ndarray, cloths: list[Cloth], gap: float
) -> np.ndarray:
    """(V, 3) points of a garment that is worn over ``cloths``, moved outwards along the normals (V, 3) of the skin under
    them until they lie ``gap`` metres outside of all of them; the push runs out softly around."""
    length = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    outward = normals / length
    push = np.zeros(len(points))
    for cloth in cloths:
        height = cloth.height_over(points, outward)
        push = np.maximum(push, np.where(np.isfinite(height), height + gap, 0.0))
    push = np.clip(push, 0.0, DEEPEST)
    mean = neighbours(faces, len(points))
    for _ in range(3):
        push = np.maximum(push, 0.7 * (mean @ push))
    return points + push[:, None] * outward


def outwards(points: np.ndarray, faces: np.ndarray, body: Anatomy) -> np.ndarray:
    """The faces (F, 3), turned round if most of them look at the skin."""
    _, nearest = cKDTree(body.points).query(points)
    facing = np.einsum("ij,ij->i", vertex_normals(points, faces), body.normals[nearest])
    return faces if facing.mean() >= 0 else faces[:, ::-1]
