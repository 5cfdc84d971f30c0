"""EasyMoCap there and back by the command: its dataset from a clip, its results in the place of our own fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from core.settings import MeshSettings
from core.types import BodyParams
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import JOINT_NAMES
from models.body.smplx_body import R_model_file, SmplxBody, file_pose, file_translation
from pipelines.mesh.processor import mesh_clips
from tests import clips
from tests.e2e.test_mesh import BARE, frames_of, quality_of, record_of, written
from tests.easymocap_reader import read_dataset
from tests.smplx_file import write_npz

FRAMES, SIZE = clips.DEMO_FRAMES, clips.DEMO_SIZE
#: Frames that EasyMoCap lost the person in.
LOST = (7, 8, 9)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The user's model file."""
    folder = tmp_path_factory.mktemp("weights")
    write_npz(folder / "smplx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_WEIGHTS", str(folder))
        yield folder


def fitted_body(folder: Path, model: SmplxBody) -> BodyParams:
    """The body of a run with a plain SMPL-X body in place of the stretched one."""
    with np.load(folder / "body.npz") as data:
        shape = dict(zip(data["shape_names"].tolist(), data["shape_values"].tolist(), strict=True))
        rest = model.rest(model.shape_like(shape))
        body = BodyParams(
            rest.model, rest.shape, JOINT_NAMES, data["rotations"], data["translation"], data["intrinsics"],
            data["joints"], data["valid"],
        )  # fmt: skip
    return replace(body, keypoints=landmark_positions(rest, params_transforms(rest, body)))


def as_easymocap_writes(folder: Path, body: BodyParams, model: SmplxBody, T_camera_world: np.ndarray) -> None:
    """Results for a body in camera axes: in the world, turned about its origin."""
    rest = model.rest(body.shape)
    poses, place = file_pose(rest, body.rotations), file_translation(rest, body.translation)
    pelvis = rest.bone_heads[rest.joint_bones[0]].astype(float) @ R_model_file
    R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    (folder / "smplfull").mkdir(parents=True)
    for frame in range(len(body)):
        if frame in LOST:
            continue
        whole = Rotation.from_matrix(R.T) * Rotation.from_rotvec(poses[frame, 0])
        pelvis_world = (place[frame] + pelvis - t) @ R
        local = poses[frame].copy()
        local[0] = 0
        entry = {
            "id": 0,
            "Rh": [whole.as_rotvec().tolist()],
            "Th": [(pelvis_world - whole.apply(pelvis)).tolist()],
            "poses": [local.ravel().tolist()],
            "shapes": [[body.shape[f"beta_{index}"] for index in range(10)]],
            "expression": [[0.0] * 10],
        }
        (folder / "smplfull" / f"{frame:06d}.json").write_text(json.dumps([entry]))


@pytest.fixture(scope="module")
def first_run(small_clip, weights, tmp_path_factory) -> Path:
    """A run with the user's body that also writes the dataset."""
    settings = BARE.model_copy(update={"body": "smplx", "formats": "easymocap"})
    return mesh_clips([small_clip], settings, output=tmp_path_factory.mktemp("runs"))


def test_a_clip_becomes_a_dataset(first_run, small_clip) -> None:
    folder = first_run / "exports" / "easymocap"
    dataset = read_dataset(folder)
    (camera,) = dataset.cameras
    body = np.load(first_run / "body.npz")
    np.testing.assert_allclose(camera.K, body["intrinsics"])
    np.testing.assert_array_equal(camera.T_camera_world, np.eye(4))
    assert camera.size == SIZE
    # What the detector saw, frame by frame, within two pixels but for what was smoothed away.
    seen = np.load(first_run / "person.npz")["landmarks"]
    apart = np.linalg.norm(dataset.landmarks[0, ..., :2] - seen[..., :2], axis=-1)
    known = dataset.landmarks[0, ..., 2] > 0.5
    assert known.mean() > 0.5
    assert np.median(apart[known]) < 1 and np.percentile(apart[known], 95) < 4
    pictures = sorted((folder / "images" / "01").iterdir())
    assert [file.name for file in pictures] == [f"{frame:06d}.jpg" for frame in range(FRAMES)]
    for frame in (0, FRAMES - 1):
        picture = cv2.imread(str(pictures[frame]))[..., ::-1].astype(int)
        assert np.abs(picture - frames_of(small_clip)[frame]).mean() < 3


