"""Dressing with a memory: a character that was made once is read back from the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import asdict, fields
from functools import cache as remembered
from pathlib import Path

import numpy as np

from models.body.base import RestBody
from models.body.character import Character, Material, Pattern, Surface, Texture
from models.body.wardrobe.makehuman.garment import read_garment
from models.body.wardrobe.spec import AvatarSpec

_CODE = Path(__file__).parent
#: What a character's arrays are made for, besides.
_CODE_BESIDE = (_CODE.parent / "drape.py", _CODE.parent / "character.py")
#: Fields of a character that are no arrays.
_HEADER = ("name", "surfaces", "textures", "warnings")


def dress(spec: AvatarSpec, rest: RestBody, cache: Path | None = None) -> Character:
    """The avatar ``spec`` on the body ``rest``, which must have been made from ``spec.phenotype``.

    Parameters
    ----------
    cache:
        Folder for finished characters, a file for each avatar and body; ``None`` makes the character anew.
    """
    from models.body.wardrobe.dressing import assemble

    if cache is None:
        return assemble(spec, rest)
    file = cache / f"character-{_key(spec, rest)}.npz"
    found = _read(file)
    if found is not None:
        return found
    character = assemble(spec, rest)
    _write(file, character)
    return character


@remembered
def code_digest() -> str:
    """Changes with the code that dresses: what was made by other code is not taken from a cache."""
    digest = hashlib.sha256()
    for source in (*sorted(_CODE.rglob("*.py")), *_CODE_BESIDE):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:20]


def _key(spec: AvatarSpec, rest: RestBody) -> str:
    """Changes with the avatar, the body, the garments' files, and the code that dresses."""
    digest = hashlib.sha256(spec.model_dump_json().encode())
    digest.update(np.ascontiguousarray(rest.vertices).tobytes())
    digest.update(np.ascontiguousarray(rest.bone_weights).tobytes())
    digest.update(code_digest().encode())
    for part in spec.files:
        for path in read_garment(part).paths:
            state = path.stat()
            digest.update(f"{path}|{state.st_size}|{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:20]


def _write(file: Path, character: Character) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f.name: getattr(character, f.name) for f in fields(character) if f.name not in _HEADER}
    textures = [
        {**asdict(t), "path": str(t.path), "opacity": None if t.opacity is None else str(t.opacity)}
        for t in character.textures
    ]
    header = {
        "name": character.name,
        "surfaces": [asdict(surface) for surface in character.surfaces],
        "textures": textures,
        "warnings": character.warnings,
    }
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as stream:
        np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    os.replace(temporary, file)


def _read(file: Path) -> Character | None:
    """A character from the cache; ``None`` where there is none or the file is damaged (it is then made anew)."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            arrays = {name: archive[name] for name in archive.files if name != "header"}
        table = tuple(
            Surface(**{**row, "material": Material(row["material"]), "pattern": Pattern(row["pattern"])})
            for row in header["surfaces"]
        )
        textures = tuple(
            Texture(Path(row["path"]), row["kind"], row["alpha"], Path(row["opacity"]) if row["opacity"] else None)
            for row in header["textures"]
        )
        return Character(
            name=header["name"], surfaces=table, textures=textures, warnings=tuple(header["warnings"]), **arrays
        )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
