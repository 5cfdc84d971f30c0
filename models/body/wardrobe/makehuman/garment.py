"""Garments, hair, brows and lashes from MakeHuman's files, made into parts of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra

from models.body.base import RestBody
from models.body.character import Surface, Texture
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import Figure
from models.body.wardrobe.makehuman import fabric
from models.body.wardrobe.makehuman.binding import bone_weights, rest_points
from models.body.wardrobe.makehuman.covering import Cloth, Cover, depth_under, nearest_skin, outwards, pushed_over
from models.body.wardrobe.makehuman.mhclo import Clothing, read_mhclo
from models.body.wardrobe.makehuman.mhmat import MakeHumanMaterial, read_mhmat
from models.body.wardrobe.makehuman.mhw import read_mhw
from models.body.wardrobe.makehuman.obj import ObjMesh, read_obj
from models.body.wardrobe.makehuman.pack import find_garment, find_material
from models.body.wardrobe.makehuman.reading import bad, beside
from models.body.wardrobe.mesh import boundary_edges, edges_of, take_faces, unit
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.shell import Shell
from models.body.wardrobe.spec import FileGarment, FileHair, linear

#: Colours of what has neither a texture nor a colour of its own.
PLAIN_CLOTH, PLAIN_HAIR = "#8a8d92", "#3b2a20"
#: How far from an opening cloth is held by its hem, metres.
HELD = 0.05
#: Metres that outer cloth keeps from the cloth under it.
BETWEEN = 0.003
#: By how much less than skin cloth has to lie inside the edges of cloth over it to be left out, metres: nobody misses it
#: who looks in, and both bend in different ways.
NEARER = 0.02


@dataclass(frozen=True)
class GarmentFiles:
    """Everything that the files of one garment say."""

    clothing: Clothing
    mesh: ObjMesh
    material: MakeHumanMaterial
    bones: dict[str, tuple[np.ndarray, np.ndarray]]
    """From its ``.mhw``; empty where it has none."""
    paths: tuple[Path, ...]
    """All files that were read, and the pictures that will be."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is missing or not followed."""
        return self.clothing.warnings + self.material.warnings

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that may tell what it is made of, the most telling first."""
        clothing, material = self.clothing, self.material
        return (material.name, clothing.name, clothing.path.stem, *clothing.tags, *material.tags)


def read_garment(spec: FileGarment | FileHair) -> GarmentFiles:
    """Read the files of a garment.

    Raises
    ------
    core.errors.InputError
        A file is missing or not right; the message names it and the line.
    core.errors.ModelUnavailable
        The garment is in none of the folders, and the pack is not there.
    """
    path = find_garment(spec.file)
    clothing = read_mhclo(path)
    mesh_path = _named(path, "obj_file", clothing.obj_file)
    mesh = read_obj(mesh_path)
    if len(mesh.points) != len(clothing.vertices):
        raise bad(
            path, None, f"it binds {len(clothing.vertices)} vertices, and {mesh_path.name} has {len(mesh.points)}",
            "The two files belong to different versions: get both anew.",
        )  # fmt: skip
    paths = [path, mesh_path]
    material = MakeHumanMaterial()
    if spec.material or clothing.material:
        chosen = find_material(path, spec.material) if spec.material else _named(path, "material", clothing.material)
        material = read_mhmat(chosen)
        paths += [chosen, *material.textures.values()]
    bones: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if clothing.weights_file:
        weights_path = _named(path, "vertexboneweights_file", clothing.weights_file)
        bones = read_mhw(weights_path, len(clothing.vertices))
        paths.append(weights_path)
    return GarmentFiles(clothing, mesh, material, bones, tuple(paths))


def _named(path: Path, key: str, name: str) -> Path:
    found = beside(path.parent, name)
    if found is None:
        raise bad(path, None, f"it names {name!r} ({key}), which is not beside it", "Put the missing file there.")
    return found


@dataclass(frozen=True)
class Worn:
    """A garment on the figure."""

    clothing: Clothing
    covers: list[Cover]
    """What each of the layers that it added to the figure, the inner one first, does to those under it."""
    skin: Cover
    """What all of it, and the list of hidden vertices in its file, do to the skin."""


def wear(figure: Figure, rest: RestBody, spec: FileGarment, files: GarmentFiles, inner: Sequence[Cloth] = ()) -> Worn:
    """Put a garment on ``figure``, over everything that it wears; ``inner`` are the garments from files among that.

    A mesh that holds pieces above and below the waist becomes two layers, in the order in which they overlap.
    """
    body = figure.body
    points = rest_points(files.clothing, rest)
    faces = outwards(points, files.mesh.faces, body)
    uv = files.mesh.uv if faces is files.mesh.faces else files.mesh.uv[:, ::-1]
    shell = Shell(nearest_skin(points, body), faces, points, np.zeros(len(faces), int))
    figure.keep_outside(shell, BETWEEN)
    shell.points = pushed_over(shell.points, shell.of(body.normals), faces, list(inner), BETWEEN)
    below = _pieces_below(shell, body)
    cloths = [Cloth(shell.points, faces[side[faces[:, 0]]]) for side in (~below, below) if side.any()]
    heights = [cloth.height_over(body.points, body.normals) for cloth in cloths]
    textures, surfaces = _surfaces(spec, files)
    whole = Part(
        shell.points,
        faces,
        bone_weights(files.clothing, files.bones, rest),
        _albedo(files, spec, below, bool(textures)),
        surfaces,
        below.astype(int),
        fold=_free_cloth(shell),
        source=shell.source,
        textures=textures,
        uv=uv if textures else np.zeros((0, 3, 2), np.float32),
        warnings=files.warnings,
        base=files.clothing.vertices,
    )
    covers = []
    for index in _inside_out(heights):
        kept = below[faces[:, 0]] == bool(index)
        depth = depth_under(body, heights[index], np.zeros(len(body), bool))
        covers.append(Cover(depth + NEARER, cloths[index]))
        cut, pick = take_faces(faces, kept, len(points))
        figure.wear(
            [whole.keeping(kept)],
            depth,
            Shell((pick @ shell.source).tocsr(), cut, pick @ shell.points, np.zeros(len(cut), int)),
        )
    on_skin = depth_under(body, np.min(heights, axis=0), files.clothing.hidden[rest.base_indices])
    return Worn(files.clothing, covers, Cover(on_skin, Cloth(shell.points, faces)))


def hide_inner(layers: list[tuple[list[Part], np.ndarray]], body: Anatomy, worn: Worn) -> None:
    """Leave out what a garment's file says that it hides of the garments under it: the faces all of whose vertices hang on
    hidden base vertices. What stands out of its cloth all the same is seen, and stays: a shoe round a narrow trouser leg."""
    for parts, _ in layers:
        for index, part in enumerate(parts):
            if not len(part.base) or worn.skin.cloth is None:
                continue
            height = worn.skin.cloth.height_over(part.points, unit(part.of(body.normals)))
            under = worn.clothing.hidden[part.base].all(axis=1) & (height > 0)
            hidden = under[part.faces].all(axis=1)
            parts[index] = part.keeping(~hidden) if hidden.any() else part


def _inside_out(heights: list[np.ndarray]) -> list[int]:
    """The order of the upper (0) and the lower (1) pieces from the inside out; the upper ones hang over where none tells."""
    if len(heights) == 1:
        return [0]
    both = np.isfinite(heights[0]) & np.isfinite(heights[1])
    lower_is_outside = both.any() and np.median(heights[1][both] - heights[0][both]) > 0
    return [0, 1] if lower_is_outside else [1, 0]


def _surfaces(spec: FileGarment, files: GarmentFiles) -> tuple[tuple[Texture, ...], tuple[Surface, Surface]]:
    """The textures of a garment, and the surfaces of its upper and of its lower pieces."""
    kind = spec.fabric or fabric.fabric_of(files.names)
    second = kind if spec.fabric else fabric.LOWER.get(kind, kind)
    recolored = spec.color is not None
    textures, surface = pictures_on(files, fabric.FABRICS[kind], recolored)
    return textures, (surface, pictures_on(files, fabric.FABRICS[second], recolored)[1])


def pictures_on(files: GarmentFiles, surface: Surface, recolored: bool) -> tuple[tuple[Texture, ...], Surface]:
    """The textures of a material, and ``surface`` with them on it."""
    material = files.material
    textures: list[Texture] = []
    color = normal = -1
    if len(files.mesh.uv):
        found = material.textures
        if "diffuse" in found:
            color = len(textures)
            alpha = material.flags.get("transparent", False) or "opacity" in found
            textures.append(Texture(found["diffuse"], "tint" if recolored else "color", alpha, found.get("opacity")))
        if "normal" in found:
            normal = len(textures)
            textures.append(Texture(found["normal"], "normal"))
    relief = material.numbers.get("normalmapIntensity", 1.0)
    opacity = min(max(material.numbers.get("opacity", 1.0), 0.0), 1.0)
    return tuple(textures), fabric.under_picture(surface, color, normal, relief, opacity)


def _albedo(files: GarmentFiles, spec: FileGarment, lower: np.ndarray, textured: bool) -> np.ndarray:
    """(V, 3) linear RGB; what lies under a texture is multiplied by it."""
    pictured = textured and "diffuse" in files.material.textures
    plain = own_color(files.material, PLAIN_CLOTH, pictured)
    main = linear(spec.color) if spec.color else plain
    second = linear(spec.lower) if spec.lower else main * (1.0 if pictured or spec.color else 0.55)
    return np.where(lower[:, None], second, main)


def own_color(material: MakeHumanMaterial, otherwise: str, pictured: bool) -> np.ndarray:
    """(3,) linear RGB of a material. White means that its texture has the colours: without one, ``otherwise``."""
    diffuse = material.colors.get("diffuse", (1.0, 1.0, 1.0))
    if min(diffuse) > 0.99 and not pictured:
        return linear(otherwise)
    srgb = np.array(diffuse)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def pieces_of(faces: np.ndarray, count: int) -> np.ndarray:
    """(V,) number of the connected piece of each vertex."""
    edges, _ = edges_of(faces)
    graph = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _pieces_below(shell: Shell, body: Anatomy) -> np.ndarray:
    """(V,) bool: pieces that hang from the waist downwards, where there are others above."""
    piece = pieces_of(shell.faces, len(shell.points))
    number = np.bincount(piece)
    middle = np.bincount(piece, shell.points[:, 2]) / np.maximum(number, 1)
    below = middle < body.level(0.12)
    return below[piece] if not below.all() else np.zeros(len(piece), bool)


def _free_cloth(shell: Shell) -> np.ndarray:
    """(V,) 0..1: cloth is held at its openings and free to fold away from them."""
    rim, _ = boundary_edges(shell.faces)
    count = len(shell.points)
    if len(rim) == 0:
        return np.ones(count)
    edges, _ = edges_of(shell.faces)
    length = np.linalg.norm(shell.points[edges[:, 0]] - shell.points[edges[:, 1]], axis=1)
    graph = sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=(count, count))
    away = dijkstra(graph, directed=False, indices=np.unique(rim), min_only=True, limit=2 * HELD)
    return smoothstep(np.minimum(away, 2 * HELD), 0.2 * HELD, HELD)
