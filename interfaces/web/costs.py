"""What a run will cost, in a line: for each preset, and for the form as it stands."""

from __future__ import annotations

import html
from typing import Any

from core.presets import load_preset, preset_names
from core.settings import ReplaceSettings, ServerSettings, make_settings
from interfaces.web.advanced import CUSTOM, KEPT, advanced_fields
from interfaces.web.parts import duration, memory
from pipelines.replace.estimate import Estimate, estimate
from pipelines.replace.preview import ClipFacts

#: What each preset is for. Presets that are added as files show their name alone.
PURPOSES = {"fast": "A first look", "balanced": "Most clips", "high": "The final version"}

#: What is foretold while there is no clip: 100 frames of this size.
NOMINAL_SIZE = (1280, 720)
NOMINAL_FRAMES = 100


def preset_cards(
    settings: ReplaceSettings, preset: str, facts: ClipFacts | None, server: ServerSettings
) -> list[dict[str, Any]]:
    """The presets as cards, each with what it costs here; one more when the form matches none of them."""
    cards = []
    for name in preset_names():
        figures = foretell(_under_preset(settings, name), facts, server)
        cards.append(
            {"value": name, "title": name.capitalize(), "text": PURPOSES.get(name, ""), "note": _note(figures, facts)}
        )
    if preset == CUSTOM:
        note = _note(foretell(settings, facts, server), facts)
        cards.append({"value": CUSTOM, "title": "Custom", "text": "Your own settings", "note": note})
    return cards


def _under_preset(settings: ReplaceSettings, preset: str) -> ReplaceSettings:
    """The form's settings as they would be after a click on a preset."""
    touched = {field.name for field in advanced_fields()} - set(KEPT)
    kept = {name: value for name, value in settings.model_dump().items() if name not in touched}
    result: ReplaceSettings = make_settings(ReplaceSettings, {**kept, **load_preset(preset, "replace")})
    return result


def foretell(settings: ReplaceSettings, facts: ClipFacts | None, server: ServerSettings) -> Estimate:
    """The estimate for a clip, or for a nominal one while there is none."""
    frames, size = (NOMINAL_FRAMES, NOMINAL_SIZE) if facts is None else (facts.frames, facts.size)
    return estimate(frames, size, settings, history=server.output, hourly_price=server.hourly_price)


def _note(figures: Estimate, facts: ClipFacts | None) -> str:
    each = f"{figures.seconds_per_frame:.2g} s a frame"
    if facts is None:
        return f"About {each} at 720p, {memory(figures.peak_mb)}"
    return f"About {duration(figures.seconds)}, {each}, {memory(figures.peak_mb)}"


def cost_line(settings: ReplaceSettings, facts: ClipFacts | None, server: ServerSettings) -> str:
    """What the form as it stands costs, as HTML."""
    if facts is None:
        return '<p class="us-soft">Add a clip to see what a run takes.</p>'
    figures = foretell(settings, facts, server)
    low, high = (duration(value) for value in figures.range_s)
    span = f"{low} to {high}" if low != high else low
    parts = [f"<strong>About {duration(figures.seconds)}</strong>", f"likely {span}", memory(figures.peak_mb)]
    if figures.cost_usd is not None:
        parts.append(f"${figures.cost_usd:.2f}" if figures.cost_usd >= 0.01 else "under $0.01")
    line = "".join(f"<span>{part}</span>" for part in parts)
    return f'<p class="us-facts" role="status">{line}</p><p class="us-soft us-small">{html.escape(figures.basis)}</p>'
