"""What a run will cost, in a line: for each preset, and for the form as it stands."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

from core.presets import preset_names
from core.settings import MeshSettings, ReplaceSettings, ServerSettings, make_settings
from interfaces.rest.pictures import box_share
from interfaces.web.advanced import CUSTOM, Advanced
from interfaces.web.parts import duration, memory, pace, span
from pipelines.mesh.costs import ClipShape
from pipelines.mesh.estimate import estimate as mesh_estimate
from pipelines.past_runs import Estimate
from pipelines.replace.estimate import estimate
from pipelines.replace.preview import ClipFacts, FoundPerson

#: What each preset is for. Presets that are added as files show their name alone.
PURPOSES = {"fast": "A first look", "balanced": "Most clips", "high": "The final version"}

#: What is foretold while there is no clip: 100 frames of this size.
NOMINAL_SIZE = (1280, 720)
NOMINAL_FRAMES = 100


@dataclass(frozen=True)
class Footage:
    """What the page knows of the clip."""

    facts: ClipFacts
    people: tuple[FoundPerson, ...] = ()
    """Who was found in it, largest first."""
    others: tuple[ClipFacts, ...] = ()
    """The other clips of the take."""

    def person_share(self, point: tuple[float, float] | None) -> float | None:
        """Share of the picture that the box of the person at a point covers, 0..1; without a point, that of the largest.
        ``None`` where nobody was found there."""
        there = [person for person in self.people if point is None or _holds(person.xyxy, point)]
        if not there:
            return None
        person = there[0] if point is None else min(there, key=lambda found: _distance(found.point, point))
        return box_share(person.xyxy, self.facts.size)


def _holds(xyxy: tuple[float, float, float, float], point: tuple[float, float]) -> bool:
    left, top, right, bottom = xyxy
    return left <= point[0] <= right and top <= point[1] <= bottom


def _distance(first: tuple[float, float], second: tuple[float, float]) -> float:
    return math.hypot(first[0] - second[0], first[1] - second[1])


def preset_cards(
    made: Advanced,
    settings: ReplaceSettings | MeshSettings,
    preset: str,
    footage: Footage | None,
    server: ServerSettings,
) -> list[dict[str, Any]]:
    """The presets as cards, each with what it costs here; one more when the form matches none of them."""
    cards = []
    for name in preset_names():
        figures = foretell(make_settings(made.settings, made.under_preset(settings, name)), footage, server)
        cards.append(
            {"value": name, "title": name.capitalize(), "text": PURPOSES.get(name, ""), "note": _note(figures, footage)}
        )
    if preset == CUSTOM:
        note = _note(foretell(settings, footage, server), footage)
        cards.append({"value": CUSTOM, "title": "Custom", "text": "Your own settings", "note": note})
    return cards


def foretell(settings: ReplaceSettings | MeshSettings, footage: Footage | None, server: ServerSettings) -> Estimate:
    """The estimate for a clip and the person picked in it, or for a nominal one while there is none."""
    facts = () if footage is None else (footage.facts, *footage.others)
    clips = [ClipShape(clip.frames, clip.size) for clip in facts] or [ClipShape(NOMINAL_FRAMES, NOMINAL_SIZE)]
    if isinstance(settings, MeshSettings):
        return mesh_estimate(clips, settings, history=server.output, hourly_price=server.hourly_price)
    return estimate(
        *clips[0],
        settings,
        history=server.output,
        hourly_price=server.hourly_price,
        person_share=None if footage is None else footage.person_share(settings.person),
    )


def _note(figures: Estimate, footage: Footage | None) -> str:
    each = f"{pace(figures.seconds_per_frame)} a frame"
    if footage is None:
        return f"About {each} at 720p, {memory(figures.peak_mb)}"
    return f"About {duration(figures.seconds)}, {each}, {memory(figures.peak_mb)}"


def cost_line(settings: ReplaceSettings | MeshSettings, footage: Footage | None, server: ServerSettings) -> str:
    """What the form as it stands costs, as HTML."""
    if footage is None:
        return '<p class="us-soft">Add a clip to see what a run takes.</p>'
    figures = foretell(settings, footage, server)
    likely = f"likely {span(*figures.range_s)}"
    parts = [f"<strong>About {duration(figures.seconds)}</strong>", likely, memory(figures.peak_mb)]
    if figures.cost_usd is not None:
        parts.append(f"${figures.cost_usd:.2f}" if figures.cost_usd >= 0.01 else "under $0.01")
    line = "".join(f"<span>{part}</span>" for part in parts)
    return f'<p class="us-facts" role="status">{line}</p><p class="us-soft us-small">{html.escape(figures.basis)}</p>'
