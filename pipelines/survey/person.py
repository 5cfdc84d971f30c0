"""Find the person, follow it through the clip, and measure the camera's motion on the same pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.runs import read_mask_archive
from core.types import ABSENT, PREDICTED, CameraPath, PersonTrack
from models.detector import PersonDetector, create_detector
from models.person_tracker import PersonTracker, StartingPoint, choose_person
from pipelines.survey.casting import Casting
from pipelines.survey.findings import Survey
from pipelines.survey.frames import ranges, spread
from pipelines.survey.shots import CutFinder, clean_shots, joined, person_jumps, shot_spans
from utils.person_track import TrackRows
from utils.stabilization import CameraTracker, camera_path
from utils.video_io import VideoReader, prefetch

#: Frames in which people are looked for before one is chosen.
CHOOSING_FRAMES = 10
#: What this stage leaves in the run folder.
FILES = ("person.npz", "camera_path.json")


def detect(shot: Survey, *, by_shots: bool = False) -> None:
    """Find the person and follow it through the clip; measure the camera's motion on the same pass.

    Parameters
    ----------
    by_shots:
        Whether the clip is looked through for cuts, so that the person is followed in each shot by itself.
    """
    if not all(shot.run.has(file) for file in FILES):
        _first_pass(shot, by_shots)
    shot.track = load_track(shot)
    shot.cuts = tuple(json.loads(shot.run.file("camera_path.json").read_text()).get("cuts", ()))
    shot.pose = clean_shots(shot.track, shot.cuts, float(shot.info.rate))
    _warn_of_gaps(shot, shot.track)


@dataclass(frozen=True)
class _Followed:
    """What one pass over a stretch of the clip found."""

    track: PersonTrack | None
    """The person; ``None`` where it was found in no frame."""
    boxes: list[np.ndarray | None]
    """The box found in each frame, before anything is predicted."""
    motion: list[np.ndarray]
    """(3, 3) ``H_next_source`` from frame to frame."""
    inliers: list[float]
    lost: list[int]
    """Frames of the clip before which the camera's motion was not found."""


def _first_pass(shot: Survey, by_shots: bool) -> None:
    settings, info = shot.settings, shot.info
    finder = CutFinder() if by_shots else None
    with _detector_of(shot) as detector, VideoReader(info) as reader:
        start = shot.start
        if start is None:
            start = choose_person(reader.at(spread(info.frame_count, CHOOSING_FRAMES)), detector, settings.person)
        found = [_follow(shot, reader, detector, start, (0, info.frame_count), finder)]
        cuts = _cuts(finder, found[0].boxes) if finder is not None else []
        if cuts:
            found = _follow_shots(shot, reader, detector, cuts)
    tracks = [part.track for part in found if part.track is not None]
    if not tracks:
        raise InputError("The chosen person could not be followed in any frame.", "Choose another person or clip.")
    _save_track(shot, found[0].track if len(found) == 1 and found[0].track else joined(_whole(shot, found, cuts)))
    _warn_of_lost_camera(shot, [frame for part in found for frame in part.lost])
    path = camera_path(*_camera_of(found), info.size, settings.smoothing_window)
    _save_camera(shot, path, cuts if by_shots else None)


@contextmanager
def _detector_of(shot: Survey) -> Iterator[PersonDetector]:
    detector = create_detector(shot.settings.detector, complexity=shot.settings.detector_complexity)
    try:
        yield detector
    finally:
        detector.close()


def _cuts(finder: CutFinder, boxes: list[np.ndarray | None]) -> list[int]:
    certain = finder.cuts()
    return [frame for frame in finder.suspects() if frame in certain or person_jumps(boxes, frame)]


