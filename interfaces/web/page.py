"""The page: a header, and a tab for each thing that Understudy does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI

from interfaces.web.clip import CACHE_AGE_S, cache_folder, sweep
from interfaces.web.mesh_tab import MeshTab
from interfaces.web.parts import EVENT, component
from interfaces.web.replace_tab import ReplaceTab
from interfaces.web.requests import ask
from interfaces.web.runs_tab import RunsTab
from interfaces.web.theme import make_theme

if TYPE_CHECKING:
    from interfaces.services import Services

STATIC = Path(__file__).resolve().parent / "static"
STYLES = ("style.css",)
#: In the order in which they need each other.
SCRIPTS = (
    "base.js", "cards.js", "person.js", "compare.js", "gltf.js", "viewer.js", "results.js", "run.js", "runs.js",
)  # fmt: skip


@dataclass
class Page:
    """What the tabs share."""

    services: Services
    blocks: gr.Blocks
    tabs: gr.Tabs
    to_open: gr.State
    """One tab asks another to show a run: see :func:`interfaces.web.requests.ask`."""
    to_edit: gr.State
    """One tab asks another to take a run's clips and settings up again."""


#: Tabs in their order: id, title, what builds it.
TABS: tuple[tuple[str, str, Callable[[Page], Any]], ...] = (
    ("replace", "Replace", ReplaceTab),
    ("mesh", "Mesh", MeshTab),
    ("runs", "Runs", RunsTab),
)

HEADER = """
<header class="us-header">
  <svg viewBox="0 0 40 40" width="36" height="36" aria-hidden="true">
    <rect width="40" height="40" rx="10" fill="var(--us-accent)"/>
    <g fill="none" stroke="var(--us-on-accent)" stroke-width="2" opacity=".75">
      <circle cx="16.5" cy="14" r="4.5"/><path d="M8.5 31c0-6.500 3-10 8-10"/>
    </g>
    <g fill="var(--us-on-accent)"><circle cx="23.5" cy="14" r="4.5"/><path d="M15.5 31c0-6.500 3-10 8-10s8 3.5 8 10z"/></g>
  </svg>
  <div><h1>Understudy</h1><p>Somebody else in the same shot.</p></div>
  <nav>
    <a href="docs" target="_blank" rel="noopener">API</a>
    <button type="button" class="us-theme" aria-label="Dark theme">
      <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
        <circle cx="10" cy="10" r="7.2" fill="none" stroke="currentColor" stroke-width="1.6"/>
        <path d="M10 2.8a7.2 7.2 0 0 1 0 14.400z" fill="currentColor"/>
      </svg>
    </button>
  </nav>
</header>
"""


def build_page(services: Services) -> gr.Blocks:
    """The page as Gradio blocks; :func:`mount` puts it into an app."""
    # Components note the folder for uploads when they are made.
    folder = cache_folder(services.settings)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(services.settings)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    with gr.Blocks(
        title="Understudy",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, CACHE_AGE_S),
    ) as blocks:
        to_open, to_edit = gr.State(None), gr.State(None)
        header = component("header", elem_id="us-header", template=HEADER)
        header.select(ask, None, [to_open], **EVENT)
        with gr.Tabs(selected=TABS[0][0], elem_id="us-tabs") as tabs:
            page = Page(services, blocks, tabs, to_open, to_edit)
            for key, title, build in TABS:
                # A form that is not on the page yet would lose what its cards show when another tab fills it in.
                with gr.Tab(title, id=key, render_children=True):
                    build(page)
    return blocks


def mount(app: FastAPI, services: Services) -> FastAPI:
    """Put the page into an app, at ``/``.

    Scripts and styles go into the page itself: nothing is asked of another server, and nothing comes late.
    """
    blocks = build_page(services)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=make_theme(),
        head=_head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size=services.settings.max_upload_mb * 1_000_000,
        favicon_path=str(STATIC / "favicon.png"),
        allowed_paths=[],
        # Requests may name none but uploaded files anyway; what a run folder holds is served by the REST API alone.
        blocked_paths=[],
    )
    # Gradio checks the paths in a request only in blocks that it launched itself. Without this a request could name any
    # file of the machine and have it copied to where it is served.
    blocks.has_launched = True
    return app


def _head() -> str:
    styles = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in STYLES)
    scripts = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f"<style>{styles}</style>\n<script>{scripts}</script>"
