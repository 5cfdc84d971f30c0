"""Who is in the clip: looked for when it comes in, shown in a picture to pick from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import InputError
from core.settings import MeshSettings, ReplaceSettings
from interfaces.jobs.studio import Studio
from interfaces.web.parts import data_url, sentences
from pipelines.replace.preview import PeopleFound


def look_for_people(
    studio: Studio, clip: Path, settings: ReplaceSettings | MeshSettings
) -> tuple[PeopleFound | None, dict[str, Any]]:
    """The people in a clip, and what the picture to pick one in is drawn from, or a sentence that says why there is none."""
    try:
        found = studio.people(clip, settings)
    except InputError as error:
        # The run looks at every frame, this only at some.
        return None, {"kind": "warning", "message": error.message, "hint": error.hint}
    except Exception as error:  # noqa: BLE001 - shown to the user, and logged where nobody foresaw it
        message, hint = sentences(error)
        return None, {"kind": "error", "message": message, "hint": hint}
    return found, picker_value(found, settings.person)


def picker_value(found: PeopleFound, point: tuple[float, float] | None) -> dict[str, Any]:
    """What the picture to pick somebody in is drawn from."""
    height, width = found.rgb.shape[:2]
    return {
        "image": data_url(found.rgb),
        "frame": found.frame,
        "width": width,
        "height": height,
        "people": [{"xyxy": list(person.xyxy), "point": [round(v) for v in person.point]} for person in found.people],
        "point": None if point is None else list(point),
    }


def parse_point(text: str) -> list[float] | None:
    """``x,y`` as two numbers; ``None`` where it is no point (yet)."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return [x, y]
