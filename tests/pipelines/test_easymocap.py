"""EasyMoCap: datasets it can read, keypoints that survive the way there and back, bodies it fitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.types import LANDMARK_NAMES
from pipelines.mesh.easymocap import BODY25, body25_from_landmarks, hands_from_landmarks, write_dataset
from pipelines.mesh.easymocap_results import read_results
from tests.easymocap_reader import read_dataset
from tests.utils.camera_rig import ring, seen_by, walker
from utils.cameras.camera import pose
from utils.triangulation import triangulate

CAMERAS = ring(3)
WORLD = walker(np.arange(4) / 4)
INDEX = {name: index for index, name in enumerate(LANDMARK_NAMES)}
#: Landmarks that BODY_25 and the hands do not have.
WITHOUT = [
    index
    for index, name in enumerate(LANDMARK_NAMES)
    if name.endswith(("eye_inner", "eye_outer")) or name.startswith("mouth")
]


def landmarks() -> np.ndarray:
    """(V, T, 33, 3) with confidences that differ."""
    pixels = seen_by(CAMERAS, WORLD)
    trust = np.random.default_rng(1).uniform(0.3, 1, (*pixels.shape[:3], 1))
    return np.concatenate([pixels, trust], axis=-1)


def images(count: int = 4) -> list[np.ndarray]:
    """Small pictures for each view."""
    return [np.zeros((count, 8, 8, 3), np.uint8)] * 3


# -- keypoints -----------------------------------------------------------------------------------------------------


def test_body25_has_openposes_order_and_sides() -> None:
    body = body25_from_landmarks(landmarks())[0, 0]
    frame = landmarks()[0, 0]
    # OpenPose's published numbering: 0 nose, 4 right wrist, 7 left wrist, 11 right ankle, 15 right eye, 21 left heel.
    for row, name in (
        (0, "nose"), (4, "right_wrist"), (7, "left_wrist"), (10, "right_knee"), (11, "right_ankle"), (15, "right_eye"),
        (18, "left_ear"), (19, "left_foot_index"), (21, "left_heel"), (22, "right_foot_index"), (24, "right_heel"),
    ):  # fmt: skip
        np.testing.assert_allclose(body[row], frame[INDEX[name]])
    shoulders = frame[[INDEX["left_shoulder"], INDEX["right_shoulder"]]]
    np.testing.assert_allclose(body[1, :2], shoulders[:, :2].mean(axis=0))
    assert body[1, 2] == shoulders[:, 2].min()
    assert (body[[20, 23]] == 0).all()
    assert len(BODY25) == 25


def test_hands_hold_what_the_landmarks_know() -> None:
    left, right = hands_from_landmarks(landmarks())
    frame = landmarks()[2, 1]
    np.testing.assert_allclose(left[2, 1, 0], frame[INDEX["left_wrist"]])
    np.testing.assert_allclose(right[2, 1, 5], frame[INDEX["right_index"]])
    np.testing.assert_allclose(right[2, 1, 17], frame[INDEX["right_pinky"]])
    assert ((left[..., 2] > 0).sum(axis=-1) == 4).all()


# -- datasets ------------------------------------------------------------------------------------------------------


def test_a_dataset_comes_back_within_two_pixels_and_triangulates_to_the_same_points(tmp_path: Path) -> None:
    there = landmarks()
    there[0, 1, INDEX["left_knee"]] = np.nan
    there[0, 2, INDEX["nose"], 2] = 0
    write_dataset(tmp_path, CAMERAS, there, images())
    again = read_dataset(tmp_path)
    assert [camera.name for camera in again.cameras] == ["cam01", "cam02", "cam03"]
    assert [camera.size for camera in again.cameras] == [(1280, 720)] * 3
    kept = np.setdiff1d(np.arange(33), WITHOUT)
    apart = np.linalg.norm((again.landmarks - there)[..., kept, :2], axis=-1)
    assert np.nanmax(apart) < 2
    # What was not seen stays unknown.
    unseen = np.isnan(again.landmarks[..., kept, 0])
    assert unseen.sum() == 2 and np.isnan(again.landmarks[0, 1, INDEX["left_knee"], 0])
    assert again.landmarks[0, 2, INDEX["nose"], 2] == 0
    found = triangulate(again.cameras, again.landmarks[..., :2], again.landmarks[..., 2])
    assert 1000 * np.linalg.norm(found.points - WORLD, axis=-1)[:, kept].max() < 1
    assert np.isnan(found.points[:, WITHOUT]).all()


def test_the_folder_has_easymocaps_layout(tmp_path: Path) -> None:
    there = landmarks()
    there[1, 3] = np.nan
    frames = np.random.default_rng(0).integers(0, 255, (3, 4, 36, 64, 3), np.uint8)
    write_dataset(tmp_path, CAMERAS, there, [iter(view) for view in frames])
    names = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    expected = [f"annots/cam{c:02d}/{t:06d}.json" for c in (1, 2, 3) for t in range(4)]
    expected += [f"images/cam{c:02d}/{t:06d}.jpg" for c in (1, 2, 3) for t in range(4)] + ["extri.yml", "intri.yml"]
    assert names == sorted(expected)
    content = json.loads((tmp_path / "annots/cam02/000001.json").read_text())
    assert content["filename"] == "images/cam02/000001.jpg"
    assert (content["height"], content["width"]) == (720, 1280)
    (person,) = content["annots"]
    assert person["personID"] == 0
    assert np.shape(person["keypoints"]) == (25, 3)
    assert np.shape(person["handl2d"]) == np.shape(person["handr2d"]) == (21, 3)
    for key, points in (("bbox", "keypoints"), ("bbox_handl2d", "handl2d"), ("bbox_handr2d", "handr2d")):
        x0, y0, x1, y1, trust = person[key]
        seen = np.array([p for p in person[points] if p[2] > 0])
        assert (seen[:, 0] >= x0).all() and (seen[:, 0] <= x1).all()
        assert (seen[:, 1] >= y0).all() and (seen[:, 1] <= y1).all()
        assert 0 < trust <= 1
    # Where nobody was seen nobody is there, and reading gives nothing known.
    assert json.loads((tmp_path / "annots/cam02/000003.json").read_text())["annots"] == []
    assert np.isnan(read_dataset(tmp_path).landmarks[1, 3, :, :2]).all()
    picture = cv2.imread(str(tmp_path / "images/cam01/000002.jpg"))
    assert picture.shape == (36, 64, 3)
    assert np.abs(picture[..., ::-1].mean((0, 1)) - frames[0, 2].mean((0, 1))).max() < 3


def test_datasets_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\(V, T, 33, 3\)"):
        write_dataset(tmp_path, CAMERAS, landmarks()[:2], images())
    with pytest.raises(ValueError, match="size of camera cam01"):
        write_dataset(tmp_path, [replace(CAMERAS[0], size=None), *CAMERAS[1:]], landmarks(), images())
    with pytest.raises(InputError, match="cannot name a folder"):
        write_dataset(tmp_path, [replace(CAMERAS[0], name="../up"), *CAMERAS[1:]], landmarks(), images())
    with pytest.raises(InputError, match="EasyMoCap takes five"):
        write_dataset(tmp_path, [replace(CAMERAS[0], distortion=np.full(8, 0.01)), *CAMERAS[1:]], landmarks(), images())
    for count, says in ((3, "3 images for 4"), (5, "more images than the 4")):
        with pytest.raises(ValueError, match=says):
            write_dataset(tmp_path, CAMERAS, landmarks(), images(count))


# -- results -------------------------------------------------------------------------------------------------------


def result_file(folder: Path, frame: int, people: dict[int, dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = [{"id": person, **values} for person, values in people.items()]
    (folder / f"{frame:06d}.json").write_text(json.dumps(content))


def body(seed: int, poses: int, **more) -> dict:
    random = np.random.default_rng(seed)
    sizes = {"Rh": 3, "Th": 3, "poses": poses, "shapes": 10} | more
    return {key: random.normal(size=(1, size)).round(3).tolist() for key, size in sizes.items()}


def test_smplx_results_are_read_in_the_models_order(tmp_path: Path) -> None:
    people = [body(seed, 165, expression=10) for seed in range(3)]
    for frame, values in zip((0, 1, 4), people, strict=True):
        result_file(tmp_path / "output" / "smplfull", frame, {0: values})
        result_file(tmp_path / "output" / "smpl", frame, {0: body(frame, 87)})
    (found,) = read_results(tmp_path / "output")
    assert found.model == "smplx" and found.person == 0
    np.testing.assert_array_equal(found.frames, [0, 1, 4])
    poses = np.array([values["poses"][0] for values in people])
    np.testing.assert_allclose(found.body_pose, poses[:, :66].reshape(3, 22, 3))
    assert found.head_pose is not None and found.hand_pose is not None and found.hand_components is None
    np.testing.assert_allclose(found.head_pose, poses[:, 66:75].reshape(3, 3, 3))
    np.testing.assert_allclose(found.hand_pose[:, 0], poses[:, 75:120].reshape(3, 15, 3))
    np.testing.assert_allclose(found.hand_pose[:, 1], poses[:, 120:].reshape(3, 15, 3))
    assert found.expression is not None
    np.testing.assert_allclose(found.expression[1], people[1]["expression"][0])
    np.testing.assert_allclose(found.rotation[2], people[2]["Rh"][0])
    assert found.shape["beta_3"] == pytest.approx(np.mean([values["shapes"][0][3] for values in people]))


@pytest.mark.parametrize(("count", "model"), [(72, "smpl"), (69, "smpl"), (78, "smplh"), (156, "smplh"), (87, "smplx")])
def test_every_layout_of_poses_is_known(tmp_path: Path, count: int, model: str) -> None:
    values = body(0, count)
    result_file(tmp_path, 7, {0: values})
    (found,) = read_results(tmp_path)
    assert found.model == model and found.expression is None
    first = 1 if count == 69 else 0
    np.testing.assert_allclose(found.body_pose[0, first, :], values["poses"][0][:3])
    if count in (78, 87):
        assert found.hand_components is not None
        np.testing.assert_allclose(found.hand_components[0, 1], values["poses"][0][72:78])
    if count == 87:
        assert found.head_pose is not None
        np.testing.assert_allclose(found.head_pose[0].ravel(), values["poses"][0][78:])


def test_people_are_told_apart_and_wrapped_files_are_read(tmp_path: Path) -> None:
    for frame in range(3):
        people = {5: body(frame, 72)} if frame == 1 else {5: body(frame, 72), 2: body(10 + frame, 72)}
        result_file(tmp_path / "smpl", frame, people)
    file = tmp_path / "smpl" / "000002.json"
    file.write_text(json.dumps({"annots": json.loads(file.read_text())}))
    first, second = read_results(tmp_path)
    assert (first.person, first.frames.tolist()) == (2, [0, 2])
    assert (second.person, second.frames.tolist()) == (5, [0, 1, 2])


def test_the_translation_is_converted_to_the_models_own(tmp_path: Path) -> None:
    result_file(tmp_path, 0, {0: body(3, 72)})
    (found,) = read_results(tmp_path)
    pelvis, point = np.array([0.01, -0.25, 0.03]), np.array([0.3, 0.9, -0.1])
    R = pose(found.rotation[0], np.zeros(3))[:3, :3]
    theirs = R @ point + found.translation[0]
    ours = R @ (point - pelvis) + pelvis + found.smplx_translation(pelvis)[0]
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"poses": [[0.0] * 70]}, "poses has shape (1, 70)"),
        ({"Rh": [[0.0, 1.0]]}, "Rh"),
        ({"Th": "far"}, "Th does not hold numbers"),
        ({"shapes": [[0.0] * 10, [0.0] * 10]}, "not one row"),
        ({"shapes": [[0.0] * 16]}, "16 numbers where the frames before have 10"),
    ],
)
def test_wrong_results_are_named(tmp_path: Path, change: dict, says: str) -> None:
    result_file(tmp_path, 0, {0: body(0, 72)})
    result_file(tmp_path, 1, {0: body(1, 72) | change})
    with pytest.raises(InputError) as error:
        read_results(tmp_path)
    assert says in error.value.message and "000001.json" in error.value.message


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no fitted body"):
        read_results(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        read_results(tmp_path / "nowhere")
