"""``python app.py resume RUN``."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.errors import InputError
from core.runs import RunFolder
from interfaces.cli.progress_bar import shown_progress
from interfaces.jobs.runners import RUNNERS


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``resume`` to the command line."""
    parser = commands.add_parser(
        "resume",
        help="continue a run that was cut off",
        description="Continue a run; every finished stage and segment is kept. Prints the run folder last.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Continue a run."""
    kind = RunFolder.open(args.run).record.get("kind", "replace")
    if kind not in RUNNERS:
        raise InputError(f"{args.run} is a run of the kind {kind!r}, which cannot be continued.", "Start it anew.")
    resume_run = RUNNERS[kind]()
    with shown_progress() as progress:
        folder = resume_run(args.run, progress=progress)
    print(folder)
    return 0
