"""The camera's path, and when the feet stand."""

from __future__ import annotations

import json

import numpy as np

from core.types import CameraPath
from pipelines.survey.findings import Survey
from utils.foot_lock import detect_contacts


def stabilize(shot: Survey) -> None:
    """The camera's path, smoothed into that of a steady camera."""
    content = json.loads(shot.run.file("camera_path.json").read_text())
    count = shot.info.frame_count
    shot.camera = CameraPath(
        H_next_source=np.array(content["H_next_source"], np.float64).reshape(count - 1, 3, 3),
        H_stable_source=np.array(content["H_stable_source"], np.float64),
        inliers=np.array(content["inliers"], np.float32),
    )
    shot.figures["camera_inliers"] = round(float(shot.camera.inliers.mean()), 3) if count > 1 else None


def find_contacts(shot: Survey) -> None:
    """Find out when the feet stand."""
    track, pose, camera = shot.found
    shot.contacts = detect_contacts(
        pose.landmarks,
        camera,
        height_px=track.height_px,
        frame_height=shot.info.height,
        rate=float(shot.info.rate),
        present=pose.present,
        weight=pose.weight,
    )
