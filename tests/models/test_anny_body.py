"""The baked body and its posing: is it a human, does it move like one, does the cache hold."""

import numpy as np
import pytest

from core.errors import InputError
from core.types import LANDMARK_NAMES
from models.body import anny_body
from models.body.anny_body import AnnyBody
from models.body.articulation import (
    Skin,
    bone_transforms,
    landmark_positions,
    rotation_matrices,
    skin,
    twist_angle,
)
from models.body.base import JOINT_NAMES, SCALE_NAMES, RestBody
from models.body.pose_init import limbs_of

JOINTS = len(JOINT_NAMES)


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def landmark(points: np.ndarray, name: str) -> np.ndarray:
    return points[..., LANDMARK_NAMES.index(name), :]


def at_rest(rest: RestBody, shape: dict[str, float] | None = None) -> np.ndarray:
    """(1, 33, 3) landmarks in model axes."""
    return landmark_positions(rest, bone_transforms(rest, np.zeros((1, JOINTS, 3)), rest.bone_heads[:1], shape))


def turned(joint: str, vector: list[float], frames: int = 1) -> np.ndarray:
    rotations = np.zeros((frames, JOINTS, 3))
    rotations[:, JOINT_NAMES.index(joint)] = vector
    return rotations


def test_body_has_a_persons_size_and_proportions(rest: RestBody) -> None:
    assert 1.5 < rest.height < 1.95
    points = at_rest(rest)[0]
    thigh = np.linalg.norm(landmark(points, "left_hip") - landmark(points, "left_knee"))
    shin = np.linalg.norm(landmark(points, "left_knee") - landmark(points, "left_ankle"))
    shoulders = np.linalg.norm(landmark(points, "left_shoulder") - landmark(points, "right_shoulder"))
    hips = np.linalg.norm(landmark(points, "left_hip") - landmark(points, "right_hip"))
    assert 0.85 < thigh / shin < 1.2
    assert 0.3 < shoulders < 0.45
    assert hips < shoulders


def test_left_and_right_are_mirror_images(rest: RestBody) -> None:
    points = at_rest(rest)[0]
    for name in LANDMARK_NAMES:
        if "left" in name:
            other = landmark(points, name.replace("left", "right"))
            np.testing.assert_allclose(landmark(points, name), other * [-1, 1, 1], atol=2e-3)


def test_axes_are_as_documented(rest: RestBody) -> None:
    points = at_rest(rest)[0]
    assert landmark(points, "nose")[2] > landmark(points, "left_ankle")[2] + 1.2, "z is up"
    assert landmark(points, "nose")[1] < landmark(points, "left_ear")[1] - 0.05, "the face looks along -y"
    assert landmark(points, "left_shoulder")[0] > 0.1, "+x is the subject's left"
    volume = np.einsum("fi,fi->", rest.vertices[rest.faces[:, 0]].astype(float), face_normals(rest)) / 6
    assert volume > 0.04, "faces are counter-clockwise seen from outside"


def face_normals(rest: RestBody) -> np.ndarray:
    a, b, c = (rest.vertices[rest.faces[:, corner]].astype(float) for corner in range(3))
    return np.cross(b - a, c - a)


def test_landmarks_lie_where_the_skinned_vertices_put_them(rest: RestBody) -> None:
    rotations = np.random.default_rng(1).normal(0, 0.3, (1, JOINTS, 3))
    transforms = bone_transforms(rest, rotations, np.array([[0.1, 0.2, 3.0]]))
    vertices = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms[0])
    points = landmark_positions(rest, transforms)[0]
    # The nose point is on the skin; ankles, knees and wrists are inside the limb, a few centimetres from it.
    for name, reach in (("nose", 0.03), ("left_ankle", 0.06), ("right_knee", 0.09), ("left_wrist", 0.05)):
        assert np.linalg.norm(vertices - landmark(points, name), axis=1).min() < reach, name


def test_rest_pose_leaves_the_skin_alone_but_for_relaxed_fingers(rest: RestBody) -> None:
    transforms = bone_transforms(rest, np.zeros((1, JOINTS, 3)), rest.bone_heads[:1])
    moved = np.linalg.norm(
        skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms[0]) - rest.vertices, axis=1
    )
    finger = np.array([name.startswith("finger") for name in rest.bone_names])
    on_finger = (finger[rest.bone_indices] * rest.bone_weights).sum(1)
    assert moved[on_finger < 0.005].max() < 1e-4
    assert moved[on_finger > 0.99].max() > 0.03


def test_fingers_curl_towards_the_palm(rest: RestBody) -> None:
    transforms = bone_transforms(rest, np.zeros((1, JOINTS, 3)), rest.bone_heads[:1])[0]
    tip = rest.bone("finger3-3.L")
    straight = rest.bone_heads[tip]
    curled = transforms[tip, :3, :3] @ straight + transforms[tip, :3, 3]
    wrist, index, pinky = (rest.bone_heads[rest.bone(name)] for name in ("wrist.L", "finger2-1.L", "finger5-1.L"))
    palm = np.cross(index - wrist, pinky - wrist)
    palm *= np.sign(palm @ [-1.0, 0.0, -0.5])  # the palm of the A-pose looks at the thigh
    assert (curled - straight) @ palm / np.linalg.norm(palm) > 0.01


