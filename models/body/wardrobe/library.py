"""The avatars' files: finding, reading and checking them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from core.errors import InputError
from models.body.wardrobe.makehuman.garment import read_garment
from models.body.wardrobe.random_people import random_avatar, seed_of
from models.body.wardrobe.spec import AvatarSpec, FileGarment, FileHair

#: Where the avatars that come with the program lie.
AVATAR_FOLDER = Path(__file__).resolve().parents[3] / "assets" / "avatars"


def list_avatars() -> tuple[AvatarSpec, ...]:
    """All avatars that come with the program, by name."""
    return tuple(_read(path) for path in sorted(AVATAR_FOLDER.glob("*.yaml")))


def load_avatar(name_or_path: str | Path) -> AvatarSpec:
    """One avatar by its name, by the path of a YAML file, or a random person by the seed: ``random-7``.

    Raises
    ------
    core.errors.InputError
        There is no such avatar (the message names those that there are), or its file is not right (the message names
        the file and the field), or the file of a garment is not right (the message names it and the line).
    core.errors.ModelUnavailable
        A garment is in none of the folders, and the pack that may hold it is not there.
    """
    spec = _find(name_or_path)
    # Before a run begins, not in the middle of it.
    for part in spec.files:
        read_garment(part)
    return spec


def _find(name_or_path: str | Path) -> AvatarSpec:
    text = str(name_or_path)
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise InputError(f"The avatar file {text} does not exist.", "Check the path.")
        return _read(path)
    seed = seed_of(text)
    if seed is not None:
        return AvatarSpec.model_validate(random_avatar(seed, text))
    path = AVATAR_FOLDER / f"{text}.yaml"
    if "/" in text or "\\" in text or not path.is_file():
        names = ", ".join(sorted(file.stem for file in AVATAR_FOLDER.glob("*.yaml")))
        raise InputError(
            f"There is no avatar named {text!r}.",
            f"Choose one of: {names}; random-7 or another number for somebody random; or give the path of a YAML file.",
        )
    return _read(path)


def _read(path: Path) -> AvatarSpec:
    try:
        return _with_paths(_parse(path, path.read_text(encoding="utf-8")), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The avatar file {path} cannot be read: {error}.", "Check the path and its permissions."
        ) from error


def _with_paths(spec: AvatarSpec, folder: Path) -> AvatarSpec:
    """The avatar with the paths of its garments' files, which are relative to its own file, made absolute."""
    if not spec.files:
        return spec

    def absolute(part: Any) -> Any:
        if not isinstance(part, FileGarment | FileHair) or not part.file.lower().endswith(".mhclo"):
            return part
        return part.model_copy(update={"file": str((folder / Path(part.file).expanduser()).resolve())})

    changed = {name: absolute(getattr(spec, name)) for name in ("hair", "brows", "lashes")}
    return spec.model_copy(update={**changed, "outfit": tuple(absolute(garment) for garment in spec.outfit)})


@cache
def _parse(path: Path, text: str) -> AvatarSpec:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(
            f"The avatar file {path.name} is not valid YAML{where}.", "Compare it with the ones in assets/avatars."
        ) from error
    if not isinstance(data, dict):
        raise InputError(f"The avatar file {path.name} holds no fields.", "Compare it with the ones in assets/avatars.")
    try:
        return AvatarSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise InputError(
            f"The avatar file {path.name} is not right at {field}: {first['msg']}.",
            "Compare it with the ones in assets/avatars.",
        ) from error
