"""The command line as a user meets it: help, exit codes, one clear sentence for bad input, nothing half-written."""

from __future__ import annotations

import os

import pytest

from tests import clips


def test_help_is_light(app) -> None:
    done = app("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("replace", "resume", "doctor"))


def test_help_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom interfaces.cli.main import build_parser\nbuild_parser()\n"
        "heavy = {'torch', 'cv2', 'mediapipe', 'anny', 'gradio', 'scipy', 'av'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_setting_is_in_the_help(app) -> None:
    from core.settings import MeshSettings, ReplaceSettings

    for command, settings in (("replace", ReplaceSettings), ("mesh", MeshSettings)):
        text = app(command, "--help").stdout
        assert all(f"  {name}=" in text for name in settings.model_fields)


def _bad_clips(folder):
    yield clips.text(folder)
    yield clips.truncated(folder)
    yield clips.without_index(folder)
    yield clips.without_video(folder)
    yield clips.without_frames(folder)
    yield folder / "nowhere.mp4"
    yield folder


def test_bad_clips_get_one_sentence_and_leave_nothing(app, tmp_path) -> None:
    output = tmp_path / "outputs"
    for clip in _bad_clips(tmp_path):
        done = app("replace", clip, "--output", output)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        error = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert len(error) == 1, done.stderr
        assert clip.name in error[0], done.stderr
        assert not output.exists() or not os.listdir(output)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--preset", "turbo"], "turbo"),
        (["--set", "segmets=3"], "segmets"),
        (["--set", "segments=4"], "segments=4"),
        (["--set", "quality"], "quality"),
        (["--avatar", "nobody"], "nobody"),
        (["--engine", "magic"], "magic"),
        (["--person", "left"], "person=left"),
    ],
)
def test_bad_options_name_what_is_wrong(app, demo_clip, tmp_path, options, named) -> None:
    done = app("replace", demo_clip, "--output", tmp_path / "out", *options)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(app, demo_clip, tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = app("replace", demo_clip, "--output", blocked)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_clip_without_a_person(app, tmp_path) -> None:
    clip = clips.plain(tmp_path)
    done = app("replace", clip, "--output", tmp_path / "out", "--engine", "passthrough")
    assert done.returncode == 2
    assert "person" in done.stderr.lower()
    assert os.listdir(tmp_path / "out") == []


def test_resume_wants_a_run_folder(app, tmp_path) -> None:
    done = app("resume", tmp_path)
    assert done.returncode == 2
    assert "not a run folder" in done.stderr


def test_doctor_names_what_it_looked_at(app) -> None:
    done = app("doctor")
    assert done.returncode == 0, done.stdout
    for name in (
        "python",
        "libGL",
        "mediapipe",
        "torch",
        "anny",
        "avatars",
        "smplx body",
        "mesh drawing",
        "GPU",
        "disk",
    ):
        assert name in done.stdout
