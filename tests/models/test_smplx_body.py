"""SMPL-X as a body: are its joints and landmarks where they belong, does it move as the real library moves it, can it be
fitted, and is its file read without running anything. The model file is made from Anny (``tests.smplx_file``)."""

import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from scipy import sparse
from smplx.joint_names import JOINT_NAMES as LIBRARY_JOINTS
from smplx.vertex_ids import vertex_ids

from core.errors import InputError, ModelUnavailable
from core.types import LANDMARK_NAMES, BodyParams, PoseTrack
from models.body.anny_body import AnnyBody
from models.body.articulation import (
    bone_transforms,
    landmark_positions,
    params_transforms,
    rest_change,
    rotation_matrices,
    scales_of,
    skin,
    twist_angle,
)
from models.body.base import JOINT_NAMES, JOINT_PARENTS, SCALE_NAMES, RestBody
from models.body.fit_terms import hinge_angles
from models.body.fitting import default_intrinsics, fit_body
from models.body.joint_tables import COUNTERPARTS, JOINT_BONES, LANDMARKS, SMPL_FAMILY, is_fine, joint_indices
from models.body.pose_init import limbs_of, rotation_vectors
from models.body.silhouette import surface_points
from models.body.smplx_body import SmplxBody, SmplxRestBody, file_pose, file_translation, final_vertices
from tests.smplx_file import BULGE, model_arrays, parents_of, t_pose, write_npz, write_pickle

JOINTS = len(JOINT_NAMES)
SIZE = (960, 540)
FACING = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
LIMBS = [
    LANDMARK_NAMES.index(f"{s}_{p}")
    for s in ("left", "right")
    for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("smplx"))


@pytest.fixture(scope="module")
def model(file: Path) -> SmplxBody:
    return SmplxBody(file)


@pytest.fixture(scope="module")
def rest(model: SmplxBody) -> SmplxRestBody:
    return model.rest({})


def at_rest(rest: RestBody, shape: dict[str, float] | None = None) -> np.ndarray:
    """(33, 3) landmarks in model axes."""
    place = rest.bone_heads[rest.joint_bones[:1]]
    return landmark_positions(rest, bone_transforms(rest, np.zeros((1, JOINTS, 3)), place, shape))[0]


# -- tables ----------------------------------------------------------------------------------------------------------


def mirrored(name: str) -> str:
    for a, b in (("left", "right"), (".L", ".R")):
        if a in name:
            return name.replace(a, b)
        if b in name:
            return name.replace(b, a)
    return name


def test_joints_are_in_the_librarys_order() -> None:
    assert [name.removesuffix("_smplhf") for name in LIBRARY_JOINTS[:55]] == list(SMPL_FAMILY["smplx"])
    places = dict(zip(JOINT_NAMES, joint_indices("smplx"), strict=True))
    assert [LIBRARY_JOINTS[places[name]] for name in ("root", "head", "left_clavicle", "right_wrist", "left_hip")] == [
        "pelvis", "head", "left_collar", "right_wrist", "left_hip",
    ]  # fmt: skip
    assert LIBRARY_JOINTS[places["left_foot"]] == "left_ankle", "SMPL-X's left_foot is the ball of the foot"


@pytest.mark.parametrize("model", JOINT_BONES)
def test_joints_are_mirrored_and_hang_on_their_parents(model: str) -> None:
    bones = JOINT_BONES[model]
    for joint, bone in zip(JOINT_NAMES, bones, strict=True):
        assert bones[JOINT_NAMES.index(mirrored(joint))] == mirrored(bone)
    if model == "anny":
        body = AnnyBody().rest({})
        names, parents = body.bone_names, body.bone_parents
    else:
        names, parents = SMPL_FAMILY[model], parents_of(model)
    for joint, parent in enumerate(JOINT_PARENTS[1:], 1):
        bone = parents[names.index(bones[joint])]
        while names[bone] not in bones:
            bone = parents[bone]
        assert names[bone] == bones[parent], f"{JOINT_NAMES[joint]} hangs on {JOINT_NAMES[parent]}"


