"""``python app.py doctor``."""

from __future__ import annotations

import argparse
import sys


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``doctor`` to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="what works on this machine, what is missing, how to get it",
        description="Check this machine. Exit code 0 when the avatar engine can run, 3 when something is missing.",
    )
    parser.add_argument("--prepare", action="store_true", help="also build the body model's cache (a minute, once)")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Check this machine."""
    from pipelines import doctor

    if args.prepare:
        doctor.prepare(lambda text: print(text, file=sys.stderr, flush=True))
    findings = doctor.examine()
    width = max(len(f.name) for f in findings)
    for finding in findings:
        print(f"{finding.mark:<8} {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            print(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    return 3 if any(f.blocks for f in findings) else 0
