"""EasyMoCap's bodies shown with ours: every bone where the ``smplx`` library puts it, in pictures and in files."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
import trimesh
from scipy.spatial.transform import Rotation

from core.errors import InputError
from core.types import BodyParams
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import JOINT_NAMES
from models.body.smplx_body import SmplxBody, SmplxRestBody, final_vertices
from pipelines.mesh.easymocap_body import body_of, read_checked
from pipelines.mesh.easymocap_results import read_results
from pipelines.mesh.export import export_body
from tests.pipelines.mesh_export.readers import Bvh, Glb
from tests.smplx_file import write_npz, write_pickle
from utils.cameras.camera import pose

COUNT = 5
#: The frames that EasyMoCap has a body in, of eight.
FRAMES = np.array([0, 1, 3, 4, 6])
CLIP = 8
CAMERA = pose(np.array([0.3, 2.0, -0.4]), np.array([0.2, 0.1, 4.0]))
K = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
#: Number of pose values, the model, and joints of body, head and each hand.
LAYOUTS = {
    165: ("smplx", 22, 3, 15), 156: ("smplh", 22, 0, 15), 72: ("smpl", 24, 0, 0),
    87: ("smplx", 22, 3, 6), 78: ("smplh", 22, 0, 6),
}  # fmt: skip


def written(folder: Path, values: int) -> dict[str, np.ndarray]:
    """Write results in which every joint turns; what was written by parts."""
    _, body, head, hand = LAYOUTS[values]
    rng = np.random.default_rng(values)
    parts = {
        "body": rng.normal(0, 0.25, (COUNT, body, 3)),
        "head": rng.normal(0, 0.1, (COUNT, head, 3)),
        "hands": rng.normal(0, 0.3, (COUNT, 2, hand, 3 if hand == 15 else 1)),
        "Rh": rng.normal(0, 1, (COUNT, 3)),
        "Th": rng.normal(0, 0.5, (COUNT, 3)),
        "shapes": np.tile(rng.normal(0, 1, 10), (COUNT, 1)),
    }
    hands = parts["hands"].reshape(COUNT, -1)
    # The small form has the hands before the head, the full one SMPL-X's own order.
    tail = [parts["head"].reshape(COUNT, -1), hands] if hand == 15 else [hands, parts["head"].reshape(COUNT, -1)]
    poses = np.concatenate([parts["body"].reshape(COUNT, -1), *tail], 1)
    assert poses.shape == (COUNT, values)
    folder.mkdir(parents=True)
    for row, frame in enumerate(FRAMES):
        entry = {name: parts[name][row : row + 1].tolist() for name in ("Rh", "Th", "shapes")}
        (folder / f"{frame:06d}.json").write_text(
            json.dumps([{"id": 0, "poses": poses[row : row + 1].tolist(), **entry}])
        )
    return parts


def by_library(file: Path, values: int, parts: dict[str, np.ndarray]) -> np.ndarray:
    """(T, V, 3): EasyMoCap's formula on the library's body, in camera axes."""
    model, _, head, hand = LAYOUTS[values]
    options = {} if model == "smpl" else {"use_pca": hand == 6, "flat_hand_mean": hand != 6, "num_pca_comps": 6}
    body = smplx.create(str(file), model_type=model, ext=file.suffix[1:], batch_size=COUNT, **options)
    given = {"betas": parts["shapes"], "global_orient": parts["body"][:, 0], "body_pose": parts["body"][:, 1:]}
    if head:
        given |= {"jaw_pose": parts["head"][:, 0], "leye_pose": parts["head"][:, 1], "reye_pose": parts["head"][:, 2]}
    if hand:
        given |= {"left_hand_pose": parts["hands"][:, 0], "right_hand_pose": parts["hands"][:, 1]}
    with torch.no_grad():
        out = body(**{name: torch.from_numpy(part.reshape(COUNT, -1)).float() for name, part in given.items()})
    turn = Rotation.from_rotvec(parts["Rh"]).as_matrix()
    world = np.einsum("tij,tvj->tvi", turn, out.vertices.numpy()) + parts["Th"][:, None]
    return world @ CAMERA[:3, :3].T + CAMERA[:3, 3]


Taken = tuple[SmplxRestBody, BodyParams]


@pytest.fixture(scope="module")
def take(tmp_path_factory) -> Callable[[int], tuple[SmplxRestBody, BodyParams, np.ndarray]]:
    """Results of a layout, as a body of ours and as the library has them."""

    def made(values: int) -> tuple[SmplxRestBody, BodyParams, np.ndarray]:
        folder = tmp_path_factory.mktemp("take")
        # The library reads SMPL's own files as pickles only.
        write = write_pickle if LAYOUTS[values][0] == "smpl" else write_npz
        file = write(folder / "models", LAYOUTS[values][0])
        parts = written(folder / "output" / ("smplfull" if LAYOUTS[values][3] == 15 else "smpl"), values)
        model = SmplxBody(file)
        (person,) = read_checked(folder / "output", model, CLIP)
        body = body_of(person, model, CAMERA, K, CLIP)
        return model.rest(body.shape), body, by_library(file, values, parts)

    return made


@pytest.mark.parametrize("values", LAYOUTS)
def test_every_bone_lies_where_the_library_puts_it(take, values: int) -> None:
    rest, body, theirs = take(values)
    np.testing.assert_array_equal(np.flatnonzero(body.valid), FRAMES)
    transforms = params_transforms(rest, body)
    for row, frame in enumerate(FRAMES):
        ours = final_vertices(rest, transforms[frame], body.rotations[frame])
        assert np.linalg.norm(ours - theirs[row], axis=1).max() < 1e-4
    points = landmark_positions(rest, transforms)
    np.testing.assert_allclose(body.keypoints, points, atol=1e-6)
    # Frames without a body repeat a neighbour's pose.
    np.testing.assert_array_equal(body.rotations[2], body.rotations[1])


def test_the_files_hold_all_of_its_bones(take, tmp_path: Path) -> None:
    rest, body, theirs = take(165)
    files = export_body(rest, body, Fraction(25), tmp_path, ["glb", "bvh", "npz", "json", "csv", "ply"])
    flip = np.diag([1.0, -1.0, -1.0])
    for row, frame in enumerate(FRAMES):
        mesh = trimesh.load(files["ply"] / f"frame_{frame:06d}.ply", process=False)
        assert np.linalg.norm(mesh.vertices - theirs[row] @ flip, axis=1).max() < 1e-4
    # The GLB has the skin without its pose blend shapes, fingers and toes turned.
    glb = Glb(files["glb"])
    skinned = np.linalg.norm(glb.skinned(3 / 25) - theirs[2] @ flip, axis=1)
    assert np.percentile(skinned, 95) < 0.01
    turned = {glb.document["nodes"][node]["name"] for node, path, _, _ in glb.channels() if path == "rotation"}
    assert {"spine3", "jaw", "left_index2", "right_foot"} <= turned
    with np.load(files["npz"]) as arrays:
        assert np.abs(arrays["pose_jaw"]).max() > 0.01 and np.abs(np.diff(arrays["pose_hand"], axis=0)).max() > 0.01
        assert arrays["poses"].shape == (CLIP, 165)
    entries = json.loads(files["json"].read_text())["frames"]
    assert entries[2]["joints"] is None and set(entries[3]["joints"]) == set(JOINT_NAMES)
    # BVH has no spine3: the joint below takes over its turn, and what hangs on it lies within centimetres.
    bvh = Bvh(files["bvh"])
    for name in JOINT_NAMES:
        off = bvh.places(3)[bvh.names.index(name)] - entries[3]["joints"][name]["position"]
        assert np.linalg.norm(off) < 0.06, name


def test_results_of_another_model_or_clip_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "output" / "smpl", 72)
    model = SmplxBody(write_npz(tmp_path))
    with pytest.raises(InputError, match="holds bodies of SMPL, and the model file is one of SMPL-X"):
        read_checked(tmp_path / "output", model, CLIP)
    older = SmplxBody(write_npz(tmp_path, "smpl"))
    with pytest.raises(InputError, match="body in frame 6, and the clip has 6 frames"):
        read_checked(tmp_path / "output", older, 6)


def test_results_in_the_folder_of_a_single_camera_are_found(tmp_path: Path) -> None:
    written(tmp_path / "output" / "smpl" / "01", 72)
    (person,) = read_results(tmp_path / "output")
    np.testing.assert_array_equal(person.frames, FRAMES)
