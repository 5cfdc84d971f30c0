"""Mesh runs that cannot go the plain way: one clear sentence before anything is written, or a result that says so."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from interfaces.cli.main import main
from pipelines.mesh.processor import mesh_clips
from tests import clips
from tests.conftest import ROOT
from tests.e2e.test_mesh import BARE, frames_of, quality_of, record_of, written
from tests.smplx_file import write_npz
from tests.utils.camera_rig import ring
from utils.cameras.opencv_yaml import write_opencv_yaml

SIZE = clips.DEMO_SIZE
#: A run that draws and exports little of everything.
OPTIONS = [
    "--preset", "fast", "--video", "overlay,turntable", "--set", "turntable_height=240",
    "--format", "glb,bvh,npz,json,csv,ply,easymocap",
]  # fmt: skip


@pytest.fixture
def told(tmp_path, capfd):
    """Run the command; gives its exit code and what it said, and checks that no run folder is left."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        output = tmp_path / "out"
        code = main(["mesh", *map(str, arguments), "--output", str(output)])
        assert not output.exists() or [path.name for path in output.iterdir()] in ([], [".staging"])
        return code, capfd.readouterr().err

    return run


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "glb,fbx"], "There is no export format 'fbx'. Choose among: glb"),
        (["--video", "overlay,front"], "there is no video 'front'; choose among overlay"),
        (["--body", "smplz"], "Setting body=smplz: input should be 'anny' or 'smplx'"),
        (["--person", "left"], "give the point as x,y"),
        (["--person", "9000,20"], "Nobody was found near the point 9000,20"),
        (["--set", "colour=red"], "There is no setting 'colour'"),
        (["--preset", "best"], "There is no preset 'best'"),
        (["--calibration", "cameras.toml"], "A calibration is for several clips, and there is one."),
    ],
)
def test_wrong_words_are_named(small_clip, told, options: list[str], says: str) -> None:
    code, said = told(small_clip, *options)
    assert code == 2 and says in said


def test_an_output_that_cannot_be_written_is_named(small_clip, tmp_path, capfd) -> None:
    (tmp_path / "file").touch()
    assert main(["mesh", str(small_clip), "--output", str(tmp_path / "file" / "runs")]) == 2
    assert "cannot be written (Not a directory). Choose another with --output DIR." in capfd.readouterr().err


class Runs:
    """What a pickle must not do."""

    def __init__(self, marker: Path) -> None:
        self._marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self._marker,)


@pytest.mark.parametrize("kind", ["none", "text", "code", "joints"])
def test_a_body_file_that_cannot_be_used_is_named(small_clip, told, tmp_path, monkeypatch, kind: str) -> None:
    folder = tmp_path / "weights" / "smplx"
    folder.mkdir(parents=True)
    file = folder / "SMPLX_NEUTRAL.npz"
    marker = tmp_path / "ran"
    if kind == "text":
        file.write_text("not a model")
    elif kind == "code":
        file.write_bytes(pickle.dumps({"v_template": Runs(marker)}))
    elif kind == "joints":
        write_npz(folder, weights=np.ones((10475, 54)))
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "weights"))
    code, said = told(small_clip, "--body", "smplx")
    wanted = {
        "none": "Register at https://smpl-x.is.tue.mpg.de",
        "text": "damaged or no SMPL-X, SMPL-H or SMPL file",
        "code": "wants to run code",
        "joints": "10475 vertices and 54 joints are those of no model",
    }
    assert code == (3 if kind == "none" else 2) and wanted[kind] in said
    assert not marker.exists()


# -- several clips -------------------------------------------------------------------------------------------------


@pytest.fixture
def take(small_clip, tmp_path) -> tuple[list[Path], Path]:
    """Two clips that bear cameras' names, and a folder with a calibration of three cameras for their size."""
    paths = [tmp_path / f"cam0{index}.mp4" for index in (1, 2)]
    shutil.copy(small_clip, paths[0])
    written(tmp_path, [frame[:, ::-1].copy() for frame in frames_of(small_clip)], "cam02.mp4")
    calibration = tmp_path / "calibration"
    write_opencv_yaml(calibration, [replace(camera, size=SIZE) for camera in ring(3)])
    return paths, calibration


def test_several_clips_need_a_calibration_that_knows_them(take, told, tmp_path) -> None:
    paths, calibration = take
    code, said = told(*paths)
    assert code == 2 and "Several clips need the calibration of their cameras" in said
    code, said = told(*paths, "--calibration", tmp_path / "nowhere")
    assert code == 2 and f"There is no calibration file {tmp_path / 'nowhere'}" in said
    stranger = tmp_path / "cam07.mp4"
    shutil.copy(paths[1], stranger)
    code, said = told(paths[0], stranger, "--calibration", calibration)
    assert code == 2 and "has no camera for the clip cam07.mp4" in said and "cam01, cam02, cam03" in said
    (calibration / "extri.yml").write_text("%YAML:1.0\n---\nnames:\n  - [\n")
    code, said = told(*paths, "--calibration", calibration)
    assert code == 2 and "extri.yml is not YAML" in said
    (tmp_path / "notes.txt").write_text("two cameras, one left, one right")
    code, said = told(*paths, "--calibration", tmp_path / "notes.txt")
    assert code == 2 and "of no known calibration format" in said


def test_a_row_that_is_missing_in_the_calibration_is_named(take, told) -> None:
    paths, calibration = take
    file = calibration / "extri.yml"
    file.write_text(file.read_text().replace("T_cam02:", "T_cam09:"))
    code, said = told(*paths, "--calibration", calibration)
    assert code == 2 and "T_cam02" in said and "extri.yml" in said


