"""The camera's path, and when the feet stand."""

from __future__ import annotations

import json

import numpy as np

from core.types import CameraPath, FootContacts
from pipelines.survey.findings import Survey
from pipelines.survey.shots import shot_spans
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
    parts = [_contacts_of(shot, *span) for span in shot_spans(shot.cuts, shot.info.frame_count)]
    shot.contacts = FootContacts(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("contact", "speed"))
    )


def _contacts_of(shot: Survey, start: int, end: int) -> FootContacts:
    """The contacts of one shot: the frames ``start`` to ``end`` (exclusive)."""
    track, pose, camera = shot.found
    here = slice(start, end)
    motion = CameraPath(
        camera.H_next_source[start : end - 1], camera.H_stable_source[here], camera.inliers[start : end - 1]
    )
    boxes = track.xyxy[here][track.present[here]]
    height = float(np.median(boxes[:, 3] - boxes[:, 1])) if len(boxes) else 0.0
    return detect_contacts(
        pose.landmarks[here],
        motion,
        height_px=height,
        frame_height=shot.info.height,
        rate=float(shot.info.rate),
        present=pose.present[here],
        weight=pose.weight[here],
    )
