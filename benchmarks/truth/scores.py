"""Measures of a fit against the truth. Lengths are millimetres; joints are landmarks of the body in camera axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.known_walk import SCORED
from benchmarks.truth.motions import FEET
from benchmarks.truth.scenes import Truth
from core.types import LANDMARK_NAMES, BodyParams, PoseTrack

#: Joints of the headline figures: nose, shoulders, elbows, wrists, hips, knees, ankles.
JOINTS = np.array(SCORED)
#: Joints of the breakdown: those, hands and feet as well.
LISTED = np.concatenate(
    [JOINTS, [LANDMARK_NAMES.index(f"{s}_{p}") for s in ("left", "right") for p in ("index", "heel", "foot_index")]]
)
HIPS = np.array([LANDMARK_NAMES.index("left_hip"), LANDMARK_NAMES.index("right_hip")])
SHOULDERS = np.array([LANDMARK_NAMES.index("left_shoulder"), LANDMARK_NAMES.index("right_shoulder")])
#: Median distance of the fitted limbs from the landmarks in the picture, per cent of the height, above which a frame
#: counts as missed.
MISSED = 3.0
#: A frame is settled where twenty times the iterations move its joints by less than this.
SETTLED_MM = 5.0


@dataclass(frozen=True)
class Aligned:
    """A fit laid onto the truth, frame by frame."""

    root: np.ndarray
    """(N, 33, 3) mm: what is left with the middle of the hips held together."""
    scaled: np.ndarray
    """(N, 33, 3) mm: the same after one scale for the whole clip; one view does not tell how tall a person is."""
    procrustes: np.ndarray
    """(N, 33, 3) mm: after the best similarity of each frame."""
    scale: float
    """That one scale."""


def rooted(points: np.ndarray) -> np.ndarray:
    """(T, 33, 3) less the middle of the hips."""
    return points - points[:, HIPS].mean(1, keepdims=True)


def align(found: np.ndarray, truth: np.ndarray) -> Aligned:
    """Lay points (N, 33, 3) metres onto the true ones; ``JOINTS`` decide how, all are moved."""
    found, truth = rooted(found.astype(np.float64)), rooted(truth.astype(np.float64))
    a, b = found[:, JOINTS], truth[:, JOINTS]
    scale = float((a * b).sum() / (a * a).sum())
    middle_a, middle_b = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    a, b = a - middle_a, b - middle_b
    u, s, vt = np.linalg.svd(a.transpose(0, 2, 1) @ b)
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    turn = (u * sign[:, None]) @ vt
    size = ((s * sign).sum(1) / (a**2).sum((1, 2)))[:, None, None]
    laid = size * ((found - middle_a) @ turn) + middle_b
    return Aligned(1000 * (found - truth), 1000 * (scale * found - truth), 1000 * (laid - truth), scale)


def mean_error(residual: np.ndarray) -> float:
    """Mean over frames and ``JOINTS`` of residuals (N, 33, 3)."""
    return float(np.linalg.norm(residual[:, JOINTS], axis=-1).mean())


def body_axes(landmarks: np.ndarray) -> np.ndarray:
    """(T, 3, 3): columns left, back, up of the trunk, from true landmarks (T, 33, 3)."""
    across = landmarks[:, SHOULDERS[0]] - landmarks[:, SHOULDERS[1]] + landmarks[:, HIPS[0]] - landmarks[:, HIPS[1]]
    up = landmarks[:, SHOULDERS].mean(1) - landmarks[:, HIPS].mean(1)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    left = across - (across * up).sum(1, keepdims=True) * up
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    return np.stack([left, np.cross(up, left), up], -1)


def directions(residual: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Root mean squares (33,) of residuals (N, 33, 3): across the picture, up and down it, and along the view.

    ``constant`` is the length of the part that stays the same in the axes of the body (a joint that is marked elsewhere);
    ``constant_left`` and so on are its parts.
    """
    hips = landmarks[:, HIPS].mean(1)
    forward = hips / np.linalg.norm(hips, axis=1, keepdims=True)
    depth = np.einsum("tki,ti->tk", residual, forward)
    flat = residual - depth[..., None] * forward[:, None]
    own = np.einsum("tij,tki->tkj", body_axes(landmarks), residual).mean(0)
    result = {
        "across": np.sqrt((flat[..., 0] ** 2).mean(0)),
        "upright": np.sqrt((flat[..., 1] ** 2).mean(0)),
        "depth": np.sqrt((depth**2).mean(0)),
        "constant": np.linalg.norm(own, axis=-1),
    }
    return result | {f"constant_{name}": own[:, axis] for axis, name in enumerate(("left", "back", "up"))}


