"""The REST API over a real connection, from the upload to the deletion, and what it answers to mistakes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest

from core.settings import ReplaceSettings
from tests import clips
from tests.conftest import ROOT
from tests.interfaces.serving import (
    PATIENCE_S,
    QUICK,
    AppProcess,
    process_of,
    rest_server,
    submit,
    until,
    wait_for_end,
)

AVATAR = {"avatar": "mannequin", "segments": 1, "shadow_rays": 0, "occlusion_rays": 0, "edge_samples": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with rest_server(tmp_path_factory.mktemp("runs"), max_upload_mb=4, max_duration_s=5, max_pixels=1_000_000) as made:
        yield made


@pytest.fixture
def client(server) -> httpx.Client:
    return server[0]


@pytest.fixture(scope="module")
def finished(server, small_clip) -> str:
    """The id of a run of the avatar engine that is done."""
    client, _ = server
    answer = submit(client, small_clip, AVATAR, preset="fast", name="My clip (1).mov")
    assert answer.status_code == 202, answer.text
    status = wait_for_end(client, answer.json()["id"])
    assert status["state"] == "done", status
    return status["id"]


def events_of(client: httpx.Client, run_id: str) -> list[tuple[str, dict]]:
    """All server-sent events of a run until the server ends the stream."""
    found = []
    with client.stream("GET", f"/runs/{run_id}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                found.append((line.removeprefix("event: "), {}))
            elif line.startswith("data: "):
                found[-1] = (found[-1][0], json.loads(line.removeprefix("data: ")))
    return found


def error_of(answer: httpx.Response, status: int) -> dict:
    """The error in an answer of that status."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"].endswith(".")
    assert "Traceback" not in answer.text
    return error


