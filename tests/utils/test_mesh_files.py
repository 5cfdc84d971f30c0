"""The writers by themselves, on shapes small enough to check by hand. Whole bodies are in test_mesh_export.py."""

import csv
import json
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from utils.mesh_files.bvh import BvhSkeleton, write_bvh
from utils.mesh_files.csv import write_csv
from utils.mesh_files.glb import Animation, Skeleton, SkinnedMesh, write_glb
from utils.mesh_files.json import write_json_list
from utils.mesh_files.npz import Pieces, write_npz
from utils.mesh_files.obj import ObjWriter
from utils.mesh_files.ply import PlyWriter

#: A tetrahedron, counter-clockwise seen from outside.
VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


@pytest.mark.parametrize(("writer", "ending"), [(ObjWriter, "obj"), (PlyWriter, "ply")])
def test_a_surface_is_read_back(writer, ending, tmp_path: Path) -> None:
    files = writer(FACES)
    for size in (1.0, 2.0):
        files.write(tmp_path / f"one.{ending}", VERTICES * size)
        mesh = trimesh.load(tmp_path / f"one.{ending}", process=False, maintain_order=True)
        np.testing.assert_allclose(mesh.vertices, VERTICES * size, atol=1e-5)
        np.testing.assert_array_equal(mesh.faces, FACES)
        assert mesh.volume == pytest.approx(size**3)


def test_obj_seams_keep_both_texture_coordinates(tmp_path: Path) -> None:
    uv = np.array([[0, 0], [1, 0], [0, 1], [0.5, 0.5], [0.25, 0.75]])
    uv_faces = np.array([[0, 1, 2], [3, 1, 2], [4, 0, 1], [2, 3, 4]])
    ObjWriter(FACES, uv, uv_faces).write(tmp_path / "one.obj", VERTICES)
    mesh = trimesh.load(tmp_path / "one.obj", process=False)
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], uv[uv_faces], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], VERTICES[FACES], atol=1e-5)


def test_obj_refuses_half_a_texture() -> None:
    with pytest.raises(ValueError, match="together"):
        ObjWriter(FACES, uv=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="do not fit"):
        ObjWriter(FACES, np.zeros((1, 2)), np.zeros((2, 3), int))


# -- glTF --------------------------------------------------------------------------------------------------------------


def two_joints(chunks, times=(0.0, 0.5, 1.0), weights: np.ndarray | None = None):
    """The tetrahedron on two joints, the second a metre above the first."""
    inverse = np.tile(np.eye(4), (2, 1, 1))
    inverse[1, 1, 3] = -1
    joints = np.tile([0, 1], (4, 1)) if weights is None else np.tile(np.arange(weights.shape[1]) % 2, (4, 1))
    weights = np.array([[1, 0], [1, 0], [0.25, 0.75], [1, 0]]) if weights is None else weights
    mesh = SkinnedMesh(VERTICES, VERTICES / 3, FACES, joints, weights)
    still = np.tile([0.0, 0, 0, 1], (2, 1))
    skeleton = Skeleton(("low", "high"), (-1, 0), np.array([[0.0, 0, 0], [0, 1, 0]]), still, inverse)
    return mesh, skeleton, Animation("move", np.array(times), (0, 1), (0,), chunks)


