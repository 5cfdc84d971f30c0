"""One frame in its final look, in seconds, and who is to be seen, before the whole clip is paid for.

A preview is the very pipeline on a *digest* of the clip: the frames around the wanted one, dense near it, so that motion
and fit are as in the whole run, and ever sparser away from it, so that the scene behind the person is seen. Only the
wanted frame is drawn. The digest and what its survey found are kept, so another avatar costs the drawing alone.

With so few frames the scene is known less well than in the run: something that the person holds still for seconds, such
as a racket, may stay in the preview where the run takes it out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.progress import Progress
from core.runs import RunFolder, write_bytes
from core.settings import ReplaceSettings
from core.settings_form import form_fields
from core.types import Segment, VideoInfo
from models.detector import PersonBox, create_detector
from models.person_tracker import StartingPoint, choose_among, sight_people
from pipelines.replace.checkpoints import segment_file
from pipelines.replace.engine import make_engine
from pipelines.replace.finish import FinishedFrames
from pipelines.replace.processor import SURVEY
from pipelines.replace.second_pass import draw_segment
from pipelines.replace.shot import Shot
from pipelines.running import probe_as
from pipelines.survey.findings import SurveySettings
from pipelines.survey.frames import spread
from pipelines.survey.person import CHOOSING_FRAMES
from utils.person_track import Sighting
from utils.video_io import VideoReader
from utils.video_probe import probe
from utils.video_writer import VideoWriter

#: Distances, in frames, of the digest's frames from the wanted one.
DIGEST_STEPS = (0, 1, 2, 4, 8, 14, 21, 29, 38, 48, 59, 71)
#: Constant rate factor of the digest: fine enough for grain and light to be measured on it.
DIGEST_QUALITY = 4
#: A person is good to pick from when this share of the frame's height is covered.
GOOD_HEIGHT = 0.1


@dataclass(frozen=True)
class ClipFacts:
    """What a form needs to know of a clip."""

    frames: int
    size: tuple[int, int]
    """Width and height as shown, pixels."""
    rate: Fraction
    """Frames a second."""
    duration_s: float
    has_audio: bool


@dataclass(frozen=True)
class FoundPerson:
    """Somebody in a frame."""

    xyxy: tuple[float, float, float, float]
    """Box in pixels."""
    score: float
    """Confidence, 0..1."""
    point: tuple[float, float]
    """A point on the person in pixels: what goes into ``settings.person``."""


@dataclass(frozen=True)
class PeopleFound:
    """The people in one frame, largest first."""

    frame: int
    rgb: np.ndarray
    """(H, W, 3) uint8."""
    people: tuple[FoundPerson, ...]


@dataclass(frozen=True)
class Preview:
    """One frame before and after."""

    frame: int
    source: np.ndarray
    """(H, W, 3) uint8."""
    result: np.ndarray
    """(H, W, 3) uint8."""
    warnings: tuple[str, ...]
    """What did not go the plain way."""
    seconds: float
    """How long it took."""


def clip_facts(clip: Path, name: str = "") -> ClipFacts:
    """Look at a clip without decoding it.

    Parameters
    ----------
    clip:
        The video.
    name:
        What the user calls it, for errors; empty takes the path.

    Raises
    ------
    NotAVideo, InputError
        It is no video, or damaged.
    """
    info = probe_as(clip, name or str(clip))
    return ClipFacts(info.frame_count, info.size, info.rate, _duration(info), info.audio_streams > 0)


def _duration(info: VideoInfo) -> float:
    """Seconds from the first frame's start to the last one's end."""
    return float((info.pts[-1] - info.pts[0]) * info.time_base + 1 / info.rate)


# -- who is there --------------------------------------------------------------------------------------------------


def find_people(clip: Path, settings: SurveySettings) -> PeopleFound:
    """The first good frame among those that a run looks at to choose whom to follow, and the people in it.

    Raises
    ------
    InputError
        The clip cannot be used, or nobody is found.
    """
    info = probe(clip)
    looked_at = spread(info.frame_count, CHOOSING_FRAMES)
    small: PeopleFound | None = None
    detector = create_detector(settings.detector, complexity=settings.detector_complexity)
    try:
        with VideoReader(info) as reader:
            for index, rgb in reader.at(looked_at):
                people = detector.find_people(rgb)
                if not people:
                    continue
                found = PeopleFound(index, rgb, tuple(_found_person(person) for person in people))
                if max(person.size for person in people) >= GOOD_HEIGHT * info.height:
                    return found
                small = small or found
    finally:
        detector.close()
    if small is None:
        raise InputError(
            f"No person was found in any of the {len(looked_at)} frames that were looked at.",
            "Use a clip in which a person is seen from head to foot and is at least a tenth of the picture's height.",
        )
    return small


def _found_person(person: PersonBox) -> FoundPerson:
    x0, y0, x1, y1 = (float(v) for v in person.xyxy)
    point = ((x0 + x1) / 2, (y0 + y1) / 2)
    if person.mask is not None and person.mask.any():
        # The middle of the box may lie between the legs or on somebody in front.
        rows, columns = np.nonzero(person.mask)
        nearest = int(np.argmin((columns - point[0]) ** 2 + (rows - point[1]) ** 2))
        point = (float(columns[nearest]), float(rows[nearest]))
    return FoundPerson((x0, y0, x1, y1), float(person.score), point)


# -- one frame -----------------------------------------------------------------------------------------------------


def preview_frame(
    clip: Path,
    settings: ReplaceSettings,
    *,
    cache: Path,
    frame: int | None = None,
    progress: Progress | None = None,
) -> Preview:
    """Draw one frame as the run would.

    Parameters
    ----------
    clip:
        The video.
    settings:
        As for the run.
    cache:
        Folder in which digests are kept; the caller clears it.
    frame:
        Which frame; ``None`` takes one near the middle in which the person is seen.
    progress:
        Told how far it is; may cancel it.

    Raises
    ------
    InputError
        The clip, a setting or the frame cannot be used, or the person is not near that frame.
    ModelUnavailable
        The engine needs something that this machine lacks.
    """
    started = time.monotonic()
    info = probe(clip)
    if frame is not None and not 0 <= frame < info.frame_count:
        raise InputError(f"There is no frame {frame}.", f"The clip has frames 0 to {info.frame_count - 1}.")
    engine = make_engine(settings)
    folder = cache / _digest_key(clip, settings, frame)
    if not (folder / "digest.npz").is_file():
        _make_digest(info, settings, frame, folder)
    run = RunFolder.open(folder)
    digest = run.load_arrays("digest.npz")
    shot = Shot(probe(run.source), settings, run, progress or Progress(), engine=engine)
    shot.start = StartingPoint(
        int(digest["index"]),
        digest["boxes"][digest["seen"].tolist().index(int(digest["index"]))],
        tuple(
            Sighting(int(i), box, look, float(box[3] - box[1]))
            for i, box, look in zip(digest["seen"], digest["boxes"], digest["looks"], strict=True)
        ),
    )
    try:
        for _, stage in SURVEY:
            stage(shot)
        source, result = _draw(shot, int(digest["index"]))
    finally:
        engine.unload()
    shown = int(digest["frames"][int(digest["index"])])
    return Preview(shown, source, result, tuple(run.record["warnings"]), time.monotonic() - started)


def _digest_key(clip: Path, settings: ReplaceSettings, frame: int | None) -> str:
    """Name of a digest: the same as long as clip, frame and all that the survey reads are the same."""
    stat = clip.stat()
    groups = {field.name: field.group for field in form_fields(ReplaceSettings)}
    values = settings.model_dump(mode="json")
    surveyed = {k: v for k, v in values.items() if groups[k] in ("person", "survey") or k.startswith("foot_lock")}
    facts = [str(clip.absolute()), stat.st_mtime_ns, stat.st_size, frame, surveyed]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _make_digest(info: VideoInfo, settings: ReplaceSettings, frame: int | None, folder: Path) -> None:
    """Choose the frames around the wanted one and write them as a clip of its own, with where the person is in them."""
    start = _choose(info, settings, frame)
    if frame is None:
        frame = min(start.sightings, key=lambda seen: abs(seen.frame - info.frame_count // 2)).frame
    steps = np.array(sorted({sign * step for step in DIGEST_STEPS for sign in (-1, 1)}))
    frames = (frame + steps)[(frame + steps >= 0) & (frame + steps < info.frame_count)]
    at = [(int(np.abs(frames - seen.frame).argmin()), seen) for seen in start.sightings]
    # A sighting holds for a frame of the digest when it is at most two frames away from it.
    near = {i: seen for i, seen in at if abs(int(frames[i]) - seen.frame) <= 2}
    index = int(np.flatnonzero(frames == frame)[0])
    if index not in near:
        raise InputError(
            f"The person is not to be seen in frame {frame}.",
            f"Take another, such as {min(start.sightings, key=lambda s: abs(s.frame - frame)).frame}.",
        )
    shutil.rmtree(folder, ignore_errors=True)
    with RunFolder.staged(folder.parent, kind="preview", source=info.path, settings={}, name=folder.name) as run:
        file = run.file("digest.mp4")
        with (
            VideoReader(info) as reader,
            VideoWriter(file, info.size, info.rate, crf=DIGEST_QUALITY, color=info.color) as writer,
        ):
            for _, rgb in reader.at(frames):
                writer.write(rgb)
        run.save_arrays(
            "digest.npz",
            frames=frames,
            index=np.array(index),
            seen=np.array(sorted(near)),
            boxes=np.stack([near[i].xyxy for i in sorted(near)]),
            looks=np.stack([near[i].look for i in sorted(near)]),
        )
        run.update(source=file.name)


def _choose(info: VideoInfo, settings: ReplaceSettings, frame: int | None) -> StartingPoint:
    """Decide whom to follow, as the run does, looking at the wanted frame too."""
    looked_at = sorted({*spread(info.frame_count, CHOOSING_FRAMES), *([] if frame is None else [frame])})
    stamp = info.path.stat().st_mtime_ns
    samples = _sightings(info.path, stamp, tuple(looked_at), settings.detector, settings.detector_complexity)
    return choose_among(list(samples), settings.person)


@lru_cache(maxsize=8)
def _sightings(
    clip: Path, _mtime_ns: int, frames: tuple[int, ...], detector_name: str, complexity: int
) -> tuple[list[Sighting], ...]:
    """Who is seen in some frames; remembered, since who is picked among them is changed more often than the clip."""
    detector = create_detector(detector_name, complexity=complexity)
    try:
        with VideoReader(probe(clip)) as reader:
            return tuple(sight_people(index, rgb, detector) for index, rgb in reader.at(frames))
    finally:
        detector.close()


def _draw(shot: Shot, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One frame of a surveyed clip before and after, as the run would finish it."""
    segment = Segment("preview", index, index + 1)
    file = segment_file(shot.run.file("segments"), 0)
    shot.engine.load(lambda share, text: shot.progress.report("load", share, text))
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(shot.info))
        plates = None
        if shot.removal is not None:
            plates = stack.enter_context(VideoReader(probe(shot.run.file("plate.mp4"))))
        draw_segment(shot, segment, file, reader, plates)
        finished = FinishedFrames(file.parent, (segment,))
        stack.callback(finished.close)
        source = reader.frame(index)
        return source, finished.frame(index, source)[0]


