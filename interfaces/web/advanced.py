"""The "Advanced" part of the form, made from the settings: range, step, default and help are written there alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from core.presets import load_preset, preset_names
from core.settings import GROUPS, ReplaceSettings
from core.settings_form import FormField, form_fields
from pipelines.catalogue import unread_settings

#: Fields that have a place of their own on the page.
ELSEWHERE = ("engine", "avatar", "reference", "checkpoint", "prompt", "negative_prompt")

#: Fields that no preset touches: they belong to the clip or to chance.
KEPT = ("seed", "person")

#: Numbers with more positions than this are typed, not slid.
MOST_STEPS = 2000

CUSTOM = "custom"


def advanced_fields() -> tuple[FormField, ...]:
    """Fields of the accordion, by heading. One of a single choice is none to ask for."""
    fields = [
        field for field in form_fields(ReplaceSettings) if field.name not in ELSEWHERE and len(field.choices) != 1
    ]
    order = list(GROUPS)
    return tuple(sorted(fields, key=lambda field: order.index(field.group)))


def build_fields() -> dict[str, gr.components.Component]:
    """The widgets, under their headings. To be called inside the accordion."""
    widgets: dict[str, gr.components.Component] = {}
    fields = advanced_fields()
    for group, title in GROUPS.items():
        members = [field for field in fields if field.group == group]
        if not members:
            continue
        gr.HTML(f'<h3 class="us-group">{title}</h3>', apply_default_css=False)
        with gr.Column(elem_classes="us-fields"):
            for field in members:
                widgets[field.name] = make_widget(field)
    return widgets


def make_widget(field: FormField) -> gr.components.Component:
    """The widget for a field."""
    common: dict[str, Any] = {
        "label": field.label,
        "info": field.help,
        "elem_id": f"us-field-{field.name}",
        "elem_classes": f"us-field {field.kind}",
    }
    value = to_widget(field, field.default)
    if field.kind == "switch":
        return gr.Checkbox(value, **common)
    if field.kind == "choice":
        return gr.Dropdown([(str(choice), choice) for choice in field.choices], value=value, filterable=False, **common)
    # A number that may be left out is typed: Gradio's number widgets show nothing as 0.
    if field.kind in ("integer", "number") and not field.optional:
        precision = 0 if field.kind == "integer" else None
        if is_slid(field):
            assert field.minimum is not None and field.maximum is not None
            return gr.Slider(
                field.minimum,
                field.maximum,
                value=value,
                step=field.step,
                precision=precision,
                buttons=[],
                **common,
            )
        # The settings check the range and say what is wrong in words.
        return gr.Number(value, precision=precision, **common)
    return gr.Textbox(value, placeholder="automatic" if field.optional else "", max_lines=1, **common)


def is_slid(field: FormField) -> bool:
    """Whether a number has ends, and few enough positions between them."""
    if field.minimum is None or field.maximum is None or not field.step:
        return False
    return (field.maximum - field.minimum) / field.step <= MOST_STEPS


def to_widget(field: FormField, value: Any) -> Any:
    """A setting's value as its widget shows it."""
    if field.kind == "point":
        return "" if value is None else ",".join(f"{part:g}" for part in value)
    if field.kind in ("text", "file") or field.optional:
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return value


def to_setting(field: FormField, value: Any) -> Any:
    """What a widget holds as the setting's value; the settings do the checking."""
    if value in ("", None):
        return None if field.optional else field.default
    return value


def preset_values(preset: str) -> dict[str, Any]:
    """Every advanced field's value, as widgets show it, under a preset; without those that no preset touches."""
    chosen = load_preset(preset, "replace")
    return {
        field.name: to_widget(field, chosen.get(field.name, field.default))
        for field in advanced_fields()
        if field.name not in KEPT
    }


def matching_preset(values: Mapping[str, Any]) -> str:
    """The preset that gives these widgets' values, or ``custom``. What the engine does not read makes no difference.

    Raises
    ------
    InputError
        There is no such engine.
    """
    unread = unread_settings(values["engine"])
    for preset in preset_names():
        if all(_same(values[name], value) for name, value in preset_values(preset).items() if name not in unread):
            return preset
    return CUSTOM


def _same(first: Any, second: Any) -> bool:
    # Sliders give 4.0 for 4 and 0.30000000000000004 for 0.3.
    if isinstance(first, float) or isinstance(second, float):
        return first is not None and second is not None and abs(first - second) < 1e-6
    return bool(first == second)