def test_its_results_are_shown_instead_of_a_fit(first_run, small_clip, weights, tmp_path, app) -> None:
    model = SmplxBody()
    body = fitted_body(first_run, model)
    as_easymocap_writes(tmp_path / "output", body, model, np.eye(4))
    done = app(
        "mesh", small_clip, "--body", "smplx", "--easymocap-results", tmp_path / "output", "--preset", "fast",
        "--video", "overlay", "--format", "npz,ply", "--output", tmp_path / "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    taken = np.load(folder / "body.npz")
    here = np.setdiff1d(np.arange(FRAMES), LOST)
    np.testing.assert_array_equal(np.flatnonzero(taken["valid"]), here)
    ours, theirs = (keypoints @ body.intrinsics.T for keypoints in (taken["joints"][here], body.keypoints[here]))
    apart = np.linalg.norm(ours[..., :2] / ours[..., 2:] - theirs[..., :2] / theirs[..., 2:], axis=-1)
    assert apart.max() < 2, "pixels"
    assert apart.max() < 0.05, "the way there and back is exact but for rounding"
    warnings = record_of(folder)["warnings"]
    assert any("no body in frames 7-9" in text for text in warnings), warnings
    assert len(list((folder / "exports" / "ply").iterdir())) == len(here)
    assert quality_of(folder)["frames"]["fitted"] == len(here)
    source, result = frames_of(small_clip), frames_of(folder / "overlay.mp4")
    drawn = [np.abs(a.astype(int) - b).max(2) > 40 for a, b in zip(source, result, strict=True)]
    assert drawn[20].sum() > 300 and drawn[8].sum() < 30, "where it lost the person nothing is drawn"


def test_wrong_results_are_named_before_anything_is_written(small_clip, weights, tmp_path, app) -> None:
    def told(*options: str | Path) -> str:
        done = app("mesh", small_clip, "--output", tmp_path / "runs", *options)
        assert done.returncode == 2, done.stderr
        assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())
        return done.stderr

    nowhere = tmp_path / "nowhere"
    assert f"There is no folder {nowhere}" in told("--body", "smplx", "--easymocap-results", nowhere)
    assert "Give --body smplx" in told("--easymocap-results", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "holds no fitted body" in told("--body", "smplx", "--easymocap-results", tmp_path / "empty")


def test_four_views_make_a_dataset_and_take_results_in_the_world(shared, weights, tmp_path) -> None:
    source = shared / "footage" / "gymnast4"
    takes = [written(tmp_path, frames_of(file, 14), file.name) for file in sorted(source.glob("*.mp4"))]
    settings = MeshSettings(
        **(BARE.model_dump() | {"calibration": source / "Calib.qca.txt", "body": "smplx", "formats": "easymocap"})
    )
    folder = mesh_clips(takes, settings, output=tmp_path / "out")
    dataset = read_dataset(folder / "exports" / "easymocap")
    cameras = json.loads((folder / "cameras.json").read_text())
    assert [camera.name for camera in dataset.cameras] == [camera["name"] for camera in cameras]
    assert dataset.landmarks.shape[:2] == (4, 14)
    # The dataset disagrees with the points in space by as much as the run did, and no more.
    points = np.load(folder / "points.npz")
    for view, camera in enumerate(dataset.cameras):
        np.testing.assert_allclose(camera.T_camera_world, cameras[view]["T_camera_world"], atol=1e-8)
        error = np.linalg.norm(camera.project(points["points"]) - dataset.landmarks[view, ..., :2], axis=-1)
        used = points["used"][view] & np.isfinite(error)
        assert used.mean() > 0.4
        np.testing.assert_allclose(error[used], points["errors"][view][used], atol=0.1)
    model = SmplxBody()
    body = fitted_body(folder, model)
    reference = next(camera for camera in cameras if camera["name"] == dataset.cameras[0].name)
    as_easymocap_writes(tmp_path / "output", body, model, np.array(reference["T_camera_world"]))
    again = mesh_clips(
        takes,
        settings.model_copy(update={"easymocap_results": tmp_path / "output", "formats": "json"}),
        output=tmp_path / "out",
    )
    taken = np.load(again / "body.npz")
    here = taken["valid"]
    assert np.linalg.norm(taken["joints"][here] - body.keypoints[here], axis=-1).max() < 0.001, "metres"
