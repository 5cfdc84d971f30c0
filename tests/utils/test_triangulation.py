"""Points in space from several views: a known rig, known points, and views that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.utils.camera_rig import ring, seen_by, walker
from utils.cameras.camera import Camera, pose
from utils.triangulation import triangulate

TIMES = np.arange(20) / 10
WORLD = walker(TIMES)


def off_by(points: np.ndarray, world: np.ndarray = WORLD) -> np.ndarray:
    """Millimetres."""
    return 1000 * np.linalg.norm(points - world, axis=-1)


@pytest.mark.parametrize("count", [2, 3, 4, 6, 10])
def test_exact_points_are_found_through_distorting_lenses(count: int) -> None:
    cameras = ring(count) if count > 2 else ring(4)[:2]
    found = triangulate(cameras, seen_by(cameras, WORLD))
    assert off_by(found.points).max() < 0.01
    assert found.errors.max() < 0.01
    assert found.used.all()
    np.testing.assert_allclose(found.confidence, 1, atol=1e-4)


def test_a_view_that_is_wrong_is_left_out_and_the_point_does_not_move() -> None:
    cameras = ring(4)
    pixels = seen_by(cameras, WORLD)
    pixels[2, 5:12, 10:20] += (140, -90)
    pixels[0, 3, 4] += (45, 0)
    found = triangulate(cameras, pixels)
    assert off_by(found.points).max() < 0.5
    assert not found.used[2, 5:12, 10:20].any() and not found.used[0, 3, 4]
    wrong = np.zeros(found.used.shape, bool)
    wrong[2, 5:12, 10:20] = wrong[0, 3, 4] = True
    assert found.used[~wrong].all()
    # What is wrong is still measured: that is how it is known to be wrong.
    assert found.errors[2, 7, 15] == pytest.approx(np.hypot(140, 90), abs=1)


def test_two_wrong_views_of_five_do_not_outvote_three() -> None:
    cameras = ring(5)
    pixels = seen_by(cameras, WORLD)
    pixels[1] += (200, 30)
    pixels[3] -= (60, 250)
    found = triangulate(cameras, pixels)
    assert off_by(found.points).max() < 0.5
    assert not found.used[[1, 3]].any()


def test_noise_is_averaged_and_its_size_is_reported() -> None:
    cameras = ring(4)
    found = triangulate(cameras, seen_by(cameras, WORLD, noise=3.0))
    # Three pixels at four metres and a focal length of 900 are 13 mm. Two views see each horizontal axis and four the
    # height, so the best that can be had is a median of 14 mm; robustness may cost a little.
    assert np.median(off_by(found.points)) < 15.5
    # Three of a point's eight numbers are fitted: 3 px * 1.18 (median of a distance) * sqrt(5/8) = 2.8 px; less where the
    # robust fit sides with the views that happen to agree.
    assert ((found.median_errors() > 1.8) & (found.median_errors() < 3.0)).all()
    assert (found.confidence > 0.5).mean() > 0.95


def test_confidence_tells_which_view_to_believe() -> None:
    cameras = ring(3)
    pixels = seen_by(cameras, WORLD)
    pixels[1] += (6, 4)  # too little to be an outlier
    trust = np.ones(pixels.shape[:3])
    equal = off_by(triangulate(cameras, pixels, trust).points).mean()
    trust[1] = 0.05
    weighted = off_by(triangulate(cameras, pixels, trust).points).mean()
    assert weighted < 0.3 * equal


def test_a_point_that_fewer_than_two_views_see_is_unknown() -> None:
    cameras = ring(3)
    pixels = seen_by(cameras, WORLD)
    pixels[1:, 4, 7] = np.nan
    pixels[:, 5, 8] = np.nan
    trust = np.ones(pixels.shape[:3])
    trust[:2, 6, 9] = 0
    found = triangulate(cameras, pixels, trust)
    for frame, point in ((4, 7), (5, 8), (6, 9)):
        assert np.isnan(found.points[frame, point]).all()
        assert found.confidence[frame, point] == 0
        assert not found.used[:, frame, point].any()
    assert np.isfinite(found.points).all(axis=-1).sum() == WORLD.shape[0] * WORLD.shape[1] - 3
    assert np.isnan(found.errors[1, 4, 7])


def test_two_views_that_disagree_give_no_point() -> None:
    cameras = ring(4)[:2]
    pixels = seen_by(cameras, WORLD)
    pixels[1, 2, 3] += (0, 150)
    found = triangulate(cameras, pixels)
    assert np.isnan(found.points[2, 3]).all()
    assert np.isfinite(np.delete(found.points.reshape(-1, 3), 2 * 33 + 3, axis=0)).all()


def test_cameras_side_by_side_fix_no_depth() -> None:
    first = ring(4)[0]
    shifted = first.T_camera_world.copy()
    shifted[0, 3] += 0.05
    second = Camera("beside", first.size, first.K, first.distortion, shifted)
    found = triangulate([first, second], seen_by([first, second], WORLD))
    assert np.isnan(found.points).all() and (found.confidence == 0).all()


def test_what_lies_behind_a_camera_is_not_taken_for_a_point_in_front() -> None:
    cameras = ring(3)
    behind = -cameras[0].T_camera_world[:3, :3].T @ np.array([0, 0, 2.0]) + cameras[0].centre
    pixels = seen_by(cameras, np.broadcast_to(behind, (1, 1, 3)))
    assert np.isnan(pixels[0]).all()
    mirrored = behind + 2 * (cameras[0].centre - behind)
    pixels[0] = cameras[0].project(mirrored[None, None])
    found = triangulate(cameras, pixels)
    assert not found.used[0].any()


@given(seed=st.integers(0, 2**31), view=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_any_single_view_may_be_anything(seed: int, view: int) -> None:
    random = np.random.default_rng(seed)
    cameras = ring(4)
    world = random.uniform((-1, -1, 0), (1, 1, 2), (3, 5, 3))
    pixels = seen_by(cameras, world, noise=0.5, seed=seed)
    pixels[view] = random.uniform((0, 0), (1280, 720), pixels[view].shape)
    found = triangulate(cameras, pixels)
    # Now and then nonsense lies near the truth by chance: then it may pull, but only so far as it is near. A view is trusted
    # to 20 pixels, which are 80 mm here, and more along the others' rays.
    assert off_by(found.points, world).max() < 150
    assert np.median(off_by(found.points, world)) < 6


def test_long_clips_are_solved_in_parts_without_a_seam() -> None:
    cameras = ring(3)
    world = walker(np.arange(700) / 30)  # 23100 points, more than are solved at once
    pixels = seen_by(cameras, world, noise=1)
    found = triangulate(cameras, pixels)
    for part in (slice(0, 20), slice(600, 620)):
        alone = triangulate(cameras, pixels[:, part])
        np.testing.assert_allclose(found.points[part], alone.points, atol=1e-9)
        np.testing.assert_array_equal(found.used[:, part], alone.used)


def test_shapes_are_checked() -> None:
    cameras = ring(3)
    with pytest.raises(ValueError, match="two at least"):
        triangulate(cameras[:1], np.zeros((1, 2, 3, 2)))
    with pytest.raises(ValueError, match="3 cameras"):
        triangulate(cameras, np.zeros((2, 2, 3, 2)))
    with pytest.raises(ValueError, match="does not fit"):
        triangulate(cameras, np.zeros((3, 2, 3, 2)), np.ones((3, 2, 4)))
    with pytest.raises(ValueError, match="positive"):
        triangulate(cameras, np.zeros((3, 2, 3, 2)), max_error=0.0)


def test_nothing_seen_at_all_is_no_error() -> None:
    found = triangulate(ring(3), np.full((3, 2, 4, 2), np.nan))
    assert found.points.shape == (2, 4, 3) and np.isnan(found.points).all()
    assert np.isnan(found.median_errors()).all()


def test_the_camera_knows_where_it_is_and_what_it_cannot_see() -> None:
    camera = ring(4)[1]
    np.testing.assert_allclose(camera.to_camera(camera.centre), 0, atol=1e-12)
    assert np.isnan(camera.project(camera.centre[None])).all()
    pixels = np.stack(np.meshgrid(np.linspace(0, 1279, 9), np.linspace(0, 719, 7)), axis=-1)
    rays = camera.normalized(pixels)
    world = camera.T_camera_world[:3, :3].T @ np.array([0, 0, 1.0])
    assert world @ (np.array([0, 0, 1.0]) - camera.centre) > 0
    ahead = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1) * 3
    there = (ahead - camera.T_camera_world[:3, 3]) @ camera.T_camera_world[:3, :3]
    np.testing.assert_allclose(camera.project(there), pixels, atol=1e-6)
    # Barrel distortion folds far outside the picture: there is no ray for such a pixel, and none is made up.
    strong = Camera("x", camera.size, camera.K, np.array([-0.4, 0.1, 0, 0, 0]), pose(np.zeros(3), np.zeros(3)))
    assert np.isnan(strong.normalized(np.array([[9000.0, 9000.0]]))).all()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"K": np.diag([1.0, -1, 1])}, "focal"),
        ({"K": np.array([[900.0, 5, 640], [0, 900, 360], [0, 0, 1]])}, "skew"),
        ({"distortion": np.zeros(3)}, "distortion"),
        ({"T_camera_world": np.diag([1.0, 1, -1, 1])}, "rotation"),
    ],
)
def test_impossible_cameras_are_refused(change: dict, what: str) -> None:
    camera = ring(3)[0]
    fields = {"K": camera.K, "distortion": camera.distortion, "T_camera_world": camera.T_camera_world} | change
    with pytest.raises(ValueError, match=what):
        Camera("bad", (1280, 720), **fields)
