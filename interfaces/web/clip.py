"""The clip on the page: is it one that this server takes, what is it like, and the copy that the page may show."""

from __future__ import annotations

import html
import re
import secrets
import shutil
import time
from pathlib import Path

from core.runs import link_or_copy
from core.settings import ServerSettings
from interfaces.jobs.limits import check_clip, check_upload_size
from interfaces.web.parts import duration
from pipelines.catalogue import avatars
from pipelines.replace.preview import ClipFacts, clip_facts

#: Folder under the output root in which Gradio keeps what was uploaded.
CACHE = ".gradio"
#: Seconds after which an upload that no page can still show is removed.
CACHE_AGE_S = 24 * 3600

DEMO_CLIP = Path(__file__).resolve().parents[2] / "assets" / "demo" / "walk.mp4"
#: Looks that the bundled clip is offered with.
DEMO_LOOKS = ("maya", "kenji")
EXAMPLES = '<p class="us-soft us-small">No clip at hand? Take the bundled one:</p><div class="us-examples"></div>'


def cache_folder(settings: ServerSettings) -> Path:
    """Where uploads lie until they are run or have grown old; on the run folders' file system, so that a run can link them."""
    return settings.output.resolve() / CACHE


def check(clip: Path, settings: ServerSettings) -> ClipFacts:
    """What is known of an uploaded clip.

    Raises
    ------
    NotAVideo
        It is no video.
    TooLarge
        It is over one of the server's limits.
    """
    check_upload_size(clip.stat().st_size, settings)
    facts = clip_facts(clip, clip.name)
    check_clip(facts.size, facts.duration_s, settings)
    return facts


def example_cards() -> list[dict[str, str]]:
    """The bundled clip's looks as cards."""
    return [
        {
            "value": card.name,
            "title": card.title,
            "text": "in the bundled clip",
            "image": f"avatars/{card.name}/thumbnail",
        }
        for card in avatars()
        if card.name in DEMO_LOOKS
    ]


def limits_line(settings: ServerSettings) -> str:
    """What the server takes, as a line of HTML."""
    parts = [
        f"up to {settings.max_upload_mb / 1000:.3g} GB"
        if settings.max_upload_mb >= 1000
        else f"up to {settings.max_upload_mb} MB",
        duration(settings.max_duration_s),
        f"{settings.max_pixels / 1e6:.2g} megapixels",
    ]
    allowed = ", ".join(parts)
    people = "One person or several, seen from head to foot."
    return f'<p class="us-soft us-small">MP4, MOV, WebM and the like: {allowed}. {people}</p>'


def facts_line(facts: ClipFacts) -> str:
    """A clip's facts as a line of HTML."""
    width, height = facts.size
    parts = [
        f"{facts.duration_s:.1f} s",
        f"{facts.frames} frames",
        f"{width} × {height}",
        f"{float(facts.rate):.4g} fps",
        "with sound" if facts.has_audio else "no sound",
    ]
    return (
        '<p class="us-facts" role="status">' + "".join(f"<span>{html.escape(part)}</span>" for part in parts) + "</p>"
    )


def offer(file: Path, name: str, settings: ServerSettings) -> str:
    """A link to a file of ours, under a user's name for it, where the page may show it.

    Parameters
    ----------
    file:
        A shipped clip, or one of a run folder.
    name:
        What the user calls it; only its last part is used, and of that only harmless characters.
    """
    safe = re.sub(r"[^\w.-]+", "_", Path(name).name).lstrip(".") or "clip"
    if Path(safe).suffix.lower() != file.suffix.lower():
        safe += file.suffix
    folder = cache_folder(settings) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    place = folder / safe
    link_or_copy(file, place)
    return str(place)


def sweep(settings: ServerSettings) -> None:
    """Remove what earlier servers left behind. Younger files stay: another server may still show them."""
    folder = cache_folder(settings)
    oldest = time.time() - CACHE_AGE_S
    for part in folder.iterdir() if folder.is_dir() else ():
        if part.is_dir() and part.stat().st_mtime < oldest:
            shutil.rmtree(part, ignore_errors=True)
