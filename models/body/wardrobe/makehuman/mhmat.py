"""``.mhmat``: what a garment is made of. Only what a surface needs is read; shader programs are MakeHuman's own affair."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from models.body.wardrobe.makehuman.reading import POINTER_START, bad, beside, lines_of, number, read_text

_COLORS = {"diffuseColor": "diffuse", "specularColor": "specular", "emissiveColor": "emissive"}
_NUMBERS = {"shininess", "opacity", "translucency", "normalmapIntensity"}
_FLAGS = {"transparent", "backfaceCull", "alphaToCoverage", "shadeless"}
_TEXTURES = {
    "diffuseTexture": "diffuse",
    "transparencymapTexture": "opacity",
    "normalmapTexture": "normal",
}


@dataclass(frozen=True)
class MakeHumanMaterial:
    """The contents of a ``.mhmat``."""

    name: str = ""
    tags: tuple[str, ...] = ()
    colors: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """``diffuse``, ``specular``, ``emissive``: sRGB, 0..1."""
    numbers: dict[str, float] = field(default_factory=dict)
    """``shininess`` 0..1, ``opacity``, ``normalmapIntensity`` and the like."""
    flags: dict[str, bool] = field(default_factory=dict)
    """``transparent``, ``backfaceCull``, ``alphaToCoverage``."""
    textures: dict[str, Path] = field(default_factory=dict)
    """``diffuse``, ``normal``, ``opacity``: pictures that are there. Occlusion is traced, so its picture is not read."""
    warnings: tuple[str, ...] = ()
    """One for each picture that is named and is not there."""


def read_mhmat(path: Path) -> MakeHumanMaterial:
    """Read a material. Pictures that are missing, or are only pointers to large files, become warnings.

    Raises
    ------
    core.errors.InputError
        The file cannot be read or is not right; the message names the line.
    """
    name, tags, warnings = path.stem, [], []
    colors, numbers, flags, textures = {}, {}, {}, {}
    for line, (key, *words) in lines_of(read_text(path)):
        rest = " ".join(words)
        if key == "name":
            name = rest
        elif key == "tag":
            tags.append(rest)
        elif key in _COLORS:
            if len(words) != 3:
                raise bad(path, line, f"{key} needs three numbers, not {len(words)}")
            red, green, blue = (min(max(number(path, line, word, "share of a colour"), 0.0), 1.0) for word in words)
            colors[_COLORS[key]] = (red, green, blue)
        elif key in _NUMBERS:
            if not words:
                raise bad(path, line, f"{key} needs a number")
            numbers[key] = number(path, line, words[0], "number")
        elif key in _FLAGS:
            flags[key] = _flag(path, line, key, rest)
        elif key in _TEXTURES and rest:
            found = beside(path.parent, rest)
            complaint = _missing(path, rest, found)
            if complaint:
                warnings.append(complaint)
            elif found is not None:
                textures[_TEXTURES[key]] = found
    return MakeHumanMaterial(name, tuple(tags), colors, numbers, flags, textures, tuple(warnings))


def _flag(path: Path, line: int, key: str, text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "enabled", "on"):
        return True
    if text.lower() in ("false", "0", "no", "disabled", "off"):
        return False
    raise bad(path, line, f"{key} is True or False, not {text!r}")


def _missing(material: Path, name: str, found: Path | None) -> str:
    """Why a picture cannot be used; empty where it can."""
    if found is None:
        return f"The texture {name} of {material} is missing: its plain colour is drawn."
    try:
        with found.open("rb") as file:
            start = file.read(len(POINTER_START))
    except OSError as error:
        return f"The texture {found} cannot be read ({error.strerror}): its plain colour is drawn."
    if start == POINTER_START:
        return (
            f"The texture {found} is only a pointer to a large file: its plain colour is drawn. "
            "Fetch it with `git lfs pull`, or the whole pack with `python app.py weights pull wardrobe`."
        )
    return ""
