"""MediaPipe Pose (BlazePose GHUM): 33 landmarks, world landmarks and a mask of one person; weights inside the package.

Its two networks are driven directly through their subgraphs instead of the ready-made ``Pose`` solution, which follows
whomever it likes and keeps a state of its own: ``PoseDetectionCpu`` finds people in a picture, ``PoseLandmarkByRoiCpu``
reads one person in an upright square *region* that is cut out here. So the region, and with it the person, is ours to
choose, pixels are exact, big frames are shrunk properly before the network sees them, and any frame may follow any
other.

The package holds one landmark network ("full"); the "lite" and "heavy" ones would have to be downloaded. Complexity
therefore buys passes: 2 reads each frame twice, once mirrored, and takes the mean; 0 looks for small people, in tiles
of the frame, only where the whole frame shows nobody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from core.errors import ModelUnavailable
from core.types import LANDMARK_NAMES, Detection
from models.detector import PersonBox
from models.detectors.region import NETWORK_SIDE, REGION_SCALE, Region, apply_affine, cut, paste_mask

#: Least confidence that a region holds a person at all.
MIN_PRESENCE = 0.5
#: Least score of a detection in ``find_people``.
MIN_DETECTION = 0.4

_INNER = "poselandmarkbyroicpu__tensorstoposelandmarksandsegmentation__"
_PRESENCE = _INNER + "pose_presence_score"
_LANDMARK_GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "model_complexity"
input_side_packet: "enable_segmentation"
output_stream: "landmarks"
output_stream: "auxiliary"
output_stream: "world"
output_stream: "mask"
node {
  calculator: "PoseLandmarkByRoiCpu"
  input_side_packet: "MODEL_COMPLEXITY:model_complexity"
  input_side_packet: "ENABLE_SEGMENTATION:enable_segmentation"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  output_stream: "LANDMARKS:landmarks"
  output_stream: "AUXILIARY_LANDMARKS:auxiliary"
  output_stream: "WORLD_LANDMARKS:world"
  output_stream: "SEGMENTATION_MASK:mask_image"
}
node {
  calculator: "FromImageCalculator"
  input_stream: "IMAGE:mask_image"
  output_stream: "IMAGE_CPU:mask"
}
"""
_DETECTION_GRAPH = """
input_stream: "image"
output_stream: "detections"
node {
  calculator: "PoseDetectionCpu"
  input_stream: "IMAGE:image"
  output_stream: "DETECTIONS:detections"
}
"""


def _mirror_order() -> np.ndarray:
    """(33,) index of each landmark's counterpart on the other side of the body."""
    other = {"left": "right", "right": "left"}
    names = ["_".join(other.get(part, part) for part in name.split("_")) for name in LANDMARK_NAMES]
    return np.array([LANDMARK_NAMES.index(name) for name in names])


_MIRROR = _mirror_order()


@dataclass(frozen=True)
class _Reading:
    """What the landmark network says about one region, in frame pixels."""

    landmarks: np.ndarray
    world: np.ndarray
    next_region: Region | None
    soft_mask: np.ndarray
    """(256, 256) float32, in region pixels."""
    presence: float


