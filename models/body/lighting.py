"""The light of a shot, read off the person who is in it.

The fitted body says which way each pixel of the person faces; how bright it is, against others of the same colour, says
where the light comes from. Brightness is tied to the scene by the skin and by the surroundings of the person. What cannot
be told from the pictures gets a plain, soft default, and a note says so.

The regression follows the idea of inverse lighting with a known shape (Marschner and Greenberg 1997), with the medians of
cells of normals instead of single pixels, which makes it indifferent to prints, shadows and landmarks that are off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from scipy.optimize import nnls

from core.types import BodyMesh, ShotLook
from models.body.cast_shadow import Sun
from models.body.color_groups import COLOR_GROUPS, color_groups
from models.body.embree import RayScene, project, rasterize, window_of
from models.body.figure import unit, vertex_normals
from models.body.shading import UP
from utils.photometry import linear_from_srgb, luminance

#: Landmarks that lie on bare skin: nose, cheeks (eyes and mouth), hands.
FACE_LANDMARKS, HAND_LANDMARKS = (0, 2, 5, 9, 10), (19, 20, 15, 16)
#: Albedo of skin (linear RGB) that the shot's person is taken to have: the middle of light and medium skin.
SKIN_ALBEDO = np.array([0.47, 0.29, 0.205], np.float32)
#: Mean albedo of surroundings, and how bright a white surface is in a well exposed picture.
SCENE_ALBEDO, USUAL_WHITE = 0.22, 0.75
#: Trust in skin, surroundings and habit, for the exposure.
EXPOSURE_WEIGHTS = (1.0, 0.6, 0.5)
#: Share of the light that a figure's own limbs and folds leave to it on average.
SELF_OCCLUSION = 0.85
#: Fewest pixels of a colour group, and of a cell of normals in it.
GROUP_PIXELS, CELL_PIXELS = 250, 12
#: Pixels of skin below which the skin says nothing.
SKIN_PIXELS = 40
#: How far the hue of the person's skin is taken for the hue of the light.
SKIN_CAST = 0.8
#: Light that is used where the person says nothing: high, a little to the left, from the camera's side.
DEFAULT_DIRECTION = np.array([-0.35, -0.80, -0.49], np.float32)


@dataclass(frozen=True)
class LookSample:
    """One frame to learn from."""

    rgb: np.ndarray
    """(H, W, 3) uint8, the source frame."""
    mask: np.ndarray
    """(H, W) bool, the person's pixels."""
    mesh: BodyMesh
    """The fitted body in this frame."""
    landmarks: np.ndarray
    """(33, 3) or (33, 4) float32: x, y in pixels first."""


@dataclass(frozen=True)
class LookEstimate:
    """A look, and what is to be said about it."""

    look: ShotLook
    """The look."""
    notes: tuple[str, ...] = ()
    """One sentence for each thing that could not be read off the footage."""


@dataclass
class _Evidence:
    """What the samples show, gathered frame by frame. Lists of arrays, one entry for each sample."""

    colors: list[np.ndarray] = field(default_factory=list)
    normals: list[np.ndarray] = field(default_factory=list)
    skin: list[np.ndarray] = field(default_factory=list)
    near: list[np.ndarray] = field(default_factory=list)
    above: list[np.ndarray] = field(default_factory=list)
    below: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class _Light:
    """Directions and shares of the light; shares are irradiances of a white surface in arbitrary units."""

    direction: np.ndarray
    key: float
    sky: float
    ground: float
    softness: float


def estimate_shot_look(
    samples: Iterable[LookSample],
    intrinsics: np.ndarray,
    *,
    grain: float = 0.0,
    blur: float = 0.0,
    sun: Sun | None = None,
) -> LookEstimate:
    """Estimate the light, the exposure and the haze of a shot.

    Parameters
    ----------
    samples:
        Six to twelve frames spread over the clip; more cost time and help little.
    intrinsics:
        (3, 3), K of the source camera, pixels.
    grain, blur:
        The camera's own marks, measured elsewhere (``utils.photometry``), passed through.
    sun:
        The light that casts the person's shadow, where one was seen. The light on the person is fitted all the same; where
        the person says too little, it comes from the sun.
    """
    evidence = _Evidence()
    for sample in samples:
        _collect(evidence, sample, np.asarray(intrinsics, np.float64))
    notes: list[str] = []
    light = _fit_light(evidence, notes, None if sun is None else sun.direction)
    haze = _haze(evidence)
    exposure = _exposure(evidence, haze, notes)
    tints = _tints(evidence, haze)
    scale = 1.0 / _visible_level(evidence, light)
    look = ShotLook(
        light_direction=light.direction.astype(np.float32),
        light=(scale * light.key * tints[0]).astype(np.float32),
        sky=(scale * light.sky * tints[1]).astype(np.float32),
        ground=(scale * light.ground * tints[2]).astype(np.float32),
        haze=haze,
        exposure=exposure,
        softness=light.softness,
        grain=float(grain),
        blur=float(blur),
    )
    if sun is not None:
        direction = sun.direction.astype(np.float32)
        look = replace(
            look, cast=float(sun.depth), cast_direction=direction, cast_slope=float(sun.slope), cast_tint=sun.tint
        )
    return LookEstimate(look, tuple(notes))


