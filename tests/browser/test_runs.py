"""The Runs tab, the themes, and the password."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect

from tests.browser.conftest import SCREENSHOTS
from tests.browser.driver import WORK_MS, Stage
from tests.interfaces.serving import QUICK, AppProcess, submit, wait_for_end

#: A name that would do harm where it were taken for markup or for a template.
EVIL = "<img src=x onerror=alert(1)> ${1+1} {{1+1}}.mp4"


@pytest.fixture
def runs(server, small_clip) -> list[str]:
    """Two finished runs, the older one first."""
    with httpx.Client(base_url=server, timeout=60) as client:
        for run in client.get("/runs").json():
            client.delete(f"/runs/{run['id']}")
        names = []
        for name in ("first.mp4", EVIL):
            answer = submit(client, small_clip, {**QUICK, "quality": 20}, name=name, preset="fast")
            names.append(answer.json()["id"])
            assert wait_for_end(client, names[-1])["state"] == "done"
    return names


def test_runs_are_listed_newest_first_and_names_are_only_text(stage, runs):
    stage.tab("runs").click()
    cards = stage.page.locator("#us-runs .us-run-card")
    expect(cards).to_have_count(2)

    assert [card.get_attribute("data-id") for card in cards.all()] == runs[::-1]
    expect(cards.first.locator("h3")).to_have_text(EVIL)
    expect(cards.first.locator(".us-state")).to_have_text("Done")
    stage.page.wait_for_function("document.querySelector('#us-runs .us-thumb img').naturalWidth > 0")
    cards.last.get_by_text("Settings").click()
    expect(cards.last.locator(".us-run-settings dl")).to_contain_text("passthrough")
    stage.shoot("10-runs")


def test_a_run_is_opened(stage, runs):
    stage.tab("runs").click()
    stage.page.locator(f'[data-id="{runs[0]}"]').get_by_role("button", name="Open", exact=True).click()

    stage.wait_for_state("done")
    expect(stage.page.locator("#us-run h3")).to_have_text("first.mp4")
    assert stage.run_id() == runs[0]


def test_a_run_is_taken_up_again_with_its_clip_and_settings(stage, runs):
    stage.tab("runs").click()
    stage.page.locator(f'[data-id="{runs[0]}"]').get_by_role("button", name="Re-run with changes").click()

    expect(stage.page.locator("#us-clip-notice .us-facts")).to_be_visible(timeout=WORK_MS)
    expect(stage.chosen("us-engine")).to_have_value("passthrough")
    expect(stage.chosen("us-preset")).to_have_value("custom")
    stage.open_advanced()
    expect(stage.field("quality")).to_have_value("20")
    expect(stage.run_button).to_be_enabled()

    stage.field("quality").fill("24")
    stage.field("quality").blur()
    again = stage.start()
    stage.wait_for_state("done")
    assert again not in runs
    status = httpx.get(f"{stage.url}/runs/{again}").json()
    assert status["settings"]["quality"] == 24
    assert status["settings"]["engine"] == "passthrough"
    assert status["name"] == "first.mp4"


def test_a_run_is_deleted_after_a_question(stage, runs):
    stage.tab("runs").click()
    card = stage.page.locator(f'[data-id="{runs[0]}"]')
    card.get_by_role("button", name="Delete").click()
    stage.page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(card).to_be_visible()

    card.get_by_role("button", name="Delete").click()
    stage.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
    assert [run["id"] for run in httpx.get(f"{stage.url}/runs").json()] == runs[1:]


def test_a_link_to_a_run_that_is_gone_says_so(stage, runs):
    stage.visit("/?run=20200101-000000-gone-0000")

    expect(stage.page.locator("#us-run [role=alert]")).to_contain_text("There is no run", timeout=WORK_MS)
    stage.errors.clear()  # the browser notes the 404


def test_the_theme_follows_the_system_until_it_is_chosen(stage):
    body = stage.page.locator("body")
    stage.page.emulate_media(color_scheme="dark")
    expect(body).to_have_class("dark")
    stage.page.emulate_media(color_scheme="light")
    expect(body).not_to_have_class("dark")

    stage.page.get_by_role("button", name="Dark theme").click()
    expect(body).to_have_class("dark")
    stage.page.reload()
    stage.upload.wait_for(state="attached")
    expect(body).to_have_class("dark")
    stage.page.emulate_media(color_scheme="light")
    expect(body).to_have_class("dark")


def test_cards_are_chosen_with_the_keyboard(stage):
    stage.chosen("us-preset").focus()
    stage.page.keyboard.press("ArrowRight")
    expect(stage.chosen("us-preset")).to_have_value("high")
    stage.page.keyboard.press("ArrowLeft")
    stage.page.keyboard.press("ArrowLeft")
    expect(stage.chosen("us-preset")).to_have_value("fast")


def turned_away(page, url: str) -> bool:
    """Whether the server asks for a password; Chromium may make an error page of its own of that."""
    try:
        answer = page.goto(url)
    except PlaywrightError as error:
        return "ERR_INVALID_AUTH_CREDENTIALS" in error.message
    return answer.status == 401


def test_a_wrong_password_is_turned_away_and_the_right_one_works(browser, small_clip, tmp_path):
    app = AppProcess("--output", str(tmp_path), env={"UNDERSTUDY_AUTH": "nora:open sesame"})
    try:
        for credentials in (None, {"username": "nora", "password": "wrong"}):
            context = browser.new_context(http_credentials=credentials)
            page = context.new_page()
            assert turned_away(page, app.url)
            assert page.locator("#us-clip").count() == 0
            context.close()

        right = {"username": "nora", "password": "open sesame"}
        with Stage.open(browser, app.url, SCREENSHOTS, http_credentials=right) as stage:
            stage.add_clip(small_clip)
            stage.card("us-engine", "passthrough").click()
            stage.start()
            stage.wait_for_state("done")
            expect(stage.page.locator("#us-run .us-compare")).to_be_visible()
    finally:
        app.stop()
