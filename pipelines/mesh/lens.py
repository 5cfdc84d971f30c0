"""How long the lens was: told by the user or by the clip, seen in the camera's turning, or taken as usual."""

from __future__ import annotations

import json

import numpy as np

from models.body.fitting import default_intrinsics
from pipelines.mesh.shot import MeshShot
from pipelines.survey.frames import spread
from utils import transforms
from utils.cameras.turning import focal_of_turning_camera
from utils.lens_metadata import focal_length_35mm, focal_pixels
from utils.video_io import VideoReader

#: What is left in the run folder.
FILE = "lens.json"
#: Pictures in which the camera's turning is looked for, and how far the middle of the picture must travel for it, in parts of
#: the longer side.
PICTURES, LEAST_PAN = 8, 0.12


def find_lens(shot: MeshShot) -> None:
    """Set the camera matrix of the one view, ``shot.K``, and write where it comes from.

    With several views the calibration tells, and nothing is done.
    """
    if shot.views:
        return
    if not shot.run.has(FILE):
        focal, source = _found(shot)
        shot.run.save_json(FILE, {"focal_px": round(focal, 2), "from": source})
    shot.K = default_intrinsics(shot.info.size)
    shot.K[0, 0] = shot.K[1, 1] = json.loads(shot.run.file(FILE).read_text())["focal_px"]


def described(shot: MeshShot) -> dict[str, object]:
    """Focal length in pixels and where it comes from: ``setting``, ``metadata``, ``turning``, ``usual``, ``calibration`` or
    ``easymocap``."""
    taken_over = shot.settings.easymocap_results is not None
    if shot.run.has(FILE) and not taken_over:
        return dict(json.loads(shot.run.file(FILE).read_text()))
    assert shot.body is not None, "stages out of order"
    source = "easymocap" if taken_over else "calibration"
    return {"focal_px": round(float(shot.body.intrinsics[0, 0]), 2), "from": source}


def _found(shot: MeshShot) -> tuple[float, str]:
    """Focal length in pixels and its source."""
    if shot.settings.focal_length is not None:
        return shot.settings.focal_length, "setting"
    told = focal_length_35mm(shot.info.path)
    if told is not None:
        return focal_pixels(told, shot.info.size), "metadata"
    # Another shot may have been taken with another lens.
    turned = _from_turning(shot) if not shot.cuts else None
    if turned is not None:
        return turned, "turning"
    return float(default_intrinsics(shot.info.size)[0, 0]), "usual"


def _from_turning(shot: MeshShot) -> float | None:
    track, _, camera = shot.found
    width, height = shot.info.size
    middle = np.array([[(width - 1) / 2, (height - 1) / 2]])
    path = [middle[0]]
    for H in camera.H_next_source:
        path.append(path[-1] + transforms.apply(H, middle)[0] - middle[0])
    if np.ptp(path, axis=0).max() < LEAST_PAN * max(width, height):
        return None
    chosen = spread(shot.info.frame_count, PICTURES)
    with VideoReader(shot.info) as reader:
        pictures = [rgb for _, rgb in reader.at(chosen)]
    found = focal_of_turning_camera(pictures, [track.mask(t) for t in chosen])
    return None if found is None else found.focal
