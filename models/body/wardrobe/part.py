"""One piece of a figure in the making: skin, an eye, a garment, a shoe, hair."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.body.character import Surface, Texture
from models.body.wardrobe.mesh import Matrix, selection, take_faces


@dataclass(frozen=True)
class Drape:
    """Control points of hanging cloth and the balls that it is pushed out of; see :mod:`models.body.drape`."""

    points: np.ndarray
    """(C, 3) metres: the cloth's grids, row by row, then the balls' middles."""
    weights: Matrix
    """(C, B) sparse skinning weights."""
    radius: np.ndarray
    """(C,) metres, 0 for cloth."""


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
    textures: tuple[Texture, ...] = ()
    """Pictures that ``surfaces`` name."""
    uv: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 2), np.float32))
    """(F, 3, 2) texture coordinates of the faces' corners, or empty where there are no textures."""
    warnings: tuple[str, ...] = ()
    """What the user should know of it."""
    base: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    """(V, 3) vertices of MakeHuman's base mesh that each vertex hangs on, or empty where it does not."""

    drape: Drape | None = None
    """How the part hangs, where it hangs free."""
    control: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """(V,) the control point of ``drape`` that each vertex follows."""

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

    def keeping(self, faces: np.ndarray) -> Part:
        """This part with only the faces where ``faces`` (F,) bool is true."""
        kept, matrix = take_faces(self.faces, faces, len(self.points))
        nearest = np.asarray(matrix.argmax(axis=1)).ravel()
        return Part(
            matrix @ self.points, kept, (matrix @ self.weights).tocsr(), matrix @ self.albedo, self.surfaces,
            self.surface[nearest], matrix @ self.strand, matrix @ self.fold, matrix @ self.softness,
            None if self.source is None else (matrix @ self.source).tocsr(),
            self.textures, self.uv[faces] if len(self.uv) else self.uv, self.warnings,
            self.base[nearest] if len(self.base) else self.base,
            self.drape, self.control[nearest] if len(self.control) else self.control,
        )  # fmt: skip


def separate(faces: np.ndarray, label: np.ndarray, count: int) -> tuple[np.ndarray, Matrix, np.ndarray]:
    """Give each group of faces (``label`` (F,) int) vertices of its own.

    Returns the faces, the attribute matrix and the label (V,) of each new vertex.
    """
    keys = faces + label[:, None].astype(np.int64) * count
    unique, inverse = np.unique(keys, return_inverse=True)
    return inverse.reshape(faces.shape), selection(unique % count, count), unique // count