@pytest.mark.parametrize("model", LANDMARKS)
def test_landmarks_have_a_source_each_and_sides_are_alike(model: str) -> None:
    table = LANDMARKS[model]
    assert tuple(table) == LANDMARK_NAMES
    for name, source in table.items():
        assert sum(source.bones.values()) + sum(source.points.values()) == pytest.approx(1.0)
        other = table[mirrored(name)]
        assert {mirrored(k): v for k, v in source.bones.items()} == other.bones
        assert {mirrored(k): v for k, v in source.points.items()} == other.points
    for name in ("nose", "left_eye", "right_ear", "left_heel", "right_foot_index"):
        assert table[name].points and not table[name].bones, "points of head and feet lie on the skin"


def test_counterparts_keep_their_side_and_fine_parts_are_known(rest: SmplxRestBody) -> None:
    for anny, smpl in COUNTERPARTS.items():
        assert COUNTERPARTS[mirrored(anny)] == mirrored(smpl)
        assert rest.bone(anny) == rest.bone_names.index(smpl)
    assert rest.bone("left_wrist") == rest.bone("wrist.L")
    with pytest.raises(KeyError, match="smplx"):
        rest.bone("tail")
    fine = {name for name in rest.bone_names if is_fine(name)}
    assert {"left_index3", "right_thumb1", "left_foot", "right_eye"} <= fine
    assert not fine & {"left_ankle", "head", "jaw", "left_wrist", "spine3"}


# -- the baked body --------------------------------------------------------------------------------------------------


def test_body_has_a_persons_size_axes_and_symmetry(rest: SmplxRestBody) -> None:
    points = dict(zip(LANDMARK_NAMES, at_rest(rest), strict=True))
    assert rest.vertices.shape == (10475, 3) and 1.5 < rest.height < 1.95
    assert points["nose"][2] > points["left_ankle"][2] + 1.2, "z is up"
    assert points["nose"][1] < points["left_ear"][1] - 0.05, "the face looks along -y"
    assert points["left_wrist"][0] > 0.5, "a T-pose, +x is the subject's left"
    for name, point in points.items():
        np.testing.assert_allclose(point, points[mirrored(name)] * [-1, 1, 1], atol=6e-3, err_msg=name)
    a, b, c = (rest.vertices[rest.faces[:, corner]].astype(float) for corner in range(3))
    assert np.einsum("fi,fi->", a, np.cross(b - a, c - a)) / 6 > 0.04, "faces are counter-clockwise seen from outside"


def test_landmarks_lie_where_those_of_the_body_it_was_made_from_lie(rest: SmplxRestBody) -> None:
    _, _, _, wanted = t_pose()
    apart = np.linalg.norm(at_rest(rest) - wanted, axis=1)
    # Shoulders are joints here and annotated points there.
    assert apart.max() < 0.035
    face = [LANDMARK_NAMES.index(name) for name in LANDMARK_NAMES[:11]]
    assert apart[face].max() < 0.008


def test_landmarks_move_with_the_skin(rest: SmplxRestBody) -> None:
    rotations = np.random.default_rng(1).normal(0, 0.4, (1, JOINTS, 3))
    transforms = bone_transforms(rest, rotations, np.array([[0.1, 0.2, 3.0]]), {"scale_head": 1.1, "scale_thigh": 0.9})
    vertices = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms[0])
    points = dict(zip(LANDMARK_NAMES, landmark_positions(rest, transforms)[0], strict=True))
    ids = vertex_ids["smplx"]
    for name, vertex in (("nose", "nose"), ("left_eye", "leye"), ("right_heel", "RHeel")):
        np.testing.assert_allclose(points[name], vertices[ids[vertex]], atol=1e-5)
    toes = 0.6 * vertices[ids["LBigToe"]] + 0.4 * vertices[ids["LSmallToe"]]
    np.testing.assert_allclose(points["left_foot_index"], toes, atol=1e-5)


def test_there_is_no_helper_geometry_and_a_file_without_uv_has_one_place_on_the_texture(tmp_path: Path) -> None:
    plain = SmplxBody(write_npz(tmp_path, vt=None, ft=None)).rest({})
    np.testing.assert_array_equal(plain.base_vertices, plain.vertices)
    np.testing.assert_array_equal(plain.base_indices, np.arange(len(plain.vertices)))
    assert plain.uv.shape == (1, 2) and plain.uv_faces.max() == 0


def test_texture_coordinates_are_the_files(rest: SmplxRestBody) -> None:
    np.testing.assert_allclose(rest.uv, model_arrays()["vt"], atol=1e-6)
    np.testing.assert_array_equal(rest.uv_faces, model_arrays()["ft"])


