"""A server as a user starts it, a Chromium, and a page that keeps a record of what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.driver import Stage, chromium_path
from tests.conftest import ROOT
from tests.interfaces.serving import AppProcess

#: Where a person can look at what the tests saw.
SCREENSHOTS = ROOT / "outputs" / "screenshots"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium with a camera that shows a test picture."""
    options = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """The server's output folder."""
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def server(output) -> Iterator[str]:
    """Address of a server that has no runs yet."""
    app = AppProcess("--output", str(output), "--hourly-price", "0.44", "--max-duration-s", "30")
    yield app.url
    code, said = app.stop()
    assert code == 0
    assert "Traceback" not in said


@pytest.fixture
def stage(browser, server) -> Iterator[Stage]:
    """A fresh page of the server, 1440 pixels wide."""
    with Stage.open(browser, server, SCREENSHOTS) as opened:
        yield opened


@pytest.fixture
def another(browser, server) -> Iterator[Callable[[str], Page]]:
    """Open the page in another browser that knows nothing of the first."""
    contexts = []

    def open_page(path: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 1000}))
        page = contexts[-1].new_page()
        page.goto(server + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
