"""``.mhclo``: how a garment hangs on MakeHuman's base mesh.

Each vertex of the garment is one vertex of the base mesh, or a weighted mean of three of them and an offset. The offset grows
with the body: along each axis it is scaled by the distance of two base vertices over the distance that they had when the
garment was made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.body.wardrobe.makehuman.reading import bad, integer, lines_of, number, read_text

#: Vertices of the base mesh hm08, helpers included; and how many of them are the body.
BASE_VERTICES, BODY_VERTICES = 19158, 13380
#: Header words whose value is the rest of the line.
_TEXTS = {"name", "obj_file", "material", "vertexboneweights_file", "basemesh", "uuid"}
#: Words that begin vertex weights in old files, which stand where later ones name a ``.mhw``.
_SECTIONS = {"verts", "delete_verts", "weights"}
_WORD = re.compile(r"[A-Za-z_][\w.:-]*$")
#: Base vertices of one ``delete_verts`` entry: ``7``, or ``7 - 12`` with or without spaces.
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")


@dataclass(frozen=True)
class Scale:
    """How an offset grows along one axis."""

    first: int
    second: int
    """Base vertices whose distance along the axis is measured."""
    distance: float
    """What it was when the garment was made, decimetres."""


@dataclass(frozen=True)
class Clothing:
    """The contents of a ``.mhclo``. Numbers are MakeHuman's own: decimetres; x left, y up, z forward."""

    path: Path
    name: str
    obj_file: str
    material: str
    """Name of its ``.mhmat``; empty where it has none."""
    weights_file: str
    """Name of its ``.mhw``; empty where it has none."""
    tags: tuple[str, ...]
    z_depth: float
    """Where it lies among other garments: the higher, the further out."""
    vertices: np.ndarray
    """(V, 3) int32, base vertices."""
    weights: np.ndarray
    """(V, 3) float64, their weights."""
    offsets: np.ndarray
    """(V, 3) float64, to be scaled by ``scales``."""
    scales: dict[int, Scale]
    """By axis: 0 x, 1 y, 2 z. Where one is missing, the offset is in decimetres."""
    hidden: np.ndarray
    """(19158,) bool: base vertices that the garment hides (``delete_verts``)."""
    warnings: tuple[str, ...] = ()