def test_shape_parameters_shape_the_body(model: SmplxBody, rest: SmplxRestBody) -> None:
    tall = model.rest({"beta_0": 2.0})
    assert tall.height == pytest.approx(1.07 * rest.height, rel=1e-2)
    assert tall.shape == {"beta_0": 2.0} | {f"beta_{i}": 0.0 for i in range(1, 10)}
    assert model.rest({"scale_thigh": 1.1}).height == rest.height, "a fit's proportions are not baked"


def test_unknown_or_impossible_shapes_are_refused(model: SmplxBody) -> None:
    with pytest.raises(InputError, match=r"'weight'.*beta_0 to beta_9"):
        model.rest({"weight": 0.5})
    with pytest.raises(InputError, match="beta_10"):
        model.rest({"beta_10": 1.0})  # an expression, not a shape
    for value in (11.0, float("nan")):
        with pytest.raises(InputError, match="outside"):
            model.rest({"beta_0": value})


def test_points_for_the_silhouette_leave_out_fingers_and_toes(rest: SmplxRestBody) -> None:
    share = np.abs(surface_points(rest)[..., 3])
    fine = np.array([is_fine(name) for name in rest.bone_names])
    assert share[:, fine].sum(1).max() < 0.2
    assert share[:, rest.bone("head")].max() > 0.9, "the head is not left out"


# -- posing, against the library -------------------------------------------------------------------------------------


def by_library(path: Path, rest: RestBody, rotations: np.ndarray, place: np.ndarray, **options: object) -> np.ndarray:
    """(T, V, 3): the vertices that ``smplx`` gives for the same body and pose."""
    count = len(rotations)
    body = smplx.create(
        str(path), model_type=rest.model, ext=path.suffix[1:], use_pca=False, flat_hand_mean=True, batch_size=count
    )
    assert body.name() == {"smplx": "SMPL-X", "smplh": "SMPL+H", "smpl": "SMPL"}[rest.model]
    pose = torch.from_numpy(file_pose(rest, rotations)).float()
    parts = {"global_orient": pose[:, 0], "body_pose": pose[:, 1:22], "transl": file_translation(rest, place)}
    if rest.model == "smpl":
        parts["body_pose"] = pose[:, 1:24]
    else:
        parts |= {"left_hand_pose": pose[:, -30:-15], "right_hand_pose": pose[:, -15:]}
    betas = np.tile([rest.shape[f"beta_{i}"] for i in range(10)], (count, 1))
    with torch.no_grad():
        given = {name: torch.as_tensor(part, dtype=torch.float32).reshape(count, -1) for name, part in parts.items()}
        return body(betas=torch.from_numpy(betas).float(), **given, **options).vertices.numpy()


def random_poses(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(0, 0.6, (count, JOINTS, 3)), rng.normal(0, 1, (count, 3))


def test_skinning_is_that_of_the_library(tmp_path: Path) -> None:
    path = write_npz(tmp_path, pose_blend_shapes=False)
    body = SmplxBody(path).rest({"beta_0": 1.5, "beta_3": -2.0, "beta_9": 1.0})
    rotations, place = random_poses(4)
    theirs = by_library(path, body, rotations, place)
    for transforms, wanted in zip(bone_transforms(body, rotations, place), theirs, strict=True):
        vertices = skin(body.vertices, body.bone_weights, body.bone_indices, transforms)
        np.testing.assert_allclose(vertices, wanted, atol=1e-5)


def test_final_vertices_hold_the_pose_blend_shapes(file: Path, rest: SmplxRestBody) -> None:
    rotations, place = random_poses(3)
    theirs = by_library(file, rest, rotations, place)
    for frame, transforms in enumerate(bone_transforms(rest, rotations, place)):
        np.testing.assert_allclose(final_vertices(rest, transforms, rotations[frame]), theirs[frame], atol=1e-5)
        plain = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms)
        assert BULGE < np.linalg.norm(plain - theirs[frame], axis=1).max() < 10 * BULGE, "they are to be seen"


def test_hands_at_rest_are_the_librarys_relaxed_hands(file: Path, rest: SmplxRestBody) -> None:
    body = smplx.create(str(file), model_type="smplx", use_pca=False, flat_hand_mean=False)
    with torch.no_grad():
        theirs = body().vertices[0].numpy()
    still = np.zeros((1, JOINTS, 3))
    still[0, 0] = rotation_vectors(FACING[None] * [[[1], [-1], [-1]]])[0]  # model axes to the file's
    transforms = bone_transforms(rest, still, -file_translation(rest, np.zeros((1, 3))))
    np.testing.assert_allclose(final_vertices(rest, transforms[0], still[0]), theirs, atol=1e-5)


