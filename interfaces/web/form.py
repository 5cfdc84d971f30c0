"""The Replace tab's inputs: made here, read as settings, and filled from a run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.errors import InputError
from core.presets import load_preset
from core.settings import ReplaceSettings, make_settings
from interfaces.settings_from import DEFAULT_PRESET
from interfaces.web.advanced import CUSTOM, Advanced, SettingsForm
from interfaces.web.parts import choice_cards, error_notice, heading, notice
from pipelines.catalogue import AvatarCard, EngineCard, add_checkpoint, avatar, avatars, engines, unread_settings

ADVANCED = Advanced(
    ReplaceSettings,
    elsewhere=("engine", "avatar", "reference", "checkpoint", "prompt", "negative_prompt"),
    kept=("seed", "person"),
)
#: How many random people the page chooses from: few enough that a name can be remembered.
SEEDS = 10_000
#: Inputs of step 2 that some engines read and others do not.
PART = ("avatar", "reference", "checkpoint", "prompt", "negative_prompt")

_REFERENCE_HELP = "A picture of the person to put in. Where there is none, the avatar above stands for one."
#: The same for the avatar engine, which makes a figure of the picture.
_PHOTO_HELP = (
    "Or a photo of one person from head to feet, seen from the front. The figure wears what the photo shows; its back is "
    "made up from its front. The avatar above is not read then."
)
_CHECKPOINT_HELP = (
    "Any of Stable Diffusion 1.5, as <code>.safetensors</code>: other kinds of file can run code when they are read. "
    "Those in the folder <code>checkpoints</code> of the weights are listed when the engine is chosen."
)


class Form(SettingsForm):
    """The widgets, by the name of the setting that each one holds."""

    def __init__(self) -> None:
        super().__init__(ADVANCED)

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
        self.widgets["avatar"] = choice_cards(
            "Avatar",
            avatar_cards(),
            ReplaceSettings().avatar,
            elem_id="us-avatar",
            look="gallery",
        )
        self.random_avatar = gr.Button("Somebody random", size="sm", elem_id="us-random-avatar")
        self.reference_help = gr.HTML(_reference_help(first.name), apply_default_css=False, elem_id="us-reference-help")
        self.widgets["reference"] = gr.Image(
            label="Reference image",
            type="filepath",
            sources=["upload", "clipboard"],
            height=220,
            elem_id="us-reference",
        )
        self.widgets["prompt"] = gr.Textbox(
            "", label="Prompt", info="Describes the new person.", lines=2, elem_id="us-prompt"
        )
        self.widgets["negative_prompt"] = gr.Textbox(
            "", label="Negative prompt", info="What to avoid.", elem_id="us-negative-prompt"
        )
        self._build_checkpoint(first)

    def _build_checkpoint(self, engine: EngineCard) -> None:
        self.widgets["checkpoint"] = gr.Dropdown(
            list(engine.checkpoints),
            label="Checkpoint",
            info="Weights that the engine draws with.",
            elem_id="us-checkpoint",
        )
        with gr.Column(elem_classes="us-own-checkpoint") as self.own_checkpoint:
            self.checkpoint_upload = gr.UploadButton(
                "Add a checkpoint", file_types=[".safetensors"], size="sm", elem_id="us-checkpoint-upload"
            )
            self.checkpoint_notice = gr.HTML(
                f'<p class="us-soft us-small">{_CHECKPOINT_HELP}</p>',
                apply_default_css=False,
                elem_id="us-checkpoint-notice",
            )

    def build_advanced(self) -> None:
        """Every other setting. To be called inside the accordion."""
        self.take_advanced(ADVANCED.build(), DEFAULT_PRESET)
        for component, visible in self._visible(_default_engine(engines())).items():
            component.visible = visible

    # -- what is shown ---------------------------------------------------------------------------------------------

    def _visible(self, engine: EngineCard) -> dict[Any, bool]:
        """Of everything that only some engines read: whether this one does."""
        shown = {self.widgets[name]: name in engine.takes for name in PART}
        choice = "checkpoint" in engine.takes and len(engine.checkpoints) > 0
        shown[self.widgets["checkpoint"]] = choice
        shown[self.random_avatar] = "avatar" in engine.takes
        shown[self.reference_help] = {"avatar", "reference"} <= set(engine.takes)
        shown[self.own_checkpoint] = choice and engine.own_checkpoints
        unread = unread_settings(engine.name)
        return shown | {self.advanced[name]: name not in unread for name in (*engine.settings, *unread)}

    def by_engine(self) -> list[Any]:
        """Everything that :meth:`show` updates."""
        return list(self._visible(_default_engine(engines())))

    def show(self, engine: EngineCard, values: Mapping[str, Any] | None = None) -> dict[Any, Any]:
        """Updates that show what an engine reads and hide what it does not; with values where some are given."""
        updates: dict[Any, dict[str, Any]] = {self.widgets[name]: {"value": v} for name, v in (values or {}).items()}
        for component, visible in self._visible(engine).items():
            updates.setdefault(component, {})["visible"] = visible
        updates[self.reference_help]["value"] = _reference_help(engine.name)
        if values and "avatar" in values:
            updates[self.widgets["avatar"]]["choices"] = avatar_cards(values["avatar"])
        if engine.checkpoints:
            first = {"choices": list(engine.checkpoints), "value": engine.checkpoints[0]}
            checkpoint = self.widgets["checkpoint"]
            updates[checkpoint] = {**first, **updates[checkpoint]}
        return {component: gr.update(**update) for component, update in updates.items()}

    def refresh(self) -> Any:
        """The engines as they stand on this machine now: what was missing may have come."""
        return gr.update(choices=[engine_card(card) for card in engines()])

    def choose_random(self) -> Any:
        """Add somebody random to the avatars, in place of the one before, and choose them."""
        name = f"random-{secrets.randbelow(SEEDS)}"
        return gr.update(choices=avatar_cards(name), value=name)

    def take_checkpoint(self, file: str, engine: str) -> dict[Any, Any]:
        """Keep a checkpoint that was brought, and choose it."""
        try:
            name = add_checkpoint(Path(file), Path(file).name)
            choices = list(engine_named(engine).checkpoints)
        except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
            return {self.checkpoint_notice: error_notice(error)}
        return {
            self.widgets["checkpoint"]: gr.update(choices=choices, value=name),
            self.checkpoint_notice: notice("info", f"{name} is kept on the server and chosen."),
        }

    # -- reading and filling ---------------------------------------------------------------------------------------

    def settings(self, values: Sequence[Any]) -> ReplaceSettings:
        """Settings from the values of :meth:`inputs`. What the engine does not read stays as the preset has it.

        Raises
        ------
        InputError
            There is no such engine.
        SettingError
            A value is not allowed.
        """
        given = self.given(values)
        engine = engine_named(given["engine"])
        preset = self.preset(values)
        chosen: dict[str, Any] = {} if preset == CUSTOM else dict(load_preset(preset, "replace"))
        unread = unread_settings(engine.name)
        for field in ADVANCED.fields:
            if field.name not in unread:
                chosen[field.name] = ADVANCED.to_setting(field, given[field.name])
        chosen["engine"] = engine.name
        for name in engine.takes:
            if given[name] not in ("", None):
                chosen[name] = given[name]
        result: ReplaceSettings = make_settings(ReplaceSettings, chosen)
        return result

    def preset(self, values: Sequence[Any]) -> str:
        """The preset that the form's values amount to.

        Raises
        ------
        InputError
            There is no such engine.
        """
        given = self.given(values)
        return ADVANCED.matching_preset(given, unread_settings(given["engine"]))

    def fill(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Widget values for a run's settings; names that this machine does not know are left out. The reference picture is
        the caller's to bring.

        Raises
        ------
        InputError
            There is no engine of that name any more.
        """
        values = super().fill(settings)
        engine = engine_named(settings["engine"])
        values["engine"] = engine.name
        # On the command line an avatar may be any file.
        name = Path(str(settings["avatar"])).stem
        if avatar(name) is not None:
            values["avatar"] = name
        for name in ("prompt", "negative_prompt"):
            values[name] = settings[name]
        if settings.get("checkpoint") in engine.checkpoints:
            values["checkpoint"] = settings["checkpoint"]
        return values


