"""The page as a person uses it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

#: Milliseconds that the server may take for something that it has to work for, on a machine that is busy.
WORK_MS = 240_000
WIDTHS = {"desktop": (1440, 1000), "phone": (390, 844)}
#: What moves with the window would lie across a picture of the whole page.
STILL = ".us-go, .us-stage-column { position: relative !important; top: auto !important; }"


def chromium_path() -> str:
    """The browser of this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    assert path is not None, "there is no Chromium: run scripts/ensure_chromium.sh"
    return path


class Stage:
    """One open page."""

    def __init__(self, page: Page, url: str, screenshots: Path) -> None:
        self.page = page
        self.url = url
        self.screenshots = screenshots
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._hear)
        page.on("request", lambda request: self.requests.append(request.url))

    def _hear(self, line: ConsoleMessage) -> None:
        # The live picture is gone once the run has ended, which may be just when the page asks for it.
        if line.type == "error" and "/live?" not in line.location["url"]:
            self.errors.append(line.text)

    @classmethod
    @contextmanager
    def open(cls, browser: Browser, url: str, screenshots: Path, **options) -> Iterator[Stage]:
        """A page in a browser context of its own; errors in its scripts fail the test."""
        context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="light", **options)
        context.grant_permissions(["camera", "microphone"], origin=url)
        stage = cls(context.new_page(), url, screenshots)
        try:
            stage.visit()
            yield stage
            assert stage.errors == []
        finally:
            context.close()

    def visit(self, path: str = "/") -> None:
        """Go to the page and wait until it can be used."""
        self.page.goto(self.url + path)
        self.upload.wait_for(state="attached")

    # -- parts -----------------------------------------------------------------------------------------------------

    @property
    def upload(self) -> Locator:
        return self.page.locator("#us-clip input[type=file]")

    @property
    def run_button(self) -> Locator:
        return self.page.locator("#us-run-button")

    def card(self, group: str, value: str) -> Locator:
        """A card of a group of choices: ``us-preset``, ``us-engine``, ``us-avatar``."""
        return self.page.locator(f'#{group} [data-value="{value}"]')

    def chosen(self, group: str) -> Locator:
        """The radio button that is on."""
        return self.page.locator(f"#{group} input:checked")

    def field(self, name: str) -> Locator:
        """The input of an advanced setting, the typed one of a slider."""
        return self.page.locator(
            f"#us-field-{name} :is(input[type=number], input[type=checkbox], input[type=text], input[role=combobox], textarea)"
        ).first

    def tab(self, key: str) -> Locator:
        """The button of a tab."""
        return self.page.locator(f'[role=tab][data-tab-id="{key}"]')

    # -- what a person does ----------------------------------------------------------------------------------------

    def add_clip(self, clip: Path) -> None:
        """Upload a clip and wait until people were looked for in it."""
        self.upload.set_input_files(clip)
        expect(self.page.locator("#us-clip-notice .us-facts")).to_be_visible(timeout=WORK_MS)
        expect(self.page.locator("#us-person :is(.us-picture, .us-notice)").first).to_be_visible(timeout=WORK_MS)
        expect(self.run_button).to_be_enabled()

    def open_advanced(self) -> None:
        """Unfold the advanced settings."""
        self.page.locator("#us-advanced > button").click()
        expect(self.page.locator("#us-field-quality")).to_be_visible()

    def start(self) -> str:
        """Press the button; the run's name, from the address."""
        self.run_button.click()
        expect(self.page.locator("#us-run .us-run")).to_be_visible(timeout=WORK_MS)
        return self.run_id()

    def run_id(self) -> str:
        """The run that the address names."""
        return self.page.evaluate("new URL(location.href).searchParams.get('run')")

    def wait_for_state(self, state: str) -> None:
        """Wait until the open run is in a state."""
        expect(self.page.locator(f'#us-run .us-run[data-state="{state}"]')).to_be_visible(timeout=WORK_MS)

    def shoot(self, name: str) -> None:
        """Take pictures of the page, wide and narrow, light and dark; nothing may stand out sideways."""
        self.screenshots.mkdir(parents=True, exist_ok=True)
        for device, (width, height) in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                self.page.evaluate("scrollTo(0, 0)")
                self.page.wait_for_timeout(250)
                self.page.screenshot(
                    path=self.screenshots / f"{name}-{device}-{scheme}.png", full_page=True, style=STILL
                )
            wide, room = self.page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            assert wide <= room, f"{name} is {wide} pixels wide on a {device} of {room}"
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1440, "height": 1000})
