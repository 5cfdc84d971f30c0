"""The NPZ, posed by the smplx library."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from core.types import LANDMARK_NAMES
from models.body.articulation import Skin, landmark_positions, params_transforms
from models.body.joint_tables import JOINT_BONES, SMPL_FAMILY
from models.body.smplx_body import SmplxBody
from pipelines.mesh.export import export_body
from tests import smplx_file
from tests.pipelines.mesh_export.clips import CHECKED, COUNT, MILLIMETRE, RATE, UP, joint
from tests.pipelines.mesh_export.readers import Glb


def test_the_npz_has_the_keys_of_amass(files, params) -> None:
    with np.load(files["npz"], allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    assert arrays["poses"].shape == (COUNT, 165) and arrays["trans"].shape == (COUNT, 3)
    assert arrays["betas"].shape == (16,) and not arrays["betas"].any()
    assert str(arrays["surface_model_type"]) == "smplx" and str(arrays["gender"]) == "neutral"
    assert float(arrays["mocap_frame_rate"]) == pytest.approx(29.97, abs=0.001)
    parts = [arrays[name] for name in ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")]
    np.testing.assert_array_equal(np.concatenate(parts, 1), arrays["poses"])
    np.testing.assert_array_equal(arrays["valid"], params.valid)
    used = [
        str(name)
        for name, moves in zip(arrays["joint_names"], arrays["poses"].any(0).reshape(55, 3).any(1), strict=True)
        if moves
    ]
    assert set(used) == set(JOINT_BONES["smplx"])
    assert "anny" in str(arrays["conversion"])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A model file in SMPL-X's layout, where the smplx library looks for it."""
    folder = tmp_path_factory.mktemp("models")
    smplx_file.write_npz(folder / "smplx")
    return folder


def posed_by_smplx(model_folder: Path, file: Path, frames: tuple[int, ...]):
    """What the smplx library makes of an exported file: vertices and joints (T, N, 3), camera axes with y up."""
    import smplx
    import torch

    with np.load(file, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    count = len(arrays["betas"])
    model = smplx.create(
        str(model_folder), "smplx", num_betas=10, use_pca=False, flat_hand_mean=True, batch_size=len(frames), ext="npz"
    )
    rows = {name: torch.from_numpy(values[list(frames)]).float() for name, values in arrays.items() if values.ndim == 2}
    hands, eyes = rows["pose_hand"], rows["pose_eye"]
    with torch.no_grad():
        output = model(
            betas=torch.from_numpy(arrays["betas"][None, : min(count, 10)]).float().expand(len(frames), -1),
            transl=rows["trans"],
            global_orient=rows["root_orient"],
            body_pose=rows["pose_body"],
            jaw_pose=rows["pose_jaw"],
            leye_pose=eyes[:, :3],
            reye_pose=eyes[:, 3:],
            left_hand_pose=hands[:, :45],
            right_hand_pose=hands[:, 45:],
        )
    # The file has z up, the other exports have y up.
    y_up = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    return (array.numpy() @ y_up.T for array in (output.vertices, output.joints))


def test_smplx_itself_poses_a_fitted_smplx_body_as_we_do(model_folder, params, tmp_path) -> None:
    shape = {"beta_0": 1.5, "beta_3": -1.0}
    rest = SmplxBody(model_folder / "smplx" / "SMPLX_NEUTRAL.npz").rest(shape)
    fitted = replace(params, model="smplx", shape=shape, scale=1.0)
    written = export_body(rest, fitted.window(72, 76), RATE, tmp_path, ["npz", "ply"])
    vertices, _ = posed_by_smplx(model_folder, written["npz"], (0, 2))
    for row, frame in enumerate((0, 2)):
        ours = trimesh.load(written["ply"] / f"frame_{frame:06d}.ply", process=False).vertices
        assert np.linalg.norm(vertices[row] - ours, axis=1).max() < MILLIMETRE


def test_an_smplx_glb_is_the_body_without_its_pose_blend_shapes(model_folder, params, tmp_path) -> None:
    rest = SmplxBody(model_folder / "smplx" / "SMPLX_NEUTRAL.npz").rest({})
    fitted = replace(params, model="smplx", scale=1.0)
    written = export_body(rest, fitted, RATE, tmp_path, ["glb", "bvh", "csv"])
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    transforms = params_transforms(rest, fitted)
    glb = Glb(written["glb"])
    for frame in CHECKED:
        away = np.linalg.norm(glb.skinned(frame / float(RATE)) - skin(transforms[frame]) @ UP.T, axis=1)
        assert away.max() < 0.1 * MILLIMETRE


@pytest.mark.parametrize(("family", "columns"), [("smplh", 156), ("smpl", 72)])
def test_older_models_of_the_family_keep_their_own_joints(family, columns, params, tmp_path) -> None:
    rest = SmplxBody(smplx_file.write_npz(tmp_path / "models", family)).rest({"beta_1": 2.0})
    fitted = replace(params, model=family, scale=1.0)
    with np.load(export_body(rest, fitted, RATE, tmp_path, ["npz"])["npz"], allow_pickle=False) as data:
        assert str(data["surface_model_type"]) == family
        assert data["poses"].shape == (COUNT, columns) and len(data["joint_names"]) * 3 == columns
        assert data["betas"][1] == 2.0
        parts = [data[name] for name in data.files if name.startswith(("root_orient", "pose_"))]
        np.testing.assert_array_equal(np.concatenate(parts, 1), data["poses"])
        knee = list(data["joint_names"]).index("left_knee")
        ours = np.linalg.norm(params.rotations[:, joint("left_knee")], axis=1)
        theirs = np.linalg.norm(data["poses"][:, 3 * knee : 3 * knee + 3], axis=1)
        np.testing.assert_allclose(theirs, ours, atol=1e-5)


#: Limbs by the joints at their ends, ours and SMPL-X's.
LIMBS = [
    ((f"{side}_{upper}", f"{side}_{lower}"), (f"{side}_{upper}", f"{side}_{lower.replace('foot', 'ankle')}"))
    for side in ("left", "right")
    for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "foot"))
]


