"""Meshes over REST: one clip and several, every file of a finished run, and what is answered to mistakes."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import zipfile
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import trimesh

from core.settings import MeshSettings
from tests import clips
from tests.e2e.test_mesh import frames_of, written
from tests.interfaces.serving import (
    QUICK,
    QUICK_MESH,
    AppProcess,
    process_of,
    rest_server,
    submit,
    submit_mesh,
    until,
    wait_for_end,
)
from tests.utils.camera_rig import ring
from utils.cameras.opencv_yaml import write_opencv_yaml


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with rest_server(tmp_path_factory.mktemp("meshes"), max_upload_mb=40, max_duration_s=5, hourly_price=0.5) as made:
        yield made


@pytest.fixture
def client(server) -> httpx.Client:
    return server[0]


@pytest.fixture(scope="module")
def finished(server, small_clip) -> dict:
    """The status of a mesh that is done."""
    client, _ = server
    settings = {**QUICK_MESH, "formats": "glb,csv,obj"}
    answer = submit_mesh(client, [small_clip], settings, preset="fast", name="My walk (1).mov")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/runs/{answer.json()['id']}"
    status = wait_for_end(client, answer.json()["id"])
    assert status["state"] == "done", status
    return status


@pytest.fixture(scope="module")
def rig(tmp_path_factory, small_clip) -> tuple[list[Path], list[Path]]:
    """Two clips of one person, named after cameras, and the two files of their calibration."""
    folder = tmp_path_factory.mktemp("rig")
    frames = frames_of(small_clip)
    takes = [written(folder, part, f"take_cam0{n}.mp4") for n, part in ((1, frames[:12]), (2, frames[12:]))]
    write_opencv_yaml(folder, ring(2))
    return takes, [folder / "intri.yml", folder / "extri.yml"]


def error_of(answer: httpx.Response, status: int, field: str | None = None) -> dict:
    """The error in an answer of that status, about that field; no folder of the server is named."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"].endswith(".")
    assert error.get("field") == field
    return error


def untouched(server) -> set[str]:
    """Names in the output folder: what is refused leaves nothing behind."""
    root = server[1].root
    staged = [path.name for path in (root / ".staging").glob("*")] + [
        path.name for path in (root / ".uploads").glob("*")
    ]
    assert staged == []
    return {path.name for path in root.iterdir() if (path / "run.json").is_file()}


# -- a run from beginning to end -----------------------------------------------------------------------------------


def test_the_status_lists_every_file_and_each_can_be_had(client, finished) -> None:
    assert (finished["kind"], finished["name"], finished["preset"]) == ("mesh", "My walk (1).mov", "fast")
    assert finished["clips"] == ["small.mp4"]
    listed = {(file["kind"], file["name"]) for file in finished["files"]}
    assert listed == {
        ("video", "overlay"), ("export", "glb"), ("export", "csv"), ("export", "obj"),
        ("page", "report"), ("data", "quality"), ("data", "body"),
    }  # fmt: skip
    for file in finished["files"]:
        answer = client.get(file["address"], params={"download": 1})
        assert answer.status_code == 200, file
        assert len(answer.content) > 500
        assert answer.headers["content-disposition"].startswith('attachment; filename="My-walk-1-')


