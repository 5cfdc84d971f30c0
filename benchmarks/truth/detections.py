"""What the product sees in a scene's clip: the person's landmarks, raw and cleaned, the camera's motion, standing feet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.truth.scenes import Truth
from core.types import CameraPath, FootContacts, PersonTrack, PoseTrack
from models.detector import create_detector
from models.person_tracker import PersonTracker, choose_person
from pipelines.mesh.lens import PICTURES
from pipelines.survey.frames import spread
from utils.cameras.turning import focal_of_turning_camera
from utils.foot_lock import detect_contacts
from utils.landmarks import clean_landmarks
from utils.stabilization import CameraTracker, camera_path
from utils.video_io import VideoReader
from utils.video_probe import probe

#: Detector's complexity, and length of the camera's smoothing window in frames (the fit does not read the smoothed path).
COMPLEXITY, SMOOTHING_WINDOW = 1, 30
#: Frames, spread over the clip, in which people are looked for before one is chosen.
CHOOSING_FRAMES = 10


@dataclass(frozen=True)
class Seen:
    """Input of a fit."""

    pose: PoseTrack
    camera: CameraPath
    contacts: FootContacts


@dataclass(frozen=True)
class Detected:
    """What was seen in a clip."""

    seen: Seen
    raw_world: np.ndarray
    """(T, 33, 3) metres: the world landmarks as the network gives them, hips at the origin; NaN where absent."""
    detected: np.ndarray
    """(T,) bool: frames in which the person was found."""
    focal: float | None
    """Focal length in pixels as the camera's turning shows it; ``None`` where it does not."""


def _contacts(pose: PoseTrack, camera: CameraPath, height_px: float, frame_height: int, rate: float) -> FootContacts:
    return detect_contacts(
        pose.landmarks,
        camera,
        height_px=height_px,
        frame_height=frame_height,
        rate=rate,
        present=pose.present,
        weight=pose.weight,
    )


def _look(clip: Path) -> tuple[PersonTrack, CameraPath]:
    info = probe(clip)
    detector, camera, steps = create_detector(complexity=COMPLEXITY), CameraTracker(), []
    try:
        with VideoReader(info) as reader:
            chosen = np.linspace(0, info.frame_count - 1, CHOOSING_FRAMES + 2).round().astype(int)[1:-1]
            start = choose_person(reader.at(np.unique(chosen).tolist()), detector)
            tracker = PersonTracker(detector, start, info.size)
            for index, rgb in enumerate(reader.frames()):
                found = tracker.feed(index, rgb)
                H_next_source = camera.update(rgb, None if found is None else found.mask)
                if H_next_source is not None:
                    steps.append(H_next_source)
        return tracker.finish(), camera_path(steps, camera.inliers, info.size, SMOOTHING_WINDOW)
    finally:
        detector.close()


_POSE, _CAMERA = ("landmarks", "world", "weight", "present"), ("H_next_source", "H_stable_source", "inliers")


def _arrays(clip: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Everything that is kept of a clip, by name."""
    info = probe(clip)
    track, camera = _look(clip)
    pose = clean_landmarks(track, fps=float(info.rate))
    contacts = _contacts(pose, camera, track.height_px, info.height, float(info.rate))
    for owner, names in ((pose, _POSE), (camera, _CAMERA), (contacts, ("contact", "speed"))):
        for name in names:
            yield name, getattr(owner, name)
    yield "raw_world", track.world
    yield "detected", track.state == "detected"
    chosen = spread(info.frame_count, PICTURES)
    with VideoReader(info) as reader:
        turned = focal_of_turning_camera([rgb for _, rgb in reader.at(chosen)], [track.mask(t) for t in chosen])
    yield "focal", np.array(np.nan if turned is None else turned.focal)


def detect(clip: Path) -> Detected:
    """Look at a clip as a run does. What was found is kept beside it, so that a second call is quick.

    Raises ``core.errors.InputError`` where nobody is found.
    """
    kept = clip.with_suffix(".npz")
    if not kept.is_file():
        np.savez(kept, **dict(_arrays(clip)))
    with np.load(kept, allow_pickle=False) as data:
        pose = PoseTrack(**{name: data[name] for name in _POSE})
        camera = CameraPath(**{name: data[name] for name in _CAMERA})
        contacts = FootContacts(data["contact"], data["speed"])
        focal = float(data["focal"])
        return Detected(
            Seen(pose, camera, contacts), data["raw_world"], data["detected"], None if np.isnan(focal) else focal
        )


def world_as_seen(truth: Truth) -> np.ndarray:
    """(T, 33, 3) metres: the true world landmarks, in the axes of a camera that looks straight at the person."""
    from models.body.pose_init import view_rotations

    hips = truth.landmarks[:, [23, 24]].mean(1, keepdims=True)
    return (truth.landmarks - hips) @ view_rotations(truth.pixels, truth.intrinsics)


def perfect(
    truth: Truth, size: tuple[int, int], rate: float, noise: tuple[np.ndarray, np.ndarray] | None = None
) -> Seen:
    """What a detector without faults would give.

    ``noise`` adds (T, 33, 2) pixels to the landmarks and (T, 33, 3) metres to the world landmarks.
    """
    pixels, world = truth.pixels, world_as_seen(truth)
    if noise is not None:
        pixels, world = pixels + noise[0], world + noise[1]
    landmarks = np.concatenate([pixels, np.zeros((*pixels.shape[:2], 1))], -1).astype(np.float32)
    count = len(truth)
    pose = PoseTrack(landmarks, world.astype(np.float32), np.ones((count, 33), np.float32), np.ones(count, bool))
    height = float(np.median(np.ptp(truth.pixels[..., 1], axis=1)))
    return Seen(pose, truth.camera, _contacts(pose, truth.camera, height, size[1], rate))
