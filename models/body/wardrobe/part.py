"""One piece of a figure in the making: skin, an eye, a garment, a shoe, hair."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.body.character import Surface
from models.body.wardrobe.mesh import Matrix, selection, take_faces


@dataclass
class Part:
    """A mesh with everything that a :class:`~models.body.character.Character` needs of it."""

    points: np.ndarray
    """(V, 3) metres, rest pose."""
    faces: np.ndarray
    """(F, 3)."""
    weights: Matrix
    """(V, B) sparse skinning weights."""
    albedo: np.ndarray
    """(V, 3) linear RGB."""
    surfaces: tuple[Surface, ...]
    """Surfaces that the part is made of."""
    surface: np.ndarray
    """(V,) index into ``surfaces``."""
    strand: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    """(V, 3), or empty where there are no strands."""
    fold: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(V,), or empty where nothing folds."""
    softness: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(V,), or empty where every edge is sharp."""
    source: Matrix | None = None
    """(V, N) each vertex as a combination of body vertices, for parts that outer garments may hide."""

    def __post_init__(self) -> None:
        count = len(self.points)
        self.strand = self.strand if len(self.strand) else np.zeros((count, 3))
        self.fold = self.fold if len(self.fold) else np.zeros(count)
        self.softness = self.softness if len(self.softness) else np.zeros(count)

    def of(self, values: np.ndarray) -> np.ndarray:
        """A field over the body ((N,) or (N, C)), on a part that is cut out of the body."""
        if self.source is None:
            raise ValueError("this part is not made of body vertices")
        return self.source @ values

    def taking(self, faces: np.ndarray, matrix: Matrix) -> Part:
        """This part on other vertices: ``matrix`` @ attributes, nearest old vertex for the surface."""
        nearest = np.asarray(matrix.argmax(axis=1)).ravel()
        return Part(
            matrix @ self.points, faces, (matrix @ self.weights).tocsr(), matrix @ self.albedo, self.surfaces,
            self.surface[nearest], matrix @ self.strand, matrix @ self.fold, matrix @ self.softness,
            None if self.source is None else (matrix @ self.source).tocsr(),
        )  # fmt: skip

    def keeping(self, faces: np.ndarray) -> Part:
        """This part with only the faces where ``faces`` (F,) bool is true."""
        kept, matrix = take_faces(self.faces, faces, len(self.points))
        return self.taking(kept, matrix)


def separate(faces: np.ndarray, label: np.ndarray, count: int) -> tuple[np.ndarray, Matrix, np.ndarray]:
    """Give each group of faces (``label`` (F,) int) vertices of its own.

    Returns the faces, the attribute matrix and the label (V,) of each new vertex.
    """
    keys = faces + label[:, None].astype(np.int64) * count
    unique, inverse = np.unique(keys, return_inverse=True)
    return inverse.reshape(faces.shape), selection(unique % count, count), unique // count