def document_of(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    size = struct.unpack_from("<I", data, 12)[0]
    length, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0" and 28 + size + length == len(data)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def accessor(document: dict, binary: bytes, number: int, dtype: str, width: int) -> np.ndarray:
    entry = document["accessors"][number]
    start = document["bufferViews"][entry["bufferView"]]["byteOffset"]
    return np.frombuffer(binary, dtype, entry["count"] * width, start).reshape(-1, width)


def output(document: dict, binary: bytes, channel: int, width: int) -> np.ndarray:
    animation = document["animations"][0]
    number = animation["samplers"][animation["channels"][channel]["sampler"]]["output"]
    return accessor(document, binary, number, "<f4", width)


def keys(angles: list[float]) -> np.ndarray:
    """(N, 2, 4): the first joint turns about z, the second stands."""
    turns = Rotation.from_rotvec(np.array(angles)[:, None] * [0, 0, 1]).as_quat()
    return np.stack([turns, np.tile([0.0, 0, 0, 1], (len(angles), 1))], 1)


def test_keyframes_come_out_as_they_went_in_whatever_the_pieces(tmp_path: Path) -> None:
    places = np.arange(9.0).reshape(3, 1, 3)
    whole = keys([0.0, 0.4, 0.9])
    for name, cuts in (("one", [(0, 3)]), ("many", [(0, 1), (1, 2), (2, 3)])):
        pieces = ((whole[a:b], places[a:b]) for a, b in cuts)
        write_glb(tmp_path / f"{name}.glb", *two_joints(pieces), extras={"frame_rate": "2"})
    assert (tmp_path / "one.glb").read_bytes() == (tmp_path / "many.glb").read_bytes()
    document, binary = document_of(tmp_path / "one.glb")
    np.testing.assert_allclose(output(document, binary, 0, 4), whole[:, 0], atol=1e-6)
    np.testing.assert_allclose(output(document, binary, 2, 3), places[:, 0])
    assert document["scenes"][0]["extras"] == {"frame_rate": "2"}
    times = document["accessors"][document["animations"][0]["samplers"][0]["input"]]
    assert (times["min"], times["max"]) == ([0.0], [1.0])


def test_quaternions_that_change_sign_are_turned_back_across_pieces(tmp_path: Path) -> None:
    flipped = keys([0.0, 0.1, 0.2])
    flipped[1] *= -1
    places = np.zeros((3, 1, 3))
    pieces = ((flipped[i : i + 1], places[i : i + 1]) for i in range(3))
    write_glb(tmp_path / "one.glb", *two_joints(pieces))
    np.testing.assert_allclose(output(*document_of(tmp_path / "one.glb"), 0, 4), keys([0.0, 0.1, 0.2])[:, 0], atol=1e-6)


def test_more_than_four_weights_go_into_further_sets_heaviest_first(tmp_path: Path) -> None:
    weights = np.tile([0.05, 0.1, 0.3, 0.15, 0.25, 0.15], (4, 1))
    write_glb(tmp_path / "one.glb", *two_joints([(keys([0.0] * 3), np.zeros((3, 1, 3)))], weights=weights))
    document, binary = document_of(tmp_path / "one.glb")
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    sets = [accessor(document, binary, attributes[f"WEIGHTS_{number}"], "<f4", 4) for number in (0, 1)]
    np.testing.assert_allclose(np.concatenate(sets, 1)[0], [0.3, 0.25, 0.15, 0.15, 0.1, 0.05, 0, 0], atol=1e-6)
    assert "WEIGHTS_2" not in attributes


def test_a_motion_of_another_length_than_its_times_is_refused(tmp_path: Path) -> None:
    for count in (2, 4):
        with pytest.raises(ValueError, match="announced"):
            write_glb(tmp_path / "one.glb", *two_joints([(keys([0.0] * count), np.zeros((count, 1, 3)))]))
    with pytest.raises(ValueError, match="at least one"):
        write_glb(tmp_path / "one.glb", *two_joints([], times=()))


# -- BVH ---------------------------------------------------------------------------------------------------------------


ARM = BvhSkeleton(
    ("hip", "knee", "neck"), (-1, 0, 0), np.array([[0.0, 0, 0], [0, -1, 0], [0, 1, 0]]), {1: np.ones(3), 2: np.ones(3)}
)


def bvh_rows(path: Path) -> np.ndarray:
    return np.array([line.split() for line in path.read_text().split("Frame Time:")[1].splitlines()[1:]], float)


def test_bvh_text_is_what_the_format_says(tmp_path: Path) -> None:
    turn = Rotation.from_euler("ZXY", [[10, 20, 30], [0, 0, 0], [0, -90, 0]], degrees=True).as_matrix()
    write_bvh(tmp_path / "one.bvh", ARM, Fraction(25), 1, [(np.array([[1.0, 2, 3]]), turn[None])])
    lines = (tmp_path / "one.bvh").read_text().splitlines()
    assert lines[:5] == [
        "HIERARCHY",
        "ROOT hip",
        "{",
        "\tOFFSET 0.000000 0.000000 0.000000",
        "\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation",
    ]
    assert [line.count("{") for line in lines].count(1) == [line.count("}") for line in lines].count(1) == 5
    assert lines[-4:-1] == ["MOTION", "Frames: 1", "Frame Time: 0.040000000"]
    np.testing.assert_allclose(bvh_rows(tmp_path / "one.bvh")[0], [1, 2, 3, 10, 20, 30, 0, 0, 0, 0, -90, 0], atol=1e-5)


def test_bvh_angles_go_on_past_half_a_turn_and_over_the_pole(tmp_path: Path) -> None:
    spin, tilt = np.linspace(0, 900, 91), np.linspace(0, 170, 91)
    turns = np.tile(np.eye(3), (91, 3, 1, 1))
    turns[:, 0] = Rotation.from_rotvec(spin[:, None] * [0, 0, 1], degrees=True).as_matrix()
    turns[:, 1] = Rotation.from_rotvec(tilt[:, None] * [1, 0, 0], degrees=True).as_matrix()
    pieces = [(np.zeros((len(part), 3)), part) for part in np.array_split(turns, 7)]
    write_bvh(tmp_path / "one.bvh", ARM, Fraction(30), 91, pieces)
    rows = bvh_rows(tmp_path / "one.bvh")
    np.testing.assert_allclose(rows[:, 3], spin, atol=1e-4)
    np.testing.assert_allclose(rows[:, 7], tilt, atol=1e-4)


def test_bvh_refuses_what_it_cannot_nest(tmp_path: Path) -> None:
    points = np.zeros((4, 3))
    with pytest.raises(ValueError, match="depth-first"):
        BvhSkeleton("abcd", (-1, 0, 0, 1), points, {2: points[0], 3: points[0]})
    with pytest.raises(ValueError, match="tips"):
        BvhSkeleton("abcd", (-1, 0, 1, 0), points, {2: points[0]})
    with pytest.raises(ValueError, match="announced"):
        write_bvh(tmp_path / "one.bvh", ARM, Fraction(30), 2, [(np.zeros((1, 3)), np.tile(np.eye(3), (1, 3, 1, 1)))])


# -- tables ------------------------------------------------------------------------------------------------------------


def test_npz_in_pieces_is_the_array_whole(tmp_path: Path) -> None:
    whole = np.arange(24.0).reshape(8, 3)
    pieces = Pieces((8, 3), np.dtype(np.float32), lambda: iter(np.array_split(whole, 3)))
    write_npz(tmp_path / "one.npz", {"a": pieces, "name": np.array("anny"), "flags": np.array([True, False])})
    with np.load(tmp_path / "one.npz", allow_pickle=False) as data:
        assert sorted(data.files) == ["a", "flags", "name"]
        np.testing.assert_array_equal(data["a"], whole)
        assert data["a"].dtype == np.float32 and str(data["name"]) == "anny"


def test_npz_refuses_pickles_and_pieces_that_do_not_add_up(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(tmp_path / "one.npz", {"a": np.array([{}, None])})
    for rows, width in ((2, 3), (4, 3), (3, 2)):
        pieces = Pieces((3, 3), np.dtype(np.float32), lambda rows=rows, width=width: iter([np.zeros((rows, width))]))
        with pytest.raises(ValueError, match="a: "):
            write_npz(tmp_path / "one.npz", {"a": pieces})


def test_csv_is_read_back_with_empty_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "one.csv", ("frame", "a, b"), iter([(0, 1.5), (1, None)]))
    with (tmp_path / "one.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["frame", "a, b"], ["0", "1.5"], ["1", ""]]
    with pytest.raises(ValueError, match="2 columns"):
        write_csv(tmp_path / "one.csv", ("frame", "a"), [(0, 1, 2)])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_read_back_and_has_a_line_for_each_entry(count: int, tmp_path: Path) -> None:
    entries = [{"frame": number, "x": None} for number in range(count)]
    write_json_list(tmp_path / "one.json", {"rate": "25", "names": ["é"]}, "frames", iter(entries))
    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"rate": "25", "names": ["é"], "frames": entries}
    assert sum(line.startswith('{"frame"') for line in text.splitlines()) == count


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_list(tmp_path / "one.json", {}, "frames", [{"x": float("nan")}])
    with pytest.raises(ValueError, match="own name"):
        write_json_list(tmp_path / "one.json", {"frames": 3}, "frames", [])
