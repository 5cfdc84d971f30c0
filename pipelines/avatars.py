"""Avatars for the interfaces: list them, draw them, make new ones."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import yaml

from core.errors import InputError, ResourceError
from models.body.anny_body import AnnyBody, cache_folder
from models.body.wardrobe import (
    AVATAR_FOLDER,
    AvatarSpec,
    code_digest,
    garment_names,
    list_avatars,
    load_avatar,
    random_avatar,
    seed_of,
)
from pipelines.avatars_studio import contact_sheet, thumbnail
from pipelines.pictures import jpeg, png

#: What new avatars' files and pictures are called.
FILE_SUFFIXES, PICTURE_SUFFIXES = (".yaml", ".yml"), (".jpg", ".jpeg")


def cards() -> tuple[AvatarSpec, ...]:
    """All avatars that come with the program, by name."""
    return list_avatars()


def folder() -> Path:
    """Where the files of the avatars that come with the program lie."""
    return AVATAR_FOLDER


def garments() -> tuple[str, ...]:
    """Names of the garments, hair, brows and lashes from files that an avatar's file may name, sorted.

    Raises
    ------
    InputError
        ``UNDERSTUDY_WARDROBE`` names something that is no folder.
    """
    return garment_names()


#: Drawing takes both cores and some seconds: one at a time.
_drawing = threading.Lock()


def picture(name: str) -> Path | None:
    """The small picture of an avatar that a name means, a PNG; ``None`` where there is none of that name.

    Those of random people are drawn when they are first asked for, which takes some seconds, and kept in the cache folder.

    Raises
    ------
    ModelUnavailable
        The body model is missing.
    ResourceError
        The cache folder cannot be written.
    """
    if seed_of(name) is None:
        return next((folder() / f"{card.name}.png" for card in cards() if card.name == name), None)
    file = cache_folder() / "thumbnails" / f"{name}-{code_digest()}.png"
    with _drawing:
        if not file.is_file():
            data = png(thumbnail(load_avatar(name), AnnyBody()))
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
                with os.fdopen(handle, "wb") as stream:
                    stream.write(data)
                os.replace(part, file)
            except OSError as error:
                raise ResourceError(
                    f"{file.parent} cannot be written: {error.strerror}.",
                    "Set UNDERSTUDY_CACHE to a folder that can be.",
                ) from error
    return file


def show(name_or_path: str, output: Path | None = None, force: bool = False) -> Path:
    """Draw an avatar from three sides and close by, as a JPEG. Returns its path.

    Parameters
    ----------
    name_or_path:
        A name from the list, ``random-N``, or the path of a YAML file.
    output:
        Where to; ``NAME.jpg`` in the current folder where ``None``.
    force:
        Whether a file that is there may be replaced.

    Raises
    ------
    InputError
        There is no such avatar, its file is not right, or the picture's path cannot be used.
    ModelUnavailable
        The body model or a garment from a file is missing.
    ResourceError
        The picture cannot be written.
    """
    spec = load_avatar(name_or_path)
    target = _target(output or Path(f"{spec.name}.jpg"), PICTURE_SUFFIXES, force)
    picture: np.ndarray = contact_sheet(spec, AnnyBody())
    _write(target, jpeg(picture))
    return target


def new(output: Path, seed: int, force: bool = False) -> Path:
    """Write the file of a random person. The same seed gives the same person. Returns the path.

    Parameters
    ----------
    output:
        Path of the YAML file; its stem is the avatar's name.
    seed:
        0 or more.
    force:
        Whether a file that is there may be replaced.

    Raises
    ------
    InputError
        The path cannot be used, its stem is no name, or the seed is negative.
    ResourceError
        The file cannot be written.
    """
    if seed < 0:
        raise InputError(f"The seed {seed} is negative.", "Give a whole number from 0 on.")
    target = _target(output, FILE_SUFFIXES, force)
    if not is_name(target.stem):
        raise InputError(
            f"{target.stem!r} cannot be an avatar's name.", "Use small letters, digits, - and _; begin with a letter."
        )
    fields = random_avatar(seed, target.stem)
    AvatarSpec.model_validate(fields)
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    _write(target, f"# A random person, seed {seed}. Every field may be changed: see docs/avatars.md.\n{text}".encode())
    return target


def is_name(text: str) -> bool:
    """Whether an avatar may be called so."""
    return (
        text.isascii()
        and text == text.lower()
        and text[:1].isalnum()
        and text.replace("-", "").replace("_", "").isalnum()
    )


def _target(path: Path, suffixes: tuple[str, ...], force: bool) -> Path:
    path = path.expanduser()
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} does not end in {suffixes[0]}.", f"Give a path that ends in {suffixes[0]}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist.", "Make it first, or give another path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder.", "Give another path.")
    if path.exists() and not force:
        raise InputError(f"{path} is there already.", "Give another path, or add --force to replace it.")
    return path


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written: {error.strerror}.", "Choose a folder that can be written."
        ) from error
