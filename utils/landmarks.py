"""Cleaning the landmarks of a tracked person: swapped limbs put right, strays replaced, jitter smoothed.

The order matters. Swaps come first, because a swapped leg is no stray; strays are interpolated *before* anything is
smoothed, because no median survives a burst of errors as long as its window. All lengths are in shares of the
person's height, so that nothing depends on the resolution.
"""

from __future__ import annotations

import cv2
import numpy as np

from core.types import DETECTED, LANDMARK_NAMES, PersonTrack, PoseTrack
from utils.person_track import runs


def _pairs(*parts: str) -> tuple[np.ndarray, np.ndarray]:
    """(left, right) landmark indices of the named parts."""
    left, right = ([LANDMARK_NAMES.index(f"{side}_{part}") for part in parts] for side in ("left", "right"))
    return np.array(left), np.array(right)


#: Pairs of limbs that the network confuses as a whole: (left landmarks, right landmarks).
_LIMBS = {
    "trunk": _pairs("shoulder", "hip", "ear", "eye_inner", "eye", "eye_outer"),
    "arms": _pairs("elbow", "wrist", "pinky", "index", "thumb"),
    "legs": _pairs("knee", "ankle", "heel", "foot_index"),
}
#: Child and parent of each bone along which distrust is passed on, from the trunk outwards.
_CHAIN = [
    (LANDMARK_NAMES.index(f"{side}_{child}"), LANDMARK_NAMES.index(f"{side}_{parent}"))
    for side in ("left", "right")
    for child, parent in (
        ("elbow", "shoulder"), ("wrist", "elbow"), ("pinky", "wrist"), ("index", "wrist"), ("thumb", "wrist"),
        ("knee", "hip"), ("ankle", "knee"), ("heel", "ankle"), ("foot_index", "ankle"),
    )
]  # fmt: skip
_HIPS = [LANDMARK_NAMES.index("left_hip"), LANDMARK_NAMES.index("right_hip")]


def clean_landmarks(
    track: PersonTrack,
    *,
    fps: float,
    swap_scale: float = 0.08,
    stray_scale: float = 0.02,
    min_trust: float = 0.3,
    smoothing: float = 0.1,
) -> PoseTrack:
    """Landmarks that a body can be fitted to.

    Parameters
    ----------
    track:
        The tracked person.
    fps:
        Frames per second.
    swap_scale:
        Motion, in heights a frame, beyond which a landmark is taken to have jumped (Geman-McClure scale).
    stray_scale:
        Distance outside the mask, in heights, at which trust falls to 1/e.
    min_trust:
        Landmarks trusted less are interpolated from the frames around.
    smoothing:
        Half-width of the smoothing window in seconds; 0 turns smoothing off.

    Returns
    -------
    PoseTrack, finite wherever the person is present, NaN elsewhere. ``repaired`` counts landmarks: ``swaps`` (moved to
    the other side), ``strays`` (off the person or off their own path), ``interpolated`` (all that were replaced).
    """
    points = track.landmarks[..., :3].astype(np.float64)
    world = track.world.astype(np.float64)
    visibility = track.landmarks[..., 3].astype(np.float64)
    weight = np.zeros(points.shape[:2], np.float64)
    repaired = {"swaps": 0, "strays": 0, "interpolated": 0}
    height = max(track.height_px, 1.0)
    for start, end in runs(track.present):
        cut = slice(start, end)
        trust = mask_trust(track, points[cut], start, height * stray_scale)
        repaired["swaps"] += _undo_swaps([points[cut], world[cut], visibility[cut], trust], height, swap_scale)
        trust *= doubled_trust(points[cut], visibility[cut], height)
        trust *= path_trust(points[cut], height)
        for child, parent in _CHAIN:  # a wrist is trusted no more than its elbow
            trust[:, child] = np.minimum(trust[:, child], trust[:, parent])
        repaired["strays"] += int((trust < min_trust).sum())
        trust[track.state[cut] != DETECTED] = 0
        low = trust < min_trust
        repaired["interpolated"] += int(low.sum())
        _interpolate(points[cut], world[cut], low)
        half = round(smoothing * fps)
        weights = np.where(low, 0.05, trust)
        points[cut] = smooth(points[cut], weights, half, 0.01 * height)
        world[cut] = smooth(world[cut], weights, half, 0.02)
        weight[cut] = np.where(low, 0, trust * (0.3 + 0.7 * np.clip(visibility[cut], 0, 1)))
    return PoseTrack(
        points.astype(np.float32), world.astype(np.float32), weight.astype(np.float32), track.present, repaired
    )


