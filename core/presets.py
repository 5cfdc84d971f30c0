"""Presets: named sets of settings in ``presets/*.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from core.errors import InputError

PRESETS_DIR = Path(__file__).resolve().parent.parent / "presets"


def preset_names(folder: Path = PRESETS_DIR) -> list[str]:
    """Names of the presets, from the cheapest to the dearest."""
    order = {"fast": 0, "balanced": 1, "high": 2}
    return sorted((p.stem for p in folder.glob("*.yaml")), key=lambda name: (order.get(name, 9), name))


def load_preset(name: str, pipeline: str, folder: Path = PRESETS_DIR) -> dict[str, Any]:
    """The settings that a preset gives one pipeline (e.g. ``replace``), as plain values.

    Raises
    ------
    InputError
        There is no such preset, or its file is broken.
    """
    names = preset_names(folder)
    if name not in names:
        raise InputError(f"There is no preset {name!r}.", f"Presets: {', '.join(names)}.")
    file = folder / f"{name}.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"Preset file {file.name} is not valid YAML: {reason}.", "Mend or remove it.") from error
    values = content.get(pipeline, {}) if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise InputError(f"Preset file {file.name} has no settings for {pipeline!r}.", "Mend or remove it.")
    return values
