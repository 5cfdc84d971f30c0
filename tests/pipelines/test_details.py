"""The survey's step for face and hands, on real footage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.progress import Progress
from core.runs import RunFolder
from core.settings import ReplaceSettings
from core.types import CameraPath, Segment
from models.body.anny_body import AnnyBody
from models.body.expression_actions import DRIVEN_ACTIONS
from models.body.expression_head import FACE_MODEL, towards
from models.body.fitting import fit_body
from models.detector import create_detector
from models.person_tracker import PersonTracker, choose_person
from pipelines.replace.chunks import begin_segment
from pipelines.replace.engine import make_engine
from pipelines.replace.shot import Shot
from pipelines.survey.details import FILES, follow_details, read_details
from pipelines.survey.findings import Survey
from pipelines.survey.frames import spread
from utils.landmarks import clean_landmarks
from utils.video_io import VideoReader
from utils.video_probe import probe


def shot_of(clip: Path, folder: Path, frames: int | None = None, **settings: object) -> Survey:
    """A clip, its person found; the camera stands still."""
    info = probe(clip)
    count = frames or info.frame_count
    info = replace(info, frame_count=count, pts=info.pts[:count])
    run = RunFolder.create(folder, kind="replace", source=clip, settings={})
    shot = Survey(info, ReplaceSettings(**settings), run, Progress())
    detector = create_detector("mediapipe", complexity=1)
    try:
        with VideoReader(info) as reader:
            start = choose_person(reader.at(spread(count, 10)), detector, None)
            tracker = PersonTracker(detector, start, info.size, max_gap=10)
            for index, rgb in enumerate(reader.frames()):
                if index == count:
                    break
                tracker.feed(index, rgb)
        shot.track = tracker.finish()
    finally:
        detector.close()
    shot.pose = clean_landmarks(shot.track, fps=float(info.rate))
    still = np.tile(np.eye(3), (count, 1, 1))
    shot.camera = CameraPath(still[1:], still, np.ones(count - 1, np.float32))
    return shot


@pytest.fixture(scope="module")
def portrait(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A man who looks ahead, then aside with a grin, and blinks at the end."""
    shot = shot_of(shared / "footage" / "portrait" / "driver.mp4", tmp_path_factory.mktemp("runs"))
    read_details(shot, shot.settings)
    assert shot.track is not None and shot.pose is not None
    shot.body = fit_body(
        shot.pose, shot.track.mask, shot.info.size, AnnyBody().rest({}), quality="quick", camera=shot.camera,
        fps=float(shot.info.rate),
    )  # fmt: skip
    follow_details(shot, AnnyBody())
    return shot


def strength(shot: Survey, name: str) -> np.ndarray:
    """(T,) one action of both sides through the clip."""
    assert shot.body is not None and shot.body.details is not None
    columns = [i for i, own in enumerate(DRIVEN_ACTIONS) if own in (name, f"{name}Left", f"{name}Right")]
    return shot.body.details.expression[:, columns].mean(axis=1)


def test_a_real_face_grins_looks_aside_and_blinks_when_it_does(portrait: Survey) -> None:
    assert portrait.figures["face_frames"] > 70
    smile, blink = strength(portrait, "mouthSmile"), strength(portrait, "eyeBlink")
    assert smile[2:10].max() < 0.15 and smile[30:60].min() > 0.4
    assert blink[2:10].max() < 0.2
    assert blink[60:72].max() > 0.75
    assert portrait.body is not None and portrait.body.details is not None
    sideways = portrait.body.details.gaze[:, :, 0].mean(axis=1)
    assert abs(sideways[2:8]).max() < 0.15
    assert sideways[20:26].min() > 0.25  # to his left
    assert sideways[35:38].max() < -0.25


def test_the_head_points_where_the_face_does(portrait: Survey) -> None:
    """He looks straight into the camera all the time, give or take a few degrees."""
    body = portrait.body
    assert body is not None
    head = towards(body.rotations, body.joint_names.index("head"))
    ahead = -(head @ FACE_MODEL.T)[:, :, 2]
    middle = np.array([*np.array(portrait.info.size) / 2, 1.0]) @ np.linalg.inv(body.intrinsics).T
    straight = -middle / np.linalg.norm(middle)
    off = np.degrees(np.arccos(np.clip(ahead @ straight, -1, 1)))
    assert np.median(off[10:]) < 15


def test_details_are_read_once_and_can_be_switched_off(portrait: Survey, tmp_path: Path) -> None:
    before = portrait.run.file(FILES[0]).stat().st_mtime_ns
    read_details(portrait, portrait.settings)
    assert portrait.run.file(FILES[0]).stat().st_mtime_ns == before
    off = replace(portrait, run=RunFolder.create(tmp_path, kind="replace", source=portrait.info.path, settings={}))
    read_details(off, ReplaceSettings(face="off", hands="off"))
    data = off.run.load_arrays(FILES[0])
    assert np.isnan(data["face"]).all() and np.isnan(data["hands"]).all()


def test_a_small_person_is_left_with_a_neutral_face_and_relaxed_hands(demo_clip: Path, tmp_path: Path) -> None:
    shot = shot_of(demo_clip, tmp_path, frames=6)
    read_details(shot, shot.settings)
    data = shot.run.load_arrays(FILES[0])
    assert np.isnan(data["face"]).all()
    assert data["hands"].shape == (6, 2, 21, 3)


def test_legs_behind_the_camera_do_not_blow_up_the_picture_that_is_drawn(portrait: Survey) -> None:
    """A close shot shows no legs, and the fit puts them anywhere."""
    assert portrait.body is not None
    keypoints = portrait.body.keypoints.copy()
    keypoints[:, 25:, 2] = -0.2
    engine = make_engine(ReplaceSettings())
    shot = Shot(portrait.info, ReplaceSettings(), portrait.run, Progress(), engine=engine)
    shot.track, shot.pose, shot.camera = portrait.track, portrait.pose, portrait.camera
    shot.body = replace(portrait.body, keypoints=keypoints)
    boxes = begin_segment(shot, Segment("hold", 0, len(keypoints))).boxes
    size = (boxes[:, 2:] - boxes[:, :2]).max(axis=0)
    assert (size < 2.5 * np.array(portrait.info.size)).all()
