"""Hair of all kinds, by the ``kind`` in the avatar's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import Figure
from models.body.wardrobe.hair_cap import CURLS, cap, fringe, strand_color
from models.body.wardrobe.long_hair import long_hair, tied_hair
from models.body.wardrobe.mesh import neighbours, smooth, unit, vertex_normals
from models.body.wardrobe.noise import fractal, noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import find_scalp, hairline, tangent
from models.body.wardrobe.spec import AfroHair, Hair, LongHair, ShortHair, TiedHair, linear
from models.body.wardrobe.strands import Growth, coils_on, locks_on


def short_hair(figure: Figure, hair: ShortHair) -> list[Part]:
    """Short hair with a parting, longer on top than at the sides."""
    body = figure.body
    field = hairline(body, hair.recede, hair.seed)
    scalp = find_scalp(body, field, 0.007)
    face = body.face_frame
    u = face.unit
    part_x = hair.parting * 0.55 * u
    away = scalp.points[:, 0] - part_x
    side = np.tanh(away / (0.08 * u))
    lateral = np.stack([side, np.zeros_like(side), np.zeros_like(side)], axis=1)
    down = np.stack(
        [0.25 * np.tanh(scalp.points[:, 0] / (0.5 * u)), np.full(len(side), 0.55), np.full(len(side), -0.85)], axis=1
    )
    swept = 0.9 * lateral + np.array([0.0, 0.75 - 0.9 * (1 - hair.quiff) * 0.8, 0.0])
    flow = tangent(scalp.top[:, None] * swept + (1 - scalp.top)[:, None] * down + 1e-6, scalp.normals)
    flow = unit(smooth(flow, neighbours(scalp.faces, len(scalp.points)), 16))
    flow = tangent(flow, scalp.normals)
    grow = smoothstep(scalp.inside, -0.004, 0.022) ** 0.8
    # Longest at the crown only: as long at the corners of the head it would make a box of it.
    length = hair.sides + (hair.length - hair.sides) * smoothstep(scalp.top, 0.25, 1.0) ** 1.7
    crest = 1 + (0.12 + hair.quiff * 0.8 * scalp.front) * scalp.top
    groove = 1 - 0.35 * np.exp(-((away / (0.05 * u)) ** 2)) * scalp.top * scalp.front * (abs(hair.parting) < 0.95)
    thickness = 0.0015 + length * grow * crest * groove * 0.6
    # Hair leaves the skin at a slant: a steep edge would be a wall that one looks under.
    thickness = np.minimum(thickness, 0.0012 + 0.6 * scalp.inside)
    thickness = smooth(thickness, neighbours(scalp.faces, len(scalp.points)), 4)
    lying = cap(body, scalp, hair, thickness, flow, 1.0)
    reach = 0.012 + 0.7 * hair.length
    locks = Growth(90, (0.6 * reach, reach), 0.0032, (0.0015, 0.0035 + 0.12 * hair.length))
    stray = Growth(30, (0.5 * reach, reach), 0.0007, (0.003, 0.004 + 0.2 * hair.length), 5, 0.6)
    return [
        lying,
        *locks_on(body, scalp, hair, lying, flow, locks, hair.seed + 61),
        *locks_on(body, scalp, hair, lying, flow, stray, hair.seed + 62),
    ]


def afro_hair(figure: Figure, hair: AfroHair) -> list[Part]:
    """A round head of tight curls."""
    body = figure.body
    scalp = find_scalp(body, hairline(body, 0.1, hair.seed), 0.0075)
    grow = smoothstep(scalp.inside, -0.006, 0.030) ** 0.6
    curls = fractal(scalp.points, 0.011, 2, hair.seed) + 0.6 * noise(scalp.points, 0.028, hair.seed + 3)
    thickness = 0.002 + hair.length * grow * (0.9 + 0.20 * curls)
    thickness = np.minimum(thickness, 0.0012 + 0.9 * scalp.inside)
    points = scalp.points + thickness[:, None] * unit(
        0.5 * scalp.normals + 0.5 * unit(scalp.points - body.face_frame.skull)
    )
    twist = np.stack([noise(points, 0.014, 41 + k) for k in range(3)], axis=1)
    strand = tangent(twist + 1e-6, vertex_normals(points, scalp.faces))
    # Light comes out between tight curls, hardly off them: the hollows are dark, the bumps dull.
    albedo = strand_color(hair, 0.3 + 0.35 * curls, 1.6 * curls, 1.5 * noise(points, 0.004, 77))
    weights = (scalp.source @ body.weights).tocsr()
    lying = Part(
        points, scalp.faces, weights, albedo, (CURLS,), np.zeros(len(points), int), strand=strand,
        softness=fringe(scalp),
    )  # fmt: skip
    coils = int(np.interp(hair.length, [0.005, 0.02], [90, 200]))
    return [lying, *coils_on(body, scalp, hair, lying, coils, 0.005 + 0.2 * hair.length, hair.seed + 63)]


#: The maker of each kind of hair.
MAKERS: dict[type, Callable[[Figure, Any], list[Part]]] = {
    ShortHair: short_hair,
    AfroHair: afro_hair,
    LongHair: long_hair,
    TiedHair: tied_hair,
}


def make_hair(figure: Figure, hair: Hair) -> list[Part]:
    """The parts of any kind of hair."""
    return MAKERS[type(hair)](figure, hair)


def scalp_field(body: Anatomy, hair: Hair) -> np.ndarray:
    """(N,) metres above the hairline of this hair on each body vertex; negative on bare skin."""
    return hairline(body, hair.recede if isinstance(hair, ShortHair) else 0.0, hair.seed)


def tint_roots(skin: Part, field: np.ndarray, hair: Hair) -> None:
    """Darken the skin under the hair (``field`` from :func:`scalp_field`), so that a hairline is no hard edge."""
    ragged = skin.of(field) + 0.0025 * noise(skin.points, 0.004, 91)
    share = 0.6 * smoothstep(ragged, -0.001, 0.018)
    skin.albedo = skin.albedo + share[:, None] * (0.8 * linear(hair.color) - skin.albedo)
