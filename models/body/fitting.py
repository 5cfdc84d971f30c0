"""Fitting a body to a cleaned pose track: the whole sequence at once, joints only.

The fit is a damped Gauss-Newton method on closed-form derivatives. Frames are coupled by accelerations and by standing
feet, to their next two neighbours only, so each step is one banded Cholesky factorisation: cost and memory are linear in
the clip, which is fitted in overlapping windows. Proportions (``SCALE_NAMES``) are found first, on a sample of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.errors import InputError
from core.types import BodyParams, CameraPath, FootContacts, PoseTrack
from models.body.articulation import STRETCHES, landmark_positions, params_transforms
from models.body.base import JOINT_NAMES, SCALE_NAMES, Progress, RestBody
from models.body.block_solver import NormalEquations
from models.body.fit_schedule import SCHEDULES, Quality, Schedule
from models.body.fit_terms import (
    FOOT_POINTS,
    FitWeights,
    Observations,
    SpacePoints,
    add_contact_term,
    add_direction_term,
    add_image_term,
    add_motion_terms,
    add_point_term,
    add_prior_term,
    carry,
    direction_pairs,
    image_trust,
    prior_of,
)
from models.body.fit_windows import WINDOW, FitStore, join, nearest, stretches, windows
from models.body.kinematics import PARAMETERS, LandmarkChain, PoseState
from models.body.pose_init import initial_state, view_rotations
from models.body.silhouette import Silhouette, distance_maps, surface_points

#: Focal length in parts of the longer side, where it is not known. The fit is insensitive to it between 0.6 and 3.
DEFAULT_FOCAL = 0.9
#: Limits of the proportions, and the number of frames that they are measured on.
SCALE_LOW, SCALE_HIGH, SCALE_FRAMES = 0.85, 1.15, 80
#: Which factors scale a part evenly.
_EVEN_PARTS = np.array([STRETCHES[name].axis is None for name in SCALE_NAMES])
#: Speed of a heel or toe against the ground at which its trust as a standing point falls to 1/e, per cent of the height
#: per frame at 30 frames per second.
_STANDING_SPEED = 0.9
#: Largest step of a rotation in one iteration, radians.
_MAX_TURN = 0.5


def default_intrinsics(image_size: tuple[int, int]) -> np.ndarray:
    """(3, 3) float64: K of a camera of ordinary field of view for pictures of ``(width, height)``."""
    width, height = image_size
    focal = DEFAULT_FOCAL * max(width, height)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def fit_body(
    pose: PoseTrack,
    mask: Callable[[int], np.ndarray] | None,
    image_size: tuple[int, int],
    rest: RestBody,
    *,
    fps: float,
    intrinsics: np.ndarray | None = None,
    quality: Quality = "thorough",
    camera: CameraPath | None = None,
    contacts: FootContacts | None = None,
    proportions: bool = True,
    weights: FitWeights | None = None,
    points: SpacePoints | None = None,
    cuts: Sequence[int] = (),
    store: FitStore | None = None,
    progress: Progress | None = None,
) -> BodyParams:
    """Fit ``rest`` to a person.

    Parameters
    ----------
    pose:
        Cleaned landmarks.
    mask:
        ``mask(t)`` gives the person's pixels (H, W) bool; used by quality ``best`` only, may be ``None``.
    image_size:
        ``(width, height)`` in pixels.
    rest:
        The body.
    fps:
        Frames per second.
    intrinsics:
        (3, 3) K of the camera in pixels; :func:`default_intrinsics` if ``None``.
    quality:
        ``quick``, ``thorough`` or ``best``: how many iterations, and whether silhouettes are looked at.
    camera:
        Motion of the camera, for standing feet; still if ``None``.
    contacts:
        When the feet stand; no foot is held if ``None``.
    proportions:
        Whether limb lengths and widths may be fitted (factors in ``BodyParams.shape``).
    weights:
        Weights of the terms.
    points:
        Landmarks in space, in the size of ``rest``, where several views tell them.
    cuts:
        First frames of new shots; the body has one shape, but its motion is not carried over a cut.
    store:
        Keeps the finished windows of a long clip, so that a fit that is cut off can go on.
    progress:
        Called with the fraction done.

    Returns
    -------
    BodyParams
        A row for every frame; frames without the person hold the nearest fitted pose and are not ``valid``.

    Raises
    ------
    core.errors.InputError
        The person is in no frame, or the quality is unknown.
    """
    if quality not in SCHEDULES:
        raise InputError(f"There is no fit quality {quality!r}.", f"Choose one of: {', '.join(SCHEDULES)}.")
    present = pose.present & np.isfinite(pose.landmarks).all((1, 2)) & (pose.weight.max(1) > 0)
    if not present.any():
        raise InputError("No frame shows a person to fit a body to.", "Choose a clip in which a person can be seen.")
    fit = _Fit(
        pose,
        image_size,
        rest,
        fps,
        intrinsics,
        SCHEDULES[quality],
        camera,
        contacts,
        weights or FitWeights(),
        mask,
        points,
    )
    # Thousands of small matrices: a second BLAS thread costs more than it gives, above all beside other work.
    with threadpool_limits(limits=1, user_api="blas"):
        pieces = [windows(start, end) for start, end in stretches(present, cuts)]
        kept = store if sum(map(len, pieces)) > 1 else None
        rotations, place, scales = fit.run(
            present, pieces, proportions, kept, progress or (lambda _fraction, _text: None)
        )
    held = nearest(present)
    shape = dict(rest.shape) | (
        {name: float(scale) for name, scale in zip(SCALE_NAMES, scales, strict=True)} if proportions else {}
    )
    params = BodyParams(
        model=rest.model,
        shape=shape,
        joint_names=JOINT_NAMES,
        rotations=rotations[held].astype(np.float32),
        translation=place[held].astype(np.float32),
        intrinsics=fit.intrinsics,
        keypoints=np.zeros((len(pose), 33, 3), np.float32),
        valid=present,
    )
    return replace(params, keypoints=_keypoints(rest, params))


def fit_proportions(
    pose: PoseTrack,
    image_size: tuple[int, int],
    rest: RestBody,
    *,
    fps: float,
    intrinsics: np.ndarray | None = None,
    quality: Quality = "thorough",
    weights: FitWeights | None = None,
    points: SpacePoints | None = None,
) -> dict[str, float]:
    """The person's proportions alone, as factors on ``rest`` by their names (``SCALE_NAMES``), from a sample of frames.

    Parameters are those of :func:`fit_body`, which raises where nobody is seen; here all factors are 1 then.
    """
    present = np.flatnonzero(pose.present & np.isfinite(pose.landmarks).all((1, 2)) & (pose.weight.max(1) > 0))
    if not len(present):
        return dict.fromkeys(SCALE_NAMES, 1.0)
    fit = _Fit(
        pose, image_size, rest, fps, intrinsics, SCHEDULES[quality], None, None, weights or FitWeights(), None, points
    )
    with threadpool_limits(limits=1, user_api="blas"):
        return dict(zip(SCALE_NAMES, fit.proportions(present).tolist(), strict=True))


def _keypoints(rest: RestBody, params: BodyParams) -> np.ndarray:
    """(T, 33, 3) the body's landmarks; a window at a time, since the bones' transforms take more room than the result."""
    pieces = [params.window(first, min(first + WINDOW, len(params))) for first in range(0, len(params), WINDOW)]
    return np.concatenate([landmark_positions(rest, params_transforms(rest, piece)) for piece in pieces])


class _Fit:
    """One clip's fit: observations in, states out."""

    def __init__(
        self,
        pose: PoseTrack,
        image_size: tuple[int, int],
        rest: RestBody,
        fps: float,
        intrinsics: np.ndarray | None,
        schedule: Schedule,
        camera: CameraPath | None,
        contacts: FootContacts | None,
        weights: FitWeights,
        mask: Callable[[int], np.ndarray] | None,
        points: SpacePoints | None,
    ) -> None:
        self.intrinsics = default_intrinsics(image_size) if intrinsics is None else np.asarray(intrinsics, np.float64)
        self._pose, self._rest, self._schedule, self._weights = pose, rest, schedule, weights
        self._chain, self._prior = LandmarkChain(rest), prior_of(rest)
        self._height = rest.height
        self._fps = fps
        steps = max(len(pose) - 1, 0)
        self._H_next = np.tile(np.eye(3), (steps, 1, 1)) if camera is None else camera.H_next_source
        self._mask, self._points = mask, points
        self._surface = LandmarkChain(rest, surface_points(rest)) if mask is not None and schedule.silhouette else None
        self._travels = camera is not None and not camera.is_static
        self._contact = np.zeros((len(pose), 2), bool) if contacts is None else contacts.contact

    def run(
        self,
        present: np.ndarray,
        pieces: list[list[tuple[int, int]]],
        proportions: bool,
        store: FitStore | None,
        report: Progress,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotations (T, J, 3) and places (T, 3), filled in the windows of the ``pieces``, and the proportions (S,)."""
        report(0.0, "measuring proportions")
        scales = np.ones(len(SCALE_NAMES))
        if proportions:
            found = store.load("proportions") if store is not None else None
            scales = self.proportions(np.flatnonzero(present)) if found is None else found["scales"]
            if store is not None and found is None:
                store.save("proportions", scales=scales)
        rotations = np.zeros((len(present), len(JOINT_NAMES), 3))
        place = np.zeros((len(present), 3))
        for piece in pieces:
            for first, last in piece:
                state = self._kept_window(first, last, scales, store)
                join(rotations, place, state, first, piece[0][0], last)
                report(float(present[:last].sum() / present.sum()), "fitting the body")
        return rotations, place, scales

    def _kept_window(self, first: int, last: int, scales: np.ndarray, store: FitStore | None) -> PoseState:
        """One window's poses, from the store where they are there."""
        name = f"{first:07d}"
        kept = store.load(name) if store is not None else None
        if kept is not None:
            return PoseState(kept["root"], kept["vectors"], kept["place"], scales)
        state = self.window(first, last, scales)
        if store is not None:
            store.save(name, root=state.root, vectors=state.vectors, place=state.place)
        return state

    def _start(self, frames: np.ndarray) -> tuple[PoseState, Observations]:
        """First pose and observations of some frames (consecutive, where neighbours matter)."""
        landmarks = self._pose.landmarks[frames, :, :2].astype(np.float64)
        weight = self._pose.weight[frames].astype(np.float64)
        view = view_rotations(landmarks, self.intrinsics)
        world = self._pose.world[frames].astype(np.float64) @ view.transpose(0, 2, 1)
        state = initial_state(self._rest, self._chain, landmarks, world, weight, self.intrinsics)
        size = self.intrinsics[1, 1] * self._height / state.place[:, 2]
        pairs, pair_weight = direction_pairs(self._weights.forearm_direction)
        bones = world[:, pairs[:, 1]] - world[:, pairs[:, 0]]
        standing, ground = self._standing(landmarks, frames, size)
        trust = weight * image_trust()
        space = None if self._points is None else self._points.at(frames)
        if space is not None:
            space = SpacePoints(space.points, space.trust * image_trust())
            trust = np.where(space.trust > 0, 0.0, trust)
        observations = Observations(
            landmarks=landmarks,
            trust=trust,
            directions=bones / np.maximum(np.linalg.norm(bones, axis=-1, keepdims=True), 1e-6),
            direction_trust=np.sqrt(weight[:, pairs[:, 0]] * weight[:, pairs[:, 1]]) * pair_weight,
            size_px=size,
            H_next=self._H_next[frames[:-1]],
            ground_drift=ground,
            standing=standing,
            rate_factor=(self._fps / 30.0) ** 2,
            space=space,
        )
        return state, observations

    def _standing(self, landmarks: np.ndarray, frames: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How surely each heel and toe rests from a frame to the next (T-1, 4), and how the ground moves there (T-1, 2).

        The ground under the feet moves as the scene behind does only while the camera merely turns. Where it travels
        along, the standing feet themselves show by how many pixels a frame the ground moves more than the background.
        """
        if len(frames) < 2:
            return np.zeros((0, 4)), np.zeros((0, 2))
        points = gaussian_filter1d(landmarks[:, FOOT_POINTS], 1.0, axis=0, mode="nearest")
        velocity = points[1:] - carry(points[:-1], self._H_next[frames[:-1]])
        contact = (self._contact[frames[:-1]] & self._contact[frames[1:]]).repeat(2, axis=1).astype(float)
        limit = _STANDING_SPEED / 100.0 * size[:-1, None] * 30.0 / self._fps
        ground = np.zeros((len(velocity), 2))
        if self._travels and contact.sum() >= self._fps / 2:
            middle = np.median(velocity[contact > 0], axis=0)
            share = contact * np.exp(-((np.linalg.norm(velocity - middle, axis=-1) / (2 * limit)) ** 2))
            spread = self._fps / 2
            total = gaussian_filter1d(share.sum(1), spread, mode="nearest")[:, None]
            pulled = gaussian_filter1d((share[..., None] * (velocity - middle)).sum(1), spread, axis=0, mode="nearest")
            ground = middle + pulled / (total + 0.1)
        speed = np.linalg.norm(velocity - ground[:, None], axis=-1)
        return contact * np.exp(-((speed / limit) ** 2)), ground

    def proportions(self, frames: np.ndarray) -> np.ndarray:
        """(S,) factors that fit the person best, on a sample of frames, each frame by itself."""
        trust = np.sort(self._pose.weight[frames], axis=1)[:, 8]
        frames = frames[trust >= min(np.median(trust), 0.5)]
        frames = frames[np.linspace(0, len(frames) - 1, min(SCALE_FRAMES, len(frames))).round().astype(int)]
        state, seen = self._start(frames)
        for robust_scale, iterations in self._schedule.scales:
            state = self._descend(state, seen, robust_scale, iterations, alone=True)
        return np.clip(state.scales, SCALE_LOW, SCALE_HIGH)

    def window(self, first: int, last: int, scales: np.ndarray) -> PoseState:
        """The poses of consecutive frames."""
        state, seen = self._start(np.arange(first, last))
        state.scales = scales
        for robust_scale, iterations in self._schedule.poses:
            state = self._descend(state, seen, robust_scale, iterations, alone=False)
        if self._mask is not None and self._surface is not None:
            maps = distance_maps(self._mask, np.arange(first, last), seen.landmarks, seen.size_px)
            outline = Silhouette(self._surface, maps)
            state = self._descend(state, seen, robust_scale, self._schedule.silhouette, alone=False, outline=outline)
        return state

    def _system(
        self, state: PoseState, seen: Observations, robust_scale: float, alone: bool, outline: Silhouette | None
    ) -> NormalEquations:
        """All terms at one state. ``alone``: no coupling of frames, but shared proportions."""
        weights = self._weights
        posed = self._chain.pose(state, with_scales=alone)
        system = NormalEquations(len(state), PARAMETERS, len(SCALE_NAMES) if alone else 0)
        add_image_term(system, posed, seen, self.intrinsics, robust_scale)
        if seen.space is not None:
            add_point_term(system, posed, seen.space, weights.point, self._height, robust_scale)
        add_direction_term(system, posed, seen, weights.direction)
        add_prior_term(system, state, self._prior, weights)
        if alone:
            sigma = np.where(_EVEN_PARTS, weights.even_scale_sigma, weights.scale_sigma)
            system.add_shared(state.scales - 1.0, len(state) / sigma**2)
        else:
            add_motion_terms(system, state, posed, seen, weights, self._height)
            add_contact_term(system, posed, seen, self.intrinsics, weights, self._height)
        if outline is not None:
            outline.add(system, state, seen, self.intrinsics)
        return system

    def _descend(
        self,
        state: PoseState,
        seen: Observations,
        robust_scale: float,
        iterations: int,
        *,
        alone: bool,
        outline: Silhouette | None = None,
    ) -> PoseState:
        """Damped Gauss-Newton: a step that does not lower the cost is taken back and tried again more carefully."""
        damping = 1e-3
        system = self._system(state, seen, robust_scale, alone, outline)
        for _ in range(iterations):
            step, scale_step = system.solve(damping)
            step[:, 3:] = np.clip(step[:, 3:], -_MAX_TURN, _MAX_TURN)
            trial = state.moved(step, scale_step if alone else None)
            trial_system = self._system(trial, seen, robust_scale, alone, outline)
            if trial_system.cost < system.cost:
                gain = 1.0 - trial_system.cost / system.cost
                state, system, damping = trial, trial_system, max(damping / 5, 1e-6)
                if gain < 1e-4:
                    break
            else:
                damping *= 20
        return state
