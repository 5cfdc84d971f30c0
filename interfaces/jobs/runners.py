"""What works on a run, by the run's kind. Other products add their line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from core.progress import Progress


class Runner(Protocol):
    """Does a run that waits, or continues one that was cut off."""

    def __call__(self, folder: Path, *, progress: Progress | None = None) -> Path: ...


def _replace() -> Runner:
    from pipelines.replace.processor import resume_run

    return resume_run


def _mesh() -> Runner:
    from pipelines.mesh.processor import resume_run

    return resume_run


#: Kind, as in ``run.json`` -> what loads its runner; loading takes seconds, knowing the names does not.
RUNNERS: dict[str, Callable[[], Runner]] = {"replace": _replace, "mesh": _mesh}
