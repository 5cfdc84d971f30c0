"""What one part of the page asks of another: to show a run, or to take its clip and settings up again."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr


def open_run(event: gr.EventData) -> dict[str, Any]:
    """Show a run."""
    return _request("open", event.id)


def edit_run(event: gr.EventData) -> dict[str, Any]:
    """Take a run's clip and settings up again."""
    return _request("edit", event.id)


def _request(what: str, run_id: str) -> dict[str, Any]:
    # The time makes the same request a new one when it comes again.
    return {"what": what, "id": str(run_id), "at": time.monotonic()}