def accelerations(points: np.ndarray, truth: Truth, present: np.ndarray) -> np.ndarray:
    """(M, K, 3) mm a frame^2 of points (T, 33, 3) metres about the hips, in world axes; ``JOINTS`` only."""
    world = np.einsum("tji,tkj->tki", truth.R_camera_world, rooted(points.astype(np.float64)))[:, JOINTS]
    whole = present[2:] & present[1:-1] & present[:-2]
    return 1000 * np.diff(world, 2, axis=0)[whole]


def mean_length(vectors: np.ndarray) -> float:
    """Mean length of vectors (..., 3); 0 of none."""
    return float(np.linalg.norm(vectors, axis=-1).mean()) if vectors.size else 0.0


def slide(params: BodyParams, truth: Truth) -> dict[str, float]:
    """Mean motion of foot points that truly rest, mm a frame: in space, and its parts across the view and along it."""
    feet = params.keypoints[:, FEET].astype(np.float64)
    world = np.einsum("tji,tkj->tki", truth.R_camera_world, feet)
    step = 1000 * np.diff(world, axis=0)
    resting = truth.standing & (params.valid[1:] & params.valid[:-1])[:, None]
    ray = world[:-1] / np.linalg.norm(world[:-1], axis=-1, keepdims=True)
    along = (step * ray).sum(-1)
    flat = np.linalg.norm(step - along[..., None] * ray, axis=-1)
    if not resting.any():
        return {"slide_mm": 0.0, "slide_flat_mm": 0.0, "slide_depth_mm": 0.0}
    return {
        "slide_mm": mean_length(step[resting]),
        "slide_flat_mm": float(flat[resting].mean()),
        "slide_depth_mm": float(np.abs(along)[resting].mean()),
    }


def reached(params: BodyParams, pose: PoseTrack) -> np.ndarray:
    """(T,) bool: frames whose limbs lie on the landmarks, ``MISSED`` per cent of the height or nearer in the median."""
    points = params.keypoints @ params.intrinsics.T
    pixels = points[..., :2] / np.maximum(points[..., 2:], 1e-3)
    away = np.linalg.norm(pixels - pose.landmarks[..., :2], axis=-1)[:, JOINTS]
    away = np.where(pose.weight[:, JOINTS] > 0.3, away, np.nan)
    height = np.nanmedian(np.ptp(pose.landmarks[..., 1], axis=1))
    known = np.isfinite(away).any(1) & params.valid
    result = np.zeros(len(params), bool)
    result[known] = np.nanmedian(away[known], axis=1) < MISSED / 100 * height
    return result


def settled(params: BodyParams, longer: BodyParams) -> np.ndarray:
    """(T,) bool: frames that a much longer fit leaves where they are."""
    moved = 1000 * np.linalg.norm(rooted(params.keypoints) - rooted(longer.keypoints), axis=-1)[:, JOINTS].mean(1)
    return params.valid & (moved < SETTLED_MM)


def score(params: BodyParams, truth: Truth) -> dict[str, float]:
    """The figures of one fit."""
    valid = params.valid
    laid = align(params.keypoints[valid], truth.landmarks[valid])
    own, true = (accelerations(points, truth, valid) for points in (params.keypoints, truth.landmarks))
    result = {
        "root_mm": mean_error(laid.root),
        "scaled_mm": mean_error(laid.scaled),
        "procrustes_mm": mean_error(laid.procrustes),
        "scale": laid.scale,
        "acceleration": mean_length(own),
        "acceleration_error": mean_length(laid.scale * own - true),
        "valid": float(valid.mean()),
    }
    return result | slide(params, truth)


def score_raw(world: np.ndarray, truth: Truth, detected: np.ndarray) -> dict[str, float]:
    """The same of raw world landmarks (T, 33, 3), as far as it applies."""
    from models.body.pose_init import view_rotations

    turned = world.astype(np.float64) @ view_rotations(truth.pixels, truth.intrinsics).transpose(0, 2, 1)
    laid = align(turned[detected], truth.landmarks[detected])
    own, true = (accelerations(points, truth, detected) for points in (turned, truth.landmarks))
    return {
        "root_mm": mean_error(laid.root),
        "scaled_mm": mean_error(laid.scaled),
        "procrustes_mm": mean_error(laid.procrustes),
        "acceleration": mean_length(own),
        "acceleration_error": mean_length(laid.scale * own - true),
    }