def _follow(
    shot: Survey,
    reader: VideoReader,
    detector: PersonDetector,
    start: StartingPoint | None,
    span: tuple[int, int],
    finder: CutFinder | None = None,
) -> _Followed:
    """Follow person and camera over the frames of a span. Without a starting point nobody is looked for."""
    first, end = span
    settings, total = shot.settings, shot.info.frame_count
    tracker = None
    if start is not None:
        tracker = PersonTracker(detector, start, shot.info.size, max_gap=settings.max_gap)
    camera = CameraTracker(settings.feature_points)
    motion: list[np.ndarray] = []
    boxes: list[np.ndarray | None] = []
    pending: Future[np.ndarray | None] | None = None
    with ThreadPoolExecutor(1) as beside, closing(prefetch(reader.frames(first, end))) as frames:
        for index, rgb in enumerate(frames):
            found = None if tracker is None else tracker.feed(index, rgb)
            boxes.append(None if found is None else found.xyxy)
            # The camera is followed on the second core while the next frame's person is looked for.
            _collect(pending, motion)
            pending = beside.submit(camera.update, rgb, None if found is None else found.mask)
            if finder is not None:
                finder.feed(rgb)
            shot.progress.report("detect", (first + index + 1) / total, f"frame {first + index + 1} of {total}")
        _collect(pending, motion)
    track = None if tracker is None else _finished(tracker, boxes)
    return _Followed(track, boxes, motion, camera.inliers, [first + frame for frame in camera.lost_frames])


def _finished(tracker: PersonTracker, boxes: list[np.ndarray | None]) -> PersonTrack | None:
    return tracker.finish() if any(box is not None for box in boxes) else None


def _follow_shots(shot: Survey, reader: VideoReader, detector: PersonDetector, cuts: list[int]) -> list[_Followed]:
    """Follow the person in each shot by itself: it may be elsewhere, of another size, or not there."""
    casting = Casting(shot.settings.person)
    spans = shot_spans(cuts, shot.info.frame_count)
    found = []
    for first, end in spans:
        chosen = [first + index for index in spread(end - first, CHOOSING_FRAMES)]
        start = casting.choose(((index - first, rgb) for index, rgb in reader.at(chosen)), detector)
        found.append(_follow(shot, reader, detector, start, (first, end)))
    starts = ", ".join(str(first) for first, _ in spans[1:])
    shot.run.warn(
        f"The picture is cut before frame {starts}: the person is followed and the body moves in each of the {len(spans)} "
        "shots by itself; it has one shape in all of them."
    )
    others = [first for (first, _), other in zip(spans, casting.others, strict=True) if other]
    if others:
        shot.run.warn(
            f"The shot from frame {', '.join(map(str, others))} may show somebody else, in other clothes; the body has one "
            "shape all the same. Give each shot as a clip of its own where that is so."
        )
    return found


def _whole(shot: Survey, found: list[_Followed], cuts: list[int]) -> list[PersonTrack]:
    """The shots' tracks, empty ones for those without the person."""
    tracks = []
    for part, (first, end) in zip(found, shot_spans(cuts, shot.info.frame_count), strict=True):
        if part.track is None:
            rows = TrackRows(*shot.info.size)
            for _ in range(first, end):
                rows.add(None)
            tracks.append(rows.track())
        else:
            tracks.append(part.track)
    return tracks


def _camera_of(found: list[_Followed]) -> tuple[list[np.ndarray], list[float]]:
    """Motion and inlier shares of the whole clip; over a cut there is no motion."""
    motion, inliers = list(found[0].motion), list(found[0].inliers)
    for part in found[1:]:
        motion += [np.eye(3), *part.motion]
        inliers += [0.0, *part.inliers]
    return motion, inliers


def _warn_of_lost_camera(shot: Survey, frames: list[int]) -> None:
    if frames:
        lost = np.isin(np.arange(shot.info.frame_count), frames)
        shot.run.warn(f"The camera's motion could not be measured before frames {ranges(lost)}; taken as still there.")


def _save_camera(shot: Survey, path: CameraPath, cuts: list[int] | None) -> None:
    content = {name: getattr(path, name).tolist() for name in ("H_next_source", "H_stable_source", "inliers")}
    shot.run.save_json("camera_path.json", content if cuts is None else {**content, "cuts": cuts})


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
