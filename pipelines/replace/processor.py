"""The main job: a clip in, the same shot with somebody else in it out.

The whole pipeline, in order. Two passes over the file keep memory flat: the survey looks, the performance draws.
Every stage leaves its findings in the run folder, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from core.errors import InputError
from core.progress import Progress
from core.runs import RunFolder, link_or_copy, sha256_of
from core.settings import ReplaceSettings, make_settings
from core.types import VideoInfo
from models.generators.base import Generator
from pipelines.machine import machine_key
from pipelines.pictures import save_thumbnail
from pipelines.replace import finish, reference, survey
from pipelines.replace.engine import make_engine
from pipelines.replace.estimate import estimate
from pipelines.replace.perform import PERFORM
from pipelines.replace.second_pass import metered, perform
from pipelines.replace.shot import Shot
from pipelines.running import SUFFIXES, frame_facts, outcome_noted, probe_as, timed_stage, versions
from utils.video_io import VideoReader
from utils.video_probe import probe

SurveyStage = Callable[[Shot], None]

#: Pass 1: look at the clip. The stages of pass 2 (control, generate, temporal, foot_lock, reshake, composite, release)
#: stand in :data:`pipelines.replace.perform.PERFORM`.
SURVEY: tuple[tuple[str, SurveyStage], ...] = (
    ("detect", survey.detect),
    ("details", survey.details),
    ("stabilize", survey.stabilize),
    ("segment", survey.segment),
    ("plate", survey.plate),
    ("body", survey.body),
    ("look", survey.look),
)
#: The end: blend the overlaps, encode, measure, report.
FINISH: tuple[tuple[str, SurveyStage], ...] = (("encode", finish.encode),)

#: What the survey's stages leave in the run folder; a resumed run skips those that are there.
FINDINGS = {
    "detect": ("person.npz", "camera_path.json"),
    "details": ("details.npz",),
    "plate": ("plate.mp4", "removal.npz"),
    "body": ("body.npz",),
    "look": ("look.json",),
}


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
    info = probe(clip)
    engine = make_engine(settings)
    run = RunFolder.create(output, kind="replace", source=clip, settings=settings.model_dump(mode="json"))
    try:
        _perform_run(run, info, settings, engine, progress)
    except InputError:
        # The clip turned out to be unusable: nothing half-written stays.
        shutil.rmtree(run.path)
        raise
    return run.path


def resume_run(folder: Path, *, progress: Progress | None = None) -> Path:
    """Do a run that waits, or continue one that was cut off, keeping every finished stage and segment. A finished run is
    left as it is.

    Raises
    ------
    InputError
        The folder holds no run, its source is gone or has changed, or another process works on it.
    """
    run = RunFolder.open(folder)
    if run.record["state"] == "done" and run.has("result.mp4"):
        return run.path
    source = run.source
    info = probe(source)
    known = run.record.get("source_sha256")
    if known is not None and known != sha256_of(source):
        raise InputError(f"{source} has changed since run {run.path.name} was started.", "Start a new run for it.")
    settings = make_settings(ReplaceSettings, run.record["settings"])
    _perform_run(run, info, settings, make_engine(settings), progress)
    return run.path


def enqueue_clip(
    clip: Path,
    settings: ReplaceSettings,
    *,
    output: Path,
    name: str = "",
    preset: str = "",
    info_check: Callable[[VideoInfo], None] | None = None,
) -> RunFolder:
    """Make a run folder that waits to be done by :func:`resume_run`, and that owns its clip.

    Parameters
    ----------
    clip:
        The video. The folder gets a hard link to it, or a copy where the file system gives none.
    settings:
        What to do.
    output:
        Folder in which the run folder is made.
    name:
        What the user calls the clip, for lists; never used as a path. Empty takes the file's name.
    preset:
        Name of the preset that the settings come from, for lists.
    info_check:
        May refuse the clip by raising an :class:`InputError`.

    Raises
    ------
    InputError, ModelUnavailable
        As :func:`replace_clip`; nothing is left behind.
    """
    name = Path(name).name or clip.name
    info = probe_as(clip, name)
    if info_check is not None:
        info_check(info)
    make_engine(settings)
    values = settings.model_dump(mode="json")
    with RunFolder.staged(output, kind="replace", source=Path(name), settings=values) as run:
        own = run.file("source" + (clip.suffix.lower() if clip.suffix.lower() in SUFFIXES else ""))
        link_or_copy(clip, own)
        with VideoReader(probe(own)) as reader:
            save_thumbnail(run, reader.frame(0))
        run.update(source=own.name, name=name, preset=preset, **frame_facts(info))
    return run


def _perform_run(
    run: RunFolder, info: VideoInfo, settings: ReplaceSettings, engine: Generator, progress: Progress | None
) -> None:
    """Do the work of a run folder, holding it for this process."""
    started = time.monotonic()
    with run.lock():
        facts = {"source_sha256": run.record.get("source_sha256") or sha256_of(info.path), **frame_facts(info)}
        run.update(versions=versions(), machine=machine_key(), **facts)
        run.add_seconds("probe", time.monotonic() - started)
        progress = progress or Progress()
        progress.expect(_shares(run, info, settings))
        for name, files in FINDINGS.items():
            if all(run.has(file) for file in files):
                progress.skip(name)
        _work(Shot(info, settings, run, progress, engine=engine))


def _shares(run: RunFolder, info: VideoInfo, settings: ReplaceSettings) -> dict[str, float]:
    """Seconds that each stage will take, for the progress; all of the second pass is reported as *generate*."""
    foretold = estimate(info.frame_count, info.size, settings, history=run.path.parent).stages
    shares = {name: seconds for name, seconds in foretold.items() if name in FINDINGS or name in ("load", "encode")}
    second_pass = {name for name, _ in PERFORM} | {"checkpoint"}
    shares["generate"] = sum(seconds for name, seconds in foretold.items() if name in second_pass)
    return shares


def _work(shot: Shot) -> None:
    """Run all stages; whatever happens, run.json says how it ended."""
    with outcome_noted(shot.run):
        try:
            reference.check(shot)
            for name, stage in SURVEY:
                with _timed(shot, name):
                    stage(shot)
            with _timed(shot, "load"):
                shot.engine.load(lambda share, text: shot.progress.report("load", share, text))
                reference.keep(shot)
            perform(shot)
            for name, stage in FINISH:
                with _timed(shot, name):
                    stage(shot)
        finally:
            shot.engine.unload()


def _timed(shot: Shot, name: str) -> AbstractContextManager[None]:
    """Time a stage and note its peak memory; name the stage in errors that nobody foresaw."""
    return timed_stage(shot.run, shot.progress, name, metered(shot, name))


__all__ = [
    "FINISH",
    "PERFORM",
    "SURVEY",
    "enqueue_clip",
    "replace_clip",
    "resume_run",
]
