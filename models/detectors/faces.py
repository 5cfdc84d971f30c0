"""MediaPipe's face landmarks (478 points with lips and irises; the network is in the package), read near a known head.

The landmark network is driven through its subgraph, like the pose network in :mod:`models.detectors.mediapipe_pose`: the
region in which the face is read comes from the pose's face landmarks, and then from the last reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import ModelUnavailable
from core.types import LANDMARK_NAMES
from models.detectors.mediapipe_pose import quiet
from models.detectors.region import NETWORK_SIDE, Region, apply_affine, cut

#: Points of a face reading: 468 of the face mesh, then the right iris and the left iris, centre first.
FACE_POINTS = 478
#: Points at the hairline and at the chin, whose distance is called the size of a face.
HAIRLINE, CHIN = 10, 152
#: Outer corners of the right and the left eye.
OUTER_CORNERS = (33, 263)
#: A region is this much larger than the box around the points (the network was trained so).
FACE_SCALE = 1.5
#: Size of a face in parts of the distance between the middles of the eyes and of the mouth, in the pose's landmarks.
SIZE_FROM_POSE = 2.7
#: A face is looked for where the pose says that it has at least this part of the wanted size.
LOOK_FROM = 0.75
#: Least confidence that a region holds a face.
MIN_PRESENCE = 0.5

_PRESENCE = "facelandmarkcpu__face_presence_score"
_GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_side_packet: "WITH_ATTENTION:with_attention"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  output_stream: "LANDMARKS:landmarks"
}
"""
_EYES = [LANDMARK_NAMES.index(name) for name in ("left_eye", "right_eye")]
_MOUTH = [LANDMARK_NAMES.index(name) for name in ("mouth_left", "mouth_right")]
_HEAD = list(range(11))


@dataclass(frozen=True)
class FaceReading:
    """One face in one frame."""

    points: np.ndarray
    """(478, 3) float32: x, y in pixels, z in pixels (smaller is nearer)."""
    presence: float
    """Confidence that this is a face, 0..1."""

    @property
    def size(self) -> float:
        """Pixels from the hairline to the chin."""
        return float(np.linalg.norm(self.points[HAIRLINE] - self.points[CHIN]))


class FaceReader:
    """Reads the face of one person, frame after frame. Close it when done.

    Parameters
    ----------
    least:
        Faces smaller than this, in pixels from hairline to chin, are left out.

    Raises
    ------
    core.errors.ModelUnavailable
        MediaPipe is missing.
    """

    def __init__(self, least: float = 40.0) -> None:
        self._least = least
        self._last: Region | None = None
        side_inputs = {"with_attention": True}
        self._graph, self._whole = load_graph(_GRAPH, side_inputs, ["landmarks", _PRESENCE])

    def close(self) -> None:
        """Let go of the network."""
        self._graph.close()

    def read(self, rgb: np.ndarray, landmarks: np.ndarray) -> FaceReading | None:
        """The face of the person with these pose landmarks, or ``None`` where it is small, hidden or turned away.

        Parameters
        ----------
        rgb:
            (H, W, 3) uint8, the frame.
        landmarks:
            (33, 2 or more), x and y in pixels; NaN where the person is absent.
        """
        start = region_from_pose(landmarks)
        if start is None or start.side / FACE_SCALE < LOOK_FROM * self._least:
            self._last = None
            return None
        reading = None
        if self._last is not None and np.hypot(*(self._last.center - start.center)) < 0.35 * start.side:
            reading = self._read(rgb, self._last)
        if reading is None:
            reading = self._read(rgb, start)
            reading = reading if reading is None else self._read(rgb, region_of(reading.points))
        if reading is None or reading.size < self._least or not _belongs(reading, start):
            self._last = None
            return None
        self._last = region_of(reading.points)
        return reading

    def _read(self, rgb: np.ndarray, region: Region) -> FaceReading | None:
        result = self._graph.process({"image": cut(rgb, region), "roi": self._whole})
        presence = getattr(result, _PRESENCE)
        if result.landmarks is None or presence is None or presence < MIN_PRESENCE:
            return None
        points = np.array([(p.x, p.y, p.z) for p in result.landmarks.landmark], np.float64)
        points[:, :2] = apply_affine(region.frame_region, points[:, :2] * NETWORK_SIDE - 0.5)
        points[:, 2] *= region.side
        return FaceReading(points.astype(np.float32), float(presence))


def load_graph(config: str, side_inputs: dict[str, Any], outputs: list[str]) -> tuple[Any, Any]:
    """A MediaPipe graph that takes ``image`` and ``roi``, warmed up, and the roi that is the whole picture."""
    try:
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python.solution_base import SolutionBase
    except ImportError as error:
        raise ModelUnavailable(
            f"MediaPipe cannot be loaded: {error}.", "Install it with: pip install mediapipe==0.10.21."
        ) from error
    whole = rect_pb2.NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1, rotation=0)
    with quiet():
        graph = SolutionBase(graph_config=config, side_inputs=side_inputs, outputs=outputs)
        graph.process({"image": np.zeros((NETWORK_SIDE, NETWORK_SIDE, 3), np.uint8), "roi": whole})
    return graph, whole


def region_from_pose(landmarks: np.ndarray) -> Region | None:
    """Where the pose's landmarks say that the face is; ``None`` where they do not tell."""
    eyes, mouth = landmarks[_EYES, :2].mean(axis=0), landmarks[_MOUTH, :2].mean(axis=0)
    up = (eyes - mouth).astype(np.float64)
    length = float(np.hypot(*up))
    if not np.isfinite(length) or length < 1.0:
        return None
    # A face that looks up or down, or away, is not smaller than its width says.
    spread = float(np.ptp(landmarks[_HEAD, :2] @ np.array([-up[1], up[0]]) / length))
    size = max(SIZE_FROM_POSE * length, 0.8 * spread)
    center = (0.6 * eyes + 0.4 * mouth).astype(np.float64) - 0.04 * size * up / length
    return Region(center, FACE_SCALE * size, up / length)


def region_of(points: np.ndarray) -> Region:
    """The region in which the next frame's face is read: around (478, 3) points, upright by the eyes."""
    right, left = (points[index, :2].astype(np.float64) for index in OUTER_CORNERS)
    across = (left - right) / max(float(np.hypot(*(left - right))), 1e-6)
    up = np.array([across[1], -across[0]])
    turned = points[:, :2] @ np.stack([across, -up], axis=1)
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = (low + high) / 2
    return Region(middle[0] * across - middle[1] * up, FACE_SCALE * float(np.max(high - low)), up)


def _belongs(reading: FaceReading, expected: Region) -> bool:
    """Whether a reading is the face that was looked for: about where the pose has it, and about as large."""
    region = region_of(reading.points)
    near = np.hypot(*(region.center - expected.center)) < 0.3 * expected.side
    return bool(near and 0.5 < region.side / expected.side < 2.0)
