"""The "Advanced" part of a form, made from the settings: range, step, default and help are written there alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gradio as gr

from core.presets import load_preset, preset_names
from core.settings import GROUPS, Settings
from core.settings_form import FormField, form_fields
from interfaces.settings_from import kind_of

#: Numbers with more positions than this are typed, not slid.
MOST_STEPS = 2000

CUSTOM = "custom"


class Advanced:
    """The fields of one kind of run that the page makes by itself.

    Parameters
    ----------
    settings:
        What the fields are made from. Files are left out: they are uploaded where there is a place for them.
    elsewhere:
        Fields that have a place of their own on the page.
    kept:
        Fields that no preset touches: they belong to the clip or to chance.
    lists:
        Fields whose text is names separated by commas, with the labels of the names: several to be ticked. The page
        puts them where it wants, with :meth:`make_list`.
    prefix:
        Begins the name of each widget on the page.
    titles:
        Headings that differ from :data:`core.settings.GROUPS`.
    """

    def __init__(
        self,
        settings: type[Settings],
        *,
        elsewhere: Collection[str],
        kept: Collection[str],
        lists: Mapping[str, Mapping[str, str]] | None = None,
        prefix: str = "us-field",
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self.settings, self.kept, self.lists = settings, kept, lists or {}
        self._kind = kind_of(settings)
        self._prefix = prefix
        self._titles = {**GROUPS, **(titles or {})}
        fields = [
            field
            for field in form_fields(settings)
            # One of a single choice is none to ask for.
            if field.name not in elsewhere and field.kind != "file" and len(field.choices) != 1
        ]
        order = list(GROUPS)
        self.fields: tuple[FormField, ...] = tuple(sorted(fields, key=lambda field: order.index(field.group)))
        """By heading."""

    def touched(self) -> frozenset[str]:
        """Names of the fields that presets fill in."""
        return frozenset(field.name for field in self.fields) - frozenset(self.kept)

    # -- widgets ---------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, gr.components.Component]:
        """The widgets, under their headings, but for lists. To be called inside the accordion."""
        widgets: dict[str, gr.components.Component] = {}
        for group, title in self._titles.items():
            members = [field for field in self.fields if field.group == group and field.name not in self.lists]
            if not members:
                continue
            gr.HTML(f'<h3 class="us-group">{title}</h3>', apply_default_css=False)
            with gr.Column(elem_classes="us-fields"):
                for field in members:
                    widgets[field.name] = self._widget(field)
        return widgets

    def make_list(self, name: str, label: str, preset: str) -> gr.CheckboxGroup:
        """The widget of a list, filled as a preset has it."""
        field = next(field for field in self.fields if field.name == name)
        value = self.to_widget(field, load_preset(preset, self._kind).get(name, field.default))
        choices = [(shown, choice) for choice, shown in self.lists[name].items()]
        return gr.CheckboxGroup(choices, value=value, label=label, elem_id=self._id(name), elem_classes="us-list")

    def _id(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _widget(self, field: FormField) -> gr.components.Component:
        common: dict[str, Any] = {
            "label": field.label,
            "info": field.help,
            "elem_id": self._id(field.name),
            "elem_classes": f"us-field {field.kind}",
        }
        value = self.to_widget(field, field.default)
        if field.kind == "switch":
            return gr.Checkbox(value, **common)
        if field.kind == "choice":
            return gr.Dropdown(
                [(str(choice), choice) for choice in field.choices], value=value, filterable=False, **common
            )
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

    # -- values ----------------------------------------------------------------------------------------------------

    def to_widget(self, field: FormField, value: Any) -> Any:
        """A setting's value as its widget shows it."""
        if field.name in self.lists:
            return [name for name in str(value).split(",") if name in self.lists[field.name]]
        if field.kind == "point":
            return "" if value is None else ",".join(f"{part:g}" for part in value)
        if field.kind in ("text", "file") or field.optional:
            return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        return value

    def to_setting(self, field: FormField, value: Any) -> Any:
        """What a widget holds as the setting's value; the settings do the checking."""
        if field.name in self.lists:
            # In the order in which they are offered, not in that of the clicks.
            return ",".join(name for name in self.lists[field.name] if name in (value or ()))
        if value in ("", None):
            return None if field.optional else field.default
        return value

    def preset_values(self, preset: str) -> dict[str, Any]:
        """Every field's value, as widgets show it, under a preset; without those that no preset touches."""
        chosen = load_preset(preset, self._kind)
        return {
            field.name: self.to_widget(field, chosen.get(field.name, field.default))
            for field in self.fields
            if field.name not in self.kept
        }

    def matching_preset(self, values: Mapping[str, Any], unread: Collection[str] = ()) -> str:
        """The preset that gives these widgets' values, or ``custom``. What is in ``unread`` makes no difference."""
        for preset in preset_names():
            wanted = self.preset_values(preset)
            if all(_same(values[name], value) for name, value in wanted.items() if name not in unread):
                return preset
        return CUSTOM

    def under_preset(self, settings: Settings, preset: str) -> dict[str, Any]:
        """Values of the settings as they would be after a click on a preset."""
        touched = self.touched()
        kept = {name: value for name, value in settings.model_dump().items() if name not in touched}
        return {**kept, **load_preset(preset, self._kind)}


class SettingsForm:
    """Widgets by the name of the setting that each one holds."""

    def __init__(self, made: Advanced) -> None:
        self.made = made
        self.widgets: dict[str, Any] = {}
        self.advanced: dict[str, gr.components.Component] = {}
        """Those of them that presets and the accordion fill in."""

    def names(self) -> list[str]:
        """Settings in the order of :meth:`inputs`."""
        return list(self.widgets)

    def inputs(self) -> list[gr.components.Component]:
        """All widgets, in one fixed order."""
        return list(self.widgets.values())

    def given(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values of :meth:`inputs` by name."""
        return dict(zip(self.names(), values, strict=True))

    def take_advanced(self, widgets: Mapping[str, gr.components.Component], preset: str) -> None:
        """Add widgets that a preset fills in, filled."""
        self.advanced.update(widgets)
        self.widgets.update(widgets)
        for name, value in self.made.preset_values(preset).items():
            if name in widgets:
                widgets[name].value = value

    def settings(self, values: Sequence[Any]) -> Any:
        """Settings from the values of :meth:`inputs`.

        Raises
        ------
        InputError
            A value is not allowed.
        """
        raise NotImplementedError

    def preset(self, values: Sequence[Any]) -> str:
        """The preset that the form's values amount to, or ``custom``."""
        raise NotImplementedError

    def fill(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Widget values for a run's settings; names that this machine does not know are left out. Files are the caller's
        to bring."""
        return {
            field.name: self.made.to_widget(field, settings.get(field.name, field.default))
            for field in self.made.fields
        }


def is_slid(field: FormField) -> bool:
    """Whether a number has ends, and few enough positions between them."""
    if field.minimum is None or field.maximum is None or not field.step:
        return False
    return (field.maximum - field.minimum) / field.step <= MOST_STEPS


def _same(first: Any, second: Any) -> bool:
    # Sliders give 4.0 for 4 and 0.30000000000000004 for 0.3.
    if isinstance(first, float) or isinstance(second, float):
        return first is not None and second is not None and abs(first - second) < 1e-6
    return bool(first == second)
