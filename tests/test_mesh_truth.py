"""The scenes with a known body: is what they call the truth true, and do the measures measure."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.mesh_truth import weights_of
from benchmarks.truth import noise as noises
from benchmarks.truth.detections import perfect
from benchmarks.truth.motions import MOTIONS, motion_of
from benchmarks.truth.noise import LandmarkNoise
from benchmarks.truth.scenes import SIZE, Scene, Truth, film, pictures
from benchmarks.truth.scores import JOINTS, align, mean_error, slide
from core.types import LANDMARK_NAMES, BodyParams
from models.body.anny_body import AnnyBody
from models.body.base import JOINT_NAMES, RestBody
from models.body.fit_terms import hinge_angles
from models.body.pose_init import limbs_of
from models.body.wardrobe import load_avatar
from pipelines.mesh.one_view import WEIGHTS

FRAMES, RATE = 60, 30.0


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest(load_avatar("maya").phenotype.model_dump())


def scene(rest: RestBody, motion: str, camera: str) -> Truth:
    return film(motion_of(motion, rest, FRAMES, RATE), rest, Scene("maya", motion, camera))


def in_world(truth: Truth) -> np.ndarray:
    return np.einsum("tji,tkj->tki", truth.R_camera_world, truth.landmarks)


def as_params(truth: Truth) -> BodyParams:
    return BodyParams(
        "anny", {}, JOINT_NAMES, truth.rotations, truth.translation, truth.intrinsics,
        truth.landmarks.astype(np.float32), np.ones(len(truth), bool),
    )  # fmt: skip


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("camera", ["fixed", "panning"])
def test_the_body_is_seen_whole_and_stands_on_the_ground(rest: RestBody, motion: str, camera: str) -> None:
    truth = scene(rest, motion, camera)
    assert truth.pixels.min() > 20 and (truth.pixels.max((0, 1)) < np.array(SIZE) - 20).all()
    lowest = in_world(truth)[:, 29:33, 1].max(1)
    assert np.ptp(lowest) < 0.03, "metres; heels and toes lie at different heights of the foot"
    assert truth.standing.any(1).mean() > 0.8
    assert slide(as_params(truth), truth)["slide_mm"] < 1.0


@pytest.mark.parametrize("motion", MOTIONS)
def test_elbows_and_knees_bend_the_right_way(rest: RestBody, motion: str) -> None:
    angles = hinge_angles(rest, motion_of(motion, rest, FRAMES, RATE).vectors.astype(np.float32))
    for limb, angle in zip(limbs_of(rest), angles.T, strict=True):
        assert limb.hinge.low - 0.05 < angle.min() and angle.max() < limb.hinge.high


def test_each_motion_does_what_its_name_says(rest: RestBody) -> None:
    names = {name: k for k, name in enumerate(LANDMARK_NAMES)}
    points = {motion: in_world(scene(rest, motion, "fixed")) for motion in MOTIONS}
    walked = points["walk"][-1, names["nose"]] - points["walk"][0, names["nose"]]
    assert np.hypot(walked[0], walked[2]) > 1.5, "metres in two seconds"
    across = points["turn"][:, names["left_shoulder"]] - points["turn"][:, names["right_shoulder"]]
    heading = np.unwrap(np.arctan2(across[:, 2], across[:, 0]))
    assert abs(heading[-1] - heading[0]) == pytest.approx(2 * np.pi, abs=0.2)
    assert (points["arms"][:, names["left_wrist"], 1] < points["arms"][:, names["nose"], 1] - 0.2).any()
    hips = points["crouch"][:, names["left_hip"], 1]
    assert hips.max() - hips.min() > 0.25


def test_a_turning_camera_moves_the_far_background_as_told(rest: RestBody) -> None:
    truth = scene(rest, "walk", "panning")
    far = np.array([0.4, -0.2, 5.0])
    rays = truth.R_camera_world @ far @ truth.intrinsics.T
    pixels = rays / rays[:, 2:]
    carried = np.einsum("tij,tj->ti", truth.H_next_source, pixels[:-1])
    np.testing.assert_allclose(carried / carried[:, 2:], pixels[1:], atol=1e-6)
    assert not truth.camera.is_static and scene(rest, "walk", "fixed").camera.is_static


def test_the_picture_shows_the_body_where_the_truth_says(rest: RestBody) -> None:
    whole = scene(rest, "arms", "panning")
    frames = np.array([0, 25])
    truth = replace(
        whole,
        rotations=whole.rotations[frames],
        translation=whole.translation[frames],
        landmarks=whole.landmarks[frames],
        R_camera_world=whole.R_camera_world[frames],
    )
    green = np.zeros((994, 1768, 3), np.uint8)
    green[..., 1] = 255
    for rgb, pixels in zip(pictures(Scene("maya", "arms", "panning"), truth, green), truth.pixels, strict=True):
        body = rgb[..., 0].astype(int) + rgb[..., 2] > 40
        x, y = pixels[JOINTS].round().astype(int).T
        assert body[y, x].all()
        assert 0.02 < body.mean() < 0.2, "share of the picture"


def test_alignment_takes_out_what_it_should(rest: RestBody) -> None:
    true = scene(rest, "turn", "fixed").landmarks
    moved = align(true / 0.9 + [0.1, 0.2, 0.3], true)
    assert moved.scale == pytest.approx(0.9) and mean_error(moved.scaled) < 1e-6 < 20 < mean_error(moved.root)
    cos, sin = np.cos(0.4), np.sin(0.4)
    turned = align(true @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]), true)
    assert mean_error(turned.procrustes) < 1e-6 < 50 < mean_error(turned.scaled)
    off = true.copy()
    off[:, LANDMARK_NAMES.index("left_wrist"), 2] += 0.13
    assert mean_error(align(off, true).root) == pytest.approx(10.0), "millimetres, one of thirteen joints 130 mm off"


def test_noise_is_measured_as_it_was_made(rest: RestBody) -> None:
    truth = scene(rest, "turn", "fixed")
    random = np.random.default_rng(3)
    given = LandmarkNoise(
        image_bias=random.normal(0, 1, (33, 3)),
        image_sigma=np.full((33, 2), 0.6),
        image_memory=np.full((33, 2), 0.5),
        world_bias=random.normal(0, 1, (33, 3)),
        world_sigma=np.tile([0.5, 0.5, 1.5], (33, 1)),
        world_memory=np.full((33, 3), 0.7),
    )
    scenes = []
    for seed in range(12):
        scenes.append((truth, perfect(truth, SIZE, RATE, noises.make(given, truth, seed)).pose))
    found = noises.measure(scenes)
    np.testing.assert_allclose(found.image_sigma.mean(0), [0.6, 0.6], rtol=0.1)
    np.testing.assert_allclose(found.world_sigma.mean(0), [0.5, 0.5, 1.5], rtol=0.1)
    assert found.image_memory.mean() == pytest.approx(0.5, abs=0.06)
    assert found.world_memory.mean() == pytest.approx(0.7, abs=0.06)
    assert np.abs(found.image_bias - given.image_bias).mean() < 0.15
    # The scale of the world landmarks is not known, so a shift is found but for what a scale would explain.
    assert np.abs(found.world_bias - given.world_bias).mean() < 0.25


def test_weights_are_read_from_the_command_line() -> None:
    weights = weights_of("direction=2,prior=0.5")
    assert (weights.direction, weights.prior, weights.contact) == (2.0, 0.5, WEIGHTS.contact)
    with pytest.raises(SystemExit, match="no weight 'love'"):
        weights_of("love=1")
    with pytest.raises(SystemExit, match="not a number"):
        weights_of("prior=much")
