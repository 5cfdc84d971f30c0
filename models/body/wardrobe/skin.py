"""Skin, eyes and brows, painted on the body's vertices."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.body.character import Material, Pattern, Surface
from models.body.wardrobe.anatomy import Anatomy, FaceFrame
from models.body.wardrobe.mesh import halve, neighbours, take_faces, unit, vertex_normals
from models.body.wardrobe.noise import fractal, noise, smoothstep
from models.body.wardrobe.part import Part, separate
from models.body.wardrobe.spec import MannequinSkin, Skin, linear

SKIN = Surface(Material.SKIN, 0.5, specular=0.028, subsurface=0.6, pattern=Pattern.PORES, pattern_strength=0.3)
LIPS = Surface(Material.LIP, 0.36, specular=0.03, subsurface=0.6)
NAILS = Surface(Material.NAIL, 0.3, specular=0.04, subsurface=0.4)
EYEBALL = Surface(Material.EYE, 0.08, specular=0.04)
PLASTIC = Surface(Material.MANNEQUIN, 0.45, specular=0.04)

#: Iris radius as a share of the eyeball's.
_IRIS = 0.5


def make_skin(body: Anatomy, skin: Skin | MannequinSkin) -> list[Part]:
    """The naked figure: one part for the skin, one for the eyeballs."""
    if isinstance(skin, MannequinSkin):
        return [_mannequin(body, skin)]
    return [_natural_skin(body, skin), _eyes(body, skin)]


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
    red = _flush(points, normals, body, source) * skin.redness
    blood = np.array([1.06, 0.72, 0.70]) if dark < 0.6 else np.array([1.0, 0.84, 0.80])
    albedo *= 1 + np.clip(red, 0, 1)[:, None] * (blood - 1)
    albedo = _paint_details(albedo, points, normals, source, body, skin)
    brow = _brows(points, normals, body.face_frame, skin)
    albedo = albedo + brow[:, None] * 0.95 * (linear(skin.brows) - albedo)
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
        nostril = face.nose + np.array([sign * 0.115 * u, 0.2 * u, -0.14 * u])
        under = smoothstep(-normals[:, 2], 0.2, 0.8)
        albedo *= 1 - (0.75 * _near(points, nostril, 0.1 * u) * under)[:, None]
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
    rim = np.exp(-(((distance - face.eye_radius * 1.0) / (0.075 * face.eye_radius)) ** 2))
    upper = smoothstep(offset[:, 2], -0.25 * face.eye_radius, 0.2 * face.eye_radius)
    line = rim * (0.35 + 0.65 * upper) * (0.45 + 0.55 * skin.lashes) * (-offset[:, 1] > 0)
    return albedo + np.clip(1.1 * line, 0, 0.95)[:, None] * (np.array([0.02, 0.014, 0.012]) - albedo)


def _brows(points: np.ndarray, normals: np.ndarray, face: FaceFrame, skin: Skin) -> np.ndarray:
    """(V,) 0..1 density of the eyebrows."""
    u = face.unit
    total = np.zeros(len(points))
    for sign, eye in zip((1, -1), face.eyes, strict=True):
        x = (points[:, 0] - eye[0]) * sign / u
        z = (points[:, 2] - eye[2]) / u
        arch = (
            0.305
            + 0.05 * np.exp(-(((x - 0.14) / 0.2) ** 2))
            - 0.10 * smoothstep(x, 0.15, 0.45)
            - 0.02 * smoothstep(-x, 0.1, 0.3)
        )
        width = (0.030 + 0.035 * skin.brow_weight) * (1 - 0.55 * smoothstep(x, 0.0, 0.4))
        across = np.exp(-(np.abs((z - arch) / width) ** 3))
        ends = smoothstep(x, -0.34, -0.24) * smoothstep(x, 0.43, 0.30)
        hairs = 0.8 + 0.2 * noise(points * [1, 1, 0.5], 0.0035, 81)
        total = np.maximum(total, across * ends * hairs * (normals[:, 1] < 0.1))
    return np.clip(total * (0.95 + 0.6 * skin.brow_weight), 0, 1)


def _eyes(body: Anatomy, skin: Skin) -> Part:
    """Eyeballs with sclera, iris and pupil."""
    middle = body.points[body.faces].mean(axis=1)
    front = middle[:, 1] < body.face_frame.eyes[:, 1].mean() - 0.25 * body.face_frame.eye_radius
    faces, source = take_faces(body.faces, body.parts["eye"] & front, len(body))
    for _ in range(2):
        faces, matrix, _ = halve(faces, source @ body.points, np.ones(len(faces), bool), 0.0)
        source = (matrix @ source).tocsr()
    points = source @ body.points
    albedo = np.zeros_like(points)
    face = body.face_frame
    for sign, eye in zip((1, -1), face.eyes, strict=True):
        mine = points[:, 0] * sign > 0
        offset = points[mine] - eye
        radius = np.linalg.norm(offset, axis=1)
        toward = unit(np.array([[0.0, -1.0, -0.03]]))[0]
        angle = np.arccos(np.clip(unit(offset) @ toward, -1, 1))
        albedo[mine] = _eye_color(points[mine], angle, offset, linear(skin.eyes))
        points[mine] = eye + unit(offset) * (np.median(radius) + 0.35 * (radius - np.median(radius)))[:, None]
    weights = (source @ body.weights).tocsr()
    return Part(points, faces, weights, albedo, (EYEBALL,), np.zeros(len(points), int))


def _eye_color(points: np.ndarray, angle: np.ndarray, offset: np.ndarray, iris: np.ndarray) -> np.ndarray:
    """(V, 3) linear colours by the angle from the axis of sight."""
    r = angle / np.arcsin(_IRIS)
    sclera = np.array([0.62, 0.58, 0.55]) * (1 - 0.25 * smoothstep(r, 1.4, 2.6)[:, None] * [0.6, 1, 1])
    spokes = 1 + 0.35 * np.sin(np.arctan2(offset[:, 2], offset[:, 0]) * 23)
    ring = (1.25 - 0.8 * smoothstep(r, 0.6, 1.0)) * (0.9 + 0.1 * spokes)
    color = np.where((r < 1.0)[:, None], iris * ring[:, None], sclera)
    limbus = np.exp(-(((r - 1.0) / 0.1) ** 2))
    color = color * (1 - 0.6 * limbus[:, None])
    shade = 1 - 0.45 * smoothstep(offset[:, 2], 0.15 * 0.012, 0.6 * 0.012)
    return np.where((r < 0.42)[:, None], 0.006, color) * shade[:, None]
