"""The shadow of a figure on the ground: soft darkness under the feet, and the cast shadow of a sharp light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from core.types import ShotLook
from models.body.cast_shadow import ground_points, shadow_window
from models.body.embree import RayScene, camera_rays, project, window_of
from models.body.occlusion import frames_around, hemisphere
from models.body.renderer import SUN_SLOPE, View
from models.body.shading import UP, dot

#: The grid has at most one point for each pixel, and about this many across a patch.
POINTS_ACROSS = 110
#: Points of the ground under a cast shadow, at most, rays from each towards the sun, and every how manieth vertex tells
#: where it lies.
CAST_POINTS, CAST_RAYS, SPARSE = 16000, 3, 7
#: Deepest shadow: light that reaches the ground from everywhere else.
FLOOR = 0.15


@dataclass(frozen=True)
class Footing:
    """A level patch of ground under a foot, or under the whole figure."""

    point: np.ndarray
    """(3,) float32, metres, camera axes: the middle of the patch."""
    radius: float
    """How far the patch reaches, metres."""


@dataclass(frozen=True)
class Sunlight:
    """Where the sun reaches the ground, and what stands in its way."""

    share: np.ndarray
    """(H, W) float32, 0..1: share of the ground's light that is the sun's. Trees and houses keep it from some places."""
    surface: np.ndarray
    """(V, 3) float32, the figure's vertices, metres, camera axes."""
    ground: float
    """y of the level that the shadow falls on, metres, camera axes."""


def ground_shadow(
    scene: RayScene,
    view: View,
    look: ShotLook,
    footings: Sequence[Footing],
    rays: int,
    sun: Sunlight | None = None,
) -> np.ndarray:
    """Factor on the light of the ground behind the figure.

    Parameters
    ----------
    scene:
        The posed figure.
    footings:
        Patches of ground; where they overlap in the picture, the darker one counts.
    rays:
        Rays from each point of the ground into the sky.
    sun:
        The sun on the ground, where the shot has one (``look.cast`` > 0).

    Returns
    -------
    (H, W) float32, 0..1, 1 = no shadow.
    """
    width, height = view.size
    darkness = np.zeros((height, width), np.float32)
    for footing in footings:
        _darken(darkness, scene, view, look, footing, rays)
    ramp = _border_ramp(width, height)
    if look.cast <= 0 or sun is None:
        return 1.0 - darkness * ramp
    hidden = sun.share * _cast(scene, view, look, sun) * ramp
    # The sun's share is gone or there; the sky's is hidden as under any sky.
    return (1.0 - hidden) - (1.0 - sun.share) * darkness * ramp


