"""The Replace tab's inputs: made here, read as settings, and filled from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.settings import ReplaceSettings, make_settings
from interfaces.web.advanced import advanced_fields, build_fields, matching_preset, preset_values, to_setting, to_widget
from interfaces.web.parts import choice_cards, heading
from pipelines.catalogue import AvatarCard, EngineCard, avatars, engines

DEFAULT_PRESET = "balanced"


class Form:
    """The widgets, by the name of the setting that each one holds."""

    def __init__(self) -> None:
        self.widgets: dict[str, Any] = {}
        self.advanced: dict[str, gr.components.Component] = {}

    def names(self) -> list[str]:
        """Settings in the order of :meth:`inputs`."""
        return list(self.widgets)

    def inputs(self) -> list[gr.components.Component]:
        """All widgets, in one fixed order."""
        return list(self.widgets.values())

    # -- layout ----------------------------------------------------------------------------------------------------

    def build_part(self) -> None:
        """Step 2: who plays the part."""
        heading(2, "Who plays the part")
        cards = engines()
        first = _default_engine(cards)
        with gr.Column(elem_classes="us-engines"):
            self.widgets["engine"] = choice_cards(
                "Engine", [engine_card(card) for card in cards], first.name, elem_id="us-engine", look="pair"
            )
        people = avatars()
        self.widgets["avatar"] = choice_cards(
            "Avatar",
            [avatar_card(card) for card in people],
            ReplaceSettings().avatar,
            elem_id="us-avatar",
            look="gallery",
        )
        self.widgets["reference"] = gr.Image(
            label="Reference image",
            type="filepath",
            sources=["upload", "clipboard"],
            height=220,
            elem_id="us-reference",
        )
        self.widgets["checkpoint"] = gr.Dropdown(
            list(first.checkpoints),
            label="Checkpoint",
            info="Weights that the engine draws with.",
            elem_id="us-checkpoint",
        )
        self.widgets["prompt"] = gr.Textbox(
            "", label="Prompt", info="Describes the new person.", lines=2, elem_id="us-prompt"
        )
        self.widgets["negative_prompt"] = gr.Textbox(
            "", label="Negative prompt", info="What to avoid.", elem_id="us-negative-prompt"
        )
        for name, update in taken_by(first).items():
            self.widgets[name].visible = update["visible"]

    def build_advanced(self) -> None:
        """Every other setting. To be called inside the accordion."""
        self.advanced = build_fields()
        for name, value in preset_values(DEFAULT_PRESET).items():
            self.advanced[name].value = value
        self.widgets.update(self.advanced)

    # -- reading and filling ---------------------------------------------------------------------------------------

    def settings(self, values: Sequence[Any]) -> ReplaceSettings:
        """Settings from the values of :meth:`inputs`.

        Raises
        ------
        SettingError
            A value is not allowed.
        """
        given = dict(zip(self.names(), values, strict=True))
        chosen: dict[str, Any] = {}
        for field in advanced_fields():
            chosen[field.name] = to_setting(field, given[field.name])
        engine = engine_named(given["engine"])
        chosen["engine"] = given["engine"]
        for name in engine.takes if engine else ():
            if given[name] not in ("", None):
                chosen[name] = given[name]
        result: ReplaceSettings = make_settings(ReplaceSettings, chosen)
        return result

    def preset(self, values: Sequence[Any]) -> str:
        """The preset that the form's values amount to."""
        return matching_preset(dict(zip(self.names(), values, strict=True)))

    def fill(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Widget values for a run's settings; names that this machine does not know are left out."""
        values: dict[str, Any] = {}
        for field in advanced_fields():
            values[field.name] = to_widget(field, settings.get(field.name, field.default))
        engine = engine_named(settings["engine"])
        if engine is not None and engine.ready:
            values["engine"] = engine.name
        # On the command line an avatar may be any file.
        avatar = Path(str(settings["avatar"])).stem
        if any(card.name == avatar for card in avatars()):
            values["avatar"] = avatar
        for name in ("prompt", "negative_prompt"):
            values[name] = settings[name]
        if engine is not None and settings.get("checkpoint") in engine.checkpoints:
            values["checkpoint"] = settings["checkpoint"]
        return values


def _default_engine(cards: Sequence[EngineCard]) -> EngineCard:
    wanted = ReplaceSettings().engine
    return next(card for card in cards if card.name == wanted)


def engine_named(name: Any) -> EngineCard | None:
    """The engine of that name, as it stands on this machine now."""
    return next((card for card in engines() if card.name == name), None)


def engine_card(card: EngineCard) -> dict[str, Any]:
    """An engine as a card; what cannot run here says what it lacks and how to get it."""
    return {
        "value": card.name,
        "title": card.name.capitalize(),
        "text": card.description,
        "badge": "Ready" if card.ready else "Not ready",
        "note": "" if card.ready else f"Missing: {card.missing}",
        "command": card.command,
        "disabled": not card.ready,
    }


def avatar_card(card: AvatarCard) -> dict[str, Any]:
    """An avatar as a card."""
    image = f"avatars/{card.name}/thumbnail"
    return {"value": card.name, "title": card.title, "hover": card.description, "image": image}


def taken_by(engine: EngineCard) -> dict[str, dict[str, Any]]:
    """Which of the inputs that depend on the engine are shown."""
    shown = {name: name in engine.takes for name in ("avatar", "reference", "checkpoint", "prompt", "negative_prompt")}
    shown["checkpoint"] = shown["checkpoint"] and len(engine.checkpoints) > 0
    updates: dict[str, dict[str, Any]] = {name: gr.update(visible=value) for name, value in shown.items()}
    if shown["checkpoint"]:
        updates["checkpoint"] = gr.update(visible=True, choices=list(engine.checkpoints), value=engine.checkpoints[0])
    return updates
