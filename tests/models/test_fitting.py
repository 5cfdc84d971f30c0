"""The fit against motions that are known: does it find the pose, the place and the proportions, and stay human."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.types import LANDMARK_NAMES, CameraPath, FootContacts, PoseTrack
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, bone_transforms, landmark_positions
from models.body.base import JOINT_NAMES, SCALE_NAMES, RestBody
from models.body.block_solver import NormalEquations
from models.body.fit_terms import SpacePoints, hinge_angles
from models.body.fit_windows import OVERLAP, WINDOW
from models.body.fitting import Quality, default_intrinsics, fit_body
from models.body.kinematics import PARAMETERS, LandmarkChain, PoseState
from models.body.pose_init import limbs_of, rotation_vectors

SIZE = (960, 540)
FACING = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
LIMBS = [
    LANDMARK_NAMES.index(f"{s}_{p}")
    for s in ("left", "right")
    for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def motion(rest: RestBody, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A person who turns to and fro, waves an arm and lifts the knees; rotations and places."""
    time = np.arange(frames) / 30.0
    rotations = np.zeros((frames, len(JOINT_NAMES), 3))
    yaw = 0.6 * np.sin(1.5 * time)
    for t in range(frames):
        cos, sin = np.cos(yaw[t]), np.sin(yaw[t])
        turn = FACING @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        rotations[t, 0] = rotation_vectors(turn[None])[0]
    for limb in limbs_of(rest):
        name = JOINT_NAMES[limb.hinge.joint]
        phase = 0 if name.startswith("left") else np.pi
        bend = 0.5 + 0.4 * np.sin(4 * time + phase)
        rotations[:, limb.hinge.joint] = bend[:, None] * limb.hinge.axis
        swing = 0.5 * np.sin(4 * time + phase) if "knee" in name else 0.4 + 0.4 * np.sin(4 * time)
        rotations[:, limb.upper, 0] = -swing
    place = np.stack([0.3 * np.sin(time), np.full(frames, 0.1), 4.0 + 0.2 * np.cos(time)], 1)
    return rotations, place


def seen(
    rest: RestBody, rotations: np.ndarray, place: np.ndarray, shape: dict[str, float] | None = None, noise: float = 0.0
) -> PoseTrack:
    """What a perfect (or noisy) detector would give."""
    points = landmark_positions(rest, bone_transforms(rest, rotations, place, shape)).astype(float)
    K = default_intrinsics(SIZE)
    pixels = points @ K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    hips = points[:, [LANDMARK_NAMES.index("left_hip"), LANDMARK_NAMES.index("right_hip")]].mean(1, keepdims=True)
    landmarks = np.concatenate([pixels, np.zeros((*pixels.shape[:2], 1))], -1)
    count = len(points)
    return PoseTrack(
        landmarks.astype(np.float32),
        (points - hips).astype(np.float32),
        np.ones((count, 33), np.float32),
        np.ones(count, bool),
    )


def reprojection(params, pose: PoseTrack) -> np.ndarray:
    """(T, 12) pixels of the limb joints."""
    pixels = params.keypoints @ params.intrinsics.T
    return np.linalg.norm(pixels[..., :2] / pixels[..., 2:] - pose.landmarks[..., :2], axis=-1)[:, LIMBS]


def test_a_known_motion_is_found(rest: RestBody) -> None:
    rotations, place = motion(rest, 40)
    pose = seen(rest, rotations, place, noise=0.5)
    params = fit_body(pose, None, SIZE, rest, fps=30)
    truth = landmark_positions(rest, bone_transforms(rest, rotations, place))
    assert reprojection(params, pose).mean() < 1.5
    own, true = (points - points[:, 23:25].mean(1, keepdims=True) for points in (params.keypoints, truth))
    assert np.linalg.norm(own - true, axis=-1)[:, LIMBS].mean() < 0.03, "metres, the hips held together"
    assert params.valid.all() and params.joint_names == JOINT_NAMES


def test_other_proportions_are_found(rest: RestBody) -> None:
    rotations, place = motion(rest, 30)
    shape = {"scale_thigh": 1.08, "scale_upper_arm": 0.92}
    pose = seen(rest, rotations, place, shape)
    params = fit_body(pose, None, SIZE, rest, fps=30)
    plain = fit_body(pose, None, SIZE, rest, fps=30, proportions=False)
    assert params.shape["scale_thigh"] / params.shape["scale_upper_arm"] > 1.05
    assert reprojection(params, pose).mean() < reprojection(plain, pose).mean()
    assert not any(name in plain.shape for name in SCALE_NAMES)


