"""From a clip to a result, and what can go wrong on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import av
import httpx
import numpy as np
import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from tests import clips
from tests.browser.conftest import SCREENSHOTS
from tests.browser.driver import WORK_MS, Stage
from tests.interfaces.serving import AppProcess, until

FRAMES = clips.DEMO_FRAMES


def decoded(path: Path) -> tuple[int, tuple[int, int]]:
    """Number of frames and size of a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(1 for _ in container.decode(stream)), (stream.width, stream.height)


def colours(stage: Stage, selector: str) -> np.ndarray:
    """The pixels of a picture on the page, (H, W, 4)."""
    data = stage.page.evaluate(
        """async (selector) => {
            const image = document.querySelector(selector);
            await image.decode();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, Array.from(data)];
        }""",
        selector,
    )
    return np.array(data[2], np.uint8).reshape(data[0], data[1], 4)


@pytest.fixture(scope="module")
def finished(browser, server, small_clip, tmp_path_factory) -> str:
    """A short run of the avatar, made on the page from the upload to the end; its name."""
    with Stage.open(browser, server, SCREENSHOTS) as stage:
        stage.shoot("1-start")
        stage.add_clip(small_clip)
        stage.card("us-preset", "fast").click()
        expect(stage.chosen("us-preset")).to_have_value("fast")
        stage.card("us-avatar", "maya").click()
        stage.shoot("2-clip")
        run_id = stage.start()
        expect(stage.page.locator("#us-run [role=progressbar]")).to_be_visible()
        stage.wait_for_state("done")
        return run_id


def test_the_page_asks_no_other_server_for_anything(stage):
    expect(stage.card("us-avatar", "omar").locator("img")).to_be_visible()
    stage.page.wait_for_load_state("load")
    stage.page.wait_for_timeout(1000)

    others = {url for url in stage.requests if not url.startswith((stage.url, "data:", "blob:"))}
    assert others == set()
    expect(stage.page).to_have_title("Understudy")
    assert stage.page.locator("footer").count() == 0


def test_somebody_random_can_be_chosen(stage, small_clip):
    stage.add_clip(small_clip)
    stage.page.locator("#us-random-avatar").click()
    somebody = stage.page.locator("#us-avatar label").first
    expect(somebody).to_have_attribute("data-value", re.compile(r"^random-\d+$"))
    name = somebody.get_attribute("data-value")
    expect(stage.chosen("us-avatar")).to_have_value(name)
    picture = somebody.locator("img")
    expect(picture).to_have_js_property("naturalWidth", 384, timeout=120_000)
    stage.shoot("random")

    stage.card("us-avatar", "omar").click()
    expect(stage.chosen("us-avatar")).to_have_value("omar")
    expect(stage.card("us-avatar", name)).to_be_visible()


def test_a_preset_fills_the_advanced_settings_in_and_a_change_makes_it_custom(stage, small_clip):
    stage.open_advanced()
    assert stage.field("plate_samples").input_value() == "20"

    stage.card("us-preset", "high").click()
    expect(stage.field("plate_samples")).to_have_value("32")
    expect(stage.field("quality")).to_have_value("10")
    expect(stage.field("fit")).to_have_value("best")
    stage.shoot("3-advanced")

    stage.field("grain").uncheck()
    expect(stage.chosen("us-preset")).to_have_value("custom")
    stage.field("grain").check()
    expect(stage.chosen("us-preset")).to_have_value("high")
    expect(stage.card("us-preset", "custom")).to_have_count(0)


def test_a_preset_chosen_while_the_accordion_is_closed_counts(stage):
    stage.card("us-preset", "fast").click()
    expect(stage.chosen("us-preset")).to_have_value("fast")
    stage.open_advanced()

    expect(stage.field("plate_samples")).to_have_value("8")
    expect(stage.chosen("us-preset")).to_have_value("fast")


