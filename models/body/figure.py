"""A character that can be posed: skinning, normals, and how much the pose squeezes the surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

from models.body.articulation import Skin
from models.body.character import Character, Material
from models.body.drape import DrapeModel

#: Length along a hair strand over which its direction is taken, metres.
STRAND_STEP = 0.01


@dataclass(frozen=True)
class PosedFigure:
    """One pose of a character."""

    vertices: np.ndarray
    """(V, 3) float32, metres, camera axes."""
    normals: np.ndarray
    """(V, 3) float32, unit, outwards, camera axes."""
    face_normals: np.ndarray
    """(F, 3) float32, outwards, length twice the face's area in square metres."""
    compression: np.ndarray
    """(V,) float32, share of its rest area that the surface has lost around the vertex, 0..1."""
    strand: np.ndarray
    """(V, 3) float32, direction of the hair strands in camera axes; 0 where there is no hair."""


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) float32 normals of counter-clockwise faces; their length is twice the area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) vectors brought to length one; zero vectors stay zero."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return vectors / np.maximum(length, 1e-12)[..., None]


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, the faces around each vertex weighted by area."""
    normals = np.zeros_like(vertices)
    of_faces = face_normals(vertices, faces)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], of_faces)
    return unit(normals)


class Figure:
    """A character made ready for posing many times.

    Parameters
    ----------
    character:
        The dressed figure.
    bone_count:
        Number of bones of the rest body.
    """

    def __init__(self, character: Character, bone_count: int) -> None:
        self.character = character
        count = len(character.vertices)
        bones = character.bone_indices, character.bone_weights
        self._skin = Skin(character.vertices, *bones, bone_count)
        self._drape = DrapeModel(character, bone_count)
        self._hair = hair = np.flatnonzero(character.material == Material.HAIR)
        tips = character.vertices[hair] + STRAND_STEP * character.strand[hair]
        self._tips = Skin(tips, bones[0][hair], bones[1][hair], bone_count)
        faces = character.faces
        corner = np.ones(faces.size, np.float32)
        owner = np.repeat(np.arange(len(faces)), 3)
        self._faces_of_vertex = sparse.csr_matrix((corner, (faces.ravel(), owner)), shape=(count, len(faces)))
        self._rest_area = np.linalg.norm(face_normals(character.vertices, faces), axis=1) + 1e-12
        self._rest_area_of_vertex = self._faces_of_vertex @ self._rest_area

    def skin(self, bone_transforms: np.ndarray) -> np.ndarray:
        """(V, 3) float32: the vertices alone, for motion."""
        vertices = self._skin(bone_transforms)
        if self._drape.active:
            self._drape.move(vertices, bone_transforms)
        return vertices

    def pose(self, bone_transforms: np.ndarray) -> PosedFigure:
        """Skin the character (linear blend) and find its normals.

        Parameters
        ----------
        bone_transforms:
            (B, 4, 4), rest pose in model axes -> pose in camera axes, for each bone.
        """
        return self.posed(self.skin(bone_transforms), bone_transforms)

    def posed(self, vertices: np.ndarray, bone_transforms: np.ndarray) -> PosedFigure:
        """Like :meth:`pose`, with ``vertices`` from :meth:`skin`."""
        faces = self.character.faces
        normals_of_faces = face_normals(vertices, faces)
        area = np.sqrt(np.einsum("ij,ij->i", normals_of_faces, normals_of_faces))
        gathered = self._faces_of_vertex @ np.concatenate([normals_of_faces, area[:, None]], axis=1)
        compression = np.clip(1.0 - gathered[:, 3] / self._rest_area_of_vertex, 0.0, 1.0)
        strand = np.zeros_like(vertices)
        strand[self._hair] = (self._tips(bone_transforms) - vertices[self._hair]) / STRAND_STEP
        return PosedFigure(vertices, unit(gathered[:, :3]), normals_of_faces, compression, strand)