def save_pair(source: np.ndarray, result: np.ndarray, path: Path) -> None:
    """Write two (H, W, 3) uint8 pictures side by side; the ending says as what."""
    _, data = cv2.imencode(path.suffix, np.hstack([source, result])[..., ::-1])
    write_bytes(path, data.tobytes())


# -- a finished run ------------------------------------------------------------------------------------------------


def frame_pair(run: Path, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame of a finished run before and after.

    Returns
    -------
    Source and result, (H, W, 3) uint8 each.

    Raises
    ------
    InputError
        The run has no result, or no such frame.
    """
    folder = RunFolder.open(run)
    if not folder.has("result.mp4"):
        raise InputError(f"Run {run.name} has no result yet.", "Wait until it is done.")
    pictures = []
    for file in (folder.source, folder.file("result.mp4")):
        info = _probed(file, file.stat().st_mtime_ns if file.is_file() else 0)
        if not 0 <= frame < info.frame_count:
            raise InputError(f"There is no frame {frame}.", f"The clip has frames 0 to {info.frame_count - 1}.")
        with VideoReader(info) as reader:
            pictures.append(reader.frame(frame))
    return pictures[0], pictures[1]


@lru_cache(maxsize=64)
def _probed(file: Path, _mtime_ns: int) -> VideoInfo:
    """A clip's facts, remembered: looking through a result asks for them at every frame."""
    return probe(file)
