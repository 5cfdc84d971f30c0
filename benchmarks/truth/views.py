"""A body fitted to one view against the body that four calibrated views give; see ``benchmarks/gymnast.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.truth.scores import JOINTS, align
from core.settings import MeshSettings
from core.types import LANDMARK_NAMES
from pipelines.mesh.processor import mesh_clips


@dataclass(frozen=True)
class Fitted:
    """A finished run."""

    joints: np.ndarray
    """(T, 33, 3) metres, camera axes."""
    valid: np.ndarray
    """(T,) bool."""
    quality: dict
    """``quality.json``."""
    T_camera_world: list[np.ndarray]
    """(4, 4) each, of several views."""


@dataclass(frozen=True)
class Difference:
    """One view's body against that of all views, millimetres."""

    camera: str
    procrustes: np.ndarray
    """(N, 13) of each joint in each frame, after the best similarity of the frame."""
    root: np.ndarray
    """(N, 13) with the middle of the hips held together."""
    heights: tuple[float, float]
    """Metres from sole to crown of the one view's body, and of all views'."""


def fit(clips: Sequence[Path], calibration: Path | None, output: Path) -> Fitted:
    """Run the mesh product on clips, without videos."""
    settings = MeshSettings(videos="", formats="npz", calibration=calibration)
    folder = mesh_clips(clips, settings, output=output)
    with np.load(folder / "body.npz", allow_pickle=False) as data:
        joints, valid = data["joints"].astype(np.float64), data["valid"]
    cameras = json.loads((folder / "cameras.json").read_text()) if calibration else []
    quality = json.loads((folder / "quality.json").read_text())
    return Fitted(joints, valid, quality, [np.array(camera["T_camera_world"]) for camera in cameras])


def compare(one: Fitted, every: Fitted, index: int, camera: str) -> Difference:
    """The body of view ``index`` against that of all views, which stands in the axes of the first."""
    T_view_first = every.T_camera_world[index] @ np.linalg.inv(every.T_camera_world[0])
    truth = every.joints @ T_view_first[:3, :3].T + T_view_first[:3, 3]
    both = one.valid & every.valid
    laid = align(one.joints[both], truth[both])
    procrustes, root = (np.linalg.norm(each[:, JOINTS], axis=-1) for each in (laid.procrustes, laid.root))
    return Difference(camera, procrustes, root, (one.quality["size"]["height_m"], every.quality["size"]["height_m"]))


def table(differences: Sequence[Difference]) -> Iterator[str]:
    """As Markdown, with the joints that differ most."""
    yield "| view | frames | Procrustes: median, mm | mean | root-aligned: median | height, m | of all views | worst joints |"
    yield "|---|" + "---:|" * 6 + "---|"
    for one in differences:
        by_joint = np.median(one.procrustes, axis=0)
        worst = [f"{LANDMARK_NAMES[JOINTS[k]].replace('_', ' ')} {by_joint[k]:.0f}" for k in np.argsort(-by_joint)[:2]]
        yield (
            f"| {one.camera} | {len(one.procrustes)} | {np.median(one.procrustes):.1f} | {one.procrustes.mean():.1f} "
            f"| {np.median(one.root):.1f} | {one.heights[0]:.2f} | {one.heights[1]:.2f} | {', '.join(worst)} |"
        )
