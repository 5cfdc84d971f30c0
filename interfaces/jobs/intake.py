"""Making the folder of a run that is put into the queue: each kind has its own way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.runs import RunFolder
from core.settings import MeshSettings, ReplaceSettings
from core.types import VideoInfo
from interfaces.jobs.limits import check_names, check_picture

if TYPE_CHECKING:
    from pipelines.mesh.submit import Take


def make_run(
    given: Path | Take,
    settings: ReplaceSettings | MeshSettings,
    *,
    output: Path,
    name: str,
    preset: str,
    check: Callable[[VideoInfo], None] | None,
) -> RunFolder:
    """Make a run folder that owns what it is made from. Parameters and errors as for ``JobQueue.submit``."""
    check_names(settings)
    if isinstance(settings, MeshSettings):
        from pipelines.mesh.submit import Given, Take, enqueue_take

        take = Take((Given(given, given.name),)) if isinstance(given, Path) else given
        return enqueue_take(take, settings, output=output, name=name, preset=preset, info_check=check)
    from pipelines.replace.processor import enqueue_clip

    assert isinstance(given, Path), "a replacement has one clip"
    if settings.reference is not None:
        check_picture(settings.reference)
    run = enqueue_clip(given, settings, output=output, name=name, preset=preset, info_check=check)
    if settings.reference is not None:
        own = run.file("reference" + settings.reference.suffix.lower())
        shutil.copyfile(settings.reference, own)
        run.update(settings={**run.record["settings"], "reference": str(own)})
    return run
