"""What a good fit is: the terms that the fit of a body to landmarks adds up.

All residuals are in comparable units: 1 is one per cent of the person's height, or a deviation of one sigma from a prior.
Each term has its closed-form derivative (``models.body.kinematics``) and goes into the normal equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.body.base import JOINT_NAMES, RestBody
from models.body.block_solver import NormalEquations
from models.body.kinematics import PARAMETERS, Posed, PoseState
from models.body.pose_init import LANDMARK, limbs_of, rotation_vectors

#: Trust in the image position of each landmark by the part of its name; the face has eleven of them.
IMAGE_TRUST = {
    "shoulder": 1.0, "elbow": 1.0, "wrist": 1.0, "hip": 0.8, "knee": 1.0, "ankle": 1.0, "heel": 0.6, "foot": 0.6,
    "pinky": 0.3, "index": 0.3, "thumb": 0.2, "nose": 0.5, "ear": 0.4, "eye": 0.15, "mouth": 0.3,
}  # fmt: skip

#: Bones whose direction in space is taken from the world landmarks, with their weight.
_SIDED_DIRECTIONS = (
    ("shoulder", "elbow", 1.0), ("elbow", "wrist", 1.0), ("hip", "knee", 1.0), ("knee", "ankle", 1.0),
    ("hip", "shoulder", 1.0), ("heel", "foot_index", 0.7), ("wrist", "index", 0.5), ("wrist", "pinky", 0.5),
    ("ear", "nose", 0.8),
)  # fmt: skip
_CROSS_DIRECTIONS = (
    ("right_shoulder", "left_shoulder", 1.5),
    ("right_hip", "left_hip", 1.5),
    ("right_ear", "left_ear", 0.8),
)

#: Landmarks whose acceleration is held down.
STEADY_LANDMARKS = np.array(
    [LANDMARK["nose"], LANDMARK["left_ear"], LANDMARK["right_ear"]]
    + [
        LANDMARK[f"{side}_{part}"]
        for side in ("left", "right")
        for part in ("shoulder", "elbow", "wrist", "index", "hip", "knee", "ankle", "heel", "foot_index")
    ]
)

#: Points of each foot that may rest on the ground: left heel, left toe, right heel, right toe.
FOOT_POINTS = np.array([LANDMARK[f"{side}_{part}"] for side in ("left", "right") for part in ("heel", "foot_index")])

#: Standard deviation of each joint's rotation from rest, radians, by the part of its name.
PRIOR_SIGMA = {
    "spine": 0.25, "neck": 0.3, "head": 0.4, "clavicle": 0.2, "shoulder": 1.4, "elbow": 2.0, "wrist": 0.45, "hip": 1.2,
    "knee": 2.0, "foot": 0.5,
}  # fmt: skip

#: How far from straight down arms hang of which nothing is seen, radians.
HANGING = 0.206

#: How far elbows and knees may turn about other axes than their own, and slackness of their limits, radians.
_HINGE_OFF_AXIS_SIGMA = {"elbow": 0.10, "knee": 0.06}
_LIMIT_SIGMA = 0.05


@dataclass(frozen=True)
class FitWeights:
    """How strongly each term counts against the image positions (weight 1)."""

    point: float = 2.0
    """Places of landmarks in space, per cent of the height, where several views tell them."""
    direction: float = 3.0
    """Directions of bones in space; the residual is the difference of unit vectors."""
    forearm_direction: float = 1.0
    """Share of that for forearms and hands, whose depth the landmark network sees least of."""
    prior: float = 0.8
    """Distance from the usual pose, in sigmas."""
    limit: float = 1.0
    """Bending of elbows and knees beyond their range or about other axes, in sigmas."""
    acceleration: float = 0.5
    """Acceleration of landmarks in space, per cent of the height per frame^2, at 30 frames per second."""
    acceleration_scale: float = 2.0
    """Acceleration, per cent of the height per frame^2 at 30 frames per second, beyond which motion is taken to be real."""
    turning: float = 3.0
    """Second differences of joint rotations, radians per frame^2, at 30 frames per second."""
    idling: float = 1.0
    """Speed of joint rotations, radians per frame, at 30 frames per second."""
    depth_acceleration: float = 1.0
    """Acceleration of the root along the view, in addition; per cent of the height per frame^2."""
    contact: float = 3.0
    """Motion of a standing foot against the scene, per cent of the height per frame."""
    contact_depth: float = 0.5
    """Motion of a standing foot towards or away from the camera, per cent of the height per frame."""
    scale_sigma: float = 0.12
    """Expected spread of lengths and widths around the body's own."""
    even_scale_sigma: float = 0.04
    """The same for head, hands and feet: landmarks say less of their size, and the eye notices it more."""


