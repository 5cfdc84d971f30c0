"""Colours spread along the surface to where the photo shows none.

Clothes end in edges, and a sleeve ends all round at one place along the arm. So what is spread first is which of the
person's colours a place has, and much further round a limb than along it; the shades within a colour follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from models.body.photo.surface import perceived
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import edges_of, neighbours, smooth
from models.body.wardrobe.noise import smoothstep

#: Trust from which a place keeps its own colour, and its pull while the others are filled in.
KNOWN, PULL = 0.25, 30.0
#: How well colours spread along a limb, against round it.
ALONG = 0.12
#: How well they spread between clothes and bare skin.
ACROSS = 1e-4
#: Mean distance within a colour of the person, in CIE Lab; the lightness counts less, for shadows are in it.
ALIKE, LIGHTNESS = 24.0, 0.45
#: Distance from the middle of a colour from which a place is a blend of two.
BLEND = 22.0
#: Least share of the known surface that is a colour of its own, and the most colours.
LEAST, MOST = 0.006, 12
#: Vertices whose colours are sorted into the person's colours.
SORTED = 2500
#: How far the places lie that vote on a colour, metres; share of the votes below which it is left out, and from which it
#: counts wholly.
NEIGHBOURHOOD, LONELY, AGREED = 0.07, 0.12, 0.3
#: Rounds by which the edges between colours are smoothed.
ROUNDS = 3
#: Sharpness of the edge between two colours.
SHARP = 14


@dataclass(frozen=True)
class Fields:
    """The person's colours over the surface."""

    belongs: np.ndarray
    """(V, K) float64, 0..1: how much a vertex belongs to each colour."""
    shades: np.ndarray
    """(K, V, 3) float32, linear: each colour as it would be at each vertex."""

    def mixed(self, at: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """(M, 3) colours at places; ``at`` interpolates values (V, C) of vertices there. Edges between colours are sharp."""
        share = np.maximum(at(self.belongs), 1e-9).astype(np.float64) ** SHARP
        share /= share.sum(axis=1, keepdims=True)
        result = share[:, :1] * at(self.shades[0])
        for k in range(1, len(self.shades)):
            result += share[:, k : k + 1] * at(self.shades[k])
        return np.asarray(result)

    def vertices(self) -> np.ndarray:
        """(V, 3) colours at the vertices."""
        return self.mixed(lambda values: values)


def spread(faces: np.ndarray, body: Anatomy, part: np.ndarray, color: np.ndarray, trust: np.ndarray) -> Fields:
    """Spread the colours of the vertices that are known to all others.

    Parameters
    ----------
    part:
        (V,) limb of each vertex, as ``surface.limbs`` numbers them.
    color:
        (V, 3) linear albedo.
    trust:
        (V,) 0..1, trust in it.
    """
    laplacian = _stiffness(faces, body, part, bool((trust[part == 6] > KNOWN).any()))
    weight = PULL * np.clip(trust / KNOWN, 0, 1) ** 2 * (trust > 0.02)
    seen = _scaled(color)
    middles = _middles(seen[trust > KNOWN]) if (trust > KNOWN).any() else np.median(seen, axis=0)[None]
    apart = np.linalg.norm(seen[:, None] - middles[None], axis=2)
    label = apart.argmin(axis=1)
    weight = weight * _agreed(body.points, part, label, weight)
    own = np.eye(len(middles))[label]
    usual = (own * weight[:, None]).sum(axis=0) / max(weight.sum(), 1e-9)
    belongs = smooth(_solved(laplacian, weight, own, usual), neighbours(faces, len(body)), ROUNDS)
    shades = []
    for k in range(len(middles)):
        pure = weight * (label == k) * (apart[:, k] < BLEND)
        pure = pure if pure.any() else weight * (label == k)
        mean = (color * pure[:, None]).sum(axis=0) / max(pure.sum(), 1e-9)
        shades.append(_solved(laplacian, pure, color, mean))
    return Fields(belongs.clip(0, 1), np.clip(np.stack(shades), 0.004, 0.95).astype(np.float32))


def _agreed(points: np.ndarray, part: np.ndarray, label: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(V,) 0..1: whether the known places around a place have its colour. Single pixels that strayed from a hand onto the
    shirt behind it must not make a belt."""
    known = np.flatnonzero(weight > 0)
    result = np.zeros(len(points))
    for number in np.unique(part[known]):
        here = known[part[known] == number]
        tree = cKDTree(points[here])
        near = sparse.csr_matrix(tree.sparse_distance_matrix(tree, NEIGHBOURHOOD, output_type="coo_matrix"))
        near.data[:] = 1.0
        near = near @ sparse.diags(weight[here])
        votes = np.asarray(near.sum(axis=1)).ravel()
        for k in np.unique(label[here]):
            mine = label[here] == k
            result[here[mine]] = (near @ mine.astype(float))[mine] / np.maximum(votes[mine], 1e-9)
    return smoothstep(result, LONELY, AGREED)


def _solved(laplacian: sparse.csc_matrix, weight: np.ndarray, target: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(V, C) the smoothest field that keeps to ``target`` (V, C) where it has weight, and to ``usual`` (C,) far from there."""
    little = 1e-7
    known = weight[:, None] * target + little * usual
    return np.asarray(splu((laplacian + sparse.diags(weight + little)).tocsc()).solve(known))


def _stiffness(faces: np.ndarray, body: Anatomy, part: np.ndarray, hair_known: bool) -> sparse.csc_matrix:
    """(V, V) Laplacian: colours spread round limbs, less along them, and hardly between clothes, skin and hair."""
    count = len(body)
    edges, _ = edges_of(faces)
    kind = np.where(part < 5, 0, part)
    crossing = kind[edges[:, 0]] != kind[edges[:, 1]]
    closed = crossing & (hair_known | (kind[edges] == 0).any(axis=1))
    along = body.points[edges[:, 1]] - body.points[edges[:, 0]]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    cosine = np.abs((along * _axes(body, part)[edges[:, 0]]).sum(axis=1))
    strength = np.where(closed, ACROSS, 1 - (1 - ALONG) * cosine**2)
    both = np.concatenate([edges, edges[:, ::-1]])
    matrix = sparse.csr_matrix((np.tile(strength, 2), (both[:, 0], both[:, 1])), shape=(count, count))
    return (sparse.diags(np.asarray(matrix.sum(axis=1)).ravel()) - matrix).tocsc()


def _axes(body: Anatomy, part: np.ndarray) -> np.ndarray:
    """(V, 3) unit direction of the limb that each vertex is on; 0 on the head, where nothing goes round."""
    axes = np.zeros((len(body), 3))
    axes[part == 0] = [0, 0, 1]
    for number, (start, end, side) in enumerate(
        (
            ("upperarm01", "wrist", "L"),
            ("upperarm01", "wrist", "R"),
            ("upperleg01", "foot", "L"),
            ("upperleg01", "foot", "R"),
        ),
        start=1,
    ):
        along = body.joints[f"{end}.{side}"] - body.joints[f"{start}.{side}"]
        axes[part == number] = along / np.linalg.norm(along)
    return axes


def _scaled(color: np.ndarray) -> np.ndarray:
    """(V, 3) colours as they look, the lightness lessened."""
    return perceived(color) * [LIGHTNESS, 1, 1]


def _middles(seen: np.ndarray) -> np.ndarray:
    """(K, 3) the middles of the colours that a person has, the most frequent first."""
    sample = seen[:: max(1, -(-len(seen) // SORTED))]
    if len(sample) < 2:
        return np.asarray(sample)
    label = fcluster(linkage(sample, "average"), ALIKE, "distance")
    sizes = np.bincount(label)
    order = [k for k in np.argsort(-sizes) if sizes[k] >= max(LEAST * len(sample), 1)][:MOST]
    return np.stack([np.median(sample[label == k], axis=0) for k in order])
