"""Light on surfaces, in linear RGB: sun, sky, ground, and what skin, cloth, hair, eyes and shoes make of them.

All functions work on S samples at once. ``ShotLook`` gives radiances on a white surface, so a diffuse surface answers with
albedo times light and no factor of pi appears but in the glossy terms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.types import ShotLook
from models.body.character import Character, Material
from models.body.figure import unit

#: Up in camera axes: the camera is taken to be level.
UP = np.array([0.0, -1.0, 0.0], np.float32)

#: How far red, green and blue light wrap round the terminator of skin, at full ``subsurface``.
SKIN_WRAP = np.array([0.55, 0.22, 0.14], np.float32)
#: Colour that light takes on inside skin, beyond the albedo, at full ``subsurface``.
SKIN_GLOW = np.array([0.05, 0.0, -0.03], np.float32)
#: Light that has passed through other parts of the figure: share of the ambient light that reaches closed places.
BOUNCE = 0.45
#: Hair scatters light among its strands: how far it wraps round the terminator, and how much the relief still tilts it.
HAIR_WRAP, HAIR_RELIEF = 0.45, 0.55
#: Cosine below the terminator up to which the renderer tests whether the light is blocked.
TERMINATOR = 0.15
#: How much the softness of a light widens its highlight; less on an eye, where even a window is a small bright spot.
BROADENING, EYE_BROADENING = 0.35, 0.12
#: The cornea is rounder than the mesh of an eye, so that it mirrors more of what is around; and a spot so small and bright
#: glares in the camera: factors on the lean of the normal against the view and on the highlight.
CORNEA, GLINT = 2.2, 5.0
#: Narrowest highlight of an eye (GGX alpha): a smaller one would fall between the pixels.
NARROWEST_GLINT = 0.13
#: ``specular`` of a surface at which hair has the highlights below in full.
HAIR_SPECULAR = 0.05
#: Share of the mirror at grazing angles that skin loses to its down and pores, at full ``subsurface``.
DOWN = 1.1
#: Widths of the two highlights of hair and how far they are shifted along the strand (Kajiya-Kay with Marschner's shifts).
HAIR_EXPONENTS, HAIR_SHIFTS, HAIR_STRENGTHS = (60.0, 14.0), (-0.10, 0.14), (0.045, 0.30)


@dataclass(frozen=True)
class Samples:
    """Points on the figure's surface, ready to be lit. All float32, vectors in camera axes."""

    normal: np.ndarray
    """(S, 3) unit, with fine relief."""
    smooth_normal: np.ndarray
    """(S, 3) unit, without it."""
    view: np.ndarray
    """(S, 3) unit, towards the camera."""
    strand: np.ndarray
    """(S, 3) direction of hair, 0 elsewhere."""
    albedo: np.ndarray
    """(S, 3) linear RGB."""
    surface: np.ndarray
    """(S,) int, index of the surface."""
    openness: np.ndarray
    """(S, 3) how much is seen of the light as a broad source, the sky, the ground."""
    sunlit: np.ndarray
    """(S,) 0..1, how much of the light's disc is seen (of a sharp source)."""
    cavity: np.ndarray
    """(S,) -1 (in a crease) .. 1 (on a ridge)."""


