"""Takes that wait: a run that owns what it is made from, names that cannot do harm, and what a mesh will take."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.errors import InputError, SettingError
from core.settings import MeshSettings
from pipelines.machine import machine_key
from pipelines.mesh.costs import ClipShape, peak_mb, stage_seconds
from pipelines.mesh.estimate import estimate
from pipelines.mesh.offers import results_of
from pipelines.mesh.processor import resume_run
from pipelines.mesh.submit import Given, Take, calibration_files, enqueue_take
from tests.e2e.test_mesh import BARE, frames_of, written
from tests.utils.camera_rig import ring
from utils.cameras.opencv_yaml import write_opencv_yaml

CLIP = ClipShape(100, (640, 360))


def record_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_a_run_that_waits_owns_its_clip_and_can_be_moved(small_clip, tmp_path) -> None:
    clip = Path(shutil.copyfile(small_clip, tmp_path / "gone.mp4"))
    run = enqueue_take(Take((Given(clip, "../../My walk.MP4"),)), BARE, output=tmp_path / "out", preset="fast")
    clip.unlink()
    record = record_of(run.path)
    assert (record["state"], record["kind"], record["preset"]) == ("queued", "mesh", "fast")
    assert [source["path"] for source in record["sources"]] == ["sources/My_walk.mp4"]
    assert record["frames_in"] == 24 and (run.path / "thumbnail.jpg").is_file()

    moved = Path(shutil.move(run.path, tmp_path / "elsewhere"))
    resume_run(moved)
    record = record_of(moved)
    assert record["state"] == "done"
    assert record["source"] == record["sources"][0]["path"] == "sources/My_walk.mp4"
    assert (moved / results_of(record["settings"])[0].path).is_file()
    assert not run.path.exists()


@pytest.fixture
def views(small_clip, tmp_path) -> tuple[Given, ...]:
    """Two different clips, named after cameras."""
    frames = frames_of(small_clip)
    parts = ((1, frames[:6]), (2, frames[6:12]))
    return tuple(Given(written(tmp_path, part, f"{n}.mp4"), f"cam0{n}.mp4") for n, part in parts)


def test_a_take_owns_the_calibration_and_gives_it_back(views, tmp_path) -> None:
    write_opencv_yaml(tmp_path, ring(2))
    files = tuple(Given(tmp_path / name, name) for name in ("intri.yml", "extri.yml"))
    run = enqueue_take(Take(views, files), BARE, output=tmp_path / "out")
    for given in files:
        given.path.unlink()
    record = record_of(run.path)
    assert record["settings"]["calibration"] == "calibration"
    assert record["name"] == "cam01.mp4 and 1 more"
    names = ["extri.yml", "intri.yml"]
    assert [file.name for file in calibration_files(run.path / "calibration")] == names
    # On the command line one of the two may have been named.
    assert [file.name for file in calibration_files(run.path / "calibration" / "intri.yml")] == names
    assert calibration_files(run.path / "nothing") == []


def test_takes_that_cannot_be_run_name_the_files_as_the_user_does(views, tmp_path) -> None:
    output = tmp_path / "out"
    (tmp_path / "x.toml").write_text("[cam]\n")
    broken = Given(tmp_path / "x.toml", "cameras.toml")
    with pytest.raises(SettingError, match="need the calibration"):
        enqueue_take(Take(views), BARE, output=output)
    with pytest.raises(SettingError, match=r"^cameras\.toml") as caught:
        enqueue_take(Take(views, (broken,)), BARE, output=output)
    assert caught.value.field == "calibration"
    with pytest.raises(SettingError, match="no known calibration format"):
        enqueue_take(Take(views, (Given(broken.path, "cameras.png"),)), BARE, output=output)
    with pytest.raises(InputError):
        enqueue_take(Take(()), BARE, output=output)
    assert [path.name for path in output.rglob("*") if path.is_file()] == []


def test_an_estimate_learns_from_the_meshes_of_this_machine(tmp_path) -> None:
    settings = MeshSettings()
    first = estimate([CLIP], settings, history=tmp_path)
    assert first.runs == 0
    assert first.seconds == pytest.approx(sum(first.stages.values()))
    typical = stage_seconds([CLIP], 0, settings)
    for number in range(4):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        record = {
            "id": folder.name, "kind": "mesh", "state": "done", "source": "x", "settings": settings.model_dump(mode="json"),
            "machine": machine_key(), "frames_in": CLIP.frames, "size": list(CLIP.size), "sources": [{"path": "x"}],
            "stages": {name: 3 * seconds for name, seconds in typical.items()}, "peak_rss_mb": 2 * peak_mb([CLIP]),
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(record))
    (tmp_path / "run-0" / "run.json").write_text("{")
    told = estimate([CLIP], settings, history=tmp_path, hourly_price=3600)
    assert told.runs == 3
    assert told.seconds == pytest.approx(3 * first.seconds, rel=0.15)
    assert told.peak_mb == pytest.approx(2 * first.peak_mb, rel=0.1)
    assert told.cost_usd == pytest.approx(told.seconds)
    assert told.range_s[1] / told.range_s[0] < first.range_s[1] / first.range_s[0]
