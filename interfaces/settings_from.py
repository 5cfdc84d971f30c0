"""Settings as users give them: a preset, and on top what they changed."""

from __future__ import annotations

import json
from typing import Any

from core.errors import InputError, SettingError
from core.presets import load_preset
from core.settings import ReplaceSettings, make_settings

#: What applies where no preset is named.
DEFAULT_PRESET = "balanced"


def settings_from(preset: str, changes: dict[str, Any]) -> ReplaceSettings:
    """A preset's settings with changes on top.

    Raises
    ------
    SettingError
        There is no such preset (field ``preset``), a change has no setting's name, or its value is not allowed.
    """
    try:
        values = load_preset(preset, "replace")
    except InputError as error:
        raise SettingError("preset", error.message, error.hint) from error
    return make_settings(ReplaceSettings, {**values, **changes})


def changes_from_json(text: str) -> dict[str, Any]:
    """The changes in a JSON object; empty text is no change.

    Raises
    ------
    SettingError
        It is no JSON object (field ``settings``), or names a file of the server (field ``reference``).
    """
    hint = 'Write it like {"avatar": "maya", "seed": 3}.'
    try:
        changes = json.loads(text) if text.strip() else {}
    except (json.JSONDecodeError, RecursionError) as error:
        raise SettingError("settings", f"The settings are not valid JSON: {error}.", hint) from None
    if not isinstance(changes, dict):
        raise SettingError("settings", "The settings are not a JSON object.", hint)
    if changes.get("reference"):
        raise SettingError(
            "reference", "A reference picture cannot be named by a path.", "Upload it in the file field reference."
        )
    return changes
