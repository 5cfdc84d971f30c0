"""Triangle-mesh operations that carry every attribute along.

Each operation that changes the vertices returns a sparse matrix ``M`` (new vertices x old vertices, rows sum to 1):
``M @ values`` takes any per-vertex attribute to the new mesh. A garment thus stays a convex combination of body
vertices however often it is clipped and refined, and its skinning weights come from the body's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import sparse

#: Sparse matrix of attribute weights.
Matrix: TypeAlias = sparse.csr_matrix


def selection(rows: np.ndarray, count: int) -> Matrix:
    """(len(rows), count) matrix that picks ``rows``."""
    size = len(rows)
    return sparse.csr_matrix((np.ones(size), (np.arange(size), rows)), shape=(size, count))


def take_faces(faces: np.ndarray, keep: np.ndarray, count: int) -> tuple[np.ndarray, Matrix]:
    """Keep the faces ``keep`` (F,) bool and drop the vertices that no face uses any more."""
    kept = faces[keep]
    used = np.unique(kept)
    renumber = np.full(count, -1)
    renumber[used] = np.arange(len(used))
    return renumber[kept], selection(used, count)


def edges_of(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undirected edges (E, 2) and, for each face, the indices (F, 3) of its edges 01, 12, 20."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    count = int(faces.max(initial=0)) + 1
    keys, inverse = np.unique(half.min(axis=1) * count + half.max(axis=1), return_inverse=True)
    return np.stack([keys // count, keys % count], axis=1), inverse.reshape(3, -1).T


def split_edges(
    faces: np.ndarray, count: int, cut: np.ndarray, t: np.ndarray, edges: np.ndarray, face_edges: np.ndarray
) -> tuple[np.ndarray, Matrix, np.ndarray]:
    """Put a vertex on each edge where ``cut`` (E,) is true, at the share ``t`` (E,) from its first to its second end.

    Returns the faces, the attribute matrix, and for each new face the index of the old one.
    """
    new_index = np.full(len(edges), -1)
    new_index[cut] = count + np.arange(cut.sum())
    a, b = edges[cut].T
    rows = np.arange(cut.sum())
    added = sparse.csr_matrix((np.r_[1 - t[cut], t[cut]], (np.r_[rows, rows], np.r_[a, b])), shape=(len(rows), count))
    matrix = sparse.vstack([sparse.identity(count, format="csr"), added], format="csr")
    out, parents = [], []
    marks = new_index[face_edges]
    number = (marks >= 0).sum(axis=1)
    ids = np.arange(len(faces))
    out.append(faces[number == 0])
    parents.append(ids[number == 0])
    for wanted, turn in ((1, _one_cut), (2, _two_cuts), (3, _three_cuts)):
        pick = number == wanted
        triangles, repeats = turn(faces[pick], marks[pick])
        out.append(triangles)
        parents.append(np.tile(ids[pick], repeats))
    return np.concatenate(out), matrix, np.concatenate(parents)


def _roll(faces: np.ndarray, marks: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = (np.arange(3)[None] + shift[:, None]) % 3
    return np.take_along_axis(faces, order, 1), np.take_along_axis(marks, order, 1)


def _one_cut(faces: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, int]:
    faces, marks = _roll(faces, marks, np.argmax(marks >= 0, axis=1))
    (a, b, c), m = faces.T, marks[:, 0]
    return np.concatenate([np.stack([a, m, c], 1), np.stack([m, b, c], 1)]), 2


def _two_cuts(faces: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, int]:
    faces, marks = _roll(faces, marks, (np.argmin(marks, axis=1) + 1) % 3)
    (a, b, c), (m, n) = faces.T, marks[:, :2].T
    return np.concatenate([np.stack([m, b, n], 1), np.stack([a, m, n], 1), np.stack([a, n, c], 1)]), 3


def _three_cuts(faces: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, int]:
    (a, b, c), (m, n, o) = faces.T, marks.T
    parts = ((a, m, o), (m, b, n), (o, n, c), (m, n, o))
    return np.concatenate([np.stack(part, 1) for part in parts]), 4


def cut_along(faces: np.ndarray, values: np.ndarray, snap: float = 0.12) -> tuple[np.ndarray, Matrix, np.ndarray]:
    """Insert the zero line of ``values`` (V,) into the mesh: no face crosses it afterwards.

    A vertex that lies within ``snap`` of an edge length from the line is moved onto it, which keeps slivers out and the
    line exact. Returns faces, attribute matrix, and a (F,) bool that says which faces lie on the positive side.
    """
    count = len(values)
    edges, face_edges = edges_of(faces)
    va, vb = values[edges].T
    crossing = (va > 0) != (vb > 0)
    t = np.divide(va, va - vb, out=np.full(len(edges), 0.5), where=crossing)
    move = sparse.identity(count, format="lil")
    level = values.astype(float).copy()
    for end, share in ((0, t), (1, 1 - t)):
        for edge in np.flatnonzero(crossing & (share < snap)):
            mine, other = edges[edge, end], edges[edge, 1 - end]
            if level[mine] != 0 and level[other] != 0:
                move[mine, mine], move[mine, other] = 1 - share[edge], share[edge]
                level[mine] = 0.0
    va, vb = level[edges].T
    crossing = va * vb < 0
    t = np.divide(va, va - vb, out=np.full(len(edges), 0.5), where=crossing)
    faces, matrix, _ = split_edges(faces, count, crossing, t, edges, face_edges)
    level = np.r_[level, np.zeros(crossing.sum())]
    return faces, (matrix @ move.tocsr()).tocsr(), level[faces].sum(axis=1) > 0


def halve(
    faces: np.ndarray, points: np.ndarray, where: np.ndarray, longest: float
) -> tuple[np.ndarray, Matrix, np.ndarray]:
    """Halve once the edges of the faces ``where`` (F,) bool that are longer than ``longest`` metres.

    Neighbours are split to fit, so no cracks open. Returns faces, attribute matrix and for each face its old index.
    """
    edges, face_edges = edges_of(faces)
    cut = np.zeros(len(edges), bool)
    cut[face_edges[where].ravel()] = True
    cut &= np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) > longest
    return split_edges(faces, len(points), cut, np.full(len(edges), 0.5), edges, face_edges)


def refine(faces: np.ndarray, points: np.ndarray, longest: float) -> tuple[np.ndarray, Matrix]:
    """Halve the edges that are longer than ``longest`` until there are none."""
    total: Matrix = sparse.identity(len(points), format="csr")
    while True:
        edges, face_edges = edges_of(faces)
        cut = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) > longest
        if not cut.any():
            return faces, total
        faces, matrix, _ = split_edges(faces, len(points), cut, np.full(len(edges), 0.5), edges, face_edges)
        points, total = matrix @ points, (matrix @ total).tocsr()


def neighbours(faces: np.ndarray, count: int) -> Matrix:
    """(V, V) row-normalised adjacency: ``neighbours(...) @ x`` is the mean over each vertex's neighbours."""
    edges, _ = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    matrix = sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count))
    degree = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    return (sparse.diags(1 / degree) @ matrix).tocsr()


