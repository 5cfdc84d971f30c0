"""Hair that lies on the head: the scalp lifted, combed into clumps and coloured."""

from __future__ import annotations

import numpy as np

from models.body.character import Material, Pattern, Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import neighbours, smooth, vertex_normals
from models.body.wardrobe.noise import fractal, noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import Scalp, combed, tangent
from models.body.wardrobe.spec import Hair, linear

#: Tight curls: no strand lies along its neighbours for long, so no highlight runs over them.
CURLS = Surface(Material.HAIR, 0.6, specular=0.012, pattern=Pattern.STRANDS, pattern_strength=0.45)
#: Metres from the edge of hair inwards over which skin shows between its roots.
FRINGE = 0.018
HAIR = Surface(Material.HAIR, 0.38, specular=0.05, pattern=Pattern.STRANDS, pattern_strength=0.45)


def cap(body: Anatomy, scalp: Scalp, hair: Hair, thickness: np.ndarray, flow: np.ndarray, relief: float) -> Part:
    """Hair that lies on the head: the scalp lifted by ``thickness`` (V,), combed into clumps along ``flow`` (V, 3)."""
    clumps = combed(scalp.points, scalp.faces, flow, 3, 30, hair.seed)
    strands = combed(scalp.points, scalp.faces, flow, 0, 14, hair.seed + 1)
    # Where strands from two sides meet there is no common direction to comb along, only specks.
    together = np.linalg.norm(smooth(flow, neighbours(scalp.faces, len(flow)), 5), axis=1)
    clumps, strands = (smoothstep(together, 0.80, 0.97) * values for values in (clumps, strands))
    wave = 1 + 0.5 * hair.curl * noise(scalp.points, 0.018, hair.seed + 2)
    body_of_hair = np.minimum(thickness, 0.018)
    lumps = relief * body_of_hair * (0.10 * clumps + 0.035 * strands) + hair.curl * 0.30 * body_of_hair * fractal(
        scalp.points, 0.014, 2, 9
    )
    lumps *= smoothstep(scalp.inside, 0.0, 0.015)
    points = scalp.points + (np.maximum(thickness * wave + lumps, 0.0008))[:, None] * scalp.normals
    strand = tangent(flow, vertex_normals(points, scalp.faces))
    albedo = strand_color(hair, np.clip(0.25 + 0.5 * thickness / max(thickness.max(), 1e-6), 0, 1), clumps, strands)
    weights = (scalp.source @ body.weights).tocsr()
    return Part(
        points, scalp.faces, weights, albedo, (HAIR,), np.zeros(len(points), int), strand=strand,
        softness=fringe(scalp),
    )  # fmt: skip


def fringe(scalp: Scalp) -> np.ndarray:
    """(V,) 0..1 softness: hair thins out evenly towards its edge."""
    return np.clip(1.0 - scalp.inside / FRINGE, 0.0, 1.0)


def strand_color(hair: Hair, along: np.ndarray, clumps: np.ndarray, strands: np.ndarray) -> np.ndarray:
    """(V, 3) linear colour: darker roots, lighter tips, every clump and strand a little different."""
    base = linear(hair.color)
    light = 0.65 + (0.35 + 0.9 * hair.tips) * along
    vary = 1 + 0.11 * np.clip(clumps, -2, 2) + 0.09 * np.clip(strands, -2, 2)
    return np.clip(base * (light * np.clip(vary, 0.4, 1.7))[:, None], 0.002, 0.9)