def test_bones_keep_their_length_and_sides_are_alike(rest: RestBody) -> None:
    rotations, place = motion(rest, 30)
    params = fit_body(seen(rest, rotations, place, noise=2.0), None, SIZE, rest, fps=30)

    def length(a: str, b: str) -> np.ndarray:
        ends = (params.keypoints[:, LANDMARK_NAMES.index(name)] for name in (a, b))
        return np.linalg.norm(np.subtract(*ends), axis=1)

    # Knee and elbow landmarks are blends of skin, so a bent joint shifts them by a few millimetres.
    for part in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
        left, right = (length(*(f"{side}_{p}" for p in part)) for side in ("left", "right"))
        assert np.ptp(left) < 0.08 * left.mean()
        assert left.mean() == pytest.approx(right.mean(), rel=0.05)


def test_elbows_and_knees_bend_the_right_way_under_heavy_noise(rest: RestBody) -> None:
    rotations, place = motion(rest, 30)
    params = fit_body(seen(rest, rotations, place, noise=6.0), None, SIZE, rest, fps=30)
    angles = hinge_angles(rest, params.rotations)
    for column, limb in enumerate(limbs_of(rest)):
        assert angles[:, column].min() > limb.hinge.low - 0.15
        assert angles[:, column].max() < limb.hinge.high + 0.15


def test_noise_is_smoothed_and_one_outlier_does_not_pull(rest: RestBody) -> None:
    rotations, place = motion(rest, 40)
    clean, noisy = seen(rest, rotations, place), seen(rest, rotations, place, noise=2.0)
    wrist = LANDMARK_NAMES.index("left_wrist")
    noisy.landmarks[20, wrist, :2] += 150
    params = fit_body(noisy, None, SIZE, rest, fps=30)
    shaking = [
        np.linalg.norm(np.diff(x, n=2, axis=0), axis=-1)[:, LIMBS].mean()
        for x in (noisy.landmarks[..., :2], project(params))
    ]
    assert shaking[1] < 0.5 * shaking[0]
    assert np.linalg.norm(project(params)[20, wrist] - clean.landmarks[20, wrist, :2]) < 12


def project(params) -> np.ndarray:
    pixels = params.keypoints @ params.intrinsics.T
    return pixels[..., :2] / pixels[..., 2:]


def test_standing_feet_are_held_while_the_camera_pans(rest: RestBody) -> None:
    frames = 30
    rotations, place = motion(rest, 1)
    rotations, place = rotations.repeat(frames, 0), place.repeat(frames, 0)
    pose = seen(rest, rotations, place, noise=3.0)
    pan = np.arange(frames)[:, None, None] * np.array([4.0, 1.0])
    pose.landmarks[..., :2] += pan
    H = np.tile(np.eye(3), (frames - 1, 1, 1))
    H[:, :2, 2] = [4.0, 1.0]
    camera = CameraPath(H, np.tile(np.eye(3), (frames, 1, 1)), np.ones(frames - 1, np.float32))
    contacts = FootContacts(np.ones((frames, 2), bool), np.zeros((frames, 2), np.float32))
    heels = [LANDMARK_NAMES.index(f"{side}_heel") for side in ("left", "right")]

    def slide(params) -> float:
        return float(np.linalg.norm(np.diff(project(params)[:, heels] - pan, axis=0), axis=-1).mean())

    locked = slide(fit_body(pose, None, SIZE, rest, fps=30, camera=camera, contacts=contacts))
    free = slide(fit_body(pose, None, SIZE, rest, fps=30, camera=camera))
    assert locked < 0.6 * free
    assert locked < 0.5


def test_frames_without_the_person_hold_the_last_pose_and_do_not_pull(rest: RestBody) -> None:
    rotations, place = motion(rest, 30)
    pose = seen(rest, rotations, place)
    present = np.ones(30, bool)
    present[[0, 1, 12, 13, 14, 29]] = False
    for array in (pose.landmarks, pose.world):
        array[~present] = np.nan
    pose.weight[~present] = 0
    params = fit_body(replace(pose, present=present), None, SIZE, rest, fps=30)
    np.testing.assert_array_equal(params.valid, present)
    assert np.isfinite(params.rotations).all() and np.isfinite(params.keypoints).all()
    np.testing.assert_array_equal(params.rotations[12:15], params.rotations[[11] * 3])
    np.testing.assert_array_equal(params.rotations[0], params.rotations[2])
    assert reprojection(params, pose)[present].mean() < 2


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_clips_work(rest: RestBody, frames: int) -> None:
    rotations, place = motion(rest, frames)
    pose = seen(rest, rotations, place)
    params = fit_body(pose, None, SIZE, rest, fps=30, quality="quick")
    assert len(params) == frames
    assert reprojection(params, pose).mean() < 3


