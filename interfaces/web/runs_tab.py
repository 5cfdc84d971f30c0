"""The Runs tab: every run folder, newest first. The script asks the REST API; the tab of its kind opens a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from interfaces.web.parts import EVENT, component
from interfaces.web.requests import ask

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
        runs.select(ask, None, [page.to_open], **EVENT)
        runs.edit(ask, None, [page.to_edit], **EVENT)