def test_the_costs_follow_clip_and_preset(stage, small_clip):
    expect(stage.page.locator("#us-cost")).to_contain_text("Add a clip")
    stage.add_clip(small_clip)
    balanced = stage.page.locator("#us-cost").inner_text()
    assert "$0." in balanced or "under $0.01" in balanced
    expect(stage.card("us-preset", "fast")).to_contain_text("s a frame")

    stage.card("us-preset", "high").click()
    expect(stage.page.locator("#us-cost")).not_to_have_text(balanced)


def test_a_click_picks_the_person(stage, small_clip):
    stage.add_clip(small_clip)
    person = stage.page.locator("#us-person .us-person")
    expect(person).to_have_count(1)
    expect(person).to_have_attribute("aria-pressed", "true")
    stage.open_advanced()
    assert stage.field("person").input_value() == ""

    person.click()
    expect(stage.field("person")).not_to_have_value("")
    x, y = map(float, stage.field("person").input_value().split(","))
    assert 0 < x < clips.DEMO_SIZE[0]
    assert 0 < y < clips.DEMO_SIZE[1]

    # Where nobody was found a click marks the place itself.
    stage.page.locator("#us-person .us-picture").click(position={"x": 12, "y": 12})
    expect(stage.page.locator("#us-person .us-point")).to_be_visible()
    expect(person).to_have_attribute("aria-pressed", "false")
    expect(stage.field("person")).not_to_have_value(f"{x:.0f},{y:.0f}")


def test_the_cost_follows_the_size_of_the_person_who_is_picked(stage, demo_clip):
    stage.add_clip(demo_clip)
    cost = stage.page.locator("#us-cost .us-facts")
    expect(cost).to_contain_text("likely")
    seen = cost.text_content()
    # Nobody is known to stand there: the range is wider.
    stage.page.locator("#us-person .us-picture").click(position={"x": 12, "y": 12})
    expect(cost).not_to_have_text(seen)
    stage.page.locator("#us-person .us-person").click()
    expect(cost).to_have_text(seen)


def test_a_preview_shows_one_frame_before_and_after(stage, small_clip):
    stage.add_clip(small_clip)
    stage.page.locator("#us-preview-button").click()
    expect(stage.page.locator("#us-preview .us-compare")).to_be_visible(timeout=WORK_MS)
    expect(stage.page.locator("#us-preview")).to_contain_text("drawn in")
    stage.shoot("4-preview")

    before, after = (colours(stage, f"#us-preview .us-{side}") for side in ("before", "after"))
    assert before.shape[:2] == (clips.DEMO_SIZE[1], clips.DEMO_SIZE[0])
    differing = np.abs(before.astype(int) - after)[..., :3].max(axis=-1) > 40
    # The person, and next to nothing else.
    assert 0.003 < differing.mean() < 0.2


def test_the_slider_shows_any_frame_before_and_after(stage, finished):
    stage.visit(f"/?run={finished}")
    stage.wait_for_state("done")
    expect(stage.page.locator("#us-run .us-compare")).to_be_visible()
    stage.shoot("6-result")
    middle = colours(stage, "#us-run .us-after")

    slider = stage.page.get_by_label("Frame", exact=True)
    slider.fill("2")
    expect(stage.page.locator("#us-run .us-frames output")).to_have_text(f"Frame 3 of {FRAMES}")
    shown = stage.page.locator("#us-run .us-after")
    expect(shown).to_have_attribute("src", f"http://{urlsplit(stage.url).netloc}/runs/{finished}/frames/2?side=result")
    before, after = colours(stage, "#us-run .us-before"), colours(stage, "#us-run .us-after")
    assert (np.abs(middle.astype(int) - after) > 40).any()
    assert (np.abs(before.astype(int) - after) > 40).any()

    divide = stage.page.get_by_label("Divide between before and after")
    divide.focus()
    box = stage.page.locator("#us-run .us-line").bounding_box()
    stage.page.keyboard.press("End")
    assert stage.page.locator("#us-run .us-line").bounding_box()["x"] > box["x"] + 50


