"""Depth and normal maps lie where the body is, and agree with a depth network about the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError, ModelUnavailable
from core.types import BodyParams
from models.body.anny_body import AnnyBody
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.controls import ControlSource, depth_reach, installed_depth_network, make_controls
from models.controls.geometry import NEAREST, aligned
from models.controls.network import TransformersDepth
from models.weights.manifest import FileRecord, Manifest
from models.weights.table import weight_set
from utils import transforms

WIDTH, HEIGHT = 240, 400
INTRINSICS = np.array([[600.0, 0, 119.5], [0, 600.0, 199.5], [0, 0, 1]])
#: Facing the camera: model left, back, up in camera axes are +x, +z, -y.
FACING = np.array([np.pi / 2, 0.0, 0.0], np.float32)
#: Where the chest is in the picture (x, y).
CHEST = (119, 130)


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def fitted(rest: RestBody, rotations: np.ndarray, depth: np.ndarray) -> BodyParams:
    """Bodies in the middle of the picture whose roots are ``depth`` (N,) metres away."""
    place = np.zeros((len(depth), 3), np.float32)
    place[:, 2] = depth
    bare = BodyParams(
        "anny", dict(rest.shape), JOINT_NAMES, rotations.astype(np.float32), place, INTRINSICS,
        np.zeros((len(depth), 33, 3), np.float32), np.ones(len(depth), bool),
    )  # fmt: skip
    return replace(bare, keypoints=landmark_positions(rest, params_transforms(rest, bare)))


def standing(rest: RestBody, depth: np.ndarray) -> BodyParams:
    rotations = np.zeros((len(depth), len(JOINT_NAMES), 3))
    rotations[:, 0] = FACING
    return fitted(rest, rotations, depth)


def waving(rest: RestBody, count: int = 5) -> BodyParams:
    """Stands 3.5 m away and swings its left arm to the front."""
    body = standing(rest, np.full(count, 3.5))
    rotations = body.rotations.copy()
    rotations[:, JOINT_NAMES.index("left_shoulder"), 0] = np.linspace(0, -1.6, count)
    return fitted(rest, rotations, np.full(count, 3.5))


def source_of(body: BodyParams, H: np.ndarray | None = None, **options: object) -> ControlSource:
    count = len(body)
    return ControlSource(
        np.full((count, HEIGHT, WIDTH, 3), 90, np.uint8),
        np.zeros((count, 17, 3), np.float32),
        body=body,
        H_crop_source=np.tile(np.eye(3) if H is None else H, (count, 1, 1)),
        **options,  # type: ignore[arg-type]
    )


# -- depth ---------------------------------------------------------------------------------------------------------


def test_depth_is_inverse_and_bright_where_it_is_near(rest) -> None:
    maps = make_controls(["depth"], source_of(standing(rest, np.array([3.5, 7.0])))).maps["depth"]
    assert maps.shape == (2, HEIGHT, WIDTH, 3) and (maps == maps[..., :1]).all()
    near, far = maps[..., 0]
    assert near[0, 0] == 0 and near[CHEST[1], CHEST[0]] > 150
    # The farther body is smaller; its grey levels are its own, not crushed by the nearer one.
    assert 3.5 < (near > 0).sum() / (far > 0).sum() < 4.5
    assert far[far > 0].min() > 150
    body = near[near > 0]
    assert np.ptp(body.astype(int)) > 8


def test_depth_levels_are_the_bodys_inverse_depth(rest) -> None:
    body = standing(rest, np.array([3.5]))
    source = source_of(body, reach=0.5)
    level = make_controls(["depth"], source).maps["depth"][0, ..., 0]
    hit = source.scene.body[0].hit
    expected = 255 * (3.5 - 0.5) / source.scene.body[0].zbuf[hit]
    assert np.abs(level[hit] - np.minimum(expected, 255)).max() <= 0.51
    # The surface lies within the body: its chest is in front of its hips' joint, and not by much.
    assert 3.2 < source.scene.body[0].zbuf[CHEST[1], CHEST[0]] < 3.5


def test_an_arm_that_comes_forward_changes_nothing_elsewhere(rest) -> None:
    body = waving(rest)
    maps = make_controls(["depth"], source_of(body)).maps["depth"][..., 0].astype(int)
    chest = maps[:, CHEST[1], CHEST[0]]
    assert np.ptp(chest) == 0
    # A range of its own for each picture, as MiDaS takes it, would have made the chest darker frame by frame.
    inverse = source_of(body).scene.inverse
    own = 255 * inverse[:, CHEST[1], CHEST[0]] / inverse.max(axis=(1, 2))
    assert np.ptp(own) > 15
    # The hand that comes forward keeps its relief: it is not cut off.
    assert maps[-1].max() < 255


def test_levels_do_not_depend_on_how_a_clip_is_cut(rest) -> None:
    body = waving(rest)
    reach = depth_reach(body)
    whole = make_controls(["depth"], source_of(body, reach=reach)).maps["depth"]
    for start, end in ((0, 2), (2, 5)):
        part = make_controls(["depth"], source_of(body.window(start, end), reach=reach)).maps["depth"]
        np.testing.assert_array_equal(part, whole[start:end])


def test_frames_without_a_body_are_empty(rest) -> None:
    body = standing(rest, np.array([3.5, 3.5, 3.5]))
    body.valid[:] = [True, False, True]
    body.rotations[1] = np.nan
    body.translation[1] = np.nan
    maps = make_controls(["depth", "normal"], source_of(body)).maps
    assert not maps["depth"][1].any() and maps["depth"][[0, 2]].any()
    assert (maps["normal"][1] == (127, 127, 255)).all()
    body.valid[:] = False
    assert not make_controls(["depth"], source_of(body)).maps["depth"].any()


def test_a_body_that_reaches_the_camera_is_drawn(rest) -> None:
    maps = make_controls(["depth", "normal"], source_of(standing(rest, np.array([NEAREST])))).maps
    assert (maps["depth"] == 255).any()


def test_without_a_body_there_is_no_depth(rest) -> None:
    source = replace(source_of(standing(rest, np.array([3.5]))), body=None)
    with pytest.raises(InputError, match="need the fitted body"):
        make_controls(["depth"], source)
    with pytest.raises(InputError, match="'smplx' body"):
        make_controls(["normal"], source_of(replace(standing(rest, np.array([3.5])), model="smplx")))


def test_crop_transforms_are_followed(rest) -> None:
    """A crop that starts at (30, 20) and is enlarged by 1.5 shows the same body there."""
    body = standing(rest, np.array([3.5]))
    H = transforms.scaling(1.5, 1.5) @ transforms.translation(-30, -20)
    whole = make_controls(["depth"], source_of(body)).maps["depth"][0, ..., 0]
    cut = make_controls(["depth"], source_of(body, H)).maps["depth"][0, ..., 0]
    expected = transforms.warp(whole, H, (WIDTH, HEIGHT))
    assert np.median(np.abs(cut.astype(int) - expected)) == 0
    assert (np.abs(cut.astype(int) - expected) > 40).mean() < 0.02


# -- normals -------------------------------------------------------------------------------------------------------


def sides(normals: np.ndarray, hit: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours at the left edge, the middle and the right edge of the body in one row."""
    columns = np.flatnonzero(hit[row])
    return tuple(normals[row, column].astype(int) for column in (columns[1], int(columns.mean()), columns[-2]))