@pytest.mark.parametrize("family", ["smplh", "smpl"])
def test_the_older_models_are_taken_and_warned_of(family: str, tmp_path: Path) -> None:
    path = write_pickle(tmp_path, family) if family == "smpl" else write_npz(tmp_path, family)
    model = SmplxBody(path)
    body = model.rest({"beta_1": 1.0})
    assert body.model == family and len(model.warnings) == 1 and "less accurately" in model.warnings[0]
    rotations, place = random_poses(2)
    theirs = by_library(path, body, rotations, place)
    for frame, transforms in enumerate(bone_transforms(body, rotations, place)):
        np.testing.assert_allclose(final_vertices(body, transforms, rotations[frame]), theirs[frame], atol=1e-5)
    _, _, _, wanted = t_pose()
    assert np.linalg.norm(at_rest(SmplxBody(path).rest({})) - wanted, axis=1).max() < 0.05


def test_smplx_needs_no_warning(model: SmplxBody, rest: SmplxRestBody) -> None:
    assert rest.model == "smplx" and model.warnings == ()


def test_the_final_vertices_of_another_body_are_its_skin() -> None:
    anny = AnnyBody().rest({})
    rotations, place = random_poses(1)
    transforms = bone_transforms(anny, rotations, place)[0]
    wanted = skin(anny.vertices, anny.bone_weights, anny.bone_indices, transforms)
    np.testing.assert_array_equal(final_vertices(anny, transforms, rotations[0]), wanted)


# -- fitting ---------------------------------------------------------------------------------------------------------