def test_every_view_of_the_result_shows_something(stage, finished):
    stage.visit(f"/?run={finished}")
    stage.wait_for_state("done")
    for view in ("result", "comparison"):
        stage.page.locator(f'#us-run [data-view="{view}"]').click()
        stage.page.wait_for_function("document.querySelector('#us-run video').readyState >= 2")
        assert stage.page.evaluate("document.querySelector('#us-run video').videoWidth") > 0
    stage.page.locator('#us-run [data-view="report"]').click()
    report = stage.page.frame_locator("#us-run iframe")
    expect(report.locator("h1")).to_be_visible()
    stage.shoot("7-report")


def test_the_download_decodes_with_the_right_frame_count(stage, finished, tmp_path):
    stage.visit(f"/?run={finished}")
    stage.wait_for_state("done")
    with stage.page.expect_download() as download:
        stage.page.get_by_role("link", name="Download video").click()
    file = tmp_path / "download.mp4"
    download.value.save_as(file)

    assert download.value.suggested_filename.endswith(".mp4")
    assert decoded(file) == (FRAMES, clips.DEMO_SIZE)


def test_cancel_in_the_middle_and_resume(stage, demo_clip, output):
    stage.add_clip(demo_clip)
    run_id = stage.start()
    expect(stage.page.locator("#us-run .us-stage")).to_have_text("Drawing the new person", timeout=WORK_MS)
    expect(stage.page.locator("#us-run .us-live")).to_be_visible(timeout=WORK_MS)
    stage.shoot("5-running")
    stage.page.get_by_role("button", name="Cancel").click()
    stage.wait_for_state("cancelled")
    stage.shoot("8-cancelled")
    assert json.loads((output / run_id / "run.json").read_text())["state"] == "cancelled"
    assert (output / run_id / "person.npz").is_file()

    stage.page.get_by_role("button", name="Resume").click()
    expect(stage.page.locator("#us-run [role=progressbar]")).to_be_visible(timeout=WORK_MS)
    stage.page.get_by_role("button", name="Cancel").click()
    stage.wait_for_state("cancelled")


def test_a_reload_and_another_browser_come_back_to_a_run(stage, another, demo_clip):
    stage.add_clip(demo_clip)
    run_id = stage.start()
    expect(stage.page.locator("#us-run .us-percent")).to_contain_text("%", timeout=WORK_MS)

    stage.page.reload()
    stage.wait_for_state("running")
    assert stage.run_id() == run_id
    expect(stage.page.locator("#us-run .us-percent")).to_contain_text("%")

    elsewhere = another(f"/?run={run_id}")
    expect(elsewhere.locator('#us-run .us-run[data-state="running"]')).to_be_visible()
    stage.page.get_by_role("button", name="Cancel").click()
    expect(elsewhere.locator('#us-run .us-run[data-state="cancelled"]')).to_be_visible(timeout=WORK_MS)


def test_a_bundled_example_is_one_click(stage):
    stage.page.locator("#us-examples button", has_text="Maya").click()
    expect(stage.page.locator("#us-clip-notice")).to_contain_text("112 frames", timeout=WORK_MS)
    expect(stage.chosen("us-avatar")).to_have_value("maya")
    expect(stage.run_button).to_be_enabled()


def test_a_text_file_as_a_video_is_refused_in_words(stage, tmp_path):
    stage.upload.set_input_files(clips.text(tmp_path))

    expect(stage.page.locator("#us-clip-notice [role=alert]")).to_contain_text("text.mp4", timeout=WORK_MS)
    expect(stage.run_button).to_be_disabled()
    expect(stage.page.locator("#us-preview-button")).to_be_disabled()
    stage.shoot("9-not-a-video")


