"""The engines on the page: what they lack, what they read, and a whole run with one that draws by diffusion."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect
from safetensors.numpy import save_file

from core.presets import load_preset
from tests.browser.conftest import SCREENSHOTS
from tests.browser.driver import WORK_MS, Stage
from tests.interfaces.serving import AppProcess
from utils.video_io import VideoReader
from utils.video_probe import probe

#: Sets that are not there: what needs them says so.
LEFT_OUT = ("lcm-lora",)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, toy_weights) -> Path:
    """A folder of weights with both diffusion engines, one of the optional sets missing, and a checkpoint of the user's."""
    folder = tmp_path_factory.mktemp("weights")
    for made in toy_weights.iterdir():
        if made.name not in LEFT_OUT:
            (folder / made.name).symlink_to(made)
    (folder / "checkpoints").mkdir()
    save_file({"weight": np.zeros(4, np.float32)}, folder / "checkpoints" / "house-style.safetensors")
    return folder


@pytest.fixture(scope="module")
def server(output, weights) -> Iterator[str]:
    """Address of a server to which the diffusion engines are ready."""
    app = AppProcess("--output", str(output), env={"UNDERSTUDY_WEIGHTS": str(weights)})
    yield app.url
    code, said = app.stop()
    assert code == 0
    assert "Traceback" not in said


def choose(stage: Stage, engine: str) -> None:
    """Choose an engine and wait until the page has followed."""
    stage.card("us-engine", engine).click()
    expect(stage.chosen("us-engine")).to_have_value(engine)
    takes_words = engine in ("controlnet", "wan-animate")
    expect(stage.page.locator("#us-prompt")).to_be_visible(visible=takes_words)


def test_an_engine_without_weights_says_what_it_lacks_and_a_reload_finds_them(browser, toy_weights, tmp_path):
    folder = tmp_path / "weights"
    app = AppProcess("--output", str(tmp_path / "output"), env={"UNDERSTUDY_WEIGHTS": str(folder)})
    try:
        with Stage.open(browser, app.url, SCREENSHOTS) as stage:
            stage.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=app.url)
            for engine, pulled, size in (
                ("controlnet", "controlnet-sd15", "6.4"),
                ("wan-animate", "wan-animate", "82.3"),
            ):
                card = stage.card("us-engine", engine)
                expect(card).to_contain_text("Not ready")
                expect(card).to_contain_text(f"the weights {pulled} ({size}\N{NO-BREAK SPACE}GB)")
                expect(card.locator("code")).to_have_text(f"python app.py weights pull {pulled}")
                expect(card.locator("input")).to_be_disabled()
                card.click(position={"x": 20, "y": 20}, force=True)
                expect(stage.chosen("us-engine")).to_have_value("avatar")
            stage.shoot("10-engines-not-ready")
            stage.card("us-engine", "controlnet").get_by_role("button").click()
            expect(stage.card("us-engine", "controlnet").get_by_role("button")).to_have_text("Copied")
            assert stage.page.evaluate("navigator.clipboard.readText()") == "python app.py weights pull controlnet-sd15"

            folder.mkdir()
            (folder / "controlnet-sd15").symlink_to(toy_weights / "controlnet-sd15")
            stage.visit()
            expect(stage.card("us-engine", "controlnet").locator(".us-badge")).to_have_text("Ready")
            expect(stage.card("us-engine", "wan-animate").locator(".us-badge")).to_have_text("Not ready")
            choose(stage, "controlnet")
    finally:
        app.stop()


def test_only_what_an_engine_reads_is_shown(stage):
    fields = {"edge_samples", "steps", "canny_weight", "grain"}
    parts = {"us-avatar", "us-reference", "us-prompt", "us-checkpoint", "us-checkpoint-upload"}
    read = {
        "avatar": {"edge_samples", "grain", "us-avatar", "us-reference"},
        "controlnet": {"steps", "canny_weight", "grain", *parts},
        "wan-animate": {"steps", "grain", *(parts - {"us-checkpoint-upload"})},
        "passthrough": {"grain"},
    }
    stage.open_advanced()
    for engine in ("avatar", "controlnet", "wan-animate", "passthrough"):
        choose(stage, engine)
        for name in fields:
            expect(stage.page.locator(f"#us-field-{name}")).to_be_visible(visible=name in read[engine])
        for name in parts:
            expect(stage.page.locator(f"#{name}")).to_be_visible(visible=name in read[engine])
        if engine in ("controlnet", "wan-animate"):
            stage.shoot(f"11-{engine}")


def test_what_an_engine_does_not_read_does_not_make_a_preset_custom(stage):
    stage.open_advanced()
    choose(stage, "controlnet")
    stage.field("steps").fill("7")
    expect(stage.chosen("us-preset")).to_have_value("custom")
    choose(stage, "avatar")
    expect(stage.chosen("us-preset")).to_have_value("balanced")
    choose(stage, "controlnet")
    expect(stage.chosen("us-preset")).to_have_value("custom")
    expect(stage.field("steps")).to_have_value("7")
    stage.card("us-preset", "high").click()
    high = load_preset("high", "replace")
    expect(stage.field("steps")).to_have_value(str(high.get("steps", 0)))
    expect(stage.field("generation_size")).to_have_value(str(high["generation_size"]))


