"""``python app.py avatars list|garments|show|new``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``avatars`` and its own commands to the command line."""
    parser = commands.add_parser(
        "avatars",
        help="list the avatars, draw one, or make a new one",
        description="The people that can be put into a video. Without a command, lists those that come with the program; "
        "beside them random-N, N being any number up to 999999, is somebody random.",
    )
    parser.set_defaults(command=run_list)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND")

    listing = actions.add_parser("list", help="the avatars that come with the program")
    listing.set_defaults(command=run_list)

    clothing = actions.add_parser(
        "garments",
        help="names of the garments from files that an avatar may wear",
        description="Names of the garments, hair, brows and lashes from files that an avatar's file may name: those of the "
        "pack and of the folders in UNDERSTUDY_WARDROBE. What is built in needs no file and is not among them.",
    )
    clothing.set_defaults(command=run_garments)

    showing = actions.add_parser(
        "show",
        help="draw an avatar from three sides, with close-ups",
        description="Draw an avatar as a JPEG: front, side, back, head, hand and feet.",
    )
    showing.add_argument("avatar", metavar="NAME", help="a name from the list, random-N, or the path of a YAML file")
    showing.add_argument("--output", type=Path, metavar="FILE", help="the picture (default NAME.jpg in this folder)")
    _add_force(showing)
    showing.set_defaults(command=run_show)

    making = actions.add_parser(
        "new",
        help="write the file of a random person",
        description="Write a YAML file of a random but plausible person. The same seed gives the same person.",
    )
    making.add_argument("file", type=Path, metavar="FILE", help="the file, for instance me.yaml; its stem is the name")
    making.add_argument("--seed", type=int, default=0, metavar="N", help="which person, a number from 0 (default 0)")
    _add_force(making)
    making.set_defaults(command=run_new)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def run_list(args: argparse.Namespace) -> int:
    """Print names and descriptions."""
    from pipelines import avatars

    cards = avatars.cards()
    width = max(len(card.name) for card in cards)
    for card in cards:
        print(f"{card.name:<{width}}  {card.description}")
    return 0


def run_garments(args: argparse.Namespace) -> int:
    """Print the names."""
    from pipelines import avatars

    names = avatars.garments()
    for name in names:
        print(name)
    if not names:
        print(
            "There are no garments from files here. Get the community's: python app.py weights pull wardrobe",
            file=sys.stderr,
        )
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Draw one; prints the picture's path."""
    from pipelines import avatars

    print(avatars.show(args.avatar, args.output, args.force))
    return 0


def run_new(args: argparse.Namespace) -> int:
    """Write a random person's file; prints its path."""
    from pipelines import avatars

    print(avatars.new(args.file, args.seed, args.force))
    return 0