def test_normals_are_red_to_the_left_green_above_and_blue_in_front(rest) -> None:
    source = source_of(standing(rest, np.array([3.5])))
    normals = make_controls(["normal"], source).maps["normal"][0]
    hit = source.scene.body[0].hit
    left, middle, right = sides(normals, hit, row=55)  # the head
    assert left[0] > 190 and right[0] < 65 and 90 < middle[0] < 165
    assert middle[2] > 220
    columns = np.flatnonzero(hit.any(axis=0))
    crown = np.flatnonzero(hit[:, int(columns.mean())])[1]
    assert normals[crown, int(columns.mean()), 1] > 190
    assert (normals[0, 0] == (127, 127, 255)).all()


def test_normals_turn_with_the_picture(rest) -> None:
    """A crop turned by a quarter clockwise shows the body lying: what was up is right now."""
    body = standing(rest, np.array([3.5]))
    turned = np.array([[0.0, -1, HEIGHT - 1], [1, 0, 0], [0, 0, 1]])
    upright = make_controls(["normal"], source_of(body)).maps["normal"][0].astype(float) - 127.5
    source = replace(source_of(body, turned), frames=np.zeros((1, WIDTH, HEIGHT, 3), np.uint8))
    lying = make_controls(["normal"], source).maps["normal"][0].astype(float) - 127.5
    expected = np.rot90(upright, -1)
    # Red is left and green is up: a quarter clockwise takes left to up, and up to right, which is red's opposite.
    expected = np.stack([-expected[..., 1], expected[..., 0], expected[..., 2]], axis=-1)
    assert np.abs(lying - expected).max() <= 2


