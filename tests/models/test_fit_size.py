"""How large a fitted body is: from landmarks in space, or from a height that is known."""

from dataclasses import replace

import numpy as np
import pytest

from core.types import BodyParams, PoseTrack
from models.body.anny_body import AnnyBody
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import RestBody
from models.body.fit_size import height_of, resized, size_in_space
from models.body.fitting import default_intrinsics
from models.body.pose_init import view_rotations
from tests.models.test_fitting import JOINT_NAMES, SIZE, motion, seen

#: The person is smaller than the body that was fitted.
SMALL = 0.88


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


@pytest.fixture(scope="module")
def fitted(rest: RestBody) -> BodyParams:
    rotations, place = motion(rest, 60)
    K = default_intrinsics(SIZE)
    params = BodyParams(
        "anny", {"scale_thigh": 1.05}, JOINT_NAMES, rotations.astype(np.float32), place.astype(np.float32), K,
        np.zeros((60, 33, 3), np.float32), np.ones(60, bool),
    )  # fmt: skip
    return replace(params, keypoints=landmark_positions(rest, params_transforms(rest, params)))


def person(rest: RestBody, fitted: BodyParams, noise_m: float) -> PoseTrack:
    """What is seen of somebody of the same shape who is smaller, with noise on the landmarks in space."""
    pose = seen(rest, fitted.rotations.astype(float), fitted.translation.astype(float), fitted.shape)
    world = SMALL * (fitted.keypoints - fitted.keypoints[:, [23, 24]].mean(1, keepdims=True))
    # The landmark network's axes look straight at the person.
    world = world @ view_rotations(pose.landmarks[..., :2].astype(float), fitted.intrinsics)
    world = world + np.random.default_rng(1).normal(0, noise_m, world.shape)
    return replace(pose, world=world.astype(np.float32))


@pytest.mark.parametrize(("noise_m", "within"), [(0.0, 1e-4), (0.06, 0.01)])
def test_noise_does_not_make_the_person_taller(
    rest: RestBody, fitted: BodyParams, noise_m: float, within: float
) -> None:
    pose = person(rest, fitted, noise_m)
    assert size_in_space(fitted, pose) == pytest.approx(SMALL, abs=within)
    shin = np.linalg.norm(pose.world[:, 25] - pose.world[:, 27], axis=1)
    true = SMALL * np.linalg.norm(fitted.keypoints[:, 25] - fitted.keypoints[:, 27], axis=1)
    if noise_m:
        assert shin.mean() > 1.02 * true.mean(), "a ratio of lengths would be misled"


def test_landmarks_that_are_not_trusted_have_no_say(rest: RestBody, fitted: BodyParams) -> None:
    pose = person(rest, fitted, 0.0)
    pose.world[:20] *= 3.0
    pose.weight[:20] = 0.1
    assert size_in_space(fitted, pose) == pytest.approx(SMALL, abs=1e-4)
    assert size_in_space(fitted, replace(pose, weight=np.full_like(pose.weight, 0.1))) is None


def test_height_is_from_sole_to_crown_with_proportions(rest: RestBody, fitted: BodyParams) -> None:
    plain = replace(fitted, shape={})
    assert height_of(rest, plain) == pytest.approx(rest.height, abs=1e-4)
    assert height_of(rest, fitted) > rest.height + 0.015, "thighs are a twentieth longer"
    assert height_of(rest, resized(fitted, 1.62 / height_of(rest, fitted))) == pytest.approx(1.62, abs=1e-4)


def test_another_size_changes_nothing_in_the_picture(rest: RestBody, fitted: BodyParams) -> None:
    small = resized(fitted, SMALL)
    before, after = (params.keypoints @ params.intrinsics.T for params in (fitted, small))
    np.testing.assert_allclose(after[..., :2] / after[..., 2:], before[..., :2] / before[..., 2:], atol=0.01)
    # The landmarks are those of the body as it is drawn.
    np.testing.assert_allclose(landmark_positions(rest, params_transforms(rest, small)), small.keypoints, atol=1e-4)
