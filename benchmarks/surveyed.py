"""One survey of a clip, many avatars: what is found out about a clip does not depend on who is drawn into it."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.presets import load_preset
from core.progress import Progress
from core.runs import RunFolder, link_or_copy
from core.settings import ReplaceSettings, make_settings
from core.types import Segment
from pipelines.replace.checkpoints import segment_file
from pipelines.replace.engine import make_engine
from pipelines.replace.finish import FinishedFrames
from pipelines.replace.processor import FINDINGS, SURVEY
from pipelines.replace.second_pass import draw_segment
from pipelines.replace.shot import Shot
from utils.video_io import VideoReader
from utils.video_probe import probe


def with_avatar(surveyed: Path, avatar: str, root: Path) -> Path:
    """A run that waits for ``python app.py resume``, with the survey of another run and another avatar.

    The files of the survey are linked, so the resumed run begins with drawing, and the times in its ``run.json`` are those
    of drawing and encoding alone. Of the avatar the survey knows nothing.

    Parameters
    ----------
    surveyed:
        Folder of a run whose survey is finished.
    avatar:
        Name or file of who is to be drawn.
    root:
        Folder in which the new run is made.

    Returns
    -------
    The new run folder.
    """
    before = RunFolder.open(surveyed)
    settings = {**before.record["settings"], "avatar": avatar}
    with RunFolder.staged(root, kind="replace", source=before.source, settings=settings) as run:
        for file in (file for files in FINDINGS.values() for file in files):
            link_or_copy(before.file(file), run.file(file))
    return run.path


class SurveyedClip:
    """A clip that was looked at, and in which single frames are drawn with any avatar.

    Parameters
    ----------
    clip:
        The video.
    folder:
        Where the survey is kept; one that is there already is used.
    preset:
        The settings.
    """

    def __init__(self, clip: Path, folder: Path, preset: str = "balanced") -> None:
        self._settings = make_settings(ReplaceSettings, load_preset(preset, "replace"))
        if not (folder / "run.json").is_file():
            values = self._settings.model_dump(mode="json")
            with RunFolder.staged(folder.parent, kind="replace", source=clip, settings=values, name=folder.name):
                pass
        run = RunFolder.open(folder)
        self._shot = Shot(probe(run.source), self._settings, run, Progress(), engine=make_engine(self._settings))
        for _, stage in SURVEY:
            stage(self._shot)

    @property
    def present(self) -> np.ndarray:
        """(T,) bool: frames in which the person is."""
        return self._shot.found[0].present

    def box(self, frame: int) -> np.ndarray:
        """(4,) xyxy pixels: where the person is."""
        return self._shot.found[0].xyxy[frame]

    def frames(self, avatar: str, frames: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Single frames before and after, as a whole run would draw them.

        Returns
        -------
        Pairs of (H, W, 3) uint8 pictures, source and result, in the order of ``frames``.
        """
        settings = self._settings.model_copy(update={"avatar": avatar})
        shot = replace(self._shot, settings=settings, engine=make_engine(settings))
        try:
            return [self._frame(shot, frame) for frame in frames]
        finally:
            shot.engine.unload()

    def _frame(self, shot: Shot, frame: int) -> tuple[np.ndarray, np.ndarray]:
        folder = shot.run.file("frame")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        segment = Segment("preview", frame, frame + 1)
        with VideoReader(shot.info) as reader, VideoReader(probe(shot.run.file("plate.mp4"))) as plates:
            draw_segment(shot, segment, segment_file(folder, 0), reader, plates)
            with closing(FinishedFrames(folder, (segment,))) as finished:
                source = reader.frame(frame)
                return source, finished.frame(frame, source)[0]
