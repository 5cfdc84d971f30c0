"""``python app.py weights`` against a hub on loopback, through the real client."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hub import Hub

ADAPTER = "guoyww/animatediff-motion-adapter-v1-5-3"
TENSORS = "diffusion_pytorch_model.safetensors"
WAN = "Wan-AI/Wan2.2-Animate-14B-Diffusers"


def _bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub(
        {
            ADAPTER: {
                "config.json": b'{"a": 1}',
                "README.md": b"no",
                TENSORS: _bytes(1_000_000),
                "diffusion_pytorch_model.fp16.safetensors": b"no",
                "diffusion_pytorch_model.bin": b"no",
            },
            WAN: {
                "model_index.json": b"{}",
                "transformer/config.json": b'{"b": 2}',
                "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": _bytes(300_000, 2),
                "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": _bytes(200_000, 3),
                "transformer/pytorch_model.bin": b"no",
                "tokenizer/spiece.model": _bytes(1000, 4),
                "examples/clip.mp4": b"no",
            },
        }
    ).start()
    yield made
    made.stop()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "weights"


@pytest.fixture
def weights(app, hub, cache):
    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return app("weights", *arguments, env=hub.environment(cache, **environment), stdin=subprocess.DEVNULL)

    return run


def _start(hub: Hub, cache: Path, *arguments: str, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "app.py", "weights", *arguments]
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    } | options
    return subprocess.Popen(command, cwd=ROOT, env=hub.environment(cache), **options)


def _part(folder: Path, least: int) -> Path:
    """The file that grows, once it has so many bytes."""
    for _ in range(600):
        for path in folder.rglob("*.part"):
            if path.stat().st_size >= least:
                return path
        time.sleep(0.05)
    raise AssertionError("nothing came")


def _error(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line


def _state(weights, name: str) -> str:
    (line,) = [line for line in weights("list").stdout.splitlines() if line.startswith(name + " ")]
    return line


def test_list_says_what_there_is(weights, cache) -> None:
    done = weights("list")
    assert done.returncode == 0, done.stderr
    assert weights().stdout == done.stdout
    wan = _state(weights, "wan-animate")
    assert "82.3 GB" in wan and "Apache-2.0" in wan and "missing" in wan
    assert "for the wan-animate engine" in done.stdout and "python app.py weights pull wan-animate" in done.stdout
    assert "put it yourself" in _state(weights, "smplx")
    assert "https://smpl-x.is.tue.mpg.de" in done.stdout
    assert not cache.exists()


def test_pull_fetches_what_is_needed_and_no_more(weights, hub, cache) -> None:
    done = weights("pull", "animatediff", "wan-animate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(cache / "animatediff"), str(cache / "wan-animate")]
    for name, repository in (("animatediff", ADAPTER), ("wan-animate", WAN)):
        lies = {
            str(path.relative_to(cache / name)): path.read_bytes()
            for path in (cache / name).rglob("*")
            if path.is_file() and path.name not in ("manifest.json", ".lock")
        }
        unwanted = ("README.md", ".bin", ".mp4", ".fp16.safetensors")
        assert lies == {path: data for path, data in hub.files[repository].items() if not path.endswith(unwanted)}
    assert "ready" in _state(weights, "animatediff") and str(cache / "animatediff") in weights("list").stdout
    assert len(json.loads((cache / "animatediff" / "manifest.json").read_text())["files"][0]["sha256"]) == 64
    assert "100%" in done.stderr and "\r" not in done.stderr  # plain lines where no terminal is

    served = len(hub.served)
    assert weights("pull", "animatediff").returncode == 0
    assert weights("pull", "animatediff", HF_HUB_OFFLINE="1").returncode == 0
    assert len(hub.served) == served


def test_a_cut_connection_is_continued_and_no_byte_comes_twice(weights, hub, cache) -> None:
    hub.cut_after = 300_000
    done = weights("pull", "animatediff")
    assert done.returncode == 0, done.stderr
    large = [one for one in hub.served if one.path.endswith(TENSORS)]
    assert [one.start for one in large] == [0, 300_000, 600_000, 900_000]
    assert sum(one.sent for one in large) == 1_000_000
    assert (cache / "animatediff" / TENSORS).read_bytes() == hub.files[ADAPTER][TENSORS]


def test_a_hub_that_cannot_continue_is_asked_from_the_start(weights, hub, cache) -> None:
    hub.pause = 0.005
    child = _start(hub, cache, "pull", "animatediff")
    _part(cache, 50_000)
    child.kill()
    child.communicate()
    hub.pause, hub.ignore_range = 0.0, True
    assert weights("pull", "animatediff").returncode == 0
    assert (cache / "animatediff" / TENSORS).read_bytes() == hub.files[ADAPTER][TENSORS]


def test_a_killed_pull_leaves_nothing_half_and_goes_on(weights, hub, cache) -> None:
    hub.pause = 0.005
    child = _start(hub, cache, "pull", "animatediff")
    part = _part(cache, 100_000)
    child.kill()
    child.communicate()
    came = part.stat().st_size
    assert 0 < came < 1_000_000
    assert not (cache / "animatediff" / TENSORS).exists()
    assert "partial" in _state(weights, "animatediff")

    hub.pause = 0.0
    hub.served.clear()
    assert weights("pull", "animatediff").returncode == 0
    (large,) = [one for one in hub.served if one.path.endswith(TENSORS)]
    assert (large.start, large.sent) == (came, 1_000_000 - came)
    assert not list(cache.rglob("*.part"))
    assert weights("verify", "animatediff").returncode == 0


def test_ctrl_c_stops_and_keeps_what_came(hub, cache) -> None:
    hub.pause = 0.005
    child = _start(hub, cache, "pull", "animatediff")
    _part(cache, 50_000)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 130, stderr
    assert "kept" in stderr and "resume" not in stderr
    assert _part(cache, 50_000)


def test_two_pulls_of_one_set_do_not_meet(weights, hub, cache) -> None:
    hub.pause = 0.02
    child = _start(hub, cache, "pull", "animatediff")
    _part(cache, 4096)
    done = weights("pull", "animatediff")
    child.kill()
    child.communicate()
    assert done.returncode == 2 and "Another process" in _error(done)


def test_verify_finds_a_flipped_byte_and_pull_fetches_that_file_alone(weights, hub, cache) -> None:
    assert weights("pull", "wan-animate").returncode == 0
    done = weights("verify")
    assert (done.returncode, done.stdout) == (0, "wan-animate: right\n"), done.stderr
    bad = "transformer/diffusion_pytorch_model-00002-of-00002.safetensors"
    with (cache / "wan-animate" / bad).open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))
    done = weights("verify", "wan-animate")
    assert done.returncode == 4
    assert f"{bad}: damaged" in done.stdout and "00001-of" not in done.stdout
    assert "partial" in _state(weights, "wan-animate")

    hub.served.clear()
    assert weights("pull", "wan-animate").returncode == 0
    assert [one.path for one in hub.served] == [f"{WAN}/{bad}"]
    assert weights("verify").returncode == 0
    assert not list(cache.rglob("*.damaged"))


def test_a_small_file_is_checked_too(weights, hub, cache) -> None:
    assert weights("pull", "animatediff").returncode == 0
    (cache / "animatediff" / "config.json").write_bytes(b'{"a": 2}')
    done = weights("verify", "animatediff")
    assert done.returncode == 4 and "config.json: damaged" in done.stdout


def test_files_without_a_manifest_are_kept_when_they_are_right(weights, hub, cache) -> None:
    assert weights("pull", "animatediff").returncode == 0
    (cache / "animatediff" / "manifest.json").unlink()
    (cache / "animatediff" / "config.json").write_bytes(b'{"x": 1}')
    assert "partial" in _state(weights, "animatediff")
    hub.served.clear()
    assert weights("pull", "animatediff").returncode == 0
    assert [one.path for one in hub.served] == [f"{ADAPTER}/config.json"]


def test_bytes_that_are_not_as_announced_are_never_put_in_place(weights, hub, cache) -> None:
    hub.false_digest.add(TENSORS)
    done = weights("pull", "animatediff")
    assert done.returncode == 4 and TENSORS in _error(done)
    assert not (cache / "animatediff" / TENSORS).exists()
    assert not list(cache.rglob(f"{TENSORS}*.part"))


def test_a_file_that_is_not_the_one_the_table_knows_is_refused(weights, hub) -> None:
    hub.files["latent-consistency/lcm-lora-sdv1-5"] = {"pytorch_lora_weights.safetensors": b"another"}
    done = weights("pull", "lcm-lora")
    assert done.returncode == 4 and "another pytorch_lora_weights.safetensors" in _error(done)
    assert not hub.served


def test_a_repository_that_lost_a_file_or_went_away_is_named(weights, hub) -> None:
    del hub.files[ADAPTER][TENSORS]
    done = weights("pull", "animatediff")
    assert done.returncode == 4 and TENSORS in _error(done)
    del hub.files[ADAPTER]
    done = weights("pull", "animatediff")
    assert done.returncode == 3 and ADAPTER in _error(done)


def test_a_gated_repository_needs_an_accepted_licence_and_its_token_stays_with_the_hub(weights, hub) -> None:
    hub.gated.add(ADAPTER)
    done = weights("pull", "animatediff")
    assert done.returncode == 3
    assert f"https://huggingface.co/{ADAPTER}" in _error(done) and "HF_TOKEN" in _error(done)
    done = weights("pull", "animatediff", HF_TOKEN="hf_accepted")
    assert done.returncode == 0, done.stderr
    assert hub.tokens_at_storage == []


def test_licensed_weights_are_explained(weights, cache) -> None:
    done = weights("pull", "smplx")
    assert done.returncode == 3
    assert all(text in _error(done) for text in ("smpl-x.is.tue.mpg.de", "SMPLX_NEUTRAL.npz", str(cache / "smplx")))
    (cache / "smplx").mkdir(parents=True)
    (cache / "smplx" / "SMPLX_NEUTRAL.npz").write_bytes(b"licensed")
    assert weights("pull", "smplx").returncode == 0
    assert "ready" in _state(weights, "smplx")
    assert weights("verify", "smplx").returncode == 0


def test_offline_mode_is_kept_and_explained(weights, hub) -> None:
    done = weights("pull", "animatediff", HF_HUB_OFFLINE="1")
    assert done.returncode == 3
    assert "HF_HUB_OFFLINE" in _error(done) and "copy the folder animatediff" in _error(done)
    assert not hub.served


def test_no_network_is_one_sentence(app, hub, cache) -> None:
    environment = hub.environment(cache) | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    done = app("weights", "pull", "animatediff", env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 3 and "cannot be reached" in _error(done)


def test_too_small_a_disk_is_noticed_before_anything_is_fetched(weights, hub, cache) -> None:
    hub.announced[TENSORS] = 10**17
    done = weights("pull", "animatediff", "--yes")
    assert done.returncode == 4
    assert "105000000.0 GB" in _error(done) and "are free" in _error(done)
    assert not hub.served and not cache.exists()


def test_a_large_set_is_fetched_only_when_agreed(weights, hub, cache) -> None:
    hub.announced[TENSORS] = 12_000_000_000
    done = weights("pull", "animatediff")
    assert done.returncode == 2 and "12.0 GB" in _error(done) and "--yes" in _error(done)

    ours, its = pty.openpty()
    child = _start(hub, cache, "pull", "animatediff", stdin=its)
    os.close(its)
    os.write(ours, b"n\n")
    _, stderr = child.communicate(timeout=60)
    os.close(ours)
    assert child.returncode == 130 and "12.0 GB" in stderr and "Go on?" in stderr
    assert not hub.served and not cache.exists()


def test_names_that_are_none(weights) -> None:
    for action in ("pull", "verify"):
        done = weights(action, "animatedif")
        assert done.returncode == 2 and "animatediff" in _error(done)
    done = weights("verify", "animatediff")
    assert done.returncode == 3 and "weights pull animatediff" in _error(done)
    assert "There are no weights" in weights("verify").stdout


def test_a_damaged_manifest_is_written_anew_and_right_files_are_kept(weights, hub, cache) -> None:
    assert weights("pull", "animatediff").returncode == 0
    (cache / "animatediff" / "manifest.json").write_text("{")
    assert "partial" in _state(weights, "animatediff")
    done = weights("verify", "animatediff")
    assert done.returncode == 3 and "manifest.json" in _error(done)
    hub.served.clear()
    assert weights("pull", "animatediff").returncode == 0
    assert not hub.served
    assert weights("verify", "animatediff").returncode == 0


def test_a_disk_that_fills_up_is_named_and_leaves_nothing_in_place(weights, cache) -> None:
    # The part grows on a device that is always full.
    assert weights("pull", "animatediff").returncode == 0
    folder = cache / "animatediff"
    (entry,) = [f for f in json.loads((folder / "manifest.json").read_text())["files"] if f["path"] == TENSORS]
    (folder / TENSORS).unlink()
    (folder / f"{TENSORS}.{entry['sha256'][:12]}.part").symlink_to("/dev/full")
    done = weights("pull", "animatediff")
    assert done.returncode == 4 and "disk is full" in _error(done)
    assert not (folder / TENSORS).exists()


def test_nothing_is_fetched_when_one_of_several_cannot_be(weights, hub, cache) -> None:
    assert weights("pull", "animatediff", "smplx").returncode == 3
    assert not hub.served and not cache.exists()


def test_the_cache_option_wins(weights, tmp_path, cache) -> None:
    other = tmp_path / "other"
    done = weights("pull", "animatediff", "--cache", other)
    assert done.stdout == f"{other / 'animatediff'}\n" and not cache.exists()
