"""``python app.py weights list|pull|verify``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from core.errors import Cancelled, InputError
from interfaces.cli.progress_bar import shown_progress


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``weights`` and its own commands to the command line."""
    parser = commands.add_parser(
        "weights",
        help="list, fetch and check the weights that some engines need",
        description="Weights for the diffusion engines and other extras. The avatar engine needs none. "
        "Without a command, lists them.",
    )
    _add_cache(parser)
    parser.set_defaults(command=run_list, cache=None)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND")

    listing = actions.add_parser("list", help="what there is, under which licence, and what is on disk")
    _add_cache(listing)
    listing.set_defaults(command=run_list)

    pulling = actions.add_parser(
        "pull",
        help="fetch sets; what was cut off goes on where it stopped",
        description="Fetch sets from the Hugging Face hub, and the wardrobe from GitHub. Exit code 3 where that is not "
        "possible.",
    )
    pulling.add_argument("names", nargs="+", metavar="NAME", help="a set, as `weights list` names it")
    pulling.add_argument("--yes", action="store_true", help="fetch more than 10 GB without being asked")
    _add_cache(pulling)
    pulling.set_defaults(command=run_pull)

    verifying = actions.add_parser(
        "verify",
        help="read every file and compare it with its checksum",
        description="Check sets on disk. Exit code 4 when a file is missing or damaged.",
    )
    verifying.add_argument("names", nargs="*", metavar="NAME", help="a set; without a name, all that are on disk")
    _add_cache(verifying)
    verifying.set_defaults(command=run_verify)


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="where the weights lie (default $UNDERSTUDY_WEIGHTS or ~/.cache/understudy/weights)",
    )


def run_list(args: argparse.Namespace) -> int:
    """Print the table."""
    from pipelines import weights

    words = {"by hand": "put it yourself"}
    cards = weights.cards(args.cache)
    rows = [("name", "size", "state", "licence")]
    rows += [
        (c.name, weights.size_text(c.size) if c.size else "", words.get(c.status, c.status), c.licence) for c in cards
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    print(lines[0])
    indent = " " * (widths[0] + 2)
    for card, line in zip(cards, lines[1:], strict=True):
        print(line)
        print(f"{indent}for {card.purpose}")
        if card.status in ("ready", "partial"):
            print(f"{indent}in {card.where}")
        if card.advice:
            print(f"{indent}-> {card.advice}")
    return 0


def _agree(name: str, size: int) -> None:
    """Ask on a terminal whether so much is to be fetched."""
    from pipelines.weights import size_text

    what = f"{name} is {size_text(size)} to fetch"
    if not sys.stdin.isatty():
        raise InputError(f"{what}.", "Add --yes to fetch it without being asked.")
    print(f"{what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    # Nothing runs yet that would notice a wish to stop: Ctrl-C ends the question itself.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = sys.stdin.readline().strip().lower()
    finally:
        signal.signal(signal.SIGINT, before)
    if answer not in ("y", "yes"):
        raise Cancelled("Nothing was fetched.")


def run_pull(args: argparse.Namespace) -> int:
    """Fetch sets; prints their folders last."""
    from pipelines import weights

    def agree(name: str, size: int) -> None:
        if not args.yes:
            _agree(name, size)

    with shown_progress() as progress:
        folders = weights.pull(args.names, agree, args.cache, progress)
    for folder in folders:
        print(folder)
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Check sets; prints one line for each, and one for each bad file."""
    from pipelines import weights

    with shown_progress() as progress:
        found = weights.verify(args.names, args.cache, progress)
    if not found:
        print(f"There are no weights in {weights.folder(args.cache)}.")
    for name, faults in found.items():
        print(f"{name}: {'right' if not faults else 'not right'}")
        for fault in faults:
            print(f"  {fault.path}: {fault.problem}")
        if faults:
            print(f"  -> python app.py weights pull {name}")
    return 4 if any(found.values()) else 0
