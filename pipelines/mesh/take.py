"""Whether clips and settings make a take that can be run: asked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InputError, SettingError
from core.runs import sha256_of
from core.settings import MeshSettings
from core.types import VideoInfo
from pipelines.mesh.easymocap import check_cameras
from pipelines.mesh.export import FORMATS
from pipelines.mesh.views import Match, match


def check_formats(settings: MeshSettings) -> None:
    """Refuse a format that nobody knows.

    Raises
    ------
    SettingError
        There is one.
    """
    unknown = [name for name in settings.formats.split(",") if name and name not in FORMATS]
    if unknown:
        raise SettingError(
            "formats", f"There is no export format {unknown[0]!r}.", f"Choose among: {', '.join(FORMATS)}."
        )


def check_take(infos: Sequence[VideoInfo], settings: MeshSettings) -> Match | None:
    """The cameras of a take's clips; ``None`` for a single clip.

    Raises
    ------
    InputError
        A format is not known, a clip is given twice, calibration and clips do not go together, the cameras do not fit into
        EasyMoCap's files, or its results are to be shown with another body than theirs.
    """
    check_formats(settings)
    if len(infos) == 1 and settings.calibration is not None:
        raise SettingError(
            "calibration", "A calibration is for several clips, and there is one.", "Give all clips of the take."
        )
    if settings.easymocap_results is not None and settings.body != "smplx":
        raise SettingError(
            "easymocap_results", "EasyMoCap's results are bodies of the SMPL family.", "Give --body smplx as well."
        )
    _check_distinct(infos)
    found = match(infos, settings) if len(infos) > 1 else None
    if found is not None and "easymocap" in settings.formats.split(","):
        check_cameras(found.cameras)
    return found


def _check_distinct(infos: Sequence[VideoInfo]) -> None:
    """Refuse a clip that is given twice, under whatever names: two cameras never see the same."""
    seen: dict[tuple[int, str], VideoInfo] = {}
    sizes = [info.path.stat().st_size for info in infos]
    for info, size in zip(infos, sizes, strict=True):
        if sizes.count(size) == 1:
            continue
        first = seen.setdefault((size, sha256_of(info.path)), info)
        if first is not info:
            raise InputError(
                f"{first.path.name} and {info.path.name} are the same clip.", "Give each camera's own clip of the take."
            )
