"""Lashes along the upper lids: a dark line of roots, and single hairs."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.body.character import Material, Surface
from models.body.embree import RayScene
from models.body.wardrobe.anatomy import FaceFrame
from models.body.wardrobe.mesh import grid_faces, unit
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.spec import Skin

LASH = Surface(Material.HAIR, 0.6, specular=0.01)
_COLOR = np.array([0.016, 0.011, 0.009])

#: Places looked at along a lid, and the step of the rays that look for its edge, metres.
_COLUMNS, _STEP = 31, 0.0002
#: The edge of a lid is within this distance of the eye's centre, in its radii.
_LID_REACH = 1.35
#: Height of the line of roots and length of the hairs at ``lashes`` 0 and 1, metres; share of both at the inner corner.
_LINE, _HAIR, _INNER = (0.0005, 0.0010), (0.0018, 0.0050), 0.35
#: Hairs of one eye and half the width of their roots, metres.
_HAIRS, _HALF_WIDTH = 24, 0.00022


def make_lashes(skin_part: Part, eyes: Part, face: FaceFrame, skin: Skin) -> Part | None:
    """The lashes of both upper lids, which move with the skin; ``None`` without lashes, or where no lid lies over an eye."""
    if skin.lashes <= 0:
        return None
    triangles, faces, start = [], [], 0
    for sign, eye in zip((1, -1), face.eyes, strict=True):
        edge = upper_lid_edge(skin_part, eyes, eye, face.eye_radius)
        if len(edge) < 6:
            continue
        # From the nose outwards, whichever eye it is.
        edge = edge if sign > 0 else edge[::-1]
        for points, mesh in (_root_line(edge, skin.lashes), _hairs(edge, sign, skin.lashes)):
            triangles.append(points)
            faces.append(_facing_front(points, mesh) + start)
            start += len(points)
    if not triangles:
        return None
    points = np.concatenate(triangles)
    nearest = cKDTree(skin_part.points).query(points)[1]
    return Part(
        points, np.concatenate(faces), skin_part.weights[nearest].tocsr(), np.tile(_COLOR, (len(points), 1)), (LASH,),
        np.zeros(len(points), int), strand=np.tile([0.0, -1.0, 0.0], (len(points), 1)),
    )  # fmt: skip


def upper_lid_edge(skin_part: Part, eyes: Part, eye: np.ndarray, radius: float) -> np.ndarray:
    """(C, 3) points along the edge of the upper lid from small to large x: where, from the front, skin ends and eye begins."""
    points = np.concatenate([skin_part.points, eyes.points]).astype(np.float32)
    faces = np.concatenate([skin_part.faces, eyes.faces + len(skin_part.points)])
    scene = RayScene(points, faces.astype(np.int32))
    x = eye[0] + radius * np.linspace(-0.95, 0.95, _COLUMNS)
    z = eye[2] + np.arange(0.7 * radius, -0.5 * radius, -_STEP)
    grid = np.stack(np.meshgrid(x, [eye[1] - 3 * radius], z, indexing="ij"), axis=-1).reshape(-1, 3)
    ahead = np.tile(np.array([0.0, 1.0, 0.0], np.float32), (len(grid), 1))
    seen = scene.intersect(grid.astype(np.float32), ahead)
    ball = (seen.hit & (seen.pix_to_face >= len(skin_part.faces))).reshape(_COLUMNS, len(z))
    depth = (grid[:, 1] + seen.zbuf).reshape(_COLUMNS, len(z))
    first = ball.argmax(axis=1)
    open_here = np.flatnonzero(ball.any(axis=1) & (first > 0))
    above = first[open_here] - 1
    edge = np.stack([x[open_here], depth[open_here, above], z[above]], axis=1)
    # A ray may slip past the lid and meet the inside of the socket before the ball.
    distance = np.linalg.norm(edge - eye, axis=1)
    edge = edge[(distance > radius) & (distance < _LID_REACH * radius)]
    for _ in range(2):
        edge[1:-1, 1:] = (edge[:-2, 1:] + 2 * edge[1:-1, 1:] + edge[2:, 1:]) / 4
    return edge


def _growth(count: int) -> np.ndarray:
    """(count,) how long lashes are from the nose outwards."""
    share = np.linspace(0, 1, count)
    return np.asarray(_INNER + (1 - _INNER) * smoothstep(share, 0.0, 0.6))


def _root_line(edge: np.ndarray, lashes: float) -> tuple[np.ndarray, np.ndarray]:
    """A narrow band on the edge: from afar the roots are one dark line."""
    height = np.interp(lashes, [0, 1], _LINE) * _growth(len(edge))
    low = edge + np.array([0.0, -0.0002, -0.0002])
    high = edge + height[:, None] * np.array([0.0, -0.7, 1.0]) + np.array([0.0, -0.0002, 0.0])
    return np.concatenate([high, low]), grid_faces(2, len(edge), False)


def _hairs(edge: np.ndarray, sign: int, lashes: float) -> tuple[np.ndarray, np.ndarray]:
    """Single hairs that fan out to the sides, forwards and up: one triangle each."""
    random = np.random.default_rng(87)
    share = np.sort(random.uniform(0.06, 1.0, _HAIRS))
    place = share * (len(edge) - 1)
    root = np.stack([np.interp(place, np.arange(len(edge)), edge[:, axis]) for axis in range(3)], axis=1)
    length = np.interp(lashes, [0, 1], _HAIR) * np.interp(share, np.linspace(0, 1, 9), _growth(9))
    fan = sign * np.interp(share, [0, 0.35, 1.0], [-0.35, 0.0, 0.9]) + random.normal(0, 0.08, _HAIRS)
    way = unit(np.stack([fan, np.full(_HAIRS, -0.9), random.uniform(0.35, 0.6, _HAIRS)], axis=1))
    aside = np.tile([_HALF_WIDTH, 0.0, 0.0], (_HAIRS, 1))
    root = root + np.array([0.0, -0.0003, 0.0])
    points = np.stack([root - aside, root + aside, root + length[:, None] * way], axis=1).reshape(-1, 3)
    return points, np.arange(len(points)).reshape(-1, 3)


def _facing_front(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces, each turned so that its front looks along -y."""
    a, b, c = points[faces].transpose(1, 0, 2)
    away = np.cross(b - a, c - a)[:, 1] > 0
    return np.where(away[:, None], faces[:, ::-1], faces)
