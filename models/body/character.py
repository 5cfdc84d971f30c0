"""A dressed figure in the rest pose: everything that is needed to pose it and to shade it.

The wardrobe makes characters (``models.body.wardrobe``), the avatar engine draws them. One mesh holds skin, eyes, hair,
clothes and shoes; every vertex carries its own colour and the index of its surface, so that what the wardrobe makes itself
needs no pictures and no UVs. Procedural detail (weave, knit, pores, strands) is a function of the vertex position in the
rest pose, which moves with the body and therefore never swims. Garments of other makers may bring pictures, which lie on
the mesh by texture coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

import numpy as np

#: Most bones that may move one vertex.
MAX_BONES_PER_VERTEX = 8


class Material(IntEnum):
    """What a surface is made of; decides how it answers to light."""

    SKIN = 0
    CLOTH = 1
    HAIR = 2
    EYE = 3
    LIP = 4
    SHOE = 5
    NAIL = 6
    METAL = 7
    PLASTIC = 8
    MANNEQUIN = 9


class Pattern(IntEnum):
    """Fine structure of a surface, made from rest positions and faded out where it is finer than a pixel."""

    NONE = 0
    WEAVE = 1
    KNIT = 2
    DENIM = 3
    PORES = 4
    STRANDS = 5
    LEATHER = 6
    RIBBED = 7


@dataclass(frozen=True)
class Texture:
    """A picture that lies on a surface. It is read when the figure is drawn."""

    path: Path
    kind: Literal["color", "tint", "normal"]
    """``color``: sRGB colours that multiply the albedo. ``tint``: only its light and dark, 1 on average, so that the albedo
    gives the colour. ``normal``: normals in tangent space (red along u, green along v, blue outwards)."""
    alpha: bool = False
    """Whether its transparency counts."""
    opacity: Path | None = None
    """A picture whose brightness is the opacity, instead of the alpha channel of ``path``."""


@dataclass(frozen=True)
class Surface:
    """How one kind of surface looks. Colours come from ``Character.albedo``; these are the rest."""

    material: Material
    roughness: float
    """GGX roughness, 0.05 (wet) to 1 (chalk)."""
    specular: float = 0.04
    """Reflectance at normal incidence, 0..1 (0.04 most things, 0.028 skin, 0.05 hair)."""
    sheen: float = 0.0
    """Strength of the fuzz that lights up grazing angles of cloth, 0..1."""
    subsurface: float = 0.0
    """How far light wraps round the terminator through the surface, 0..1 (skin about 0.6)."""
    pattern: Pattern = Pattern.NONE
    pattern_strength: float = 0.0
    """Relative contrast of the pattern in colour and relief, 0..1."""
    wrinkles: float = 0.0
    """How much the surface folds where the body bends, 0 (tight) to 1 (loose)."""
    texture: int = -1
    """Index of its colours in ``Character.textures``; -1 for none."""
    normal_map: int = -1
    """Index of its normals in ``Character.textures``; -1 for none."""
    relief: float = 1.0
    """Factor on the slopes of the normal map."""
    opacity: float = 1.0
    """0..1, factor on the opacity of the texture."""
    sheet: bool = False
    """Whether it is a single sheet that is lit from both sides, as hair on cards; the back of any other is an inside."""

    def __post_init__(self) -> None:
        if not 0.02 <= self.roughness <= 1.0:
            raise ValueError(f"roughness {self.roughness} is outside 0.02..1")
        for name in ("specular", "sheen", "subsurface", "pattern_strength", "wrinkles", "opacity"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} {getattr(self, name)} is outside 0..1")


@dataclass(frozen=True)
class Character:
    """A dressed figure in the rest pose, ready to be skinned and drawn.

    Parts that cannot be seen (skin under clothes) are best left out: thirty to forty thousand faces are plenty, and the
    ray-tracing tree is built anew for every frame. Vertices are not shared between surfaces: a face
    takes the surface of its first vertex. Layers lie at least a millimetre apart.
    """

    name: str
    """Name of the avatar, as the user types it."""
    vertices: np.ndarray
    """(V, 3) float32, metres, model axes (z up, the face looks along -y, +x is the subject's left), rest pose."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise seen from outside."""
    bone_indices: np.ndarray
    """(V, K) int32, bones of the rest body that move the vertex, K <= 8."""
    bone_weights: np.ndarray
    """(V, K) float32, sums to 1 in each row."""
    albedo: np.ndarray
    """(V, 3) float32, linear RGB, 0..1."""
    surface: np.ndarray
    """(V,) uint8, index into ``surfaces``."""
    surfaces: tuple[Surface, ...]
    """The surfaces that this character is made of."""
    layer: np.ndarray
    """(F,) uint8: 0 skin and eyes, 1 and up one number for each garment, hair and shoe."""
    strand: np.ndarray
    """(V, 3) float32, unit direction of the hair strands in rest space from root to tip; 0 where there is no hair."""
    fold: np.ndarray
    """(V,) float32, 0..1: where cloth is free to fold (0 at seams and where it is tight; knees, elbows, waist high)."""
    softness: np.ndarray
    """(V,) float32, 0..1: how much the silhouette frays here (1 at the fringe of hair, 0 elsewhere)."""
    occlusion: np.ndarray
    """(V,) float32, 0..1: share of the sky that the figure itself leaves open here in the rest pose, fine detail that a
    coarse occlusion pass misses (eye sockets, nostrils, under a hem, between fingers); 1 = open."""
    textures: tuple[Texture, ...] = ()
    """The pictures that ``surfaces`` name."""
    uv: np.ndarray = field(default_factory=lambda: np.zeros((0, 3, 2), np.float32))
    """(F, 3, 2) float32, texture coordinates of each face's corners, v upwards; empty (0, 3, 2) without textures."""
    drape_points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    """(C, 3) float32, metres, rest pose: control points of hanging cloth (grids, see ``models.body.drape``), then the middles
    of the balls that it is pushed out of; empty where nothing hangs."""
    drape_bones: np.ndarray = field(default_factory=lambda: np.zeros((0, 1), np.int32))
    """(C, K) int32, like ``bone_indices``."""
    drape_weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    """(C, K) float32, like ``bone_weights``."""
    drape_radius: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    """(C,) float32, metres: radius of a ball; 0 for cloth."""
    drape_of: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """(V,) int32: the control point that each vertex follows, -1 for none; empty where nothing hangs."""
    warnings: tuple[str, ...] = ()
    """What the user should know of how it was dressed: a texture that is missing."""

    def __post_init__(self) -> None:
        count = len(self.vertices)
        bones = self.bone_indices.shape[-1]
        if bones > MAX_BONES_PER_VERTEX:
            raise ValueError(f"{bones} bones per vertex are more than {MAX_BONES_PER_VERTEX}")
        wanted = {
            "vertices": (count, 3),
            "faces": (len(self.faces), 3),
            "bone_indices": (count, bones),
            "bone_weights": (count, bones),
            "albedo": (count, 3),
            "surface": (count,),
            "layer": (len(self.faces),),
            "strand": (count, 3),
            "fold": (count,),
            "softness": (count,),
            "occlusion": (count,),
        }
        for name, shape in wanted.items():
            have = getattr(self, name).shape
            if have != shape:
                raise ValueError(f"{name}: shape {have} does not fit {shape}")
        if self.uv.shape != (len(self.faces) if self.textures else 0, 3, 2):
            raise ValueError(f"uv: shape {self.uv.shape} does not fit {len(self.textures)} textures")
        controls = len(self.drape_points)
        if len(self.drape_of) != (count if controls else 0) or int(self.drape_of.max(initial=-1)) >= controls:
            raise ValueError(
                f"drape_of: {len(self.drape_of)} vertices do not fit {count}, or {controls} control points"
            )
        if any(max(s.texture, s.normal_map) >= len(self.textures) for s in self.surfaces):
            raise ValueError(f"a surface names a texture that is not in the table of {len(self.textures)}")
        if int(self.surface.max(initial=0)) >= len(self.surfaces):
            raise ValueError(f"surface index {int(self.surface.max())} is not in the table of {len(self.surfaces)}")
        if int(self.faces.max(initial=0)) >= count:
            raise ValueError(f"a face points at vertex {int(self.faces.max())} of {count}")

    @property
    def material(self) -> np.ndarray:
        """(V,) uint8, the :class:`Material` of each vertex."""
        return np.array([s.material for s in self.surfaces], np.uint8)[self.surface]

    def table(self, name: str) -> np.ndarray:
        """(len(surfaces),) float32, one number of each surface by its field name, for lookup by ``surface``."""
        return np.array([float(getattr(s, name)) for s in self.surfaces], np.float32)
