"""Colours of the whole surface from one photo: what it shows, and what it leaves hidden.

Where the photo shows the surface its pixels are taken, freed of its light. What it does not show comes, in this order, from
the other half of the body, from what lies on the same line of sight in front (the back of a shirt is taken to be of its
front's colour, blurred), and from the nearest known surface along the skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from models.body.embree import RayScene
from models.body.photo.fill import Fields, spread
from models.body.photo.sight import Sight
from models.body.photo.surface import Points, hands
from models.body.wardrobe.noise import smoothstep

#: Side of the texture in texels.
TEXELS = 1024
#: Furthest from the mirrored place that a colour may come from, metres.
MIRRORED_REACH = 0.012
#: Trust in mirrored colours.
MIRROR_TRUST = 0.7
#: Trust in the skin's colour where the photo shows no skin.
FAINT = 0.03
#: Trust above which a colour needs no help.
KNOWN = 0.25


@dataclass(frozen=True)
class Painted:
    """The colours of a figure."""

    texture: np.ndarray
    """(TEXELS, TEXELS, 3) float32, linear albedo; row 0 is v = 1."""
    vertices: np.ndarray
    """(V, 3) float32, linear albedo at the vertices."""
    seen: float
    """Share of the surface's texels that the photo shows."""


def paint(sight: Sight, face_color: np.ndarray, plain_face: np.ndarray | None = None) -> Painted:
    """Colour the whole surface.

    Parameters
    ----------
    face_color:
        (3,) linear albedo of the skin: hidden skin takes it.
    plain_face:
        (V,) 0..1: where the photo's pixels are not to be used, but the skin's colour; ``None`` uses them everywhere.
    """
    surface, corners = sight.surface, sight.corners
    part = corners.part
    at_vertices, trust = sight.colors(corners)
    if plain_face is not None:
        trust = trust * (1 - plain_face)
    at_vertices, trust = _with_counterparts(sight, at_vertices, trust)
    bare = (part == 5) & (trust < KNOWN)
    bare &= hands(surface.body) | (plain_face > 0.5 if plain_face is not None else False)
    at_vertices[bare], trust[bare] = face_color, 1.0
    # Other bare skin leans towards the skin's colour, and takes no colour from the clothes next to it.
    unsure = (part == 5) & (trust < FAINT)
    at_vertices[unsure], trust[unsure] = face_color, FAINT
    hair = sight.hair_color()
    if hair is not None:
        behind = (part == 6) & (trust < FAINT)
        at_vertices[behind], trust[behind] = hair, FAINT
    fields = spread(surface.faces, surface.body, part, at_vertices, trust)
    return _texture(sight, fields, plain_face)


def _mix(color: np.ndarray, trust: np.ndarray, more: np.ndarray, more_trust: np.ndarray) -> None:
    """Let a second source of colours help where the first is not trusted, in place."""
    share = np.maximum(more_trust - trust, 0) / np.maximum(np.maximum(more_trust, trust), 1e-6)
    color += share[:, None] * (more - color)
    np.maximum(trust, more_trust, out=trust)


def _with_counterparts(sight: Sight, color: np.ndarray, trust: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertex colours with the help of the other half of the body, then of what is in front."""
    color, trust, rest = color.copy(), trust.copy(), sight.corners.rest
    known = np.flatnonzero(trust > KNOWN)
    if len(known):
        distance, nearest = cKDTree(rest[known]).query(rest * [-1, 1, 1], distance_upper_bound=MIRRORED_REACH)
        found = np.isfinite(distance)
        source = known[np.where(found, nearest, 0)]
        mirrored_trust = np.where(found, MIRROR_TRUST * trust[source], 0.0)
        _mix(color, trust, color[source].copy(), mirrored_trust)
    _mix(color, trust, *sight.through(sight.corners))
    return color, trust


def _texture(sight: Sight, fields: Fields, plain_face: np.ndarray | None) -> Painted:
    """Every texel: the photo's pixel where it shows the place, else what was spread to it."""
    surface, corners = sight.surface, sight.corners
    rest = surface.sitting.rest
    flat = np.concatenate([rest.uv, np.zeros((len(rest.uv), 1), np.float32)], axis=1).astype(np.float32)
    centre = (np.arange(TEXELS, dtype=np.float32) + 0.5) / TEXELS
    u, v = np.meshgrid(centre, 1 - centre)
    origins = np.stack([u.ravel(), v.ravel(), np.full(u.size, -1, np.float32)], axis=1)
    lying = RayScene(flat, rest.uv_faces).intersect(
        origins, np.tile(np.array([0, 0, 1], np.float32), (len(origins), 1))
    )
    texel = np.flatnonzero(lying.hit)
    corner, bary = surface.faces[lying.pix_to_face[texel]], lying.bary_coords[texel]

    def mixed(values: np.ndarray) -> np.ndarray:
        return np.asarray(sum(bary[:, k, None] * values[corner[:, k]] for k in range(3)))

    points = Points(
        rest=mixed(corners.rest),
        posed=mixed(corners.posed),
        normals=mixed(corners.normals),
        part=corners.part[corner[:, 0]],
        shift=mixed(surface.shift),
    )
    color, trust = sight.colors(points)
    if plain_face is not None:
        trust = trust * (1 - mixed(plain_face[:, None])[:, 0])
    base = fields.mixed(mixed)
    texture = np.zeros((TEXELS * TEXELS, 3), np.float32)
    texture[texel] = base + smoothstep(trust, 0.05, 0.6)[:, None] * (color - base)
    picture = _without_gaps(texture.reshape(TEXELS, TEXELS, 3), lying.hit.reshape(TEXELS, TEXELS))
    return Painted(picture, fields.vertices().astype(np.float32), float((trust > KNOWN).mean()))


def _without_gaps(picture: np.ndarray, lies: np.ndarray) -> np.ndarray:
    """Give every texel that no face covers the colour of the nearest that one does: edges of islands are read across."""
    _, labels = cv2.distanceTransformWithLabels(
        (~lies).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colors = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colors[labels[lies]] = picture[lies]
    return colors[labels]
