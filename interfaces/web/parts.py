"""Building blocks of the page: components whose look and behaviour are in ``static``, and small pieces of HTML."""

from __future__ import annotations

import base64
import html
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from core.errors import UnderstudyError

log = logging.getLogger(__name__)

#: Nothing of the page is an API of its own: scripts have REST. Gradio's own overlays would cover the page's states.
EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

_VIEW = '<div class="us-view"></div>'


def component(
    script: str,
    value: Any = None,
    *,
    elem_id: str,
    template: str = _VIEW,
    words: Mapping[str, str] | None = None,
    **props: Any,
) -> gr.HTML:
    """A component that ``understudy.<script>`` in ``static`` draws from its value.

    Gradio's templates run what they are given as code, so no value ever goes through one: the scripts build elements
    from text. ``words`` are our own and never change: they stand in the view's ``data-`` attributes, where an update of
    the component cannot lose them.
    """
    if words:
        data = "".join(f' data-{name}="{html.escape(text)}"' for name, text in words.items())
        template = template.replace("<div", f"<div{data}", 1)
    return gr.HTML(
        value,
        html_template=template,
        js_on_load=f"understudy.{script}(element, props, trigger, watch)",
        apply_default_css=False,
        elem_id=elem_id,
        **props,
    )


def choice_cards(legend: str, choices: Sequence[dict[str, Any]], value: str, *, elem_id: str, look: str) -> gr.HTML:
    """Radio buttons as cards; the value is that of the chosen card.

    Parameters
    ----------
    legend:
        What is chosen, for screen readers.
    choices:
        ``value`` and ``title`` of each card; where wanted ``text``, ``note``, ``image``, ``badge``, ``command``,
        ``hover`` and ``disabled``.
    look:
        ``row``, ``pair`` (two beside each other) or ``gallery``.
    """
    return component(
        "cards",
        value,
        elem_id=elem_id,
        template=f'<fieldset class="us-choices {look}"></fieldset>',
        legend=legend,
        choices=list(choices),
    )


def notice(kind: str, message: str, hint: str = "") -> str:
    """A line of text that says how something stands: ``info``, ``warning`` or ``error``."""
    role = "alert" if kind == "error" else "status"
    text = html.escape(message) + (f" <span>{html.escape(hint)}</span>" if hint else "")
    return f'<p class="us-notice {kind}" role="{role}">{text}</p>'


def missing_notice(what: str, command: str) -> str:
    """A line of text that says what a run lacks on this machine, and the command that gets it."""
    return (
        f'<p class="us-notice warning" role="status">These settings need {html.escape(what)}, which this machine lacks. '
        f"On the server: <code>{html.escape(command)}</code></p>"
    )


def sentences(error: Exception) -> tuple[str, str]:
    """What is shown of an error: its message and its hint. Errors that nobody foresaw go to the log as well."""
    if isinstance(error, UnderstudyError):
        return error.message, error.hint
    log.error("unexpected error", exc_info=error)
    return f"Something unexpected went wrong ({type(error).__name__}).", "The server's log has the details."


def error_notice(error: Exception) -> str:
    """An error as a line of text."""
    return notice("error", *sentences(error))


def heading(number: int, title: str, text: str = "") -> gr.HTML:
    """The heading of a step."""
    line = f'<p class="us-soft">{html.escape(text)}</p>' if text else ""
    return gr.HTML(
        f'<div class="us-heading"><span class="us-number" aria-hidden="true">{number}</span>'
        f"<div><h2>{html.escape(title)}</h2>{line}</div></div>",
        apply_default_css=False,
    )


def data_url(rgb: np.ndarray, longest: int = 1600) -> str:
    """A picture as a ``data:`` address, at most ``longest`` pixels wide and high.

    It never touches the disk, so nothing has to be cleaned up and nobody else can ask for it.
    """
    image = Image.fromarray(rgb)
    image.thumbnail((longest, longest))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def duration(seconds: float) -> str:
    """Seconds in words, as exact as an estimate is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.2g} h" if hours < 10 else f"{hours:.0f} h"


def span(low: float, high: float) -> str:
    """Two numbers of seconds in words: ``2 to 4 min``, ``50 s to 2 min``."""
    first, last = duration(low), duration(high)
    if first == last:
        return first
    number, unit = first.split()
    return f"{number} to {last}" if last.endswith(f" {unit}") else f"{first} to {last}"


def pace(seconds: float) -> str:
    """Seconds for one frame in words."""
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def memory(megabytes: float) -> str:
    """Megabytes in words."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 950 else f"{round(megabytes, -1):.0f} MB"
