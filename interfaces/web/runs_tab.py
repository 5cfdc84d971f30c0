"""The Runs tab: every run folder, newest first. The script asks the REST API; opening a run is the Replace tab's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from interfaces.web.parts import EVENT, component
from interfaces.web.requests import edit_run, open_run

if TYPE_CHECKING:
    from interfaces.web.page import Page


class RunsTab:
    """The tab's list and its two requests."""

    def __init__(self, page: Page) -> None:
        with gr.Column(elem_classes="us-card us-runs-card"):
            gr.HTML(
                '<div class="us-heading"><div><h2>Runs</h2>'
                '<p class="us-soft">Everything that was run here, newest first.</p></div></div>',
                apply_default_css=False,
            )
            runs = component("runs", elem_id="us-runs")
        runs.select(open_run, None, [page.request], **EVENT)
        runs.edit(edit_run, None, [page.request], **EVENT)