def walk(rest: RestBody, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Somebody who turns to and fro with arms down, bends the elbows forwards and lifts the knees."""
    time = np.arange(frames) / 30.0
    rotations = np.zeros((frames, JOINTS, 3))
    for t, yaw in enumerate(0.6 * np.sin(1.5 * time)):
        rotations[t, 0] = rotation_vectors((FACING @ rotation_matrices(np.array([0, 0, yaw])))[None])[0]
    for side, mark, sign in (("left", "L", 1.0), ("right", "R", -1.0)):
        phase = 0 if side == "left" else np.pi
        shoulder, elbow = (rest.bone_heads[rest.bone(f"{bone}.{mark}")] for bone in ("upperarm01", "lowerarm01"))
        upper = (elbow - shoulder) / np.linalg.norm(elbow - shoulder)
        forwards = np.cross(upper, [0.0, -1.0, 0.0])
        bend = 0.5 + 0.4 * np.sin(4 * time + phase)
        rotations[:, JOINT_NAMES.index(f"{side}_elbow")] = bend[:, None] * forwards / np.linalg.norm(forwards)
        rotations[:, JOINT_NAMES.index(f"{side}_knee"), 0] = bend
        rotations[:, JOINT_NAMES.index(f"{side}_hip"), 0] = -0.5 * np.sin(4 * time + phase)
        down = rotation_matrices(np.array([0.0, sign * (np.arctan2(sign * upper[0], -upper[2]) - 0.5), 0.0]))
        swing = rotation_matrices((0.3 * np.sin(4 * time + phase))[:, None] * np.array([-1.0, 0, 0]))
        rotations[:, JOINT_NAMES.index(f"{side}_shoulder")] = rotation_vectors(swing @ down)
    return rotations, np.stack([0.3 * np.sin(time), np.full(frames, 0.1), 4.0 + 0.2 * np.cos(time)], 1)


def seen(rest: RestBody, frames: int, noise: float, shape: dict[str, float] | None = None) -> PoseTrack:
    """What a detector would give of a walk."""
    points = landmark_positions(rest, bone_transforms(rest, *walk(rest, frames), shape)).astype(float)
    pixels = project(points, default_intrinsics(SIZE))
    pixels += np.random.default_rng(0).normal(0, noise, pixels.shape)
    hips = points[:, 23:25].mean(1, keepdims=True)
    landmarks = np.concatenate([pixels, np.zeros((*pixels.shape[:2], 1))], -1).astype(np.float32)
    weight = np.ones(landmarks.shape[:2], np.float32)
    return PoseTrack(landmarks, (points - hips).astype(np.float32), weight, np.ones(frames, bool))


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    pixels = points @ intrinsics.T
    return pixels[..., :2] / pixels[..., 2:]


def reprojection(params: BodyParams, pose: PoseTrack) -> float:
    """Mean distance of the limbs' landmarks, pixels."""
    apart = project(params.keypoints, params.intrinsics) - pose.landmarks[..., :2]
    return float(np.linalg.norm(apart, axis=-1)[:, LIMBS].mean())


def in_space(params: BodyParams, rest: RestBody, frames: int) -> float:
    """Mean distance of the limbs' landmarks from the walk's, metres, the hips held together."""
    truth = landmark_positions(rest, bone_transforms(rest, *walk(rest, frames)))
    own, true = (points - points[:, 23:25].mean(1, keepdims=True) for points in (params.keypoints, truth))
    return float(np.linalg.norm(own - true, axis=-1)[:, LIMBS].mean())


def test_a_known_walk_is_found_within_the_bounds_of_annys(rest: SmplxRestBody) -> None:
    pose = seen(rest, 40, noise=0.5)
    params = fit_body(pose, None, SIZE, rest, fps=30)
    assert reprojection(params, pose) < 1.5
    assert in_space(params, rest, 40) < 0.03
    assert params.model == "smplx" and set(params.shape) == {f"beta_{i}" for i in range(10)} | set(SCALE_NAMES)
    rotations, _ = walk(rest, 40)
    for joint in ("left_elbow", "right_elbow", "left_knee", "right_knee"):
        own, true = (rotation_matrices(r[:, JOINT_NAMES.index(joint)]) for r in (params.rotations, rotations))
        cosine = (np.einsum("tij,tij->t", own, true) - 1) / 2
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 6, joint


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_a_walk_of_anny_is_found_with_smplx_as_well_as_with_anny(rest: SmplxRestBody, noise: float) -> None:
    anny = AnnyBody().rest({})
    pose = seen(anny, 40, noise)
    own = fit_body(pose, None, SIZE, anny, fps=30)
    params = fit_body(pose, None, SIZE, rest, fps=30)
    assert reprojection(params, pose) < reprojection(own, pose) + 1.0
    # The two bodies' landmarks are up to three centimetres apart on the same skin.
    assert in_space(params, anny, 40) < in_space(own, anny, 40) + 0.015


def test_elbows_bend_forwards_though_the_rest_pose_does_not_show_it(rest: SmplxRestBody) -> None:
    hinges = {JOINT_NAMES[limb.hinge.joint]: limb.hinge for limb in limbs_of(rest)}
    for side in ("left", "right"):
        elbow, wrist = (rest.bone_heads[rest.bone(f"{side}_{part}")] for part in ("elbow", "wrist"))
        moved = rotation_matrices(hinges[f"{side}_elbow"].axis * 0.5) @ (wrist - elbow) - (wrist - elbow)
        assert moved[1] < -0.1 and abs(moved[2]) < 0.05
    params = fit_body(seen(rest, 30, noise=6.0), None, SIZE, rest, fps=30)
    angles = hinge_angles(rest, params.rotations)
    for column, limb in enumerate(limbs_of(rest)):
        assert angles[:, column].min() > limb.hinge.low - 0.15 and angles[:, column].max() < limb.hinge.high + 0.15


def test_arms_that_are_not_seen_hang_at_the_sides(rest: SmplxRestBody) -> None:
    pose = seen(rest, 10, noise=0.5)
    arms = [
        i
        for i, name in enumerate(LANDMARK_NAMES)
        if name.split("_")[-1] in ("elbow", "wrist", "index", "pinky", "thumb")
    ]
    arms = [i for i in arms if "foot" not in LANDMARK_NAMES[i]]
    pose.weight[:, arms] = 0
    params = fit_body(pose, None, SIZE, rest, fps=30)
    shoulder, elbow = (LANDMARK_NAMES.index(name) for name in ("left_shoulder", "left_elbow"))
    arm = params.keypoints[:, elbow] - params.keypoints[:, shoulder]
    assert (arm[:, 1] > 0.85 * np.linalg.norm(arm, axis=1)).all(), "camera y looks down"


@pytest.mark.parametrize("name", SCALE_NAMES)
def test_every_proportion_changes_the_body_and_keeps_it_symmetric(rest: SmplxRestBody, name: str) -> None:
    points = at_rest(rest, {name: 1.1})
    assert np.abs(points - at_rest(rest)).max() > 4e-3
    left, right = (points[LANDMARK_NAMES.index(f"{side}_wrist")] for side in ("left", "right"))
    np.testing.assert_allclose(left, right * [-1, 1, 1], atol=2e-3)


def test_a_limbs_one_bone_takes_the_whole_twist(rest: SmplxRestBody) -> None:
    shoulder, elbow = (rest.bone_heads[rest.bone(f"left_{part}")].astype(float) for part in ("shoulder", "elbow"))
    axis = (elbow - shoulder) / np.linalg.norm(elbow - shoulder)
    rotations = np.zeros((1, JOINTS, 3))
    rotations[0, JOINT_NAMES.index("left_shoulder")] = 0.9 * axis
    turn = bone_transforms(rest, rotations, np.zeros((1, 3)))[0, rest.bone("left_shoulder"), :3, :3]
    assert twist_angle(rotation_vectors(turn[None]), axis)[0] == pytest.approx(0.9, abs=1e-4)


def test_proportions_can_be_turned_into_shape_parameters(model: SmplxBody, rest: SmplxRestBody) -> None:
    person = model.rest({"beta_2": 2.5, "beta_3": -2.0})
    pose = seen(person, 30, noise=0.5)
    first = fit_body(pose, None, SIZE, rest, fps=30)
    shape = model.shape_like(first.shape)
    found = model.rest(shape)
    second = fit_body(pose, None, SIZE, found, fps=30, proportions=False)
    assert not set(second.shape) & set(SCALE_NAMES), "a pure SMPL-X body"
    unshaped = fit_body(pose, None, SIZE, rest, fps=30, proportions=False)
    assert reprojection(second, pose) < 0.6 * reprojection(unshaped, pose)
    # One camera cannot tell a tall person from a near one: what it can tell is how leg and arm compare. The fit expects
    # ordinary proportions and goes a part of the way; the shape loses nothing of that.
    stretched = rest_change(rest, scales_of(first.shape)).joint_heads
    wanted, plain, got = (leg_by_arm(body.bone_heads[body.joint_bones]) for body in (person, rest, found))
    assert got == pytest.approx(leg_by_arm(stretched), abs=0.01)
    assert abs(got - wanted) < 0.5 * abs(plain - wanted)


def leg_by_arm(heads: np.ndarray) -> float:
    """Length of the leg over that of the arm, by the places (J, 3) of the fit's joints."""
    at = {name: heads[JOINT_NAMES.index(f"left_{name}")] for name in ("hip", "foot", "shoulder", "wrist")}
    return float(np.linalg.norm(at["foot"] - at["hip"]) / np.linalg.norm(at["wrist"] - at["shoulder"]))


def test_proportions_of_one_leave_the_shape_and_a_known_skeleton_is_met(model: SmplxBody, rest: SmplxRestBody) -> None:
    assert model.shape_like(rest.shape) == pytest.approx(rest.shape, abs=1e-6)
    longer = model.rest(model.shape_like({"scale_thigh": 1.06, "scale_shin": 1.06}))
    thigh = [
        np.linalg.norm(np.diff(b.bone_heads[[b.bone("left_hip"), b.bone("left_knee")]], axis=0)) for b in (longer, rest)
    ]
    assert thigh[0] > 1.03 * thigh[1]


def test_params_of_a_fit_give_the_mesh(rest: SmplxRestBody) -> None:
    params = fit_body(seen(rest, 3, noise=0.0), None, SIZE, rest, fps=30, quality="quick")
    transforms = params_transforms(rest, params)
    vertices = final_vertices(rest, transforms[1], params.rotations[1])
    nose = params.keypoints[1, LANDMARK_NAMES.index("nose")]
    assert vertices.shape == (10475, 3) and np.linalg.norm(vertices - nose, axis=1).min() < 0.02


# -- the file --------------------------------------------------------------------------------------------------------


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_without_a_file_the_registration_page_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"https://smpl-x\.is\.tue\.mpg\.de"):
        SmplxBody().rest({})
    write_npz(tmp_path / "smplx")
    said: list[float] = []
    assert SmplxBody().rest({}, lambda fraction, _text: said.append(fraction)).model == "smplx"
    assert said == sorted(said) and said[-1] == 1.0


