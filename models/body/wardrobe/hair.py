"""Hair of all kinds, by the ``kind`` in the avatar's file."""

from __future__ import annotations

import numpy as np

from models.body.character import Material, Pattern, Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import neighbours, smooth, unit, vertex_normals
from models.body.wardrobe.noise import fractal, noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import Scalp, combed, find_scalp, hairline, tangent
from models.body.wardrobe.spec import AfroHair, Hair, ShortHair, linear

HAIR = Surface(Material.HAIR, 0.38, specular=0.05, pattern=Pattern.STRANDS, pattern_strength=0.6)


def cap(
    body: Anatomy, scalp: Scalp, hair: Hair, thickness: np.ndarray, flow: np.ndarray, relief: float
) -> Part:
    """Hair that lies on the head: the scalp lifted by ``thickness`` (V,), combed into clumps along ``flow`` (V, 3)."""
    clumps = combed(scalp.points, scalp.faces, flow, 3, 30, hair.seed)
    strands = combed(scalp.points, scalp.faces, flow, 0, 14, hair.seed + 1)
    wave = 1 + 0.5 * hair.curl * noise(scalp.points, 0.018, hair.seed + 2)
    lumps = relief * thickness * (0.13 * clumps + 0.07 * strands) + hair.curl * 0.30 * thickness * fractal(scalp.points, 0.014, 2, 9)
    points = scalp.points + (np.maximum(thickness * wave + lumps, 0.0008))[:, None] * scalp.normals
    strand = tangent(flow, vertex_normals(points, scalp.faces))
    albedo = strand_color(hair, np.clip(0.25 + 0.5 * thickness / max(thickness.max(), 1e-6), 0, 1), clumps, strands)
    softness = smoothstep(scalp.inside, 0.010, 0.0)
    weights = (scalp.source @ body.weights).tocsr()
    return Part(points, scalp.faces, weights, albedo, (HAIR,), np.zeros(len(points), int), strand=strand, softness=softness)


def strand_color(hair: Hair, along: np.ndarray, clumps: np.ndarray, strands: np.ndarray) -> np.ndarray:
    """(V, 3) linear colour: darker roots, lighter tips, every clump and strand a little different."""
    base = linear(hair.color)
    light = 0.65 + (0.35 + 0.9 * hair.tips) * along
    vary = 1 + 0.16 * np.clip(clumps, -2, 2) + 0.16 * np.clip(strands, -2, 2)
    return np.clip(base * (light * np.clip(vary, 0.4, 1.7))[:, None], 0.002, 0.9)


def short_hair(body: Anatomy, hair: ShortHair) -> list[Part]:
    """Short hair with a parting, longer on top than at the sides."""
    field = hairline(body, hair.recede, hair.seed)
    scalp = find_scalp(body, field)
    face = body.face_frame
    u = face.unit
    part_x = hair.parting * 0.55 * u
    away = scalp.points[:, 0] - part_x
    side = np.tanh(away / (0.08 * u))
    lateral = np.stack([side, np.zeros_like(side), np.zeros_like(side)], axis=1)
    down = np.stack([0.25 * np.sign(scalp.points[:, 0]), np.full(len(side), 0.55), np.full(len(side), -0.85)], axis=1)
    swept = 0.9 * lateral + np.array([0.0, 0.75 - 0.9 * (1 - hair.quiff) * 0.8, 0.0])
    flow = tangent(scalp.top[:, None] * swept + (1 - scalp.top)[:, None] * down + 1e-6, scalp.normals)
    flow = unit(smooth(flow, neighbours(scalp.faces, len(scalp.points)), 6))
    flow = tangent(flow, scalp.normals)
    grow = smoothstep(scalp.inside, -0.004, 0.022) ** 0.8
    length = hair.sides + (hair.length - hair.sides) * smoothstep(scalp.top, 0.05, 0.75)
    crest = 1 + hair.quiff * 0.8 * scalp.front * scalp.top
    groove = 1 - 0.35 * np.exp(-((away / (0.05 * u)) ** 2)) * scalp.top * scalp.front * (abs(hair.parting) < 0.95)
    thickness = 0.0015 + length * grow * crest * groove * 0.6
    thickness = smooth(thickness, neighbours(scalp.faces, len(scalp.points)), 4)
    return [cap(body, scalp, hair, thickness, flow, 1.0)]


def afro_hair(body: Anatomy, hair: AfroHair) -> list[Part]:
    """A round head of tight curls."""
    scalp = find_scalp(body, hairline(body, 0.1, hair.seed))
    grow = smoothstep(scalp.inside, -0.006, 0.030) ** 0.6
    curls = fractal(scalp.points, 0.011, 2, hair.seed) + 0.6 * noise(scalp.points, 0.028, hair.seed + 3)
    thickness = 0.002 + hair.length * grow * (0.9 + 0.20 * curls)
    points = scalp.points + thickness[:, None] * unit(0.5 * scalp.normals + 0.5 * unit(scalp.points - body.face_frame.skull))
    twist = np.stack([noise(points, 0.008, 41 + k) for k in range(3)], axis=1)
    strand = tangent(twist + 1e-6, vertex_normals(points, scalp.faces))
    albedo = strand_color(hair, 0.3 + 0.35 * curls, 0.8 * curls, noise(points, 0.004, 77))
    softness = smoothstep(scalp.inside, 0.03, 0.0) * 0.6 + 0.4
    weights = (scalp.source @ body.weights).tocsr()
    return [Part(points, scalp.faces, weights, albedo, (HAIR,), np.zeros(len(points), int), strand=strand, softness=softness)]


MAKERS = {ShortHair: short_hair, AfroHair: afro_hair}


def make_hair(body: Anatomy, hair: Hair) -> list[Part]:
    """The parts of any kind of hair."""
    return MAKERS[type(hair)](body, hair)