def test_windows_join_without_a_jump(rest: RestBody) -> None:
    frames = WINDOW + 60
    rotations, place = motion(rest, frames)
    pose = seen(rest, rotations, place, noise=1.0)
    said: list[float] = []
    params = fit_body(
        pose, None, SIZE, rest, fps=30, quality="quick", progress=lambda fraction, _text: said.append(fraction)
    )
    step = np.linalg.norm(np.diff(params.keypoints, n=2, axis=0), axis=-1).mean(1)
    assert step.max() < 6 * np.median(step) + 0.005
    assert said == sorted(said) and said[-1] == 1.0
    assert OVERLAP < WINDOW


def test_the_best_quality_draws_a_stray_leg_back_into_the_mask(rest: RestBody) -> None:
    rotations, place = motion(rest, 12)
    truth = seen(rest, rotations, place)
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    masks = []
    for transforms in bone_transforms(rest, rotations, place):
        pixels = skin(transforms) @ default_intrinsics(SIZE).T
        picture = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        for triangle in np.round(pixels[:, :2] / pixels[:, 2:])[rest.faces].astype(np.int32):
            cv2.fillConvexPoly(picture, triangle, 1)
        masks.append(picture.astype(bool))
    ankle = LANDMARK_NAMES.index("left_ankle")
    misled = seen(rest, rotations, place)
    for part in ("ankle", "heel", "foot_index"):
        misled.landmarks[:, LANDMARK_NAMES.index(f"left_{part}"), 0] += 14
        misled.weight[:, LANDMARK_NAMES.index(f"left_{part}")] = 0.2  # what cleaning leaves to points outside the mask

    def error(quality: Quality) -> float:
        params = fit_body(misled, masks.__getitem__, SIZE, rest, fps=30, quality=quality, proportions=False)
        return float(np.abs(project(params)[:, ankle, 0] - truth.landmarks[:, ankle, 0]).mean())

    assert error("best") < 0.75 * error("thorough")


def test_nobody_and_unknown_quality_are_refused(rest: RestBody) -> None:
    rotations, place = motion(rest, 2)
    pose = seen(rest, rotations, place)
    with pytest.raises(InputError, match="No frame"):
        fit_body(replace(pose, present=np.zeros(2, bool)), None, SIZE, rest, fps=30)
    with pytest.raises(InputError, match="sloppy"):
        fit_body(pose, None, SIZE, rest, fps=30, quality="sloppy")  # type: ignore[arg-type]


def test_derivatives_are_those_of_the_posing(rest: RestBody) -> None:
    rng = np.random.default_rng(5)
    chain = LandmarkChain(rest)
    rotations, place = motion(rest, 2)
    root = np.tile(FACING, (2, 1, 1))
    state = PoseState(
        root, rotations + rng.normal(0, 0.3, rotations.shape), place, 1 + rng.normal(0, 0.05, len(SCALE_NAMES))
    )
    posed = chain.pose(state, with_scales=True)
    assert posed.scale_jacobian is not None
    for parameter in range(0, PARAMETERS, 5):
        step = np.zeros((2, PARAMETERS))
        step[:, parameter] = 1e-6
        slope = (chain.points(state.moved(step)) - chain.points(state.moved(-step))) / 2e-6
        np.testing.assert_allclose(posed.jacobian[..., parameter], slope, atol=1e-6)
    for factor in range(len(SCALE_NAMES)):
        change = np.eye(len(SCALE_NAMES))[factor] * 1e-6
        still = np.zeros((2, PARAMETERS))
        slope = (chain.points(state.moved(still, change)) - chain.points(state.moved(still, -change))) / 2e-6
        np.testing.assert_allclose(posed.scale_jacobian[..., factor], slope, atol=1e-6)


