"""Pictures of a fitted body: where they lie in the frame, what light does to them, and what they leave alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.renderer import HardPhongShader, TexturesVertex
from pytorch3d.structures import Meshes
from scipy.spatial.transform import Rotation

from core.errors import InputError, ModelUnavailable
from core.types import LANDMARK_NAMES, BodyParams, ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, landmark_positions, params_transforms, skin
from models.body.base import JOINT_NAMES, RestBody
from models.body.embree import RayScene, camera_rays, project
from models.body.mesh.ground import find_ground
from models.body.mesh.parts import part_colors
from models.body.mesh.rasterization import EmbreeRasterizer, TorchRasterizer, screen_camera, with_distances
from models.body.mesh.shading import ShotLights, skin_like
from models.body.mesh.turntable import Turntable, upright_axis
from models.body.mesh_rendering import GREY, MeshLayer, MeshRenderer
from models.body.pose_init import rotation_vectors
from models.body.smplx_body import SmplxBody
from tests import smplx_file
from utils.mesh_layout import side_by_side, turntable_angles

#: Model axes to camera axes: the body faces the camera.
FACING = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
SIZE = (120, 160)
INTRINSICS = np.array([[190.0, 0.0, 58.3], [0.0, 187.0, 80.9], [0.0, 0.0, 1.0]])
LOOK = ShotLook(
    light_direction=np.array([-0.6, -0.64, -0.48], np.float32),
    light=np.array([0.9, 0.85, 0.8], np.float32),
    sky=np.array([0.4, 0.42, 0.48], np.float32),
    ground=np.array([0.2, 0.19, 0.17], np.float32),
    haze=np.zeros(3, np.float32),
    exposure=0.8,
    softness=0.3,
    grain=0.0,
    blur=0.0,
)
RATE = 30.0


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def posed(rest: RestBody, places: np.ndarray, **bends: float) -> BodyParams:
    """A body that faces the camera at the given root places (T, 3), with joints bent about x in rest axes."""
    rotations = np.zeros((len(places), len(JOINT_NAMES), 3), np.float32)
    rotations[:, 0] = rotation_vectors(FACING[None])[0]
    for name, angle in bends.items():
        rotations[:, JOINT_NAMES.index(name), 0] = angle
    places = np.asarray(places, np.float32)
    points = landmark_positions(rest, bone_transforms(rest, rotations, places))
    valid = np.ones(len(places), bool)
    return BodyParams(rest.model, {}, JOINT_NAMES, rotations, places, INTRINSICS, points, valid)


@pytest.fixture(scope="module")
def standing(rest: RestBody) -> BodyParams:
    return posed(rest, [[0.05, 0.1, 2.9]], left_elbow=-0.5)


@pytest.fixture(scope="module")
def renderer(rest: RestBody) -> MeshRenderer:
    return MeshRenderer(rest, SIZE, INTRINSICS, LOOK, device="cpu")


def centroid(coverage: np.ndarray) -> np.ndarray:
    """(2,) x and y of the middle of what is covered, pixels."""
    rows, columns = np.indices(coverage.shape)
    return np.array([(columns * coverage).sum(), (rows * coverage).sum()]) / coverage.sum()


def area_means(picture: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of ``factor`` by ``factor`` pixels."""
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    return picture.reshape(height, factor, width, factor).mean(axis=(1, 3))


# -- the camera and the rasterisers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(120, 160), (1920, 1080), (333, 333)])
def test_pytorch3d_sees_points_where_this_project_does(size: tuple[int, int]) -> None:
    """Pixels of PyTorch3D's camera are this project's to a thousandth of the picture's size in pixels, plus a half."""
    width, height = size
    K = np.array([[1.1 * width, 0, 0.52 * width], [0, 1.07 * width, 0.47 * height], [0, 0, 1]])
    points = np.random.default_rng(4).uniform([-1, -1, 2], [1, 1, 6], (500, 3)).astype(np.float32)
    screen = screen_camera(K, size).transform_points_screen(torch.from_numpy(points), image_size=(size[::-1],))
    np.testing.assert_allclose(screen[:, :2].numpy() - 0.5, project(K, np.eye(3), points), atol=2e-6 * width)