@dataclass(frozen=True)
class SurfaceTable:
    """The surfaces of a character as arrays for lookup."""

    material: np.ndarray
    roughness: np.ndarray
    specular: np.ndarray
    sheen: np.ndarray
    subsurface: np.ndarray

    @classmethod
    def of(cls, character: Character) -> SurfaceTable:
        """The table of one character."""
        material = np.array([s.material for s in character.surfaces], np.int64)
        return cls(material, *(character.table(name) for name in ("roughness", "specular", "sheen", "subsurface")))


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(S,) scalar products of (S, 3) with (S, 3) or (3,)."""
    # Not the @ operator: BLAS wakes its threads for it, which costs more than the sum.
    return np.einsum("ij,j->i" if b.ndim == 1 else "ij,ij->i", a, b)


def wrapped(cosine: np.ndarray, wrap: np.ndarray) -> np.ndarray:
    """(S, 3) diffuse answer of a surface through which light spreads: softer terminator, energy kept.

    ``cosine`` (S,), ``wrap`` (S, 3) from 0 (Lambert) to 1.
    """
    return np.clip((cosine[:, None] + wrap) / (1.0 + wrap) ** 2, 0.0, None)


def shade(samples: Samples, table: SurfaceTable, look: ShotLook) -> np.ndarray:
    """Radiance towards the camera, before exposure and haze.

    Returns
    -------
    (S, 3) float32, linear RGB.
    """
    key, ambient = _irradiance(samples, table, look)
    surface = samples.surface
    glow = 1.0 + table.subsurface[surface][:, None] * SKIN_GLOW
    result = samples.albedo * glow * (key + ambient)
    facing = np.clip(dot(samples.normal, samples.view), 0.02, 1.0)
    sheen = table.sheen[surface] * (1.0 - facing) ** 3
    fuzz = 0.35 * samples.albedo + 0.12
    result += sheen[:, None] * fuzz * (key + ambient)
    is_hair = table.material[surface] == Material.HAIR
    result += np.where(is_hair, np.float32(0.0), np.float32(1.0))[:, None] * _glossy(samples, table, look, facing)
    hair = np.flatnonzero(is_hair)
    if len(hair):
        # The strands of tight curls point everywhere: such hair has a lower ``specular`` than combed hair.
        gloss = (table.specular[surface[hair]] / HAIR_SPECULAR)[:, None]
        result[hair] += gloss * _hair_highlights(samples, look, hair)
    return result


def _irradiance(samples: Samples, table: SurfaceTable, look: ShotLook) -> tuple[np.ndarray, np.ndarray]:
    """(S, 3) diffuse light from the directional source, and from all around."""
    light = look.light_direction
    cosine = dot(samples.normal, light)
    smooth_cosine = dot(samples.smooth_normal, light)
    wrap = table.subsurface[samples.surface][:, None] * SKIN_WRAP
    hair = np.flatnonzero(table.material[samples.surface] == Material.HAIR)
    if len(hair):
        wrap[hair] = HAIR_WRAP
        cosine[hair] = smooth_cosine[hair] + HAIR_RELIEF * (cosine[hair] - smooth_cosine[hair])
    # Farther round than the terminator no shadow is looked for, so the light that wraps there ends before.
    ends = np.clip(1.0 + smooth_cosine / TERMINATOR, 0.0, 1.0)
    sharp = wrapped(cosine, wrap) * (samples.sunlit * ends)[:, None]
    relief = (1.2 + cosine) / (1.2 + smooth_cosine)
    broad = samples.openness[:, 0] * np.clip(relief, 0.3, 2.0)
    broad = broad[:, None] * (1.0 + 0.25 * wrap * (1.0 - broad[:, None]))
    level = 1.0 + 0.20 * samples.cavity
    key = ((1.0 - look.softness) * sharp + look.softness * broad) * level[:, None] * look.light

    rise, smooth_rise = dot(samples.normal, UP), dot(samples.smooth_normal, UP)
    tilt = np.clip((1.3 + rise) / (1.3 + smooth_rise), 0.4, 1.8)
    sky = samples.openness[:, 1] * tilt
    ground = samples.openness[:, 2] * np.clip((1.3 - rise) / (1.3 - smooth_rise), 0.4, 1.8)
    closed = np.clip(1.0 - samples.openness[:, 1] - samples.openness[:, 2], 0.0, 1.0)
    crease = np.clip(1.0 + 0.38 * samples.cavity, 0.3, 1.3)
    inside = BOUNCE * 0.5 * (look.sky + look.ground)
    ambient = sky[:, None] * look.sky + ground[:, None] * look.ground
    ambient += closed[:, None] * inside * (0.2 + 1.3 * samples.albedo)
    return key.astype(np.float32), (ambient * crease[:, None]).astype(np.float32)


def _glossy(samples: Samples, table: SurfaceTable, look: ShotLook, facing: np.ndarray) -> np.ndarray:
    """(S, 3) mirror-like light: the source by GGX, the surroundings by a blurred mirror of sky and ground."""
    surface = samples.surface
    roughness = table.roughness[surface]
    light = look.light_direction
    cosine = np.clip(dot(samples.normal, light), 0.0, 1.0)
    half = unit(samples.view + light)
    n_h = np.clip(dot(samples.normal, half), 0.0, 1.0)
    eye = np.flatnonzero(table.material[surface] == Material.EYE)
    if len(eye):
        normal, view = samples.normal[eye], samples.view[eye]
        along = dot(normal, view)[:, None] * view
        n_h[eye] = np.clip(dot(unit(along + CORNEA * (normal - along)), half[eye]), 0.0, 1.0)
    v_h = np.clip(dot(samples.view, half), 0.0, 1.0)
    base = table.specular[surface]
    # A broad source gives a broad highlight: widen the lobe instead of sampling the source.
    broadening = np.where(table.material == Material.EYE, EYE_BROADENING, BROADENING).astype(np.float32)
    alpha = np.clip(roughness**2 + broadening[surface] * look.softness, 0.02, 1.0)
    alpha[eye] = np.maximum(alpha[eye], NARROWEST_GLINT)
    squared = alpha**2
    spread = squared / (np.pi * (n_h**2 * (squared - 1.0) + 1.0) ** 2)
    visibility = 0.5 / np.maximum(
        cosine * np.sqrt(facing**2 * (1 - squared) + squared) + facing * np.sqrt(cosine**2 * (1 - squared) + squared),
        0.05,
    )
    fresnel = base + (1.0 - base) * (1.0 - v_h) ** 5
    seen = (1.0 - look.softness) * samples.sunlit + look.softness * np.clip(samples.openness[:, 0], 0.0, 1.0)
    direct = np.pi * spread * visibility * fresnel * cosine * seen
    # What is mirrored has an edge: beyond it there is no glare on the pupil.
    lean = np.sqrt(np.clip(1.0 - n_h[eye] ** 2, 0.0, 1.0)) / alpha[eye]
    direct[eye] *= GLINT * np.clip(2.0 - lean, 0.0, 1.0)

    rise = 2.0 * facing * dot(samples.normal, UP) - dot(samples.view, UP)
    above = np.clip(0.5 + 0.5 * rise / (0.25 + roughness), 0.0, 1.0)
    edge = np.maximum(1.0 - roughness, base) - base
    edge *= np.clip(1.0 - DOWN * table.subsurface, 0.0, 1.0)[surface]
    # By the smooth normal: where relief leans away from the camera it is in its own shadow, no mirror that sparkles.
    grazing = np.clip(dot(samples.smooth_normal, samples.view), 0.02, 1.0)
    mirror = base + edge * (1.0 - grazing) ** 5
    mirror *= np.clip(samples.openness[:, 1] + samples.openness[:, 2], 0.0, 1.0) ** 1.5
    around = above[:, None] * look.sky + (1.0 - above[:, None]) * look.ground
    return (direct[:, None] * look.light + mirror[:, None] * around).astype(np.float32)


def _hair_highlights(samples: Samples, look: ShotLook, at: np.ndarray) -> np.ndarray:
    """(len(at), 3) the two highlights of hair: a white one from the surface and a coloured one from inside the strand."""
    normal, view, strand = samples.normal[at], samples.view[at], samples.strand[at]
    half = unit(view + look.light_direction)
    towards = np.clip(0.25 + dot(normal, look.light_direction), 0.0, 1.0)
    seen = (1.0 - look.softness) * samples.sunlit[at] + look.softness * np.clip(samples.openness[at, 0], 0.0, 1.0)
    lit = (towards * seen)[:, None] * look.light + 0.35 * samples.openness[at, 1:2] * look.sky
    result = np.zeros((len(at), 3), np.float32)
    tints = (np.ones((len(at), 3), np.float32), np.sqrt(samples.albedo[at]))
    for exponent, shift, strength, tint in zip(HAIR_EXPONENTS, HAIR_SHIFTS, HAIR_STRENGTHS, tints, strict=True):
        tangent = unit(strand + shift * normal)
        sine = np.sqrt(np.clip(1.0 - dot(tangent, half) ** 2, 0.0, 1.0))
        lobe = sine ** (exponent * (1.0 - 0.6 * look.softness))
        result += (strength * lobe * np.clip(1.0 + samples.cavity[at], 0.2, 2.0))[:, None] * tint * lit
    return result


def expose(radiance: np.ndarray, look: ShotLook) -> np.ndarray:
    """Radiance as the shot's camera records it: exposed, seen through the shot's haze, highlights rolled off.

    Parameters
    ----------
    radiance:
        (..., 3) float32, linear RGB.

    Returns
    -------
    (..., 3) float32, linear RGB of the footage, below 1.
    """
    bright = radiance * np.float32(look.exposure)
    knee = np.float32(0.7)
    over = np.maximum(bright - knee, np.float32(0.0))
    np.minimum(bright, knee, out=bright)
    bright += (1 - knee) * over / (over + (1 - knee))
    bright *= 1.0 - look.haze
    bright += look.haze
    return bright
