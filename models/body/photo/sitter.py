"""Who is in the photo, and how much of the person it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.types import LANDMARK_NAMES, PoseTrack
from models.body.photo.matte import refine
from models.detector import PersonDetector, create_detector
from models.generators.reference_picture import read_reference
from utils.landmarks import clean_landmarks
from utils.person_track import TrackRows

#: Longest side at which a photo is looked at, pixels.
LARGEST = 1600
#: Least length of the person from head to heel, pixels.
LEAST_STATURE = 120
#: Somebody of at least this part of the largest person's size is a second person.
OTHER_PERSON = 0.45
#: Visibility below which a joint counts as not shown.
SHOWN = 0.3
#: Size of a face, from hairline to chin, from which it can be read, pixels.
LEAST_FACE = 28.0
#: What is shown round the person in a close-up, parts of the person's height.
ROUND = 0.06

_HEAD = [LANDMARK_NAMES.index(name) for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
_SHOULDERS = [LANDMARK_NAMES.index(f"{side}_shoulder") for side in ("left", "right")]
_HIPS = [LANDMARK_NAMES.index(f"{side}_hip") for side in ("left", "right")]
_KNEES = [LANDMARK_NAMES.index(f"{side}_knee") for side in ("left", "right")]
_ANKLES = [LANDMARK_NAMES.index(f"{side}_ankle") for side in ("left", "right")]


@dataclass(frozen=True)
class Sitter:
    """The one person of a photo."""

    rgb: np.ndarray
    """(H, W, 3) uint8, the photo, reduced where it is large."""
    mask: np.ndarray
    """(H, W) bool, the person's pixels."""
    sure: np.ndarray
    """(H, W) float32, 0..1: how surely a pixel shows the person and nothing else."""
    pose: PoseTrack
    """The landmarks, as a clip of one frame."""
    face_points: np.ndarray | None
    """(478, 2) float32, the face's landmarks in pixels; ``None`` where the face cannot be read."""
    feet: bool
    """Whether the feet are in the picture."""
    notes: tuple[str, ...]
    """What the picture does not show, and what is done instead: a sentence each."""

    @property
    def face(self) -> bool:
        """Whether the face can be read."""
        return self.face_points is not None

    def close_up(self) -> np.ndarray:
        """(h, w, 3) uint8, the photo cut to the person and a little round it."""
        rows, columns = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (1, 0))
        margin = round(ROUND * (rows[-1] - rows[0] + 1))
        top, left = max(int(rows[0]) - margin, 0), max(int(columns[0]) - margin, 0)
        return self.rgb[top : rows[-1] + margin + 1, left : columns[-1] + margin + 1]


def find_sitter(photo: Path) -> Sitter:
    """Find the person in a photo.

    Raises
    ------
    core.errors.InputError
        The file is no picture; it shows nobody, several people, or too little of one; the person is too small.
    core.errors.ModelUnavailable
        The detector is missing.
    """
    rgb = _reduced(read_reference(photo))
    detector = create_detector(complexity=2)
    try:
        return _only_person(rgb, detector, photo.name)
    finally:
        detector.close()


def _reduced(rgb: np.ndarray) -> np.ndarray:
    shrink = LARGEST / max(rgb.shape[:2])
    return cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else rgb.copy()


def _only_person(rgb: np.ndarray, detector: PersonDetector, name: str) -> Sitter:
    people = detector.find_people(rgb)
    if not people:
        raise InputError(
            f"Nobody is found in the reference picture {name}.", "Give a photo of one person from head to feet."
        )
    others = sum(person.size > OTHER_PERSON * people[0].size for person in people[1:])
    if others:
        raise InputError(
            f"The reference picture {name} shows {others + 1} people.", "Cut it to the one whom you mean, head to feet."
        )
    found = detector.detect(rgb, people[0].xyxy)
    if found is None:
        raise InputError(
            f"The body of the person in the reference picture {name} cannot be made out.",
            "Give a sharp photo that shows the person from head to feet.",
        )
    shown = _shown(found.landmarks, (rgb.shape[1], rgb.shape[0]))
    missing = [
        part
        for part, joints in (("head", _HEAD), ("shoulders", _SHOULDERS), ("hips", _HIPS))
        if not shown[joints].any()
    ]
    if missing or not shown[_KNEES].any():
        part = missing[0] if missing else "legs"
        raise InputError(
            f"The reference picture {name} shows only half a person: the {part} cannot be seen.",
            "Give a photo that shows the person from head to feet, or at least to the knees.",
        )
    size = people[0].size
    if size < LEAST_STATURE:
        raise InputError(
            f"The person in the reference picture {name} is only {size:.0f} pixels tall.",
            f"Give a photo in which the person is at least {LEAST_STATURE} pixels tall, better 600.",
        )
    rows = TrackRows(rgb.shape[1], rgb.shape[0])
    rows.add(found)
    pose = clean_landmarks(rows.track(min_run=1), fps=25.0)
    face, feet = _read_face(rgb, found.landmarks), bool(shown[_ANKLES].any())
    mask, sure = refine(rgb, found.mask)
    return Sitter(rgb, mask, sure, pose, face, feet, _notes(face is not None, feet, size))


def _shown(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(33,) bool: landmarks that lie in the picture and are believed to be seen."""
    inside = (landmarks[:, :2] >= 0).all(axis=1) & (landmarks[:, :2] < size).all(axis=1)
    return inside & (landmarks[:, 3] > SHOWN)


def _read_face(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    from models.detectors.faces import FaceReader

    reader = FaceReader(LEAST_FACE)
    try:
        reading = reader.read(rgb, landmarks)
        return None if reading is None else reading.points[:, :2]
    finally:
        reader.close()


def _notes(face: bool, feet: bool, size: float) -> tuple[str, ...]:
    notes = []
    if not face:
        notes.append(
            "The face in the reference picture cannot be read: the figure has a plain face in the skin's colour."
        )
    if not feet:
        notes.append("The reference picture does not show the feet: the figure wears plain dark shoes.")
    if size < 3 * LEAST_STATURE:
        notes.append(f"The person in the reference picture is {size:.0f} pixels tall: its clothes will look soft.")
    return tuple(notes)
