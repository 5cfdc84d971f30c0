"""What there is to choose from: the engines, their checkpoints and the avatars."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError, ResourceError
from core.settings import ReplaceSettings
from models import weights
from models.body.wardrobe import AvatarSpec, list_avatars, load_avatar, seed_of
from models.registry import ENGINES, Missing, engine_entry
from models.weights.store import CHECKPOINT_FOLDER
from models.weights.tensors import check_safetensors
from pipelines.replace.engine import engine_options

#: The kind of file that a checkpoint may be; every other kind may run code when it is read.
CHECKPOINT_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class EngineCard:
    """One engine, as a list of choices shows it."""

    name: str
    """What goes into ``settings.engine``."""
    title: str
    """Its name for people to read."""
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
    settings: tuple[str, ...]
    """Names of the other settings that it reads. What no engine names is read by the pipeline, whatever the engine."""
    checkpoints: tuple[str, ...]
    """What ``checkpoint`` may be, the default first; empty where there is no choice."""
    own_checkpoints: bool
    """Whether it draws with Stable Diffusion checkpoints that the user brings: see :func:`add_checkpoint`."""


@dataclass(frozen=True)
class AvatarCard:
    """One avatar."""

    name: str
    """What goes into ``settings.avatar``."""
    title: str
    """Its name for people to read."""
    description: str
    """One line that says who it is."""


def engines() -> tuple[EngineCard, ...]:
    """All engines, the embedded default first. Looks at the machine each time: what was missing may have come."""
    cards = []
    for entry in ENGINES.values():
        missing = entry.missing()
        what, command = ("", "") if missing is None else (missing.what, missing.command)
        note = entry.note() if missing is None else ""
        checkpoints = entry.checkpoints()
        description = f"{entry.description[:1].upper()}{entry.description[1:]}. {note}".rstrip()
        cards.append(
            EngineCard(
                name=entry.name,
                title=entry.title,
                description=description,
                ready=missing is None,
                missing=what,
                command=command,
                takes=entry.takes,
                settings=entry.settings,
                checkpoints=checkpoints,
                own_checkpoints=set(weights.CHECKPOINTS) <= set(checkpoints),
            )
        )
    return tuple(cards)


def unread_settings(engine: str) -> frozenset[str]:
    """Names of the settings that other engines read and this one does not.

    Raises
    ------
    InputError
        There is no engine of that name.
    """
    read = engine_entry(engine).settings
    return frozenset(name for entry in ENGINES.values() for name in entry.settings if name not in read)


def lacking(settings: ReplaceSettings) -> Missing | None:
    """What a run with these settings lacks on this machine: what the engine needs always, and what its options need.

    Raises
    ------
    InputError
        There is no engine of that name, or its options contradict each other.
    """
    entry = engine_entry(settings.engine)
    missing = entry.missing()
    if missing is None:
        found = weights.missing(*entry.capabilities(engine_options(settings)).weights)
        missing = None if found is None else Missing(*found)
    return missing


def add_checkpoint(file: Path, name: str) -> str:
    """Put a Stable Diffusion checkpoint that somebody brought beside the user's own.

    Parameters
    ----------
    file:
        It; may be removed afterwards.
    name:
        What they call it. Only its last part is used, and of that only harmless characters.

    Returns
    -------
    What goes into ``settings.checkpoint``.

    Raises
    ------
    InputError
        It is a pickle, something else that is no safetensors file, or damaged; or another file has that name.
    ResourceError
        It cannot be stored.
    """
    shown = Path(name).name
    try:
        check_safetensors(file)
    except InputError as error:
        # The user knows the file by another name than ours.
        raise InputError(error.message.replace(str(file), shown), error.hint.replace(str(file), shown)) from error
    stem = re.sub(r"[^\w.-]+", "_", shown.removesuffix(CHECKPOINT_SUFFIX)).strip("._") or "checkpoint"
    if stem in weights.checkpoint_names():
        raise InputError(f"There is a checkpoint named {stem} already.", "Choose it from the list, or rename the file.")
    place = weights.weights_folder() / CHECKPOINT_FOLDER / (stem + CHECKPOINT_SUFFIX)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, place)
        except OSError:  # another file system
            # Under another ending until it is whole, so that nobody is offered half a file.
            shutil.copyfile(file, part := place.with_suffix(".part"))
            os.replace(part, place)
    except OSError as error:
        raise ResourceError(f"The checkpoint cannot be stored: {error.strerror}.", "Free disk space.") from error
    return stem


def avatars() -> tuple[AvatarCard, ...]:
    """All avatars that come with the program, by name.

    Raises
    ------
    InputError
        An avatar's file is not right; the message names the file and the field.
    """
    return tuple(_avatar_card(spec) for spec in list_avatars())


def avatar(name: str) -> AvatarCard | None:
    """The avatar that a name means over the network: one that comes with the program, or ``random-N``.

    Raises
    ------
    InputError
        An avatar's file is not right; the message names the file and the field.
    """
    if seed_of(name) is not None:
        return _avatar_card(load_avatar(name))
    return next((card for card in avatars() if card.name == name), None)


def _avatar_card(spec: AvatarSpec) -> AvatarCard:
    return AvatarCard(spec.name, spec.title or spec.name.capitalize(), spec.description)
