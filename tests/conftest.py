"""What all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import clips

ROOT = Path(__file__).resolve().parent.parent
#: Footage and garments that the repository does not contain.
SHARED = ROOT.parent / "shared"
DEMO = ROOT / "assets" / "demo" / "walk.mp4"

# Two workers on two cores: more threads than that only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real footage; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the footage in ../shared, which is not here")
    return SHARED


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The clip that the project ships."""
    return DEMO


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory, demo_clip) -> Path:
    """The first 24 frames of the bundled clip at half size, with sound."""
    return clips.demo_cut(demo_clip, tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def toy_weights(tmp_path_factory) -> Path:
    """A weights folder with the sets of both diffusion engines: the true networks, a few channels wide. Only read."""
    from tests.models import tiny_diffusion, tiny_wan

    root = tmp_path_factory.mktemp("toy_weights")
    tiny_diffusion.save_all(root)
    tiny_wan.write_weights(root)
    return root


@pytest.fixture
def app():
    """Run ``python app.py ...`` as a user does."""

    def run(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "app.py", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600, **options)

    return run
