"""``.obj``: the mesh of a garment, with texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.body.wardrobe.makehuman.reading import bad, integer, lines_of, number, read_text

#: Statements that say nothing about the shape, or only about pieces of it that are drawn like the rest.
_IGNORED = {"vn", "vp", "g", "o", "s", "usemtl", "mtllib", "l", "p", "usemap", "maplib"}


@dataclass(frozen=True)
class ObjMesh:
    """A triangulated mesh. Positions are the file's own and serve only where nothing binds it."""

    points: np.ndarray
    """(V, 3) float64."""
    faces: np.ndarray
    """(F, 3) int32."""
    uv: np.ndarray
    """(F, 3, 2) float32, texture coordinates of each face's corners, v upwards; empty (0, 3, 2) where it has none."""


def read_obj(path: Path) -> ObjMesh:
    """Read a mesh; polygons are cut into triangles.

    Raises
    ------
    core.errors.InputError
        The file cannot be read or is not right; the message names the line.
    """
    points: list[list[float]] = []
    uv: list[list[float]] = []
    polygons: list[tuple[int, list[tuple[int, int]]]] = []
    for line, words in lines_of(read_text(path)):
        key = words[0]
        if key == "v":
            points.append(_numbers(path, line, words, 3))
        elif key == "vt":
            uv.append(_numbers(path, line, words, 2))
        elif key == "f":
            polygons.append((line, [_corner(path, line, word, len(points), len(uv)) for word in words[1:]]))
        elif key not in _IGNORED:
            raise bad(path, line, f"{key!r} is no statement of a polygon mesh")
    if not polygons:
        raise bad(path, None, "it has no faces")
    place = np.array(points, float)
    triangles, flat = [], True
    for line, corners in polygons:
        if len(corners) < 3:
            raise bad(path, line, f"a face has three corners or more, not {len(corners)}")
        for vertex, texture in corners:
            if vertex >= len(points) or texture >= len(uv):
                kind, index = ("vertex", vertex) if vertex >= len(points) else ("texture coordinate", texture)
                raise bad(path, line, f"the face names {kind} {index + 1}, which is not in the file")
            flat &= texture < 0
        triangles += _triangles(corners, place)
    table = np.array(triangles, np.int32)
    if flat:
        return ObjMesh(place, table[..., 0], np.zeros((0, 3, 2), np.float32))
    if (table[..., 1] < 0).any():
        raise bad(path, None, "some faces have texture coordinates and some have none")
    return ObjMesh(place, np.ascontiguousarray(table[..., 0]), np.array(uv, np.float32)[table[..., 1]])


def _numbers(path: Path, line: int, words: list[str], count: int) -> list[float]:
    if len(words) <= count:
        raise bad(path, line, f"{words[0]!r} needs {count} numbers, not {len(words) - 1}")
    return [number(path, line, word, "coordinate") for word in words[1 : count + 1]]


def _corner(path: Path, line: int, word: str, vertices: int, textures: int) -> tuple[int, int]:
    """Indices from 0 of a corner's vertex and texture coordinate (-1: none). Negative ones count from the end so far."""
    parts = word.split("/")
    vertex = integer(path, line, parts[0], "index of a vertex")
    texture = integer(path, line, parts[1], "index of a texture coordinate") if len(parts) > 1 and parts[1] else None
    if vertex == 0 or texture == 0 or vertex < -vertices or (texture or 0) < -textures:
        raise bad(path, line, f"the corner {word!r} names nothing: indices count from 1")
    return (
        vertex - 1 if vertex > 0 else vertices + vertex,
        -1 if texture is None else texture - 1 if texture > 0 else textures + texture,
    )


def _triangles(corners: list[tuple[int, int]], points: np.ndarray) -> list[list[tuple[int, int]]]:
    """A fan; a quadrangle is cut along its shorter diagonal, which keeps folded cloth smooth."""
    if len(corners) == 4:
        a, b, c, d = (points[vertex] for vertex, _ in corners)
        if ((b - d) ** 2).sum() < ((a - c) ** 2).sum():
            corners = corners[1:] + corners[:1]
    return [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
