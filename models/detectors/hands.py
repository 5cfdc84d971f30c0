"""MediaPipe's hand landmarks (21 points; the network is in the package), read near the wrists of a known body.

Like the face (:mod:`models.detectors.faces`), a hand is read in a region that comes from the pose's wrist, index and little
finger, and then from the last reading. Which hand it is, the body says; a reading that looks like the other hand is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from core.types import LANDMARK_NAMES
from models.detectors.faces import load_graph
from models.detectors.region import NETWORK_SIDE, Region, apply_affine, cut

Side = Literal["left", "right"]
#: Both sides, in the order of all arrays.
SIDES: tuple[Side, Side] = ("left", "right")
#: Points of a hand reading: wrist, then four along each finger from the thumb to the little finger.
HAND_POINTS = 21
WRIST, INDEX, MIDDLE, RING, PINKY = 0, 5, 9, 13, 17
#: Points that decide the next region: the finger tips are left out, they move too much.
_STEADY = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
#: The next region is this much larger than the box around the steady points, and shifted so far towards the fingers.
HAND_SCALE, HAND_SHIFT = 2.0, 0.1
#: Length of a hand, and from its wrist to the knuckle of the middle finger, metres.
HAND_LENGTH, PALM_LENGTH = 0.18, 0.09
#: Least confidence that a region holds a hand, and that it is the hand of the given side.
MIN_PRESENCE, MIN_HANDEDNESS = 0.5, 0.65
#: A hand is looked for where the pose says that it has at least this part of the wanted size.
LOOK_FROM = 0.75
#: Sizes of the region in which a hand is looked for, in parts of what the pose makes of it.
SEARCH_SIZES = (1.0, 0.65)

_PRESENCE = "handlandmarkcpu__hand_presence_score"
_GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "model_complexity"
output_stream: "landmarks"
output_stream: "world"
output_stream: "handedness"
node {
  calculator: "HandLandmarkCpu"
  input_side_packet: "MODEL_COMPLEXITY:model_complexity"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "WORLD_LANDMARKS:world"
  output_stream: "HANDEDNESS:handedness"
}
"""
_INDEX = {
    side: [LANDMARK_NAMES.index(f"{side}_{part}") for part in ("wrist", "index", "pinky", "elbow")] for side in SIDES
}
_TRUNK = [
    LANDMARK_NAMES.index(f"{side}_{part}") for side in SIDES for part in ("shoulder", "hip", "elbow", "wrist", "knee")
]


@dataclass(frozen=True)
class HandReading:
    """One hand in one frame."""

    points: np.ndarray
    """(21, 3) float32: x, y in pixels, z in pixels (smaller is nearer, the wrist at 0)."""
    world: np.ndarray
    """(21, 3) float32, metres, camera axes, origin in the middle of the hand."""
    presence: float
    """Confidence that this is a hand, 0..1."""
    agreement: float
    """Confidence that it is the hand of the side that was asked for, 0..1."""

    @property
    def size(self) -> float:
        """Length in pixels that the hand would have if it were stretched out in the picture's plane."""
        return HAND_LENGTH * _pixels_per_metre(self.points, self.world)


