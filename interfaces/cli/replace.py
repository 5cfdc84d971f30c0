"""``python app.py replace CLIP``."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.settings import ReplaceSettings
from interfaces.cli.progress_bar import shown_progress
from interfaces.cli.settings_options import add_settings_options, settings_from

#: Settings that have an option of their own besides ``--set``: option, setting.
OPTIONS = {name: name for name in ("engine", "avatar", "reference", "person", "seed")}


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``replace`` to the command line."""
    parser = commands.add_parser(
        "replace",
        help="put another body into a clip",
        description="Replace the person in CLIP. Prints the run folder last.",
    )
    parser.add_argument("clip", type=Path, metavar="CLIP", help="the video; it is never changed")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), metavar="DIR", help="where the run folder is made"
    )
    add_settings_options(parser, ReplaceSettings, OPTIONS)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Replace the person in a clip."""
    settings = settings_from(args, ReplaceSettings, OPTIONS)
    from pipelines.replace.processor import replace_clip

    with shown_progress() as progress:
        folder = replace_clip(args.clip, settings, output=args.output, progress=progress)
    print(folder)
    return 0
