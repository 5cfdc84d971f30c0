"""Putting an avatar together: body, skin, hair and clothes become one character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse

from models.body.base import RestBody
from models.body.character import Character, Material, Surface, Texture
from models.body.texture import MipMap
from models.body.wardrobe.anatomy import Anatomy, weight_matrix
from models.body.wardrobe.cloth import HIDDEN_DEPTH, Figure
from models.body.wardrobe.coats import make_coat
from models.body.wardrobe.hair import make_hair, scalp_field, tint_roots
from models.body.wardrobe.legwear import make_legwear, make_socks
from models.body.wardrobe.makehuman.covering import Cloth, Cover, pressed
from models.body.wardrobe.makehuman.garment import GarmentFiles, hide_inner, read_garment, wear
from models.body.wardrobe.makehuman.hair import make_brows
from models.body.wardrobe.makehuman.hair import make_hair as make_file_hair
from models.body.wardrobe.markers import make_markers
from models.body.wardrobe.mesh import unit
from models.body.wardrobe.part import Part
from models.body.wardrobe.shading_hints import fine_occlusion
from models.body.wardrobe.shoes import make_shoes
from models.body.wardrobe.skin import make_skin
from models.body.wardrobe.skirts import make_skirt
from models.body.wardrobe.spec import (
    AvatarSpec,
    Coat,
    FileGarment,
    FileHair,
    Hair,
    Legwear,
    Markers,
    Shoes,
    Skin,
    Skirt,
    Socks,
    Top,
)
from models.body.wardrobe.tops import make_top

#: Metres inside the hairline from which the scalp is left out: it lies under the hair.
HIDDEN_SCALP = 0.02
#: Materials that keep their shape under cloth: a shoe is not pressed into a trouser leg.
STIFF = (Material.SHOE, Material.PLASTIC, Material.METAL)
#: Bones kept for each vertex.
BONES_PER_VERTEX = 6

#: The maker of each kind of garment: called with the figure and the garment, it adds a layer to the figure.
MAKERS: dict[type, Callable[[Figure, Any], None]] = {
    Top: make_top,
    Legwear: make_legwear,
    Skirt: make_skirt,
    Socks: make_socks,
    Shoes: make_shoes,
    Coat: make_coat,
    Markers: make_markers,
}


def anatomy_of(rest: RestBody) -> Anatomy:
    """The landmarks and fields of a rest body."""
    weights = weight_matrix(rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    return Anatomy(rest.vertices, rest.faces, rest.bone_names, rest.bone_heads, weights, rest.uv, rest.uv_faces)


def assemble(spec: AvatarSpec, rest: RestBody) -> Character:
    """Dress a body, without looking into the cache.

    Raises
    ------
    core.errors.InputError, core.errors.ModelUnavailable
        A garment's file is missing or not right.
    """
    body = anatomy_of(rest)
    figure = Figure.of(body)
    files = {part: read_garment(part) for part in dict.fromkeys(spec.files)}
    worn: list[tuple[list[Cover], Cover]] = []
    for garment in in_wearing_order(spec.outfit, files):
        inner = [cover.cloth for _, cover in worn if cover.cloth is not None]
        worn.append(_put_on(figure, rest, garment, files, inner))
    covers = [cover for layers, _ in worn for cover in layers]
    skin, hair = _head(spec, figure, rest, files)
    on_skin = [cover for _, cover in worn]
    layers = [under(skin, body, on_skin, _scalp_cover(spec, body))]
    for index, (parts, _) in enumerate(figure.layers):
        layers.append(under(parts, body, covers[index + 1 :]))
    return joined(spec.name, layers + hair)


def _put_on(
    figure: Figure, rest: RestBody, garment: Any, files: dict[Any, GarmentFiles], inner: list[Cloth]
) -> tuple[list[Cover], Cover]:
    """Put a garment on, over the garments from files ``inner`` and all others. Returns what each of the layers that it added
    does to those under it, and what it does to skin."""
    before = len(figure.layers)
    if isinstance(garment, FileGarment):
        worn = wear(figure, rest, garment, files[garment], inner)
        hide_inner(figure.layers[:before], figure.body, worn)
        return worn.covers, worn.skin
    maker = next(maker for kind, maker in MAKERS.items() if isinstance(garment, kind))
    maker(figure, garment)
    covers = [Cover(depth, None) for _, depth in figure.layers[before:]]
    return covers, covers[-1]


def in_wearing_order(outfit: tuple[Any, ...], files: dict[Any, GarmentFiles]) -> list[Any]:
    """The garments from the inside out: as listed, but a garment of MakeHuman's format goes under those of greater depth
    (shoes under trousers, whichever is named first)."""
    ordered: list[Any] = []
    for garment in outfit:
        place = len(ordered)
        if isinstance(garment, FileGarment):
            depth = files[garment].clothing.z_depth
            over = [
                index
                for index, other in enumerate(ordered)
                if isinstance(other, FileGarment) and files[other].clothing.z_depth > depth
            ]
            place = over[0] if over else place
        ordered.insert(place, garment)
    return ordered


def _head(
    spec: AvatarSpec, figure: Figure, rest: RestBody, files: dict[Any, GarmentFiles]
) -> tuple[list[Part], list[list[Part]]]:
    """Skin with its face, and the layers of hair, brows and lashes."""
    body = figure.body
    brows = make_brows(body, rest, spec.brows, files[spec.brows]) if spec.brows is not None else None
    lashes = make_brows(body, rest, spec.lashes, files[spec.lashes]) if spec.lashes is not None else None
    skin_spec = spec.skin
    if isinstance(skin_spec, Skin):
        # What is worn from a file is not drawn on the skin as well.
        none: dict[str, Any] = {} if brows is None else {"brows": skin_spec.tone, "brow_weight": 0.0}
        none |= {} if lashes is None else {"lashes": 0.0}
        skin_spec = skin_spec.model_copy(update=none)
    skin = make_skin(body, skin_spec)
    hair: list[list[Part]] = []
    if isinstance(spec.hair, FileHair):
        made = make_file_hair(body, rest, spec.hair, files[spec.hair])
        hair.append([made])
        roots = Hair.model_validate({"color": _root_color(made)})
        tint_roots(skin[0], scalp_field(body, roots), roots)
    elif spec.hair is not None:
        tint_roots(skin[0], scalp_field(body, spec.hair), spec.hair)
        hair.append(make_hair(figure, spec.hair))
    for part, source in ((brows, spec.brows), (lashes, spec.lashes)):
        if part is not None:
            hair.append([part])
        elif source is not None:
            skin[0].warnings += (
                *files[source].warnings,
                f"{source.file} is not worn: without its texture it is a plate.",
            )
    return skin, hair


def _root_color(part: Part) -> str:
    """``#rrggbb`` of a piece of hair: its own, under its texture."""
    color = part.albedo.mean(axis=0)
    if part.textures and part.textures[0].kind == "color":
        color = color * MipMap(part.textures[0]).mean_color
    srgb = np.where(color <= 0.0031308, 12.92 * color, 1.055 * color ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(float(np.clip(share, 0, 1)) * 255):02x}" for share in srgb)