def test_parts_that_are_not_needed_are_never_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write_npz(tmp_path, part2num=np.array({"head": Bomb(mark)}, dtype=object))
    assert SmplxBody(path).rest({}).height > 1
    assert not mark.exists()
    np.load(path, allow_pickle=True)["part2num"]
    assert mark.exists(), "the file is a dangerous one"


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    archive = write_npz(tmp_path / "npz", J_regressor=np.array([Bomb(mark)], dtype=object))
    pickled = write_pickle(tmp_path / "pkl", "smpl", v_template=Bomb(mark))
    renamed = pickled.rename(pickled.with_suffix(".npz"))
    for path in (archive, renamed):
        with pytest.raises(InputError, match=r"wants to run code \((posix|nt)\.system\)"):
            SmplxBody(path).rest({})
    assert not mark.exists()


def test_pickles_of_other_things_are_refused_by_name(tmp_path: Path) -> None:
    for content in (Path("x"), types.SimpleNamespace(a=1)):
        path = tmp_path / "SMPL_NEUTRAL.pkl"
        path.write_bytes(pickle.dumps({"v_template": content}))
        with pytest.raises(InputError, match="wants to run code"):
            SmplxBody(path).rest({})


def test_object_arrays_of_plain_numbers_are_read(tmp_path: Path, rest: SmplxRestBody) -> None:
    regressor = model_arrays()["J_regressor"]
    rows = np.empty(len(regressor), dtype=object)
    rows[:] = list(regressor)
    body = SmplxBody(write_npz(tmp_path, J_regressor=rows, weights=model_arrays()["weights"].astype(object))).rest({})
    np.testing.assert_array_equal(body.bone_heads, rest.bone_heads)
    np.testing.assert_array_equal(body.bone_weights, rest.bone_weights)


