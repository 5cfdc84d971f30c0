"""Dressing with a memory: a character that was made once is read back from the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from models.body.base import RestBody
from models.body.character import Character, Material, Pattern, Surface
from models.body.wardrobe.spec import AvatarSpec

_CODE = Path(__file__).parent


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


def _key(spec: AvatarSpec, rest: RestBody) -> str:
    """Changes with the avatar, the body, and the code that dresses."""
    digest = hashlib.sha256(spec.model_dump_json().encode())
    digest.update(np.ascontiguousarray(rest.vertices).tobytes())
    digest.update(np.ascontiguousarray(rest.bone_weights).tobytes())
    for source in sorted(_CODE.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:20]


def _write(file: Path, character: Character) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f.name: getattr(character, f.name) for f in fields(character) if f.name not in ("name", "surfaces")}
    header = {"name": character.name, "surfaces": [asdict(surface) for surface in character.surfaces]}
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
        return Character(name=header["name"], surfaces=table, **arrays)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
