"""The shadow of a figure on the ground: soft darkness under the feet, and the cast shadow of a sharp light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from core.types import ShotLook
from models.body.embree import RayScene, camera_rays, project, window_of
from models.body.occlusion import frames_around, hemisphere
from models.body.renderer import SUN_SLOPE, View
from models.body.shading import UP, dot

#: The grid has at most one point for each pixel, and about this many across a patch.
POINTS_ACROSS = 110
#: Deepest shadow: light that reaches the ground from everywhere else.
FLOOR = 0.15


@dataclass(frozen=True)
class Footing:
    """A level patch of ground under a foot, or under the whole figure."""

    point: np.ndarray
    """(3,) float32, metres, camera axes: the middle of the patch."""
    radius: float
    """How far the patch reaches, metres."""


def ground_shadow(scene: RayScene, view: View, look: ShotLook, footings: Sequence[Footing], rays: int) -> np.ndarray:
    """Factor on the light of the ground behind the figure.

    Parameters
    ----------
    scene:
        The posed figure.
    footings:
        Patches of ground; where they overlap in the picture, the darker one counts.
    rays:
        Rays from each point of the ground into the sky.

    Returns
    -------
    (H, W) float32, 0..1, 1 = no shadow.
    """
    width, height = view.size
    darkness = np.zeros((height, width), np.float32)
    for footing in footings:
        _darken(darkness, scene, view, look, footing, rays)
    return 1.0 - darkness * _border_ramp(width, height)


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