def test_smplx_poses_another_body_with_its_limbs_along_ours(model_folder, files, joint_places) -> None:
    """The stand-in's T-pose differs from SMPL-X's by up to eight degrees; a fit's A-pose lies 50 degrees away."""
    _, joints = posed_by_smplx(model_folder, files["npz"], CHECKED)
    names = SMPL_FAMILY["smplx"]
    for row, frame in enumerate(CHECKED):
        for (upper, lower), ends in LIMBS:
            ours = joint_places[frame, joint(lower)] - joint_places[frame, joint(upper)]
            above, below = (joints[row, names.index(name)] for name in ends)
            theirs = below - above
            cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
            assert np.degrees(np.arccos(cosine)) < 11, f"{ends}, frame {frame}"


def test_smplx_turns_hands_as_the_body_does_and_stands_where_it_does(model_folder, files, rest, params) -> None:
    points = landmark_positions(rest, params_transforms(rest, params)) @ UP.T
    _, joints = posed_by_smplx(model_folder, files["npz"], CHECKED)
    names = SMPL_FAMILY["smplx"]
    for row, frame in enumerate(CHECKED):
        for side in ("left", "right"):
            index, pinky = (points[frame, LANDMARK_NAMES.index(f"{side}_{finger}")] for finger in ("index", "pinky"))
            ours = index - pinky
            theirs = joints[row, names.index(f"{side}_index1")] - joints[row, names.index(f"{side}_pinky1")]
            cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
            assert np.degrees(np.arccos(cosine)) < 25, f"{side} hand, frame {frame}"
    with np.load(files["npz"]) as data:
        places = data["trans"] + np.array([0.0031, -0.3514, 0.0120])
    camera = params.translation @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]).T
    np.testing.assert_allclose(places, camera, atol=MILLIMETRE)