def _scalp_cover(spec: AvatarSpec, body: Anatomy) -> list[np.ndarray]:
    """The scalp under hair that is a closed cap; between cards one sees down to it."""
    if spec.hair is None or isinstance(spec.hair, FileHair):
        return []
    return [scalp_field(body, spec.hair) - HIDDEN_SCALP + HIDDEN_DEPTH]


def under(parts: list[Part], body: Anatomy, covers: list[Cover], more: Sequence[np.ndarray] = ()) -> list[Part]:
    """What is left of parts under garments: kept below them, and without the faces that lie deep inside their edges, which
    could only poke through when the body bends. ``more``: further depths (N,)."""
    cloths = [cover.cloth for cover in covers if cover.cloth is not None]
    kept = []
    for part in parts:
        if part.source is not None:
            normals = part.of(body.normals)
            if not any(surface.material in STIFF for surface in part.surfaces):
                part.points = pressed(part.points, normals, cloths)
            hidden = np.zeros(len(part.faces), bool)
            for cover in covers:
                deep = part.of(cover.depth) > HIDDEN_DEPTH
                if len(part.base) and cover.cloth is not None:
                    # What stands out all the same is seen: a shoe round a narrow trouser leg.
                    height = cover.cloth.height_over(part.points, unit(normals))
                    deep &= (height > 0) & np.isfinite(height)
                hidden |= deep[part.faces].all(axis=1)
            for depth in more:
                hidden |= (part.of(depth)[part.faces] > HIDDEN_DEPTH).all(axis=1)
            if hidden.all() and len(hidden):
                continue
            part = part.keeping(~hidden) if hidden.any() else part
        kept.append(part)
    return kept