def test_limbs_keep_their_length_in_any_pose(rest: RestBody) -> None:
    rotations = np.random.default_rng(2).normal(0, 0.5, (20, JOINTS, 3))
    transforms = bone_transforms(rest, rotations, np.zeros((20, 3)))
    for a, b in (("upperarm01.L", "lowerarm01.L"), ("lowerleg01.R", "foot.R")):
        ends = [
            (transforms[:, rest.bone(n), :3, :3] @ rest.bone_heads[rest.bone(n)]) + transforms[:, rest.bone(n), :3, 3]
            for n in (a, b)
        ]
        length = np.linalg.norm(ends[1] - ends[0], axis=1)
        np.testing.assert_allclose(length, length[0], atol=1e-4)


def test_positive_knee_angle_takes_the_foot_back_and_positive_elbow_bends_the_arm(rest: RestBody) -> None:
    hinges = {JOINT_NAMES[limb.hinge.joint]: limb.hinge for limb in limbs_of(rest)}
    still = at_rest(rest)[0]
    knee = landmark_positions(
        rest, bone_transforms(rest, turned("left_knee", list(hinges["left_knee"].axis)), rest.bone_heads[:1])
    )[0]
    assert landmark(knee, "left_ankle")[1] > landmark(still, "left_ankle")[1] + 0.2
    elbow = landmark_positions(
        rest, bone_transforms(rest, turned("right_elbow", list(hinges["right_elbow"].axis)), rest.bone_heads[:1])
    )[0]
    near = np.linalg.norm(landmark(elbow, "right_wrist") - landmark(elbow, "right_shoulder"))
    assert near < np.linalg.norm(landmark(still, "right_wrist") - landmark(still, "right_shoulder")) - 0.05


def test_a_twisted_wrist_does_not_wring_the_forearm(rest: RestBody) -> None:
    start, end = rest.bone_heads[rest.bone("lowerarm01.L")], rest.bone_heads[rest.bone("wrist.L")]
    axis = (end - start) / np.linalg.norm(end - start)
    transforms = bone_transforms(rest, turned("left_wrist", list(1.2 * axis)), rest.bone_heads[:1])[0]

    def turn(bone: str) -> float:
        return float(np.arccos(np.clip((np.trace(transforms[rest.bone(bone), :3, :3]) - 1) / 2, -1, 1)))

    steps = [turn(bone) for bone in ("upperarm02.L", "lowerarm01.L", "lowerarm02.L", "wrist.L")]
    np.testing.assert_allclose([steps[0], steps[3]], [0, 1.2], atol=1e-3)
    assert max(np.diff(steps)) < 0.7, "the twist is spread over the forearm"


def test_twist_angle_ignores_swing() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    swing = rotation_matrices(np.array([0.7, -0.2, 0.0]))
    twist = rotation_matrices(0.5 * axis)
    from scipy.spatial.transform import Rotation

    vector = Rotation.from_matrix(swing @ twist).as_rotvec()
    assert twist_angle(vector, axis) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("name", SCALE_NAMES)
def test_every_proportion_changes_the_body_and_keeps_it_symmetric(rest: RestBody, name: str) -> None:
    points = at_rest(rest, {name: 1.1})[0]
    assert np.abs(points - at_rest(rest)[0]).max() > 5e-3
    np.testing.assert_allclose(landmark(points, "left_wrist"), landmark(points, "right_wrist") * [-1, 1, 1], atol=2e-3)


def test_a_longer_thigh_is_longer_and_the_shin_is_not(rest: RestBody) -> None:
    def bone_length(shape: dict[str, float], a: str, b: str) -> float:
        transforms = bone_transforms(rest, np.zeros((1, JOINTS, 3)), np.zeros((1, 3)), shape)[0]
        ends = [
            transforms[rest.bone(n), :3, :3] @ rest.bone_heads[rest.bone(n)] + transforms[rest.bone(n), :3, 3]
            for n in (a, b)
        ]
        return float(np.linalg.norm(ends[1] - ends[0]))

    for bones, factor in ((("upperleg01.L", "lowerleg01.L"), 1.1), (("lowerleg01.L", "foot.L"), 1.0)):
        assert bone_length({"scale_thigh": 1.1}, *bones) == pytest.approx(factor * bone_length({}, *bones), rel=1e-3)


def test_garments_move_with_the_skin(rest: RestBody) -> None:
    garment = slice(2000, 5000)
    transforms = bone_transforms(
        rest, np.random.default_rng(3).normal(0, 0.4, (1, JOINTS, 3)), np.zeros((1, 3)), {"scale_torso": 1.1}
    )[0]
    body = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))(transforms)
    cloth = skin(rest.vertices[garment], rest.bone_weights[garment], rest.bone_indices[garment], transforms)
    np.testing.assert_allclose(cloth, body[garment], atol=1e-5)


def test_base_mesh_carries_the_helper_geometry(rest: RestBody) -> None:
    assert len(rest.base_vertices) == 19158
    np.testing.assert_allclose(rest.base_vertices[rest.base_indices], rest.vertices, atol=1e-6)
    np.testing.assert_allclose(rest.base_bone_weights.sum(1), 1, atol=1e-4)


def test_a_damaged_cache_file_is_made_anew(rest: RestBody, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    path = anny_body._cache_file(rest.shape)
    anny_body._write(path, rest)
    assert anny_body.cache_is_built()
    again = anny_body._read(path)
    assert again is not None and again.bone_names == rest.bone_names and again.shape == rest.shape
    np.testing.assert_array_equal(again.landmarks, rest.landmarks)
    for damaged in (path.read_bytes()[:5000], b"not an archive", b""):
        path.write_bytes(damaged)
        assert not anny_body.cache_is_built()


def test_unknown_or_impossible_phenotypes_are_refused() -> None:
    with pytest.raises(InputError, match="tallness"):
        AnnyBody().rest({"tallness": 0.5})
    with pytest.raises(InputError, match="weight"):
        AnnyBody().rest({"weight": 1.4})
