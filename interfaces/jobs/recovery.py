"""Which runs a new server takes up that an earlier one left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.runs import RunFolder
from interfaces.jobs.runners import RUNNERS
from interfaces.jobs.status import FINAL

#: How often a run that the server's death cut off is begun; after that something is wrong with the run.
MAX_ATTEMPTS = 3


def unfinished(root: Path, run_ids: Iterable[str]) -> list[str]:
    """The runs that came through the queue and have not ended, in the order in which they were put in.

    A run that was cut off :data:`MAX_ATTEMPTS` times is marked as failed instead: it may be what ends the server.
    """
    found = []
    for run_id in run_ids:
        run = RunFolder.open(root / run_id)
        record = run.record
        if record.get("queued_by") != "web" or record.get("kind") not in RUNNERS or record["state"] in FINAL:
            continue
        if record["state"] == "running" and record.get("attempts", 0) >= MAX_ATTEMPTS:
            run.update(
                state="failed",
                error=f"The server ended {MAX_ATTEMPTS} times while it worked on this run, which may be the cause. "
                "See run.log in its folder; resume it to try again.",
            )
            continue
        found.append((record.get("submitted", 0.0), run_id))
    return [run_id for _, run_id in sorted(found)]
