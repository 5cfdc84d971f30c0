"""``python app.py weights pull wardrobe`` against a host on loopback that speaks as GitHub does."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.git_host import COMMIT, GitHost, pointer

SHIRT = "base/clothes/shirt/shirt"


@pytest.fixture
def host() -> Iterator[GitHost]:
    made = GitHost(
        {
            "LICENSE.txt": b"CC0",
            "tools/build.py": b"print('not wanted')",
            "base/skins/pale.mhmat": b"not wanted",
            "base/skins/pale.png": random.Random(9).randbytes(900),
            f"{SHIRT}.mhclo": b"name shirt\n",
            f"{SHIRT}.obj": b"v 0 0 0\n" * 1000,
            f"{SHIRT}.thumb": b"not wanted",
            f"{SHIRT}_diffuse.png": random.Random(1).randbytes(500_000),
            f"{SHIRT}_normal.png": random.Random(2).randbytes(300_000),
            "base/hair/bob/bob_diffuse.png": random.Random(3).randbytes(1000),
        }
    ).start()
    yield made
    made.stop()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "weights"


@pytest.fixture
def pull(app, host, cache):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return app(
            "weights", *(arguments or ("pull", "wardrobe")), env=host.environment(cache), stdin=subprocess.DEVNULL
        )

    return run


def _error(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return line


def _lies(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", ".lock")
    }


def _wanted(host: GitHost) -> dict[str, bytes]:
    return {
        path: content
        for path, content in host.files.items()
        if not path.startswith(("tools", "base/skins")) and not path.endswith(".thumb")
    }


def test_the_pack_comes_whole_with_its_large_files(pull, host, cache) -> None:
    done = pull()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(cache / "wardrobe")]
    assert _lies(cache / "wardrobe") == _wanted(host)
    assert host.archives == 1
    assert host.batches == [3], "the addresses of all large files are asked for together"
    assert {entry["commit"] for entry in json.loads((cache / "wardrobe" / "manifest.json").read_text())["files"]} == {
        COMMIT
    }
    assert "ready" in next(line for line in pull("list").stdout.splitlines() if line.startswith("wardrobe"))
    assert pull("verify", "wardrobe").stdout.startswith("wardrobe: right")
    assert pull().returncode == 0 and host.archives == 1, "what is whole is not asked for again"


def test_a_large_file_goes_on_where_the_connection_broke(pull, host, cache) -> None:
    host.cut_after = 200_000
    done = pull()
    assert done.returncode == 0, done.stderr
    assert _lies(cache / "wardrobe") == _wanted(host)
    starts = [start for path, start in host.served if path == f"{SHIRT}_diffuse.png"]
    assert starts == [0, 200_000, 400_000]


def test_an_address_that_expired_is_asked_for_anew(pull, host, cache) -> None:
    host.expired = 2
    done = pull()
    assert done.returncode == 0, done.stderr
    assert len(host.batches) > 1
    assert _lies(cache / "wardrobe") == _wanted(host)


def test_bytes_that_do_not_fit_their_digest_are_refused_and_the_rest_is_kept(pull, host, cache) -> None:
    host.damaged = {f"{SHIRT}_normal.png"}
    done = pull()
    assert done.returncode == 4
    assert f"{SHIRT}_normal.png" in _error(done) and "did not arrive" in _error(done)
    assert not (cache / "wardrobe" / f"{SHIRT}_normal.png").exists()
    host.damaged = set()
    assert pull().returncode == 0
    assert host.archives == 1, "the archive is kept until all is there"
    assert _lies(cache / "wardrobe") == _wanted(host)


def test_a_damaged_texture_is_fetched_again_alone(pull, host, cache) -> None:
    assert pull().returncode == 0
    texture = cache / "wardrobe" / f"{SHIRT}_diffuse.png"
    texture.write_bytes(bytes(500_000))
    assert pull("verify", "wardrobe").returncode == 4
    before = len(host.served)
    assert pull().returncode == 0
    assert [path for path, _ in host.served[before:]] == [f"{SHIRT}_diffuse.png"]
    assert host.archives == 1
    assert texture.read_bytes() == host.files[f"{SHIRT}_diffuse.png"]


def test_what_the_host_says_is_passed_on_in_one_sentence(pull, host, cache) -> None:
    host.refused = {f"{SHIRT}_diffuse.png": "This repository is over its data quota."}
    done = pull()
    assert done.returncode == 4
    assert "over its data quota" in _error(done) and "shirt_diffuse.png" in _error(done)
    host.empty = True
    (cache / "wardrobe" / "manifest.json").unlink()
    done = pull()
    assert done.returncode == 4
    assert "has no branch HEAD" in _error(done)


def test_no_network_is_said_plainly(app, tmp_path) -> None:
    environment = GitHost({}).start()
    values = environment.environment(tmp_path / "weights")
    environment.stop()
    done = app("weights", "pull", "wardrobe", env=values, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert "GitHub cannot be reached" in _error(done)


def test_pointers_are_as_git_writes_them() -> None:
    assert len(pointer(b"x" * 1639331)) == 132
