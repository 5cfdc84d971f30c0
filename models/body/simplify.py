"""Coarser versions of a character, for figures so small in the picture that fine faces are less than a pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.body.character import Character
from models.body.figure import vertex_normals


def simplified(character: Character, cell: float) -> Character:
    """Merge vertices that lie in the same small cube, on the same layer, and face the same way.

    Parameters
    ----------
    character:
        The figure.
    cell:
        Edge of the cubes in metres; details finer than this are lost.

    Returns
    -------
    The figure with fewer vertices and faces; each kept vertex has all the attributes that it had.
    """
    vertices, faces = character.vertices, character.faces
    layer = np.zeros(len(vertices), np.int64)
    layer[faces.ravel()] = np.repeat(character.layer, 3)
    octant = (vertex_normals(vertices, faces) > 0) @ np.array([1, 2, 4])
    place = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    key = ((place[:, 0] * 4096 + place[:, 1]) * 4096 + place[:, 2]) * (1 << 16)
    key += layer * 2048 + character.surface.astype(np.int64) * 8 + octant
    _, kept, merged = np.unique(key, return_index=True, return_inverse=True)
    coarse = merged.ravel()[faces].astype(np.int32)
    solid = (coarse[:, 0] != coarse[:, 1]) & (coarse[:, 1] != coarse[:, 2]) & (coarse[:, 2] != coarse[:, 0])
    _, single = np.unique(np.sort(coarse[solid], axis=1), axis=0, return_index=True)
    chosen = np.flatnonzero(solid)[np.sort(single)]
    per_vertex = ("vertices", "bone_indices", "bone_weights", "albedo", "surface", "strand", "fold", "softness", "occlusion")
    picked = {name: getattr(character, name)[kept] for name in per_vertex}
    return replace(character, faces=coarse[chosen], layer=character.layer[chosen], **picked)