# --- swaps


def find_swaps(
    left: np.ndarray, right: np.ndarray, scale: float, trust: np.ndarray | None = None, reluctance: float = 0.03
) -> np.ndarray:
    """The frames in which the network took the left limb for the right one.

    Viterbi search over the states *as read* and *swapped*; since the motion is compared with one and with two frames
    back, the search runs over pairs of states. Frames in which neither limb is trusted are stepped over.

    Parameters
    ----------
    left, right:
        (T, K, 2) the landmarks of the two limbs, pixels.
    scale:
        Geman-McClure scale of the motion in pixels a frame.
    trust:
        (T, 2, K) weight of the left and the right landmarks in the comparison, 0..1.
    reluctance:
        Cost of a swapped frame, so that of two equal explanations the one with fewer swaps wins; to change the state
        costs five times as much.

    Returns
    -------
    (T,) bool.
    """
    swapped = np.zeros(len(left), bool)
    weight = np.ones((len(left), 2, left.shape[1])) if trust is None else trust
    frames = np.flatnonzero(weight.mean(axis=2).max(axis=1) > 0.5)
    if len(frames) < 2:
        return swapped
    sides, weight = np.stack([left, right], axis=1)[frames], weight[frames]
    both, weights = np.stack([sides, sides[:, ::-1]]), np.stack([weight, weight[:, ::-1]])  # state, T, side, K
    gaps = np.diff(frames)

    def jump(offset: np.ndarray, t: int, before: int, now: int) -> float:
        squared = (offset**2).sum(axis=-1)
        shared = np.minimum(weights[now, t], weights[before, t - 1])
        return float((shared * squared / (squared + (scale * gaps[t - 1]) ** 2)).mean())

    cost = np.tile([0, reluctance], (2, 1))  # of the best path that ends in the states (before, now)
    back = np.zeros((len(frames), 2, 2), np.int8)
    for t in range(1, len(frames)):
        new = np.empty((2, 2))
        for before, now in ((0, 0), (0, 1), (1, 0), (1, 1)):
            step = both[now, t] - both[before, t - 1]
            bends = np.zeros(2)
            for older in (0, 1) if t > 1 else ():
                carried = (both[before, t - 1] - both[older, t - 2]) * gaps[t - 1] / gaps[t - 2]
                bends[older] = jump(step - carried, t, before, now)
            options = cost[:, before] + bends
            back[t, before, now] = int(np.argmin(options))
            new[before, now] = options.min() + jump(step, t, before, now) + reluctance * (now + 5 * (before != now))
        cost = new
    before, now = divmod(int(np.argmin(cost)), 2)
    for t in range(len(frames) - 1, 0, -1):
        swapped[frames[t]] = now
        before, now = int(back[t, before, now]), before
    swapped[frames[0]] = now
    return swapped


def _undo_swaps(rows: list[np.ndarray], height: float, scale: float) -> int:
    """Exchange swapped limbs in place in points, world, visibility, trust; the number of landmarks that moved."""
    points, _, visibility, trust = rows
    sure = trust * visibility
    moved = 0
    for left, right in _LIMBS.values():
        weight = np.stack([sure[:, left], sure[:, right]], axis=1)
        swapped = find_swaps(points[:, left, :2], points[:, right, :2], scale * height, weight)
        for array in rows:
            row = array[swapped]
            row[:, left], row[:, right] = row[:, right].copy(), row[:, left].copy()
            array[swapped] = row
        moved += int(swapped.sum()) * (len(left) + len(right))
    return moved