@dataclass(frozen=True)
class SpacePoints:
    """Landmarks whose place in space is known, as several views tell it."""

    points: np.ndarray
    """(T, 33, 3) metres of the body that is fitted, camera axes; anything where they are not known."""
    trust: np.ndarray
    """(T, 33) 0..1; 0 where they are not known."""

    def at(self, frames: np.ndarray) -> SpacePoints:
        """Those of some frames, (N,) int."""
        return SpacePoints(self.points[frames], self.trust[frames])


@dataclass(frozen=True)
class Observations:
    """What is known of consecutive frames."""

    landmarks: np.ndarray
    """(T, 33, 2) pixels."""
    trust: np.ndarray
    """(T, 33) weight of the image positions, 0..1."""
    directions: np.ndarray
    """(T, D, 3) unit vectors in camera axes, in the order of :func:`direction_pairs`."""
    direction_trust: np.ndarray
    """(T, D)."""
    size_px: np.ndarray
    """(T,) height of the standing person in pixels at the distance of each frame."""
    H_next: np.ndarray
    """(T-1, 3, 3) motion of the scene in the image."""
    ground_drift: np.ndarray
    """(T-1, 2) pixels a frame: how the ground under the feet moves against the background."""
    standing: np.ndarray
    """(T-1, 4) 0..1: how surely each of ``FOOT_POINTS`` rests from this frame to the next."""
    rate_factor: float
    """(frames per second / 30)^2: accelerations per frame^2 are that much smaller at higher rates."""
    space: SpacePoints | None = None
    """Landmarks in space, where several views were seen; their image positions have no weight then."""

    def __len__(self) -> int:
        return len(self.landmarks)