class HandReader:
    """Reads the hands of one person, frame after frame. Close it when done.

    Parameters
    ----------
    least:
        Hands shorter than this, in pixels, are left out.

    Raises
    ------
    core.errors.ModelUnavailable
        MediaPipe is missing.
    """

    def __init__(self, least: float = 30.0) -> None:
        self._least = least
        self._last: dict[Side, Region] = {}
        self._searches = dict.fromkeys(SIDES, 0)
        outputs = ["landmarks", "world", "handedness", _PRESENCE]
        self._graph, self._whole = load_graph(_GRAPH, {"model_complexity": 1}, outputs)

    def close(self) -> None:
        """Let go of the network."""
        self._graph.close()

    def read(self, rgb: np.ndarray, landmarks: np.ndarray, world: np.ndarray) -> dict[Side, HandReading]:
        """The hands of the person with these pose landmarks, as far as they are large enough and seen.

        Parameters
        ----------
        rgb:
            (H, W, 3) uint8, the frame.
        landmarks:
            (33, 2 or more), x and y in pixels; NaN where the person is absent.
        world:
            (33, 3) metres, the same landmarks in space, camera axes.
        """
        length = expected_length(landmarks, world)
        if not length >= LOOK_FROM * self._least:
            self._last.clear()
            return {}
        found: dict[Side, HandReading] = {}
        for side in SIDES:
            reading = self._hand(rgb, landmarks, length, side)
            if reading is not None:
                found[side] = reading
        if len(found) == 2 and _same_hand(*found.values()):
            # Both regions slid onto one hand: it is the one whose wrist is nearer.
            away = {side: _wrist_error(reading, landmarks, side) for side, reading in found.items()}
            del found[max(away, key=lambda side: away[side])]
        self._last = {side: region_of(reading.points) for side, reading in found.items()}
        return found

    def _hand(self, rgb: np.ndarray, landmarks: np.ndarray, length: float, side: Side) -> HandReading | None:
        start = region_from_pose(landmarks, length, side)
        if start is None or not _inside(start, rgb):
            return None
        reading = None
        last = self._last.get(side)
        if last is not None and np.hypot(*(last.center - start.center)) < 0.5 * start.side:
            reading = self._read(rgb, last, side)
        if reading is None or not self._fits(reading, landmarks, length, side):
            # A hand that is further away than the body fills less of the region: frame by frame another size is tried.
            size = SEARCH_SIZES[self._searches[side] % len(SEARCH_SIZES)]
            self._searches[side] += 1
            reading = self._read(rgb, replace(start, side=size * start.side), side)
            reading = reading if reading is None else self._read(rgb, region_of(reading.points), side)
        return reading if reading is not None and self._fits(reading, landmarks, length, side) else None

    def _fits(self, reading: HandReading, landmarks: np.ndarray, length: float, side: Side) -> bool:
        """Whether a reading is the hand that was looked for: large enough, of that side, and at the wrist."""
        if reading.size < self._least or not 0.5 < reading.size / length < 2.0:
            return False
        return reading.agreement > MIN_HANDEDNESS and _wrist_error(reading, landmarks, side) < 0.4 * length

    def _read(self, rgb: np.ndarray, region: Region, side: Side) -> HandReading | None:
        result = self._graph.process({"image": cut(rgb, region), "roi": self._whole})
        presence = getattr(result, _PRESENCE)
        if result.landmarks is None or result.world is None or presence is None or presence < MIN_PRESENCE:
            return None
        points = np.array([(p.x, p.y, p.z) for p in result.landmarks.landmark], np.float64)
        world = np.array([(p.x, p.y, p.z) for p in result.world.landmark], np.float64)
        to_frame = region.frame_region
        points[:, :2] = apply_affine(to_frame, points[:, :2] * NETWORK_SIDE - 0.5)
        points[:, 2] *= region.side
        world[:, :2] = world[:, :2] @ (to_frame[:, :2] * NETWORK_SIDE / region.side).T
        handedness = result.handedness.classification[0]
        # The network takes pictures for mirrored ones, as a phone shows them: its right is our left.
        agrees = (handedness.label == "Right") == (side == "left")
        score = float(handedness.score)
        agreement = score if agrees else 1.0 - score
        return HandReading(points.astype(np.float32), world.astype(np.float32), float(presence), agreement)


def expected_length(landmarks: np.ndarray, world: np.ndarray) -> float:
    """Length in pixels of a stretched hand of the person with these landmarks (33, 2 or more) and (33, 3); NaN where absent."""
    return HAND_LENGTH * _pixels_per_metre(landmarks[_TRUNK], world[_TRUNK])


def region_from_pose(landmarks: np.ndarray, length: float, side: Side) -> Region | None:
    """Where the pose's landmarks say that a hand of ``length`` pixels is; ``None`` where they do not tell."""
    wrist, index, pinky, elbow = landmarks[_INDEX[side], :2].astype(np.float64)
    knuckle = (2 * index + pinky) / 3
    along = knuckle - wrist
    forearm = wrist - elbow
    if np.hypot(*along) < 0.15 * length:
        along = forearm  # the hand points at the camera
    reach = float(np.hypot(*along))
    if not np.isfinite(reach) or reach < 1.0:
        return None
    up = along / reach
    return Region(wrist + 0.5 * length * up, 1.9 * length, up)


def region_of(points: np.ndarray) -> Region:
    """The region in which the next frame's hand is read: around (21, 3) points, fingers up."""
    along = points[[INDEX, MIDDLE, RING], :2].mean(axis=0) - points[WRIST, :2]
    up = (along / max(float(np.hypot(*along)), 1e-6)).astype(np.float64)
    across = np.array([-up[1], up[0]])
    turned = points[list(_STEADY), :2] @ np.stack([across, -up], axis=1)
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle, side = (low + high) / 2, float(np.max(high - low))
    return Region(middle[0] * across - (middle[1] - HAND_SHIFT * side) * up, HAND_SCALE * side, up)


def _pixels_per_metre(points: np.ndarray, world: np.ndarray) -> float:
    """Scale of the picture at some points: the ratio of their spreads in pixels and in metres; NaN where not known."""
    seen = np.isfinite(points[:, :2]).all(axis=1)
    if not seen.any():
        return float("nan")
    flat, space = points[seen, :2], world[seen, :2]
    flat, space = flat - flat.mean(axis=0), space - space.mean(axis=0)
    return float(np.sqrt((flat**2).sum() / max(float((space**2).sum()), 1e-9)))


def _wrist_error(reading: HandReading, landmarks: np.ndarray, side: Side) -> float:
    """Pixels between the wrist of a hand reading and the pose's."""
    return float(np.hypot(*(reading.points[WRIST, :2] - landmarks[_INDEX[side][0], :2])))


def _same_hand(first: HandReading, second: HandReading) -> bool:
    apart = np.hypot(*(first.points[:, :2].mean(axis=0) - second.points[:, :2].mean(axis=0)))
    return bool(apart < 0.3 * max(first.size, second.size))


def _inside(region: Region, rgb: np.ndarray) -> bool:
    """Whether the middle of a region lies in the picture."""
    return bool(np.all(region.center >= 0) and np.all(region.center < [rgb.shape[1], rgb.shape[0]]))
