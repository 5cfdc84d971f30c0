"""What works on this machine, what is missing, and how to get it."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UnderstudyError
from pipelines.machine import cores, gpus

if TYPE_CHECKING:
    from models.body.base import RestBody

#: Free disk below which a run of a few minutes may not fit.
LOW_DISK_GB = 2.0
#: Memory below which a 1080p run is tight.
LOW_MEMORY_GB = 4.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    """What was looked at."""
    ok: bool
    """Whether it works."""
    found: str
    """What was found, in a few words."""
    remedy: str = ""
    """What to do about it; empty where nothing needs doing."""
    needed: bool = True
    """Whether the avatar engine cannot run without it."""

    @property
    def blocks(self) -> bool:
        """Whether this stops the embedded default."""
        return self.needed and not self.ok

    @property
    def mark(self) -> str:
        """``ok``, ``missing`` or ``optional``."""
        return "ok" if self.ok else ("missing" if self.needed else "optional")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] <= (3, 12)
    return Finding("python", ok, version, "" if ok else "Install Python 3.11 or 3.12 and run `make setup`.")


def _libgl() -> Finding:
    """OpenCV's window support needs libGL even where no window is opened."""
    found = ctypes.util.find_library("GL")
    remedy = "" if found else "Install it: apt-get install libgl1 libglib2.0-0 (Debian, Ubuntu)."
    return Finding("libGL", bool(found), found or "not found", remedy)


#: Module -> distribution, for what the avatar engine and the video operators import.
MODULES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv-contrib-python",
    "av": "av",
    "decord": "decord",
    "mediapipe": "mediapipe",
    "torch": "torch",
    "anny": "anny",
    "embreex": "embreex",
    "pytorch3d": "easypytorch3d",
    "smplx": "smplx",
    "diffusers": "diffusers",
    "gradio": "gradio",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
}
#: Modules whose import is tried in a process of its own, because a missing system library only shows then.
TRIED = ("cv2", "embreex", "mediapipe")


def _module(module: str, distribution: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, False, "not installed", "Run `make setup` (pip install -r requirements.txt).")
    version = importlib.metadata.version(distribution)
    if module in TRIED:
        tried = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            lines = tried.stderr.strip().splitlines()
            reason = lines[-1] if lines else f"exit code {tried.returncode}"
            library = "libGL" in reason or "libgthread" in reason
            remedy = (
                "apt-get install libgl1 libglib2.0-0" if library else f"pip install --force-reinstall {distribution}"
            )
            return Finding(module, False, f"{version}, but it does not load: {reason}", remedy)
    return Finding(module, True, version)


def _encoder() -> Finding:
    import av

    ok = "libx264" in av.codecs_available
    return Finding("H.264 encoder", ok, "libx264 in PyAV" if ok else "not in this PyAV", "" if ok else "pip install av")


def _gpu() -> Finding:
    """What the driver says; a run on the CPU needs none."""
    found = gpus()
    names = [card.name + (f", {card.memory_mb} MiB" if card.memory_mb else "") for card in found.cards]
    if names:
        return Finding("GPU", True, "; ".join(names), needed=False)
    reason = f" ({found.problem})" if found.problem else ""
    return Finding("GPU", False, f"none{reason}: the avatar engine does the whole job on the CPU", needed=False)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    ok = free >= LOW_DISK_GB
    return Finding(
        "disk", ok, f"{free:.0f} GB free", "" if ok else "Free some space or use --output on another disk.", False
    )


def _memory() -> Finding:
    import psutil

    total = psutil.virtual_memory().total / 2**30
    ok = total >= LOW_MEMORY_GB
    remedy = "" if ok else "Scale clips down to 960 pixels width before a run."
    return Finding("memory", ok, f"{total:.0f} GB, {cores()} cores", remedy, False)


def _body_cache() -> Finding:
    from models.body.anny_body import cache_is_built

    ok = cache_is_built(_phenotypes())
    found = "built" if ok else "not built yet"
    remedy = "" if ok else "`make setup` builds it; otherwise the first run does, in about a minute."
    return Finding("body cache", ok, found, remedy, needed=False)


def _licensed_body() -> Finding:
    """The body of the user's own file; the embedded one needs none."""
    from models.body.joint_tables import SMPL_TITLES
    from models.body.smplx_body import SmplxBody

    model = SmplxBody()
    try:
        rest = model.rest({})
    except UnderstudyError as error:
        return Finding("smplx body", False, error.message, f"{error.hint} Without it the body is anny.", needed=False)
    note = f"; {model.warnings[0]}" if model.warnings else ""
    return Finding("smplx body", True, f"{SMPL_TITLES[rest.model]}, {len(rest.vertices)} vertices{note}", needed=False)


