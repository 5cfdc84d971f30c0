"""The diffusion engines over the REST API: what is told of them, what a run lacks, a whole run; and the estimate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from interfaces.jobs.queue import JobQueue
from tests import clips
from tests.interfaces.serving import rest_server, submit, wait_for_end

#: As little as the engine can do.
TOY = {
    "engine": "controlnet", "avatar": "mannequin", "generation_size": 128, "steps": 4, "prompt": "a man", "fit": "quick",
    "plate_samples": 5, "detector_complexity": 0, "segments": 1, "comparison": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory, toy_weights) -> Iterator[Path]:
    """A folder of weights that holds what the controlnet engine needs always, and for a reference picture."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("controlnet-sd15", "ip-adapter"):
        (folder / name).symlink_to(toy_weights / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_WEIGHTS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory) -> Iterator[tuple[httpx.Client, JobQueue]]:
    with rest_server(tmp_path_factory.mktemp("runs"), hourly_price=3.6) as made:
        yield made


@pytest.fixture
def client(server) -> httpx.Client:
    return server[0]


def error_of(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_engines_say_what_they_read_and_what_they_lack(client) -> None:
    engines = {engine["name"]: engine for engine in client.get("/engines").json()}
    assert engines["controlnet"]["ready"]
    assert engines["controlnet"]["checkpoints"] == ["realistic-vision-v5.1"]
    assert {"reference", "prompt"} <= set(engines["controlnet"]["takes"])
    assert "canny_weight" in engines["controlnet"]["settings"]
    assert "canny_weight" not in engines["avatar"]["settings"]
    wan = engines["wan-animate"]
    assert not wan["ready"]
    assert "82.3 GB" in wan["missing"]
    assert wan["command"] == "python app.py weights pull wan-animate"


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ({**TOY, "engine": "wan-animate"}, "python app.py weights pull wan-animate"),
        ({**TOY, "few_step": True}, "python app.py weights pull lcm-lora"),
        ({**TOY, "motion_window": True}, "python app.py weights pull animatediff"),
    ],
)
def test_a_run_whose_weights_are_missing_is_refused_with_the_command(client, server, small_clip, settings, command):
    error = error_of(submit(client, small_clip, settings), 503)
    assert command in error["hint"]
    assert str(server[1].root) not in json.dumps(error)
    assert client.get("/runs").json() == []
    files = {"clip": small_clip.read_bytes()}
    assert (
        command in error_of(client.post("/preview", files=files, data={"settings": json.dumps(settings)}), 503)["hint"]
    )


def test_options_that_contradict_each_other_are_named(client, small_clip) -> None:
    settings = {**TOY, "pose_weight": 0, "depth_weight": 0, "canny_weight": 0}
    assert "weights are 0" in error_of(submit(client, small_clip, settings), 422)["message"]
    question = {"frames": 10, "size": [640, 360], "settings": settings}
    assert "weights are 0" in error_of(client.post("/estimate", json=question), 422)["message"]


def test_a_whole_run_with_a_reference_picture(client, server, small_clip, tmp_path) -> None:
    picture = tmp_path / "me.png"
    cv2.imwrite(str(picture), np.full((64, 48, 3), (30, 60, 200), np.uint8))
    files = {"clip": ("a.mp4", small_clip.read_bytes()), "reference": ("me.png", picture.read_bytes())}
    answer = client.post("/runs", files=files, data={"settings": json.dumps(TOY), "preset": "balanced"})
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["id"]
    status = wait_for_end(client, run_id)
    assert status["state"] == "done", status
    assert status["settings"]["reference"] == "reference.png"
    assert status["frames_out"] == clips.DEMO_FRAMES

    def frame(side: str) -> np.ndarray:
        data = client.get(f"/runs/{run_id}/frames/12", params={"side": side}).content
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)

    changed = np.abs(frame("source") - frame("result")).max(axis=-1) > 40
    # The person's place, and no more.
    assert 0.003 < changed.mean() < 0.4


def test_people_then_estimate(client, small_clip) -> None:
    found = client.post("/people", files={"clip": ("a.mp4", small_clip.read_bytes())}).json()
    assert (found["frames"], tuple(found["size"])) == (clips.DEMO_FRAMES, clips.DEMO_SIZE)
    share = found["people"][0]["share"]
    left, top, right, bottom = found["people"][0]["xyxy"]
    assert share == pytest.approx((right - left) * (bottom - top) / (clips.DEMO_SIZE[0] * clips.DEMO_SIZE[1]))

    def ask(**changes: object) -> dict:
        question = {"frames": 600, "size": [1920, 1080], "settings": {"avatar": "maya"}, **changes}
        answer = client.post("/estimate", json=question)
        assert answer.status_code == 200, answer.text
        return answer.json()

    seen, unseen = ask(person_share=share), ask()
    low, high = seen["range_s"]
    assert low < seen["seconds"] < high
    # Whoever has seen the person knows better.
    assert high / low < unseen["range_s"][1] / unseen["range_s"][0]
    assert ask(person_share=min(1, 3 * share))["seconds"] > seen["seconds"] > ask(person_share=share / 3)["seconds"]
    assert seen["cost_usd"] == pytest.approx(seen["seconds"] / 1000)
    assert (seen["missing"], seen["command"]) == ("", "")
    assert ask(preset="high")["seconds"] > seen["seconds"]
    assert ask(settings={"engine": "wan-animate"})["command"] == "python app.py weights pull wan-animate"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"frames": 0}, "frames"),
        ({"size": [0, 10]}, "size"),
        ({"person_share": 2}, "person_share"),
        ({"preset": "best"}, "preset"),
        ({"settings": {"segmnets": 1}}, "segmnets"),
        ({"settings": {"avatar": "/etc/passwd"}}, "avatar"),
        ({"clip": "a.mp4"}, "clip"),
    ],
)
def test_estimates_of_what_makes_no_sense(client, change, field) -> None:
    answer = client.post("/estimate", json={"frames": 10, "size": [640, 360], **change})
    assert error_of(answer, 422)["field"] == field
