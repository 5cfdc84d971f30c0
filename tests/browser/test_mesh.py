"""The Mesh tab: from a clip to a body that turns, its videos and its files; several clips; runs of both kinds."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Locator, expect

from tests import clips
from tests.browser.conftest import SCREENSHOTS
from tests.browser.driver import WORK_MS, Stage
from tests.browser.test_replace import decoded
from tests.e2e.test_mesh import frames_of, written
from tests.interfaces.serving import QUICK, submit, submit_mesh, wait_for_end
from tests.utils.camera_rig import ring
from utils.cameras.opencv_yaml import write_opencv_yaml

FRAMES = clips.DEMO_FRAMES


class MeshStage:
    """The Mesh tab of an open page."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.page = stage, stage.page
        stage.tab("mesh").click()

    def part(self, name: str) -> Locator:
        return self.page.locator(f"#us-mesh-{name}")

    def add(self, *files: Path, to: str = "clips") -> None:
        self.part(to).locator("input[type=file]").set_input_files(list(files))

    def add_clip(self, clip: Path) -> None:
        """Upload a clip and wait until people were looked for in it."""
        self.add(clip)
        expect(self.part("person").locator(".us-picture")).to_be_visible(timeout=WORK_MS)
        expect(self.part("run-button")).to_be_enabled()

    def wait_for_state(self, state: str) -> None:
        expect(self.part("run").locator(f'.us-run[data-state="{state}"]')).to_be_visible(timeout=WORK_MS)

    def picture(self) -> np.ndarray:
        """What the 3D view shows, (H, W, 3) int."""
        data = self.part("run").locator(".us-3d-canvas").screenshot()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def show_frame(self, frame: int) -> None:
        self.page.get_by_label("Frame of the body").fill(str(frame))
        expect(self.part("run").locator(f'.us-3d[data-frame="{frame}"]')).to_be_visible()


@pytest.fixture
def mesh(stage) -> MeshStage:
    return MeshStage(stage)


@pytest.fixture(scope="module")
def finished(browser, server, small_clip) -> str:
    """A short mesh, made on the page from the upload to the end; its name."""
    with Stage.open(browser, server, SCREENSHOTS) as stage:
        mesh = MeshStage(stage)
        stage.shoot("11-mesh-start")
        mesh.add_clip(small_clip)
        stage.card("us-mesh-preset", "fast").click()
        expect(stage.chosen("us-mesh-preset")).to_have_value("fast")
        # A preset says which videos are drawn.
        expect(mesh.part("field-videos").locator("input:checked")).to_have_count(2)
        mesh.part("field-formats").get_by_text("OBJ:").click()
        stage.shoot("12-mesh-clip")
        mesh.part("run-button").click()
        expect(mesh.part("run").locator("[role=progressbar]")).to_be_visible(timeout=WORK_MS)
        mesh.wait_for_state("done")
        return stage.run_id()


@pytest.fixture
def opened(stage, finished) -> MeshStage:
    """The finished mesh, come back to by its address."""
    stage.visit(f"/?run={finished}")
    expect(stage.page.locator("#us-mesh-run .us-3d-canvas")).to_be_visible(timeout=WORK_MS)
    return MeshStage(stage)


def test_the_body_stands_in_the_view_moves_and_is_turned(opened, finished):
    page = opened.page
    opened.part("run").get_by_role("button", name="Pause").click()
    opened.show_frame(2)
    first = opened.picture()
    # The middle of the view is the body, its rim is the ground.
    assert np.ptp(first.reshape(-1, 3), axis=0).max() > 100
    opened.stage.shoot("13-mesh-3d")
    opened.show_frame(FRAMES - 4)
    walked = opened.picture()
    assert (np.abs(walked - first).max(axis=-1) > 40).mean() > 0.005

    opened.part("run").locator(".us-3d-canvas").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    turned = opened.picture()
    assert (np.abs(turned - walked).max(axis=-1) > 40).mean() > 0.01
    page.get_by_role("button", name="Reset view").click()
    page.wait_for_timeout(300)
    assert (np.abs(opened.picture() - walked).max(axis=-1) > 40).mean() < 0.001

    number = opened.part("run").locator(".us-3d output")
    before = number.inner_text()
    opened.part("run").get_by_role("button", name="Play").click()
    expect(number).not_to_have_text(before)


def test_videos_and_quality_show_something(opened):
    for view in ("overlay", "side_by_side"):
        opened.part("run").locator(f'[data-view="{view}"]').click()
        opened.page.wait_for_function("document.querySelector('#us-mesh-run video').readyState >= 2")
        assert opened.page.evaluate("document.querySelector('#us-mesh-run video').videoWidth") > 0
    expect(opened.part("run").locator('[data-view="turntable"]')).to_have_count(0)
    opened.part("run").locator('[data-view="report"]').click()
    page = opened.page.frame_locator("#us-mesh-run iframe")
    expect(page.locator("svg").first).to_be_visible()
    expect(opened.part("run").locator(".us-figures")).to_contain_text("Coverage")
    opened.stage.shoot("14-mesh-quality")


def test_every_download_is_what_it_says(opened, tmp_path):
    saved: dict[str, Path] = {}
    for link in opened.part("run").locator(".us-downloads a").all():
        with opened.page.expect_download() as download:
            link.click()
        name = download.value.suggested_filename
        download.value.save_as(tmp_path / name)
        saved[name.partition("-")[2]] = tmp_path / name
    assert len(saved) == 6 + 2 + 3
    assert decoded(saved["overlay.mp4"])[0] == FRAMES
    assert trimesh.load(saved["body.glb"]).geometry
    with zipfile.ZipFile(saved["obj.zip"]) as archive:
        assert len(archive.namelist()) == FRAMES
    assert json.loads(saved["quality.json"].read_text())["frames"]["total"] == FRAMES


