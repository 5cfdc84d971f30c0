"""``python app.py mesh CLIP...``."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.settings import MeshSettings
from interfaces.cli.progress_bar import shown_progress
from interfaces.cli.settings_options import add_settings_options, settings_from

#: Settings that have an option of their own besides ``--set``: option, setting.
OPTIONS = {
    "body": "body",
    "person": "person",
    "format": "formats",
    "video": "videos",
    "calibration": "calibration",
    "easymocap-results": "easymocap_results",
}


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``mesh`` to the command line."""
    parser = commands.add_parser(
        "mesh",
        help="fit a body to the person in a clip, and write it as a mesh",
        description="Fit a body to the person in CLIP; with several clips of one take and the calibration of their cameras, in "
        "space. Prints the run folder last.",
    )
    parser.add_argument("clips", type=Path, metavar="CLIP", nargs="+", help="the videos; they are never changed")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), metavar="DIR", help="where the run folder is made"
    )
    add_settings_options(parser, MeshSettings, OPTIONS)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Fit a body to the person in a clip."""
    settings = settings_from(args, MeshSettings, OPTIONS)
    from pipelines.mesh.processor import mesh_clips

    with shown_progress() as progress:
        folder = mesh_clips(args.clips, settings, output=args.output, progress=progress)
    print(folder)
    return 0
