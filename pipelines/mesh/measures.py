"""How good a mesh is, in figures: where the person was seen, what was mended, how steady the body is and how well it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.types import (
    ABSENT,
    DETECTED,
    LANDMARK_NAMES,
    PREDICTED,
    BodyParams,
    CameraPath,
    FootContacts,
    PersonTrack,
    PoseTrack,
)
from pipelines.survey.body import ANKLES, LIMBS, POOR_FIT, projected_landmarks
from utils import transforms
from utils.person_track import runs

#: Parts of the body that confidence is told of, with their landmarks.
PARTS: dict[str, np.ndarray] = {
    name: np.array([LANDMARK_NAMES.index(f"{side}_{joint}") for side in sides for joint in joints])
    for name, sides, joints in (
        ("trunk", ("left", "right"), ("shoulder", "hip")),
        ("left arm", ("left",), ("elbow", "wrist")),
        ("right arm", ("right",), ("elbow", "wrist")),
        ("left leg", ("left",), ("knee", "ankle")),
        ("right leg", ("right",), ("knee", "ankle")),
    )
}
#: Bones whose lengths are told: name, and the landmarks at its ends.
BONES = {
    f"{side} {bone}": (LANDMARK_NAMES.index(f"{side}_{start}"), LANDMARK_NAMES.index(f"{side}_{end}"))
    for bone, start, end in (
        ("upper arm", "shoulder", "elbow"),
        ("forearm", "elbow", "wrist"),
        ("thigh", "hip", "knee"),
        ("shin", "knee", "ankle"),
    )
    for side in ("left", "right")
}
_HIPS = [LANDMARK_NAMES.index("left_hip"), LANDMARK_NAMES.index("right_hip")]
_SHOULDERS = [LANDMARK_NAMES.index("left_shoulder"), LANDMARK_NAMES.index("right_shoulder")]
_SIDES = [
    (LANDMARK_NAMES.index(f"left_{part}"), LANDMARK_NAMES.index(f"right_{part}"))
    for part in ("elbow", "wrist", "knee", "ankle")
]
#: Landmarks nearer than this share of the height to the other side's final place count as exchanged.
_EXCHANGED = 0.06
#: A person who moves by more than this share of its height in one frame, or whose box shrinks below this share, is elsewhere.
_JUMP, _SAME_SIZE = 0.1, 0.8


@dataclass(frozen=True)
class Evidence:
    """What the figures are made from."""

    track: PersonTrack
    """The person as detected."""
    pose: PoseTrack
    """What the body was fitted to."""
    body: BodyParams
    """The fit."""
    camera: CameraPath
    contacts: FootContacts
    rate: float
    """Frames per second."""
    read: np.ndarray
    """(T, 33, 3) metres: the landmarks in space before anything was mended; NaN where there are none."""


def spans(flags: np.ndarray) -> list[list[int]]:
    """The true entries as ``[first, last]`` frames."""
    return [[start, end - 1] for start, end in runs(flags)]


def jitter(points: np.ndarray, here: np.ndarray) -> np.ndarray:
    """(T,) millimetres per frame^2: mean acceleration of the limbs against the hips; NaN at the ends and in gaps.

    ``points`` (T, 33, 3) metres, ``here`` (T,) bool.
    """
    result = np.full(len(points), np.nan)
    if len(points) < 3:
        return result
    local = (points - points[:, _HIPS].mean(1, keepdims=True))[:, LIMBS]
    bend = np.linalg.norm(local[2:] - 2 * local[1:-1] + local[:-2], axis=-1).mean(-1) * 1000
    known = here[2:] & here[1:-1] & here[:-2]
    result[1:-1] = np.where(known, bend, np.nan)
    return result


def reprojection(evidence: Evidence) -> np.ndarray:
    """(T,) median distance of the body's limbs from the person's in the picture, pixels; NaN where none is trusted."""
    pixels = projected_landmarks(evidence.body)
    error = np.linalg.norm(pixels - evidence.pose.landmarks[..., :2], axis=-1)[:, LIMBS]
    trusted = (evidence.pose.weight[:, LIMBS] > 0.3) & evidence.body.valid[:, None] & np.isfinite(error)
    return np.array([np.median(row[keep]) if keep.any() else np.nan for row, keep in zip(error, trusted, strict=True)])


def confidence(evidence: Evidence) -> dict[str, np.ndarray]:
    """(T,) 0..1, mean trust in the landmarks of each part; NaN where the person is absent."""
    here = evidence.pose.present
    return {name: np.where(here, evidence.pose.weight[:, part].mean(1), np.nan) for name, part in PARTS.items()}


def mended(evidence: Evidence) -> list[dict[str, object]]:
    """Frames in which landmarks of the limbs were wrong, and which ones: ``replaced`` from the frames around, or
    ``exchanged`` left for right."""
    track, pose = evidence.track, evidence.pose
    read, final = track.landmarks[..., :2], pose.landmarks[..., :2]
    frames = []
    for t in np.flatnonzero((track.state == DETECTED) & pose.present):
        replaced = [LANDMARK_NAMES[k] for k in LIMBS if pose.weight[t, k] == 0]
        exchanged = []
        for left, right in _SIDES:
            straight = np.linalg.norm(read[t, [left, right]] - final[t, [left, right]], axis=-1).max()
            crossed = np.linalg.norm(read[t, [right, left]] - final[t, [left, right]], axis=-1).max()
            if crossed < _EXCHANGED * track.height_px and straight > 2 * crossed:
                exchanged.append(LANDMARK_NAMES[left].removeprefix("left_"))
        if replaced or exchanged:
            frames.append({"frame": int(t), "replaced": replaced, "exchanged": exchanged})
    return frames


def foot_slide_mm(evidence: Evidence) -> np.ndarray:
    """(T,) millimetres per frame by which standing ankles move against the scene, across the view; NaN where none stands."""
    body, contact = evidence.body, evidence.contacts.contact
    pixels = projected_landmarks(body)[:, ANKLES]
    result = np.full(len(body), np.nan)
    for t in range(len(body) - 1):
        standing = contact[t] & contact[t + 1] & body.valid[t] & body.valid[t + 1]
        if standing.any():
            step = pixels[t + 1] - transforms.apply(evidence.camera.H_next_source[t], pixels[t])
            metres = np.linalg.norm(step, axis=1) * body.keypoints[t, ANKLES, 2] / body.intrinsics[0, 0]
            result[t] = 1000 * metres[standing].mean()
    return result


def limb_lengths(evidence: Evidence) -> dict[str, dict[str, float | None]]:
    """Metres: each bone as it was read, how much that varies over the clip, and as fitted."""
    result: dict[str, dict[str, float | None]] = {}
    for name, (start, end) in BONES.items():
        read = np.linalg.norm(evidence.read[:, start] - evidence.read[:, end], axis=-1)
        read = read[np.isfinite(read)]
        valid = evidence.body.keypoints[evidence.body.valid]
        fitted = np.linalg.norm(valid[:, start] - valid[:, end], axis=-1)
        result[name] = {
            "read": rounded(float(np.median(read)), 4) if len(read) else None,
            "read_spread": rounded(float(read.std()), 4) if len(read) else None,
            "fitted": rounded(float(np.median(fitted)), 4) if len(fitted) else None,
        }
    return result


def upside_down(evidence: Evidence) -> float:
    """Share of the person's frames in which the shoulders are below the hips."""
    points = evidence.pose.landmarks[evidence.pose.present]
    if not len(points):
        return 0.0
    return float((points[:, _SHOULDERS, 1].mean(1) > points[:, _HIPS, 1].mean(1)).mean())