def test_banded_solution_is_that_of_the_dense_system() -> None:
    rng = np.random.default_rng(6)
    frames, n = 6, 4
    system = NormalEquations(frames, n)
    dense, gradient = np.zeros((frames * n, frames * n)), np.zeros(frames * n)
    for width in (1, 2, 3):
        count = frames - width + 1
        residual, jacobians = rng.normal(size=(count, 5)), [rng.normal(size=(count, 5, n)) for _ in range(width)]
        if width == 1:
            system.add(residual, jacobians[0])
        else:
            system.add_coupled(residual, jacobians)
        for m in range(count):
            row = np.zeros((5, frames * n))
            for i, jacobian in enumerate(jacobians):
                row[:, (m + i) * n : (m + i + 1) * n] = jacobian[m]
            dense += row.T @ row
            gradient += row.T @ residual[m]
    slope = rng.uniform(1, 2, n)
    values = rng.normal(size=(frames - 2, n))
    system.add_differences(values * slope, slope, (1.0, -2.0, 1.0))
    for m in range(frames - 2):
        row = np.zeros((n, frames * n))
        for i, part in enumerate((1, -2, 1)):
            row[:, (m + i) * n : (m + i + 1) * n] = part * np.diag(slope)
        dense += row.T @ row
        gradient += row.T @ (values[m] * slope)
    step, _ = system.solve(0.0)
    np.testing.assert_allclose(step.ravel(), -np.linalg.solve(dense, gradient), rtol=1e-6, atol=1e-8)


def test_motion_is_not_carried_over_a_cut(rest: RestBody) -> None:
    rotations, place = motion(rest, 40)
    # From frame 20 on the person is a metre to the side and faces the other way.
    place[20:, 0] += 1.0
    rotations[20:] = motion(rest, 100)[0][80:]
    pose = seen(rest, rotations, place)
    truth = landmark_positions(rest, bone_transforms(rest, rotations, place))
    near = slice(18, 22)

    def error(cuts: tuple[int, ...]) -> float:
        params = fit_body(pose, None, SIZE, rest, fps=30, proportions=False, cuts=cuts)
        return float(np.linalg.norm(params.keypoints - truth, axis=-1)[near][:, LIMBS].mean())

    assert error((20,)) < 0.02 < 2 * error((20,)) < error(())


class Kept(dict):
    """What a fit has finished."""

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        return self.get(name)

    def save(self, name: str, **arrays: np.ndarray) -> None:
        self[name] = arrays


def test_a_long_fit_that_was_cut_off_goes_on(rest: RestBody) -> None:
    rotations, place = motion(rest, WINDOW + 40)
    pose = seen(rest, rotations, place, noise=3.0)

    def fit(store: Kept, stop: float = 2.0) -> tuple[object, list[float]]:
        told: list[float] = []

        def report(fraction: float, _text: str) -> None:
            told.append(fraction)
            if fraction >= stop:
                raise KeyboardInterrupt

        return fit_body(pose, None, SIZE, rest, fps=30, quality="quick", store=store, progress=report), told

    kept = Kept()
    with pytest.raises(KeyboardInterrupt):
        fit(kept, stop=0.3)
    assert set(kept) == {"proportions", "0000000"}
    first = {name: array.copy() for name, array in kept["0000000"].items()}
    resumed, _ = fit(kept)
    whole, _ = fit(Kept())
    np.testing.assert_array_equal(resumed.rotations, whole.rotations)
    np.testing.assert_array_equal(resumed.keypoints, whole.keypoints)
    for name, array in first.items():
        np.testing.assert_array_equal(kept["0000000"][name], array)
    short = Kept()
    fit_body(seen(rest, rotations[:5], place[:5]), None, SIZE, rest, fps=30, quality="quick", store=short)
    assert not short, "one window is soon done again"


def test_points_in_space_tell_what_one_view_cannot(rest: RestBody) -> None:
    rotations, place = motion(rest, 30)
    truth = landmark_positions(rest, bone_transforms(rest, rotations, place)).astype(float)
    pose = seen(rest, rotations, place, noise=8.0)
    # The one view knows nothing of depth.
    flat = pose.world.copy()
    flat[..., 2] = 0.0
    pose = replace(pose, world=flat)
    trust = np.ones((30, 33))
    trust[:, LANDMARK_NAMES.index("left_wrist")] = 0.0
    points = np.where(trust[..., None] > 0, truth, np.nan)
    alone = fit_body(pose, None, SIZE, rest, fps=30)
    both = fit_body(pose, None, SIZE, rest, fps=30, points=SpacePoints(points, trust))
    errors = [np.linalg.norm(p.keypoints - truth, axis=-1)[:, LIMBS].mean() for p in (alone, both)]
    assert errors[1] < 0.01 < 0.05 < errors[0]
