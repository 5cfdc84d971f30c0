"""Settings on the command line: ``--preset``, ``--set``, and the settings that have an option of their own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from core.presets import preset_names
from core.settings import Settings, parse_assignments
from interfaces.settings_from import DEFAULT_PRESET, S, file_settings
from interfaces.settings_from import settings_from as preset_with_changes


def add_settings_options(parser: argparse.ArgumentParser, kind: type[Settings], options: Mapping[str, str]) -> None:
    """Add the options; all settings are listed below the help.

    Parameters
    ----------
    parser:
        Where to.
    kind:
        The class of the settings.
    options:
        Those with an option of their own: option, setting.
    """
    parser.epilog = _settings_help(kind)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--preset", default=DEFAULT_PRESET, help=f"{', '.join(preset_names())} (default {DEFAULT_PRESET})"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="assignments",
        help="change one setting; repeatable",
    )
    for option, name in options.items():
        text = (kind.model_fields[name].description or "").replace("%", "%%")
        parser.add_argument(f"--{option}", dest=name, help=text)


def _settings_help(kind: type[Settings]) -> str:
    lines = ["settings for --set (default, meaning):"]
    for name, field in kind.model_fields.items():
        default = "" if field.default is None else field.default
        lines.append(f"  {name}={default}\n      {field.description}")
    return "\n".join(lines)


def settings_from(args: argparse.Namespace, kind: type[S], options: Mapping[str, str]) -> S:
    """Preset, then ``--set``, then the options of their own. Files are named from the root: a run may be resumed elsewhere.

    Raises
    ------
    SettingError
        A name or a value that is not allowed.
    """
    changes = parse_assignments(args.assignments)
    changes.update({name: getattr(args, name) for name in options.values() if getattr(args, name) is not None})
    for name in file_settings(kind):
        if isinstance(changes.get(name), str) and changes[name]:
            changes[name] = Path(changes[name]).resolve()
    return preset_with_changes(args.preset, changes, kind)
