"""Eyeballs: the front of a sphere in rings round the axis of sight, so that iris and pupil are round at any size."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.body.character import Material, Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import take_faces, unit
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.spec import Skin, linear

EYEBALL = Surface(Material.EYE, 0.08, specular=0.04)

#: Iris radius as a share of the eyeball's.
_IRIS = 0.38
#: Radius of the cornea as a share of the eyeball's; a real one is rounder still, but lids hug the ball more closely than here.
_CORNEA = 0.72
#: Rings of the eyeball in iris radii (angle from the axis of sight), denser where the colour turns, and points in each.
_RINGS = (0.0, 0.15, 0.29, 0.345, 0.37, 0.40, 0.55, 0.70, 0.83, 0.91, 1.0, 1.05, 1.12, 1.3, 1.6, 2.0, 2.5, 3.0, 3.5)
_SPOKES = 32
#: Radius of the pupil and where the ring round the iris is darkest, in iris radii.
_PUPIL, _LIMBUS = 0.36, 0.98
#: The eyes look this far down, as a slope.
_DOWN = 0.03


def make_eyes(body: Anatomy, skin: Skin) -> Part:
    """Both eyeballs with sclera, iris and pupil, each on the bone of its eye."""
    face = body.face_frame
    middle = body.points[body.faces].mean(axis=1)
    front = middle[:, 1] < face.eyes[:, 1].mean() - 0.25 * face.eye_radius
    _, pick = take_faces(body.faces, body.parts["eye"] & front, len(body))
    own = pick @ body.points
    ring, spoke = np.meshgrid(np.array(_RINGS), np.arange(_SPOKES) * 2 * np.pi / _SPOKES, indexing="ij")
    ring, spoke = ring.ravel(), spoke.ravel()
    grid = _ring_faces(len(_RINGS), _SPOKES)
    points, faces, colors, bones = [], [], [], []
    for number, (side, eye) in enumerate(zip("LR", face.eyes, strict=True)):
        distance = np.linalg.norm(own[own[:, 0] * (1 if side == "L" else -1) > 0] - eye, axis=1)
        ball = float(np.median(distance))
        angle = ring * np.arcsin(_IRIS)
        radius = ball * _cornea(angle)
        forward = unit(np.array([[0.0, -1.0, -_DOWN]]))[0]
        right = np.array([1.0, 0.0, 0.0])
        up = np.cross(forward, right)
        aside = np.cos(spoke)[:, None] * right + np.sin(spoke)[:, None] * up
        offset = radius[:, None] * (np.cos(angle)[:, None] * forward + np.sin(angle)[:, None] * aside)
        points.append(eye + offset)
        faces.append(grid + number * len(ring))
        colors.append(_color(ring, spoke, offset, ball, linear(skin.eyes)))
        bones.append(np.full(len(ring), body.bone_names.index(f"eye.{side}")))
    column = np.concatenate(bones)
    count = len(column)
    weights = sparse.csr_matrix((np.ones(count), (np.arange(count), column)), shape=(count, len(body.bone_names)))
    return Part(
        np.concatenate(points), np.concatenate(faces), weights, np.concatenate(colors), (EYEBALL,),
        np.zeros(count, int),
    )  # fmt: skip


def _cornea(angle: np.ndarray) -> np.ndarray:
    """Distance from the eyeball's centre in its radii at ``angle`` from the axis of sight: the cornea, a rounder cap, stands
    out of the ball over the iris, which is what catches the light."""
    centre = np.sqrt(1 - _IRIS**2) - np.sqrt(_CORNEA**2 - _IRIS**2)
    cap = centre * np.cos(angle) + np.sqrt(_CORNEA**2 - (centre * np.sin(angle)) ** 2)
    return np.where(angle < np.arcsin(_IRIS), cap, 1.0)


def _ring_faces(rings: int, spokes: int) -> np.ndarray:
    """(F, 3) faces of rings round the axis of sight; the first ring is one point, so it has one face a spoke."""
    here = np.arange(spokes)
    after = (here + 1) % spokes
    faces = [np.stack([here, spokes + here, spokes + after], axis=1)]
    for ring in range(1, rings - 1):
        low, high = ring * spokes, (ring + 1) * spokes
        faces.append(np.stack([low + here, high + here, high + after], axis=1))
        faces.append(np.stack([low + here, high + after, low + after], axis=1))
    return np.concatenate(faces)


def _color(ring: np.ndarray, spoke: np.ndarray, offset: np.ndarray, ball: float, iris: np.ndarray) -> np.ndarray:
    """(V, 3) linear colours by the distance from the axis of sight in iris radii."""
    sclera = np.array([0.44, 0.40, 0.375]) * (1 - smoothstep(ring, 1.5, 3.0)[:, None] * [0.16, 0.34, 0.36])
    around = np.stack([np.cos(spoke), np.sin(spoke), np.zeros(len(spoke))], axis=1)
    fibres = 1 + 0.22 * noise(around, 0.16, 5) * smoothstep(ring, 0.3, 0.6)
    # Lighter round the pupil; the light that enters from above brightens the lower half.
    depth = 1.4 - 0.65 * smoothstep(ring, 0.45, 0.95)
    lower = 1 - 0.30 * np.sin(spoke) * smoothstep(ring, 0.2, 0.6)
    color = np.where((ring < 1.0)[:, None], iris * (fibres * depth * lower)[:, None], sclera)
    color *= 1 - 0.75 * np.exp(-(((ring - _LIMBUS) / 0.10) ** 2))[:, None]
    # The upper lid and its lashes keep light away.
    shade = 1 - 0.50 * smoothstep(offset[:, 2], -0.14 * ball, 0.24 * ball)
    return np.clip(np.where((ring < _PUPIL)[:, None], 0.006, color) * shade[:, None], 0, 1)
