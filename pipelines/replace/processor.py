"""The main job: a clip in, the same shot with somebody else in it out.

The whole pipeline, in order. Two passes over the file keep memory flat: the survey looks, the performance draws.
Every stage leaves its findings in the run folder, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from core.errors import Cancelled, InputError, StageError, UnderstudyError
from core.progress import Progress
from core.runs import RunFolder, sha256_of
from core.settings import ReplaceSettings, make_settings
from core.types import Segment, VideoInfo
from models.generators.base import EngineOptions, Generator
from models.registry import create_engine
from pipelines.replace import finish, survey
from pipelines.replace.checkpoints import SegmentWriter, is_finished, segment_file
from pipelines.replace.perform import PERFORM, begin_segment, chunks
from pipelines.replace.shot import Shot
from utils.video_io import VideoReader, prefetch
from utils.video_probe import probe

SurveyStage = Callable[[Shot], None]

#: Pass 1: look at the clip. The stages of pass 2 (control, generate, temporal, foot_lock, reshake, composite, release)
#: stand in :data:`pipelines.replace.perform.PERFORM`.
SURVEY: tuple[tuple[str, SurveyStage], ...] = (
    ("detect", survey.detect),
    ("stabilize", survey.stabilize),
    ("segment", survey.segment),
    ("plate", survey.plate),
    ("body", survey.body),
    ("look", survey.look),
)
#: The end: blend the overlaps, encode, measure, report.
FINISH: tuple[tuple[str, SurveyStage], ...] = (("encode", finish.encode),)

#: Usual shares of the time, for the progress bar.
SHARES = {"detect": 30.0, "plate": 30.0, "body": 30.0, "look": 3.0, "generate": 120.0, "encode": 30.0}

#: Libraries whose versions are noted in run.json.
VERSIONS = ("numpy", "torch", "mediapipe", "anny", "av", "opencv-contrib-python")


def replace_clip(clip: Path, settings: ReplaceSettings, *, output: Path, progress: Progress | None = None) -> Path:
    """Replace the person in a clip.

    Parameters
    ----------
    clip:
        The video; only read.
    settings:
        What to do.
    output:
        Folder in which the run folder is made.
    progress:
        Told how far the run is; may cancel it.

    Returns
    -------
    The run folder.

    Raises
    ------
    InputError
        The clip, a setting or the output folder cannot be used; no run folder is left behind.
    ModelUnavailable
        The engine needs something that this machine lacks.
    Cancelled
        The run was asked to stop; its folder can be resumed.
    """
    progress = progress or Progress(SHARES)
    started = time.monotonic()
    info = probe(clip)
    engine = _make_engine(settings)
    run = RunFolder.create(output, kind="replace", source=clip, settings=settings.model_dump(mode="json"))
    try:
        with run.lock():
            run.update(source_sha256=sha256_of(clip), versions=_versions(), **_frames(info))
            run.add_seconds("probe", time.monotonic() - started)
            _work(Shot(info, settings, run, engine, progress))
    except InputError:
        # The clip turned out to be unusable: nothing half-written stays.
        shutil.rmtree(run.path)
        raise
    return run.path


def resume_run(folder: Path, *, progress: Progress | None = None) -> Path:
    """Continue a run that was cut off, keeping every finished stage and segment. A finished run is left as it is.

    Raises
    ------
    InputError
        The folder holds no run, its source is gone or has changed, or another process works on it.
    """
    progress = progress or Progress(SHARES)
    run = RunFolder.open(folder)
    if run.record["state"] == "done" and run.has("result.mp4"):
        return run.path
    source = Path(run.record["source"])
    info = probe(source)
    known = run.record.get("source_sha256")
    if known is not None and known != sha256_of(source):
        raise InputError(f"{source} has changed since run {run.path.name} was started.", "Start a new run for it.")
    settings = make_settings(ReplaceSettings, run.record["settings"])
    with run.lock():
        _work(Shot(info, settings, run, _make_engine(settings), progress))
    return run.path


def _make_engine(settings: ReplaceSettings) -> Generator:
    options = EngineOptions(
        avatar=settings.avatar,
        reference=settings.reference,
        checkpoint=settings.checkpoint or "",
        prompt=settings.prompt,
        negative_prompt=settings.negative_prompt,
        edge_samples=settings.edge_samples,
        shadow_rays=settings.shadow_rays,
        occlusion_rays=settings.occlusion_rays,
    )
    return create_engine(settings.engine, options)


def _frames(info: VideoInfo) -> dict[str, object]:
    return {"frames_in": info.frame_count, "frames_out": 0, "fps": str(info.rate), "size": list(info.size)}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def _work(shot: Shot) -> None:
    """Run all stages; whatever happens, run.json says how it ended."""
    run = shot.run
    run.update(state="running", error=None)
    try:
        for name, stage in SURVEY:
            with _timed(shot, name):
                stage(shot)
        with _timed(shot, "load"):
            shot.engine.load(lambda share, text: shot.progress.report("load", share, text))
        perform(shot)
        for name, stage in FINISH:
            with _timed(shot, name):
                stage(shot)
    except Cancelled:
        run.update(state="cancelled")
        raise
    except UnderstudyError as error:
        run.update(state="failed", error=str(error))
        raise
    except BaseException as error:
        run.update(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    finally:
        shot.engine.unload()
    run.update(state="done")


@contextmanager
def _timed(shot: Shot, name: str) -> Iterator[None]:
    """Time a stage and note its peak memory; name the stage in errors that nobody foresaw."""
    started = time.monotonic()
    try:
        with shot.progress.stage(name):
            yield
    except UnderstudyError:
        raise
    except (ValueError, IndexError, KeyError, ArithmeticError, AssertionError, np.linalg.LinAlgError) as error:
        raise StageError(name, f"{type(error).__name__}: {error}") from error
    finally:
        shot.run.add_seconds(name, time.monotonic() - started)
    shot.run.save()


def perform(shot: Shot) -> None:
    """Pass 2: draw every segment that is not finished yet, and checkpoint it."""
    folder = shot.run.file("segments")
    total = sum(len(segment) for segment in shot.segments)
    done = 0
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(shot.info))
        plates = None
        if shot.removal is not None:
            plates = stack.enter_context(VideoReader(probe(shot.run.file("plate.mp4"))))
        for index, segment in enumerate(shot.segments):
            path = segment_file(folder, index)
            if not is_finished(path, segment):
                _perform_segment(shot, segment, path, reader, plates, done, total)
            done += len(segment)
    shot.run.save()


def _perform_segment(
    shot: Shot, segment: Segment, path: Path, reader: VideoReader, plates: VideoReader | None, done: int, total: int
) -> None:
    """Draw one segment into its checkpoint."""
    if not shot.found[0].present[segment.start : segment.end].any():
        with SegmentWriter(path, segment):
            return
    # Every segment starts from nothing, so that a resumed run draws it as an unbroken one does.
    shot.engine.load()
    state = begin_segment(shot, segment)
    with SegmentWriter(path, segment) as writer, closing(prefetch(_pairs(reader, plates, segment))) as pairs:
        for chunk in chunks(shot, state, pairs):
            for name, stage in PERFORM:
                shot.progress.check()
                started = time.monotonic()
                try:
                    stage(shot, chunk)
                except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError) as error:
                    raise StageError(name, f"{type(error).__name__}: {error}", chunk.start) from error
                shot.run.add_seconds(name, time.monotonic() - started)
            started = time.monotonic()
            for frame, patch in chunk.patches.items():
                writer.add(frame, patch)
            shot.run.add_seconds("checkpoint", time.monotonic() - started)
            finished = done + chunk.frames.stop - segment.start
            shot.progress.report("generate", finished / total, f"frame {chunk.frames.stop} of {shot.info.frame_count}")


def _pairs(
    reader: VideoReader, plates: VideoReader | None, segment: Segment
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(source, plate) frames of a segment."""
    sources = reader.frames(segment.start, segment.end)
    if plates is None:
        yield from ((source, None) for source in sources)
    else:
        yield from zip(sources, plates.frames(segment.start, segment.end), strict=True)


__all__ = ["FINISH", "PERFORM", "SHARES", "SURVEY", "perform", "replace_clip", "resume_run"]