# -- the depth network ---------------------------------------------------------------------------------------------


def room(body: BodyParams, distance: float = 8.0, eye: float = 1.2) -> np.ndarray:
    """(N, H, W) true inverse depth of a room: a wall, a floor, and the body."""
    scene = source_of(body).scene
    rows = (np.arange(HEIGHT)[:, None] - INTRINSICS[1, 2]) / INTRINSICS[1, 1]
    behind = np.maximum(1 / distance, np.maximum(rows, 0) / eye) * np.ones((1, WIDTH))
    return np.where(scene.inverse > 0, scene.inverse, behind)


def guesses(values: np.ndarray) -> Callable[[], Callable[[np.ndarray], np.ndarray]]:
    """A depth network that knows ``values`` (N, H, W), one picture after the other."""
    frames = iter(values)
    return lambda: lambda _rgb: next(frames)


def test_the_network_is_brought_to_the_bodys_metres(rest) -> None:
    body = waving(rest)
    true = room(body)
    rng = np.random.default_rng(1)
    # Every picture has a scale of its own; the shift is a tenth of what is at the body.
    flicker = rng.uniform(20, 60, (len(body), 1, 1))
    source = source_of(body, find_network=guesses((true - 0.03) * flicker))
    found = source.scene.inverse
    assert np.abs(found / true - 1).max() < 0.06
    levels = make_controls(["depth"], source).maps["depth"][..., 0].astype(int)
    wall = levels[:, 20, 10]
    assert np.ptp(wall) <= 1, "the network's own flicker is gone"
    assert 0 < wall[0] < levels[0, HEIGHT - 5, 10]


def test_pixels_in_which_the_person_is_not_seen_do_not_count(rest) -> None:
    """Something stands in front of the legs: the network sees that, and the body's depth is not its depth."""
    body = standing(rest, np.array([3.5]))
    true = room(body)
    seen = true.copy()
    seen[:, 230:] = 1.0
    masks = np.zeros(true.shape, bool)
    masks[:, :225] = True
    with_mask = source_of(body, masks=masks, find_network=guesses(10 * seen)).scene.inverse
    assert np.abs(with_mask / true - 1)[:, :225].max() < 0.02
    without = source_of(body, find_network=guesses(10 * seen)).scene.inverse
    assert np.abs(without / true - 1)[:, :225].max() > 0.1


@pytest.mark.parametrize("kind", ["flat", "noise", "reversed"])
def test_a_network_that_sees_no_relief_cannot_turn_the_scene_around(rest, kind: str) -> None:
    body = standing(rest, np.array([3.5]))
    true = room(body)
    on_body = source_of(body).scene.body[0].hit[None]
    mean = true[on_body].mean()
    rng = np.random.default_rng(0)
    relief = {"flat": np.zeros_like(true), "noise": rng.normal(0, 0.01, true.shape), "reversed": mean - true}[kind]
    found = aligned(5 * np.where(on_body, mean + relief, true), np.where(on_body, true, 0))
    assert found[0, 20, 10] < found[0, HEIGHT - 5, 10], "the wall stays behind the floor at the camera's feet"
    assert abs(found[on_body].mean() / mean - 1) < 0.02


