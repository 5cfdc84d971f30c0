"""A person from a photo, as a user has it: on the command line and over REST, what comes of it and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import clips
from tests.conftest import ROOT
from tests.e2e.test_replace import frames_of
from tests.interfaces.serving import rest_server, wait_for_end
from utils.video_io import VideoReader
from utils.video_probe import probe

FRAMES, SIZE = clips.DEMO_FRAMES, clips.DEMO_SIZE
#: What makes no difference to who is drawn, made quick.
QUICK = {"fit": "quick", "detector_complexity": 0, "plate_samples": 5, "segments": 1, "comparison": False}
#: Rows and columns of the walking woman's shirt in frame 10 of the bundled clip.
SHIRT = np.s_[75:205, 790:880]


@pytest.fixture(scope="session")
def frame(demo_clip) -> np.ndarray:
    with VideoReader(probe(demo_clip)) as reader:
        return reader.frame(10)


@pytest.fixture(scope="session")
def photo(frame, tmp_path_factory) -> Path:
    """The woman of the clip, in a red shirt in the place of her green one."""
    red = frame.copy()
    part = red[SHIRT].astype(np.float32)
    green = (part[..., 1] > part[..., 0]) & (part.max(axis=-1) < 150)
    light = part.mean(axis=-1, keepdims=True)
    part[green] = (light * [2.2, 0.35, 0.35])[green]
    red[SHIRT] = part.clip(0, 255).astype(np.uint8)
    return written(red, tmp_path_factory.mktemp("photo") / "red.png")


def written(rgb: np.ndarray, path: Path) -> Path:
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def torso_color(folder: Path, clip: Path) -> np.ndarray:
    """(3,) the middle colour of a clip between the person's shoulders and hips, in the middle of the trunk."""
    with np.load(folder / "person.npz") as person:
        landmarks = person["landmarks"]
        masks = np.unpackbits(person["mask"], axis=-1, count=SIZE[0]).astype(bool)
    seen = []
    for picture, points, mask in zip(frames_of(clip), landmarks, masks, strict=True):
        trunk = points[[11, 12, 24, 23], :2]
        middle = trunk.mean(axis=0) + 0.7 * (trunk - trunk.mean(axis=0))
        inside = cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(middle.astype(np.int32)), 1)
        seen.append(picture[(inside > 0) & mask])
    return np.median(np.concatenate(seen), axis=0)


@pytest.fixture(scope="session")
def run(small_clip, photo, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "app.py", "replace", str(small_clip), "--reference", str(photo), "--output", str(output)]
    for name, value in QUICK.items():
        command += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_the_clip_wears_the_photos_clothes(run, small_clip) -> None:
    before, after = torso_color(run, small_clip), torso_color(run, run / "result.mp4")
    assert before[1] >= before[0], "her own shirt is green"
    assert after[0] > 1.4 * after[1] and after[0] > 1.4 * after[2], "the photo's is red"


def test_the_rest_is_as_in_any_run(run) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "done"
    assert record["frames_out"] == FRAMES
    assert record["metrics"]["coverage"] == 1.0
    assert record["metrics"]["iou"] > 0.6
    assert any("pixels tall" in warning for warning in record["warnings"])


def test_the_folder_shows_the_person_that_was_made(run) -> None:
    picture = cv2.imread(str(run / "reference-figure.jpg"))
    assert picture.shape[0] == 512
    # Three views of equal width stand to the right of the photo.
    front = picture[:, -3 * 288 : -2 * 288].astype(int)
    blue, green, red = (front[150:260, 110:180, k].mean() for k in range(3))
    assert red > 1.3 * green and red > 1.3 * blue


def test_a_photo_that_cannot_be_used_stops_the_run_before_it_starts(app, frame, small_clip, tmp_path) -> None:
    text = tmp_path / "letter.jpg"
    text.write_text("This is no picture.\n")
    empty = written(np.full((300, 400, 3), 128, np.uint8), tmp_path / "empty.png")
    two = written(np.hstack([frame, frame]), tmp_path / "two.png")
    bust = cv2.resize(frame[5:205, 720:930], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    half = written(bust, tmp_path / "half.png")
    output = tmp_path / "runs"
    for picture, said in (
        (text, "letter.jpg cannot be read"),
        (empty, "Nobody is found in the reference picture empty.png"),
        (two, "two.png shows 2 people"),
        (half, "half.png shows only half a person"),
    ):
        done = app("replace", small_clip, "--reference", picture, "--output", output)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not output.exists() or not list(output.iterdir()), "nothing half-written stays"


def test_over_rest_the_person_comes_with_the_run(small_clip, photo, frame, tmp_path) -> None:
    with rest_server(tmp_path / "runs") as (client, _):
        files = {"clip": ("a.mp4", small_clip.read_bytes()), "reference": ("me.png", photo.read_bytes())}
        answer = client.post("/runs", files=files, data={"settings": json.dumps(QUICK)})
        assert answer.status_code == 202, answer.text
        status = wait_for_end(client, answer.json()["id"])
        assert status["state"] == "done", status
        figure = next(file for file in status["files"] if file["kind"] == "picture")
        sent = client.get(figure["address"])
        assert sent.headers["content-type"] == "image/jpeg"
        picture = cv2.imdecode(np.frombuffer(sent.content, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[0] == 512

        empty = written(np.full((300, 400, 3), 128, np.uint8), tmp_path / "empty.png")
        files["reference"] = ("me.png", empty.read_bytes())
        refused = wait_for_end(
            client, client.post("/runs", files=files, data={"settings": json.dumps(QUICK)}).json()["id"]
        )
        assert refused["state"] == "failed"
        assert "Nobody is found in the reference picture" in json.dumps(refused)
        assert client.get(f"/runs/{refused['id']}/figure").status_code == 409


def test_a_run_without_a_photo_has_no_person_of_one() -> None:
    from interfaces.rest.files import files_of

    settings = {"engine": "avatar", "reference": None, "comparison": True}
    assert "figure" not in [file.name for file in files_of({"kind": "replace", "settings": settings})]
    settings = {"engine": "controlnet", "reference": "reference.png", "comparison": True}
    assert "figure" not in [file.name for file in files_of({"kind": "replace", "settings": settings})]
