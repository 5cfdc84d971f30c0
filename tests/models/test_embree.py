"""Ray casting against known answers and against PyTorch3D's own rasteriser."""

from __future__ import annotations

import numpy as np
import pytest

from models.body.embree import RayScene, camera_rays, project, rasterize, window_of

INTRINSICS = np.array([[80.0, 0.0, 31.5], [0.0, 80.0, 31.5], [0.0, 0.0, 1.0]])
EYE = np.eye(3)


def sphere(radius: float = 0.8, depth: float = 3.0, rings: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """A sphere in front of the camera; faces counter-clockwise from outside."""
    v, u = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, 2 * rings), indexing="ij")
    points = np.stack([np.cos(u) * np.sin(v), np.cos(v), np.sin(u) * np.sin(v)], -1).reshape(-1, 3) * radius
    index = np.arange(rings * 2 * rings).reshape(rings, 2 * rings)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate(
        [
            np.stack([a[2 * rings - 1 :], b[2 * rings - 1 :], c[2 * rings - 1 :]], 1),
            np.stack([b, d, c], 1)[: -2 * rings + 1],
        ]
    )
    return (points + np.array([0.0, 0.0, depth])).astype(np.float32), faces.astype(np.int32)


def test_fragments_agree_with_pytorch3d() -> None:
    """Same faces, depths and barycentrics as PyTorch3D's rasteriser on a 64 x 64 picture, but for edge pixels."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch3d")
    from pytorch3d.renderer import MeshRasterizer, RasterizationSettings
    from pytorch3d.structures import Meshes
    from pytorch3d.utils import cameras_from_opencv_projection

    vertices, faces = sphere()
    # PyTorch3D counts pixels from the corner of the picture, this project from the centre of the first pixel.
    shifted = INTRINSICS.copy()
    shifted[:2, 2] += 0.5
    camera = cameras_from_opencv_projection(
        torch.eye(3)[None],
        torch.zeros(1, 3),
        torch.tensor(shifted, dtype=torch.float32)[None],
        torch.tensor([[64, 64]]),
    )
    settings = RasterizationSettings(image_size=(64, 64), blur_radius=0.0, faces_per_pixel=1, perspective_correct=True)
    mesh = Meshes([torch.from_numpy(vertices)], [torch.from_numpy(faces.astype(np.int64))])
    theirs = MeshRasterizer(camera, settings)(mesh)
    ours = rasterize(RayScene(vertices, faces), INTRINSICS, EYE, (64, 64))

    their_face = theirs.pix_to_face[0, ..., 0].numpy()
    same = their_face == ours.pix_to_face
    assert (their_face >= 0).sum() > 1000
    assert same.mean() > 0.99
    assert ((their_face >= 0) == ours.hit).mean() > 0.995
    both = same & ours.hit
    np.testing.assert_allclose(ours.zbuf[both], theirs.zbuf[0, ..., 0].numpy()[both], atol=1e-4)
    np.testing.assert_allclose(ours.bary_coords[both], theirs.bary_coords[0, :, :, 0].numpy()[both], atol=2e-3)
    empty = ~ours.hit
    assert (
        (ours.pix_to_face[empty] == -1).all()
        and (ours.zbuf[empty] == -1).all()
        and (ours.bary_coords[empty] == -1).all()
    )


def test_rays_meet_the_points_that_project_to_their_pixels() -> None:
    """``project`` and ``camera_rays`` are inverse to each other under a turned, scaled and shifted crop."""
    cos, sin = 1.7 * np.cos(0.2), 1.7 * np.sin(0.2)
    H_crop_source = np.array([[cos, -sin, -12.0], [sin, cos, 5.0], [0.0, 0.0, 1.0]])
    points = np.random.default_rng(3).uniform([-1, -1, 2], [1, 1, 6], (200, 3)).astype(np.float32)
    pixels = project(INTRINSICS, H_crop_source, points)
    rays = camera_rays(INTRINSICS, H_crop_source, pixels)
    np.testing.assert_allclose(rays * points[:, 2:], points, atol=1e-4)


def test_crop_shows_the_same_picture_as_the_whole_frame() -> None:
    """A crop at a whole-pixel offset is cut out of the full picture, fragment by fragment."""
    vertices, faces = sphere()
    scene = RayScene(vertices, faces)
    whole = rasterize(scene, INTRINSICS, EYE, (64, 64))
    cut = rasterize(scene, INTRINSICS, np.array([[1.0, 0, -20], [0, 1, -10], [0, 0, 1]]), (30, 40))
    np.testing.assert_array_equal(cut.pix_to_face, whole.pix_to_face[10:50, 20:50])


def test_window_limits_the_rays_and_not_the_picture() -> None:
    vertices, faces = sphere()
    scene = RayScene(vertices, faces)
    window = window_of(project(INTRINSICS, EYE, vertices), (64, 64))
    assert window[0] > 3 and window[2] < 61
    whole, windowed = (rasterize(scene, INTRINSICS, EYE, (64, 64), w) for w in (None, window))
    np.testing.assert_array_equal(whole.pix_to_face, windowed.pix_to_face)


def test_occlusion_knows_what_is_between_and_what_is_beyond() -> None:
    vertices, faces = sphere(radius=0.5, depth=3.0)
    scene = RayScene(vertices, faces)
    origins = np.zeros((3, 3), np.float32)
    directions = np.array([[0, 0, 1], [1, 0, 0], [0, 0, -1]], np.float32)
    assert scene.occluded(origins, directions).tolist() == [True, False, False]
    assert scene.occluded(origins, directions, reach=2.0).tolist() == [False, False, False]


def test_a_scene_without_faces_is_refused() -> None:
    with pytest.raises(ValueError, match="face"):
        RayScene(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32))
