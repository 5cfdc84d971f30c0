"""Feet stand in grass, not on it: blades of the footage's own grass stay in front of the lowest centimetres of the shoe.

Whether the ground is grass is decided on the plate around each foot. Grass has contrast in every small place, and it stands
upright: its texture is as fine from left to right as from top to bottom. A hard floor is smooth, or its texture is
foreshortened and lies flat, as lines, boards and gravel do.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.body.embree import RayScene, camera_rays, project, window_of
from models.body.renderer import View

#: Contrast (standard deviation over mean, lower quartile of places of 5 cm) of hard ground at most, and of grass at least.
HARD_CONTRAST, GRASS_CONTRAST = 0.045, 0.065
#: Gradient to the side over gradient upwards, medians: of flat texture at most, and of upright texture at least.
FLAT_TEXTURE, UPRIGHT_TEXTURE = 0.65, 0.82
#: Place whose texture is judged, metres: to each side of the foot, above and below it in the picture.
ASIDE, ABOVE, BELOW = 0.35, 0.05, 0.15
#: Size of the places that contrast is taken over, and height of the grass over the sole, metres.
PLACE, BLADES = 0.05, 0.05
#: Pixels to a metre below which blades cannot be told from one another.
LEAST_SCALE = 60.0
#: A sole this far above the ground, metres, still stands: the fit is not better.
STANDING = 0.03
#: How much the blades in front of the shoe are out of its contact shadow.
LIT_BLADES = 0.6


@dataclass(frozen=True)
class Foot:
    """A drawn foot."""

    vertices: np.ndarray
    """(M, 3) float32, metres, camera axes."""
    sole: np.ndarray
    """(3,) float32, the middle of what touches the ground."""
    ground: float
    """y of the ground below it, metres, camera axes."""


def grass_share(picture: np.ndarray, scale: float) -> float:
    """How much a piece of ground looks like grass, 0 (hard) to 1.

    Parameters
    ----------
    picture:
        (h, w, 3) uint8, ground alone.
    scale:
        Pixels to a metre.
    """
    if min(picture.shape[:2]) < 6 or scale < LEAST_SCALE:
        return 0.0
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, deviation = _local(grey, scale)
    contrast = float(np.percentile(deviation / (mean + 8.0), 25))
    aside = float(np.median(np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))))
    upwards = float(np.median(np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1))))
    upright = aside / max(upwards, 1e-3)
    return _step(contrast, HARD_CONTRAST, GRASS_CONTRAST) * _step(upright, FLAT_TEXTURE, UPRIGHT_TEXTURE)


def blades_in_front(scene: RayScene, view: View, plate: np.ndarray, feet: list[Foot]) -> np.ndarray | None:
    """Where grass stands in front of the feet.

    Parameters
    ----------
    scene:
        The posed figure.
    plate:
        (H, W, 3) uint8, the scene without the person in crop pixels.
    feet:
        The figure's feet.

    Returns
    -------
    (H, W) float32, 0..1: how much of each pixel is grass in front; ``None`` where the ground is hard, or no foot is on it.
    """
    cover: np.ndarray | None = None
    for foot in feet:
        scale = view.focal / max(float(foot.sole[2]), 0.1)
        share = grass_share(_patch(plate, view, foot.sole, scale), scale)
        if share <= 0.02:
            continue
        # A foot that is a little off the ground of the other one stands on ground of its own.
        lift = max(foot.ground - float(foot.sole[1]) - STANDING, 0.0)
        found = _cover(scene, view, plate, foot, float(foot.sole[1]) + lift, BLADES * share, scale)
        if found is not None:
            window, values = found
            cover = np.zeros(plate.shape[:2], np.float32) if cover is None else cover
            cover[window] = np.maximum(cover[window], values)
    return cover


def _step(value: float, low: float, high: float) -> float:
    part = float(np.clip((value - low) / (high - low), 0.0, 1.0))
    return part * part * (3.0 - 2.0 * part)


def _local(grey: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of places of five centimetres."""
    size = max(3, int(PLACE * scale) | 1)
    mean = cv2.blur(grey, (size, size))
    return mean, np.sqrt(np.maximum(cv2.blur(grey * grey, (size, size)) - mean * mean, 0.0))


def _patch(plate: np.ndarray, view: View, sole: np.ndarray, scale: float) -> np.ndarray:
    """The ground around a foot; empty outside of the crop."""
    x, y = project(view.intrinsics, view.H_crop_source, sole[None])[0]
    x0, x1 = max(int(x - ASIDE * scale), 0), max(int(x + ASIDE * scale), 0)
    y0, y1 = max(int(y - ABOVE * scale), 0), max(int(y + BELOW * scale), 0)
    return plate[y0:y1, x0:x1]


def _cover(
    scene: RayScene, view: View, plate: np.ndarray, foot: Foot, ground: float, blades: float, scale: float
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """A window of the crop and how much of its pixels is grass in front of one foot."""
    low = foot.vertices[foot.vertices[:, 1] > ground - 1.5 * blades]
    if len(low) == 0:
        return None
    x0, y0, x1, y1 = window_of(project(view.intrinsics, view.H_crop_source, low), view.size)
    if x1 - x0 < 3 or y1 - y0 < 2:
        return None
    window = np.s_[y0:y1, x0:x1]
    grid = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), axis=-1).reshape(-1, 2)
    rays = camera_rays(view.intrinsics, view.H_crop_source, grid.astype(np.float32))
    seen = scene.intersect(np.zeros_like(rays), rays)
    shape = (y1 - y0, x1 - x0)
    height = (ground - rays[:, 1] * seen.zbuf).reshape(shape)
    on_foot = seen.hit.reshape(shape) & (np.abs(seen.zbuf.reshape(shape) - foot.sole[2]) < 0.4)
    # Of the edge's pixels, which the ray through the middle misses, the nearest hit tells.
    near = cv2.blur(on_foot.astype(np.float32), (3, 3))
    filled = cv2.blur(np.where(on_foot, height, 0).astype(np.float32), (3, 3)) / np.maximum(near, 1e-3)
    height = np.where(on_foot, height, np.where(near > 0, filled, np.inf))
    share = np.clip(1.3 * (1.0 - height / blades), 0.0, 1.0).astype(np.float32)
    return window, _matte(plate, window, share, scale)


def _matte(plate: np.ndarray, window: tuple[slice, slice], share: np.ndarray, scale: float) -> np.ndarray:
    """Choose the brightest blades of the plate's own texture, as many as ``share`` (h, w) asks for."""
    rows, columns = window
    room = int(PLACE * scale) + 2
    top, left = max(rows.start - room, 0), max(columns.start - room, 0)
    grey = cv2.cvtColor(plate[top : rows.stop + room, left : columns.stop + room], cv2.COLOR_RGB2GRAY).astype(
        np.float32
    )
    mean, deviation = _local(grey, scale)
    # Blades stand upright: texture is carried on a little upwards and downwards.
    rank = cv2.blur((grey - mean) / np.maximum(deviation, 1.0), (1, 3))
    rank = rank[rows.start - top :, columns.start - left :][: share.shape[0], : share.shape[1]]
    threshold = 1.5 * (1.0 - 2.0 * share)
    return np.where(share > 0, 1.0 / (1.0 + np.exp(-4.0 * (rank - threshold))), 0.0).astype(np.float32) * np.clip(
        4.0 * share, 0.0, 1.0
    )
