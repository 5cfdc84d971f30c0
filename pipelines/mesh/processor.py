"""The second product: a clip in, the person's body as a mesh out, over the footage and as files.

Several clips of one take with the calibration of their cameras give one body, found in space. Every stage leaves its findings
in the run folder, so a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from core.progress import Progress
from core.runs import RunFolder, sha256_of
from core.settings import MeshSettings, make_settings
from core.types import VideoInfo
from models.body.anny_body import AnnyBody
from models.body.base import BodyModel
from models.body.smplx_body import SmplxBody
from models.memory import device_name
from pipelines.machine import machine_key
from pipelines.mesh.costs import ClipShape
from pipelines.mesh.easymocap_body import read_checked
from pipelines.mesh.estimate import estimate
from pipelines.mesh.export import FORMATS
from pipelines.mesh.shot import MeshShot, View, ViewFolder, ViewSurvey
from pipelines.mesh.stages import EXPORTS, STAGES, formats_of
from pipelines.mesh.take import check_take
from pipelines.mesh.videos import file_of, wanted
from pipelines.mesh.views import Match
from pipelines.running import frame_facts, metered, outcome_noted, peak_rss_mb, timed_stage, versions
from utils.video_probe import probe


def mesh_clips(
    clips: Sequence[Path], settings: MeshSettings, *, output: Path, progress: Progress | None = None
) -> Path:
    """Fit a body to the person in a clip, or in several clips of one take.

    Parameters
    ----------
    clips:
        The videos; only read. For several, ``settings.calibration`` says where their cameras stand.
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
        A clip, the calibration, a setting or the output folder cannot be used; no run folder is left behind.
    ModelUnavailable
        The body needs a file that this machine lacks; no run folder is left behind.
    Cancelled
        The run was asked to stop; its folder can be resumed.
    """
    if not clips:
        raise InputError("There is no clip.", "Give the path of a video.")
    progress = progress or Progress()
    infos = [probe(clip) for clip in clips]
    found, model = _prepared(infos, settings)
    run = RunFolder.create(output, kind="mesh", source=clips[0], settings=settings.model_dump(mode="json"))
    shutil.rmtree(run.file("segments"))
    try:
        run.update(sources=[{"path": str(clip.resolve())} for clip in clips])
        _perform_run(run, infos, settings, found, model, progress)
    except InputError:
        # The clip turned out to be unusable: nothing half-written stays.
        shutil.rmtree(run.path)
        raise
    return run.path


def resume_run(folder: Path, *, progress: Progress | None = None) -> Path:
    """Continue a run that was cut off, keeping what every finished stage left. A finished run is left as it is.

    Raises
    ------
    InputError
        The folder holds no run of a mesh, a source is gone or has changed, or another process works on it.
    """
    run = RunFolder.open(folder)
    if run.record.get("kind") != "mesh":
        raise InputError(f"Run {run.path.name} is no run of a mesh.", "Continue it with: python app.py resume RUN")
    if run.record["state"] == "done":
        return run.path
    sources = run.record.get("sources") or [{"path": str(run.source)}]
    infos = []
    for source in sources:
        path = run.path / source["path"]
        infos.append(probe(path))
        if source.get("sha256") not in (None, sha256_of(path)):
            raise InputError(f"{path} has changed since run {run.path.name} was started.", "Start a new run for it.")
    settings = make_settings(MeshSettings, run.record["settings"])
    if settings.calibration is not None:
        # A run that owns its clips owns their calibration.
        settings = settings.model_copy(update={"calibration": run.path / settings.calibration})
    found, model = _prepared(infos, settings)
    _perform_run(run, infos, settings, found, model, progress or Progress())
    return run.path


def _prepared(infos: Sequence[VideoInfo], settings: MeshSettings) -> tuple[Match | None, BodyModel]:
    """Find out before anything is written whether the run can be done."""
    found = check_take(infos, settings)
    if settings.body == "anny":
        return found, AnnyBody()
    model = SmplxBody()
    model.rest({})
    if settings.easymocap_results is not None:
        paced = infos[0 if found is None else found.reference]
        read_checked(settings.easymocap_results, model, paced.frame_count)
    return found, model


def _perform_run(
    run: RunFolder,
    infos: Sequence[VideoInfo],
    settings: MeshSettings,
    found: Match | None,
    model: BodyModel,
    progress: Progress,
) -> None:
    """Do the work of a run folder, holding it for this process."""
    started = time.monotonic()
    reference = 0 if found is None else found.reference
    with run.lock():
        known = [source.get("sha256") for source in run.record.get("sources", ())] or [None] * len(infos)
        sources = [
            {"path": _recorded(run, info.path), "sha256": digest or sha256_of(info.path)}
            for info, digest in zip(infos, known, strict=True)
        ]
        facts = {"sources": sources, "source_sha256": sources[0]["sha256"], **frame_facts(infos[reference])}
        run.update(versions=versions(*_libraries(settings)), machine=machine_key(), **facts)
        run.add_seconds("probe", time.monotonic() - started)
        shot = MeshShot(infos[reference], settings, run, progress, model=model)
        if found is not None:
            shot.reference, shot.views = reference, _views(shot, infos, found)
            for note in found.notes:
                run.warn(note)
        shapes = [ClipShape(info.frame_count, info.size) for info in infos]
        foretold = estimate(shapes, settings, history=run.path.parent, reference=reference).stages
        progress.expect({name: seconds for name, seconds in foretold.items() if name != "start"})
        for name, files in _findings(shot).items():
            if all(run.has(file) for file in files):
                progress.skip(name)
        with outcome_noted(run):
            for name, stage in STAGES:
                with timed_stage(run, progress, name, metered(run, name)):
                    stage(shot)
            run.update(
                frames_out=shot.info.frame_count,
                device=device_name(),
                peak_rss_mb=round(peak_rss_mb(), 1),
                peak_vram_mb=max(run.record["vram_mb"].values(), default=None),
            )


def _recorded(run: RunFolder, clip: Path) -> str:
    """A clip's path as ``run.json`` has it: one of the run's own from its folder on, so that the folder can be moved."""
    if clip.is_relative_to(run.path):
        return str(clip.relative_to(run.path))
    return str(clip.resolve())


def _libraries(settings: MeshSettings) -> list[str]:
    """Libraries that this run uses and others do not."""
    drawing = ["easypytorch3d"] if settings.videos else []
    return drawing + (["smplx"] if settings.body == "smplx" else [])


def _views(shot: MeshShot, infos: Sequence[VideoInfo], found: Match) -> tuple[View, ...]:
    views = []
    count = len(infos)
    for index, (camera, info) in enumerate(zip(found.cameras, infos, strict=True)):
        part = _PartOfDetect(shot.progress, index, count, camera.name)
        own = ViewFolder(shot.run, index, camera.name)
        # A point on the person is one in the reference clip's pixels.
        settings = shot.settings if index == found.reference else shot.settings.model_copy(update={"person": None})
        views.append(View(camera, ViewSurvey(info, settings, own, part), own.folder))
    return tuple(views)


class _PartOfDetect(Progress):
    """Reports the following of one view as its share of the stage."""

    def __init__(self, whole: Progress, index: int, count: int, name: str) -> None:
        super().__init__()
        self._whole, self._index, self._count, self._name = whole, index, count, name

    def check(self) -> None:
        """As the whole run's."""
        self._whole.check()

    def report(self, stage: str, stage_fraction: float, detail: str = "", *, force: bool = False) -> None:
        """Pass on, as a share."""
        self._whole.report(stage, (self._index + stage_fraction) / self._count, f"{self._name}: {detail}", force=force)


def _findings(shot: MeshShot) -> dict[str, list[str]]:
    """What the stages leave in the run folder; a resumed run skips those that are there."""
    names = [f"{view.folder}/" for view in shot.views] or [""]
    return {
        "detect": [f"{name}{file}" for name in names for file in ("person.npz", "camera_path.json")],
        "triangulate": ["points.npz"],
        "body": ["body.npz"],
        "look": ["look.json"],
        "render": [file_of(name) for name in wanted(shot)],
        "export": [f"{EXPORTS}/{FORMATS[name].target}" for name in formats_of(shot)],
    }
