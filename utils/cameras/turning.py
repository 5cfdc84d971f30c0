"""The focal length of a camera that turns on the spot, from how the scene's perspective changes (Hartley, "Self-Calibration
of Stationary Cameras", IJCV 1997). A camera that travels, or hardly turns, tells nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

#: Pictures are compared at this size of the longer side.
_SIDE = 960
#: Features of a picture, and the ratio of distances below which a match is a match (Lowe 2004).
_FEATURES, _RATIO = 1500, 0.75
#: Pairs of pictures count whose points move by so much, in parts of the longer side, and that share so many points.
_LEAST_SHIFT, _MOST_SHIFT, _LEAST_POINTS = 0.12, 0.7, 40
#: Focal lengths that are tried, in parts of the longer side.
_SHORTEST, _LONGEST, _STEPS = 0.4, 4.0, 60
#: A pure turn leaves so many pixels (at the compared size) in the median at most.
_MOST_ERROR = 0.6
#: Half the width of the valley, as a share of the focal length, at which the error is a tenth higher: beyond this the pictures
#: do not tell.
_MOST_SPREAD, _RISE = 0.12, 1.1
#: Robust scale of the error, pixels.
_SCALE = 1.0


@dataclass(frozen=True)
class TurnedFocal:
    """A focal length found from a turning camera."""

    focal: float
    """Pixels."""
    spread: float
    """How far it may be off, as a share of itself."""
    error: float
    """Median distance of the scene's points from where the turn takes them, pixels at the compared size."""
    pairs: int
    """Pairs of pictures that were compared."""


@dataclass(frozen=True)
class _Pair:
    before: np.ndarray
    """(N, 2) pixels from the middle of the picture."""
    after: np.ndarray


def focal_of_turning_camera(pictures: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> TurnedFocal | None:
    """Estimate the focal length from pictures of one shot.

    Parameters
    ----------
    pictures:
        (H, W, 3) uint8 RGB each, some ten of them, spread over the shot.
    masks:
        (H, W) bool each: the person, whose points do not count.

    Returns
    -------
    ``None`` where the camera does not turn far enough, travels, or too little of the scene can be recognised.
    """
    height, width = pictures[0].shape[:2]
    factor = min(1.0, _SIDE / max(height, width))
    seen = [_features(rgb, mask, factor) for rgb, mask in zip(pictures, masks, strict=True)]
    side = factor * max(height, width)
    pairs = [pair for a, b in combinations(seen, 2) if (pair := _pair(a, b, side)) is not None]
    if len(pairs) < 2:
        return None
    tried = side * np.geomspace(_SHORTEST, _LONGEST, _STEPS)
    costs = np.array([_cost(pairs, focal) for focal in tried])
    best = int(costs.argmin())
    if best in (0, len(tried) - 1):
        return None
    focal = _refined(lambda value: _cost(pairs, value), tried[best - 1], tried[best + 1])
    valley = tried[costs <= _RISE * min(_cost(pairs, focal), costs.min())]
    spread = float(max(np.ptp(valley) / 2, (tried[best + 1] - tried[best - 1]) / 4) / focal) if len(valley) else 0.0
    error = float(np.median(np.concatenate([_distances(pair, focal) for pair in pairs])))
    if error > _MOST_ERROR or spread > _MOST_SPREAD:
        return None
    return TurnedFocal(focal / factor, spread, error, len(pairs))


def _features(rgb: np.ndarray, mask: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) places from the middle of the picture, and (N, 128) descriptions."""
    grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    person = cv2.resize(mask.astype(np.uint8), grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
    scene = 255 - 255 * cv2.dilate(person, np.ones((15, 15), np.uint8))
    points, described = cv2.SIFT.create(nfeatures=_FEATURES).detectAndCompute(grey, scene)
    if described is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    middle = (np.array(grey.shape[::-1]) - 1) / 2
    return np.array([point.pt for point in points]) - middle, described


def _pair(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], side: float) -> _Pair | None:
    if min(len(a[0]), len(b[0])) < _LEAST_POINTS:
        return None
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(a[1], b[1], k=2)
    good = [best for best, second in matches if best.distance < _RATIO * second.distance]
    if len(good) < _LEAST_POINTS:
        return None
    before, after = a[0][[m.queryIdx for m in good]], b[0][[m.trainIdx for m in good]]
    _, agreeing = cv2.findHomography(before, after, cv2.RANSAC, 1.5, maxIters=2000, confidence=0.999)
    if agreeing is None or agreeing.sum() < _LEAST_POINTS:
        return None
    keep = agreeing.ravel() > 0
    before, after = before[keep], after[keep]
    shift = float(np.median(np.linalg.norm(after - before, axis=1))) / side
    return _Pair(before, after) if _LEAST_SHIFT <= shift <= _MOST_SHIFT else None


def _distances(pair: _Pair, focal: float) -> np.ndarray:
    """(N,) pixels between the points and where the best turn (Kabsch 1976) takes those of the other picture."""
    rays = []
    for points in (pair.before, pair.after):
        ray = np.concatenate([points / focal, np.ones((len(points), 1))], 1)
        rays.append(ray / np.linalg.norm(ray, axis=1, keepdims=True))
    u, _, vt = np.linalg.svd(rays[0].T @ rays[1])
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turned = rays[0] @ (u @ sign @ vt)
    return np.linalg.norm(focal * turned[:, :2] / np.maximum(turned[:, 2:], 1e-3) - pair.after, axis=1)


def _cost(pairs: Sequence[_Pair], focal: float) -> float:
    squares = np.concatenate([_distances(pair, focal) for pair in pairs]) ** 2
    return float((squares / (squares + _SCALE**2)).mean())


def _refined(cost: Callable[[float], float], low: float, high: float) -> float:
    """The lowest place of a valley, by golden section."""
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(20):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if cost(a) < cost(b) else (a, high)
    return float((low + high) / 2)
