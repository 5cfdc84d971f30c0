"""``python app.py`` without a command: the web app."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from core.settings import ServerSettings, make_settings

#: Environment variables that hold a setting of the server are called by its name, in capitals, after this.
PREFIX = "UNDERSTUDY_"
#: Keeps the options apart from those of the commands, some of which have the same name.
_DEST = "server_"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the server's options, one for each of its settings."""
    group = parser.add_argument_group(
        "web app", f"without a command; each can also be set in the environment, e.g. {PREFIX}AUTH"
    )
    for name, field in ServerSettings.model_fields.items():
        default = "" if field.default is None else f" (default {field.default})"
        text = f"{field.description}{default}".replace("%", "%%")
        metavar = {"output": "DIR", "auth": "USER:PASSWORD"}.get(name, name.rpartition("_")[2].upper())
        group.add_argument(
            "--" + name.replace("_", "-"), dest=_DEST + name, default=argparse.SUPPRESS, metavar=metavar, help=text
        )
    parser.set_defaults(command=run)


def server_settings(args: argparse.Namespace, environment: Mapping[str, str]) -> ServerSettings:
    """Settings from the environment, and on top those from the command line.

    Raises
    ------
    SettingError
        A value is not allowed.
    """
    values: dict[str, Any] = {}
    for name in ServerSettings.model_fields:
        if environment.get(PREFIX + name.upper()):
            values[name] = environment[PREFIX + name.upper()]
        if hasattr(args, _DEST + name):
            values[name] = getattr(args, _DEST + name)
    return make_settings(ServerSettings, values)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    settings = server_settings(args, os.environ)
    from interfaces.server import serve

    serve(settings)
    return 0
