"""How good a mesh is, in figures: where the person was seen, what was mended, how steady the body is and how well it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

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
from pipelines.survey.body import LIMBS, POOR_FIT, projected_landmarks
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


#: Heel and toes of the left foot, and of the right one.
FEET = np.array(
    [[LANDMARK_NAMES.index(f"{side}_{part}") for part in ("heel", "foot_index")] for side in ("left", "right")]
)
#: Nobody but a spinning skater or gymnast turns round by so many degrees in so many seconds; on footage of running and tennis
#: the most was 49.
_FLIP_DEGREES, _FLIP_S = 100.0, 0.15


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
    cuts: tuple[int, ...] = ()
    """First frames of new shots, as they were found; the body's motion is not carried over them."""


def spans(flags: np.ndarray) -> list[list[int]]:
    """The true entries as ``[first, last]`` frames."""
    return [[start, end - 1] for start, end in runs(flags)]


def jitter(points: np.ndarray, here: np.ndarray, cuts: Sequence[int] = ()) -> np.ndarray:
    """(T,) millimetres per frame^2: mean acceleration of the limbs against the hips; NaN at the ends, in gaps, and at cuts.

    ``points`` (T, 33, 3) metres, ``here`` (T,) bool, ``cuts`` first frames of new shots.
    """
    result = np.full(len(points), np.nan)
    if len(points) < 3:
        return result
    local = (points - points[:, _HIPS].mean(1, keepdims=True))[:, LIMBS]
    bend = np.linalg.norm(local[2:] - 2 * local[1:-1] + local[:-2], axis=-1).mean(-1) * 1000
    known = here[2:] & here[1:-1] & here[:-2]
    result[1:-1] = np.where(known, bend, np.nan)
    for cut in cuts:
        result[max(cut - 1, 0) : cut + 1] = np.nan
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
    """(T,) millimetres per frame by which standing feet slide over the ground, across the view; NaN where none stands.

    A foot that rolls rests on its heel or on its toes: the one that moves less in the footage counts. Where the camera travels,
    the ground moves otherwise than the scene behind: the feet in the footage show how.
    """
    body, contact = evidence.body, evidence.contacts.contact
    count = len(body)
    result = np.full(count, np.nan)
    if count < 2:
        return result
    seen = evidence.pose.landmarks[:, FEET, :2].astype(np.float64)
    seen = gaussian_filter1d(np.nan_to_num(seen), 1.0, axis=0, mode="nearest")
    carry = evidence.camera.H_next_source
    seen_step, own_step = (_steps(pixels, carry) for pixels in (seen, projected_landmarks(body)[:, FEET]))
    standing = (contact[:-1] & contact[1:]) & (body.valid[:-1] & body.valid[1:])[:, None]
    standing[[cut - 1 for cut in evidence.cuts]] = False
    resting = np.linalg.norm(seen_step, axis=-1).argmin(2)[..., None]
    chosen = np.take_along_axis(seen_step, resting[..., None], 2)[:, :, 0]
    own = np.take_along_axis(own_step, resting[..., None], 2)[:, :, 0]
    depth = np.take_along_axis(body.keypoints[:-1, FEET, 2], resting, 2)[..., 0] / body.intrinsics[0, 0]
    for t in np.flatnonzero(standing.any(1)):
        ground = np.zeros(2)
        if not evidence.camera.is_static:
            near = slice(max(0, t - round(evidence.rate / 2)), t + round(evidence.rate / 2) + 1)
            ground = np.median(chosen[near][standing[near]], axis=0)
        feet = standing[t]
        result[t] = 1000 * (np.linalg.norm(own[t, feet] - ground, axis=-1) * depth[t, feet]).mean()
    return result


def _steps(pixels: np.ndarray, H_next_source: np.ndarray) -> np.ndarray:
    """(T-1, ..., 2) pixels by which points (T, ..., 2) move against the scene."""
    return np.stack(
        [
            after - transforms.apply(H, before)
            for before, after, H in zip(pixels[:-1], pixels[1:], H_next_source, strict=True)
        ]
    )


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
    """Frames before which there may be another cut, besides those that were found: the camera's motion is lost, and the person
    is not found on both sides or is elsewhere."""
    track, height = evidence.track, max(evidence.track.height_px, 1.0)
    found: list[int] = []
    for t in (np.flatnonzero(evidence.camera.inliers == 0) + 1).tolist():
        if (track.state[[t - 1, t]] == DETECTED).all():
            step = np.linalg.norm(track.landmarks[t, :, :2] - track.landmarks[t - 1, :, :2], axis=-1) / height
            sizes = track.xyxy[[t - 1, t], 3] - track.xyxy[[t - 1, t], 1]
            if np.median(step) <= _JUMP and min(sizes) > _SAME_SIZE * max(sizes):
                continue
        if all(abs(t - cut) > 1 for cut in evidence.cuts) and (not found or t - found[-1] > 1):
            found.append(t)
    return found


def flips(evidence: Evidence) -> list[int]:
    """Frames about which the body turns round faster than people do: left and right may have been read the wrong way."""
    points, valid = evidence.body.keypoints.astype(np.float64), evidence.body.valid
    across = points[:, _SHOULDERS[0]] - points[:, _SHOULDERS[1]] + points[:, _HIPS[0]] - points[:, _HIPS[1]]
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    reach = max(1, round(_FLIP_S * evidence.rate))
    turned = np.degrees(np.arccos(np.clip((across[reach:] * across[:-reach]).sum(1), -1, 1)))
    for t in range(len(turned)):
        if not valid[t : t + reach + 1].all() or any(t < cut <= t + reach for cut in evidence.cuts):
            turned[t] = 0.0
    return [start + int(turned[start:end].argmax()) + (reach + 1) // 2 for start, end in runs(turned > _FLIP_DEGREES)]


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
