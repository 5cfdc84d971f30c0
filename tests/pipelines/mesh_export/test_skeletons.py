"""GLB and BVH: whoever plays them sees the body where it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from models.body.base import JOINT_NAMES
from tests.pipelines.mesh_export.clips import CHECKED, MILLIMETRE, RATE
from tests.pipelines.mesh_export.readers import Bvh, Glb


def test_the_animated_glb_poses_the_body_as_the_project_does(files, truth) -> None:
    glb = Glb(files["glb"])
    for frame, vertices in truth.items():
        away = np.linalg.norm(glb.skinned(frame / float(RATE)) - vertices, axis=1)
        assert away.max() < 0.1 * MILLIMETRE, f"frame {frame}"


def test_viewers_that_read_four_weights_show_nearly_the_same(files, truth) -> None:
    glb = Glb(files["glb"])
    for frame, vertices in truth.items():
        away = np.linalg.norm(glb.skinned(frame / float(RATE), sets=1) - vertices, axis=1)
        assert np.percentile(away, 95) < 5 * MILLIMETRE


def test_the_glb_has_a_keyframe_for_each_fitted_frame_at_the_clips_rate(files, params) -> None:
    expected = np.flatnonzero(params.valid) / float(RATE)
    channels = Glb(files["glb"]).channels()
    assert {path for _, path, _, _ in channels} == {"rotation", "translation"}
    for _, _, times, values in channels:
        np.testing.assert_allclose(times, expected, atol=1e-5)
        assert len(values) == len(expected)


def test_the_glb_turns_the_short_way_between_keyframes(files) -> None:
    turns = [values for _, path, _, values in Glb(files["glb"]).channels() if path == "rotation"]
    assert len(turns) >= len(JOINT_NAMES)
    for values in turns:
        assert ((values[1:] * values[:-1]).sum(1) > 0).all()


def test_the_glb_stands_upright_at_rest_with_its_bones_named(files, rest) -> None:
    glb = Glb(files["glb"])
    vertices = glb.skinned(None)
    assert np.ptp(vertices[:, 1]) > 1.5, "y is up"
    names = [glb.document["nodes"][node]["name"] for node in glb.document["skins"][0]["joints"]]
    assert tuple(names) == rest.bone_names
    world = glb.world(None)
    nodes = {node["name"]: index for index, node in enumerate(glb.document["nodes"])}
    assert world[nodes["wrist.L"]][0, 3] > 0.3, "the subject's left is +x"


def test_trimesh_reads_the_glb(files, rest) -> None:
    scene = trimesh.load(files["glb"])
    (mesh,) = scene.geometry.values()
    assert len(mesh.faces) == len(rest.faces)
    assert mesh.volume > 0.04
    assert {"root", "wrist.L", "foot.R"} <= set(scene.graph.nodes)


VALIDATE = """
const { validateBytes } = require('gltf-validator');
const bytes = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validateBytes(bytes, { maxIssues: 50 }).then((report) => console.log(JSON.stringify(report)));
"""


def validated(file: Path) -> dict:
    """The validator's report on a file; skips the test where it is not installed."""
    modules = Path(sys.prefix) / "lib" / "node_modules"
    if not (modules / "gltf-validator").is_dir():
        pytest.skip("npm's packages could not be reached: make gltf-validator")
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")]))
    assert node is not None, "node comes with requirements-dev.txt"
    environment = {**os.environ, "NODE_PATH": str(modules)}
    command = [node, "-e", VALIDATE, str(file)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)


def test_the_khronos_validator_finds_nothing(files) -> None:
    report = validated(files["glb"])
    assert report["issues"]["messages"] == []
    assert report["info"]["hasSkins"] and report["info"]["animationCount"] == 1


def test_the_khronos_validator_finds_what_is_wrong(files, tmp_path) -> None:
    """So that finding nothing means something."""
    data = files["glb"].read_bytes()
    broken = tmp_path / "broken.glb"
    broken.write_bytes(data.replace(b'"type":"MAT4"', b'"type":"VEC4"', 1))
    assert broken.read_bytes() != data
    assert validated(broken)["issues"]["numErrors"] > 0


def test_a_bvh_reader_finds_the_joints_where_they_are(files, joint_places) -> None:
    bvh = Bvh(files["bvh"])
    joints = [bvh.names.index(name) for name in JOINT_NAMES]
    assert joints == sorted(joints), "in the order of JOINT_NAMES"
    for frame in CHECKED:
        away = np.linalg.norm(bvh.places(frame)[joints] - joint_places[frame], axis=1)
        assert away.max() < 0.1 * MILLIMETRE
    assert bvh.frame_time == pytest.approx(1001 / 30000, abs=1e-8)


def test_bvh_angles_do_not_jump(files, params) -> None:
    rows = Bvh(files["bvh"]).rows
    steady = np.flatnonzero(params.valid[1:] & params.valid[:-1])
    angles = np.abs(np.diff(rows[:, 3:], axis=0)[steady])
    assert len(rows) == len(params)
    assert np.median(angles) > 0.1 and angles.max() < 90


def test_bvh_ends_at_crown_finger_tips_and_toes(files) -> None:
    bvh = Bvh(files["bvh"])
    reach = {
        name: np.linalg.norm(bvh.offsets[bvh.names.index(f"{name}_end")])
        for name in JOINT_NAMES
        if f"{name}_end" in bvh.names
    }
    assert set(reach) == {"head", "left_wrist", "right_wrist", "left_foot", "right_foot"}
    assert all(0.1 < length < 0.35 for length in reach.values())
