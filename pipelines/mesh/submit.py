"""A take that waits its turn: what is wrong with it is said at once, and the run owns its clips and their calibration."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, SettingError
from core.runs import RunFolder, link_or_copy
from core.settings import MeshSettings
from core.types import VideoInfo
from models import weights
from pipelines.mesh.take import check_take
from pipelines.mesh.views import Match
from pipelines.pictures import save_thumbnail
from pipelines.running import SUFFIXES, frame_facts, probe_as
from utils.cameras.opencv_yaml import EXTRINSICS, INTRINSICS
from utils.video_io import VideoReader
from utils.video_probe import probe

#: Folders of a run for its own clips and for the calibration of their cameras.
CLIPS, CALIBRATION = "sources", "calibration"
#: Endings that a calibration's file may have.
CALIBRATION_SUFFIXES = (".yml", ".yaml", ".toml", ".txt", ".qca", ".xml")


@dataclass(frozen=True)
class Given:
    """A file that was handed in."""

    path: Path
    """Where it lies; may be removed afterwards."""
    name: str
    """What the user calls it. Cameras are found by it; of it only harmless characters are used."""


@dataclass(frozen=True)
class Take:
    """One clip, or several of the same moment, with the calibration of their cameras."""

    clips: tuple[Given, ...]
    calibration: tuple[Given, ...] = ()
    """One file, or ``intri.yml`` and ``extri.yml``; none for a single clip."""

    def title(self) -> str:
        """What a list calls it."""
        more = len(self.clips) - 1
        return self.clips[0].name + (f" and {more} more" if more else "")


def enqueue_take(
    take: Take,
    settings: MeshSettings,
    *,
    output: Path,
    name: str = "",
    preset: str = "",
    info_check: Callable[[VideoInfo], None] | None = None,
) -> RunFolder:
    """Make a run folder that waits to be done by :func:`pipelines.mesh.processor.resume_run`.

    Parameters
    ----------
    take:
        Clips and calibration. The folder gets hard links to them, or copies where the file system gives none.
    settings:
        What to do; without a calibration, which the take brings.
    output:
        Folder in which the run folder is made.
    name, preset:
        What the user calls the take, and where the settings come from, for lists.
    info_check:
        May refuse a clip by raising an :class:`InputError`.

    Raises
    ------
    InputError, ModelUnavailable
        A clip, the calibration or a setting cannot be used, or the body lacks its file; nothing is left behind.
    """
    if not take.clips:
        raise SettingError("clip", "There is no clip.", "Give at least one video.")
    for clip in take.clips:
        info = probe_as(clip.path, clip.name)
        if info_check is not None:
            info_check(info)
    if settings.body == "smplx":
        weights.require("smplx")
    values = settings.model_dump(mode="json")
    title = Path(name).name or take.title()
    with RunFolder.staged(output, kind="mesh", source=Path(take.clips[0].name), settings=values) as run:
        shutil.rmtree(run.file("segments"))
        infos, found, calibration = place_take(take, settings, run.path)
        if calibration is not None:
            values = {**values, "calibration": str(calibration.relative_to(run.path))}
        info = infos[0 if found is None else found.reference]
        with VideoReader(info) as reader:
            save_thumbnail(run, reader.frame(0))
        sources = [{"path": str(info.path.relative_to(run.path))} for info in infos]
        facts = {"source": sources[0]["path"], "sources": sources, **frame_facts(info)}
        run.update(settings=values, name=title, preset=preset, **facts)
    return run


def place_take(take: Take, settings: MeshSettings, folder: Path) -> tuple[list[VideoInfo], Match | None, Path | None]:
    """Put a take into a folder and look whether it can be run.

    Returns
    -------
    The clips as they lie in the folder, their cameras where there are several, and the calibration.

    Raises
    ------
    InputError
        A clip, the calibration or a format cannot be used; the message names files as the user does.
    """
    if len(take.clips) > 1 and not take.calibration:
        raise SettingError(
            "calibration", "Several clips need the calibration of their cameras.", "Add its file or files."
        )
    clips = [folder / CLIPS / name for name in _file_names(take.clips, SUFFIXES)]
    (folder / CLIPS).mkdir()
    for given, place in zip(take.clips, clips, strict=True):
        link_or_copy(given.path, place)
    calibration = _place_calibration(take.calibration, folder / CALIBRATION)
    try:
        infos = [probe(clip) for clip in clips]
        return infos, check_take(infos, settings.model_copy(update={"calibration": calibration})), calibration
    except SettingError:
        raise
    except InputError as error:
        # The user knows nothing of the folder, and gave the calibration as a file and not as a setting.
        texts = [
            text.replace(f"{folder / CLIPS}/", "").replace(f"{folder / CALIBRATION}/", "").replace(f"{folder}/", "")
            for text in (error.message, error.hint)
        ]
        raise SettingError("calibration" if len(clips) > 1 else "clip", *texts) from error


def _place_calibration(files: Sequence[Given], folder: Path) -> Path | None:
    """Put the calibration into a folder of its own; its one file, or the folder of several."""
    if not files:
        return None
    for given in files:
        if Path(given.name).suffix.lower() not in CALIBRATION_SUFFIXES:
            raise SettingError(
                "calibration",
                f"{given.name} is of no known calibration format.",
                "Give intri.yml and extri.yml, a Qualisys .qca.txt or a .toml file.",
            )
    folder.mkdir()
    names = _file_names(files, CALIBRATION_SUFFIXES)
    for given, name in zip(files, names, strict=True):
        link_or_copy(given.path, folder / name)
    return folder if len(files) > 1 else folder / names[0]


def calibration_files(calibration: Path) -> list[Path]:
    """The files of a run's calibration, as they would be handed in again; none where they are gone."""
    if calibration.is_file() and calibration.suffix.lower() in (".yml", ".yaml"):
        # The two files of EasyMoCap belong together.
        pair = {calibration, calibration.parent / INTRINSICS, calibration.parent / EXTRINSICS}
        return sorted(pair & _files_in(calibration.parent))
    if calibration.is_file():
        return [calibration]
    return sorted(_files_in(calibration))


def _files_in(folder: Path) -> set[Path]:
    if not folder.is_dir():
        return set()
    return {file for file in folder.iterdir() if file.suffix.lower() in CALIBRATION_SUFFIXES}


def _file_names(files: Sequence[Given], suffixes: Sequence[str] | frozenset[str]) -> list[str]:
    """File names made of what the user calls the files, each different from the others."""
    names: list[str] = []
    for given in files:
        suffix = Path(given.name).suffix.lower()
        stem = re.sub(r"[^\w.-]+", "_", Path(given.name).stem).lstrip(".")[:60] or "clip"
        ending = suffix if suffix in suffixes else ""
        name, number = stem + ending, 1
        while name.lower() in [other.lower() for other in names]:
            number += 1
            name = f"{stem}_{number}{ending}"
        names.append(name)
    return names
