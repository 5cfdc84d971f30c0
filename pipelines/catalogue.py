"""What there is to choose from: the engines and the avatars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.body.wardrobe import AVATAR_FOLDER, list_avatars
from models.registry import ENGINES


@dataclass(frozen=True)
class EngineCard:
    """One engine, as a list of choices shows it."""

    name: str
    """What goes into ``settings.engine``."""
    description: str
    """What it does, and what to know before the first run."""
    ready: bool
    """Whether it can run on this machine now."""
    missing: str
    """What it lacks, in a few words; empty when it is ready."""
    command: str
    """The command that gets what is missing; empty when it is ready."""
    takes: tuple[str, ...]
    """Which of ``avatar``, ``reference``, ``prompt``, ``negative_prompt`` and ``checkpoint`` it reads."""
    checkpoints: tuple[str, ...]
    """What ``checkpoint`` may be, the default first; empty where there is no choice."""


@dataclass(frozen=True)
class AvatarCard:
    """One avatar that comes with the program."""

    name: str
    """What goes into ``settings.avatar``."""
    title: str
    """Its name for people to read."""
    description: str
    """One line that says who it is."""
    thumbnail: Path
    """Its picture, a PNG."""


def engines() -> tuple[EngineCard, ...]:
    """All engines, the embedded default first. Looks at the machine each time: what was missing may have come."""
    cards = []
    for entry in ENGINES.values():
        lacking = entry.missing()
        what, command = ("", "") if lacking is None else (lacking.what, lacking.command)
        note = entry.note() if lacking is None else ""
        description = f"{entry.description[:1].upper()}{entry.description[1:]}. {note}".rstrip()
        cards.append(
            EngineCard(entry.name, description, lacking is None, what, command, entry.takes, entry.checkpoints)
        )
    return tuple(cards)


def avatars() -> tuple[AvatarCard, ...]:
    """All avatars that come with the program, by name.

    Raises
    ------
    InputError
        An avatar's file is not right; the message names the file and the field.
    """
    return tuple(
        AvatarCard(
            spec.name,
            spec.title or spec.name.capitalize(),
            spec.description,
            AVATAR_FOLDER / f"{spec.name}.png",
        )
        for spec in list_avatars()
    )
