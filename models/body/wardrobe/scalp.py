"""The part of the head that grows hair: its hairline, its flow, and a cap of combed clumps over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import Matrix, edges_of, neighbours, smooth, unit
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.shell import cut

#: Metres of skin between an ear and the hair.
EAR_MARGIN = 0.004


@dataclass(frozen=True)
class Scalp:
    """The skin under the hair, finely divided."""

    points: np.ndarray
    """(V, 3)."""
    faces: np.ndarray
    source: Matrix
    """(V, N) combinations of body vertices."""
    normals: np.ndarray
    """(V, 3) unit, smoothed over the skull."""
    inside: np.ndarray
    """(V,) metres inside the hairline."""
    top: np.ndarray
    """(V,) 0 at the sides and the back, 1 on top."""
    front: np.ndarray
    """(V,) 0 behind, 1 at the forehead."""


def hairline(body: Anatomy, recede: float, seed: int) -> np.ndarray:
    """(N,) metres above the hairline: forehead, temples, sideburns, over the ears, nape; irregular by a few mm."""
    face, u = body.face_frame, body.face_frame.unit
    x, y, z = body.points.T
    eye, ear = face.eyes[:, 2].mean(), face.ears.mean(axis=0)
    turn = np.arctan2(np.abs(x), -(y - face.skull[1]))
    at_ear = float(np.arctan2(np.abs(face.ears[:, 0]).mean(), -(ear[1] - face.skull[1])))
    table = np.array([
        (0.0, 1.05 + 0.22 * recede), (0.22, 1.09 + 0.3 * recede), (0.48, 1.05 + 0.75 * recede), (0.75, 0.80 + 0.5 * recede),
        (0.95, 0.45), (at_ear - 0.46, 0.02), (at_ear - 0.34, -0.36), (at_ear - 0.22, -0.42), (at_ear + 0.28, -0.45),
        (at_ear + 0.50, -0.88), (np.pi, -1.06),
    ])  # fmt: skip
    order = np.argsort(table[:, 0])
    line = eye + u * np.interp(turn, table[order, 0], table[order, 1])
    ragged = 0.0035 * noise(body.points, 0.011, seed) + 0.0025 * noise(body.points, 0.005, seed + 1)
    # Hair grows round the ears, as far from their rims everywhere.
    ears = body.painted("ears") > 0.08
    off_ear = cKDTree(body.points[ears]).query(body.points)[0] - EAR_MARGIN
    field = np.where(ears, -EAR_MARGIN, np.minimum(z - line + ragged, off_ear))
    head = body.bone_weight("head", "neck") > 0.3
    return np.where(head, field, -0.05)


def find_scalp(body: Anatomy, field: np.ndarray, longest: float) -> Scalp:
    """Cut the scalp out of the head along the zero line of ``field`` (N,), no edge longer than ``longest`` metres."""
    shell = cut(body, body.parts["head"], [field], longest=longest)
    faces, source = shell.faces, shell.source
    mean = neighbours(faces, source.shape[0])
    points = smooth(source @ body.points, mean, 1, 0.3)
    face = body.face_frame
    radial = unit(points - face.skull)
    normals = unit(0.6 * unit(smooth(source @ body.normals, mean, 8)) + 0.4 * radial)
    top = smoothstep(radial[:, 2], 0.25, 0.8)
    front = smoothstep(-radial[:, 1], -0.1, 0.7)
    return Scalp(points, faces, source, normals, np.maximum(source @ field, 0), top, front)


def tangent(direction: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Directions laid onto the surface."""
    return unit(direction - (direction * normals).sum(axis=1, keepdims=True) * normals)


def combed(points: np.ndarray, faces: np.ndarray, flow: np.ndarray, clump: int, length: int, seed: int) -> np.ndarray:
    """(V,) noise combed along ``flow`` (V, 3): nearly constant along a strand, changing across (unit variance).

    White noise is first widened to ``clump`` rounds, then diffused ``length`` rounds along those edges that follow the
    flow: line integral convolution on a mesh.
    """
    count = len(points)
    edges, _ = edges_of(faces)
    along = unit(points[edges[:, 1]] - points[edges[:, 0]])
    both = unit(flow[edges[:, 0]] + flow[edges[:, 1]])
    weight = np.abs((along * both).sum(axis=1)) ** 10 + 0.003
    rows, columns = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]]
    matrix = sparse.csr_matrix((np.r_[weight, weight], (rows, columns)), shape=(count, count))
    matrix = sparse.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix
    values = np.random.default_rng(seed).standard_normal(count)
    values = smooth(values, neighbours(faces, count), clump)
    values = smooth(values, matrix, length, 0.7)
    values = values - smooth(values, neighbours(faces, count), 12 + 4 * clump)
    spread = 1.4826 * float(np.median(np.abs(values)))
    return np.clip(values / max(spread, 1e-9), -2.2, 2.2)