@dataclass
class _Reader:
    path: Path
    texts: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    z_depth: float = 50.0
    scales: dict[int, Scale] = field(default_factory=dict)
    rows: list[tuple[int, ...]] = field(default_factory=list)
    weights: list[tuple[float, ...]] = field(default_factory=list)
    offsets: list[tuple[float, ...]] = field(default_factory=list)
    hidden: np.ndarray = field(default_factory=lambda: np.zeros(BASE_VERTICES, bool))
    warnings: list[str] = field(default_factory=list)

    def base_vertex(self, line: int, word: str) -> int:
        index = integer(self.path, line, word, "index of a base vertex")
        if not 0 <= index < BASE_VERTICES:
            raise bad(self.path, line, f"base vertex {index} is outside 0..{BASE_VERTICES - 1}, the base mesh hm08")
        return index

    def vertex(self, line: int, words: list[str]) -> None:
        """One garment vertex: 1 index; or 3 indices, 3 weights and, in all but very old files, 3 offsets."""
        if len(words) == 1:
            index = self.base_vertex(line, words[0])
            self._add((index, index, index), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0))
            return
        if len(words) not in (6, 9):
            raise bad(self.path, line, f"a vertex has 1, 6 or 9 numbers, not {len(words)}")
        values = tuple(number(self.path, line, word, "weight or offset") for word in words[3:])
        self._add(tuple(self.base_vertex(line, word) for word in words[:3]), values[:3], values[3:] or (0.0, 0.0, 0.0))
        if abs(sum(values[:3]) - 1.0) > 0.02:
            raise bad(self.path, line, f"the three weights sum to {sum(values[:3]):.3f}, not to 1")

    def _add(self, row: tuple[int, ...], weights: tuple[float, ...], offset: tuple[float, ...]) -> None:
        self.rows.append(row)
        self.weights.append(weights)
        self.offsets.append(offset)

    def hide(self, line: int, words: list[str]) -> None:
        text = " ".join(words)
        if _RANGE.sub("", text).strip():
            raise bad(self.path, line, f"delete_verts holds numbers and ranges (12 - 15), not {text[:40]!r}")
        for found in _RANGE.finditer(text):
            first = self.base_vertex(line, found[1])
            last = self.base_vertex(line, found[2]) if found[2] else first
            if last < first:
                raise bad(self.path, line, f"the range {found[0]!r} runs backwards")
            self.hidden[first : last + 1] = True

    def header(self, line: int, key: str, words: list[str]) -> None:
        rest = " ".join(words)
        if key in _TEXTS:
            self.texts[key] = rest
        elif key == "tag":
            self.tags.append(rest)
        elif key == "z_depth" and words:
            self.z_depth = number(self.path, line, words[0], "z_depth")
        elif key in ("x_scale", "y_scale", "z_scale"):
            if len(words) < 3:
                raise bad(self.path, line, f"{key} needs two base vertices and a distance")
            distance = abs(number(self.path, line, words[2], "distance"))
            if distance == 0:
                raise bad(self.path, line, f"{key}: a distance of 0 scales nothing")
            first, second = (self.base_vertex(line, word) for word in words[:2])
            self.scales["xyz".index(key[0])] = Scale(first, second, distance)
        elif "shear" in key:
            self.warnings.append(f"{self.path.name} shears its offsets ({key}), which is not followed.")
        elif not _WORD.match(key):
            raise bad(self.path, line, f"{key!r} is no word of the format")


def read_mhclo(path: Path) -> Clothing:
    """Read a ``.mhclo``.

    Raises
    ------
    core.errors.InputError
        The file cannot be read or is not right; the message names the line.
    """
    reader = _Reader(path)
    section = ""
    for line, words in lines_of(read_text(path)):
        key = words[0]
        if key in _SECTIONS:
            section = key
            # Ranges may follow on the same line; the number behind ``verts`` means nothing.
            if key == "delete_verts" and len(words) > 1:
                reader.hide(line, words[1:])
            elif key == "weights" and not any("weights" in warning for warning in reader.warnings):
                reader.warnings.append(f"{path.name} lists bone weights itself, as old files do: they are not read.")
        elif key[0].isdigit() or key[0] in "-+.":
            if section == "delete_verts":
                reader.hide(line, words)
            elif section == "verts":
                reader.vertex(line, words)
            elif section != "weights":
                raise bad(path, line, "numbers stand before any of the words verts, delete_verts, weights")
        else:
            reader.header(line, key, words[1:])
    return _checked(reader)


def _checked(reader: _Reader) -> Clothing:
    path, texts = reader.path, reader.texts
    if not reader.rows:
        raise bad(path, None, "it binds no vertices (nothing follows the word verts)")
    if not texts.get("obj_file"):
        raise bad(path, None, "it names no mesh (obj_file)")
    base = texts.get("basemesh", "hm08")
    if base.lower() not in ("hm08", "alpha_7", "alpha7"):
        raise bad(
            path, None, f"it is bound to the base mesh {base!r}", "Only garments for the base mesh hm08 can be worn."
        )
    return Clothing(
        path=path,
        name=texts.get("name") or path.stem,
        obj_file=texts["obj_file"],
        material=texts.get("material", ""),
        weights_file=texts.get("vertexboneweights_file", ""),
        tags=tuple(reader.tags),
        z_depth=reader.z_depth,
        vertices=np.array(reader.rows, np.int32),
        weights=np.array(reader.weights, float),
        offsets=np.array(reader.offsets, float),
        scales=reader.scales,
        hidden=reader.hidden,
        warnings=tuple(reader.warnings),
    )
