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

from core.masks import MaskArchive
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
    # Most clothes live in the middle of the a and b range; the few that are more colourful join the outermost bins.
    cv2.max(lab, (0, 80, 80, 0), dst=lab)
    cv2.min(lab, (255, 175, 175, 0), dst=lab)
    inside = None if mask is None else mask[y0:y1, x0:x1].astype(np.uint8)
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
        self._masks = MaskArchive(height, width)
        self._empty = np.zeros((height, width), bool)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, detection: Detection | None) -> None:
        """The next frame; ``None`` where the person was not found."""
        if detection is None:
            self._rows.append(None)
            self._masks.append(self._empty)
            return
        self._rows.append((detection.xyxy, detection.score, detection.landmarks, detection.world))
        self._masks.append(detection.mask)

    def track(self, *, max_gap: int = 10, min_run: int = 3) -> PersonTrack:
        """The whole track; to be called once, at the end.

        In gaps of up to ``max_gap`` frames the person is predicted from the detections on both sides. Box and landmarks
        are interpolated; each neighbour's mask is carried along with its landmarks, and the two are blended as signed
        distances, so that the outline glides from one to the other. Somebody who goes over the edge of the picture, or
        comes in over it, is carried on for up to as many frames. These frames are marked ``predicted``, with a score
        that falls away from the detections; all others without a detection are ``absent``.

        Parameters
        ----------
        max_gap:
            Longest gap in frames that is predicted.
        min_run:
            A stretch of fewer detections than this, with long gaps on both sides, is taken for a mistake and dropped.
        """
        found = np.array([row is not None for row in self._rows], bool)
        found &= ~_short_runs(found, max_gap, min_run)
        count = len(found)
        track = PersonTrack(
            xyxy=np.full((count, 4), np.nan, np.float32),
            score=np.zeros(count, np.float32),
            landmarks=np.full((count, 33, 4), np.nan, np.float32),
            world=np.full((count, 33, 3), np.nan, np.float32),
            state=np.where(found, DETECTED, ABSENT).astype("<U9"),
            packed_masks=self._masks,
            width=self._width,
        )
        for index, row in enumerate(self._rows):
            if row is not None and found[index]:
                track.xyxy[index], track.score[index], track.landmarks[index], track.world[index] = row
            elif row is not None:
                self._masks.replace(index, self._empty)
        for start, end in runs(~found):
            if start > 0 and end < count and end - start <= max_gap:
                self._bridge(track, start - 1, end)
                continue
            if start > 0:
                self._carry_over_edge(track, start - 1, range(start, min(end, start + max_gap)))
            if end < count:
                self._carry_over_edge(track, end, range(end - 1, max(start, end - max_gap) - 1, -1))
        return track

    def _bridge(self, track: PersonTrack, before: int, after: int) -> None:
        """Fill the frames between two detections."""
        masks = [track.mask(before), track.mask(after)]
        for t in range(before + 1, after):
            part = (t - before) / (after - before)
            for array in (track.xyxy, track.landmarks, track.world):
                array[t] = (1 - part) * array[before] + part * array[after]
            depth = min(part, 1 - part)
            track.score[t] = min(track.score[before], track.score[after]) * (1 - depth)
            track.landmarks[t, :, 3] *= 1 - depth
            fields = [
                _carried_distance(mask, track.landmarks[side], track.landmarks[t])
                for mask, side in zip(masks, (before, after), strict=True)
            ]
            self._masks.replace(t, (1 - part) * fields[0] + part * fields[1] > 0)
            track.state[t] = PREDICTED

    def _carry_over_edge(self, track: PersonTrack, last: int, frames: range) -> None:
        """Carry somebody who is half out of the picture the rest of the way, at the speed of the last detections.

        ``frames`` run away from ``last``, forwards where the person leaves, backwards where the person comes in.
        Detectors give up while an arm or a leg is still to be seen. Nothing happens unless the box touches an edge of
        the frame and moves over it.
        """
        near = [last - frames.step * k for k in range(5)]
        near = [t for t in near if 0 <= t < len(track) and track.state[t] == DETECTED]
        if len(near) < 3:
            return
        path = np.median(track.landmarks[near, :, :2], axis=1)
        speed = (path[0] - path[-1]) / abs(near[0] - near[-1])
        size = np.array([self._width, self._height])
        low, high = track.xyxy[last, :2] <= 1, track.xyxy[last, 2:] >= size - 1
        if not (np.any(low & (speed < -0.5)) or np.any(high & (speed > 0.5))):
            return
        mask = track.mask(last)
        for step, t in enumerate(frames, start=1):
            move = np.column_stack([np.eye(2), speed * step])
            moved = cv2.warpAffine(mask.astype(np.uint8) * 255, move, (self._width, self._height)) > 127
            if moved.sum() < 0.02 * mask.sum():
                return
            track.landmarks[t], track.world[t] = track.landmarks[last], track.world[last]
            track.landmarks[t, :, :2] += speed * step
            track.landmarks[t, :, 3] *= 0.5
            track.xyxy[t] = np.clip(track.xyxy[last] + np.tile(speed * step, 2), 0, np.tile(size, 2))
            track.score[t] = 0.5 * track.score[last]
            self._masks.replace(t, moved)
            track.state[t] = PREDICTED


def runs(found: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of the stretches of True, end exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], found, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _short_runs(found: np.ndarray, max_gap: int, min_run: int) -> np.ndarray:
    """(T,) bool: the detections that stand too much alone to be believed."""
    closed = found.copy()
    for start, end in runs(~found):
        if start > 0 and end < len(found) and end - start <= max_gap:
            closed[start:end] = True
    alone = np.zeros_like(found)
    stretches = runs(closed)
    for start, end in stretches:
        if found[start:end].sum() < min_run and len(stretches) > 1:
            alone[start:end] = True
    # Where all of them are short, there is nothing better to believe in.
    return alone & found if (found & ~alone).any() else np.zeros_like(found)


def _carried_distance(mask: np.ndarray, points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(H, W) float32: signed distance to the outline (inside positive) of a mask that moved as its landmarks moved.

    Every pixel moves with the landmarks near it (inverse-distance weights), so that each limb goes its own way.
    """
    size = max(float(np.ptp(target[:, 1])), 1.0)
    step = max(int(size / 60), 1)
    rows, columns = np.mgrid[0 : mask.shape[0] : step, 0 : mask.shape[1] : step].astype(np.float32)
    shift = np.zeros((*rows.shape, 2), np.float32)
    total = np.zeros(rows.shape, np.float32)
    for (x, y), move in zip(target[:, :2], points[:, :2] - target[:, :2], strict=True):
        weight = 1 / ((columns - x) ** 2 + (rows - y) ** 2 + (0.03 * size) ** 2) ** 2
        shift += weight[..., None] * move
        total += weight
    shift = cv2.resize(shift / total[..., None], (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32)
    source = mask.astype(np.uint8) * 255
    moved = (cv2.remap(source, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR) > 127).astype(np.uint8)
    return cv2.distanceTransform(moved, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - moved, cv2.DIST_L2, 3)
