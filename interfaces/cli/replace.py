"""``python app.py replace CLIP``."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.presets import preset_names
from core.progress import Progress
from core.settings import ReplaceSettings, parse_assignments
from interfaces.cli.progress_bar import ProgressBar, cancel_on_signal
from interfaces.settings_from import DEFAULT_PRESET
from interfaces.settings_from import settings_from as preset_with_changes

#: Settings that have an option of their own besides ``--set``.
OPTIONS = ("engine", "avatar", "reference", "person", "seed")


def _settings_help() -> str:
    lines = ["settings for --set (default, meaning):"]
    for name, field in ReplaceSettings.model_fields.items():
        default = "" if field.default is None else field.default
        lines.append(f"  {name}={default}\n      {field.description}")
    return "\n".join(lines)


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
    add_settings_options(parser)
    parser.set_defaults(command=run)


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--preset``, ``--set`` and the settings that have an option of their own."""
    parser.epilog = _settings_help()
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
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
    for name in OPTIONS:
        help_text = (ReplaceSettings.model_fields[name].description or "").replace("%", "%%")
        parser.add_argument(f"--{name}", help=help_text)


def settings_from(args: argparse.Namespace) -> ReplaceSettings:
    """Preset, then ``--set``, then the options of their own."""
    changes = parse_assignments(args.assignments)
    changes.update({name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None})
    return preset_with_changes(args.preset, changes)


def run(args: argparse.Namespace) -> int:
    """Replace the person in a clip."""
    settings = settings_from(args)
    from pipelines.replace.processor import replace_clip

    bar = ProgressBar()
    progress = Progress(listener=bar)
    try:
        with cancel_on_signal(progress):
            folder = replace_clip(args.clip, settings, output=args.output, progress=progress)
    finally:
        bar.close()
    print(folder)
    return 0