def smooth(values: np.ndarray, mean: Matrix, rounds: int, step: float = 0.5) -> np.ndarray:
    """Diffuse per-vertex ``values`` ((V,) or (V, C)) over the mesh."""
    for _ in range(rounds):
        values = values + step * (mean @ values - values)
    return values


def vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, the faces weighted by area."""
    a, b, c = points[faces].transpose(1, 0, 2)
    face_normals = np.cross(b - a, c - a)
    gather = sparse.csr_matrix(
        (np.ones(faces.size), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), shape=(len(points), len(faces))
    )
    return unit(gather @ face_normals)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length 1 along the last axis (zero stays zero)."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def boundary_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) directed edges that only one face uses, in that face's direction, and (E,) that face."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ordered = half.min(axis=1).astype(np.int64) * (int(faces.max(initial=0)) + 1) + half.max(axis=1)
    _, inverse, counts = np.unique(ordered, return_inverse=True, return_counts=True)
    open_edges = np.flatnonzero(counts[inverse.ravel()] == 1)
    return half[open_edges], open_edges % len(faces)


def grid_faces(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles of a ``rows`` x ``columns`` vertex grid (row major); ``closed`` joins the last column to the first.

    Counter-clockwise from the side from which rows run down and columns to the right.
    """
    last = columns if closed else columns - 1
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(last), indexing="ij")
    right = (c + 1) % columns
    a, b, d, e = r * columns + c, r * columns + right, (r + 1) * columns + c, (r + 1) * columns + right
    return np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, e], -1).reshape(-1, 3)])


def join(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Put meshes (points, faces) side by side into one."""
    starts = np.cumsum([0, *(len(points) for points, _ in parts)])
    faces = [faces + start for (_, faces), start in zip(parts, starts, strict=False)]
    return np.concatenate([points for points, _ in parts]), np.concatenate(faces)
