"""Views that must agree: left and right, time, and principal points that nobody mirrored."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.types import LANDMARK_NAMES, VideoInfo
from models.detector import create_detector
from tests.utils.camera_rig import ring, seen_by, walker
from utils.calibration import fit_to_clip, match_cameras, read_calibration
from utils.cameras.camera import Camera
from utils.cameras.sides import COUNTERPARTS, agree_on_sides
from utils.cameras.timing import align_views, estimate_offsets, seconds
from utils.cameras.turned import mend_turned
from utils.triangulation import triangulate
from utils.video_io import VideoReader
from utils.video_probe import probe

TIMES = np.arange(30) / 15
WORLD = walker(TIMES)
LEGS = [
    k
    for k, name in enumerate(LANDMARK_NAMES)
    if name.split("_")[1:2] and name.split("_")[1] in ("knee", "ankle", "heel", "foot")
]


def clip(count: int, rate: Fraction, *, name: str = "clip.mp4", first: int = 0) -> VideoInfo:
    """A clip of ``count`` frames; its stamps begin at ``first``."""
    base = Fraction(1, 90000)
    pts = (first + np.round(np.arange(count) * float(1 / rate / base))).astype(np.int64)
    return VideoInfo(Path(name), 1280, 720, rate, count, base, pts)


# -- left and right ------------------------------------------------------------------------------------------------


def test_counterparts_are_the_other_side() -> None:
    assert LANDMARK_NAMES[COUNTERPARTS[LANDMARK_NAMES.index("left_foot_index")]] == "right_foot_index"
    assert LANDMARK_NAMES[COUNTERPARTS[LANDMARK_NAMES.index("mouth_right")]] == "mouth_left"
    assert COUNTERPARTS[0] == 0
    assert (COUNTERPARTS[COUNTERPARTS] == np.arange(33)).all()


def test_exchanged_legs_are_found_by_the_other_views() -> None:
    cameras = ring(4)
    pixels = seen_by(cameras, WORLD, noise=3)
    wrong = pixels.copy()
    wrong[1, 8:20] = pixels[1, 8:20][:, COUNTERPARTS]
    exchanged = np.ix_(range(3, 8), LEGS)
    wrong[3][exchanged] = pixels[3][np.ix_(range(3, 8), COUNTERPARTS[LEGS])]
    order = agree_on_sides(cameras, wrong, np.ones(wrong.shape[:3]))
    mended = np.take_along_axis(wrong, order[..., None], axis=2)
    # Where left and right lie in one place neither order is wrong: what counts is where the points are.
    apart = np.linalg.norm(mended - pixels, axis=-1)
    assert (apart < 25).mean() > 0.995
    assert (np.linalg.norm(wrong - pixels, axis=-1) > 25).mean() > 0.08
    assert (order[[0, 2]] == np.arange(33)).mean() > 0.99


def test_two_views_cannot_tell_and_are_left_alone() -> None:
    cameras = ring(4)[:2]
    pixels = seen_by(cameras, WORLD)
    pixels[1] = pixels[1][:, COUNTERPARTS]
    assert (agree_on_sides(cameras, pixels, np.ones(pixels.shape[:3])) == np.arange(33)).all()


# -- principal points ----------------------------------------------------------------------------------------------


def test_principal_points_that_were_not_mirrored_are_found_out() -> None:
    cameras = ring(4, centre_offset=(14, -11))
    turned = []
    for index, camera in enumerate(cameras):
        x, y = camera.K[:2, 2]
        turned.append(
            camera.with_principal_point(1279 - x, y) if index in (0, 3) else camera.with_principal_point(x, 719 - y)
        )
    pixels = seen_by(cameras, WORLD, noise=4)
    pixels[2, :, 5:9] += 120  # not everything that is seen is true
    mended, note = mend_turned(turned, pixels, np.ones(pixels.shape[:3]))
    assert note is not None and "cam01 across, cam02 down, cam03 down, cam04 across" in note
    for have, want in zip(mended, cameras, strict=True):
        np.testing.assert_allclose(have.K, want.K)


def test_a_calibration_that_is_right_is_believed() -> None:
    cameras = ring(4, centre_offset=(14, -11))
    pixels = seen_by(cameras, WORLD, noise=6)
    mended, note = mend_turned(cameras, pixels, np.ones(pixels.shape[:3]))
    assert note is None
    assert [camera.K[0, 2] for camera in mended] == [camera.K[0, 2] for camera in cameras]


def test_the_size_must_be_known_to_mirror_anything() -> None:
    cameras: list[Camera] = [replace(camera, size=None) for camera in ring(3)]
    with pytest.raises(ValueError, match="size"):
        mend_turned(cameras, seen_by(cameras, WORLD), np.ones((3, *WORLD.shape[:2])))


# -- time ----------------------------------------------------------------------------------------------------------


def test_clips_of_one_rate_and_length_need_nothing() -> None:
    infos = [clip(10, Fraction(60)), clip(10, Fraction(60), first=4500)]
    timing = align_views(infos)
    assert len(timing) == 10 and timing.notes == ()
    assert (timing.before == np.arange(10)).all() and (timing.blend == 0).all()
    values = np.arange(10.0)[:, None]
    values[4] = np.nan
    # A frame that lies on the moment is taken as it is: its neighbour's gap does not spread.
    np.testing.assert_array_equal(timing.resample(1, values), values)


def test_different_rates_meet_at_the_slower_ones_frames() -> None:
    infos = [clip(61, Fraction(60), name="fast.mp4"), clip(26, Fraction(25), name="slow.mp4")]
    timing = align_views(infos)
    np.testing.assert_allclose(timing.times, np.arange(26) / 25, atol=1e-4)
    position = np.stack([seconds(infos[0]), 2 * seconds(infos[0])], axis=1)
    np.testing.assert_allclose(timing.resample(0, position)[:, 1], 2 * timing.times, atol=1e-4)
    assert "slow.mp4 sets the pace" in timing.notes[0] and "fast.mp4 60" in timing.notes[0]


def test_the_common_span_is_kept_and_the_rest_is_named() -> None:
    infos = [clip(30, Fraction(30), name="a.mp4"), clip(20, Fraction(30), name="b.mp4")]
    timing = align_views(infos, offsets=[0, 5 / 30])
    assert len(timing) == 20
    np.testing.assert_array_equal(timing.before[0], np.arange(5, 25))
    np.testing.assert_array_equal(timing.before[1], np.arange(20))
    assert "a.mp4 10" in timing.notes[0] and "b.mp4" not in timing.notes[0]
    with pytest.raises(InputError, match="no moment in common"):
        align_views(infos, offsets=[0, 3])


def test_half_a_frame_is_met_half_way() -> None:
    timing = align_views([clip(30, Fraction(30)), clip(30, Fraction(30))], offsets=[0, 0.5 / 30])
    line = np.arange(30.0)[:, None, None]
    np.testing.assert_allclose(timing.resample(1, line)[:, 0, 0], timing.resample(0, line)[:, 0, 0] - 0.5, atol=1e-3)


def test_an_offset_is_found_from_the_motion() -> None:
    cameras = ring(4)
    rate, true = 30, [0.0, 0.1, -0.15, 0.0]
    own = np.arange(75) / rate
    world = [walker(own + offset) for offset in true]
    pixels = [
        seen_by([camera], w, noise=2, seed=v)[0] for v, (camera, w) in enumerate(zip(cameras, world, strict=True))
    ]
    trust = [np.ones(p.shape[:2]) for p in pixels]
    found, notes = estimate_offsets(cameras, [own] * 4, pixels, trust, max_offset=0.3)
    np.testing.assert_allclose(found, true, atol=0.25 / rate)
    assert "cam02 +" in notes[0] and "cam03 -" in notes[0]
    # With these offsets the views agree again.
    timing = align_views([clip(75, Fraction(rate))] * 4, found.tolist())
    there = np.stack([timing.resample(v, pixels[v]) for v in range(4)])
    assert (triangulate(cameras, there).median_errors() < 4).all()


def test_somebody_who_stands_still_tells_nothing_of_time() -> None:
    cameras = ring(3)
    still = np.repeat(WORLD[:1], 60, axis=0)
    pixels = list(seen_by(cameras, still, noise=5))
    found, notes = estimate_offsets(cameras, [np.arange(60) / 30] * 3, pixels, [np.ones(p.shape[:2]) for p in pixels])
    assert (found == 0).all() and notes == []


def test_clips_that_are_too_short_to_tell_say_so() -> None:
    cameras = ring(3)
    pixels = list(seen_by(cameras, WORLD[:5]))
    found, notes = estimate_offsets(cameras, [TIMES[:5]] * 3, pixels, [np.ones(p.shape[:2]) for p in pixels])
    assert (found == 0).all() and "too short" in notes[0]


# -- real footage --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_four_views_of_a_gymnast_agree(shared: Path) -> None:
    folder = shared / "footage" / "gymnast4"
    clips = sorted(folder.glob("*.mp4"))
    cameras, notes = match_cameras(read_calibration(folder), clips)
    assert notes == []
    fitted, seen = [], []
    detector = create_detector(complexity=1)
    try:
        for camera, path in zip(cameras, clips, strict=True):
            info = probe(path)
            with VideoReader(info) as reader:
                frames = [rgb for _, rgb in reader.at((0, 10, 20, 90))]
            fitted.append(fit_to_clip(camera, info.size, frames[0])[0])
            # The gymnast is the largest person in every view.
            found = [detector.detect(rgb, detector.find_people(rgb)[0].xyxy) for rgb in frames]
            seen.append([one.landmarks if one is not None else np.full((33, 4), np.nan) for one in found])
    finally:
        detector.close()
    landmarks = np.array(seen, np.float64)
    pixels, trust = landmarks[..., :2], np.nan_to_num(landmarks[..., 3])
    mended, note = mend_turned(fitted, pixels, trust)
    assert note is not None and "cam01 across, cam02 down, cam03 down, cam04 down" in note
    order = agree_on_sides(mended, pixels, trust)
    pixels, trust = np.take_along_axis(pixels, order[..., None], axis=2), np.take_along_axis(trust, order, axis=2)
    result = triangulate(mended, pixels, trust)
    assert (result.median_errors(trusted_only=False) < 8).all()
    assert np.isfinite(result.points).all(axis=-1).mean() > 0.95
    # The person stands on the treadmill, upright or nearly so, and has a grown man's legs.
    ankle, knee, hip = (result.points[:, LANDMARK_NAMES.index(f"left_{part}")] for part in ("ankle", "knee", "hip"))
    assert 0.33 < np.nanmedian(np.linalg.norm(knee - ankle, axis=-1)) < 0.5
    assert 0.33 < np.nanmedian(np.linalg.norm(hip - knee, axis=-1)) < 0.5
    heights = result.points[..., 2]
    assert np.nanmin(heights) > -0.1 and np.nanmax(heights) < 2.3