def test_chumpys_arrays_are_read_without_chumpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x
            self._dirty_vars = {"x"}

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    with monkeypatch.context() as patch:
        for name in ("chumpy", "chumpy.ch"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules["chumpy.ch"].Ch = Ch  # type: ignore[attr-defined]
        arrays = model_arrays("smpl")
        path = write_pickle(tmp_path, "smpl", v_template=Ch(arrays["v_template"]), shapedirs=Ch(arrays["shapedirs"]))
    body = SmplxBody(path).rest({})
    assert "chumpy" not in sys.modules
    plain = SmplxBody(write_pickle(tmp_path / "plain", "smpl")).rest({})
    np.testing.assert_array_equal(body.vertices, plain.vertices)


def test_files_that_are_no_model_or_damaged_are_refused(tmp_path: Path, file: Path) -> None:
    whole = file.read_bytes()
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    for content in (b"", b"licensed", whole[: len(whole) // 2], whole[:1000] + bytes(3000) + whole[4000:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged or no SMPL-X"):
            SmplxBody(path).rest({})
    with pytest.raises(InputError, match="cannot be read"):
        SmplxBody(tmp_path / "nowhere.npz").rest({})


@pytest.mark.parametrize(("part", "value"), [("indices", 10**6), ("indices", -1), ("indptr", 10**6), ("indptr", -1)])
def test_a_sparse_matrix_that_points_outside_itself_is_refused(tmp_path: Path, part: str, value: int) -> None:
    matrix = sparse.csc_matrix(model_arrays("smpl")["J_regressor"])
    getattr(matrix, part)[5] = value
    with pytest.raises(InputError, match="indices lie outside"):
        SmplxBody(write_pickle(tmp_path, "smpl", J_regressor=matrix)).rest({})


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("v_template", lambda a: a[:-1], "v_template"),
        ("v_template", lambda a: np.where(np.arange(3) == 0, np.nan, a), "not finite"),
        ("weights", lambda a: a * 0.5, "sum to 1"),
        ("weights", lambda a: a[:, :24], "of no model"),
        ("f", lambda a: a + 5000, "does not index"),
        ("kintree_table", lambda a: a[:, ::-1].copy(), "before its parent"),
        ("posedirs", lambda a: a[..., :9], "posedirs"),
        ("J_regressor", lambda a: None, "no J_regressor"),
        ("lmk_faces_idx", lambda a: a + 10**6, "lmk_faces_idx"),
        ("ft", lambda a: a[:10], "ft"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, change: object, problem: str) -> None:
    path = write_npz(tmp_path, **{name: change(model_arrays()[name])})  # type: ignore[operator]
    with pytest.raises(InputError, match=problem):
        SmplxBody(path).rest({})