def test_a_camera_with_skew_is_refused(rest: RestBody) -> None:
    with pytest.raises(ValueError, match="skew"):
        MeshRenderer(rest, SIZE, INTRINSICS + np.array([[0, 3.0, 0], [0, 0, 0], [0, 0, 0]]), LOOK, device="cpu")


def test_both_rasterisers_give_the_same_fragments(rest: RestBody, standing: BodyParams, renderer: MeshRenderer) -> None:
    """Faces, depths, barycentrics and distances pixel for pixel, but for ties: a pixel on the border of two faces."""
    size, K = (72, 96), np.diag([0.6, 0.6, 1]) @ INTRINSICS
    vertices = renderer.vertices(standing, 0)
    theirs = TorchRasterizer(rest.faces, "cpu").centers(vertices, K, size)
    scene = RayScene(vertices, rest.faces)
    ours = with_distances(EmbreeRasterizer(scene, rest.faces).centers(vertices, K, size), rest.faces, vertices, K, size)
    for name in ("pix_to_face", "zbuf", "bary_coords", "dists"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    hit = theirs.pix_to_face >= 0
    assert hit.sum() > 600
    # A tie at the silhouette, or between two faces: at most one pixel in five hundred each.
    assert ((ours.pix_to_face >= 0) != hit).sum() <= hit.sum() / 500
    same = (ours.pix_to_face == theirs.pix_to_face) & hit
    assert (hit & ~same).sum() <= hit.sum() / 500
    torch.testing.assert_close(ours.zbuf[same], theirs.zbuf[same], atol=2e-5, rtol=0)
    # Faces are a pixel and less across: a millionth of the picture is a ten-thousandth of a face.
    torch.testing.assert_close(ours.bary_coords[same], theirs.bary_coords[same], atol=5e-3, rtol=0)
    torch.testing.assert_close(ours.dists[same], theirs.dists[same], atol=1e-6, rtol=0)
    for values in (ours.pix_to_face, ours.zbuf, ours.dists):
        assert (values[~hit & (ours.pix_to_face < 0)] == -1).all()


def test_rays_that_travel_together_meet_the_same_faces(rest: RestBody, standing: BodyParams) -> None:
    """Embree's way for packets of neighbouring rays is quicker and finds the same, bit for bit, whatever the order."""
    vertices = skin(rest.vertices, rest.bone_weights, rest.bone_indices, params_transforms(rest, standing)[0])
    scene = RayScene(vertices, rest.faces)
    rays = camera_rays(INTRINSICS, np.eye(3), np.argwhere(np.ones(SIZE))[np.random.default_rng(0).permutation(19200)])
    alone, together = (scene.intersect(np.zeros_like(rays), rays, coherent=way) for way in (False, True))
    assert alone.hit.sum() > 2000
    np.testing.assert_array_equal(alone.pix_to_face, together.pix_to_face)
    np.testing.assert_array_equal(alone.zbuf, together.zbuf)
    np.testing.assert_array_equal(alone.bary_coords, together.bary_coords)


def test_faces_larger_than_a_cell_and_beyond_the_picture_are_found() -> None:
    """Two triangles that fill the picture and hang over its border, and one that lies outside of it."""
    vertices = np.array(
        [[-9, -9, 5], [9, -9, 5], [9, 9, 6], [-9, 9, 6], [40, 0, 5], [41, 0, 5], [40, 1, 5]], np.float32
    )
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32)
    seen = EmbreeRasterizer(RayScene(vertices, faces), faces).centers(vertices, INTRINSICS, SIZE)
    assert set(np.unique(seen.pix_to_face.numpy())) == {0, 1}