def test_a_clip_over_the_limit_is_refused_in_words(stage, tmp_path):
    stage.upload.set_input_files(clips.plain(tmp_path, frames=24, rate=clips.Fraction(1, 2)))

    notice = stage.page.locator("#us-clip-notice [role=alert]")
    expect(notice).to_contain_text("48.0 s long, the limit is 30 s", timeout=WORK_MS)
    expect(stage.run_button).to_be_disabled()


def test_a_clip_without_anybody_says_so(stage, tmp_path):
    stage.add_clip(clips.plain(tmp_path, size=(320, 240)))

    expect(stage.page.locator("#us-person .us-notice")).to_contain_text("No person was found")


def test_a_bad_setting_is_named(stage, small_clip):
    stage.add_clip(small_clip)
    stage.open_advanced()
    stage.field("focal_length").press_sequentially("-5")
    expect(stage.page.locator("#us-notice [role=alert]")).to_contain_text("focal_length")

    stage.run_button.click()
    expect(stage.page.locator("#us-notice [role=alert]")).to_contain_text("focal_length")
    assert stage.run_id() is None


def _wait_for_camera(stage, seconds: float) -> None:
    """Until the camera's picture has been running for so long."""
    running = "seconds => (document.querySelector('#us-clip video')?.currentTime ?? 0) > seconds"
    stage.page.wait_for_function(running, arg=seconds, timeout=WORK_MS)


def _record(stage) -> None:
    stage.page.get_by_label("Capture from camera").click()
    stage.page.get_by_text("Click to Access Webcam").click()
    _wait_for_camera(stage, 0.3)
    stage.page.get_by_role("button", name="Record").click()
    # By the camera's own clock: on a busy machine a second may pass without a frame.
    now = stage.page.evaluate("document.querySelector('#us-clip video').currentTime")
    _wait_for_camera(stage, now + 2)
    stage.page.locator("#us-clip button", has_text="Stop").click()


def test_the_camera_records_a_clip(stage):
    facts = stage.page.locator("#us-clip-notice .us-facts")
    for _ in range(3):
        _record(stage)
        try:
            facts.wait_for(timeout=WORK_MS / 4)
            break
        except PlaywrightTimeout:
            # Gradio's recorder uploads what pieces it has when it is stopped; where the machine stands still it has none.
            stage.visit()
    expect(facts).to_contain_text("frames")
    # The browser's camera shows a pattern. Nobody is in it, but now and then a few frames of it pass for somebody.
    looked_at = stage.page.locator("#us-person .us-notice, #us-person [aria-pressed]")
    expect(looked_at.first).to_be_visible(timeout=WORK_MS)


def test_a_request_cannot_name_a_file_of_the_machine(browser, small_clip, tmp_path):
    secret, output = tmp_path / "secret.mp4", tmp_path / "output"
    secret.write_bytes(small_clip.read_bytes())

    def forge(route) -> None:
        body = route.request.post_data_json
        for value in body["data"]:
            if isinstance(value, dict) and "path" in value:
                value["path"] = str(secret)
        route.continue_(post_data=json.dumps(body))

    app = AppProcess("--output", str(output))
    try:
        with Stage.open(browser, app.url, SCREENSHOTS) as stage:
            stage.page.route("**/gradio_api/queue/join*", forge)
            stage.upload.set_input_files(small_clip)
            # Once the upload is there, so is the answer to the forged request soon after.
            until(lambda: any((output / ".gradio").rglob(small_clip.name)), "the upload is there")
            stage.page.wait_for_timeout(3000)
            expect(stage.page.locator("#us-clip-notice .us-facts")).to_have_count(0)
            expect(stage.run_button).to_be_disabled()
            stage.errors.clear()
    finally:
        _, said = app.stop()
    assert "InvalidPathError" in said
    assert list(output.rglob("secret.mp4")) == []


def test_only_uploads_are_served_as_files(stage, finished, output):
    stage.visit()
    for file in (output / finished / "run.json", Path("README.md").resolve(), Path("/etc/hostname")):
        assert file.is_file()
        assert httpx.get(f"{stage.url}/gradio_api/file={file}").status_code == 403
