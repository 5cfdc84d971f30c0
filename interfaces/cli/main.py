"""The command line: parse, hand over to a pipeline, translate errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable

from core.errors import UnderstudyError
from interfaces.cli import avatars, doctor, mesh, preview, replace, resume, web, weights

Command = Callable[[argparse.Namespace], int]


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; each command's file adds its own."""
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="Understudy puts another body into a video and leaves the rest of the shot alone. "
        "Without a command it starts the web app.",
    )
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    web.add_options(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (replace, mesh, preview, avatars, resume, weights, doctor):
        module.add_command(commands)
    return parser


def main(argv: list[str]) -> int:
    """Run a command. Returns the exit code: 0 done, 2 bad input, 3 something is missing, 4 failed, 130 cancelled."""
    args = build_parser().parse_args(argv)
    command: Command = args.command
    try:
        return command(args)
    except UnderstudyError as error:
        if args.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("cancelled", file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        reason = str(error).strip() or type(error).__name__
        print(f"error: unexpected {type(error).__name__}: {reason} (run with --debug for details)", file=sys.stderr)
        return 4
