"""Following one person: who is who between frames, and what stands in frames where nobody was found.

Pure functions on boxes, colour histograms and landmark rows. The streaming side, which owns a detector, is
:mod:`models.person_tracker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from core.types import ABSENT, DETECTED, PREDICTED, Detection, PersonTrack

#: Bins of the colour histogram: a and b of CIE Lab finely (clothes keep their hue in shade), lightness coarsely.
_LAB_BINS = (4, 12, 12)
#: Two boxes may be one person if they are closer than this many heights, plus so many for every frame between them.
_REACH, _REACH_PER_FRAME = 0.5, 0.06
#: ... and their heights differ by no more than this factor,
_MAX_GROWTH = 2.0
#: ... and their colours by no more than this distance (0 equal, 1 nothing in common).
_MAX_COLOUR_DISTANCE = 0.75


@dataclass(frozen=True)
class Sighting:
    """Somebody in one of the sampled frames."""

    frame: int
    """Index in the clip."""
    xyxy: np.ndarray
    """(4,) float32, pixels."""
    look: np.ndarray
    """Colour histogram, see :func:`colour_histogram`."""
    size: float
    """How large the person is, pixels: the height of the body rather than that of the box, where it is known."""

    @property
    def center(self) -> np.ndarray:
        """(2,) middle of the box in pixels."""
        return (self.xyxy[:2] + self.xyxy[2:]) / 2

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return float(self.xyxy[3] - self.xyxy[1])


def colour_histogram(rgb: np.ndarray, xyxy: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """What a person's clothes look like, whatever the pose.

    Parameters
    ----------
    rgb:
        (H, W, 3) uint8 frame.
    xyxy:
        (4,) box in pixels.
    mask:
        (H, W) bool, the person's pixels. Without it the middle of the box is taken.

    Returns
    -------
    (576,) float32, Lab histogram with sum 1 (all zero where there is nothing to see).
    """
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.round(xyxy), 0, [width, height, width, height]))
    if mask is None:
        inset_x, inset_y = (x1 - x0) // 4, (y1 - y0) // 8
        x0, y0, x1, y1 = x0 + inset_x, y0 + inset_y, x1 - inset_x, y1 - inset_y
    if x1 <= x0 or y1 <= y0:
        return np.zeros(int(np.prod(_LAB_BINS)), np.float32)
    lab = cv2.cvtColor(np.ascontiguousarray(rgb[y0:y1, x0:x1]), cv2.COLOR_RGB2LAB)
    inside = None if mask is None else mask[y0:y1, x0:x1].astype(np.uint8)
    # Clothes live in the middle half of the a and b range; the rest would be empty bins.
    counts = cv2.calcHist([lab], [0, 1, 2], inside, list(_LAB_BINS), [0, 256, 80, 176, 80, 176]).reshape(-1)
    return (counts / max(float(counts.sum()), 1.0)).astype(np.float32)


def colour_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Hellinger distance of two histograms: 0 where they are equal, 1 where they share nothing."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum()))))


def link_cost(a: Sighting, b: Sighting) -> float:
    """How unlikely it is that two sightings show the same person: 0 surely one, ``inf`` impossible."""
    frames = abs(a.frame - b.frame)
    height = max(min(a.height, b.height), 1.0)
    distance = float(np.hypot(*(a.center - b.center))) / height / (_REACH + _REACH_PER_FRAME * frames)
    growth = abs(float(np.log(max(a.height, 1.0) / max(b.height, 1.0)))) / float(np.log(_MAX_GROWTH))
    colour = colour_distance(a.look, b.look) / _MAX_COLOUR_DISTANCE
    return float("inf") if max(distance, growth, colour) > 1 else distance + growth + colour


def link_sightings(samples: Sequence[Sequence[Sighting]]) -> list[list[Sighting]]:
    """Tie the sightings of successive samples into one list a person (Hungarian assignment to the open tracks).

    A person may be missing in any number of samples and is taken up again where place, size and colours fit.
    """
    tracks: list[list[Sighting]] = []
    for sample in samples:
        taken: set[int] = set()
        if tracks and sample:
            cost = np.array([[link_cost(track[-1], seen) for seen in sample] for track in tracks])
            rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e6))
            for row, column in zip(rows, columns, strict=True):
                if np.isfinite(cost[row, column]):
                    tracks[row].append(sample[column])
                    taken.add(int(column))
        tracks += [[seen] for index, seen in enumerate(sample) if index not in taken]
    return tracks


def largest_steady(tracks: Sequence[Sequence[Sighting]], samples: int, share: float = 0.25) -> Sequence[Sighting]:
    """The track of the largest person among those seen in a fair share of the samples.

    What counts is the 90th percentile of the size, so that somebody who comes towards the camera counts by the near
    end of the way. Where nobody is steady, the one seen most often is taken, the larger of equals.

    Raises
    ------
    ValueError
        No tracks at all.
    """
    if not tracks:
        raise ValueError("there is nobody to choose from")
    steady = [track for track in tracks if len(track) >= max(2, share * samples)]
    if not steady:
        most = max(len(track) for track in tracks)
        steady = [track for track in tracks if len(track) == most]
    return max(steady, key=lambda track: float(np.percentile([seen.size for seen in track], 90)))


def nearest_to(
    tracks: Sequence[Sequence[Sighting]], point: tuple[float, float], within: float = 0.3
) -> Sequence[Sighting] | None:
    """The track of the person nearest to a point at the earliest sampled frame where somebody is near it.

    ``within`` is how far from the box the point may lie, in box heights; ``None`` where nobody ever comes near.
    """
    target = np.asarray(point, np.float64)

    def away(seen: Sighting) -> float:
        outside = np.maximum(np.maximum(seen.xyxy[:2] - target, target - seen.xyxy[2:]), 0)
        return float(np.hypot(*outside)) / max(seen.height, 1.0)

    near = [(seen, track) for track in tracks for seen in track if away(seen) <= within]
    if not near:
        return None
    first = min(seen.frame for seen, _ in near)
    chosen = [(seen, track) for seen, track in near if seen.frame == first]
    return min(chosen, key=lambda item: (away(item[0]), float(np.hypot(*(item[0].center - target)))))[1]


class TrackRows:
    """Collects one row a frame and makes a :class:`PersonTrack` of them; masks are kept packed.

    Parameters
    ----------
    width, height:
        Frame size in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._rows: list[tuple[np.ndarray, float, np.ndarray, np.ndarray] | None] = []
        self._masks: list[np.ndarray | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, detection: Detection | None) -> None:
        """The next frame; ``None`` where the person was not found."""
        if detection is None:
            self._rows.append(None)
            self._masks.append(None)
            return
        self._rows.append((detection.xyxy, detection.score, detection.landmarks, detection.world))
        self._masks.append(np.packbits(detection.mask, axis=-1))

    def track(self, *, max_gap: int = 10, min_run: int = 3) -> PersonTrack:
        """The whole track.

        Parameters
        ----------
        max_gap:
            Gaps of up to this many frames between two detections are predicted; longer ones are ``absent``.
        min_run:
            A stretch of fewer detections than this, with long gaps on both sides, is taken for a mistake and dropped.
        """
        found = np.array([row is not None for row in self._rows], bool)
        found &= ~_short_runs(found, max_gap, min_run)
        count = len(found)
        xyxy = np.full((count, 4), np.nan, np.float32)
        score = np.zeros(count, np.float32)
        landmarks = np.full((count, 33, 4), np.nan, np.float32)
        world = np.full((count, 33, 3), np.nan, np.float32)
        packed = np.zeros((count, self._height, (self._width + 7) // 8), np.uint8)
        for index in np.flatnonzero(found):
            row, mask = self._rows[index], self._masks[index]
            assert row is not None and mask is not None
            xyxy[index], score[index], landmarks[index], world[index] = row
            packed[index] = mask
        state = np.where(found, DETECTED, ABSENT).astype("<U9")
        track = PersonTrack(xyxy, score, landmarks, world, state, packed, self._width)
        return fill_gaps(track, max_gap)


def _runs(found: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of the stretches of True, end exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], found, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _short_runs(found: np.ndarray, max_gap: int, min_run: int) -> np.ndarray:
    """(T,) bool: the detections that stand too much alone to be believed."""
    closed = found.copy()
    for start, end in _runs(~found):
        if start > 0 and end < len(found) and end - start <= max_gap:
            closed[start:end] = True
    alone = np.zeros_like(found)
    runs = _runs(closed)
    for start, end in runs:
        if found[start:end].sum() < min_run and len(runs) > 1:
            alone[start:end] = True
    return alone & found


def fill_gaps(track: PersonTrack, max_gap: int) -> PersonTrack:
    """Predict the person in gaps of up to ``max_gap`` frames from the detections on both sides.

    Box and landmarks are interpolated; each neighbour's mask is carried along by the similarity that takes its
    landmarks to the interpolated ones, and the two are blended as signed distances, so that the outline glides from
    one to the other. The filled frames are marked ``predicted``, with a score that falls towards the middle of the gap.
    """
    xyxy, score, landmarks, world = (a.copy() for a in (track.xyxy, track.score, track.landmarks, track.world))
    state, packed = track.state.copy(), track.packed_masks.copy()
    detected = track.state == DETECTED
    for start, end in _runs(~detected):
        before, after = start - 1, end
        if before < 0 or after >= len(track) or end - start > max_gap:
            continue
        sides = [(i, track.mask(i), track.landmarks[i]) for i in (before, after)]
        for t in range(start, end):
            part = (t - before) / (after - before)
            for rows in (xyxy, landmarks, world):
                rows[t] = (1 - part) * rows[before] + part * rows[after]
            depth = min(part, 1 - part)
            score[t] = min(score[before], score[after]) * (1 - depth)
            landmarks[t, :, 3] *= 1 - depth
            fields = [_carried_distance(mask, points, landmarks[t]) for _, mask, points in sides]
            packed[t] = np.packbits((1 - part) * fields[0] + part * fields[1] > 0, axis=-1)
            state[t] = PREDICTED
    return PersonTrack(xyxy, score, landmarks, world, state, packed, track.width)


def _carried_distance(mask: np.ndarray, points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(H, W) float32: signed distance to the outline (inside positive) of a mask moved as its landmarks move."""
    move, _ = cv2.estimateAffinePartial2D(
        points[:, None, :2].astype(np.float32), target[:, None, :2].astype(np.float32), method=cv2.LMEDS
    )
    if move is None:
        shift = np.median(target[:, :2] - points[:, :2], axis=0)
        move = np.column_stack([np.eye(2), shift])
    size = (mask.shape[1], mask.shape[0])
    moved = (cv2.warpAffine(mask.astype(np.uint8) * 255, move, size) > 127).astype(np.uint8)
    return cv2.distanceTransform(moved, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - moved, cv2.DIST_L2, 3)