def _top_bones(weights: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """(V, K) indices and weights of the strongest bones of each row, summing to 1."""
    count = weights.shape[0]
    weights = weights.tocsr()
    indices, values = np.zeros((count, BONES_PER_VERTEX), np.int32), np.zeros((count, BONES_PER_VERTEX), np.float32)
    rows = np.repeat(np.arange(count), np.diff(weights.indptr))
    order = np.lexsort((-weights.data, rows))
    rank = np.arange(len(rows)) - weights.indptr[rows]
    take = rank < BONES_PER_VERTEX
    indices[rows[take], rank[take]] = weights.indices[order][take]
    values[rows[take], rank[take]] = weights.data[order][take]
    return indices, values / values.sum(axis=1, keepdims=True)


def joined(name: str, layers: list[list[Part]]) -> Character:
    """Join the parts of all layers into one mesh."""
    table: list[Surface] = []
    surface, faces, layer_ids = [], [], []
    textures: list[Texture] = []
    warnings: list[str] = []
    parts = [part for layer in layers for part in layer]
    numbers = [number for number, layer in enumerate(layers) for _ in layer]
    start = 0
    for number, part in zip(numbers, parts, strict=True):
        lookup = []
        places = [_place_of(texture, textures) for texture in part.textures]
        warnings += part.warnings
        for kind in part.surfaces:
            kind = _renumbered(kind, places)
            if kind not in table:
                table.append(kind)
            lookup.append(table.index(kind))
        surface.append(np.array(lookup, np.uint8)[part.surface])
        faces.append(part.faces + start)
        layer_ids.append(np.full(len(part.faces), number, np.uint8))
        start += len(part.points)
    bones, weights = _top_bones(sparse.vstack([part.weights for part in parts], format="csr"))
    points = np.concatenate([part.points for part in parts]).astype(np.float32)
    hanging = _hanging(parts)
    all_faces = np.concatenate(faces).astype(np.int32)
    return Character(
        name=name,
        vertices=points,
        faces=all_faces,
        bone_indices=bones,
        bone_weights=weights,
        albedo=np.clip(np.concatenate([part.albedo for part in parts]), 0, 1).astype(np.float32),
        surface=np.concatenate(surface),
        surfaces=tuple(table),
        layer=np.concatenate(layer_ids),
        strand=np.concatenate([part.strand for part in parts]).astype(np.float32),
        fold=np.clip(np.concatenate([part.fold for part in parts]), 0, 1).astype(np.float32),
        softness=np.clip(np.concatenate([part.softness for part in parts]), 0, 1).astype(np.float32),
        occlusion=fine_occlusion(points, all_faces),
        textures=tuple(textures),
        uv=np.concatenate([_coordinates(part) for part in parts]) if textures else np.zeros((0, 3, 2), np.float32),
        warnings=tuple(dict.fromkeys(warnings)),
        **hanging,
    )


def _hanging(parts: list[Part]) -> dict[str, np.ndarray]:
    """The fields of a character that say how cloth hangs; none where none does. All cloth comes before all balls."""
    drapes = list({id(part.drape): part.drape for part in parts if part.drape is not None}.values())
    if not drapes:
        return {}
    points = np.concatenate([drape.points for drape in drapes])
    radius = np.concatenate([drape.radius for drape in drapes])
    weights = sparse.vstack([drape.weights for drape in drapes], format="csr")
    order = np.argsort(radius > 0, kind="stable")
    place = np.argsort(order)
    starts = np.cumsum([0, *(len(drape.points) for drape in drapes)])
    start = {id(drape): first for drape, first in zip(drapes, starts, strict=False)}
    follows = [
        np.full(len(part.points), -1) if part.drape is None else place[start[id(part.drape)] + part.control]
        for part in parts
    ]
    bones, shares = _top_bones(weights[order])
    return {
        "drape_points": points[order].astype(np.float32),
        "drape_bones": bones,
        "drape_weights": shares,
        "drape_radius": radius[order].astype(np.float32),
        "drape_of": np.concatenate(follows).astype(np.int32),
    }


def _place_of(texture: Texture, table: list[Texture]) -> int:
    """Where a texture stands in the character's table, which grows by it if need be. A tint is brought to the mean of what
    it lies on, so each part has its own."""
    if texture.kind == "tint" or texture not in table:
        table.append(texture)
        return len(table) - 1
    return table.index(texture)


def _renumbered(surface: Surface, places: list[int]) -> Surface:
    """A part's surface with its textures as the character's table has them."""
    if surface.texture < 0 and surface.normal_map < 0:
        return surface
    texture, normal_map = (places[index] if index >= 0 else -1 for index in (surface.texture, surface.normal_map))
    return replace(surface, texture=texture, normal_map=normal_map)


def _coordinates(part: Part) -> np.ndarray:
    """(F, 3, 2) float32 texture coordinates; 0 where a part has none."""
    return part.uv.astype(np.float32) if len(part.uv) else np.zeros((len(part.faces), 3, 2), np.float32)