def test_runs_of_both_kinds_open_in_their_tabs_and_are_taken_up_again(stage, finished, small_clip):
    with httpx.Client(base_url=stage.url, timeout=60) as client:
        replaced = submit(client, small_clip, {**QUICK, "quality": 20}).json()["id"]
        wait_for_end(client, replaced)
    # Straight from the list: neither form has been looked at before.
    stage.tab("runs").click()
    cards = stage.page.locator("#us-runs")
    expect(cards.locator(f'[data-id="{finished}"]')).to_contain_text("Body mesh, Fast, Anny")
    stage.shoot("15-runs-of-both-kinds")
    cards.locator(f'[data-id="{finished}"]').get_by_role("button", name="Re-run with changes").click()
    expect(stage.page.locator("#us-mesh-person .us-picture")).to_be_visible(timeout=WORK_MS)
    expect(stage.chosen("us-mesh-preset")).to_have_value("fast")
    expect(stage.chosen("us-mesh-body")).to_have_value("anny")
    expect(stage.page.locator("#us-mesh-field-formats input:checked")).to_have_count(6)
    expect(stage.page.locator("#us-mesh-run-button")).to_be_enabled(timeout=WORK_MS)

    stage.tab("runs").click()
    cards.locator(f'[data-id="{replaced}"]').get_by_role("button", name="Open", exact=True).click()
    expect(stage.page.locator('#us-run .us-run[data-state="done"]')).to_be_visible(timeout=WORK_MS)
    assert stage.run_id() == replaced
    stage.tab("runs").click()
    cards.locator(f'[data-id="{finished}"]').get_by_role("button", name="Open", exact=True).click()
    expect(stage.page.locator("#us-mesh-run .us-3d-canvas")).to_be_visible(timeout=WORK_MS)
    assert stage.run_id() == finished


def test_cancel_in_the_middle_resume_and_delete(stage, demo_clip, output):
    with httpx.Client(base_url=stage.url, timeout=60) as client:
        run_id = submit_mesh(client, [demo_clip]).json()["id"]
    stage.visit(f"/?run={run_id}")
    mesh = MeshStage(stage)
    expect(mesh.part("run").locator(".us-live")).to_be_visible(timeout=WORK_MS)
    stage.shoot("16-mesh-running")
    stage.page.get_by_role("button", name="Cancel").click()
    mesh.wait_for_state("cancelled")
    assert (output / run_id / "body.npz").is_file()

    mesh.part("run").get_by_role("button", name="Resume").click()
    expect(mesh.part("run").locator("[role=progressbar]")).to_be_visible(timeout=WORK_MS)
    stage.page.get_by_role("button", name="Cancel").click()
    mesh.wait_for_state("cancelled")
    stage.tab("runs").click()
    card = stage.page.locator(f'[data-id="{run_id}"]')
    card.get_by_role("button", name="Delete").click()
    stage.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
    assert not (output / run_id).exists()


def test_several_clips_ask_for_their_calibration_and_say_what_is_wrong_with_it(mesh, small_clip, tmp_path):
    frames = frames_of(small_clip)
    takes = [written(tmp_path, part, f"cam0{n}.mp4") for n, part in ((1, frames[:12]), (2, frames[12:]))]
    expect(mesh.part("calibration")).to_be_hidden()
    mesh.add(*takes)
    said = mesh.part("clip-notice")
    expect(said).to_contain_text("2 clips. Add the calibration", timeout=WORK_MS)
    expect(mesh.part("run-button")).to_be_disabled()

    broken = tmp_path / "cameras.toml"
    broken.write_text('[cam_01]\nname = "cam01"\n')
    mesh.add(broken, to="calibration")
    expect(said.locator("[role=alert]")).to_contain_text("cameras.toml: [cam_01]", timeout=WORK_MS)
    mesh.part("calibration").get_by_label("Clear").click()
    expect(said).to_contain_text("Add the calibration", timeout=WORK_MS)

    write_opencv_yaml(tmp_path, ring(2))
    mesh.add(tmp_path / "intri.yml", tmp_path / "extri.yml", to="calibration")
    expect(said).to_contain_text("cam02.mp4 is camera cam02", timeout=WORK_MS)
    expect(mesh.part("run-button")).to_be_enabled()
    mesh.stage.shoot("17-mesh-several")


def test_a_file_that_is_no_video_and_a_body_that_is_not_there(mesh, tmp_path):
    mesh.add(clips.text(tmp_path))
    expect(mesh.part("clip-notice").locator("[role=alert]")).to_contain_text("text.mp4", timeout=WORK_MS)
    expect(mesh.part("run-button")).to_be_disabled()
    card = mesh.stage.card("us-mesh-body", "smplx")
    expect(card).to_contain_text("SMPLX_NEUTRAL.npz")
    expect(card.get_by_role("link")).to_have_attribute("href", "https://smpl-x.is.tue.mpg.de")
    expect(card.locator("input")).to_be_disabled()


def test_the_bundled_clip_is_one_click_and_a_changed_setting_is_custom(mesh):
    mesh.part("example").click()
    expect(mesh.part("clip-notice")).to_contain_text("112 frames", timeout=WORK_MS)
    expect(mesh.part("cost")).to_contain_text("likely", timeout=WORK_MS)
    whole = mesh.part("cost").inner_text()
    mesh.part("field-videos").get_by_text("Turntable").click()
    expect(mesh.stage.chosen("us-mesh-preset")).to_have_value("custom")
    expect(mesh.part("cost")).not_to_have_text(whole)
    mesh.part("field-videos").get_by_text("Turntable").click()
    expect(mesh.stage.chosen("us-mesh-preset")).to_have_value("balanced")
