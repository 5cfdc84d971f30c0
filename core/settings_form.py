"""Settings as a form: what a widget, a schema or a help text needs to know about each field.

Everything is read from the settings classes, so a range, a default or an explanation is written once.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from core.settings import Settings

FieldKind = Literal["switch", "choice", "integer", "number", "text", "file", "point"]


@dataclass(frozen=True)
class FormField:
    """One field of a form."""

    name: str
    """The setting's name."""
    label: str
    """Its name for people."""
    help: str
    """What it does, in one sentence."""
    group: str
    """Key of :data:`core.settings.GROUPS`; empty where the class has no groups."""
    kind: FieldKind
    """What is entered: on or off, one of some, a whole number, a number, text, a file, a point x,y."""
    default: Any
    """Its value where nobody gives one."""
    minimum: float | None
    """Smallest allowed value, for numbers that have one."""
    maximum: float | None
    """Largest allowed value, for numbers that have one."""
    step: float | None
    """Distance between two positions of a slider, for numbers."""
    choices: tuple[Any, ...]
    """What can be chosen, for ``choice``."""
    optional: bool
    """Whether it may be left empty (``None``)."""


def form_fields(kind: type[Settings]) -> tuple[FormField, ...]:
    """The fields of a settings class, in the order in which they are written."""
    return tuple(_form_field(name, info) for name, info in kind.model_fields.items())


def _form_field(name: str, info: FieldInfo) -> FormField:
    annotation, optional = _without_none(info.annotation)
    entered = _kind(annotation)
    limits = {
        key: getattr(rule, key) for rule in info.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)
    }
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    step: Any = extra.get("step")
    if step is None and entered in ("integer", "number"):
        step = 1 if entered == "integer" else 0.05
    return FormField(
        name=name,
        label=str(extra.get("label") or name.replace("_", " ").capitalize()),
        help=info.description or "",
        group=str(extra.get("group", "")),
        kind=entered,
        default=info.default,
        minimum=limits.get("ge", limits.get("gt")),
        maximum=limits.get("le", limits.get("lt")),
        step=step,
        choices=get_args(annotation) if entered == "choice" else (),
        optional=optional,
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """``X | None`` as ``X`` and whether there was a ``None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return annotation, False


def _kind(annotation: Any) -> FieldKind:
    kinds: dict[Any, FieldKind] = {bool: "switch", int: "integer", float: "number", str: "text", Path: "file"}
    if annotation in kinds:
        return kinds[annotation]
    if get_origin(annotation) is Literal:
        return "choice"
    if get_origin(annotation) is tuple:
        return "point"
    raise TypeError(f"no form field for a setting of type {annotation!r}")
