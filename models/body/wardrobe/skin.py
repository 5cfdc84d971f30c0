"""Skin, eyes and brows, painted on the body's vertices."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.body.character import Material, Pattern, Surface
from models.body.wardrobe.anatomy import Anatomy, FaceFrame
from models.body.wardrobe.brows import brow_density, brow_hairs
from models.body.wardrobe.eyes import make_eyes
from models.body.wardrobe.lashes import make_lashes
from models.body.wardrobe.mesh import halve, neighbours, take_faces, vertex_normals
from models.body.wardrobe.noise import fractal, noise, smoothstep
from models.body.wardrobe.part import Part, separate
from models.body.wardrobe.spec import MannequinSkin, Skin, linear

SKIN = Surface(Material.SKIN, 0.5, specular=0.028, subsurface=0.6, pattern=Pattern.PORES, pattern_strength=0.14)
LIPS = Surface(Material.LIP, 0.36, specular=0.03, subsurface=0.6)
NAILS = Surface(Material.NAIL, 0.3, specular=0.04, subsurface=0.4)
PLASTIC = Surface(Material.MANNEQUIN, 0.45, specular=0.04)


def make_skin(body: Anatomy, skin: Skin | MannequinSkin) -> list[Part]:
    """The naked figure: one part for the skin, one for the eyeballs, then the hairs of brows and lids."""
    if isinstance(skin, MannequinSkin):
        return [_mannequin(body, skin)]
    part = _natural_skin(body, skin)
    eyes, face = make_eyes(body, skin), body.face_frame
    brows = brow_hairs(part.points, vertex_normals(part.points, part.faces), part.weights, face, skin)
    hairs = brows, make_lashes(part, eyes, face, skin)
    return [part, eyes, *(part for part in hairs if part is not None)]


def _mannequin(body: Anatomy, skin: MannequinSkin) -> Part:
    faces, pick = take_faces(body.faces, ~body.parts["inside"] & ~body.parts["socket"], len(body))
    points = pick @ body.points
    color = np.tile(linear(skin.color), (len(points), 1))
    return Part(
        points, faces, (pick @ body.weights).tocsr(), color, (PLASTIC,), np.zeros(len(points), int), source=pick
    )


def _visible(body: Anatomy) -> np.ndarray:
    """(F,) bool: skin that can be seen (the eyes are parts of their own)."""
    inside = body.parts["inside"] | body.parts["eye"]
    deep = body.parts["socket"].copy()
    depth = _socket_depth(body)
    deep &= (depth[body.faces] > 0.004).any(axis=1)
    return ~(inside | deep)


def _socket_depth(body: Anatomy) -> np.ndarray:
    """(N,) metres behind the front of the eyeballs."""
    front = body.face_frame.eyes[:, 1].mean() - body.face_frame.eye_radius
    return body.points[:, 1] - front - body.face_frame.eye_radius


def _natural_skin(body: Anatomy, skin: Skin) -> Part:
    face = body.face_frame
    fine = body.parts["head"] & _detailed(body.points[body.faces].mean(axis=1), face)
    faces, matrix, parent = halve(body.faces, body.points, fine & _visible(body), 0.0035)
    keep = _visible(body)[parent]
    source = matrix
    points = _rounded(source @ body.points, faces, np.unique(faces[fine[parent]]))
    faces, pick = take_faces(faces, keep, len(points))
    points, source = pick @ points, (pick @ source).tocsr()
    normals = vertex_normals(points, faces)
    albedo, brow = _paint(points, normals, source, body, skin)
    points = points + (brow * 0.0012)[:, None] * normals
    lips, nails = source @ body.painted("lips"), source @ body.painted("fingernails")
    kind = np.where(lips[faces].mean(axis=1) > 0.5, 1, np.where(nails[faces].mean(axis=1) > 0.5, 2, 0))
    faces, pick, label = separate(faces, kind, len(points))
    return Part(
        pick @ points, faces, (pick @ source @ body.weights).tocsr(), pick @ albedo, (SKIN, LIPS, NAILS), label.astype(int),
        source=(pick @ source).tocsr(),
    )  # fmt: skip


def _rounded(points: np.ndarray, faces: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Take the flatness out of halved faces: the points ``where`` move outwards onto a smoother surface."""
    mean = neighbours(faces, len(points))
    relaxed = points + 0.5 * (mean @ points - points)
    relaxed = relaxed - 0.53 * (mean @ relaxed - relaxed)
    result = points.copy()
    result[where] = relaxed[where]
    return result


