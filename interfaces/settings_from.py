"""Settings as users give them: a preset, and on top what they changed."""

from __future__ import annotations

import json
from typing import Any, Literal, TypeVar

from core.errors import InputError, SettingError
from core.presets import load_preset
from core.settings import MeshSettings, ReplaceSettings, Settings, make_settings
from core.settings_form import form_fields

#: What applies where no preset is named.
DEFAULT_PRESET = "balanced"

#: Kind of a run, as in ``run.json``.
Kind = Literal["replace", "mesh"]
#: The settings of each kind of run.
SETTINGS: dict[Kind, type[Settings]] = {"replace": ReplaceSettings, "mesh": MeshSettings}
#: Settings that are a file of the user's, and the form field in which it is sent.
UPLOADED = {"reference": "reference", "calibration": "calibration"}

S = TypeVar("S", ReplaceSettings, MeshSettings)


def kind_of(settings: type[Settings]) -> Kind:
    """The kind of run that a class of settings is for."""
    return next(kind for kind, known in SETTINGS.items() if known is settings)


def file_settings(settings: type[Settings]) -> tuple[str, ...]:
    """Names of the settings that are files."""
    return tuple(field.name for field in form_fields(settings) if field.kind == "file")


def settings_from(preset: str, changes: dict[str, Any], settings: type[S]) -> S:
    """A preset's settings with changes on top.

    Raises
    ------
    SettingError
        There is no such preset (field ``preset``), a change has no setting's name, or its value is not allowed.
    """
    try:
        values = load_preset(preset, kind_of(settings))
    except InputError as error:
        raise SettingError("preset", error.message, error.hint) from error
    result: S = make_settings(settings, {**values, **changes})
    return result


def changes_from_json(text: str, settings: type[Settings]) -> dict[str, Any]:
    """The changes in a JSON object; empty text is no change.

    Raises
    ------
    SettingError
        It is no JSON object (field ``settings``), or names a file of the server (field: that setting).
    """
    example = '{"avatar": "maya", "seed": 3}' if settings is ReplaceSettings else '{"fit": "best", "quality": 14}'
    hint = f"Write it like {example}."
    try:
        changes = json.loads(text) if text.strip() else {}
    except (json.JSONDecodeError, RecursionError) as error:
        raise SettingError("settings", f"The settings are not valid JSON: {error}.", hint) from None
    if not isinstance(changes, dict):
        raise SettingError("settings", "The settings are not a JSON object.", hint)
    for name in file_settings(settings):
        if changes.get(name):
            where = f"Upload it in the file field {UPLOADED[name]}." if name in UPLOADED else "Use the command line."
            raise SettingError(name, f"The setting {name} cannot be a path on the server.", where)
    return changes
