"""The avatars' files: finding, reading and checking them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from core.errors import InputError
from models.body.wardrobe.spec import AvatarSpec

#: Where the avatars that come with the program lie.
AVATAR_FOLDER = Path(__file__).resolve().parents[3] / "assets" / "avatars"


def list_avatars() -> tuple[AvatarSpec, ...]:
    """All avatars that come with the program, by name."""
    return tuple(_read(path) for path in sorted(AVATAR_FOLDER.glob("*.yaml")))


def load_avatar(name_or_path: str | Path) -> AvatarSpec:
    """One avatar by its name, or by the path of a YAML file.

    Raises
    ------
    core.errors.InputError
        There is no such avatar (the message names those that there are), or its file is not right (the message names
        the file and the field).
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise InputError(f"The avatar file {text} does not exist.", "Check the path.")
        return _read(path)
    path = AVATAR_FOLDER / f"{text}.yaml"
    if "/" in text or "\\" in text or not path.is_file():
        names = ", ".join(sorted(file.stem for file in AVATAR_FOLDER.glob("*.yaml")))
        raise InputError(
            f"There is no avatar named {text!r}.", f"Choose one of: {names}; or give the path of a YAML file."
        )
    return _read(path)


def _read(path: Path) -> AvatarSpec:
    try:
        return _parse(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The avatar file {path} cannot be read: {error}.", "Check the path and its permissions."
        ) from error


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
