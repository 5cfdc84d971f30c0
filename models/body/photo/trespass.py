"""Pixels that show something else than the surface that is fitted there.

The fitted body lies a few pixels off the one in the photo. Beside an arm that is held in front of the trunk some pixels of
the arm lie where the body has its trunk, and at the outline some of the background. They are told by their colour: it is
that of the neighbour's inside, not that of their own.
"""

from __future__ import annotations

import cv2
import numpy as np

from models.body.embree import RayScene, rasterize
from models.body.photo.surface import FOREARMS, HANDS, Surface, perceived, pieces

#: How far the fitted body may lie off, parts of the person's height.
REACH = 0.035
#: How far inside the person's outline there may be background, parts of the person's height.
HALO = 0.018
#: How surely a pixel is the person's where it is not asked whether it is of the background.
CERTAIN = 0.98
#: Round what strayed the colours are blends; parts of the person's height.
BLENDS = 0.005
#: How far round a pixel the colours of an inside count, parts of the person's height.
AROUND = 0.04
#: Depth step between a limb and what it covers, metres.
STEP = 0.05
#: Distance between two insides, in CIE Lab, from which they can be told apart; and how much nearer a colour must lie to the
#: neighbour's inside than to its own.
APART, NEARER = 18.0, 0.7
#: Distance from the neighbour's inside, in CIE Lab, beyond which a colour is no colour of the neighbour.
NEAR = 24.0
#: Number of the background, beside those of ``pieces``.
BACKGROUND = 9
#: Neighbours that lie on one surface, whatever the depth: the neck and the neckline, the hem of a shirt, a bent arm.
_SEAMS = ((0, 5), (5, 6), (0, 6), (0, 3), (0, 4), (1, FOREARMS), (2, FOREARMS), (FOREARMS, HANDS))
_ONE_SURFACE = {*_SEAMS, *((b, a) for a, b in _SEAMS)}


def trespassing(surface: Surface, scene: RayScene, tall: float) -> np.ndarray:
    """(H, W) bool: pixels of the person that show a neighbour of the limb that the body has there.

    Parameters
    ----------
    scene:
        The posed surface.
    tall:
        Height of the person in the photo, pixels.
    """
    height, width = surface.mask.shape
    rows, columns = (np.flatnonzero(surface.mask.any(axis=axis)) for axis in (1, 0))
    margin = round(2 * AROUND * tall)
    window = (
        slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
        slice(max(columns[0] - margin, 0), columns[-1] + margin + 1),
    )
    wrong = np.zeros(surface.mask.shape, bool)
    seen = rasterize(scene, surface.sitting.intrinsics, np.eye(3), (width, height))
    front = np.where(seen.hit, pieces(surface.body)[surface.faces[np.maximum(seen.pix_to_face, 0), 0]], -1)
    front[~surface.mask] = BACKGROUND
    depth = np.where(seen.hit & surface.mask, seen.zbuf, 0).astype(np.float32)
    wrong[window] = _strayed(
        front[window], depth[window], perceived(surface.albedo[window]), surface.sure[window], tall
    )
    return wrong


def _strayed(front: np.ndarray, depth: np.ndarray, colors: np.ndarray, sure: np.ndarray, tall: float) -> np.ndarray:
    """(h, w) bool: pixels that have a neighbour's colour.

    Parameters
    ----------
    front:
        (h, w) int, the piece that the body has in each pixel; -1 for none.
    depth:
        (h, w) float32, metres; 0 for none.
    colors:
        (h, w, 3) float32, CIE Lab.
    sure:
        (h, w) float32, how surely a pixel is none of the background.
    """
    box = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(depth, box) - cv2.erode(depth, box) > STEP
    # A forearm that touches the trunk makes no step.
    arm = np.isin(front, (FOREARMS, HANDS)).astype(np.uint8)
    other = np.isin(front, (0, 3, 4, 5, 6)).astype(np.uint8)
    edge |= (cv2.dilate(arm, box) & other) > 0
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5)
    own = np.zeros_like(colors)
    wrong = np.zeros(front.shape, bool)
    present = [int(k) for k in np.unique(front) if k >= 0]
    insides = {k: _inside(colors, front == k, distance, tall) for k in present}
    for k in present:
        own[front == k] = insides[k][front == k]
    off = np.linalg.norm(colors - own, axis=-1)
    near = distance < REACH * tall
    for k in present:
        allowed = [a for a in present if a not in (k, BACKGROUND) and (a, k) not in _ONE_SURFACE]
        reach = (HALO if k == BACKGROUND else REACH) * tall
        around = cv2.distanceTransform((front != k).astype(np.uint8), cv2.DIST_L2, 5) < reach
        asked = near & around & np.isin(front, allowed)
        if k == BACKGROUND:
            asked &= sure < CERTAIN
        apart = np.linalg.norm(insides[k] - own, axis=-1) > APART
        wrong |= asked & apart & (np.linalg.norm(colors - insides[k], axis=-1) < np.minimum(NEARER * off, NEAR))
    size = 2 * max(round(BLENDS * tall), 1) + 1
    return cv2.dilate(wrong.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def _inside(colors: np.ndarray, piece: np.ndarray, distance: np.ndarray, tall: float) -> np.ndarray:
    """(H, W, 3) the mean colour of a piece's inside around each pixel."""
    deepest = float(np.percentile(distance[piece], 95))
    inside = piece & (distance > min(REACH * tall, 0.6 * deepest))
    mean = np.median(colors[inside if inside.any() else piece], axis=0)
    # It varies slowly: an eighth of the sigma is fine enough a grid.
    step = max(int(AROUND * tall / 8), 1)
    small = (max(piece.shape[1] // step, 1), max(piece.shape[0] // step, 1))
    weight = inside.astype(np.float32)[..., None]
    sums = cv2.resize(np.concatenate([colors * weight, weight], axis=2), small, interpolation=cv2.INTER_AREA)
    sums = cv2.GaussianBlur(sums, (0, 0), AROUND * tall / step)
    average = (sums[..., :3] + 0.01 * mean) / (sums[..., 3:] + 0.01)
    return cv2.resize(average.astype(np.float32), piece.shape[::-1], interpolation=cv2.INTER_LINEAR)