def _mesh_drawing() -> Finding:
    """Draw a small picture: PyTorch3D and Embree may load and yet not work."""
    from models.body.anny_body import AnnyBody, cache_is_built

    name = "mesh drawing"
    if not cache_is_built():
        return Finding(name, False, "not tried without the body cache", "python app.py doctor --prepare", needed=False)
    try:
        covered, way = _trial_picture(AnnyBody().rest({}))
        remedy = "" if covered else "pip install --force-reinstall easypytorch3d embreex"
        return Finding(name, covered, way if covered else f"{way}: the picture is empty", remedy, needed=False)
    except UnderstudyError as error:
        return Finding(name, False, error.message, error.hint, needed=False)
    except Exception as error:  # noqa: BLE001 - whatever a library does here is what is asked
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        remedy = "pip install --force-reinstall easypytorch3d embreex"
        return Finding(name, False, f"PyTorch3D and Embree do not work: {reason}", remedy, needed=False)


def _trial_picture(rest: RestBody) -> tuple[bool, str]:
    """Whether the body is to be seen in a small picture of it, and what drew it."""
    import numpy as np

    from core.types import ShotLook
    from models.body.mesh_rendering import MeshRenderer
    from models.memory import device_name

    grey = np.full(3, 0.5, np.float32)
    towards = np.array([0.0, -1.0, 0.0], np.float32)
    look = ShotLook(towards, grey, grey, grey, 0 * grey, exposure=1.0, softness=0.5, grain=0.0, blur=0.5)
    K = np.array([[60.0, 0, 31.5], [0, 60, 31.5], [0, 0, 1]])
    renderer = MeshRenderer(rest, (64, 64), K, look, edge_samples=2)
    # Upright, facing the camera, three metres away.
    vertices = rest.vertices @ np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) - [0, 0.3, -3]
    layer = renderer.draw(vertices.astype(np.float32))
    return bool(layer.alpha.sum() > 50), f"PyTorch3D draws on {device_name()}, Embree casts rays"


def _avatars() -> Finding:
    from models.body.wardrobe import list_avatars

    names = [avatar.name for avatar in list_avatars()]
    return Finding("avatars", bool(names), ", ".join(names) or "none in assets/avatars")


def _garments() -> Finding:
    """Garments from files are checked by name only: reading all of a pack would take minutes."""
    from models.body.wardrobe import garment_names, wardrobe_folders

    try:
        names, folders = garment_names(), wardrobe_folders()
    except UnderstudyError as error:
        return Finding("garments", False, error.message, error.hint, needed=False)
    found = f"{len(names)} from files, in {', '.join(map(str, folders))}" if names else "those that are built in"
    return Finding("garments", True, found, needed=False)


def _weights() -> Finding:
    from pipelines import weights

    ready = weights.ready()
    remedy = "" if ready else "For the diffusion engines, the smplx body and more clothes: python app.py weights list."
    return Finding("weights", bool(ready), ", ".join(ready) or "none", remedy, needed=False)


def _writable() -> Finding:
    folder = Path("outputs") if Path("outputs").is_dir() else Path()
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("outputs", True, "can be written")
    except OSError as error:
        return Finding(
            "outputs", False, f"cannot be written: {error.strerror}", "Use --output DIR with another folder.", False
        )


def _findings() -> Iterator[Finding]:
    yield _python()
    yield _libgl()
    modules = [_module(module, distribution) for module, distribution in MODULES.items()]
    yield from modules
    if all(finding.ok for finding in modules):
        yield _encoder()
        yield _avatars()
        yield _garments()
        yield _body_cache()
        yield _licensed_body()
        yield _mesh_drawing()
    yield _weights()
    yield _gpu()
    yield _memory()
    yield _disk(Path())
    yield _writable()


def examine() -> tuple[Finding, ...]:
    """Look at everything. Never raises: what cannot be looked at is reported as missing."""
    return tuple(_findings())


def prepare(say: Callable[[str], None]) -> None:
    """Build the caches that would otherwise slow down the first run."""
    from models.body.anny_body import build_body_cache

    say("Building the body model's cache: a minute or two, once.")
    build_body_cache(lambda fraction, text: say(f"{fraction:4.0%}  {text}"), _phenotypes())


def _phenotypes() -> list[dict[str, float]]:
    """The bodies of all avatars that come with the program."""
    from models.body.wardrobe import list_avatars

    return [avatar.phenotype.model_dump() for avatar in list_avatars()]
