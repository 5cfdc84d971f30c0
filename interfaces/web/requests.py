"""What one part of the page asks of another: to show a run, or to take its clip and settings up again."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr


def ask(event: gr.EventData) -> dict[str, Any]:
    """A request about the run that an event names: ``{"id": run, "at": time}``."""
    # The time makes the same request a new one when it comes again.
    return {"id": str(event.id), "at": time.monotonic()}