# --- strays


def mask_trust(track: PersonTrack, points: np.ndarray, start: int, scale: float) -> np.ndarray:
    """(N, 33) float64, 0..1: trust in the landmarks of N frames from ``start``, by their distance outside the mask.

    exp(-(d / scale)^2).
    """
    trust = np.ones(points.shape[:2])
    for offset in range(len(points)):
        mask = track.mask(start + offset)
        if not mask.any():
            trust[offset] = 0
            continue
        distance = _distance_outside(mask, points[offset, :, :2], 4 * scale)
        trust[offset] = np.exp(-((distance / scale) ** 2))
    return trust


def _distance_outside(mask: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """(K,) pixels from each point to the mask, 0 inside it; exact up to ``reach``."""
    pad = int(np.ceil(reach)) + 2
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    outside = np.pad(~mask[y0:y1, x0:x1], pad, constant_values=True).astype(np.uint8)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    local = points - [x0 - pad, y0 - pad]
    inside = np.clip(np.round(local), 0, [outside.shape[1] - 1, outside.shape[0] - 1]).astype(int)
    return distance[inside[:, 1], inside[:, 0]] + np.hypot(*(local - inside).T) * np.any(
        (local < -0.5) | (local > np.array(outside.shape[::-1]) - 0.5), axis=1
    )


def doubled_trust(points: np.ndarray, visibility: np.ndarray, height: float, limit: float = 0.05) -> np.ndarray:
    """(N, 33) float64, 0 or 1: 0 for a hidden limb that the network put onto the visible one of the other side.

    A limb counts as doubled where its elbow (knee) lies within ``limit`` heights of the other's and the network itself
    says that it is hidden and the other is not.
    """
    trust = np.ones(points.shape[:2])
    for left, right in _LIMBS.values():
        close = np.hypot(*(points[:, left[0], :2] - points[:, right[0], :2]).T) < limit * height
        for limb, other in ((left, right), (right, left)):
            hidden = visibility[:, limb[:2]].mean(axis=1)
            seen = visibility[:, other[:2]].mean(axis=1)
            trust[np.ix_(close & (hidden < 0.45) & (seen > hidden + 0.3), limb)] = 0
    return trust


def path_trust(points: np.ndarray, height: float, reach: int = 8, rejection: float = 0.45) -> np.ndarray:
    """(N, 33) float64, 0 or 1: 0 for the frames that a smooth path of the landmark has to leave out.

    The cheapest chain of frames is found by dynamic programming: leaving a frame out costs ``rejection``, a step from
    one kept frame to the next costs up to 1, the more it exceeds the landmark's usual speed. So a burst of errors of
    any length below ``reach`` is cut out if the jumps into and out of it cost more than the frames themselves.
    Positions are taken relative to the hips: the person's own travel does not count.
    """
    local = points[..., :2] - points[:, _HIPS, :2].mean(axis=1, keepdims=True)
    count = len(local)
    if count < 3:
        return np.ones(points.shape[:2])
    limit = np.maximum(0.1 * height, 3 * _usual_speed(local))
    best = rejection * np.arange(count, dtype=np.float64)[:, None] * np.ones(local.shape[1])
    origin = np.full(best.shape, -1)
    for t in range(1, count):
        for gap in range(1, min(reach, t) + 1):
            away = np.hypot(*(local[t] - local[t - gap]).T) / (limit[t] * gap)
            cost = best[t - gap] + rejection * (gap - 1) + away**4 / (away**4 + 1)
            origin[t] = np.where(cost < best[t], t - gap, origin[t])
            best[t] = np.minimum(best[t], cost)
    kept = np.zeros(best.shape)
    ending = np.argmin(best + rejection * np.arange(count)[::-1, None], axis=0)
    for k, t in enumerate(ending):
        while t >= 0:
            kept[t, k] = 1
            t = origin[t, k]
    return kept


def _usual_speed(local: np.ndarray, half: int = 4) -> np.ndarray:
    """(N, K) pixels a frame: the running median of each landmark's speed."""
    speed = np.hypot(*np.moveaxis(np.diff(local, axis=0, prepend=local[:1]), -1, 0))
    padded = np.pad(speed, ((half, half), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0), axis=-1)


def _interpolate(points: np.ndarray, world: np.ndarray, low: np.ndarray) -> None:
    """Replace the landmarks marked in ``low`` (N, 33) in place, from the trusted frames before and after.

    Image landmarks are carried relative to the hips, so that a limb that is hidden for a while travels with the body.
    A landmark that is never trusted stays as it was read.
    """
    frames = np.arange(len(points))
    root = points[:, _HIPS].copy()
    for k in (*_HIPS, *(k for k in range(points.shape[1]) if k not in _HIPS)):
        known = ~low[:, k]
        if known.all() or not known.any():
            continue
        base = np.zeros((len(points), 3)) if k in _HIPS else root.mean(axis=1)
        for axis in range(3):
            offset = points[:, k, axis] - base[:, axis]
            points[~known, k, axis] = (np.interp(frames, frames[known], offset[known]) + base[:, axis])[~known]
            world[~known, k, axis] = np.interp(frames, frames[known], world[known, k, axis])[~known]
        if k in _HIPS:
            root[:, _HIPS.index(k)] = points[:, k]


# --- jitter


def smooth(values: np.ndarray, weights: np.ndarray, half: int, scale: float, rounds: int = 2) -> np.ndarray:
    """Robust local quadratic regression along time (LOESS, Cleveland 1979).

    Parameters
    ----------
    values:
        (T, K, D).
    weights:
        (T, K) trust in each value, above 0.
    half:
        Half-width of the window in frames; below 2 nothing is smoothed.
    scale:
        Residuals up to about this size are noise; those well above it lose their influence.
    rounds:
        Passes in which residuals reweigh the values.

    Returns
    -------
    (T, K, D) float64.
    """
    if half < 2 or len(values) < 5:
        return values.copy()
    robust, result = np.ones_like(weights), values
    for _ in range(rounds):
        result = _local_quadratic(values, weights * robust, half)
        residual = np.linalg.norm(values - result, axis=-1)
        robust = 1 / (1 + (residual / (2 * scale)) ** 2) ** 2
    return result


def _local_quadratic(values: np.ndarray, weights: np.ndarray, half: int) -> np.ndarray:
    """(T, K, D): the weighted quadratic through each window, read at its middle (tricube kernel)."""
    offsets = np.arange(-half, half + 1)
    kernel = (1 - np.abs(offsets / (half + 1)) ** 3) ** 3
    padding = ((half, half), (0, 0))
    weight = np.pad(weights, padding)
    value = np.pad(values, (*padding, (0, 0)))
    count, points, axes = values.shape
    left = np.zeros((count, points, 3, 3))
    right = np.zeros((count, points, 3, axes))
    for offset, k in zip(offsets, kernel, strict=True):
        here = slice(half + offset, half + offset + count)
        power = (offset / half) ** np.arange(3)
        w = k * weight[here]
        left += w[..., None, None] * np.outer(power, power)
        right += w[..., None, None] * power[:, None] * value[here][:, :, None, :]
    # A breath of ridge keeps windows at the ends, which see few frames, from swinging.
    left += np.diag([0.0, 1e-4, 1e-4]) * (1e-9 + left[..., :1, :1])
    return np.linalg.solve(left, right)[..., 0, :]
