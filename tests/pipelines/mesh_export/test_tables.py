"""JSON and CSV, and whether angles mean what their names say."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.body.base import JOINT_NAMES, RestBody
from models.body.pose_init import limbs_of
from pipelines.mesh.export import export_body
from tests.pipelines.mesh_export.clips import COUNT, FACING, MILLIMETRE, MISSING, STRETCHED, joint, params_of
from tests.pipelines.mesh_export.readers import read_csv


def test_json_and_csv_agree_and_leave_out_what_was_not_fitted(files, params, joint_places) -> None:
    document = json.loads(files["json"].read_text(encoding="utf-8"))
    rows = read_csv(files["csv"])
    assert len(document["frames"]) == len(rows) == COUNT
    assert document["frame_rate"] == "30000/1001" and document["shape"] == STRETCHED
    for frame, (entry, row) in enumerate(zip(document["frames"], rows, strict=True)):
        assert entry["frame"] == int(row["frame"]) == frame
        assert entry["time"] == pytest.approx(frame * 1001 / 30000, abs=1e-5)
        if frame in MISSING:
            assert entry["joints"] is None and row["valid"] == "0" and row["left_knee_flexion"] == ""
            continue
        assert entry["angles"] == {name: float(row[name]) for name in entry["angles"]}
        assert tuple(entry["joints"]) == JOINT_NAMES
        for number, values in enumerate(entry["joints"].values()):
            np.testing.assert_allclose(values["position"], joint_places[frame, number], atol=0.02 * MILLIMETRE)
            np.testing.assert_allclose(values["rotation"], params.rotations[frame, number], atol=1e-5)


def angles_after(
    rest: RestBody, tmp_path: Path, turns: dict[str, list[float]]
) -> tuple[dict[str, float], dict[str, float]]:
    """The angles of the rest pose, facing the camera, and of a pose in which joints are turned (degrees, rest axes)."""
    rotations = np.zeros((2, len(JOINT_NAMES), 3))
    rotations[:, 0] = Rotation.from_matrix(FACING).as_rotvec()
    for name, vector in turns.items():
        if name == "root":
            turned = Rotation.from_matrix(FACING) * Rotation.from_rotvec(vector, degrees=True)
            rotations[1, 0] = turned.as_rotvec()
        else:
            rotations[1, joint(name)] = np.radians(vector)
    params = params_of(rotations, np.tile([0.0, 0, 4], (2, 1)))
    path = export_body(rest, params, Fraction(25), tmp_path, ["csv"])["csv"]
    before, after = ({name: float(value) for name, value in row.items()} for row in read_csv(path))
    return before, after


def test_angles_of_a_body_at_rest_are_a_persons(rest, tmp_path) -> None:
    angles, _ = angles_after(rest, tmp_path, {})
    for name in ("pelvis_tilt", "pelvis_obliquity", "pelvis_rotation", "trunk_flexion", "neck_flexion"):
        assert angles[name] == pytest.approx(0, abs=0.01)
    for side in ("left", "right"):
        assert angles[f"{side}_knee_flexion"] == pytest.approx(0, abs=12)
        assert angles[f"{side}_hip_abduction"] == pytest.approx(5, abs=5)
        assert 30 < angles[f"{side}_elbow_flexion"] < 50, "the rest pose bends the elbows"
        assert 30 < angles[f"{side}_shoulder_elevation"] < 50, "and holds the arms out"
        assert 0 < angles[f"{side}_forearm_pronation"] < 120
        for name in angles:
            if name.startswith("left_"):
                assert angles[name] == pytest.approx(angles[name.replace("left", "right")], abs=1.0), name


#: Turn (degrees, rest axes: x left, y back, z up), the angle that changes and by how much. What turns is named first.
MOVES = [
    ("left_hip", [-40, 0, 0], "left_hip_flexion", 40),
    ("right_hip", [-40, 0, 0], "right_hip_flexion", 40),
    ("left_hip", [0, -20, 0], "left_hip_abduction", 20),
    ("right_hip", [0, 20, 0], "right_hip_abduction", 20),
    ("left_hip", [0, 0, -15], "left_hip_rotation", 15),
    ("right_hip", [0, 0, 15], "right_hip_rotation", 15),
    ("left_knee", [60, 0, 0], "left_knee_flexion", 60),
    ("right_knee", [60, 0, 0], "right_knee_flexion", 60),
    ("left_foot", [-15, 0, 0], "left_ankle_dorsiflexion", 15),
    ("right_foot", [0, -10, 0], "right_ankle_inversion", 10),
    ("left_foot", [0, 10, 0], "left_ankle_inversion", 10),
    ("left_shoulder", [-40, 0, 0], "left_shoulder_flexion", 40),
    ("right_shoulder", [-40, 0, 0], "right_shoulder_flexion", 40),
    ("left_shoulder", [0, -30, 0], "left_shoulder_elevation", 30),
    ("right_shoulder", [0, 30, 0], "right_shoulder_elevation", 30),
    ("spine_upper", [25, 0, 0], "trunk_flexion", 25),
    ("spine_lower", [0, -15, 0], "trunk_lateral_bend", 15),
    ("spine_upper", [0, 0, 30], "trunk_rotation", 30),
    ("head", [20, 0, 0], "neck_flexion", 20),
    ("neck", [0, 0, -25], "neck_rotation", -25),
    ("root", [0, 0, 35], "pelvis_rotation", 35),
    ("root", [12, 0, 0], "pelvis_tilt", 12),
    ("root", [0, -8, 0], "pelvis_obliquity", 8),
]


@pytest.mark.parametrize(("turned", "vector", "angle", "by"), MOVES, ids=[f"{m[2]}-{m[0]}" for m in MOVES])
def test_angles_grow_as_their_names_say(rest, tmp_path, turned, vector, angle, by) -> None:
    before, after = angles_after(rest, tmp_path, {turned: vector})
    assert after[angle] - before[angle] == pytest.approx(by, abs=4)


def test_arms_bend_and_turn_as_their_names_say(rest, tmp_path) -> None:
    for limb in limbs_of(rest):
        name = JOINT_NAMES[limb.hinge.joint]
        before, after = angles_after(rest, tmp_path, {name: (50 * limb.hinge.axis).tolist()})
        assert after[f"{name}_flexion"] - before[f"{name}_flexion"] == pytest.approx(50, abs=0.1)
    heads = dict(zip(JOINT_NAMES, rest.bone_heads[rest.joint_bones].astype(float), strict=True))
    for side, sign in (("left", 1), ("right", -1)):
        along = heads[f"{side}_wrist"] - heads[f"{side}_elbow"]
        # Seen along the forearm towards the hand, the right hand turns inwards anticlockwise, the left one clockwise.
        turn = sign * 40 * along / np.linalg.norm(along)
        before, after = angles_after(rest, tmp_path, {f"{side}_wrist": turn.tolist()})
        name = f"{side}_forearm_pronation"
        assert after[name] - before[name] == pytest.approx(40, abs=0.1)
