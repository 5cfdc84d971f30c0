"""Points in space from what several calibrated cameras see, without trusting any one of them.

For each point of each frame: every pair of views proposes a place (weighted direct linear transform), the place that
most of the views agree with wins (a truncated quadratic cost, so no view can outvote the others by being far off), the
views that agree refine it together (Gauss-Newton on the reprojection error under Geman and McClure's function), and what
still disagrees is left out. All points of all frames are solved at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from utils.cameras.camera import NEAR, Camera

#: Share of a picture's longest side that a trusted view may be off, where nothing else is asked for.
MAX_ERROR_SHARE = 1 / 64
#: Rays that meet at a smaller angle than this fix no depth, radians.
MIN_ANGLE = np.radians(3.0)
#: Views whose agreement makes a point fully trusted.
ENOUGH_VIEWS = 3
#: Pairs of views that propose places; with more cameras the pairs that look from the most different sides are taken.
MAX_PAIRS = 36
_ROUNDS = 12
#: Points that are solved at once, so that memory does not grow with the clip.
_CHUNK = 20_000


@dataclass(frozen=True)
class Triangulation:
    """Points in space and how well the views agree on them. V views, T frames, N points."""

    points: np.ndarray
    """(T, N, 3) float64, metres, world axes; NaN where fewer than two views are trusted."""
    confidence: np.ndarray
    """(T, N) float32, 0..1: confidence and agreement of the trusted views, three good ones make 1; 0 where NaN."""
    errors: np.ndarray
    """(V, T, N) float32, pixels: distance of each view's point from the projected one; NaN where either is unknown."""
    used: np.ndarray
    """(V, T, N) bool: the views that are trusted for each point."""

    def median_errors(self, *, trusted_only: bool = True) -> np.ndarray:
        """(V,) float64, pixels: median error of each view, over the trusted points or all; NaN where there are none."""
        kept = np.where(self.used, self.errors, np.nan) if trusted_only else self.errors
        return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in kept])


@dataclass(frozen=True)
class _Views:
    """The observations, flattened to M points."""

    rays: np.ndarray
    """(V, M, 2) directions x/z, y/z; 0 where unknown."""
    weight: np.ndarray
    """(V, M) confidence 0..1; 0 where unknown."""
    R: np.ndarray
    """(V, 3, 3) world -> camera."""
    t: np.ndarray
    """(V, 3) metres."""
    limit: np.ndarray
    """(V, 1) tolerance in units of the rays."""

    def at(self, points: np.ndarray | slice) -> _Views:
        """Some of the M points."""
        return _Views(self.rays[:, points], self.weight[:, points], self.R, self.t, self.limit)

    def in_cameras(self, X: np.ndarray) -> np.ndarray:
        """(V, M, 3) metres, camera axes."""
        return np.einsum("vij,mj->vmi", self.R, X) + self.t[:, None]

    def squared_errors(self, X: np.ndarray) -> np.ndarray:
        """(V, M) squared distance from the rays in units of the tolerance; infinite behind a camera."""
        seen = self.in_cameras(X)
        depth = np.maximum(seen[..., 2:], NEAR)
        error = ((seen[..., :2] / depth - self.rays) ** 2).sum(-1) / self.limit**2
        return np.where(seen[..., 2] > NEAR, error, np.inf)


