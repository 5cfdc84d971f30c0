"""Whole runs of the mesh product: what a user gets, what an interrupted run keeps, and what awkward clips come to."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.settings import MeshSettings
from pipelines.mesh.processor import mesh_clips, resume_run
from tests import clips
from tests.conftest import ROOT
from tests.smplx_file import write_npz
from utils.video_writer import VideoWriter

FRAMES, SIZE = clips.DEMO_FRAMES, clips.DEMO_SIZE
VIDEOS = ("overlay", "side_by_side", "mesh", "turntable")
#: A run that writes no videos.
BARE = MeshSettings(detector_complexity=0, fit="quick", videos="", formats="json")


def frames_of(path: Path, count: int | None = None) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in itertools.islice(container.decode(video=0), count)]


def written(folder: Path, frames: Iterator[np.ndarray] | list[np.ndarray], name: str = "clip.mp4") -> Path:
    """A clip of some frames."""
    frames = list(frames)
    height, width = frames[0].shape[:2]
    path = folder / name
    with VideoWriter(path, (width, height), Fraction(30), crf=8) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def record_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def quality_of(folder: Path) -> dict:
    return json.loads((folder / "quality.json").read_text())


def command(clip: Path, output: Path) -> list[str]:
    options = ["--preset", "fast", "--video", ",".join(VIDEOS), "--set", "turntable_height=240"]
    return [sys.executable, "app.py", "--debug", "mesh", str(clip), *options, "--output", str(output)]


@pytest.fixture(scope="module")
def mesh_run(small_clip, tmp_path_factory) -> Path:
    """One run by the command, with all videos and the usual formats."""
    output = tmp_path_factory.mktemp("meshes")
    done = subprocess.run(command(small_clip, output), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "the run folder stands alone on standard output"
    return Path(lines[0])


def test_the_folder_holds_videos_files_and_figures(mesh_run, small_clip) -> None:
    record = record_of(mesh_run)
    assert record["kind"] == "mesh" and record["state"] == "done"
    assert record["frames_in"] == record["frames_out"] == FRAMES
    assert [source["path"] for source in record["sources"]] == [str(small_clip.resolve())]
    for stage in ("probe", "detect", "stabilize", "contacts", "body", "look", "render", "export", "quality"):
        assert stage in record["stages"]
    for name in VIDEOS:
        assert len(frames_of(mesh_run / f"{name}.mp4")) == FRAMES
    for name in ("body.glb", "motion.bvh", "motion_smplx.npz", "motion.json", "joint_angles.csv"):
        assert (mesh_run / "exports" / name).stat().st_size > 1000
    assert {"easypytorch3d", "embreex", "anny"} <= set(record["versions"]) and "smplx" not in record["versions"]
    quality = quality_of(mesh_run)
    assert quality["frames"]["coverage"] == record["metrics"]["coverage"] == 1.0
    assert quality["reprojection"]["percent_of_height"] < 2
    assert quality["jitter"]["after_mm"] < quality["jitter"]["before_mm"]
    page = (mesh_run / "quality.html").read_text()
    assert "http://" not in page and "https://" not in page, "the page needs nothing else"
    assert page.count("<svg viewBox") > 5


def test_the_body_lies_on_the_person_and_the_rest_is_the_footage(mesh_run, small_clip) -> None:
    person = np.unpackbits(np.load(mesh_run / "person.npz")["mask"], axis=-1, count=SIZE[0]).astype(bool)
    covered, outside = [], []
    for source, result, mask in zip(frames_of(small_clip), frames_of(mesh_run / "overlay.mp4"), person, strict=True):
        inner = cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        # The shadow on the ground reaches further than the body.
        far = cv2.dilate(mask.astype(np.uint8), np.ones((91, 91), np.uint8)) == 0
        difference = np.abs(source.astype(int) - result).max(axis=2)
        covered.append((difference[inner] > 16).mean())
        outside.append(float(difference[far].mean()))
    assert np.mean(covered) > 0.8
    assert max(outside) < 6, "only the codec differs"


def test_an_interrupted_run_goes_on_where_it_stopped(mesh_run, small_clip, tmp_path) -> None:
    process = subprocess.Popen(
        command(small_clip, tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    body = None
    deadline = time.monotonic() + 300
    while body is None and time.monotonic() < deadline:
        body = next(iter(tmp_path.glob("*/look.json")), None)
        assert process.poll() is None or body
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert body is not None
    folder = body.parent
    assert process.returncode == 130, said
    assert record_of(folder)["state"] == "cancelled"
    assert not (folder / "quality.json").exists()
    kept = (folder / "body.npz").stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, "app.py", "resume", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert record_of(folder)["state"] == "done"
    assert (folder / "body.npz").stat().st_mtime_ns == kept, "the fit was kept"
    pairs = zip(frames_of(mesh_run / "overlay.mp4"), frames_of(folder / "overlay.mp4"), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_changed_source_is_not_resumed(small_clip, tmp_path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(small_clip.read_bytes())
    folder = mesh_clips([clip], BARE, output=tmp_path / "out")
    record = record_of(folder) | {"state": "cancelled"}
    (folder / "run.json").write_text(json.dumps(record))
    clip.write_bytes(small_clip.read_bytes() + b"\0")
    with pytest.raises(InputError, match="has changed"):
        resume_run(folder)


def test_what_cannot_be_used_leaves_no_folder(tmp_path, app) -> None:
    clip = clips.plain(tmp_path)
    nobody = app("mesh", clip, "--output", tmp_path / "out")
    assert nobody.returncode == 2
    assert "No person" in nobody.stderr
    assert not any((tmp_path / "out").glob("*"))


def test_one_frame_is_a_clip(demo_clip, tmp_path) -> None:
    clip = written(tmp_path, frames_of(demo_clip, 1))
    settings = BARE.model_copy(
        update={"videos": "overlay,turntable", "formats": "glb,bvh,obj", "turntable_height": 240}
    )
    folder = mesh_clips([clip], settings, output=tmp_path / "out")
    assert len(frames_of(folder / "overlay.mp4")) == len(frames_of(folder / "turntable.mp4")) == 1
    assert [file.name for file in (folder / "exports" / "obj").iterdir()] == ["frame_000000.obj"]
    quality = quality_of(folder)
    assert quality["frames"]["fitted"] == 1
    assert quality["jitter"]["after_mm"] is None


def upper_half(frames: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """The picture ends at the person's hips."""
    return [frame[: int(frame.shape[0] * 0.5) // 2 * 2] for frame in frames]


def turned_over(frames: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    return [np.ascontiguousarray(frame[::-1, ::-1]) for frame in frames]


def with_a_cut(frames: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """In the second half the scene is another, larger and mirrored."""
    height, width = frames[0].shape[:2]
    other = []
    for frame in frames[12:]:
        large = cv2.resize(frame[:, ::-1], None, fx=1.3, fy=1.3)
        other.append(np.ascontiguousarray(large[:height, :width]))
    return [*frames[:12], *other]


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (upper_half, "Hardly seen: left leg, right leg"),
        (turned_over, "upside down"),
        (with_a_cut, "cut before frame 12"),
    ],
)
def test_awkward_clips_come_to_a_result_that_says_so(
    demo_clip, tmp_path, change: Callable[[list[np.ndarray], Path], list[np.ndarray]], warning: str
) -> None:
    clip = written(tmp_path, change(frames_of(demo_clip, 24), tmp_path))
    folder = mesh_clips([clip], BARE, output=tmp_path / "out")
    record = record_of(folder)
    assert record["state"] == "done"
    assert any(warning in text for text in record["warnings"]), record["warnings"]
    about_the_footage = [text for text in quality_of(folder)["advice"] if " is a guess" not in text]
    assert about_the_footage or warning == "upside down"


def test_the_licensed_body_is_fitted_from_the_users_file(small_clip, tmp_path, monkeypatch) -> None:
    weights = tmp_path / "weights" / "smplx"
    weights.mkdir(parents=True)
    write_npz(weights)
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "weights"))
    settings = BARE.model_copy(update={"body": "smplx", "videos": "mesh", "formats": "npz,ply"})
    folder = mesh_clips([small_clip], settings, output=tmp_path / "out")
    assert str(np.load(folder / "body.npz")["model"]) == "smplx"
    assert len(list((folder / "exports" / "ply").iterdir())) == FRAMES
    assert "smplx" in record_of(folder)["versions"]
    poses = np.load(folder / "exports" / "motion_smplx.npz")["poses"]
    assert poses.shape == (FRAMES, 165)
    assert quality_of(folder)["converged"] > 0.9


