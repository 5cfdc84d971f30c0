"""Find the person, follow it through the clip, and measure the camera's motion on the same pass."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np

from core.errors import InputError
from core.runs import read_mask_archive
from core.types import ABSENT, PREDICTED, PersonTrack
from models.detector import create_detector
from models.person_tracker import PersonTracker, choose_person
from pipelines.survey.findings import Survey
from pipelines.survey.frames import ranges, spread
from utils.landmarks import clean_landmarks
from utils.stabilization import CameraTracker, camera_path
from utils.video_io import VideoReader, prefetch

#: Frames in which people are looked for before one is chosen.
CHOOSING_FRAMES = 10
#: What this stage leaves in the run folder.
FILES = ("person.npz", "camera_path.json")


def detect(shot: Survey) -> None:
    """Find the person and follow it through the clip; measure the camera's motion on the same pass."""
    if not all(shot.run.has(file) for file in FILES):
        _first_pass(shot)
    shot.track = load_track(shot)
    shot.pose = clean_landmarks(shot.track, fps=float(shot.info.rate))
    _warn_of_gaps(shot, shot.track)


def _first_pass(shot: Survey) -> None:
    settings, info = shot.settings, shot.info
    detector = create_detector(settings.detector, complexity=settings.detector_complexity)
    try:
        with ExitStack() as stack:
            reader = stack.enter_context(VideoReader(info))
            beside = stack.enter_context(ThreadPoolExecutor(1))
            start = shot.start
            if start is None:
                start = choose_person(reader.at(spread(info.frame_count, CHOOSING_FRAMES)), detector, settings.person)
            tracker = PersonTracker(detector, start, info.size, max_gap=settings.max_gap)
            camera = CameraTracker(settings.feature_points)
            motion: list[np.ndarray] = []
            pending: Future[np.ndarray | None] | None = None
            frames = stack.enter_context(closing(prefetch(reader.frames())))
            for index, rgb in enumerate(shot.progress.track(frames, "detect", info.frame_count)):
                found = tracker.feed(index, rgb)
                # The camera is followed on the second core while the next frame's person is looked for.
                _collect(pending, motion)
                pending = beside.submit(camera.update, rgb, None if found is None else found.mask)
            _collect(pending, motion)
            track = tracker.finish()
    finally:
        detector.close()
    _save_track(shot, track)
    if camera.lost_frames:
        lost = np.isin(np.arange(info.frame_count), camera.lost_frames)
        shot.run.warn(f"The camera's motion could not be measured before frames {ranges(lost)}; taken as still there.")
    path = camera_path(motion, camera.inliers, info.size, settings.smoothing_window)
    content = {name: getattr(path, name).tolist() for name in ("H_next_source", "H_stable_source", "inliers")}
    shot.run.save_json("camera_path.json", content)


def _collect(pending: Future[np.ndarray | None] | None, motion: list[np.ndarray]) -> None:
    H_next_source = None if pending is None else pending.result()
    if H_next_source is not None:
        motion.append(H_next_source)


def _save_track(shot: Survey, track: PersonTrack) -> None:
    shot.run.save_arrays(
        "person.npz",
        frame=np.arange(len(track), dtype=np.int32),
        xyxy=track.xyxy,
        score=track.score,
        keypoints=track.keypoints,
        landmarks=track.landmarks,
        world=track.world,
        state=track.state,
        mask=track.packed_masks,
    )


def load_track(shot: Survey) -> PersonTrack:
    """The person from ``person.npz``."""
    file = shot.run.file("person.npz")
    with np.load(file, allow_pickle=False) as data:
        rows = {name: data[name] for name in ("xyxy", "score", "landmarks", "world", "state")}
    return PersonTrack(**rows, packed_masks=read_mask_archive(file, "mask", shot.info.width), width=shot.info.width)


def _warn_of_gaps(shot: Survey, track: PersonTrack) -> None:
    absent, predicted = track.state == ABSENT, track.state == PREDICTED
    if absent.all():
        raise InputError("The person could not be followed in any frame.", "Choose another person with --person x,y.")
    if predicted.any():
        shot.run.warn(f"The person was not found in frames {ranges(predicted)}; predicted from the frames around them.")
    if absent.any():
        shot.run.warn(f"The person is not in frames {ranges(absent)}; {shot.absent_frames}.")