def test_where_the_body_is_out_of_sight_its_neighbours_scale_the_network(rest) -> None:
    body = standing(rest, np.array([3.5, 3.5, 3.5]))
    true = room(body)
    known = source_of(body).scene.inverse.copy()
    known[1] = 0
    found = aligned(7 * true, known)
    assert np.abs(found / true - 1).max() < 0.02
    assert aligned(7 * true, np.zeros_like(known)).max() == 1
    assert not aligned(np.zeros_like(true), known).any()


def test_normals_of_floor_and_wall_come_from_the_network(rest) -> None:
    body = standing(rest, np.array([3.5]))
    source = source_of(body, find_network=guesses(3 * room(body)))
    normals = make_controls(["normal"], source).maps["normal"][0].astype(int)
    floor, wall = normals[HEIGHT - 20, 5], normals[30, 5]
    assert floor[1] > 240 and abs(floor[0] - 127) < 8
    assert wall[2] > 250
    # The camera that looks at a wall on its left sees a surface that faces right.
    left_wall = np.maximum((INTRINSICS[0, 2] - np.arange(WIDTH)) / INTRINSICS[0, 0], 0) / 1.0 + 0.05
    pictures = np.tile(left_wall, (1, HEIGHT, 1))
    side = make_controls(["normal"], source_of(body, find_network=guesses(pictures))).maps["normal"][0].astype(int)
    assert side[200, 20, 0] < 40


@pytest.fixture(scope="module")
def tiny_network(tmp_path_factory) -> Path:
    """A folder with a real Depth Anything of a few channels, saved as the real one is."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    folder = tmp_path_factory.mktemp("depth")
    torch.manual_seed(3)
    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, patch_size=14, image_size=56,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[4, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
        # The head's ReLU would cut a random network's output to nothing.
        model.head.conv3.bias.fill_(10.0)
    model.save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14, resample=3
    ).save_pretrained(folder)
    return folder


def test_a_transformers_network_gives_depth_at_the_pictures_size(rest, tiny_network) -> None:
    network = TransformersDepth(tiny_network, "cpu")
    rgb = np.random.default_rng(0).integers(0, 255, (120, 90, 3), np.uint8)
    depth = network(rgb)
    assert depth.shape == (120, 90) and depth.dtype == np.float32
    assert np.isfinite(depth).all() and np.ptp(depth) > 0
    np.testing.assert_array_equal(depth, network(rgb))
    body = standing(rest, np.array([3.5]))
    maps = make_controls(["depth", "normal"], source_of(body, find_network=lambda: network)).maps
    plain = make_controls(["depth"], source_of(body)).maps["depth"]
    hit = plain[0, ..., 0] > 0
    np.testing.assert_array_equal(maps["depth"][0][hit], plain[0][hit])
    assert maps["depth"][0][~hit].any()


def test_damaged_network_files_are_named(tiny_network, tmp_path) -> None:
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_network / name).read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(ModelUnavailable, match=r"depth network in .* cannot be loaded") as failure:
        TransformersDepth(tmp_path, "cpu")
    assert "app.py weights pull depth" in failure.value.hint
    # A pickle in its place is not read.
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelUnavailable):
        TransformersDepth(tmp_path, "cpu")


def test_the_network_is_found_in_the_weights_folder(monkeypatch, tmp_path, tiny_network) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path))
    assert installed_depth_network() is None
    folder = tmp_path / "depth"
    shutil.copytree(tiny_network, folder)
    records = tuple(
        FileRecord(file.name, file.stat().st_size, "some/one", "0" * 40, file.name) for file in folder.iterdir()
    )
    Manifest(weight_set("depth").request, records).save(folder)
    network = installed_depth_network("cpu")
    assert network is not None and network(np.zeros((60, 60, 3), np.uint8)).shape == (60, 60)
    assert installed_depth_network("cpu") is network, "it is loaded once"