def test_four_real_views_agree_on_one_body(shared, tmp_path) -> None:
    source = shared / "footage" / "gymnast4"
    takes = [written(tmp_path, frames_of(file, 16), file.name) for file in sorted(source.glob("*.mp4"))]
    settings = BARE.model_copy(update={"calibration": source / "Calib.qca.txt"})
    folder = mesh_clips(takes, settings, output=tmp_path / "out")
    quality = quality_of(folder)
    assert quality["frames"]["coverage"] == 1.0
    assert set(quality["reprojection"]["views"]) == {"cam01", "cam02", "cam03", "cam04"}
    assert max(quality["reprojection"]["views"].values()) < 20
    assert quality["reprojection"]["triangulation_px"] < 8
    assert set(quality["outliers"]["sides_exchanged"]) == {"cam01", "cam02", "cam03", "cam04"}
    thigh = quality["limb_lengths_m"]["left thigh"]
    assert thigh["fitted"] == pytest.approx(thigh["read"], abs=0.03), "the size is the person's, in metres"
    cameras = json.loads((folder / "cameras.json").read_text())
    assert [camera["clip"] for camera in cameras] == [file.name for file in takes]
    assert {path.name for path in (folder / "views").iterdir()} == {f"0{i}_cam0{i}" for i in (1, 2, 3, 4)}


def test_parts_of_the_body_can_have_colours_of_their_own(small_clip, tmp_path) -> None:
    pictures = {}
    for surface in ("clay", "parts"):
        settings = BARE.model_copy(update={"videos": "mesh", "surface": surface})
        folder = mesh_clips([small_clip], settings, output=tmp_path / surface)
        picture = frames_of(folder / "mesh.mp4", FRAMES)[FRAMES // 2].astype(int)
        pictures[surface] = (picture.max(-1) - picture.min(-1) > 60).mean()
    assert pictures["clay"] == 0 and pictures["parts"] > 0.01
