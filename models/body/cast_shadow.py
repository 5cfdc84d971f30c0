"""Where the sun of a shot stands, read off the shadow that the person casts on the ground.

A cast shadow is darkness that moves with the person, beside it, on the ground. The fitted body says which places a light
from each direction would not reach; the direction whose shadows fit the darkness of several frames best is the sun's.
Darkness that the hidden sky explains as well does not count. Where no direction fits, the shot has no sun that matters: an
overcast day, a hall, shade.

The ground is taken to be level, the camera to be held level, as everywhere in the avatar engine: what a tilt does to the
direction it does to the new shadow as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from models.body.embree import RayScene, camera_rays, project, window_of
from models.body.figure import unit
from models.body.occlusion import frames_around, hemisphere
from models.body.shading import UP
from utils.photometry import luminance

#: Elevations and azimuths that are tried, degrees; the shadow of steeper light lies where contact shadows are.
ELEVATIONS = (7.0, 10.0, 14.0, 19.0, 25.0, 32.0, 40.0, 49.0, 58.0, 66.0)
AZIMUTH_STEP = 12.0
#: Steps of the search around the best, degrees, and the lowest and highest light that is believed.
REFINEMENTS, LOWEST, HIGHEST = (6.0, 3.0, 1.5), 5.0, 72.0
#: Points of the ground that a frame is judged by: darker ones, and any others.
DARK_POINTS, OTHER_POINTS = 200, 200
#: Darkness that is a shadow for certain, and the most that counts: deeper is a thing, not a shadow.
CERTAIN, DEEPEST = 0.06, 0.6
#: How far from the feet points are taken, parts of the person's height: nearer is contact, farther is somebody else's.
NEAREST, FARTHEST = 0.04, 0.9
#: Rays into the sky that say what the hidden sky explains.
SKY_RAYS = 24
#: A sun is taken for found when its shadows correlate with the darkness at least so well, so far above the usual
#: direction, are seen in so many frames, and are so deep: on an overcast day a body hides too little of the sky for that.
LEAST_FIT, LEAST_LEAD, LEAST_FRAMES, LEAST_DEPTH = 0.16, 0.12, 3, 0.26
#: Dark points that make a frame count.
LEAST_POINTS = 12
#: Pixels of shadow from which on a frame tells how deep it is.
DEPTH_PIXELS = 60
#: How much of the channels' difference is taken: the hidden sky, whose shadow is drawn with it, has less.
TINT = 0.6
#: Radii of the light that are tried, as slopes; the hardest is taken that fits nearly as well as the best.
SLOPES, NEARLY = (0.02, 0.07, 0.15), 0.9


@dataclass(frozen=True)
class ShadowSample:
    """One frame to look for the shadow in; pictures (h, w) of the same box."""

    darkness: np.ndarray
    """(h, w, 3) float32: share of the ground's light that is missing, by channel."""
    valid: np.ndarray
    """(h, w) bool: ground that is seen and known."""
    vertices: np.ndarray
    """(V, 3) float32: the fitted body, metres, camera axes."""
    faces: np.ndarray
    """(F, 3) int32."""
    ground: float
    """y of the ground, metres, camera axes."""
    intrinsics: np.ndarray
    """(3, 3) K of the box: its pixels from camera axes."""
    height_px: float
    """Height of the person, pixels of the box."""


@dataclass(frozen=True)
class Sun:
    """A light that casts shadows."""

    direction: np.ndarray
    """(3,) float32 unit vector in camera axes, towards the light."""
    depth: float
    """Share of the ground's light that comes from it in full sun, 0..1."""
    tint: np.ndarray
    """(3,) float32 exponents of the loss of light by channel, mean 1: shadows on grass are bluer than the grass."""
    slope: float
    """Radius of the light as a slope: how far the edge of the shadow spreads for each metre from its caster."""
    fit: float
    """Correlation of the predicted and the seen shadow, 0..1."""


def ground_points(intrinsics: np.ndarray, pixels: np.ndarray, ground: float) -> np.ndarray:
    """(M, 3) float32 points of the level ground ``y = ground`` at (M, 2) pixels; NaN above the horizon."""
    rays = camera_rays(intrinsics, np.eye(3), pixels)
    below = rays[:, 1] > 0.01
    return np.where(below[:, None], rays * (ground / np.where(below, rays[:, 1], 1.0))[:, None], np.nan).astype(
        np.float32
    )


def shadow_points(vertices: np.ndarray, direction: np.ndarray, ground: float) -> np.ndarray:
    """(V, 3) where the shadows of points fall on the level ground ``y = ground``; points below it stay where they are."""
    rise = min(float(direction[1]), -0.02)
    along = np.maximum((vertices[:, 1] - ground) / rise, 0.0)
    return vertices - along[:, None].astype(np.float32) * direction.astype(np.float32)