def _darken(darkness: np.ndarray, scene: RayScene, view: View, look: ShotLook, footing: Footing, rays: int) -> None:
    """Deepen ``darkness`` (H, W) by the shadow on one patch."""
    foot, reach = footing.point, footing.radius
    corners = foot + reach * np.array([[x, 0, z] for x in (-1, 1) for z in (-1, 1)], np.float32)
    if corners[:, 2].min() < 0.2 or foot[1] < 0.05:
        # Under the camera, or at its height: no ground is to be seen.
        return
    x0, y0, x1, y1 = window_of(project(view.intrinsics, view.H_crop_source, corners), view.size)
    # How wide the patch is in the picture, cut off or not, so that the grid does not jump when it is cut.
    step = int(np.clip(2 * reach * view.focal / foot[2] / POINTS_ACROSS, 1, 6))
    columns, rows = np.arange(x0, x1, step), np.arange(y0, y1, step)
    if len(columns) < 2 or len(rows) < 2:
        return
    grid = np.stack(np.meshgrid(columns + (step - 1) / 2, rows + (step - 1) / 2), axis=-1).reshape(-1, 2)
    directions = camera_rays(view.intrinsics, view.H_crop_source, grid)
    points = directions * (foot[1] / np.maximum(directions[:, 1], 1e-4))[:, None]
    distance = np.hypot(points[:, 0] - foot[0], points[:, 2] - foot[2])
    near = np.flatnonzero((distance < reach) & (directions[:, 1] > 1e-3))
    values = np.zeros(len(grid), np.float32)
    pattern = (near % len(columns)) % 4 + 4 * ((near // len(columns)) % 4)
    values[near] = _darkness(scene, points[near], pattern, look, rays)
    values *= np.clip(2.0 * (1.0 - distance / reach), 0.0, 1.0).astype(np.float32)
    small = cv2.blur(values.reshape(len(rows), len(columns)), (4, 4))
    box = cv2.resize(small, (len(columns) * step, len(rows) * step), interpolation=cv2.INTER_LINEAR)
    part = darkness[y0:y1, x0:x1]
    np.maximum(part, box[: y1 - y0, : x1 - x0], out=part)


def _cast(scene: RayScene, view: View, look: ShotLook, sun: Sunlight) -> np.ndarray:
    """(H, W) float32, 0..1: share of the sun that the figure hides from the level ground."""
    width, height = view.size
    matte = np.zeros((height, width), np.float32)
    crop_intrinsics = view.H_crop_source @ view.intrinsics
    ground = sun.ground
    assert look.cast_direction is not None
    direction = look.cast_direction.astype(np.float32)
    window = shadow_window(sun.surface[::SPARSE], direction, ground, crop_intrinsics, view.size)
    if window is None or ground < 0.05:
        return matte
    left, top, wide, high = cv2.boundingRect((sun.share > 0.01).astype(np.uint8))
    x0, y0 = max(window[0], left), max(window[1], top)
    x1, y1 = min(window[2], left + wide), min(window[3], top + high)
    if x1 <= x0 or y1 <= y0:
        return matte
    step = int(np.clip(np.ceil(np.sqrt((x1 - x0) * (y1 - y0) / CAST_POINTS)), 1, 4))
    columns, rows = np.arange(x0, x1, step), np.arange(y0, y1, step)
    grid = np.stack(np.meshgrid(columns + (step - 1) / 2, rows + (step - 1) / 2), axis=-1).reshape(-1, 2)
    points = ground_points(crop_intrinsics, grid.astype(np.float32), ground)
    seen = np.flatnonzero(np.isfinite(points[:, 0]))
    place = (seen % len(columns)) % 4 + 4 * ((seen // len(columns)) % 4)
    # Each point of a 4 x 4 pattern looks at its own places on the disc; the blur below puts them together.
    angle = (place * (2 * np.pi / 16)).astype(np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    frame = frames_around(direction[None], np.zeros(1, np.float32))[0]
    starts = points[seen] + np.float32(0.004) * UP
    values = np.zeros(len(grid), np.float32)
    for x, y in hemisphere(CAST_RAYS)[:, :2] * look.cast_slope:
        offset = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1).astype(np.float32)
        rays = direction + offset[:, :1] * frame[:, 0] + offset[:, 1:] * frame[:, 1]
        values[seen] += scene.occluded(starts, rays) / np.float32(CAST_RAYS)
    small = cv2.blur(values.reshape(len(rows), len(columns)), (4, 4))
    box = cv2.resize(small, (len(columns) * step, len(rows) * step), interpolation=cv2.INTER_LINEAR)
    matte[y0:y1, x0:x1] = box[: y1 - y0, : x1 - x0]
    return matte


def _darkness(scene: RayScene, points: np.ndarray, pattern: np.ndarray, look: ShotLook, rays: int) -> np.ndarray:
    """(M,) share of the light that is kept from points on the ground."""
    turn = (pattern * (2 * np.pi / 16)).astype(np.float32)
    up = np.broadcast_to(UP, points.shape)
    frames = frames_around(up, turn)
    light = look.light_direction
    starts = points + 0.004 * UP
    blocked = np.zeros((2, len(points)), np.float32)
    whole = np.zeros(2, np.float32)
    for direction in hemisphere(rays):
        rays_out = np.einsum("mij,j->mi", frames, direction)
        hit = scene.occluded(starts, rays_out)
        lobe = np.clip(dot(rays_out, light), 0.0, None) ** 2
        blocked += np.stack([hit.astype(np.float32), lobe * hit])
        whole += np.array([1.0, float(lobe.mean())], np.float32)
    sky = blocked[0] / whole[0]
    broad = blocked[1] / max(float(whole[1]), 1e-3)
    rise = max(float(light @ UP), 0.0)
    if look.cast > 0:
        # The sun's shadow is drawn by itself; what is left here is the sky's.
        return (1.0 - FLOOR) * sky
    sharp = np.zeros(len(points), np.float32)
    if look.softness < 0.9 and rise > 0.08:
        frame = frames_around(light[None].astype(np.float32), np.zeros(1, np.float32))[0]
        cos, sin = np.cos(turn), np.sin(turn)
        for x, y in hemisphere(4)[:, :2] * (SUN_SLOPE + 0.05):
            offset = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
            sharp += 0.25 * scene.occluded(starts, offset[:, :1] * frame[:, 0] + offset[:, 1:] * frame[:, 1] + light)
    luminance = np.array([0.2126, 0.7152, 0.0722], np.float32)
    from_key, from_sky = float(look.light @ luminance) * max(rise, 0.1), float(look.sky @ luminance)
    share = from_key / max(from_key + from_sky, 1e-6)
    key = (1.0 - look.softness) * sharp + look.softness * broad
    return (1.0 - FLOOR) * (share * key + (1.0 - share) * sky)


def _border_ramp(width: int, height: int, reach: int = 12) -> np.ndarray:
    """(H, W) float32: 1 inside, falling to 0 at the border of the crop, so that no shadow ends in a straight line."""
    x = np.clip(np.minimum(np.arange(width) + 1, width - np.arange(width)) / reach, 0, 1)
    y = np.clip(np.minimum(np.arange(height) + 1, height - np.arange(height)) / reach, 0, 1)
    return (y[:, None] * x[None]).astype(np.float32)
