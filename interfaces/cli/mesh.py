"""``python app.py mesh CLIP...``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.presets import load_preset, preset_names
from core.progress import Progress
from core.settings import MeshSettings, make_settings, parse_assignments
from interfaces.cli.progress_bar import ProgressBar, cancel_on_signal
from interfaces.settings_from import DEFAULT_PRESET

#: Settings that have an option of their own besides ``--set``: option, setting.
OPTIONS = {"body": "body", "person": "person", "format": "formats", "video": "videos", "calibration": "calibration"}


def _settings_help() -> str:
    lines = ["settings for --set (default, meaning):"]
    for name, field in MeshSettings.model_fields.items():
        default = "" if field.default is None else field.default
        lines.append(f"  {name}={default}\n      {field.description}")
    return "\n".join(lines)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``mesh`` to the command line."""
    parser = commands.add_parser(
        "mesh",
        help="fit a body to the person in a clip, and write it as a mesh",
        description="Fit a body to the person in CLIP; with several clips of one take and the calibration of their cameras, in "
        "space. Prints the run folder last.",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, metavar="CLIP", nargs="+", help="the videos; they are never changed")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), metavar="DIR", help="where the run folder is made"
    )
    parser.add_argument(
        "--preset", default=DEFAULT_PRESET, help=f"{', '.join(preset_names())} (default {DEFAULT_PRESET})"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="assignments",
        help="change one setting; repeatable",
    )
    for option, name in OPTIONS.items():
        text = (MeshSettings.model_fields[name].description or "").replace("%", "%%")
        parser.add_argument(f"--{option}", dest=name, help=text)
    parser.set_defaults(command=run)


def settings_from(args: argparse.Namespace) -> MeshSettings:
    """Preset, then ``--set``, then the options of their own."""
    changes: dict[str, Any] = parse_assignments(args.assignments)
    changes.update({name: getattr(args, name) for name in OPTIONS.values() if getattr(args, name) is not None})
    # The run may be resumed from another folder.
    if changes.get("calibration"):
        changes["calibration"] = Path(changes["calibration"]).resolve()
    return make_settings(MeshSettings, {**load_preset(args.preset, "mesh"), **changes})


def run(args: argparse.Namespace) -> int:
    """Fit a body to the person in a clip."""
    settings = settings_from(args)
    from pipelines.mesh.processor import mesh_clips

    bar = ProgressBar()
    progress = Progress(listener=bar)
    try:
        with cancel_on_signal(progress):
            folder = mesh_clips(args.clips, settings, output=args.output, progress=progress)
    finally:
        bar.close()
    print(folder)
    return 0
