"""How stout the drawn body is: found from silhouettes, without moving a joint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.types import BodyParams
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, landmark_positions, params_transforms, skin
from models.body.base import JOINT_NAMES, RestBody
from models.body.embree import RayScene, rasterize
from models.body.mesh.build import GIRTHS, fit_build, outward, with_girth
from models.body.pose_init import rotation_vectors

SIZE = (180, 240)
INTRINSICS = np.array([[280.0, 0.0, 89.5], [0.0, 280.0, 119.5], [0.0, 0.0, 1.0]])
#: Model axes to camera axes: the body faces the camera, and turns its side to it.
FACING = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
ASIDE = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
STOUT = {
    "scale_girth_chest": 1.1,
    "scale_girth_waist": 1.25,
    "scale_girth_upper_arm": 1.0,
    "scale_girth_forearm": 1.1,
    "scale_girth_thigh": 1.2,
    "scale_girth_shin": 1.05,
    "scale_girth_head": 1.05,
    "scale_girth_foot": 1.1,
}


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


@pytest.fixture(scope="module")
def params(rest: RestBody) -> BodyParams:
    """Six frames, from the front and from the side, with the arms off the trunk and one leg lifted."""
    rotations = np.zeros((6, len(JOINT_NAMES), 3), np.float32)
    rotations[:, 0] = rotation_vectors(np.stack([FACING, FACING, FACING, ASIDE, ASIDE, ASIDE]))
    rotations[:, JOINT_NAMES.index("left_hip"), 0] = np.linspace(-0.6, 0.4, 6)
    places = np.tile(np.array([0.0, 0.05, 2.4], np.float32), (6, 1))
    points = landmark_positions(rest, bone_transforms(rest, rotations, places))
    return BodyParams(rest.model, {}, JOINT_NAMES, rotations, places, INTRINSICS, points, np.ones(6, bool))


def drawn(rest: RestBody, params: BodyParams, t: int) -> np.ndarray:
    """(H, W) bool: the pixels that a body covers."""
    transforms = params_transforms(rest, params.window(t, t + 1))[0]
    vertices = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms)
    return rasterize(RayScene(vertices, rest.faces), params.intrinsics, np.eye(3), SIZE).hit


def test_girths_are_found_from_the_silhouette(rest: RestBody, params: BodyParams) -> None:
    stout = with_girth(rest, STOUT)
    masks = [drawn(stout, params, t) for t in range(len(params))]
    found = fit_build(rest, params, masks.__getitem__, range(len(params)))
    assert set(found) == set(GIRTHS)
    for name in ("scale_girth_waist", "scale_girth_thigh", "scale_girth_upper_arm"):
        assert found[name] == pytest.approx(STOUT[name], abs=0.08), name
    built = with_girth(rest, found)
    overlaps = []
    for body in (rest, built):
        pictures = [drawn(body, params, t) for t in range(len(params))]
        overlaps.append(np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(pictures, masks, strict=True)]))
    assert overlaps[0] < 0.93 < 0.97 < overlaps[1]


def test_joints_and_landmarks_stay_and_the_waist_grows_all_around(rest: RestBody, params: BodyParams) -> None:
    stout = with_girth(rest, STOUT)
    np.testing.assert_array_equal(stout.bone_heads, rest.bone_heads)
    np.testing.assert_array_equal(stout.landmarks, rest.landmarks)
    moved = outward(rest)[list(GIRTHS).index("scale_girth_waist")]
    thickness = np.linalg.norm(moved, axis=1)
    assert thickness.max() < 0.2, "a body's waist has a radius of less than 20 cm"
    head = rest.vertices[:, 2] > rest.bone_heads[rest.bone("neck01"), 2]
    assert thickness[head].max() == 0.0
    waist = np.abs(rest.vertices[:, 2] - rest.bone_heads[rest.bone("spine04"), 2]) < 0.05
    trunk = waist & (np.abs(rest.vertices[:, 0]) < 0.25)
    sides = np.sign(rest.vertices[trunk, 0]) * moved[trunk, 0]
    assert (sides > -1e-9).all()


def test_a_shape_without_girths_leaves_the_body_alone(rest: RestBody) -> None:
    assert with_girth(rest, {"scale_torso": 1.1}) is rest


def test_somebody_in_front_of_the_person_does_not_change_the_build(rest: RestBody, params: BodyParams) -> None:
    masks = [drawn(rest, params, t) for t in range(len(params))]
    for hidden in (1, 4):
        masks[hidden] = masks[hidden].copy()
        masks[hidden][:, :90] = False
    found = fit_build(rest, params, masks.__getitem__, range(len(params)))
    assert all(abs(value - 1) < 0.06 for value in found.values()), found


def test_nobody_in_the_masks_gives_no_build(rest: RestBody, params: BodyParams) -> None:
    nobody = np.zeros(SIZE[::-1], bool)
    assert fit_build(rest, params, lambda t: nobody, range(len(params))) == {}
    absent = replace(params, valid=np.zeros(len(params), bool))
    assert fit_build(rest, absent, lambda t: ~nobody, range(len(params))) == {}