def cuts(evidence: Evidence) -> list[int]:
    """Frames before which the picture changes at once: the camera's motion is not found, and the person is not found on both
    sides or is elsewhere."""
    track, height = evidence.track, max(evidence.track.height_px, 1.0)
    found: list[int] = []
    for t in (np.flatnonzero(evidence.camera.inliers == 0) + 1).tolist():
        if (track.state[[t - 1, t]] == DETECTED).all():
            step = np.linalg.norm(track.landmarks[t, :, :2] - track.landmarks[t - 1, :, :2], axis=-1) / height
            sizes = track.xyxy[[t - 1, t], 3] - track.xyxy[[t - 1, t], 1]
            if np.median(step) <= _JUMP and min(sizes) > _SAME_SIZE * max(sizes):
                continue
        if not found or t - found[-1] > 1:
            found.append(t)
    return found


def missed(evidence: Evidence, errors: np.ndarray) -> np.ndarray:
    """(T,) bool: fitted frames in which the body does not lie on the person."""
    height = max(evidence.track.height_px, 1.0)
    return evidence.body.valid & ~(np.nan_to_num(errors, nan=np.inf) <= POOR_FIT / 100 * height)


def absent_and_guessed(track: PersonTrack) -> tuple[np.ndarray, np.ndarray]:
    """(T,) bool each: frames without the person, and those predicted from the frames around."""
    return track.state == ABSENT, track.state == PREDICTED


def rounded(value: float | None, digits: int = 3) -> float | None:
    """A figure as it is written; ``None`` where it is not known."""
    return None if value is None or not np.isfinite(value) else round(float(value), digits)


def mean(values: np.ndarray) -> float | None:
    """Mean of what is known."""
    known = values[np.isfinite(values)]
    return rounded(float(known.mean())) if len(known) else None
