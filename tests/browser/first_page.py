"""How long it takes until the page can be used: ``python -m tests.browser.first_page``. Prints the times, asserts nothing.

Counted from the start of the navigation, in a browser without a cache, until the input for the clip is there and enabled.
The server is warm: one page is opened before.
"""

from __future__ import annotations

import statistics
import tempfile

from playwright.sync_api import sync_playwright

from tests.browser.driver import chromium_path
from tests.interfaces.serving import AppProcess

TIMES = 5
#: Runs in the page before anything of it does: notes when the upload can be used, milliseconds after the navigation began.
WATCH = """
const look = () => {
    const upload = document.querySelector("#us-clip input[type=file]");
    if (upload && !upload.disabled) window.usableAt = performance.now();
    else requestAnimationFrame(look);
};
look();
"""


def main() -> None:
    """Open the page some times and say how long each took."""
    with tempfile.TemporaryDirectory() as output, sync_playwright() as playwright:
        app = AppProcess("--output", output)
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        taken = []
        for _ in range(1 + TIMES):
            context = browser.new_context(viewport={"width": 1440, "height": 1000})
            context.add_init_script(WATCH)
            page = context.new_page()
            page.goto(app.url, wait_until="commit")
            page.wait_for_function("window.usableAt", timeout=60_000)
            taken.append(page.evaluate("window.usableAt") / 1000)
            context.close()
        browser.close()
        app.stop()
    first, *rest = taken
    times = ", ".join(f"{seconds:.2f}" for seconds in rest)
    print(f"first {first:.2f} s; then {times}: median {statistics.median(rest):.2f} s")  # noqa: T201


if __name__ == "__main__":
    main()