def direction_pairs(forearm: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(D, 2) landmark indices (from, to) and (D,) weights of the bones whose direction is observed.

    ``forearm`` is a factor on those of forearms and hands.
    """
    pairs = [
        (f"{side}_{a}", "nose" if b == "nose" else f"{side}_{b}", w * (forearm if "wrist" in (a, b) else 1.0))
        for side in ("left", "right")
        for a, b, w in _SIDED_DIRECTIONS
    ]
    pairs += list(_CROSS_DIRECTIONS)
    return np.array([(LANDMARK[a], LANDMARK[b]) for a, b, _ in pairs]), np.array([w for *_, w in pairs])


def image_trust() -> np.ndarray:
    """(33,) trust in each landmark's image position."""
    return np.array([next(w for part, w in IMAGE_TRUST.items() if part in name) for name in LANDMARK])


@dataclass(frozen=True)
class Prior:
    """Pose prior and joint limits as linear functions of the rotation vectors."""

    mean: np.ndarray
    """(PARAMETERS,) rotations expected before anything is seen."""
    sigma: np.ndarray
    """(PARAMETERS,) standard deviations; infinite for the root."""
    hinge_rows: np.ndarray
    """(4,) first parameter of each hinge joint."""
    hinge_axes: np.ndarray
    """(4, 3) unit axes."""
    low: np.ndarray
    high: np.ndarray
    """(4,) range of the angle about the axis, radians."""
    off_axis_sigma: np.ndarray
    """(4,) how far a hinge may turn about other axes, radians."""


def prior_of(rest: RestBody) -> Prior:
    """Prior and limits of a body."""
    mean, sigma = np.zeros(PARAMETERS), np.full(PARAMETERS, np.inf)
    for joint, name in enumerate(JOINT_NAMES[1:], 1):
        sigma[3 + 3 * joint : 6 + 3 * joint] = next(s for part, s in PRIOR_SIGMA.items() if part in name)
    for side, mark, sign in (("left", "L", 1.0), ("right", "R", -1.0)):
        # The rest pose is an A-pose or a T-pose, but arms of which nothing is seen most likely hang at the sides.
        shoulder, elbow = (rest.bone_heads[rest.bone(f"{bone}.{mark}")] for bone in ("upperarm01", "lowerarm01"))
        away = float(np.arctan2(sign * (elbow - shoulder)[0], (shoulder - elbow)[2]))
        mean[3 + 3 * JOINT_NAMES.index(f"{side}_shoulder") + 1] = sign * (away - HANGING)
    hinges = [limb.hinge for limb in limbs_of(rest)]
    off = [next(s for part, s in _HINGE_OFF_AXIS_SIGMA.items() if part in JOINT_NAMES[hinge.joint]) for hinge in hinges]
    return Prior(
        mean,
        sigma,
        np.array([3 + 3 * hinge.joint for hinge in hinges]),
        np.stack([hinge.axis for hinge in hinges]),
        np.array([hinge.low for hinge in hinges]),
        np.array([hinge.high for hinge in hinges]),
        np.array(off),
    )


def project(points: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (..., 2) of camera points (..., 3), and their derivatives (..., 2, 3)."""
    depth = np.maximum(points[..., 2], 0.05)
    flat = points[..., :2] / depth[..., None]
    pixels = flat * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    slope = np.zeros((*points.shape[:-1], 2, 3))
    slope[..., 0, 0], slope[..., 1, 1] = intrinsics[0, 0] / depth, intrinsics[1, 1] / depth
    slope[..., 2] = -flat * intrinsics[[0, 1], [0, 1]] / depth[..., None]
    return pixels, slope


def add_image_term(
    system: NormalEquations, posed: Posed, seen: Observations, intrinsics: np.ndarray, robust_scale: float
) -> None:
    """Geman-McClure distance of landmarks in the image, by iteratively reweighted least squares."""
    pixels, slope = project(posed.points, intrinsics)
    per_cent = 100.0 / seen.size_px[:, None, None]
    residual = (pixels - seen.landmarks) * per_cent
    square = (residual**2).sum(-1)
    robust = robust_scale**2 / (robust_scale**2 + square)
    root_weight = np.sqrt(seen.trust) * robust
    scaled = slope * (per_cent * root_weight[..., None])[..., None]
    count = len(seen)
    jacobian = (scaled @ posed.jacobian).reshape(count, -1, PARAMETERS)
    shared = None
    if posed.scale_jacobian is not None:
        shared = (scaled @ posed.scale_jacobian).reshape(count, jacobian.shape[1], -1)
    system.add((residual * root_weight[..., None]).reshape(count, -1), jacobian, shared)
    # The true cost is sigma^2 r^2 / (sigma^2 + r^2), not the reweighted square.
    system.cost += float((seen.trust * square * (robust - robust**2)).sum())


def add_point_term(
    system: NormalEquations, posed: Posed, space: SpacePoints, weight: float, height: float, robust_scale: float
) -> None:
    """Geman-McClure distance of landmarks from where they are in space, per cent of the height."""
    per_cent = 100.0 / height
    trust = weight**2 * space.trust
    residual = np.where(trust[..., None] > 0, posed.points - space.points, 0.0) * per_cent
    square = (residual**2).sum(-1)
    robust = robust_scale**2 / (robust_scale**2 + square)
    root_weight = np.sqrt(trust) * robust
    count = len(residual)
    scaled = (per_cent * root_weight)[..., None, None]
    shared = None
    if posed.scale_jacobian is not None:
        shared = (scaled * posed.scale_jacobian).reshape(count, 3 * residual.shape[1], -1)
    jacobian = (scaled * posed.jacobian).reshape(count, -1, PARAMETERS)
    system.add((residual * root_weight[..., None]).reshape(count, -1), jacobian, shared)
    # As in the image: the true cost of the robust function.
    system.cost += float((trust * square * (robust - robust**2)).sum())


def add_direction_term(system: NormalEquations, posed: Posed, seen: Observations, weight: float) -> None:
    """Bones point where the world landmarks say."""
    pairs, _ = direction_pairs()
    bone = posed.points[:, pairs[:, 1]] - posed.points[:, pairs[:, 0]]
    length = np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-3)
    along = bone / length
    scale = weight * np.sqrt(seen.direction_trust)[..., None]
    flatten = (np.eye(3) - along[..., :, None] * along[..., None, :]) * (scale / length)[..., None]
    moved = posed.jacobian[:, pairs[:, 1]] - posed.jacobian[:, pairs[:, 0]]
    count = len(seen)
    residual = (along - seen.directions) * scale
    system.add(residual.reshape(count, -1), (flatten @ moved).reshape(count, -1, PARAMETERS))


def add_prior_term(system: NormalEquations, state: PoseState, prior: Prior, weights: FitWeights) -> None:
    """Rotations stay near what is usual; hinges bend about one axis and within their range."""
    count = len(state)
    values = np.zeros((count, PARAMETERS))
    values[:, 6:] = state.vectors[:, 1:].reshape(count, -1)
    scale = weights.prior / prior.sigma
    system.add_diagonal((values - prior.mean) * scale, scale)
    rows = prior.hinge_rows[:, None] + np.arange(3)
    vectors = values[:, rows]
    angle = (vectors * prior.hinge_axes).sum(-1)
    off = np.eye(3) - prior.hinge_axes[:, :, None] * prior.hinge_axes[:, None, :]
    jacobian = np.zeros((count, len(rows), 4, PARAMETERS))
    residual = np.zeros((count, len(rows), 4))
    beyond = np.minimum(angle - prior.low, 0) + np.maximum(angle - prior.high, 0)
    residual[..., 0] = weights.limit * beyond / _LIMIT_SIGMA
    residual[..., 1:] = weights.limit * np.einsum("hij,thj->thi", off, vectors) / prior.off_axis_sigma[:, None]
    for hinge, columns in enumerate(rows):
        outside = (beyond[:, hinge] != 0).astype(float)
        jacobian[:, hinge, 0, columns] = weights.limit / _LIMIT_SIGMA * outside[:, None] * prior.hinge_axes[hinge]
        jacobian[:, hinge, 1:, columns] = (weights.limit * off[hinge] / prior.off_axis_sigma[hinge]).T[:, None]
    system.add(residual.reshape(count, -1), jacobian.reshape(count, -1, PARAMETERS))


def add_motion_terms(
    system: NormalEquations, state: PoseState, posed: Posed, seen: Observations, weights: FitWeights, height: float
) -> None:
    """Second differences of landmarks in space, of rotations and of the root's distance."""
    if len(seen) < 3:
        return
    to_cost = weights.acceleration * seen.rate_factor * 100.0 / height
    points, jacobian = posed.points[:, STEADY_LANDMARKS], posed.jacobian[:, STEADY_LANDMARKS]
    bend = (points[2:] - 2 * points[1:-1] + points[:-2]) * to_cost
    # A foot that strikes the ground and a hand that turns round do accelerate: their weight falls (Geman-McClure).
    square = (bend**2).sum(-1)
    limit = (weights.acceleration * weights.acceleration_scale) ** 2
    robust = limit / (limit + square)
    system.cost += float((square * (robust - robust**2)).sum())
    scaled = (robust * to_cost)[..., None, None]
    shape = (len(bend), -1, PARAMETERS)
    parts = [
        (factor * scaled * jacobian[i : i + len(bend)]).reshape(shape) for i, factor in enumerate((1.0, -2.0, 1.0))
    ]
    system.add_coupled((bend * robust[..., None]).reshape(len(bend), -1), parts)
    scale = np.full(PARAMETERS, weights.turning * seen.rate_factor)
    scale[:3] = 0.0
    scale[2] = weights.depth_acceleration * seen.rate_factor * 100.0 / height
    values = np.zeros((len(seen) - 2, PARAMETERS))
    values[:, :3] = np.diff(state.place, n=2, axis=0)
    values[:, 3:6] = np.diff(rotation_vectors(state.root[1:] @ state.root[:-1].transpose(0, 2, 1)), axis=0)
    values[:, 6:] = np.diff(state.vectors[:, 1:].reshape(len(seen), -1), n=2, axis=0)
    system.add_differences(values * scale, scale, (1.0, -2.0, 1.0))
    # Second differences carry a limb on and on at its last speed where nothing is seen of it; first ones let it rest.
    idle = np.zeros(PARAMETERS)
    idle[6:] = weights.idling * np.sqrt(seen.rate_factor)
    moved = np.zeros((len(seen) - 1, PARAMETERS))
    moved[:, 6:] = np.diff(state.vectors[:, 1:].reshape(len(seen), -1), axis=0)
    system.add_differences(moved * idle, idle, (-1.0, 1.0))


def carry(points: np.ndarray, H_next: np.ndarray) -> np.ndarray:
    """(M, K, 2): where the scene's motion takes image points (M, K, 2) to, by one transform (M, 3, 3) a frame."""
    moved = np.concatenate([points, np.ones((*points.shape[:2], 1))], -1) @ H_next.transpose(0, 2, 1)
    return moved[..., :2] / moved[..., 2:]


def add_contact_term(
    system: NormalEquations,
    posed: Posed,
    seen: Observations,
    intrinsics: np.ndarray,
    weights: FitWeights,
    height: float,
) -> None:
    """Standing feet move with the scene in the image, and keep their distance."""
    if len(seen) < 2 or not seen.standing.any():
        return
    points, jacobian = posed.points[:, FOOT_POINTS], posed.jacobian[:, FOOT_POINTS]
    pixels, slope = project(points, intrinsics)
    per_cent = 100.0 / seen.size_px[:-1, None, None]
    drift = (pixels[1:] - carry(pixels[:-1], seen.H_next) - seen.ground_drift[:, None]) * per_cent
    trust = np.sqrt(seen.standing)[..., None]
    moved = slope @ jacobian
    before = -np.einsum("tij,tkjp->tkip", seen.H_next[:, :2, :2], moved[:-1])
    image = weights.contact * trust
    far = weights.contact_depth * trust * 100.0 / height
    residual = np.concatenate([drift * image, np.diff(points[..., 2:], axis=0) * far], -1)
    earlier = np.concatenate([before * (per_cent * image)[..., None], -jacobian[:-1, :, 2:] * far[..., None]], 2)
    later = np.concatenate([moved[1:] * (per_cent * image)[..., None], jacobian[1:, :, 2:] * far[..., None]], 2)
    count = len(residual)
    shape = (count, -1, PARAMETERS)
    system.add_coupled(residual.reshape(count, -1), [earlier.reshape(shape), later.reshape(shape)])


def hinge_angles(rest: RestBody, rotations: np.ndarray) -> np.ndarray:
    """(T, 4) radians: left elbow, left knee, right elbow, right knee; positive bends further than at rest."""
    prior = prior_of(rest)
    joints = [limb.hinge.joint for limb in limbs_of(rest)]
    return (rotations[:, joints] * prior.hinge_axes).sum(-1)