def _detailed(points: np.ndarray, face: FaceFrame) -> np.ndarray:
    """(F,) bool: brows and lids, where the paint is finer than the mesh."""
    u = face.unit
    offset = np.abs(points[:, None] - face.eyes[None] - np.array([0, 0, 0.12 * u])[None])
    near = (
        (offset[..., 0] < 0.5 * u)
        & (offset[..., 2] < 0.36 * u)
        & (points[:, None, 1] < face.eyes[None, :, 1] + 0.1 * u)
    )
    return near.any(axis=1)


def _paint(
    points: np.ndarray, normals: np.ndarray, source: sparse.csr_matrix, body: Anatomy, skin: Skin
) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) linear albedo of the skin, and (V,) 0..1 where the brows are."""
    tone = linear(skin.tone)
    dark = 1 - float(tone.mean()) / 0.6
    albedo = np.tile(tone, (len(points), 1))
    albedo *= 1 + 0.07 * fractal(points, 0.05, 3, 3)[:, None] + 0.04 * noise(points, 0.008, 5)[:, None]
    # Blood and melanin lie in blotches: colour changes within a centimetre, not only brightness.
    blotch = fractal(points, 0.016, 2, 11)[:, None]
    albedo *= 1 + blotch * np.array([0.03, -0.055, -0.06]) * (0.4 + 0.9 * skin.redness)
    red = _flush(points, normals, body, source) * skin.redness
    blood = np.array([1.06, 0.72, 0.70]) if dark < 0.6 else np.array([1.0, 0.84, 0.80])
    albedo *= 1 + np.clip(red, 0, 1)[:, None] * (blood - 1)
    albedo = _paint_details(albedo, points, normals, source, body, skin)
    brow = brow_density(points, normals, body.face_frame, skin.brow_weight)
    # The skin between the hairs of a brow; seen from afar it makes the brow as dark as the hairs do.
    albedo = albedo + brow[:, None] * 0.72 * (linear(skin.brows) - albedo)
    return np.clip(albedo, 0.004, 0.95), brow


def _near(points: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    return np.exp(-(((points - center) ** 2).sum(axis=1)) / radius**2)


def _flush(points: np.ndarray, normals: np.ndarray, body: Anatomy, source: sparse.csr_matrix) -> np.ndarray:
    """(V,) how much blood shows: cheeks, nose, ears, chin, knuckles, knees, elbows."""
    face, u = body.face_frame, body.face_frame.unit
    front = smoothstep(-normals[:, 1], -0.3, 0.4)
    total = 0.7 * _near(points, face.nose + np.array([0, 0.1 * u, 0.02 * u]), 0.3 * u)
    for sign, eye, ear in zip((1, -1), face.eyes, face.ears, strict=True):
        cheek = np.array([eye[0] + sign * 0.18 * u, face.nose[1] + 0.55 * u, (eye[2] + face.mouth[2]) / 2 + 0.02 * u])
        total += 0.75 * _near(points, cheek, 0.46 * u) * front + 0.8 * _near(points, ear, 0.5 * u)
    total += 0.25 * _near(points, face.chin, 0.35 * u)
    for side in "LR":
        for finger in (1, 2, 3, 4, 5):
            for joint in (1, 2, 3):
                total += 0.4 * _near(points, body.joints[f"finger{finger}-{joint}.{side}"], 0.014)
        total += 0.35 * _near(points, body.joints[f"lowerarm01.{side}"], 0.05)
        total += 0.35 * _near(points, body.joints[f"lowerleg01.{side}"] - [0, 0.03, 0], 0.07)
    palm = smoothstep(source @ body.bone_weight("wrist", "finger", "metacarpal"), 0.3, 0.9)
    return total + 0.18 * palm


def _paint_details(
    albedo: np.ndarray, points: np.ndarray, normals: np.ndarray, source: sparse.csr_matrix, body: Anatomy, skin: Skin
) -> np.ndarray:
    """Lips, lids, lashes, nostrils, nails, freckles and stubble."""
    face, u = body.face_frame, body.face_frame.unit
    tone = linear(skin.tone)
    lips = smoothstep(source @ body.painted("lips"), 0.25, 0.7)
    color = linear(skin.lips) if skin.lips else tone * [0.74, 0.46, 0.52]
    crease = np.exp(-(((points[:, 2] - face.mouth[2]) / (0.028 * u)) ** 2))
    albedo += (lips * (0.7 if skin.lips else 0.6))[:, None] * (color * (1 - 0.35 * crease[:, None]) - albedo)
    inner = smoothstep(-(normals @ np.array([0, -1.0, 0])), -0.25, 0.25) * lips
    albedo *= 1 - 0.6 * inner[:, None]
    for eye in face.eyes:
        albedo = _paint_eye_region(albedo, points, normals, eye, face, skin)
    for sign in (1, -1):
        # The hole itself is nearly black; the rim towards the camera only a little darker than the nose.
        offset = (points - face.nose) / u - np.array([sign * 0.150, 0.185, -0.065])
        hole = np.exp(-((offset / [0.050, 0.070, 0.055]) ** 2).sum(axis=1))
        albedo *= 1 - np.clip(1.15 * hole, 0, 0.93)[:, None] * np.array([0.9, 1.0, 1.0])
    nails = smoothstep(source @ body.painted("fingernails"), 0.3, 0.7)
    albedo += (0.6 * nails)[:, None] * (tone * [1.08, 0.92, 0.9] - albedo)
    if skin.freckles > 0:
        spots = smoothstep(noise(points, 0.0055, 61), 0.45, 0.75) * smoothstep(noise(points, 0.02, 62), -0.3, 0.4)
        where = _near(points, face.nose + np.array([0, 0.3 * u, 0.1 * u]), 0.8 * u)
        albedo *= 1 - (0.45 * skin.freckles * spots * where)[:, None] * np.array([0.5, 0.8, 1.0])
    if skin.stubble > 0:
        albedo += (0.8 * skin.stubble * beard_area(points, face) * (1 - lips))[:, None] * (
            0.35 * tone * [0.8, 0.85, 0.95] - albedo
        )
    return albedo


def beard_area(points: np.ndarray, face: FaceFrame) -> np.ndarray:
    """(V,) 0..1: jaw, chin, upper lip and the sideburns' foot, where a beard grows."""
    u = face.unit
    ears = face.ears.mean(axis=0)
    back = smoothstep(points[:, 1], ears[1] + 0.05 * u, ears[1] - 0.3 * u)
    side = np.clip(np.abs(points[:, 0]) / (1.05 * u), 0, 1)
    line = face.mouth[2] + u * (
        0.28 + 0.45 * smoothstep(side, 0.55, 1.0) - 0.22 * np.exp(-(((side - 0.45) / 0.2) ** 2))
    )
    ragged = 0.05 * u * noise(points, 0.008, 71)
    below = smoothstep(line + ragged - points[:, 2], -0.14 * u, 0.2 * u)
    neck = smoothstep(points[:, 2], face.chin[2] - 0.75 * u, face.chin[2] - 0.2 * u)
    fuzz = 0.75 + 0.25 * noise(points, 0.004, 72)
    return back * below * neck * fuzz