def triangulate(
    cameras: Sequence[Camera],
    pixels: np.ndarray,
    confidence: np.ndarray | None = None,
    *,
    max_error: float | None = None,
) -> Triangulation:
    """Find points in space.

    Parameters
    ----------
    cameras:
        V cameras, at least two, in pixels of the clips.
    pixels:
        (V, T, N, 2): where each view sees each point in each frame; NaN where it does not.
    confidence:
        (V, T, N), 0..1, trust in each; 1 everywhere if left out.
    max_error:
        Reprojection error in pixels beyond which a view is not trusted; 1/64 of each picture's longest side if left out.

    Raises
    ------
    ValueError
        Fewer than two cameras, shapes that do not fit each other, or a tolerance that is not positive.
    """
    pixels = np.asarray(pixels, np.float64)
    views, frames, count = pixels.shape[:3] if pixels.ndim == 4 else (-1, -1, -1)
    if views != len(cameras) or views < 2 or pixels.shape[-1] != 2:
        raise ValueError(f"pixels {pixels.shape} must be (V, T, N, 2) for the {len(cameras)} cameras, two at least")
    weight = np.ones(pixels.shape[:3]) if confidence is None else np.asarray(confidence, np.float64)
    if weight.shape != pixels.shape[:3]:
        raise ValueError(f"confidence {weight.shape} does not fit pixels {pixels.shape}")
    if max_error is not None and max_error <= 0:
        raise ValueError(f"max_error {max_error} must be positive")
    flat = _views_of(cameras, pixels, weight, max_error)
    points = np.full((frames * count, 3), np.nan)
    used = np.zeros((views, frames * count), bool)
    trust = np.zeros(frames * count, np.float32)
    for start in range(0, frames * count, _CHUNK):
        part = slice(start, start + _CHUNK)
        points[part], used[:, part], trust[part] = _solve(flat.at(part))
    points, used, trust = points.reshape(frames, count, 3), used.reshape(views, frames, -1), trust.reshape(frames, -1)
    seen = np.stack([camera.project(points) for camera in cameras])
    errors = np.linalg.norm(seen - pixels, axis=-1).astype(np.float32)
    return Triangulation(points, trust, errors, used)


def solve_linear(cameras: Sequence[Camera], rays: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(M, 3) metres, world axes: the weighted direct linear transform alone, for rays (V, M, 2) that are all good.

    ``weight`` is (V, M); a view with weight 0 does not count. Points that fewer than two views see mean nothing.
    """
    limit = np.array([[1 / camera.focal] for camera in cameras])
    return _linear(_Views(rays, weight, *_poses(cameras), limit=limit), weight)


def _poses(cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3, 3) rotations and (V, 3) translations, world -> camera."""
    T = np.stack([camera.T_camera_world for camera in cameras])
    return T[:, :3, :3], T[:, :3, 3]


def _views_of(cameras: Sequence[Camera], pixels: np.ndarray, weight: np.ndarray, max_error: float | None) -> _Views:
    rays = np.stack([camera.normalized(seen) for camera, seen in zip(cameras, pixels, strict=True)])
    rays = rays.reshape(len(cameras), -1, 2)
    known = np.isfinite(rays).all(axis=-1)
    weight = np.where(known, np.clip(np.nan_to_num(weight.reshape(len(cameras), -1)), 0, 1), 0)
    limits = [(max_error or MAX_ERROR_SHARE * camera.longest_side) / camera.focal for camera in cameras]
    return _Views(np.where(known[..., None], rays, 0), weight, *_poses(cameras), limit=np.array(limits)[:, None])


def _solve(views: _Views) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M, 3) points, (V, M) trusted views, (M,) confidence."""
    count = views.rays.shape[1]
    best, lowest = np.full((count, 3), np.nan), np.full(count, np.inf)
    for pair in _pairs(views):
        both = np.flatnonzero((views.weight[list(pair)] > 0).all(axis=0))
        if not len(both):
            continue
        some = views.at(both)
        only = np.zeros_like(some.weight)
        only[list(pair)] = some.weight[list(pair)]
        X = _linear(some, only)
        cost = (some.weight * np.minimum(some.squared_errors(X), 1)).sum(axis=0)
        apart = _angles(some, X, only > 0) > MIN_ANGLE
        better = apart & (cost < lowest[both])
        best[both[better]], lowest[both[better]] = X[better], cost[better]
    points, used, trust = np.full((count, 3), np.nan), np.zeros(views.weight.shape, bool), np.zeros(count)
    found = np.flatnonzero(np.isfinite(lowest))
    if len(found):
        X, kept, agreement = _refined(views.at(found), best[found])
        points[found] = np.where(kept.any(axis=0)[:, None], X, np.nan)
        used[:, found], trust[found] = kept, agreement
    return points, used, trust


def _pairs(views: _Views) -> list[tuple[int, int]]:
    """The pairs of views that propose places; those whose optical axes differ most where there are too many."""
    pairs = list(combinations(range(len(views.R)), 2))
    axes = views.R[:, 2]
    sideways = [float(np.linalg.norm(np.cross(axes[a], axes[b]))) for a, b in pairs]
    order = np.argsort(sideways)[::-1][:MAX_PAIRS]
    return [pairs[index] for index in sorted(order)]


def _linear(views: _Views, weight: np.ndarray) -> np.ndarray:
    """(M, 3) weighted direct linear transform; the rows of each view count by ``weight`` (V, M)."""
    # x * (row 3) - (row 1) and y * (row 3) - (row 2) of each camera's [R | t] vanish at the point.
    rows = views.rays[..., None] * views.R[:, None, 2:] - views.R[:, None, :2]
    right = views.t[:, None, :2] - views.rays * views.t[:, None, 2:]
    scale = (weight / views.limit)[..., None]
    A = np.moveaxis(rows * scale[..., None], 0, 1).reshape(weight.shape[1], -1, 3)
    b = np.moveaxis(right * scale, 0, 1).reshape(weight.shape[1], -1)
    return _solve_normal(np.einsum("mki,mkj->mij", A, A), np.einsum("mki,mk->mi", A, b))


def _solve_normal(N: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(M, 3) solutions of 3x3 systems, damped so little that only singular ones feel it."""
    damping = 1e-9 * np.trace(N, axis1=-2, axis2=-1)[:, None, None] + 1e-12
    return np.linalg.solve(N + damping * np.eye(3), right[..., None])[..., 0]