def test_a_surface_that_reaches_behind_the_camera_is_seen_as_far_as_it_lies_before_it() -> None:
    """A floor that runs on under the camera fills the picture from the horizon down, by either rasteriser."""
    vertices = np.array([[-90, 1, -2], [90, 1, -2], [90, 1, 400], [-90, 1, 400]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    size, K = (32, 48), np.array([[20.0, 0, 15.5], [0, 20, 20.2], [0, 0, 1]])
    embree = EmbreeRasterizer(RayScene(vertices, faces), faces).centers(vertices, K, size)
    for seen in (embree, TorchRasterizer(faces, "cpu").centers(vertices, K, size)):
        hit = seen.pix_to_face[0, ..., 0].numpy() >= 0
        assert hit[21:].all() and not hit[:20].any()
    both = (embree.pix_to_face >= 0) & (seen.pix_to_face >= 0)
    torch.testing.assert_close(embree.zbuf[both], seen.zbuf[both], rtol=1e-3, atol=0)


def test_the_picture_does_not_depend_on_the_rasteriser(rest: RestBody, standing: BodyParams) -> None:
    """A whole picture by Embree and by PyTorch3D's rasteriser, anti-aliased: colours within two levels nearly everywhere."""
    size, K = (36, 48), np.diag([0.3, 0.3, 1]) @ INTRINSICS
    drawn = []
    for chosen in (None, TorchRasterizer(rest.faces, "cpu")):
        renderer = MeshRenderer(rest, size, K, LOOK, device="cpu", edge_samples=3)
        renderer._rasterizer = chosen or renderer._rasterizer
        drawn.append(renderer.frame(standing, 0).on_grey().astype(int))
    difference = np.abs(drawn[0] - drawn[1]).max(axis=-1)
    assert (difference > 2).mean() < 0.005
    assert difference.max() < 40
    assert (drawn[0] != GREY).any(axis=-1).sum() > 150


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_the_picture_does_not_depend_on_the_device(rest: RestBody, standing: BodyParams) -> None:
    drawn = [
        MeshRenderer(rest, SIZE, INTRINSICS, LOOK, device=name).frame(standing, 0).on_grey().astype(int)
        for name in ("cpu", "cuda")
    ]
    assert (np.abs(drawn[0] - drawn[1]).max(axis=-1) > 2).mean() < 0.005


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without an NVIDIA card")
def test_a_card_that_is_not_there_is_named(rest: RestBody) -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        MeshRenderer(rest, SIZE, INTRINSICS, LOOK, device="cuda")


def test_a_missing_pytorch3d_is_named(rest: RestBody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer", None)
    with pytest.raises(ModelUnavailable, match="PyTorch3D cannot be loaded"):
        MeshRenderer(rest, SIZE, INTRINSICS, LOOK)


# -- over the footage ------------------------------------------------------------------------------------------------


def test_the_body_lies_on_its_landmarks(standing: BodyParams, renderer: MeshRenderer) -> None:
    """The middles of the limbs are covered, in the pixels to which the fit projects them."""
    coverage = renderer.frame(standing, 0).coverage
    pixels = project(INTRINSICS, np.eye(3), standing.keypoints[0])
    for name in ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_knee", "right_knee", "nose"):
        x, y = np.rint(pixels[LANDMARK_NAMES.index(name)]).astype(int)
        assert coverage[y, x] == 1.0, name


@pytest.mark.parametrize("shift", [(0.25, 0.0), (0.0, -0.4), (0.5, 0.5)])
def test_a_fraction_of_a_pixel_moves_the_picture_by_that(
    rest: RestBody, standing: BodyParams, renderer: MeshRenderer, shift: tuple[float, float]
) -> None:
    moved = INTRINSICS.copy()
    moved[:2, 2] += shift
    before = centroid(renderer.frame(standing, 0).coverage)
    after = centroid(MeshRenderer(rest, SIZE, moved, LOOK, device="cpu").frame(standing, 0).coverage)
    np.testing.assert_allclose(after - before, shift, atol=0.03)


def test_alpha_is_the_share_of_the_pixel_that_is_covered(
    rest: RestBody, standing: BodyParams, renderer: MeshRenderer
) -> None:
    """Against the same body drawn eight times as large without anti-aliasing, averaged over each pixel."""
    factor = 8
    K = np.diag([factor, factor, 1]) @ INTRINSICS
    K[:2, 2] += (factor - 1) / 2
    large = MeshRenderer(rest, (SIZE[0] * factor, SIZE[1] * factor), K, LOOK, device="cpu", edge_samples=1)
    exact = area_means(large.frame(standing, 0).coverage, factor)
    alpha = renderer.frame(standing, 0).coverage
    edge = (exact > 0.02) & (exact < 0.98)
    assert edge.sum() > 200
    assert np.abs(alpha - exact)[edge].mean() < 0.06
    assert abs(alpha.sum() - exact.sum()) < 0.003 * exact.sum()


def test_what_the_body_does_not_touch_stays_level_for_level(standing: BodyParams, renderer: MeshRenderer) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    kept = frame.copy()
    layer = renderer.frame(standing, 0)
    drawn = layer.over(frame)
    np.testing.assert_array_equal(frame, kept)
    outside = layer.coverage == 0
    np.testing.assert_array_equal(drawn[outside], frame[outside])
    inside = layer.coverage == 1
    np.testing.assert_array_equal(drawn[inside], layer.rgb[inside])
    assert inside.sum() > 1500


def test_a_half_covered_pixel_is_mixed_in_linear_light() -> None:
    """White over black by half is sRGB level 188, not 128."""
    layer = MeshLayer((3, 1), (1, 0, 2, 1), np.full((1, 1, 3), 0.5, np.float32), np.full((1, 1), 0.5, np.float32))
    drawn = layer.over(np.zeros((1, 3, 3), np.uint8))
    assert drawn[0, :, 0].tolist() == [0, 188, 0]
    with pytest.raises(ValueError, match="background"):
        layer.over(np.zeros((2, 3, 3), np.uint8))


def test_frames_without_a_body_are_left_alone(standing: BodyParams, renderer: MeshRenderer) -> None:
    frame = np.full((*SIZE[::-1], 3), 77, np.uint8)
    absent = replace(standing, valid=np.zeros(1, bool))
    behind = replace(standing, translation=np.array([[0, 0.1, -3.0]], np.float32))
    aside = replace(standing, translation=np.array([[30, 0.1, 3.0]], np.float32))
    tiny = replace(standing, translation=np.array([[0, 0.1, 9000.0]], np.float32))
    for params in (absent, behind, aside, tiny):
        np.testing.assert_array_equal(renderer.frame(params, 0).over(frame), frame)


def test_a_body_cut_by_the_border_is_drawn_up_to_it(standing: BodyParams, renderer: MeshRenderer) -> None:
    near = replace(standing, translation=np.array([[0.3, 0.1, 1.2]], np.float32))
    coverage = renderer.frame(near, 0).coverage
    assert coverage[:, -1].any() and coverage[-1].any() and coverage[0].any()
    assert not coverage[:, 0].any()


def test_the_number_of_threads_is_left_as_it_was(standing: BodyParams, renderer: MeshRenderer) -> None:
    before = torch.get_num_threads()
    renderer.frame(standing, 0)
    assert torch.get_num_threads() == before


# -- light -----------------------------------------------------------------------------------------------------------


def test_the_side_towards_the_light_is_brighter(rest: RestBody) -> None:
    """The flanks, a hand's breadth above the hips: the one that faces the light against the other."""
    params = posed(rest, [[0.0, 0.1, 2.9]], left_shoulder=-1.4, right_shoulder=-1.4)
    hips = project(INTRINSICS, np.eye(3), params.keypoints[0])[
        [LANDMARK_NAMES.index("right_hip"), LANDMARK_NAMES.index("left_hip")]
    ]
    # The subject's right is the picture's left.
    columns, row = np.rint(hips[:, 0] + [-2, 2]).astype(int), round(float(hips[:, 1].mean())) - 8
    for side in (-1, 1):
        look = replace(LOOK, light_direction=np.array([0.86 * side, -0.3, -0.41], np.float32))
        rgb = MeshRenderer(rest, SIZE, INTRINSICS, look, device="cpu").frame(params, 0).rgb
        left, right = (float(rgb[row - 2 : row + 3, column].mean()) for column in columns)
        assert (right - left) * side > 40


def test_an_arm_throws_a_shadow_in_hard_light_only(rest: RestBody) -> None:
    """A light from the side: the hand that hangs there darkens the flank beside the hip; lifted, it does not."""
    K = np.diag([4, 4, 1]) @ INTRINSICS
    drops = []
    for softness in (0.0, 1.0):
        look = replace(LOOK, light_direction=np.array([-0.97, -0.2, -0.14], np.float32), softness=softness)
        renderer = MeshRenderer(rest, (480, 640), K, look, device="cpu")
        levels = []
        for bend in (0.0, -1.4):
            params = posed(rest, [[0.0, 0.1, 2.9]], left_shoulder=bend, right_shoulder=bend)
            hip = project(K, np.eye(3), params.keypoints[0])[LANDMARK_NAMES.index("right_hip")]
            x, y = np.rint(hip + np.array([-10, -36])).astype(int)
            levels.append(float(renderer.frame(params, 0).rgb[y - 3 : y + 4, x - 3 : x + 4].mean()))
        drops.append(levels[1] - levels[0])
    assert drops[0] > 25
    assert drops[1] < 12


def test_lights_follow_the_look() -> None:
    """Without a source: sky from above, ground from below, half of each sideways. With one: brighter towards it."""
    dark = ShotLights(replace(LOOK, light=np.zeros(3, np.float32)))
    normals = torch.tensor([[0.0, -1, 0], [0, 1, 0], [1, 0, 0]])
    light = dark.diffuse(normals=normals).numpy()
    np.testing.assert_allclose(light, [LOOK.sky, LOOK.ground, (LOOK.sky + LOOK.ground) / 2], atol=1e-6)
    direction = torch.from_numpy(LOOK.light_direction)
    towards, away = ShotLights(LOOK).diffuse(normals=torch.stack([direction, -direction])).mean(dim=1)
    assert towards > away + 0.5 * LOOK.light.mean()


def test_lights_and_material_serve_pytorch3ds_own_shader(
    rest: RestBody, standing: BodyParams, renderer: MeshRenderer
) -> None:
    """Its Phong shader with this light and material shows the body like ours does, where nothing shades anything."""
    vertices = renderer.vertices(standing, 0)
    fragments = EmbreeRasterizer(RayScene(vertices, rest.faces), rest.faces).centers(vertices, INTRINSICS, SIZE)
    albedo = torch.full((1, len(vertices), 3), 0.35)
    mesh = Meshes(
        torch.from_numpy(vertices)[None], torch.from_numpy(rest.faces.astype(np.int64))[None], TexturesVertex(albedo)
    )
    shader = HardPhongShader(
        cameras=screen_camera(INTRINSICS, SIZE), lights=ShotLights(LOOK), materials=skin_like(LOOK)
    )
    theirs = shader(fragments, mesh)[0, ..., :3].mean(dim=-1).numpy()
    layer = renderer.frame(standing, 0)
    ours = np.zeros(SIZE[::-1], np.float32)
    x0, y0, x1, y1 = layer.window
    ours[y0:y1, x0:x1] = layer.color.mean(axis=-1)
    inside = layer.coverage == 1
    assert np.corrcoef(theirs[inside], ours[inside])[0, 1] > 0.8


def test_parts_have_colours_of_their_own(rest: RestBody, standing: BodyParams) -> None:
    renderer = MeshRenderer(rest, SIZE, INTRINSICS, LOOK, device="cpu", albedo=part_colors(rest))
    rgb = renderer.frame(standing, 0).rgb.astype(int)
    pixels = np.rint(project(INTRINSICS, np.eye(3), standing.keypoints[0])).astype(int)
    points = {name: pixels[LANDMARK_NAMES.index(name)] for name in LANDMARK_NAMES}
    for limb in (("shoulder", "elbow"), ("hip", "knee"), ("knee", "ankle")):
        left, right = (
            rgb[tuple(((points[f"{side}_{limb[0]}"] + points[f"{side}_{limb[1]}"]) // 2)[::-1])]
            for side in ("left", "right")
        )
        assert left[2] > left[0] + 15, limb
        assert right[0] > right[2] + 15, limb
    with pytest.raises(ValueError, match="albedo"):
        MeshRenderer(rest, SIZE, INTRINSICS, LOOK, device="cpu", albedo=part_colors(rest)[:-1])


def test_an_smplx_body_bulges_as_its_pose_blend_shapes_say(tmp_path: Path) -> None:
    """Its surface is not skinning alone, and it is drawn and coloured like any other."""
    rest = SmplxBody(smplx_file.write_npz(tmp_path)).rest({})
    params = posed(rest, [[0.0, 0.1, 2.9]], left_elbow=-1.2)
    renderer = MeshRenderer(rest, SIZE, INTRINSICS, LOOK, device="cpu", albedo=part_colors(rest))
    transforms = bone_transforms(rest, params.rotations, params.translation)[0]
    skinned = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms)
    bulge = np.linalg.norm(renderer.vertices(params, 0) - skinned, axis=1)
    assert 5e-4 < bulge.max() < 0.05
    assert renderer.frame(params, 0).coverage.sum() > 1500


# -- the ground ------------------------------------------------------------------------------------------------------


def test_the_ground_lies_under_the_soles(rest: RestBody, standing: BodyParams, renderer: MeshRenderer) -> None:
    ground = find_ground(rest, standing, RATE)
    lowest = renderer.vertices(standing, 0)[:, 1].max()
    assert ground.height[0] == pytest.approx(lowest, abs=0.005)
    left, right = ground.soles[0]
    assert left[0] > right[0] + 0.1


def test_a_jump_lifts_the_body_and_not_the_ground(rest: RestBody) -> None:
    time = np.arange(60) / RATE
    lift = np.where((time > 0.8) & (time < 1.1), 0.3, 0.0)
    params = posed(rest, np.stack([0 * time, 0.1 - lift, 2.9 + 0 * time], axis=1))
    params = replace(params, valid=np.arange(60) != 50)
    ground = find_ground(rest, params, RATE)
    assert np.ptp(ground.height) < 0.01
    assert np.isnan(ground.soles[50]).all() and ground.footings(50, LOOK) == ()
    assert len(ground.footings(0, LOOK)) == 3
    flying = ground.footings(28, LOOK)
    assert len(flying) == 1 and flying[0].point[1] > ground.soles[28, :, 1].max() + 0.2


def test_the_body_darkens_the_ground_at_its_feet(rest: RestBody, standing: BodyParams) -> None:
    size = (200, 240)
    renderer = MeshRenderer(rest, size, INTRINSICS + np.array([[0, 0, 40], [0, 0, 40], [0, 0, 0]]), LOOK, device="cpu")
    ground = find_ground(rest, standing, RATE)
    white = np.full((*size[::-1], 3), 255, np.uint8)
    plain, layer = renderer.frame(standing, 0), renderer.frame(standing, 0, ground)
    free = layer.coverage == 0
    assert (plain.over(white)[free] == 255).all()
    drawn = layer.over(white)
    feet = project(renderer.intrinsics, np.eye(3), ground.soles[0])
    near = np.hypot(*(np.indices(free.shape)[::-1] - feet.mean(axis=0)[:, None, None])) < 25
    assert drawn[free & near].min() < 190
    assert (drawn[:120][free[:120]] == 255).all()


# -- the turntable and the layouts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walk(rest: RestBody) -> BodyParams:
    """Two seconds across the picture and away, knees going."""
    time = np.arange(60) / RATE
    params = posed(rest, np.stack([-1 + time, 0.1 + 0 * time, 4 + 0.5 * time], axis=1))
    rotations = params.rotations.copy()
    for side, sign in (("left", 1), ("right", -1)):
        rotations[:, JOINT_NAMES.index(f"{side}_hip"), 0] = -0.4 * sign * np.sin(6 * time)
    points = landmark_positions(rest, bone_transforms(rest, rotations, params.translation))
    return replace(params, rotations=rotations, keypoints=points, valid=time < 1.9)


def test_the_body_stays_in_the_picture_and_on_the_ground_all_around(rest: RestBody, walk: BodyParams) -> None:
    red = np.tile(np.float32([0.7, 0.1, 0.1]), (len(rest.vertices), 1))
    table = Turntable(rest, walk, (160, 200), LOOK, RATE, device="cpu", albedo=red)
    for t, angle in zip(range(0, 56, 8), turntable_angles(7), strict=True):
        picture = table.frame(t, angle).astype(int)
        body = picture[..., 0] > picture[..., 2] + 20
        rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
        assert rows[0] > 3 and rows[-1] < 196 and rows[-1] - rows[0] > 130
        assert columns[0] > 2 and columns[-1] < 157
        assert abs(centroid(body.astype(float))[0] - 79.5) < 8


def test_half_a_turn_shows_the_back(rest: RestBody, standing: BodyParams) -> None:
    """In part colours: the subject's left leg is on the right of the picture from the front, on the left from behind."""
    table = Turntable(rest, standing, (160, 200), LOOK, RATE, device="cpu", albedo=part_colors(rest))
    places = []
    for angle in (0.0, np.pi):
        lower = table.frame(0, angle)[120:180].astype(int)
        left, right = lower[..., 2] > lower[..., 0] + 30, lower[..., 0] > lower[..., 2] + 30
        places.append(np.argwhere(left)[:, 1].mean() - np.argwhere(right)[:, 1].mean())
    assert places[0] > 8 and places[1] < -8


def test_the_camera_goes_counter_clockwise_and_the_light_stays(rest: RestBody, standing: BodyParams) -> None:
    """A light from the right of the source camera: after a quarter turn it comes from behind the camera."""
    look = replace(LOOK, light_direction=np.array([0.9, -0.3, -0.316], np.float32), sky=LOOK.sky / 4)
    table = Turntable(rest, standing, (160, 200), look, RATE, device="cpu")
    levels = [float(table.frame(0, angle)[60:150, 70:90].mean()) for angle in (0.0, np.pi / 2, np.pi, 3 * np.pi / 2)]
    assert levels[1] == max(levels)
    assert levels[3] == min(levels)


def test_lines_on_the_ground_stand_still_while_the_body_walks(rest: RestBody, walk: BodyParams) -> None:
    """Seen from one side, the lines move through the picture by as much as the camera follows the body, back."""
    table = Turntable(rest, walk, (160, 200), LOOK, RATE, device="cpu")
    first, second = (table._ground_picture(t, np.eye(3))[190, :, 0].astype(float) for t in (20, 26))
    metres = table._aim[26, 0] - table._aim[20, 0]
    assert 0.15 < metres < 0.25
    # Depth on the ground in row 190, from the camera's height over it.
    K = table._renderer.intrinsics
    moved = metres * K[0, 0] * ((190 - K[1, 2]) / K[1, 1]) / table._eye
    scores = [np.corrcoef(first[60:130], second[60 - s : 130 - s])[0, 1] for s in range(1, 40)]
    assert abs(1 + int(np.argmax(scores)) - moved) <= 1.5


def test_a_camera_that_looks_down_does_not_tilt_the_body(rest: RestBody, standing: BodyParams) -> None:
    """Where a calibration tells what is up, the body stands on the turntable as it does before a level camera."""
    pitch = Rotation.from_rotvec([0.5, 0, 0]) * Rotation.from_rotvec([0, 0, 0.2])
    matrix = pitch.as_matrix().astype(np.float32)
    rotations = standing.rotations.copy()
    rotations[:, 0] = (pitch * Rotation.from_rotvec(rotations[:, 0])).as_rotvec()
    seen_from_above = replace(
        standing,
        rotations=rotations,
        translation=standing.translation @ matrix.T,
        keypoints=standing.keypoints @ matrix.T,
    )
    R_camera_world = matrix @ FACING  # world axes: x to the subject's left, y backwards, z up
    up = upright_axis(seen_from_above, R_camera_world)
    assert up is not None
    np.testing.assert_allclose(up, matrix @ [0, -1, 0], atol=1e-6)
    assert upright_axis(seen_from_above, R_camera_world @ Rotation.from_rotvec([0.8, 0, 0]).as_matrix()) is None
    look = replace(LOOK, light_direction=matrix @ LOOK.light_direction)
    red = np.tile(np.float32([0.7, 0.1, 0.1]), (len(rest.vertices), 1))
    level = Turntable(rest, standing, (120, 160), LOOK, RATE, device="cpu", albedo=red)
    tilted = Turntable(rest, seen_from_above, (120, 160), look, RATE, up=up, device="cpu", albedo=red)
    # The two differ by a turn about the vertical: the smallest turn to the level need not be the pitch undone.
    turn = (Rotation.align_vectors([[0, -1, 0]], [up])[0] * pitch).as_euler("YXZ")[0]
    pictures = level.frame(0, 0.4).astype(int), tilted.frame(0, 0.4 - turn).astype(int)
    bodies = [picture[..., 0] > picture[..., 2] + 20 for picture in pictures]
    assert bodies[0].sum() > 2000
    assert (bodies[0] != bodies[1]).sum() < 60
    assert np.abs(pictures[0] - pictures[1])[bodies[0] & bodies[1]].mean() < 2


def test_a_clip_without_a_body_has_no_turntable(rest: RestBody, standing: BodyParams) -> None:
    with pytest.raises(InputError, match="no frame with a fitted body"):
        Turntable(rest, replace(standing, valid=np.zeros(1, bool)), (64, 64), LOOK, RATE, device="cpu")


def test_frames_without_a_body_show_the_ground_alone(rest: RestBody, walk: BodyParams) -> None:
    picture = Turntable(rest, walk, (64, 80), LOOK, RATE, device="cpu").frame(59, 0.3)
    assert picture.min() >= GREY and picture.max() < GREY + 40


def test_pictures_stand_in_a_row_of_even_width() -> None:
    left, right = np.full((40, 31, 3), 10, np.uint8), np.full((20, 15, 3), 200, np.uint8)
    row = side_by_side([left, right], gap=2)
    assert row.shape == (40, 64, 3)
    assert (row[:, :31] == 10).all() and (row[:, 31:33] == 0).all() and (row[:, 33:63] == 200).all()
    with pytest.raises(ValueError, match="at least one"):
        side_by_side([])


def test_the_last_angle_leads_on_to_the_first() -> None:
    angles = turntable_angles(8, turns=2)
    steps = np.diff(np.append(angles, angles[0] + 4 * np.pi))
    np.testing.assert_allclose(steps, np.pi / 2)