def _paint_eye_region(
    albedo: np.ndarray, points: np.ndarray, normals: np.ndarray, eye: np.ndarray, face: FaceFrame, skin: Skin
) -> np.ndarray:
    """Shade of the socket, line of the lids with lashes."""
    offset = points - eye
    distance = np.linalg.norm(offset, axis=1)
    socket = np.exp(-(((distance - face.eye_radius) / (0.42 * face.eye_radius)) ** 2))
    socket *= smoothstep(-offset[:, 1], -0.4 * face.eye_radius, 0.4 * face.eye_radius)
    albedo = albedo * (1 - 0.16 * socket[:, None] * np.array([0.7, 1.0, 0.95]))
    # The front edge of a lid lies a tenth of the radius off the eyeball: that is where lashes grow.
    rim = np.exp(-(((distance - face.eye_radius * 1.08) / (0.065 * face.eye_radius)) ** 2))
    upper = smoothstep(offset[:, 2], -0.25 * face.eye_radius, 0.2 * face.eye_radius)
    line = rim * (0.16 + 0.84 * upper) * (0.45 + 0.55 * skin.lashes) * (-offset[:, 1] > 0)
    return albedo + np.clip(1.1 * line, 0, 0.95)[:, None] * (np.array([0.02, 0.014, 0.012]) - albedo)
