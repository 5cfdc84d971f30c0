"""Which devices runs are put on, and what tells this machine from another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import machine

TWO_CARDS = """0, GPU-aaaa1111-0000, NVIDIA A40, 46068
1, GPU-bbbb2222-0000, NVIDIA GeForce RTX 4090, 24564
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a program in the driver tool's place and asks anew; what was known before is forgotten."""

    def answers(script: str) -> machine.Gpus:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        machine.gpus.cache_clear()
        return machine.gpus()

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield answers
    machine.gpus.cache_clear()


def _says(text: str) -> str:
    return f"cat <<'END'\n{text}END"


def test_every_card_is_a_device(driver) -> None:
    found = driver(_says(TWO_CARDS))
    assert [card.name for card in found.cards] == ["NVIDIA A40", "NVIDIA GeForce RTX 4090"]
    assert found.cards[0].memory_mb == 46068
    assert machine.devices() == ("cuda:0", "cuda:1")
    assert machine.machine_key()["gpus"] == ["NVIDIA A40", "NVIDIA GeForce RTX 4090"]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("1", ["NVIDIA GeForce RTX 4090"]),
        ("1,0", ["NVIDIA GeForce RTX 4090", "NVIDIA A40"]),
        ("GPU-aaaa", ["NVIDIA A40"]),
        ("0,7,1", ["NVIDIA A40"]),
        ("-1", []),
        ("", []),
    ],
)
def test_cards_that_cuda_hides_are_no_devices(driver, monkeypatch, choice: str, names: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", choice)
    found = driver(_says(TWO_CARDS))
    assert [card.name for card in found.cards] == names
    assert machine.devices() == (tuple(f"cuda:{i}" for i in range(len(names))) or ("cpu",))
    assert ("CUDA_VISIBLE_DEVICES" in found.problem) == (not names)


def test_a_card_without_memory_of_its_own_counts(driver) -> None:
    assert driver(_says("0, GPU-c, NVIDIA GB10, [N/A]\n")).cards[0].memory_mb is None
    assert machine.devices() == ("cuda:0",)


def test_a_driver_that_fails_leaves_the_cpu_and_says_why(driver) -> None:
    found = driver("echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9")
    assert machine.devices() == ("cpu",)
    assert "could not communicate" in found.problem


def test_a_tool_that_cannot_be_run_leaves_the_cpu_and_says_why(driver, tmp_path) -> None:
    driver("exit 0")
    (tmp_path / "nvidia-smi").write_bytes(b"\x00\x01 not a program")
    machine.gpus.cache_clear()
    assert machine.devices() == ("cpu",)
    assert "cannot be run" in machine.gpus().problem


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "450000 100000\n"}, 4.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_share_of_the_cores_is_read(tmp_path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cpu_quota(tmp_path) == cores


def test_the_machine_is_the_same_after_a_trip_through_json() -> None:
    key = machine.machine_key()
    assert json.loads(json.dumps(key)) == key == machine.machine_key()
    assert key["cpu"]
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)


def test_asking_for_devices_loads_no_heavy_library() -> None:
    code = (
        "import sys; from pipelines.machine import devices; devices()\n"
        "print([m for m in ('torch', 'cv2', 'anny') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
