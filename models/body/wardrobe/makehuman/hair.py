"""Hair, brows and lashes on cards."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.body.base import RestBody
from models.body.character import Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.makehuman import fabric
from models.body.wardrobe.makehuman.binding import bone_weights, rest_points
from models.body.wardrobe.makehuman.garment import PLAIN_HAIR, GarmentFiles, own_color, pictures_on, pieces_of
from models.body.wardrobe.mesh import boundary_edges, neighbours, smooth, unit, vertex_normals
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.spec import FileHair, linear

#: A piece whose strands run along u: it is this many times longer along u than along v.
LYING = 2.5


def make_hair(body: Anatomy, rest: RestBody, spec: FileHair, files: GarmentFiles) -> Part:
    """Hair of the head."""
    return _cards(body, rest, spec, files, fabric.hair_surface())


def make_brows(body: Anatomy, rest: RestBody, spec: FileHair, files: GarmentFiles) -> Part | None:
    """Brows or lashes; ``None`` where their texture is missing, without which they would be plates."""
    if "diffuse" not in files.material.textures:
        return None
    return _cards(body, rest, spec, files, fabric.brow_surface())


def _cards(body: Anatomy, rest: RestBody, spec: FileHair, files: GarmentFiles, surface: Surface) -> Part:
    points = rest_points(files.clothing, rest)
    faces, uv = _away_from_head(points, files.mesh.faces, files.mesh.uv, body)
    textures, drawn = pictures_on(files, surface, spec.color is not None)
    pictured = "diffuse" in files.material.textures and bool(textures)
    strand = _strands(points, faces, uv)
    color = linear(spec.color) if spec.color else own_color(files.material, PLAIN_HAIR, pictured)
    return Part(
        points,
        faces,
        bone_weights(files.clothing, files.bones, rest),
        np.tile(color, (len(points), 1)),
        (drawn,),
        np.zeros(len(points), int),
        strand=strand,
        softness=np.zeros(len(points)) if pictured else _frayed(points, faces, strand),
        textures=textures,
        uv=uv if textures else np.zeros((0, 3, 2), np.float32),
        warnings=files.warnings,
    )


def _away_from_head(
    points: np.ndarray, faces: np.ndarray, uv: np.ndarray, body: Anatomy
) -> tuple[np.ndarray, np.ndarray]:
    """Cards have no outside of their own: turn each face so that it looks away from the head, to be lit as its place is."""
    a, b, c = points[faces].transpose(1, 0, 2)
    middle = (a + b + c) / 3
    skull = body.face_frame.skull
    neck = body.joints["neck01"][2]
    centre = np.tile(skull, (len(faces), 1))
    centre[:, 2] = np.clip(middle[:, 2], neck, skull[2])
    inwards = np.einsum("ij,ij->i", np.cross(b - a, c - a), middle - centre) < 0
    turned = faces.copy()
    turned[inwards] = faces[inwards][:, ::-1]
    if len(uv):
        uv = uv.copy()
        uv[inwards] = uv[inwards][:, ::-1]
    return turned, uv


def _strands(points: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """(V, 3) unit direction of the strands: down the texture, for that is how hair is painted; across it on pieces that are
    much longer that way. Straight down where there are no texture coordinates."""
    down = np.tile([0.0, 0.0, -1.0], (len(points), 1))
    if not len(uv):
        return _lying_on(down, points, faces)
    a, b, c = points[faces].transpose(1, 0, 2)
    first, second = b - a, c - a
    du1, dv1 = (uv[:, 1] - uv[:, 0]).T
    du2, dv2 = (uv[:, 2] - uv[:, 0]).T
    sign = np.where(du1 * dv2 - du2 * dv1 < 0, -1.0, 1.0)[:, None]
    along_u = sign * (dv2[:, None] * first - dv1[:, None] * second)
    along_v = sign * (du1[:, None] * second - du2[:, None] * first)
    piece = pieces_of(faces, len(points))[faces[:, 0]]
    across = _lengths(piece, unit(along_u), points, faces) > LYING * _lengths(piece, unit(along_v), points, faces)
    direction = np.where(across[piece][:, None], along_u, -along_v)
    gather = sparse.csr_matrix(
        (np.ones(faces.size), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), shape=(len(points), len(faces))
    )
    strand = gather @ unit(direction)
    strand = np.where(np.linalg.norm(strand, axis=1, keepdims=True) > 1e-6, unit(strand), down)
    # Strands bend slowly; the corners of the picture's islands do not.
    return _lying_on(smooth(strand, neighbours(faces, len(points)), 12), points, faces)


def _frayed(points: np.ndarray, faces: np.ndarray, strand: np.ndarray) -> np.ndarray:
    """(V,) 0..1: the tips of cards without a picture, which would else end in straight edges."""
    rim, _ = boundary_edges(faces)
    count = len(points)
    if len(rim) == 0:
        return np.zeros(count)
    middle = neighbours(faces, count) @ points
    # At a tip the rest of the card lies behind.
    ahead = ((points - middle) * strand).sum(axis=1)
    reach = np.maximum(np.linalg.norm(points - middle, axis=1), 1e-6)
    tip = np.zeros(count)
    tip[np.unique(rim)] = smoothstep(ahead / reach, 0.4, 0.8)[np.unique(rim)]
    return np.clip(0.9 * tip + smooth(tip, neighbours(faces, count), 2), 0.0, 1.0)


def _lengths(piece: np.ndarray, direction: np.ndarray, points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(P,) how long each piece is along the ``direction`` (F, 3) of its faces: the sum of their extents, weighted."""
    edges = np.abs(np.einsum("fkc,fc->fk", np.diff(points[faces], axis=1), direction)).sum(axis=1)
    return np.bincount(piece, edges, minlength=int(piece.max()) + 1)


def _lying_on(direction: np.ndarray, points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    normals = vertex_normals(points, faces)
    flat = direction - (direction * normals).sum(axis=1, keepdims=True) * normals
    return unit(np.where(np.linalg.norm(flat, axis=1, keepdims=True) > 1e-3, flat, direction))
