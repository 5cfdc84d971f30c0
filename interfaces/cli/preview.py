"""``python app.py preview CLIP``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from core.errors import InputError
from core.settings import ReplaceSettings
from interfaces.cli.progress_bar import clock, shown_progress
from interfaces.cli.replace import OPTIONS
from interfaces.cli.settings_options import add_settings_options, settings_from


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``preview`` to the command line."""
    parser = commands.add_parser(
        "preview",
        help="one frame in its final look, and what the whole clip would take",
        description="Draw one frame of CLIP as a run would, source and result side by side. Prints the picture's path last.",
    )
    parser.add_argument("clip", type=Path, metavar="CLIP", help="the video; it is never changed")
    parser.add_argument("--frame", type=int, metavar="N", help="which frame, from 0 (default: near the middle)")
    parser.add_argument(
        "--to", type=Path, default=Path("preview.png"), metavar="FILE", help="the picture, .png or .jpg (preview.png)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("outputs"), metavar="DIR", help="where earlier runs are, for the estimate"
    )
    add_settings_options(parser, ReplaceSettings, OPTIONS)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Draw one frame as a run would."""
    settings = settings_from(args, ReplaceSettings, OPTIONS)
    if args.to.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{args.to} is no name for a picture.", "End it in .png or .jpg.")
    if not args.to.parent.is_dir():
        raise InputError(f"There is no folder {args.to.parent}.", "Make it, or choose another with --to FILE.")
    from pipelines.replace.estimate import estimate
    from pipelines.replace.preview import clip_facts, preview_frame, save_pair

    facts = clip_facts(args.clip)
    with shown_progress() as progress, tempfile.TemporaryDirectory() as cache:
        preview = preview_frame(args.clip, settings, cache=Path(cache), frame=args.frame, progress=progress)
    save_pair(preview.source, preview.result, args.to)
    for warning in preview.warnings:
        print(f"note: {warning}", file=sys.stderr)
    cost = estimate(facts.frames, facts.size, settings, history=args.output)
    print(
        f"frame {preview.frame} of {facts.frames}; the whole clip: about {clock(cost.seconds)}, "
        f"{cost.peak_mb / 1000:.1f} GB of memory. {cost.basis}",
        file=sys.stderr,
    )
    print(args.to)
    return 0
