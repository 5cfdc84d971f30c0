"""The Mesh tab's inputs: made here, read as settings, and filled from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from core.settings import MeshSettings, make_settings
from interfaces.settings_from import DEFAULT_PRESET
from interfaces.web.advanced import Advanced, SettingsForm
from interfaces.web.parts import choice_cards, heading
from pipelines.mesh.offers import VIDEOS, BodyCard, bodies, formats

#: Names of formats that are no abbreviations.
_SPELLED = {"easymocap": "EasyMoCap"}

ADVANCED = Advanced(
    MeshSettings,
    elsewhere=("body",),
    kept=("person", "formats", "height", "focal_length", "calibration_unit", "find_offsets"),
    lists={
        "videos": VIDEOS,
        "formats": {
            card.name: f"{_SPELLED.get(card.name, card.name.upper())}: {card.description}" for card in formats()
        },
    },
    prefix="us-mesh-field",
    titles={"person": "Who is followed"},
)


class MeshForm(SettingsForm):
    """The widgets, by the name of the setting that each one holds."""

    def __init__(self) -> None:
        super().__init__(ADVANCED)

    def build_body(self) -> None:
        """Step 2: what is fitted, and what is made of it."""
        heading(2, "Body and files")
        self.widgets["body"] = choice_cards(
            "Body",
            [body_card(card) for card in bodies()],
            MeshSettings().body,
            elem_id="us-mesh-body",
            look="pair",
        )
        lists = {
            "videos": ADVANCED.make_list("videos", "Videos", DEFAULT_PRESET),
            "formats": ADVANCED.make_list("formats", "Files", DEFAULT_PRESET),
        }
        self.take_advanced(lists, DEFAULT_PRESET)

    def build_advanced(self) -> None:
        """Every other setting. To be called inside the accordion."""
        self.take_advanced(ADVANCED.build(), DEFAULT_PRESET)

    def refresh(self) -> Any:
        """The bodies as they stand on this machine now: what was missing may have come."""
        return gr.update(choices=[body_card(card) for card in bodies()])

    def settings(self, values: Sequence[Any]) -> MeshSettings:
        """Settings from the values of :meth:`inputs`; without a calibration.

        Raises
        ------
        SettingError
            A value is not allowed.
        """
        given = self.given(values)
        chosen = {field.name: ADVANCED.to_setting(field, given[field.name]) for field in ADVANCED.fields}
        result: MeshSettings = make_settings(MeshSettings, {**chosen, "body": given["body"]})
        return result

    def preset(self, values: Sequence[Any]) -> str:
        """The preset that the form's values amount to, or ``custom``."""
        return ADVANCED.matching_preset(self.given(values))

    def fill(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Widget values for a run's settings. Clips and calibration are the caller's to bring."""
        return {**super().fill(settings), "body": settings.get("body", MeshSettings().body)}


def body_card(card: BodyCard) -> dict[str, Any]:
    """A body as a card; what cannot be fitted here says what it lacks and where to get it."""
    return {
        "value": card.name,
        "title": card.title,
        "text": card.description,
        "badge": "Ready" if card.ready else "Not ready",
        "note": card.missing,
        "link": "" if card.ready else card.page,
        "disabled": not card.ready,
    }