def shadow_window(
    vertices: np.ndarray, direction: np.ndarray, ground: float, intrinsics: np.ndarray, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """xyxy box of whole pixels around the shadow in a picture of ``size``, or ``None`` where it is not in it.

    A shadow that runs towards the camera is cut where it passes under it.
    """
    points = shadow_points(vertices, direction, ground)
    # What lies behind the camera is brought in front of it, along the line from its caster.
    behind = points[:, 2] < 0.5
    if behind.any():
        start, end = vertices[behind], points[behind]
        share = np.clip((start[:, 2] - 0.5) / np.maximum(start[:, 2] - end[:, 2], 1e-3), 0, 1)
        points[behind] = start + share[:, None] * (end - start)
        points[behind, 1] = ground
    x0, y0, x1, y1 = window_of(project(intrinsics, np.eye(3), points), size)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def shadow_matte(scene: RayScene, points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(M,) float32: 1 where a scene hides the light of a direction from points (M, 3); 0 where a point is NaN."""
    known = np.isfinite(points[:, 0])
    matte = np.zeros(len(points), np.float32)
    starts = points[known] + np.float32(0.004) * UP
    matte[known] = scene.occluded(starts, np.broadcast_to(direction.astype(np.float32), starts.shape))
    return matte


def direction_of(azimuth: float, elevation: float) -> np.ndarray:
    """(3,) float32 unit vector in camera axes; azimuth in degrees from the right (x) towards the depth (z)."""
    a, e = np.radians(azimuth), np.radians(elevation)
    towards = np.array([np.cos(a) * np.cos(e), -np.sin(e), np.sin(a) * np.cos(e)])
    return unit(towards[None])[0].astype(np.float32)


def find_sun(samples: Sequence[ShadowSample]) -> Sun | None:
    """The light whose shadows fit the darkness beside the person best, or ``None`` where none fits.

    Parameters
    ----------
    samples:
        A dozen frames in which the person stands in different places.
    """
    evidence = [made for sample in samples if (made := _evidence(sample)) is not None]
    if len(evidence) < LEAST_FRAMES:
        return None
    grid = [(azimuth, rise) for azimuth in np.arange(0.0, 360.0, AZIMUTH_STEP) for rise in ELEVATIONS]
    fits = np.array([_fit(evidence, direction_of(*angles)) for angles in grid])
    best, top = grid[int(fits.argmax())], float(fits.max())
    for step in REFINEMENTS:
        near = [
            (best[0] + a * step, float(np.clip(best[1] + e * step * best[1] / 45, LOWEST, HIGHEST)))
            for a in (-1, 0, 1)
            for e in (-1, 0, 1)
        ]
        near_fits = [_fit(evidence, direction_of(*angles)) for angles in near]
        best, top = near[int(np.argmax(near_fits))], max(near_fits)
    direction = direction_of(*best)
    depth, frames = _depth(evidence, direction)
    clear = top >= LEAST_FIT and top - float(np.median(fits)) >= LEAST_LEAD
    if not clear or frames < LEAST_FRAMES or depth < LEAST_DEPTH:
        return None
    wide = np.array([_fit(evidence, direction, slope) for slope in SLOPES])
    slope = SLOPES[int(np.argmax(wide >= NEARLY * wide.max()))]
    return Sun(direction, depth, _tint(evidence, direction), slope, round(top, 3))


@dataclass(frozen=True)
class _Evidence:
    """Points of the ground in one frame."""

    scene: RayScene
    points: np.ndarray  # (M, 3)
    dark: np.ndarray  # (M,) luminance that is missing
    colour: np.ndarray  # (M, 3) by channel
    weight: np.ndarray  # (M,) pixels that a point stands for
    explained: np.ndarray  # (M, 2) a constant, and the share of the sky that is hidden
    inverse: np.ndarray  # (2, 2) of the normal equations of ``explained``

    def without_sky(self, values: np.ndarray) -> np.ndarray:
        """(M,) what of some values neither a constant nor the hidden sky explains."""
        factors = self.inverse @ ((self.explained * self.weight[:, None]).T @ values)
        return values - self.explained @ factors


def _evidence(sample: ShadowSample) -> _Evidence | None:
    dark = luminance(np.ascontiguousarray(sample.darkness))
    shape = dark.shape
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
    points = ground_points(sample.intrinsics, pixels, sample.ground)
    distance = _from_feet(sample, shape)
    usable = sample.valid.ravel() & np.isfinite(points[:, 0])
    usable &= (distance > NEAREST * sample.height_px) & (distance < FARTHEST * sample.height_px)
    if np.count_nonzero(usable) < 4 * LEAST_POINTS:
        return None
    # What is missing everywhere is the exposure's.
    values = np.clip(dark.ravel() - np.median(dark.ravel()[usable]), -0.2, DEEPEST)
    random = np.random.default_rng(0)
    chosen, weight = [], []
    for group, count in ((values > CERTAIN, DARK_POINTS), (values <= CERTAIN, OTHER_POINTS)):
        member = np.flatnonzero(usable & group)
        taken = random.choice(member, min(len(member), count), replace=False)
        chosen.append(taken)
        weight.append(np.full(len(taken), len(member) / max(len(taken), 1), np.float32))
    at, weights = np.concatenate(chosen), np.concatenate(weight)
    scene = RayScene(np.ascontiguousarray(sample.vertices), sample.faces)
    explained = np.stack([np.ones(len(at), np.float32), _hidden_sky(scene, points[at])], axis=1)
    inverse = np.linalg.pinv((explained * weights[:, None]).T @ explained)
    colour = sample.darkness.reshape(-1, 3)[at]
    return _Evidence(scene, points[at], values[at], colour, weights, explained, inverse)


def _from_feet(sample: ShadowSample, shape: tuple[int, ...]) -> np.ndarray:
    """(h * w,) distance of the pixels from the nearest sole, pixels."""
    low = sample.vertices[:, 1].max()
    soles = np.rint(project(sample.intrinsics, np.eye(3), sample.vertices[sample.vertices[:, 1] > low - 0.04])).astype(
        int
    )
    # The feet may be just outside of the box.
    margin = int(sample.height_px)
    free = np.ones((shape[0] + 2 * margin, shape[1] + 2 * margin), np.uint8)
    soles = soles + margin
    inside = (soles >= 0).all(axis=1) & (soles[:, 0] < free.shape[1]) & (soles[:, 1] < free.shape[0])
    free[soles[inside, 1], soles[inside, 0]] = 0
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 5)
    return distance[margin : margin + shape[0], margin : margin + shape[1]].ravel()


def _hidden_sky(scene: RayScene, points: np.ndarray) -> np.ndarray:
    """(M,) float32: share of the sky that the body hides from points of the ground."""
    up = np.broadcast_to(UP.astype(np.float32), points.shape)
    frames = frames_around(up, np.zeros(len(points), np.float32))
    starts = points + np.float32(0.004) * up
    hidden = np.zeros(len(points), np.float32)
    for ray in hemisphere(SKY_RAYS):
        hidden += scene.occluded(starts, np.einsum("mij,j->mi", frames, ray))
    return hidden / SKY_RAYS


def _fit(evidence: Sequence[_Evidence], direction: np.ndarray, slope: float = 0.0) -> float:
    """Correlation of the predicted shadows with the darkness over all frames, the hidden sky taken out of both."""
    both, predicted, seen = 0.0, 0.0, 0.0
    for one in evidence:
        matte = one.without_sky(soft_matte(one.scene, one.points, direction, slope))
        dark = one.without_sky(one.dark)
        both += float((one.weight * matte * dark).sum())
        predicted += float((one.weight * matte * matte).sum())
        seen += float((one.weight * dark * dark).sum())
    return both / float(np.sqrt(predicted * seen)) if min(predicted, seen) > LEAST_POINTS * 1e-3 else 0.0


def soft_matte(scene: RayScene, points: np.ndarray, direction: np.ndarray, slope: float, rays: int = 7) -> np.ndarray:
    """(M,) float32, 0..1: share of a round light that a scene hides from points; of its middle alone for slope 0."""
    if slope == 0:
        return shadow_matte(scene, points, direction)
    frame = frames_around(direction[None].astype(np.float32), np.zeros(1, np.float32))[0]
    total = np.zeros(len(points), np.float32)
    for x, y in hemisphere(rays)[:, :2] * slope:
        total += shadow_matte(scene, points, direction + frame[:, 0] * x + frame[:, 1] * y)
    return total / rays


def _depth(evidence: Sequence[_Evidence], direction: np.ndarray) -> tuple[float, int]:
    """How deep the shadow is in full sun, and in how many frames it is seen.

    Trees and houses may keep the sun from most of the way, so the frames with the deepest shadows tell.
    """
    depths, frames = [], 0
    for one in evidence:
        inside = shadow_matte(one.scene, one.points, direction) > 0
        frames += bool(np.count_nonzero(inside & (one.dark > CERTAIN)) >= LEAST_POINTS)
        if one.weight[inside].sum() >= DEPTH_PIXELS:
            pixels = np.maximum(np.rint(one.weight[inside]), 1).astype(int)
            depths.append(float(np.median(np.repeat(one.dark[inside], pixels))))
    return (float(np.mean(sorted(depths)[-LEAST_FRAMES:])) if len(depths) >= LEAST_FRAMES else 0.0), frames


def _tint(evidence: Sequence[_Evidence], direction: np.ndarray) -> np.ndarray:
    """(3,) float32 how the channels differ in what they lose."""
    colours = [
        one.colour[(shadow_matte(one.scene, one.points, direction) > 0) & (one.dark > 2 * CERTAIN)] for one in evidence
    ]
    colour = np.concatenate(colours)
    if len(colour) < LEAST_POINTS:
        return np.ones(3, np.float32)
    lost = np.median(-np.log(np.clip(1.0 - colour, 0.1, 1.0)), axis=0)
    tint = np.clip(lost / max(float(lost.mean()), 1e-3), 0.6, 1.6)
    return (1.0 + TINT * (tint / tint.mean() - 1.0)).astype(np.float32)