def test_a_clip_of_another_shape_than_the_calibrations_is_refused(take, told, tmp_path) -> None:
    paths, calibration = take
    cut = written(tmp_path, [frame[:, :300].copy() for frame in frames_of(paths[1])], "cam02.mp4")
    code, said = told(paths[0], cut, "--calibration", calibration)
    assert code == 2 and "cam02: calibrated at" in said


def test_a_clip_given_twice_is_refused(take, told) -> None:
    paths, calibration = take
    shutil.copy(paths[0], paths[1])
    code, said = told(*paths, "--calibration", calibration)
    assert code == 2 and "cam01.mp4 and cam02.mp4 are the same clip." in said


def test_a_view_without_the_person_is_named(take, told, tmp_path) -> None:
    paths, calibration = take
    empty = [np.full_like(frame, 120) for frame in frames_of(paths[1])]
    written(tmp_path, empty, "cam02.mp4")
    code, said = told(*paths, "--calibration", calibration, "--preset", "fast")
    assert code == 2 and "The view cam02: No person was found" in said


def test_cameras_that_easymocap_cannot_hold_are_refused_before_the_run(take, told) -> None:
    paths, calibration = take
    file = calibration / "intri.yml"
    eight = "dist_cam01: !!opencv-matrix\n  rows: 1\n  cols: 8\n  dt: d\n  data: [0.1, 0., 0., 0., 0., 0.2, 0., 0.]\n"
    before, rest = file.read_text().split("dist_cam01:", 1)
    file.write_text(before + eight + rest[rest.index("H_cam01") :])
    code, said = told(*paths, "--calibration", calibration, "--format", "easymocap")
    assert code == 2 and "Camera cam01 has 8 distortion terms; EasyMoCap takes five." in said


def test_views_of_different_length_and_rate_make_a_body_and_say_so(shared, tmp_path) -> None:
    source = shared / "footage" / "gymnast4"
    takes = []
    for index, file in enumerate(sorted(source.glob("*.mp4"))):
        frames = frames_of(file, 20)
        # The second clip is half as fast, the third ends early.
        frames = frames[::2] if index == 1 else frames[:15] if index == 2 else frames
        takes.append(clip_at(tmp_path / file.name, frames, 30 if index == 1 else 60))
    settings = BARE.model_copy(update={"calibration": source / "Calib.qca.txt"})
    folder = mesh_clips(takes, settings, output=tmp_path / "out")
    record, quality = record_of(folder), quality_of(folder)
    assert record["frames_in"] == 10, "the slowest clip sets the pace"
    said = " ".join(record["warnings"])
    assert "different frame rates" in said and "cam02.mp4 sets the pace" in said
    assert "Frames outside the span that all clips cover are left out" in said
    assert max(quality["reprojection"]["views"].values()) < 20


def clip_at(path: Path, frames: list[np.ndarray], rate: int) -> Path:
    from fractions import Fraction

    from utils.video_writer import VideoWriter

    with VideoWriter(path, (frames[0].shape[1], frames[0].shape[0]), Fraction(rate), crf=8) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def test_clips_that_are_named_after_the_wrong_cameras_make_no_body(shared, told, tmp_path) -> None:
    source = shared / "footage" / "gymnast4"
    takes = [written(tmp_path, frames_of(source / f"cam0{n}.mp4", 8), f"cam0{3 - n}.mp4") for n in (1, 2)]
    code, said = told(*takes, "--calibration", source / "Calib.qca.txt", "--preset", "fast")
    assert code == 2 and "The views agree on too few points in space" in said


# -- cut off -------------------------------------------------------------------------------------------------------


def killed_in(stage: str, command: list[str], output: Path) -> Path:
    """Start a command, kill it without warning when it is in a stage, and give the run folder."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    reached = any(f"%  {stage}  " in line for line in process.stderr)
    assert reached, f"the run never came to {stage}"
    # Into the stage, and perhaps into a file that is half-written.
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (folder,) = output.iterdir()
    assert record_of(folder)["state"] == "running"
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """All results by name; without what tells of the run itself."""
    own = {"run.json", "quality.html", ".lock"}
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in own
    }


def test_a_run_that_is_killed_again_and_again_gives_the_same_files(small_clip, tmp_path) -> None:
    # OBJ takes long enough to be caught at it.
    formats = "glb,bvh,npz,json,csv,obj,ply,easymocap"
    start = [sys.executable, "app.py", "mesh", str(small_clip), *OPTIONS, "--format", formats, "--output"]
    whole = subprocess.run([*start, str(tmp_path / "whole")], cwd=ROOT, capture_output=True, text=True, check=True)
    folder = killed_in("detect", [*start, str(tmp_path / "killed")], tmp_path / "killed")
    resume = [sys.executable, "app.py", "resume", str(folder)]
    for stage in ("body", "render", "export"):
        killed_in(stage, resume, tmp_path / "killed")
    done = subprocess.run(resume, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() == str(folder), done.stderr
    assert record_of(folder)["state"] == "done"
    expected, found = files_of(Path(whole.stdout.strip())), files_of(folder)
    assert sorted(found) == sorted(expected), "nothing is left over, nothing is missing"
    assert [name for name in expected if found[name] != expected[name]] == []
    # A finished run is left as it is.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = subprocess.run(resume, cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == str(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_source_that_is_gone_is_not_resumed(small_clip, tmp_path) -> None:
    clip = tmp_path / "clip.mp4"
    shutil.copy(small_clip, clip)
    start = [sys.executable, "app.py", "mesh", str(clip), *OPTIONS, "--output", str(tmp_path / "out")]
    folder = killed_in("detect", start, tmp_path / "out")
    clip.unlink()
    from pipelines.mesh.processor import resume_run

    with pytest.raises(InputError, match=r"clip\.mp4 does not exist"):
        resume_run(folder)