def test_what_the_settings_need_is_said_before_the_run(stage, small_clip):
    stage.add_clip(small_clip)
    choose(stage, "controlnet")
    stage.card("us-preset", "fast").click()
    notice = stage.page.locator("#us-notice .us-notice")
    expect(notice).to_contain_text("the weights lcm-lora")
    expect(notice.locator("code")).to_have_text("python app.py weights pull lcm-lora")
    stage.shoot("12-missing-for-a-preset")

    stage.run_button.click()
    # The server loads the engine's libraries to find out.
    refused = stage.page.locator("#us-notice [role=alert]")
    expect(refused).to_contain_text("python app.py weights pull lcm-lora", timeout=WORK_MS)
    assert stage.run_id() is None
    stage.card("us-preset", "balanced").click()
    expect(notice).to_have_count(0)


def test_checkpoints_on_disk_are_offered_and_others_can_be_brought(stage, weights, tmp_path):
    choose(stage, "controlnet")
    chosen = stage.page.locator("#us-checkpoint input")
    expect(chosen).to_have_value("realistic-vision-v5.1")
    chosen.click()
    options = stage.page.get_by_role("option")
    expect(options).to_contain_text(["realistic-vision-v5.1", "house-style"])
    expect(options).to_have_count(2)
    options.nth(1).click()
    expect(chosen).to_have_value("house-style")

    upload = stage.page.locator(".us-own-checkpoint input[type=file]")
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(pickle.dumps({"weight": [0.0]}))
    upload.set_input_files(pickled)
    refused = stage.page.locator("#us-checkpoint-notice [role=alert]")
    expect(refused).to_contain_text("pickled.safetensors is a pickle: loading it could run code")
    stage.shoot("13-pickle")
    expect(chosen).to_have_value("house-style")

    brought = tmp_path / "brought.safetensors"
    save_file({"weight": np.ones(4, np.float32)}, brought)
    upload.set_input_files(brought)
    expect(chosen).to_have_value("brought")
    assert (weights / "checkpoints" / "brought.safetensors").read_bytes() == brought.read_bytes()
    assert sorted(file.name for file in (weights / "checkpoints").iterdir()) == [
        "brought.safetensors",
        "house-style.safetensors",
    ]


def test_a_run_with_a_diffusion_engine_and_again_with_its_settings(stage, output, small_clip, tmp_path):
    picture = tmp_path / "somebody.png"
    cv2.imwrite(str(picture), np.full((64, 48, 3), (30, 60, 200), np.uint8))
    stage.add_clip(small_clip)
    choose(stage, "controlnet")
    stage.page.locator("#us-reference input[type=file]").set_input_files(picture)
    expect(stage.page.locator("#us-reference img")).to_be_visible()
    stage.page.locator("#us-prompt textarea").fill("a man in a red coat")
    stage.open_advanced()
    stage.field("generation_size").fill("128")
    stage.field("steps").fill("4")
    stage.field("steps").press("Tab")
    expect(stage.chosen("us-preset")).to_have_value("custom")
    run_id = stage.start()
    stage.wait_for_state("done")
    expect(stage.page.locator("#us-run .us-compare")).to_be_visible()
    stage.shoot("14-controlnet-result")

    settings = json.loads((output / run_id / "run.json").read_text())["settings"]
    assert (settings["engine"], settings["prompt"]) == ("controlnet", "a man in a red coat")
    assert (settings["generation_size"], settings["steps"]) == (128, 4)
    assert Path(settings["reference"]) == output / run_id / "reference.png"

    stage.visit(f"/?run={run_id}")
    stage.wait_for_state("done")
    stage.page.get_by_role("button", name="Change and run again").click()
    expect(stage.chosen("us-engine")).to_have_value("controlnet", timeout=WORK_MS)
    expect(stage.page.locator("#us-prompt textarea")).to_have_value("a man in a red coat")
    expect(stage.page.locator("#us-reference img")).to_be_visible()
    expect(stage.page.locator("#us-clip-notice .us-facts")).to_be_visible(timeout=WORK_MS)
    stage.open_advanced()
    expect(stage.field("generation_size")).to_have_value("128")
    expect(stage.page.locator("#us-field-edge_samples")).to_be_hidden()


def test_a_person_from_a_photo_is_shown_with_the_run(stage, output, demo_clip, small_clip, tmp_path):
    with VideoReader(probe(demo_clip)) as reader:
        cv2.imwrite(str(tmp_path / "woman.png"), reader.frame(10)[..., ::-1])
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 400, 3), 128, np.uint8))
    stage.add_clip(small_clip)
    expect(stage.page.locator("#us-reference-help")).to_contain_text("one person from head to feet")
    upload = stage.page.locator("#us-reference input[type=file]")
    upload.set_input_files(tmp_path / "woman.png")
    expect(stage.page.locator("#us-reference img")).to_be_visible()
    run_id = stage.start()
    stage.wait_for_state("done")
    expect(stage.page.locator("#us-run")).to_contain_text("A person from a photo")
    stage.page.get_by_role("button", name="From the photo").click()
    picture = stage.page.locator("#us-run .us-figure img")
    expect(picture).to_be_visible()
    expect(stage.page.locator("#us-run .us-figure")).to_contain_text("made up")
    stage.page.wait_for_function("document.querySelector('#us-run .us-figure img').naturalHeight > 100")
    stage.shoot("15-person-from-a-photo")
    assert (output / run_id / "reference-figure.jpg").is_file()

    stage.visit()
    stage.add_clip(small_clip)
    upload.set_input_files(tmp_path / "wall.png")
    expect(stage.page.locator("#us-reference img")).to_be_visible()
    stage.start()
    stage.wait_for_state("failed")
    expect(stage.page.locator("#us-run")).to_contain_text("Nobody is found in the reference picture")
