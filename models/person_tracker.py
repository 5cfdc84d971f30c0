"""Choosing one person and following that person, and nobody else, through the clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.types import LANDMARK_NAMES, Detection, PersonTrack
from models.detector import PersonDetector
from utils.person_track import (
    Sighting,
    TrackRows,
    colour_distance,
    colour_histogram,
    largest_steady,
    link_sightings,
    nearest_to,
)

#: The landmarks that must lie on the mask of a believable detection: shoulders, hips, knees.
_CORE = [LANDMARK_NAMES.index(f"{side}_{part}") for part in ("shoulder", "hip", "knee") for side in ("left", "right")]


@dataclass(frozen=True)
class StartingPoint:
    """Who is to be followed."""

    frame: int
    """First sampled frame in which the person was seen."""
    box: np.ndarray
    """(4,) float32 xyxy, pixels, in that frame."""
    sightings: tuple[Sighting, ...] = ()
    """The person in the sampled frames, in order; they tell where to look again after a loss."""


def choose_person(
    frames: Iterable[tuple[int, np.ndarray]], detector: PersonDetector, person: tuple[float, float] | None = None
) -> StartingPoint:
    """Decide whom to follow, from frames sampled over the clip.

    Parameters
    ----------
    frames:
        (index, (H, W, 3) uint8 RGB), in order; five to ten spread over the clip are enough.
    detector:
        Finds the people.
    person:
        (x, y) in pixels: the person nearest to this point in the earliest frame where somebody is near. Without it
        the largest of those who are seen in a fair share of the frames.

    Raises
    ------
    InputError
        Nobody in any frame, or nobody near the point.
    """
    return choose_among([sight_people(index, rgb, detector) for index, rgb in frames], person)


def sight_people(index: int, rgb: np.ndarray, detector: PersonDetector) -> list[Sighting]:
    """Everybody in frame ``index``, (H, W, 3) uint8 RGB."""
    return [
        Sighting(index, person.xyxy, colour_histogram(rgb, person.xyxy, person.mask), person.size)
        for person in detector.find_people(rgb)
    ]


def choose_among(samples: list[list[Sighting]], person: tuple[float, float] | None = None) -> StartingPoint:
    """As :func:`choose_person`, from what was seen in the sampled frames, in order."""
    tracks = link_sightings(samples)
    if not tracks:
        raise InputError(
            f"No person was found in any of the {len(samples)} frames that were looked at.",
            "Use a clip in which a person is seen from head to foot and is at least a tenth of the picture's height.",
        )
    if person is None:
        track = largest_steady(tracks, len(samples))
    else:
        near = nearest_to(tracks, person)
        if near is None:
            raise InputError(
                f"Nobody was found near the point {person[0]:g},{person[1]:g}.",
                "Give a point on the person, in pixels of the clip, or leave it out to take the largest person.",
            )
        track = near
    return StartingPoint(track[0].frame, track[0].xyxy, tuple(track))


class PersonTracker:
    """Follows one person, frame by frame in order.

    Parameters
    ----------
    detector:
        Reads pose and mask inside a box.
    start:
        Who is followed, from :func:`choose_person`.
    frame_size:
        (width, height) in pixels.
    max_gap:
        Frames without detection up to which the person is predicted from the neighbours; longer gaps are ``absent``.
    """

    def __init__(
        self, detector: PersonDetector, start: StartingPoint, frame_size: tuple[int, int], *, max_gap: int = 10
    ) -> None:
        self._detector, self._start, self._max_gap = detector, start, max_gap
        self._rows = TrackRows(*frame_size)
        self._look = _mean_look(start.sightings)
        self._last: Detection | None = None
        self._last_index = -1
        self._velocity = np.zeros(2)
        self._area: float | None = None

    def feed(self, index: int, rgb: np.ndarray) -> Detection | None:
        """The next frame.

        Returns
        -------
        The person in this frame, or ``None`` where the person was not found (prediction comes in :meth:`finish`).

        Raises
        ------
        ValueError
            Frames out of order.
        """
        if index != len(self._rows):
            raise ValueError(f"frame {index} was fed where frame {len(self._rows)} was due")
        detection = self._detector.detect(rgb, self._expected(index))
        if detection is not None:
            look = colour_histogram(rgb, detection.xyxy, detection.mask)
            if self._believable(index, detection, look):
                self._accept(index, detection, look)
            else:
                detection = None
        self._rows.add(detection)
        return detection

    def finish(self) -> PersonTrack:
        """The whole track: short gaps predicted, long ones absent.

        Raises
        ------
        InputError
            The person was found in no frame.
        """
        if self._last is None:
            raise InputError("The chosen person could not be followed in any frame.", "Choose another person or clip.")
        return self._rows.track(max_gap=self._max_gap)

    def _expected(self, index: int) -> np.ndarray:
        """(4,) the box in which to look."""
        missing = index - self._last_index
        if self._last is not None and missing <= self._max_gap:
            # The motion of the last frames, fading: somebody who is hidden rarely keeps going as if nothing happened.
            travel = self._velocity * sum(0.8**k for k in range(missing))
            return self._last.xyxy + np.tile(travel, 2)
        nearest = min(self._anchors(), key=lambda item: abs(item[0] - index))
        return nearest[1]

    def _anchors(self) -> list[tuple[int, np.ndarray]]:
        """(frame, box) of the places where the person is known to be or to have been."""
        anchors = [(s.frame, s.xyxy) for s in self._start.sightings] or [(self._start.frame, self._start.box)]
        return anchors if self._last is None else [*anchors, (self._last_index, self._last.xyxy)]

    def _believable(self, index: int, found: Detection, look: np.ndarray) -> bool:
        """Whether this can be the person who is followed, judged by place, size, shape and colours."""
        height = float(found.xyxy[3] - found.xyxy[1])
        anchor_frame, anchor = min(self._anchors(), key=lambda item: abs(item[0] - index))
        reach = 0.35 + 0.06 * abs(index - anchor_frame)
        away = np.hypot(*((found.xyxy[:2] + found.xyxy[2:] - anchor[:2] - anchor[2:]) / 2))
        if away > reach * max(height, float(anchor[3] - anchor[1])):
            return False
        area = float(found.mask.sum())
        if self._area is not None and not 0.35 < area / self._area < 2.8:
            return False
        columns, rows = found.landmarks[_CORE, :2].round().astype(int).T
        inside = (columns >= 0) & (rows >= 0) & (columns < found.mask.shape[1]) & (rows < found.mask.shape[0])
        if inside.any() and found.mask[rows[inside], columns[inside]].mean() < 0.5:
            return False
        limit = 0.7 if index - self._last_index == 1 else 0.45
        return self._look is None or colour_distance(self._look, look) < limit

    def _accept(self, index: int, found: Detection, look: np.ndarray) -> None:
        if self._last is not None:
            shift = (found.xyxy[:2] + found.xyxy[2:] - self._last.xyxy[:2] - self._last.xyxy[2:]) / 2
            self._velocity = 0.5 * self._velocity + 0.5 * shift / (index - self._last_index)
        area = float(found.mask.sum())
        self._look = look if self._look is None else 0.97 * self._look + 0.03 * look
        self._area = area if self._area is None else 0.9 * self._area + 0.1 * area
        self._last, self._last_index = found, index


def _mean_look(sightings: tuple[Sighting, ...]) -> np.ndarray | None:
    return np.mean([s.look for s in sightings], axis=0) if sightings else None