def test_videos_and_exports_are_what_they_say(client, finished) -> None:
    base = f"/runs/{finished['id']}"
    overlay = client.get(f"{base}/videos/overlay")
    assert overlay.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(overlay.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == clips.DEMO_FRAMES
    part = client.get(f"{base}/videos/overlay", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == overlay.content[100:200]

    scene = trimesh.load(io.BytesIO(client.get(f"{base}/exports/glb").content), file_type="glb")
    assert sum(len(mesh.vertices) for mesh in scene.geometry.values()) > 5000
    rows = list(csv.reader(io.StringIO(client.get(f"{base}/exports/csv").text)))
    assert len(rows) == clips.DEMO_FRAMES + 1

    with zipfile.ZipFile(io.BytesIO(client.get(f"{base}/exports/obj").content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"obj/frame_{frame:06d}.obj" for frame in range(clips.DEMO_FRAMES)]
        mesh = trimesh.load(io.BytesIO(archive.read("obj/frame_000000.obj")), file_type="obj")
    assert np.ptp(mesh.vertices[:, 1]) == pytest.approx(1.7, abs=0.3), "a standing person, in metres"


def test_figures_page_and_arrays(client, finished) -> None:
    base = f"/runs/{finished['id']}"
    quality = client.get(f"{base}/quality").json()
    assert quality["frames"]["coverage"] == finished["metrics"]["coverage"] == 1
    page = client.get(f"{base}/report")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "My walk" in page.text or "small.mp4" in page.text
    assert str(finished["id"]) in page.text and "/sources/" not in page.text
    with np.load(io.BytesIO(client.get(f"{base}/body").content)) as body:
        assert body["rotations"].shape[0] == clips.DEMO_FRAMES
    assert client.get(f"{base}/thumbnail").headers["content-type"] == "image/jpeg"


def test_files_that_were_not_asked_for_are_not_there(client, finished, small_clip) -> None:
    base = f"/runs/{finished['id']}"
    for part in (
        "videos/turntable",
        "exports/ply",
        "exports/nonsense",
        "exports/..%2Frun.json",
        "result",
        "comparison",
    ):
        error_of(client.get(f"{base}/{part}"), 404)
    error_of(client.get(f"{base}/frames/0"), 404)
    error_of(client.get(f"{base}/videos/nonsense"), 422, "name")
    replaced = submit(client, small_clip).json()["id"]
    assert "is queued" in client.get(f"/runs/{replaced}/videos/overlay").text or wait_for_end(client, replaced)
    assert wait_for_end(client, replaced)["files"][0]["address"] == f"/runs/{replaced}/result"
    error_of(client.get(f"/runs/{replaced}/videos/overlay"), 404)
    error_of(client.get(f"/runs/{replaced}/quality"), 404)


def test_cancel_in_the_middle_and_resume(client, server, demo_clip) -> None:
    run_id = submit_mesh(client, [demo_clip]).json()["id"]
    folder = server[1].folder(run_id)
    until((folder / "look.json").is_file, "the body is fitted")
    until(lambda: client.get(f"/runs/{run_id}/live").status_code == 200, "a frame is shown")
    assert client.get(f"/runs/{run_id}").json()["stage"] == "render"
    error_of(client.get(f"/runs/{run_id}/videos/overlay"), 409)
    assert client.post(f"/runs/{run_id}/cancel").json()["state"] == "cancelled"
    fitted = (folder / "body.npz").stat().st_mtime_ns
    assert not (folder / "overlay.mp4").exists()

    assert client.post(f"/runs/{run_id}/resume").status_code == 202
    assert wait_for_end(client, run_id)["state"] == "done"
    assert (folder / "body.npz").stat().st_mtime_ns == fitted, "the fit was kept"
    assert client.get(f"/runs/{run_id}/exports/glb").content[:4] == b"glTF"
    assert client.delete(f"/runs/{run_id}").status_code == 204
    assert not folder.exists()


def test_a_killed_server_finishes_the_mesh_after_its_restart(demo_clip, tmp_path) -> None:
    app = AppProcess("--output", str(tmp_path))
    with httpx.Client(base_url=app.url, timeout=60) as client:
        run_id = submit_mesh(client, [demo_clip], {**QUICK_MESH, "videos": ""}).json()["id"]
    folder = tmp_path / run_id
    until((folder / "person.npz").is_file, "the person is found")
    app.stop(signal.SIGKILL)
    until(lambda: process_of(run_id) is None, "the run's process ends with its server")
    assert json.loads((folder / "run.json").read_text())["state"] != "done"

    again = AppProcess("--output", str(tmp_path))
    try:
        with httpx.Client(base_url=again.url, timeout=60) as client:
            assert wait_for_end(client, run_id)["state"] == "done"
    finally:
        again.stop()


def test_four_real_views_come_to_one_body(client, shared, tmp_path) -> None:
    source = shared / "footage" / "gymnast4"
    takes = [written(tmp_path, frames_of(file, 8), file.name) for file in sorted(source.glob("*.mp4"))]
    answer = submit_mesh(client, takes, {**QUICK_MESH, "videos": ""}, [source / "Calib.qca.txt"])
    assert answer.status_code == 202, answer.text
    status = wait_for_end(client, answer.json()["id"])
    assert status["state"] == "done", status
    assert (status["name"], len(status["clips"])) == ("cam01.mp4 and 3 more", 4)
    assert status["settings"]["calibration"] == "Calib.qca.txt"
    quality = client.get(f"/runs/{status['id']}/quality").json()
    assert set(quality["reprojection"]["views"]) == {"cam01", "cam02", "cam03", "cam04"}


def test_a_clip_without_anybody_fails_in_words(client, tmp_path) -> None:
    run_id = submit_mesh(client, [clips.plain(tmp_path, size=(320, 240))]).json()["id"]
    status = wait_for_end(client, run_id)
    assert status["state"] == "failed"
    assert status["error"].startswith("No person was found") and "/" not in status["error"]
    assert status["files"] == []


# -- several clips, before they are run ----------------------------------------------------------------------------


def test_a_take_owns_its_clips_and_their_calibration(client, server, rig) -> None:
    takes, calibration = rig
    run_id = submit_mesh(client, takes, calibration=calibration, preset="fast").json()["id"]
    folder = server[1].folder(run_id)
    if client.post(f"/runs/{run_id}/cancel").status_code == 409:
        wait_for_end(client, run_id)
    assert sorted(path.name for path in (folder / "sources").iterdir()) == [take.name for take in takes]
    assert sorted(path.name for path in (folder / "calibration").iterdir()) == ["extri.yml", "intri.yml"]
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["calibration"] == "calibration"
    assert [source["path"] for source in record["sources"]] == [f"sources/{take.name}" for take in takes]
    assert client.delete(f"/runs/{run_id}").status_code == 204


def test_takes_that_cannot_be_run_are_refused_and_leave_nothing(client, server, rig, small_clip, tmp_path) -> None:
    takes, calibration = rig
    before = untouched(server)
    unreadable = tmp_path / "cameras.toml"
    unreadable.write_text('[cam_01]\nname = "cam01"\n')
    picture = tmp_path / "cameras.png"
    picture.write_bytes(b"no")
    stranger = Path(shutil.copyfile(small_clip, tmp_path / "take_cam09.mp4"))

    assert "need the calibration" in error_of(submit_mesh(client, takes), 422, "calibration")["message"]
    assert error_of(submit_mesh(client, takes[:1], calibration=calibration), 422, "calibration")
    wrong = error_of(submit_mesh(client, takes, calibration=[unreadable]), 422, "calibration")
    assert wrong["message"].startswith("cameras.toml: [cam_01]")
    assert error_of(submit_mesh(client, takes, calibration=[picture]), 422, "calibration")
    half = error_of(submit_mesh(client, takes, calibration=calibration[:1]), 422, "calibration")
    assert "extri.yml" in half["message"] + half["hint"]
    lost = error_of(submit_mesh(client, [takes[0], stranger], calibration=calibration), 422, "calibration")
    assert "take_cam09.mp4" in lost["message"]
    assert error_of(submit_mesh(client, takes, calibration=[*calibration, unreadable]), 422, "calibration")
    assert str(server[1].root) not in json.dumps([wrong, half, lost])
    assert untouched(server) == before


def test_clips_and_settings_that_are_wrong(client, server, small_clip, tmp_path) -> None:
    before = untouched(server)
    error = error_of(submit_mesh(client, [clips.text(tmp_path)]), 415)
    assert error["message"] == "text.mp4 is a text file, not a video."
    error_of(submit_mesh(client, [clips.plain(tmp_path, frames=24, rate=clips.Fraction(1, 2))]), 413)
    assert error_of(client.post("/meshes", data={"preset": "fast"}), 422, "clip")
    for settings, field in (
        ({"formats": "glb,fbx"}, "formats"),
        ({"videos": "overlay,hologram"}, "videos"),
        ({"body": "smpl"}, "body"),
        ({"calibration": "/etc/passwd"}, "calibration"),
        ({"easymocap_results": "/etc"}, "easymocap_results"),
        ({"engine": "avatar"}, "engine"),
        ({"turntable_height": 3}, "turntable_height"),
    ):
        error_of(submit_mesh(client, [small_clip], settings), 422, field)
    error_of(submit_mesh(client, [small_clip], preset="best"), 422, "preset")
    with small_clip.open("rb") as file:
        error_of(client.post("/meshes", files={"clip": file, "reference": b"x"}), 422, "reference")
        error_of(client.post("/runs", files={"clip": file, "calibration": b"x"}), 422, "calibration")
    assert untouched(server) == before


def test_a_body_without_its_file_is_refused_with_what_to_do(client, server, small_clip, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "weights"))
    before = untouched(server)
    error = error_of(submit_mesh(client, [small_clip], {**QUICK_MESH, "body": "smplx"}), 503)
    assert "https://smpl-x.is.tue.mpg.de" in error["hint"] and "SMPLX_NEUTRAL.npz" in error["hint"]
    assert untouched(server) == before

    bodies = {body["name"]: body for body in client.get("/bodies").json()}
    assert bodies["anny"]["ready"] and not bodies["anny"]["missing"]
    assert not bodies["smplx"]["ready"]
    assert bodies["smplx"]["page"] in bodies["smplx"]["missing"]
    question = {"kind": "mesh", "frames": 100, "size": [640, 360], "settings": {"body": "smplx"}}
    assert client.post("/estimate", json=question).json()["missing"]


# -- what there is to choose from ----------------------------------------------------------------------------------


def test_settings_and_presets_by_kind(client) -> None:
    fields = [field["name"] for field in client.get("/settings", params={"kind": "mesh"}).json()["fields"]]
    assert fields == list(MeshSettings.model_fields)
    presets = {preset["name"]: preset["settings"] for preset in client.get("/presets", params={"kind": "mesh"}).json()}
    assert list(presets) == ["fast", "balanced", "high"]
    assert presets["fast"]["videos"] == "overlay,side_by_side"
    assert client.get("/presets").json()[0]["settings"]["plate_samples"]
    formats = {entry["name"]: entry["is_folder"] for entry in client.get("/formats").json()}
    assert formats["glb"] is False and formats["obj"] is True
    error_of(client.get("/settings?kind=film"), 422, "kind")


def test_what_a_mesh_will_take(client, finished) -> None:
    question = {"kind": "mesh", "frames": 200, "size": [640, 360], "preset": "fast"}
    one = client.post("/estimate", json=question).json()
    low, high = one["range_s"]
    assert 0 < low < one["seconds"] < high
    assert one["cost_usd"] == pytest.approx(one["seconds"] / 3600 * 0.5)
    assert "earlier mesh" in one["basis"], "the finished run is known"
    four = client.post("/estimate", json={**question, "clips": 4}).json()
    assert four["seconds"] > 1.5 * one["seconds"] - 1
    bare = client.post("/estimate", json={**question, "settings": {"videos": "", "formats": ""}}).json()
    assert bare["seconds"] < one["seconds"]
    error_of(client.post("/estimate", json={**question, "settings": {"formats": "fbx"}}), 422, "formats")
    error_of(client.post("/estimate", json={**question, "settings": QUICK}), 422, "engine")


def test_the_documentation_describes_the_form(client) -> None:
    document = client.get("/openapi.json").json()
    create = document["paths"]["/meshes"]["post"]
    assert {"202", "413", "415", "422", "429", "503"} <= set(create["responses"])
    form = create["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["clip"]["type"] == form["properties"]["calibration"]["type"] == "array"
    assert form["required"] == ["clip"]
    assert {"/runs/{id}/videos/{name}", "/runs/{id}/exports/{name}", "/bodies", "/formats"} <= set(document["paths"])
