"""Putting an avatar together: body, skin, hair and clothes become one character."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from models.body.base import RestBody
from models.body.character import Character, Surface
from models.body.wardrobe.anatomy import Anatomy, weight_matrix
from models.body.wardrobe.cloth import HIDDEN_DEPTH, Figure
from models.body.wardrobe.hair import make_hair, scalp_field, tint_roots
from models.body.wardrobe.legwear import make_legwear, make_socks
from models.body.wardrobe.part import Part
from models.body.wardrobe.shading_hints import fine_occlusion
from models.body.wardrobe.shoes import make_shoes
from models.body.wardrobe.skin import make_skin
from models.body.wardrobe.skirts import make_skirt
from models.body.wardrobe.spec import AvatarSpec, Legwear, Shoes, Skirt, Socks, Top
from models.body.wardrobe.tops import make_top

#: Metres inside the hairline from which the scalp is left out: it lies under the hair.
HIDDEN_SCALP = 0.02
#: Bones kept for each vertex.
BONES_PER_VERTEX = 6

#: The maker of each kind of garment: called with the figure and the garment, it adds a layer to the figure.
MAKERS: dict[type, Callable[[Figure, Any], None]] = {
    Top: make_top,
    Legwear: make_legwear,
    Skirt: make_skirt,
    Socks: make_socks,
    Shoes: make_shoes,
}


def anatomy_of(rest: RestBody) -> Anatomy:
    """The landmarks and fields of a rest body."""
    weights = weight_matrix(rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    return Anatomy(rest.vertices, rest.faces, rest.bone_names, rest.bone_heads, weights, rest.uv, rest.uv_faces)


def assemble(spec: AvatarSpec, rest: RestBody) -> Character:
    """Dress a body, without looking into the cache."""
    body = anatomy_of(rest)
    figure = Figure.of(body)
    for garment in spec.outfit:
        maker = next(maker for kind, maker in MAKERS.items() if isinstance(garment, kind))
        maker(figure, garment)
    skin = make_skin(body, spec.skin)
    covers = [depth for _, depth in figure.layers]
    if spec.hair is not None:
        field = scalp_field(body, spec.hair)
        tint_roots(skin[0], field, spec.hair)
        covers.append(field - HIDDEN_SCALP + HIDDEN_DEPTH)
    layers = [_uncovered(skin, covers)]
    for index, (parts, _) in enumerate(figure.layers):
        layers.append(_uncovered(parts, [depth for _, depth in figure.layers[index + 1 :]]))
    if spec.hair is not None:
        layers.append(make_hair(figure, spec.hair))
    return _character(spec.name, layers)


def _uncovered(parts: list[Part], covers: list[np.ndarray]) -> list[Part]:
    """Drop the faces that lie deep under outer garments: they could only poke through when the body bends."""
    kept = []
    for part in parts:
        if part.source is not None and covers:
            hidden = np.zeros(len(part.faces), bool)
            for depth in covers:
                hidden |= (part.of(depth)[part.faces] > HIDDEN_DEPTH).all(axis=1)
            if hidden.all():
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


def _character(name: str, layers: list[list[Part]]) -> Character:
    """Join the parts of all layers into one mesh."""
    table: list[Surface] = []
    surface, faces, layer_ids = [], [], []
    parts = [part for layer in layers for part in layer]
    numbers = [number for number, layer in enumerate(layers) for _ in layer]
    start = 0
    for number, part in zip(numbers, parts, strict=True):
        lookup = []
        for kind in part.surfaces:
            if kind not in table:
                table.append(kind)
            lookup.append(table.index(kind))
        surface.append(np.array(lookup, np.uint8)[part.surface])
        faces.append(part.faces + start)
        layer_ids.append(np.full(len(part.faces), number, np.uint8))
        start += len(part.points)
    bones, weights = _top_bones(sparse.vstack([part.weights for part in parts], format="csr"))
    points = np.concatenate([part.points for part in parts]).astype(np.float32)
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
    )