def _default_engine(cards: Sequence[EngineCard]) -> EngineCard:
    wanted = ReplaceSettings().engine
    return next(card for card in cards if card.name == wanted)


def engine_named(name: Any) -> EngineCard:
    """The engine of that name, as it stands on this machine now.

    Raises
    ------
    InputError
        There is none.
    """
    cards = engines()
    found = next((card for card in cards if card.name == name), None)
    if found is None:
        raise InputError(f"There is no engine named {name!r}.", f"Engines: {', '.join(card.name for card in cards)}.")
    return found


def engine_card(card: EngineCard) -> dict[str, Any]:
    """An engine as a card; what cannot run here says what it lacks and how to get it."""
    return {
        "value": card.name,
        "title": card.title,
        "text": card.description,
        "badge": "Ready" if card.ready else "Not ready",
        "note": "" if card.ready else f"Missing: {card.missing}".replace(" GB)", "\N{NO-BREAK SPACE}GB)"),
        "command": card.command,
        "disabled": not card.ready,
    }


def avatar_cards(chosen: str | None = None) -> list[dict[str, Any]]:
    """The avatars that come with the program as cards, and ``chosen``, where that is somebody random, before them."""
    people = list(avatars())
    more = avatar(chosen) if chosen else None
    if more is not None and more not in people:
        people.insert(0, more)
    return [avatar_card(card) for card in people]


def avatar_card(card: AvatarCard) -> dict[str, Any]:
    """An avatar as a card."""
    image = f"avatars/{card.name}/thumbnail"
    return {"value": card.name, "title": card.title, "hover": card.description, "image": image}


def _reference_help(engine: str) -> str:
    """What a picture is for, as HTML."""
    return f'<p class="us-soft">{_PHOTO_HELP if engine == "avatar" else _REFERENCE_HELP}</p>'