class MediaPipeDetector:
    """See the module's text; implements :class:`models.detector.PersonDetector`."""

    name = "mediapipe"

    def __init__(self, complexity: int = 1) -> None:
        self._mirrored = complexity == 2
        self._tiles_always = complexity > 0
        self._last: tuple[np.ndarray, Region] | None = None
        with quiet():
            self._finder, self._reader, self._whole = _load_graphs()
            blank = np.zeros((NETWORK_SIDE, NETWORK_SIDE, 3), np.uint8)
            self._finder.process(blank)
            self._reader.process({"image": blank, "roi": self._whole})

    def close(self) -> None:
        self._finder.close()
        self._reader.close()

    # --- everybody

    def find_people(self, rgb: np.ndarray) -> list[PersonBox]:
        """Everybody in the frame, largest first."""
        people: list[PersonBox] = []
        for region in self._regions_in(rgb):
            found = self._settle(rgb, region, rounds=2)
            if found is None:
                continue
            box = self._detection(rgb, found)
            if box is not None and all(_overlap(box.xyxy, other.xyxy) < 0.5 for other in people):
                people.append(PersonBox(box.xyxy, box.score, box.mask, _stature(box.landmarks)))
        return sorted(people, key=lambda person: -person.size)

    def _regions_in(self, rgb: np.ndarray) -> list[Region]:
        """One region for each person that the detection network sees, in the whole frame and in tiles of it."""
        found = self._find_in(rgb, 0, 0, rgb.shape[1], rgb.shape[0])
        if self._tiles_always or not found:
            for x0, y0, x1, y1 in _tiles(rgb.shape[1], rgb.shape[0]):
                found += self._find_in(rgb, x0, y0, x1, y1)
        found.sort(key=lambda item: -item[0])
        kept: list[Region] = []
        for _, region in found:
            if all(np.hypot(*(region.center - k.center)) > 0.2 * min(region.side, k.side) for k in kept):
                kept.append(region)
        return kept

    def _find_in(self, rgb: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> list[tuple[float, Region]]:
        """(score, region) of the people in one window of the frame."""
        window = rgb[y0:y1, x0:x1]
        shrink = 448 / max(window.shape[:2])
        if shrink < 1:
            window = cv2.resize(window, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        result = self._finder.process(np.ascontiguousarray(window))
        found = []
        for item in result.detections or []:
            keys = item.location_data.relative_keypoints
            points = [np.array([k.x * (x1 - x0) + x0 - 0.5, k.y * (y1 - y0) + y0 - 0.5]) for k in keys[:2]]
            region = Region.from_points(*points)
            if region is not None and item.score[0] >= MIN_DETECTION:
                found.append((float(item.score[0]), region))
        return found

    # --- one person

    def detect(self, rgb: np.ndarray, box: np.ndarray | None = None) -> Detection | None:
        """Pose and mask of the person in the box; see :meth:`models.detector.PersonDetector.detect`."""
        region = self._follow(box)
        found = self._settle(rgb, region, rounds=1) if region is not None else None
        if found is None:
            region = self._start(rgb, box)
            found = self._settle(rgb, region, rounds=4) if region is not None else None
        detection = None if found is None else self._detection(rgb, found)
        if found is None or detection is None:
            self._last = None
            return None
        next_region = found[0].next_region or found[1]
        self._last = (detection.xyxy, next_region)
        return detection

    def _follow(self, box: np.ndarray | None) -> Region | None:
        """The region that the last reading proposed, moved along with the box; ``None`` if the box is elsewhere."""
        if self._last is None or box is None:
            return None
        last_box, region = self._last
        if _overlap(last_box, box) < 0.3:
            return None
        shift = (box[:2] + box[2:] - last_box[:2] - last_box[2:]) / 2
        return replace(region, center=region.center + shift)

    def _start(self, rgb: np.ndarray, box: np.ndarray | None) -> Region | None:
        """A first region: the best find of the detection network in or around the box."""
        height, width = rgb.shape[:2]
        if box is None:
            found = self._find_in(rgb, 0, 0, width, height)
            return max(found, key=lambda item: item[0])[1] if found else None
        center, side = (box[:2] + box[2:]) / 2, float(np.max(box[2:] - box[:2]))
        x0, y0 = np.maximum(np.floor(center - side), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(center + side), [width, height]).astype(int)
        if min(x1 - x0, y1 - y0) < 16:
            return None
        inside = [
            item
            for item in self._find_in(rgb, x0, y0, x1, y1)
            if np.all(np.abs(item[1].center - center) < 0.5 * (box[2:] - box[:2]) + 0.1 * side)
        ]
        if inside:
            return max(inside, key=lambda item: item[0])[1]
        return Region(center.astype(np.float64), REGION_SCALE * side, np.array([0.0, -1.0]))

    def _settle(self, rgb: np.ndarray, region: Region, rounds: int) -> tuple[_Reading, Region] | None:
        """Read the region; a region from the coarse network is corrected by the landmarks and read again."""
        for step in range(rounds):
            reading = self._read(rgb, region)
            if reading is None or reading.presence < MIN_PRESENCE:
                return None
            if step == rounds - 1 or reading.next_region is None:
                return reading, region
            region = reading.next_region
        return None

    def _read(self, rgb: np.ndarray, region: Region) -> _Reading | None:
        crop = cut(rgb, region)
        reading = self._read_crop(crop, region, mirrored=False)
        if reading is None or not self._mirrored:
            return reading
        second = self._read_crop(np.ascontiguousarray(crop[:, ::-1]), region, mirrored=True)
        return reading if second is None else _mean_reading(reading, second, region)

    def _read_crop(self, crop: np.ndarray, region: Region, mirrored: bool) -> _Reading | None:
        result = self._reader.process({"image": crop, "roi": self._whole})
        if result.landmarks is None or result.mask is None:
            return None
        points = np.array([(p.x, p.y, p.z, p.visibility) for p in result.landmarks.landmark], np.float64)
        auxiliary = np.array([(p.x, p.y) for p in result.auxiliary.landmark], np.float64)
        world = np.array([(p.x, p.y, p.z) for p in result.world.landmark], np.float64)
        mask = result.mask
        if mirrored:
            points, world, mask = points[_MIRROR], world[_MIRROR] * [-1, 1, 1], mask[:, ::-1]
            points[:, 0], auxiliary[:, 0] = 1 - points[:, 0], 1 - auxiliary[:, 0]
        to_frame = region.frame_region
        points[:, :2] = apply_affine(to_frame, points[:, :2] * NETWORK_SIDE - 0.5)
        points[:, 2] *= region.side
        auxiliary = apply_affine(to_frame, auxiliary * NETWORK_SIDE - 0.5)
        turn = to_frame[:, :2] * NETWORK_SIDE / region.side
        world[:, :2] = world[:, :2] @ turn.T
        return _Reading(
            landmarks=points.astype(np.float32),
            world=world.astype(np.float32),
            next_region=Region.from_points(auxiliary[0], auxiliary[1]),
            soft_mask=mask,
            presence=float(getattr(result, _PRESENCE)),
        )

    def _detection(self, rgb: np.ndarray, found: tuple[_Reading, Region]) -> Detection | None:
        reading, region = found
        mask = paste_mask(reading.soft_mask, region, rgb.shape[1], rgb.shape[0])
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if len(columns) < 4 or len(rows) < 4:
            return None
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        return Detection(box, reading.presence, reading.landmarks, reading.world, mask)


def _load_graphs() -> tuple[Any, Any, Any]:
    """(person finder, landmark reader, the roi that is the whole picture)."""
    try:
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python.solution_base import SolutionBase
    except ImportError as error:
        raise ModelUnavailable(
            f"MediaPipe cannot be loaded: {error}.", "Install it with: pip install mediapipe==0.10.21."
        ) from error
    threshold = {"posedetectioncpu__TensorsToDetectionsCalculator.min_score_thresh": MIN_DETECTION}
    finder = SolutionBase(
        graph_config=_DETECTION_GRAPH,
        calculator_params=threshold,
        outputs=["detections"],
    )
    reader = SolutionBase(
        graph_config=_LANDMARK_GRAPH,
        side_inputs={"model_complexity": 1, "enable_segmentation": True},
        outputs=["landmarks", "auxiliary", "world", "mask", _PRESENCE],
    )
    return finder, reader, rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1, rotation=0)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what native code prints while networks load off standard error; Python's own messages are not touched."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Overlapping squares of 0.6 of the frame's short side: (x0, y0, x1, y1) each; none in a tiny frame."""
    side = int(0.6 * min(width, height))
    if side < 96:
        return []

    def starts(length: int) -> np.ndarray:
        count = int(np.ceil((length - side) / (0.7 * side))) + 1
        return np.linspace(0, length - side, count).round().astype(int)

    return [(int(x), int(y), int(x) + side, int(y) + side) for y in starts(height) for x in starts(width)]


def _stature(landmarks: np.ndarray) -> float:
    """Length in pixels of the chain eyes, shoulders, hips, knees, ankles, heels: the mean of the two sides."""
    chain = ("eye", "shoulder", "hip", "knee", "ankle", "heel")
    sides = [[LANDMARK_NAMES.index(f"{side}_{part}") for part in chain] for side in ("left", "right")]
    return float(np.mean([np.hypot(*np.diff(landmarks[side, :2], axis=0).T).sum() for side in sides]))


def _mean_reading(first: _Reading, second: _Reading, region: Region) -> _Reading:
    """The mean of a reading and its mirrored twin; where they disagree, the more visible landmark."""
    apart = np.hypot(*(first.landmarks[:, :2] - second.landmarks[:, :2]).T)
    agree = (apart < 0.04 * region.side)[:, None]
    surer = first.landmarks[:, 3:] >= second.landmarks[:, 3:]

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(agree, (a + b) / 2, np.where(surer, a, b)).astype(np.float32)

    next_region = first.next_region
    if next_region is not None and second.next_region is not None:
        up = next_region.up + second.next_region.up
        next_region = Region(
            (next_region.center + second.next_region.center) / 2,
            (next_region.side + second.next_region.side) / 2,
            up / max(float(np.hypot(*up)), 1e-6),
        )
    return _Reading(
        landmarks=mean(first.landmarks, second.landmarks),
        world=mean(first.world, second.world),
        next_region=next_region,
        soft_mask=(first.soft_mask + second.soft_mask) / 2,
        presence=(first.presence + second.presence) / 2,
    )


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two xyxy boxes."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(size, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0