def frames_in(video: bytes) -> int:
    with av.open(io.BytesIO(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def picture_in(data_url: str) -> np.ndarray:
    head, _, data = data_url.partition(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


# -- a run from beginning to end -----------------------------------------------------------------------------------


def test_a_run_from_the_upload_to_the_deletion(client, server, small_clip) -> None:
    answer = submit(client, small_clip, preset="fast")
    assert answer.status_code == 202
    run_id = answer.json()["id"]
    assert answer.headers["location"] == f"/runs/{run_id}"

    events = events_of(client, run_id)
    assert [kind for kind, _ in events].count("end") == 1
    kind, last = events[-1]
    assert (kind, last["state"], last["progress"]) == ("end", "done", 1)
    assert last == client.get(f"/runs/{run_id}").json()
    assert {"detect", "encode"} <= {status["stage"] for _, status in events}

    result = client.get(f"/runs/{run_id}/result")
    assert result.headers["content-type"] == "video/mp4"
    assert frames_in(result.content) == clips.DEMO_FRAMES
    assert run_id in [status["id"] for status in client.get("/runs").json()]

    assert client.delete(f"/runs/{run_id}").status_code == 204
    error_of(client.get(f"/runs/{run_id}"), 404)
    error_of(client.get(f"/runs/{run_id}/result"), 404)
    error_of(client.get(f"/runs/{run_id}/events"), 404)
    assert not (server[1].root / run_id).exists()
    assert list((server[1].root / ".uploads").iterdir()) == []


def test_preset_and_settings_reach_the_run(client, finished) -> None:
    status = client.get(f"/runs/{finished}").json()
    assert (status["name"], status["preset"]) == ("My clip (1).mov", "fast")
    assert {name: status["settings"][name] for name in AVATAR} == AVATAR
    assert status["settings"]["fit"] == "quick"
    assert status["metrics"]["coverage"] == 1


def test_files_of_a_run(client, finished) -> None:
    comparison = client.get(f"/runs/{finished}/comparison", params={"download": 1})
    assert frames_in(comparison.content) == clips.DEMO_FRAMES
    assert comparison.headers["content-disposition"] == 'attachment; filename="My-clip-1-comparison.mp4"'
    assert "content-disposition" not in client.get(f"/runs/{finished}/result").headers
    saved = client.get(f"/runs/{finished}/result", params={"download": 1})
    assert 'filename="My-clip-1-understudy.mp4"' in saved.headers["content-disposition"]

    part = client.get(f"/runs/{finished}/result", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == saved.content[100:200]

    report = client.get(f"/runs/{finished}/report")
    assert report.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert "<html" in report.text
    thumbnail = client.get(f"/runs/{finished}/thumbnail")
    assert cv2.imdecode(np.frombuffer(thumbnail.content, np.uint8), cv2.IMREAD_COLOR) is not None
    # There is no frame under way any more.
    error_of(client.get(f"/runs/{finished}/live"), 404)


def test_frames_before_and_after(client, finished) -> None:
    def frame(number: int, side: str) -> np.ndarray:
        answer = client.get(f"/runs/{finished}/frames/{number}", params={"side": side})
        assert answer.headers["content-type"] == "image/jpeg"
        return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).astype(int)

    before, after = frame(12, "source"), frame(12, "result")
    assert before.shape == after.shape == (*clips.DEMO_SIZE[::-1], 3)
    # Somebody else is in the picture, and most of the picture is as it was.
    changed = np.abs(before - after).max(axis=-1) > 40
    assert 0.003 < changed.mean() < 0.4
    error_of(client.get(f"/runs/{finished}/frames/{clips.DEMO_FRAMES}"), 404)
    error_of(client.get(f"/runs/{finished}/frames/-1"), 404)
    assert error_of(client.get(f"/runs/{finished}/frames/x"), 422)["field"] == "n"
    assert error_of(client.get(f"/runs/{finished}/frames/1?side=left"), 422)["field"] == "side"


def test_cancel_in_the_middle_and_resume(client, server, demo_clip) -> None:
    run_id = submit(client, demo_clip, {**QUICK, "segments": 3}).json()["id"]
    segment = server[1].folder(run_id) / "segments" / "segment_000.zip"
    until(segment.is_file, "the first segment is finished")
    assert "is running" in error_of(client.get(f"/runs/{run_id}/result"), 409)["message"]
    error_of(client.delete(f"/runs/{run_id}"), 409)
    error_of(client.post(f"/runs/{run_id}/resume"), 409)
    live = client.get(f"/runs/{run_id}/live")
    assert live.headers["content-type"] == "image/jpeg"
    assert client.post(f"/runs/{run_id}/cancel").json()["state"] == "cancelled"
    error_of(client.post(f"/runs/{run_id}/cancel"), 409)
    stamp = segment.stat().st_mtime_ns
    assert client.post(f"/runs/{run_id}/resume").status_code == 202
    assert wait_for_end(client, run_id)["state"] == "done"
    assert segment.stat().st_mtime_ns == stamp
    assert frames_in(client.get(f"/runs/{run_id}/result").content) == 112


def test_polls_stay_quick_while_a_run_is_under_way(client, demo_clip) -> None:
    run_id = submit(client, demo_clip).json()["id"]
    seconds: list[float] = []

    def poll(_: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as own:
            for _ in range(10):
                started = time.perf_counter()
                assert own.get(f"/runs/{run_id}").status_code == 200
                seconds.append(time.perf_counter() - started)

    until(lambda: client.get(f"/runs/{run_id}").json()["stage"] == "detect", "the run is under way")
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(poll, range(20)))
    assert client.get(f"/runs/{run_id}").json()["state"] == "running"
    client.post(f"/runs/{run_id}/cancel")
    print(f"median of {len(seconds)} polls, 20 at a time: {statistics.median(seconds) * 1000:.1f} ms")  # noqa: T201
    # A tenth of a second is what is wanted; the rest is for a machine that does other things as well.
    assert statistics.median(seconds) < 0.5


# -- before the run ------------------------------------------------------------------------------------------------


def test_people_and_preview(client, small_clip) -> None:
    files = {"clip": ("a.mp4", small_clip.read_bytes())}
    found = client.post("/people", files=files).json()
    assert tuple(found["size"]) == clips.DEMO_SIZE
    assert picture_in(found["picture"]).shape == (*clips.DEMO_SIZE[::-1], 3)
    point = found["people"][0]["point"]
    data = {"preset": "fast", "frame": "9", "settings": json.dumps({**AVATAR, "person": point})}
    made = client.post("/preview", files=files, data=data).json()
    assert made["frame"] == 9
    difference = np.abs(picture_in(made["source"]).astype(int) - picture_in(made["result"]))
    assert 0.003 < (difference.max(axis=-1) > 40).mean() < 0.4

    for frame in ("900", "-1", "one"):
        error_of(client.post("/preview", files=files, data={"frame": frame}), 422)
    assert error_of(client.post("/preview", files=files, data={"frame": "one"}), 422)["field"] == "frame"


def test_what_there_is_to_choose_from(client) -> None:
    engines = {engine["name"]: engine for engine in client.get("/engines").json()}
    assert engines["avatar"]["ready"]
    for avatar in client.get("/avatars").json():
        picture = client.get(avatar["thumbnail"])
        assert cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR) is not None
    assert [preset["name"] for preset in client.get("/presets").json()] == ["fast", "balanced", "high"]
    settings = client.get("/settings").json()
    assert [field["name"] for field in settings["fields"]] == list(ReplaceSettings.model_fields)
    assert settings["json_schema"]["properties"]["segments"]["description"]
    error_of(client.get("/avatars/..%2F..%2Fapp.py/thumbnail"), 404)
    error_of(client.get("/avatars/nobody/thumbnail"), 404)


def test_somebody_random_is_drawn_when_asked_for(client) -> None:
    somebody, another = (client.get(f"/avatars/random-{seed}/thumbnail") for seed in (3, 4))
    assert somebody.headers["content-type"] == "image/png"
    picture = cv2.imdecode(np.frombuffer(somebody.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (384, 384, 3)
    assert somebody.content != another.content
    assert client.get("/avatars/random-3/thumbnail").content == somebody.content
    error_of(client.get("/avatars/random-x/thumbnail"), 404)


def test_health_and_documentation(client) -> None:
    health = client.get("/health").json()
    assert health["status"] == "ok"
    assert health["devices"]
    assert health["limits"]["max_upload_mb"] == 4
    document = client.get("/openapi.json").json()
    create = document["paths"]["/runs"]["post"]
    assert {"202", "413", "415", "422", "429"} <= set(create["responses"])
    assert "clip" in create["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert all(operation["summary"] for path in document["paths"].values() for operation in path.values())
    assert "swagger" in client.get("/docs").text


# -- mistakes ------------------------------------------------------------------------------------------------------


def test_files_that_are_no_clips(client, tmp_path) -> None:
    for make in (clips.text, clips.without_video):
        error = error_of(submit(client, make(tmp_path)), 415)
        assert str(tmp_path) not in error["message"]
    error = error_of(submit(client, clips.text(tmp_path)), 415)
    assert error["message"] == "text.mp4 is a text file, not a video."
    for address in ("/people", "/preview"):
        error_of(client.post(address, files={"clip": ("a.mp4", b"no")}), 415)
    assert error_of(submit(client, clips.truncated(tmp_path)), 422)["hint"]
    assert error_of(client.post("/runs", data={"preset": "fast"}), 422)["field"] == "clip"
    assert error_of(client.post("/runs", json={"clip": "/etc/passwd"}), 422)["field"] == "clip"
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert error_of(client.post("/runs", content=b"--x\r\nnonsense", headers=broken), 422)["field"] == "clip"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ('{"segmnets": 3}', "segmnets"),
        ('{"segments": 2}', "segments"),
        ('{"foot_lock_strength": 1.5}', "foot_lock_strength"),
        ('{"seed": 1e400}', "seed"),
        ('{"avatar": "/etc/passwd"}', "avatar"),
        ('{"avatar": "../../presets/fast.yaml"}', "avatar"),
        ('{"reference": "/etc/passwd"}', "reference"),
        ('{"checkpoint": "/etc/passwd"}', "checkpoint"),
        ("[1, 2]", "settings"),
        ("{", "settings"),
        ("[" * 50_000, "settings"),
        ("{" + " " * 200_000 + "}", "settings"),
    ],
)
def test_settings_that_are_wrong(client, small_clip, settings, field) -> None:
    with small_clip.open("rb") as file:
        answer = client.post("/runs", files={"clip": file}, data={"settings": settings})
    error = error_of(answer, 422)
    assert error["field"] == field
    assert "root" not in answer.text


def test_forms_that_are_wrong(client, small_clip) -> None:
    clip = small_clip.read_bytes()
    assert error_of(submit(client, small_clip, preset="best"), 422)["field"] == "preset"
    assert error_of(submit(client, small_clip, preset="../fast"), 422)["field"] == "preset"
    assert error_of(submit(client, small_clip, setings="{}"), 422)["field"] == "setings"
    files = {"clip": clip, "reference": ("me.png", b"no picture")}
    assert error_of(client.post("/runs", files=files), 422)["field"] == "reference"
    twice = [("clip", clip), ("clip", clip)]
    assert error_of(client.post("/runs", files=twice), 422)["field"] == "clip"


def test_file_names_never_become_paths(client, server, small_clip) -> None:
    for name in (
        "../../../evil.mp4",
        "/etc/evil.mp4",
        "..\\..\\evil.mp4",
        "a\x00b.mp4",
        "x" * 400 + ".mp4",
        ".mp4",
        "é ü.MP4",
    ):
        with small_clip.open("rb") as file:
            answer = client.post("/runs", files={"clip": (name, file)}, data={"settings": json.dumps(QUICK)})
        assert answer.status_code == 202, answer.text
        status = answer.json()
        assert re.fullmatch(r"[a-z0-9-]+", status["id"])
        assert not set("/\\\x00") & set(status["name"])
        folder = server[1].folder(status["id"])
        assert folder.parent == server[1].root
        assert [file.name for file in folder.glob("source*")] == ["source" if name == ".mp4" else "source.mp4"]
        if client.post(f"/runs/{status['id']}/cancel").status_code == 200:
            assert client.delete(f"/runs/{status['id']}").status_code == 204


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2f..%2fetc", ".uploads", "nowhere", "a%00b", "%0a"])
def test_only_runs_are_found(client, name) -> None:
    for tail in ("", "/result", "/thumbnail", "/frames/0"):
        assert client.get(f"/runs/{name}{tail}").status_code in (404, 405)
    assert client.delete(f"/runs/{name}").status_code in (404, 405)


def test_links_in_a_run_folder_are_not_served(client, server, finished) -> None:
    folder = server[1].folder(finished)
    (folder / "thumbnail.jpg").rename(folder / "kept.jpg")
    (folder / "thumbnail.jpg").symlink_to("/etc/passwd")
    try:
        error_of(client.get(f"/runs/{finished}/thumbnail"), 404)
    finally:
        (folder / "kept.jpg").rename(folder / "thumbnail.jpg")


def test_clips_that_are_too_large(client, server, tmp_path) -> None:
    big = tmp_path / "big.mp4"
    big.write_bytes(os.urandom(4_300_000))
    error = error_of(submit(client, big), 413)
    assert "4 MB" in error["message"]
    assert "--max-upload-mb" in error["hint"]
    long = clips.plain(tmp_path, name="long.mp4", frames=140)
    assert "5 s" in error_of(submit(client, long), 413)["message"]
    wide = clips.plain(tmp_path, name="wide.mp4", frames=2, size=(1280, 800))
    error = error_of(submit(client, wide), 413)
    assert "1280x800" in error["message"]
    assert "--max-pixels" in error["hint"]
    error_of(client.post("/preview", files={"clip": wide.read_bytes()}), 413)
    assert client.get("/runs").status_code == 200
    assert list((server[1].root / ".uploads").iterdir()) == []


@pytest.mark.parametrize("megabytes", [5, 12])
def test_too_large_without_a_length_beforehand(client, megabytes) -> None:
    # The first is over what a file may be, the second over what a body may be.
    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a.mp4"\r\n\r\n'
        for _ in range(megabytes * 10):
            yield b"\0" * 100_000
        yield b"\r\n--x--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert "4 MB" in error_of(client.post("/runs", content=body(), headers=headers), 413)["message"]


def test_the_queue_is_full(tmp_path, small_clip) -> None:
    with rest_server(tmp_path, max_queue=1) as (client, _):
        assert [submit(client, small_clip).status_code for _ in range(2)] == [202, 202]
        answer = submit(client, small_clip)
        assert error_of(answer, 429)["hint"]
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/health").json()["queue"] == 1


# -- the server itself ---------------------------------------------------------------------------------------------


def test_a_killed_server_loses_no_run(tmp_path, demo_clip) -> None:
    output = ("--output", str(tmp_path))
    server = AppProcess(*output)
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        run_id = submit(client, demo_clip, {**QUICK, "segments": 3}).json()["id"]
    segment = tmp_path / run_id / "segments" / "segment_000.zip"
    until(segment.is_file, "the first segment is finished")
    server.stop(signal.SIGKILL)
    until(lambda: process_of(run_id) is None, "the run's process notices", 20)
    stamp = segment.stat().st_mtime_ns
    assert json.loads((tmp_path / run_id / "run.json").read_text())["state"] == "running"

    server = AppProcess(*output)
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        status = wait_for_end(client, run_id)
        assert status["state"] == "done", status
        assert frames_in(client.get(f"/runs/{run_id}/result").content) == 112
    assert segment.stat().st_mtime_ns == stamp
    code, said = server.stop()
    assert (code, said) == (0, "Understudy has stopped.\n")


def test_ctrl_c_puts_the_run_back_while_somebody_watches(tmp_path, demo_clip) -> None:
    server = AppProcess("--output", str(tmp_path))
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        run_id = submit(client, demo_clip).json()["id"]
        until(lambda: client.get(f"/runs/{run_id}").json()["stage"] == "detect", "the run is under way")
        with client.stream("GET", f"/runs/{run_id}/events"):
            code, said = server.stop()
    assert (code, said) == (0, "Understudy has stopped.\n")
    assert json.loads((tmp_path / run_id / "run.json").read_text())["state"] == "queued"
    assert process_of(run_id) is None


def test_starting_mistakes_are_one_sentence(tmp_path) -> None:
    server = AppProcess("--output", str(tmp_path))
    port = server.url.rpartition(":")[2]
    file = tmp_path / "file"
    file.write_text("")
    tries = {
        ("--port", port, "--output", str(tmp_path / "other")): f"127.0.0.1:{port} is in use",
        ("--port", "0", "--output", str(tmp_path)): "Another Understudy server",
        ("--port", "0", "--output", str(file)): "cannot be written",
        ("--port", "70000"): "port",
        ("--port", "0", "--host", "0.0.0.0"): "UNDERSTUDY_AUTH",
        ("--port", "0", "--auth", "nocolon"): "user:password",
        ("--port", "0", "--auth", "user:"): "user:password",
    }
    try:
        for arguments, expected in tries.items():
            done = subprocess.run(
                [sys.executable, "app.py", *arguments],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 2, done.stderr
            assert expected in done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr
    finally:
        server.stop()


def test_settings_of_the_server_come_from_the_environment_too(tmp_path) -> None:
    env = {"UNDERSTUDY_MAX_UPLOAD_MB": "7", "UNDERSTUDY_MAX_QUEUE": "3", "UNDERSTUDY_AUTH": "me:secret"}
    server = AppProcess("--output", str(tmp_path), "--max-queue", "5", env=env)
    try:
        assert httpx.get(server.url + "/health", timeout=PATIENCE_S).status_code == 401
        limits = httpx.get(server.url + "/health", auth=("me", "secret"), timeout=PATIENCE_S).json()["limits"]
        assert (limits["max_upload_mb"], limits["max_queue"]) == (7, 5)
        page = httpx.get(server.url, timeout=PATIENCE_S)
        assert page.status_code == 401
        assert "Understudy" in httpx.get(server.url, auth=("me", "secret"), timeout=PATIENCE_S).text
    finally:
        server.stop()


def test_the_folder_of_the_project_is_not_served(tmp_path) -> None:
    server = AppProcess("--output", str(tmp_path))
    try:
        for path in ("app.py", "../app.py", "presets/fast.yaml", str(ROOT / "app.py"), "/etc/passwd"):
            for address in (f"/gradio_api/file={path}", f"/file={path}", f"/static/{path}"):
                assert httpx.get(server.url + address, timeout=PATIENCE_S).status_code in (403, 404), address
    finally:
        server.stop()


def test_the_page_is_not_needed_for_the_api() -> None:
    code = (
        "import sys\nfrom core.settings import ServerSettings\nfrom interfaces.server import build_app\n"
        "build_app(ServerSettings(), page=False)\nassert not {'gradio', 'torch', 'mediapipe'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_reference_is_kept_with_the_run(client, server, small_clip, tmp_path) -> None:
    picture = tmp_path / "me.png"
    cv2.imwrite(str(picture), np.full((16, 16, 3), 90, np.uint8))
    files = {"clip": small_clip.read_bytes(), "reference": ("../me.png", picture.read_bytes())}
    answer = client.post("/runs", files=files, data={"settings": json.dumps(QUICK)})
    assert answer.status_code == 202, answer.text
    status = answer.json()
    assert Path(status["settings"]["reference"]).name == status["settings"]["reference"] == "reference.png"
    assert (server[1].folder(status["id"]) / "reference.png").read_bytes() == picture.read_bytes()
    client.post(f"/runs/{status['id']}/cancel")