def _visible_level(evidence: _Evidence, light: _Light) -> float:
    """Irradiance that the exposure is measured on, in the light's own units.

    Half of the evidence is the person's lit skin, which says how bright what the camera sees is to be (else a person lit
    from behind is drawn too dark); half is the scene, which says how bright a surface half turned to the light is to be
    (else it is drawn too bright for the place).
    """
    towards_camera = np.array([[0.0, 0.0, -1.0], [0.6, 0.0, -0.8], [-0.6, 0.0, -0.8], [0.0, -0.6, -0.8]], np.float32)
    seen = [normals[::5] for normals in evidence.normals]
    normals = np.concatenate([towards_camera, *seen])
    response = _responses(normals, light.direction, light.softness) @ np.array([light.key, light.sky, light.ground])
    seen_level = SELF_OCCLUSION * float(np.percentile(response, 60))
    scene_level = 0.7 * light.key + 0.5 * light.sky + 0.5 * light.ground
    return float(np.sqrt(max(seen_level * scene_level, 1e-6)))


def _collect(evidence: _Evidence, sample: LookSample, intrinsics: np.ndarray) -> None:
    """Add what one frame shows."""
    height, width = sample.mask.shape
    linear = linear_from_srgb(np.ascontiguousarray(sample.rgb))
    _collect_person(evidence, sample, linear, intrinsics)
    rows, columns = np.flatnonzero(sample.mask.any(axis=1)), np.flatnonzero(sample.mask.any(axis=0))
    if len(rows) == 0:
        return
    tall = int(rows[-1] - rows[0] + 1)
    reach = max(8, tall // 5)
    ring = np.zeros((height, width), bool)
    ring[max(rows[0] - reach, 0) : rows[-1] + reach, max(columns[0] - reach, 0) : columns[-1] + reach] = True
    ring &= cv2.dilate(sample.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    evidence.near.append(linear[ring][::7])
    evidence.above.append(linear[: max(height // 4, 1)][::6, ::6].reshape(-1, 3))
    ground = ring.copy()
    ground[: rows[-1] - tall // 8] = False
    evidence.below.append(linear[ground][::3])
    size = max(3, round(0.018 * tall))
    for number in FACE_LANDMARKS + HAND_LANDMARKS:
        x, y = (round(float(v)) for v in np.nan_to_num(sample.landmarks[number, :2], nan=-1e6))
        box = np.s_[max(y - size, 0) : max(y + size + 1, 0), max(x - size, 0) : max(x + size + 1, 0)]
        patch = linear[box][sample.mask[box]]
        evidence.skin.append(patch[_looks_like_skin(patch)])


def _collect_person(evidence: _Evidence, sample: LookSample, linear: np.ndarray, intrinsics: np.ndarray) -> None:
    """Colours and normals of the pixels on which body and mask agree, at most about 12 000 a frame."""
    size = (sample.mask.shape[1], sample.mask.shape[0])
    window = window_of(project(intrinsics, np.eye(3), sample.mesh.vertices), size)
    area = max((window[2] - window[0]) * (window[3] - window[1]), 1)
    step = max(1.0, np.sqrt(area / 30000.0))
    shrink = np.diag([1 / step, 1 / step, 1.0])
    small = (max(int(size[0] / step), 1), max(int(size[1] / step), 1))
    near = window_of(project(intrinsics, shrink, sample.mesh.vertices), small)
    fragments = rasterize(RayScene(sample.mesh.vertices, sample.mesh.faces), intrinsics, shrink, small, near)
    eroded = cv2.erode(sample.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    y, x = np.nonzero(fragments.hit)
    rows, columns = (y * step).astype(int), (x * step).astype(int)
    keep = eroded[np.minimum(rows, size[1] - 1), np.minimum(columns, size[0] - 1)]
    y, x, rows, columns = y[keep], x[keep], rows[keep], columns[keep]
    corners = sample.mesh.faces[fragments.pix_to_face[y, x]]
    normals = vertex_normals(sample.mesh.vertices, sample.mesh.faces)
    smooth = np.einsum("sk,skc->sc", fragments.bary_coords[y, x], normals[corners])
    evidence.colors.append(linear[rows, columns])
    evidence.normals.append(unit(smooth))


def _looks_like_skin(colors: np.ndarray) -> np.ndarray:
    """(M,) bool: red above green above blue, not grey, not black, not burnt out: keeps hair and shadow out of skin."""
    red, green, blue = colors[:, 0], colors[:, 1], colors[:, 2]
    return (red > 1.12 * green) & (green > 0.95 * blue) & (red > 0.02) & (red < 0.97) & (red < 5.0 * blue + 0.02)


def _fit_light(evidence: _Evidence, notes: list[str], sun: np.ndarray | None = None) -> _Light:
    """Direction, strength and softness of the light, from how brightness goes with the normal within each colour.

    ``sun`` is the direction of the light that casts the person's shadow, (3,), where one was seen: light from there is
    usual then.
    """
    normals, ratios, weights, groups = _cells(evidence)
    usual = DEFAULT_DIRECTION if sun is None else sun
    if len(weights) < 24:
        notes.append("The person shows too little to read the light off: a soft light from above is used.")
        return _Light(unit(usual[None])[0], 0.55, 0.55, 0.25, 0.85)
    best_cost, best = _search(normals, ratios, weights)
    for _ in range(2):
        # A group that is only seen on the shadow side is not darker by nature: find its albedo under the light found.
        expected = _responses(normals, best[0], best[2]) @ best[1]
        for group in np.unique(groups):
            member = groups == group
            ratios[member] /= max(float(np.median(ratios[member] / np.maximum(expected[member], 0.05))), 0.05)
        best_cost, best = _search(normals, ratios, weights)
    direction, shares, softness = best
    flat = float((weights * np.minimum(np.abs(ratios - np.average(ratios, weights=weights)), 0.6)).sum())
    explained = 1.0 - best_cost / max(flat, 1e-9)
    if explained < 0.08:
        notes.append(
            "Brightness on the person hardly follows its shape: the light is taken as mostly soft, from "
            + ("above." if sun is None else "the sun.")
        )
        direction, softness = unit((0.5 * direction + unit(usual[None])[0])[None])[0], 0.9
    return _regularized(direction, shares, softness)


def _search(
    normals: np.ndarray, ratios: np.ndarray, weights: np.ndarray
) -> tuple[float, tuple[np.ndarray, np.ndarray, float]]:
    """The light that explains the cells best: its cost; direction, shares of key, sky and ground, softness."""
    best_cost, best = np.inf, (DEFAULT_DIRECTION, np.ones(3), 1.0)
    for direction in _candidates():
        for softness in (0.1, 0.4, 0.7, 1.0):
            features = _responses(normals, direction, softness)
            shares, _ = nnls(features * weights[:, None], ratios * weights)
            residual = np.abs(features @ shares - ratios)
            # Light from above is usual, and a soft one does less harm where it is wrong.
            prior = 1.0 + 0.05 * (1.0 + direction[1]) + 0.03 * (1.0 - softness)
            cost = float((weights * np.minimum(residual, 0.6)).sum()) * prior
            if cost < best_cost:
                best_cost, best = cost, (direction, shares, softness)
    return best_cost, best


def _regularized(direction: np.ndarray, shares: np.ndarray, softness: float) -> _Light:
    """Keep the parts of the light within what scenes have: some sky, some bounce, never one alone."""
    key, sky, ground = (float(v) for v in shares)
    total = max(key + sky + ground, 1e-6)
    key, sky, ground = key / total, sky / total, ground / total
    key = float(np.clip(key, 0.36, 0.75))
    sky = float(np.clip(sky, 0.28 * (1.0 - 0.5 * key), 0.48))
    ground = float(np.clip(ground, 0.10, 0.24))
    return _Light(direction, key, sky, ground, softness)


def _cells(evidence: _Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cells of pixels with the same colour group and nearly the same normal: mean normal, brightness relative to the
    group's median, weight, group."""
    empty = np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, int)
    if not evidence.colors:
        return empty
    colors, normals = np.concatenate(evidence.colors), np.concatenate(evidence.normals)
    if len(colors) < 4 * GROUP_PIXELS:
        return empty
    bright = luminance(np.ascontiguousarray(colors[None]))[0]
    groups = color_groups(colors, bright)
    found_normals, ratios, weights, owners = [], [], [], []
    for group in range(COLOR_GROUPS):
        member = np.flatnonzero(groups == group)
        level = float(np.median(bright[member])) if len(member) else 0.0
        # Very dark cloth has no shading above the noise and the haze.
        if len(member) < GROUP_PIXELS or level < 0.012:
            continue
        key = np.floor((normals[member] + 1.0) * 4.0).astype(int) @ np.array([1, 16, 256])
        for cell in np.unique(key):
            chosen = member[key == cell]
            if len(chosen) < CELL_PIXELS:
                continue
            found_normals.append(unit(normals[chosen].mean(axis=0, keepdims=True))[0])
            ratios.append(min(float(np.median(bright[chosen])) / level, 4.0))
            weights.append(np.sqrt(len(chosen)))
            owners.append(group)
    if not weights:
        return empty
    cells = np.array(found_normals, np.float32), np.array(ratios, np.float32), np.array(weights, np.float32)
    return (*cells, np.array(owners))


def _candidates() -> np.ndarray:
    """(D, 3) directions to try: an even spread over the sphere, without light from far below."""
    number = np.arange(160) + 0.5
    rise = 1.0 - 2.0 * number / len(number)
    angle = number * (np.pi * (3.0 - np.sqrt(5.0)))
    flat = np.sqrt(1.0 - rise**2)
    every = np.stack([flat * np.cos(angle), -rise, flat * np.sin(angle)], axis=1)
    return every[every[:, 1] < 0.15]


def _responses(normals: np.ndarray, direction: np.ndarray, softness: float) -> np.ndarray:
    """(M, 3) what directional light, sky and ground give to surfaces: the renderer's own response, without shadows."""
    cosine = normals @ direction
    sharp = np.clip(cosine, 0.0, None)
    # Fit of the renderer's broad source: 1 facing it, a quarter at right angles, nothing behind.
    broad = np.clip(0.25 + 0.5 * cosine + 0.25 * cosine**2, 0.0, None) * (cosine > -1.0)
    rise = normals @ UP
    return np.stack([(1 - softness) * sharp + softness * broad, 0.5 + 0.5 * rise, 0.5 - 0.5 * rise], axis=1)


def _exposure(evidence: _Evidence, haze: np.ndarray, notes: list[str]) -> float:
    """Brightness of a white surface in the light on the person, from skin, surroundings and habit."""
    guesses, weights = [USUAL_WHITE], [EXPOSURE_WEIGHTS[2]]
    skin = np.maximum(_stack(evidence.skin) - haze, 0.0)
    if len(skin) >= SKIN_PIXELS:
        # The brighter half of the skin is the lit one.
        level = float(np.percentile(luminance(np.ascontiguousarray(skin[None])), 60))
        guesses.append(level / float(luminance(SKIN_ALBEDO[None, None])[0, 0]))
        weights.append(EXPOSURE_WEIGHTS[0])
    else:
        notes.append("Too little bare skin is seen to measure the exposure on it: the surroundings alone set it.")
    near = _stack(evidence.near)
    if len(near):
        level = float(np.median(luminance(np.ascontiguousarray(near[None]))))
        guesses.append(max(level, 1e-3) / SCENE_ALBEDO)
        weights.append(EXPOSURE_WEIGHTS[1])
    mean = float(np.exp(np.average(np.log(np.clip(guesses, 0.05, 2.5)), weights=weights)))
    return float(np.clip(mean, 0.18, 1.35))


def _tints(evidence: _Evidence, haze: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours of light, sky and ground, each of luminance 1.

    Skin has about one hue whoever wears it, so its colour in the shot tells the cast of all light on the person (and the
    camera's white balance with it); the picture above and below tells how sky and ground differ.
    """
    ambient = []
    for part, strength in ((evidence.above, 0.08), (evidence.below, 0.28)):
        pixels = _stack(part)
        ambient.append(_tint(np.median(pixels, axis=0), strength) if len(pixels) else np.ones(3, np.float32))
    skin = np.maximum(_stack(evidence.skin) - haze, 0.0)
    cast = np.ones(3, np.float32)
    if len(skin) >= SKIN_PIXELS:
        ratio = np.median(skin, axis=0) / SKIN_ALBEDO
        cast = _tint(np.clip(ratio / ratio.mean(), 0.65, 1.6), SKIN_CAST)
    return cast, cast * ambient[0], cast * ambient[1]


def _tint(color: np.ndarray, strength: float) -> np.ndarray:
    """A colour's hue at luminance 1, at a share of its saturation (pictures hold objects, not only light)."""
    level = float(luminance(np.asarray(color, np.float32)[None, None])[0, 0])
    hue = np.clip(np.asarray(color, np.float32) / max(level, 1e-4), 0.4, 2.0)
    mixed = 1.0 + strength * (hue - 1.0)
    return (mixed / float(luminance(mixed[None, None].astype(np.float32))[0, 0])).astype(np.float32)


def _haze(evidence: _Evidence) -> np.ndarray:
    """(3,) black level: the darkest of what is on and around the person."""
    pixels = np.concatenate([_stack(evidence.colors), _stack(evidence.near)])
    if len(pixels) == 0:
        return np.full(3, 0.005, np.float32)
    dark = np.percentile(pixels, 1.0, axis=0)
    return np.clip(0.85 * dark, 0.0, 0.10).astype(np.float32)


def _stack(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.float32)
