"""Whole runs on the bundled clip at small size: what a user gets, and what a crash leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests import clips
from tests.conftest import ROOT

FRAMES, SIZE = clips.DEMO_FRAMES, clips.DEMO_SIZE


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def stamps_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(float(((a.astype(float) - b) ** 2).mean()), 1e-9)))


@pytest.fixture(scope="session")
def avatar_run(small_clip, tmp_path_factory) -> Path:
    """One run with the avatar engine, fast preset, three segments."""
    output = tmp_path_factory.mktemp("runs")
    command = [
        sys.executable,
        "app.py",
        "--debug",
        "replace",
        str(small_clip),
        "--preset",
        "fast",
        "--output",
        str(output),
    ]
    done = subprocess.run([*command, "--set", "segments=3"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "the run folder stands alone on standard output"
    return Path(lines[0])


def test_same_frames_rate_size_and_sound(small_clip, avatar_run) -> None:
    result = avatar_run / "result.mp4"
    assert stamps_of(result) == pytest.approx(stamps_of(small_clip), abs=1e-6)
    assert frames_of(result)[0].shape == frames_of(small_clip)[0].shape
    assert sound_of(result) == sound_of(small_clip)


def test_somebody_else_is_in_it_and_the_rest_is_the_sources_own(small_clip, avatar_run) -> None:
    person = np.unpackbits(np.load(avatar_run / "person.npz")["mask"], axis=-1, count=SIZE[0]).astype(bool)
    kernel = np.ones((41, 41), np.uint8)
    replaced, outside = [], []
    for source, result, mask in zip(frames_of(small_clip), frames_of(avatar_run / "result.mp4"), person, strict=True):
        core = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        far = cv2.dilate(mask.astype(np.uint8), kernel) == 0
        difference = np.abs(source.astype(int) - result).max(axis=2)
        replaced.append((difference[core] > 16).mean())
        outside.append(psnr(source[far], result[far]))
    assert np.mean(replaced) > 0.75
    assert min(outside) > 38


def test_the_folder_tells_everything(avatar_run) -> None:
    record = json.loads((avatar_run / "run.json").read_text())
    assert record["state"] == "done"
    assert record["frames_in"] == record["frames_out"] == FRAMES
    assert record["fps"] == "30"
    assert len(record["source_sha256"]) == 64
    assert record["peak_rss_mb"] > 100
    assert record["metrics"]["coverage"] > 0.95
    assert record["metrics"]["iou"] > 0.6
    for stage in ("probe", "detect", "stabilize", "segment", "plate", "body", "generate", "composite", "encode"):
        assert stage in record["stages"]
    path = json.loads((avatar_run / "camera_path.json").read_text())
    assert np.array(path["H_next_source"]).shape == (FRAMES - 1, 3, 3)
    assert np.array(path["H_stable_source"]).shape == (FRAMES, 3, 3)
    with np.load(avatar_run / "person.npz", allow_pickle=False) as person:
        assert person["keypoints"].shape == (FRAMES, 17, 3)
        assert set(person["state"].tolist()) <= {"detected", "predicted", "absent"}
    assert len(frames_of(avatar_run / "plate.mp4")) == FRAMES
    assert len(frames_of(avatar_run / "comparison.mp4")) == FRAMES
    assert len(list((avatar_run / "segments").iterdir())) == 3
    report = (avatar_run / "report.html").read_text()
    assert "http://" not in report and "https://" not in report, "the report needs nothing else"
    assert "data:image/jpeg" in report


def test_the_body_is_human_shaped(avatar_run) -> None:
    joints = np.load(avatar_run / "body.npz")["joints"]
    limbs = {
        "upper arm": (11, 13, 12, 14),
        "forearm": (13, 15, 14, 16),
        "thigh": (23, 25, 24, 26),
        "shin": (25, 27, 26, 28),
    }
    for name, (a, b, c, d) in limbs.items():
        left = np.linalg.norm(joints[:, a] - joints[:, b], axis=1)
        right = np.linalg.norm(joints[:, c] - joints[:, d], axis=1)
        assert left.std() / left.mean() < 0.05, f"{name} keeps its length"
        assert abs(left.mean() / right.mean() - 1) < 0.06, f"left and right {name} are alike"
        assert 0.15 < left.mean() < 0.6, f"{name} is {left.mean():.2f} m"


def test_a_killed_run_continues_to_the_same_frames(small_clip, avatar_run, tmp_path) -> None:
    command = [sys.executable, "app.py", "replace", str(small_clip), "--preset", "fast", "--output", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--set", "segments=3"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    first = None
    deadline = time.monotonic() + 300
    while first is None and time.monotonic() < deadline:
        first = next(iter(tmp_path.glob("*/segments/segment_000.zip")), None)
        assert process.poll() is None or first, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert first is not None
    folder = first.parent.parent
    written = first.stat().st_mtime_ns
    assert not (folder / "result.mp4").exists()
    done = subprocess.run(
        [sys.executable, "app.py", "resume", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == written, "the finished segment was kept"
    assert json.loads((folder / "run.json").read_text())["state"] == "done"
    for a, b in zip(frames_of(avatar_run / "result.mp4"), frames_of(folder / "result.mp4"), strict=True):
        assert np.array_equal(a, b)


def test_ctrl_c_leaves_a_run_that_can_be_resumed(small_clip, tmp_path) -> None:
    command = [
        sys.executable,
        "app.py",
        "replace",
        str(small_clip),
        "--engine",
        "passthrough",
        "--output",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    folder = next(tmp_path.iterdir())
    assert json.loads((folder / "run.json").read_text())["state"] == "cancelled"
    done = subprocess.run(
        [sys.executable, "app.py", "resume", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(frames_of(folder / "result.mp4")) == FRAMES


def test_passthrough_changes_nothing(small_clip, tmp_path) -> None:
    command = [
        sys.executable,
        "app.py",
        "replace",
        str(small_clip),
        "--engine",
        "passthrough",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = Path(done.stdout.strip()) / "result.mp4"
    for source, frame in zip(frames_of(small_clip), frames_of(result), strict=True):
        assert psnr(source, frame) >= 40
    assert os.listdir(tmp_path) == [result.parent.name]


def test_a_changed_source_is_not_resumed(small_clip, tmp_path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(small_clip.read_bytes())
    from core.runs import RunFolder, sha256_of
    from core.settings import ReplaceSettings

    run = RunFolder.create(
        tmp_path / "out", kind="replace", source=clip, settings=ReplaceSettings().model_dump(mode="json")
    )
    run.update(source_sha256=sha256_of(clip), state="failed")
    clip.write_bytes(small_clip.read_bytes() + b"\0")
    done = subprocess.run(
        [sys.executable, "app.py", "resume", str(run.path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "has changed" in done.stderr