def _angles(views: _Views, X: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(M,) radians: the widest angle between the rays of the chosen views (V, M) at the points; 0 for fewer than two."""
    centres = -np.einsum("vji,vj->vi", views.R, views.t)
    towards = centres[:, None] - X
    towards /= np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-9)
    widest = np.zeros(len(X))
    for a, b in combinations(range(len(views.R)), 2):
        # Rays that face each other fix depth as badly as parallel ones: what counts is the sine.
        sine = np.linalg.norm(np.cross(towards[a], towards[b]), axis=-1)
        angle = np.arcsin(np.clip(sine, 0, 1))
        widest = np.maximum(widest, np.where(chosen[a] & chosen[b], angle, 0))
    return widest


def _refined(views: _Views, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Newton from good starts: (M, 3) points, (V, M) trusted views, (M,) confidence."""
    for _ in range(_ROUNDS):
        seen = views.in_cameras(X)
        depth = np.maximum(seen[..., 2:], NEAR)
        residual = (seen[..., :2] / depth - views.rays) / views.limit[..., None]
        # Geman-McClure with a third of the tolerance as its scale; a view beyond the tolerance has no say.
        squared = np.where(seen[..., 2] > NEAR, (residual**2).sum(-1), np.inf)
        weight = views.weight * _geman_mcclure(squared) * (squared < 1)
        slope = views.R[:, None, :2] - (seen[..., :2] / depth)[..., None] * views.R[:, None, 2:]
        slope /= depth[..., None] * views.limit[..., None, None]
        weighted = slope * weight[..., None, None]
        N = np.einsum("vmki,vmkj->mij", weighted, slope)
        step = _solve_normal(N, -np.einsum("vmki,vmk->mi", weighted, residual))
        # No step is longer than the nearest camera is far: a point must not jump behind one.
        length = np.linalg.norm(step, axis=1, keepdims=True)
        X = X + step * np.minimum(1, 0.5 * depth.min(axis=0) / np.maximum(length, 1e-12))
    squared = views.squared_errors(X)
    kept = (squared < 1) & (views.weight > 0)
    kept &= (_angles(views, X, kept) > MIN_ANGLE) & (kept.sum(axis=0) >= 2)
    agreement = (views.weight * _geman_mcclure(squared) * kept).sum(axis=0)
    return X, kept, np.minimum(agreement / min(len(views.R), ENOUGH_VIEWS), 1)


def _geman_mcclure(squared: np.ndarray) -> np.ndarray:
    """Weight of squared errors in units of the tolerance: 1 at none, a quarter at a third of the tolerance."""
    return 1 / (1 + 9 * squared) ** 2
