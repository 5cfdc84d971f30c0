"""Hair that lies on the head: the scalp lifted, combed into clumps and coloured."""

from __future__ import annotations

import numpy as np

from models.body.character import Material, Pattern, Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import vertex_normals
from models.body.wardrobe.noise import fractal, noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import Scalp, combed, tangent
from models.body.wardrobe.spec import Hair, linear

HAIR = Surface(Material.HAIR, 0.38, specular=0.05, pattern=Pattern.STRANDS, pattern_strength=0.45)


def cap(body: Anatomy, scalp: Scalp, hair: Hair, thickness: np.ndarray, flow: np.ndarray, relief: float) -> Part:
    """Hair that lies on the head: the scalp lifted by ``thickness`` (V,), combed into clumps along ``flow`` (V, 3)."""
    clumps = combed(scalp.points, scalp.faces, flow, 3, 30, hair.seed)
    strands = combed(scalp.points, scalp.faces, flow, 0, 14, hair.seed + 1)
    wave = 1 + 0.5 * hair.curl * noise(scalp.points, 0.018, hair.seed + 2)
    body_of_hair = np.minimum(thickness, 0.018)
    lumps = relief * body_of_hair * (0.13 * clumps + 0.07 * strands) + hair.curl * 0.30 * body_of_hair * fractal(
        scalp.points, 0.014, 2, 9
    )
    lumps *= smoothstep(scalp.inside, 0.0, 0.015)
    points = scalp.points + (np.maximum(thickness * wave + lumps, 0.0008))[:, None] * scalp.normals
    strand = tangent(flow, vertex_normals(points, scalp.faces))
    albedo = strand_color(hair, np.clip(0.25 + 0.5 * thickness / max(thickness.max(), 1e-6), 0, 1), clumps, strands)
    softness = smoothstep(scalp.inside, 0.010, 0.0)
    weights = (scalp.source @ body.weights).tocsr()
    return Part(
        points, scalp.faces, weights, albedo, (HAIR,), np.zeros(len(points), int), strand=strand, softness=softness
    )


def strand_color(hair: Hair, along: np.ndarray, clumps: np.ndarray, strands: np.ndarray) -> np.ndarray:
    """(V, 3) linear colour: darker roots, lighter tips, every clump and strand a little different."""
    base = linear(hair.color)
    light = 0.65 + (0.35 + 0.9 * hair.tips) * along
    vary = 1 + 0.16 * np.clip(clumps, -2, 2) + 0.16 * np.clip(strands, -2, 2)
    return np.clip(base * (light * np.clip(vary, 0.4, 1.7))[:, None], 0.002, 0.9)
