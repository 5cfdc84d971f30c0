"""EasyMoCap's JSON files: one file a frame, a list of people in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError


def numbered_files(folder: Path) -> dict[int, Path]:
    """The folder's ``000000.json`` files by number."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Give the folder that EasyMoCap reads or writes.")
    return {int(file.stem): file for file in sorted(folder.glob("*.json")) if file.stem.isdigit()}


def people_in(file: Path) -> list[dict[str, Any]]:
    """The people of one JSON file."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON: {error}.", "Write it again with EasyMoCap.") from error
    people = content.get("annots", []) if isinstance(content, dict) else content
    if not isinstance(people, list) or not all(isinstance(one, dict) for one in people):
        raise InputError(f"{file} does not hold a list of people.", "Give a file of EasyMoCap's.")
    return people


def numbers_in(file: Path, entry: dict[str, Any], key: str, *sizes: int) -> np.ndarray:
    """(N, columns) or (columns,) numbers of one key; ``sizes`` are the allowed numbers of columns, any if none."""
    if key not in entry:
        raise InputError(f"{file}: {key} is missing.", "Write it again with EasyMoCap.")
    try:
        array = np.asarray(entry[key], np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: {key} does not hold numbers.", "Write it again with EasyMoCap.") from error
    if array.ndim == 0 or (sizes and array.shape[-1] not in sizes) or not np.isfinite(array).all():
        raise InputError(
            f"{file}: {key} has shape {array.shape} or numbers that are not finite; the last axis should be "
            f"{' or '.join(map(str, sizes)) or 'a row'}.",
            "Write it again with EasyMoCap.",
        )
    return array


def identity_of(file: Path, entry: dict[str, Any]) -> int:
    for key in ("id", "personID"):
        if isinstance(entry.get(key), int):
            return int(entry[key])
    raise InputError(f"{file}: a person has neither id nor personID.", "Write it again with EasyMoCap.")
