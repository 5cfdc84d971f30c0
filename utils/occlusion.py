"""What stands in front of the person: tree trunks, poles, fences, tables, as long as they stand still in the scene.

Evidence is gathered frame by frame in scene coordinates (the camera's motion taken out). Where the body must be
but the frame shows the bare scene, something hides it: a vote for "in front". Where the person is really seen, the
place is behind: a vote for "clear". Votes of about two and a half seconds decide together, and a watershed on the
plate carries the decision to the edges of the picture, so that the avatar comes out exactly at the edge of the trunk.

Everything is conservative: a place is only called an occluder after several votes for it and next to none against it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from core.types import CameraPath
from utils import transforms
from utils.occlusion_regions import find_regions
from utils.occlusion_votes import Sight, compared_vote, expected_body, foreign_share, look, votes
from utils.transforms import compose, invert, translation

#: Seconds that are gathered in one chunk, and how many chunks on each side of a chunk take part in its decision.
_CHUNK_SECONDS, _NEIGHBOURS = 0.5, 2
#: Frames that are this many seconds apart are compared with each other.
_COMPARED_SECONDS = (0.2, 0.35, 0.5)
#: Votes of the landmarks and of a comparison, and how many make a place (at 30 frames per second).
_LANDMARK_VOTE, _COMPARED_VOTE, _ENOUGH = 2, 1, 3
#: Share of the body's core that a passing thing hides, and frames in a row in which it does.
_FOREIGN_SHARE, _FOREIGN_FRAMES = 0.05, 3
#: Everything is done on pictures in which the person is at most this high, pixels.
_WORK_PERSON = 160.0


@dataclass
class _Chunk:
    """Votes of half a second, in the pixels of its first frame, on a canvas that holds all its frames."""

    start: int
    offset: np.ndarray
    """(2,) int: canvas pixel = pixel of the first frame + offset."""
    front: np.ndarray
    """(h, w) uint8: frames in which something hid the body here."""
    clear: np.ndarray
    """(h, w) uint8: frames in which the person was seen here."""
    plate: np.ndarray
    """(h, w, 3) uint8: the scene, where the person came near."""
    known: np.ndarray
    """(h, w) uint8: where ``plate`` is filled in."""


@dataclass(frozen=True)
class _Region:
    """A chunk's decision: where something stands in front, bits packed along rows, inside a box of its canvas."""

    start: int
    origin: tuple[int, int]
    """x, y of the box in the pixels of frame ``start``."""
    shape: tuple[int, int]
    packed: np.ndarray

    def unpack(self) -> np.ndarray:
        return np.unpackbits(self.packed, axis=-1, count=self.shape[1])


class OcclusionFinder:
    """Finds static occluders. Feed the frames in order, call :meth:`finish`, then ask for any frame.

    Memory: the votes of at most five chunks, and for each chunk with an occluder a packed mask of its box.

    Parameters
    ----------
    camera:
        Motion of the camera over the whole clip.
    size:
        Width and height of the frames in pixels.
    rate:
        Frames per second.
    height_px:
        Height of the person in pixels.
    softness:
        Standard deviation in pixels of the occluder's edge (the footage's blur).
    """

    def __init__(
        self, camera: CameraPath, size: tuple[int, int], *, rate: float, height_px: float, softness: float = 0.8
    ) -> None:
        person = max(height_px, 16.0)
        self._full_size = size
        self._scale = min(1.0, _WORK_PERSON / person)
        self._person = person * self._scale
        self._width, self._height = (max(2, round(side * self._scale)) for side in size)
        self._H_work_full = transforms.scaling(self._width / size[0], self._height / size[1])
        self._H_full_work = invert(self._H_work_full)
        H_next = self._H_work_full @ camera.H_next_source @ self._H_full_work
        # Whole motions stay whole where nothing is scaled, so that pictures are copied and not resampled.
        self._H_next_work = camera.H_next_source if self._scale == 1 or camera.is_static else H_next
        self._count = len(camera.H_stable_source)
        self._softness = softness * self._scale
        self._length = max(2, round(rate * _CHUNK_SECONDS))
        self._enough = max(_ENOUGH, round(_ENOUGH * rate / 30))
        self._lags = sorted({max(1, round(rate * seconds)) for seconds in _COMPARED_SECONDS})
        self._sights: deque[Sight] = deque(maxlen=self._lags[-1])
        self._open: list[_Chunk] = []
        self._regions: dict[int, _Region] = {}
        self._decided = 0
        self._finished = False
        self._foreign: list[int] = []
        self._last = -1

    # --- feeding ----------------------------------------------------------------------------------------------------

    def feed(
        self,
        t: int,
        source: np.ndarray,
        plate: np.ndarray,
        mask: np.ndarray,
        landmarks: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> None:
        """Take the votes of one frame.

        Parameters
        ----------
        t:
            Index of the frame, larger than that of the call before. Frames without a person may be left out.
        source, plate:
            (H, W, 3) uint8: the frame, and the scene without the person, in the same pixels.
        mask:
            (H, W) bool, the person as the detector sees it.
        landmarks:
            (33, >=2) where the body is, hidden limbs predicted: cleaned landmarks, or those of the fitted body.
        weight:
            (33,) trust in the landmarks, 0..1. Frames in which not even the torso is trusted give no vote for
            "in front".

        Raises
        ------
        ValueError
            If the frames do not come in order.
        """
        if self._finished:
            raise ValueError("the finder is finished: make a new one")
        if t <= self._last:
            raise ValueError(f"frame {t} comes after frame {self._last}: feed the frames in order")
        self._last = t
        chunk = self._chunk_for(t)
        points = transforms.apply(self._H_work_full, landmarks[:, :2])
        detected = cv2.resize(mask.view(np.uint8), (self._width, self._height), interpolation=cv2.INTER_NEAREST)
        body = expected_body(points, weight, (self._width, self._height), self._person)
        box = self._box(body | detected)
        if box is None:
            return
        x0, y0, x1, y1 = box
        cut = np.s_[y0:y1, x0:x1]
        picture, scene = self._reduced(source, box), self._reduced(plate, box)
        sight = look(t, (x0, y0), picture, scene, detected[cut], points)
        if foreign_share(sight, picture, body[cut], self._person) >= _FOREIGN_SHARE:
            self._foreign.append(t)
        front, clear = votes(sight, picture, scene, body[cut], self._person)
        self._vote(chunk, t, (x0, y0), front * np.uint8(_LANDMARK_VOTE), clear, scene)
        self._compare(sight)

    def _reduced(self, image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """The box (work pixels) of a full picture, at work size."""
        x0, y0, x1, y1 = box
        if self._scale == 1:
            return np.ascontiguousarray(image[y0:y1, x0:x1])
        H = compose(translation(-x0, -y0), self._H_work_full)
        # Bilinear samples of every pixel or every few; a blur before would cost more than the noise it takes out.
        return transforms.warp(image, H, (x1 - x0, y1 - y0))

    def _compare(self, sight: Sight) -> None:
        """Let the frame and some frames before it vote on each other."""
        for other in self._sights:
            if sight.t - other.t not in self._lags:
                continue
            for whole, partial in ((sight, other), (other, sight)):
                hidden = compared_vote(whole, partial, self._between(whole.t, partial.t), self._person)
                if hidden is not None:
                    chunk = next(c for c in self._open if c.start <= partial.t < c.start + self._length)
                    self._vote(chunk, partial.t, partial.origin, hidden * np.uint8(_COMPARED_VOTE), None, None)
        self._sights.append(sight)

    def finish(self) -> None:
        """Decide what is still open; to be called after the last frame."""
        self._decide(until=None)
        self._finished = True
        self._open.clear()

    def _chunk_for(self, t: int) -> _Chunk:
        start = t // self._length * self._length
        if not self._open or self._open[-1].start != start:
            self._decide(until=start)
            self._open.append(self._new_chunk(start))
        return self._open[-1]

    def _new_chunk(self, start: int) -> _Chunk:
        end = min(start + self._length, self._count)
        reach = [_bounds(self._between(t, start), (self._width, self._height)) for t in range(start, end)]
        low = np.min([bound[0] for bound in reach], axis=0)
        high = np.max([bound[1] for bound in reach], axis=0)
        width, height = high - low
        return _Chunk(
            start,
            -low,
            np.zeros((height, width), np.uint8),
            np.zeros((height, width), np.uint8),
            np.zeros((height, width, 3), np.uint8),
            np.zeros((height, width), np.uint8),
        )

    def _between(self, source: int, target: int) -> np.ndarray:
        """(3, 3) pixels of frame ``source`` -> pixels of frame ``target``, along the camera's path."""
        first, last = sorted((source, target))
        H = compose(*self._H_next_work[first:last][::-1])
        return H if source <= target else invert(H)

    def _box(self, person: np.ndarray) -> tuple[int, int, int, int] | None:
        x, y, width, height = cv2.boundingRect(person)
        if width == 0:
            return None
        room = round(0.3 * self._person)
        x1, y1 = min(x + width + room, self._width), min(y + height + room, self._height)
        return max(x - room, 0), max(y - room, 0), x1, y1

    def _vote(
        self,
        chunk: _Chunk,
        t: int,
        origin: tuple[int, int],
        front: np.ndarray,
        clear: np.ndarray | None,
        plate: np.ndarray | None,
    ) -> None:
        """Add one frame's votes, given in a box at ``origin``, to the chunk's canvas."""
        H = compose(translation(*chunk.offset), self._between(t, chunk.start), translation(*origin))
        low, high = _bounds(H, (front.shape[1], front.shape[0]))
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, chunk.front.shape[::-1])
        if x0 >= x1 or y0 >= y1:
            return
        H, target, window = translation(-x0, -y0) @ H, (int(x1 - x0), int(y1 - y0)), np.s_[y0:y1, x0:x1]
        chunk.front[window] += _moved(front, H, target)
        if clear is not None:
            chunk.clear[window] += _moved(clear, H, target)
        if plate is None:
            return
        fresh = _moved(np.ones(front.shape, np.uint8), H, target) & (1 - chunk.known[window])
        if fresh.any():
            cv2.copyTo(_moved(plate, H, target), fresh, chunk.plate[window])
            chunk.known[window] |= fresh

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, until: int | None) -> None:
        """Decide the open chunks whose neighbours are complete: all before ``until``; every one if ``None``."""
        reach = _NEIGHBOURS * self._length
        for chunk in self._open:
            if chunk.start < self._decided or (until is not None and chunk.start + reach >= until):
                continue
            near = [other for other in self._open if abs(other.start - chunk.start) <= reach]
            region = self._region(chunk, near)
            if region is not None:
                self._regions[chunk.start] = region
            self._decided = chunk.start + 1
        if until is not None:
            self._open = [chunk for chunk in self._open if chunk.start + 2 * reach >= until]

    def _region(self, chunk: _Chunk, near: list[_Chunk]) -> _Region | None:
        """Where something stands in front during a chunk, from its own votes and its neighbours'."""
        if not any((other.front > 0).any() for other in near):
            return None
        front, clear = chunk.front.astype(np.uint16), chunk.clear.astype(np.uint16)
        plate, known = chunk.plate.copy(), chunk.known.copy()
        size = (chunk.front.shape[1], chunk.front.shape[0])
        for other in near:
            if other is chunk:
                continue
            H = compose(
                translation(*chunk.offset), self._between(other.start, chunk.start), translation(*-other.offset)
            )
            front += _moved(other.front, H, size)
            clear += _moved(other.clear, H, size)
            fresh = _moved(other.known, H, size) & (1 - known)
            cv2.copyTo(_moved(other.plate, H, size), fresh, plate)
            known |= fresh
        found = find_regions(front, clear, plate, known > 0, person=self._person, enough=self._enough)
        x, y, width, height = cv2.boundingRect(found.view(np.uint8))
        if width == 0:
            return None
        cut = found[y : y + height, x : x + width]
        origin = int(x - chunk.offset[0]), int(y - chunk.offset[1])
        return _Region(chunk.start, origin, (height, width), np.packbits(cut, axis=-1))

    # --- asking -----------------------------------------------------------------------------------------------------

    def occluders(self, t: int) -> np.ndarray | None:
        """Where something stands in front of the person in frame ``t``.

        Returns
        -------
        (H, W) float32, 1 in front, soft at the edges; ``None`` where there is no occluder.

        Raises
        ------
        ValueError
            Before :meth:`finish`: frames to come may still decide.
        """
        if not self._finished:
            raise ValueError("occluders are known after finish()")
        region = self._regions.get(t // self._length * self._length)
        if region is None:
            return None
        soft = cv2.GaussianBlur(
            cv2.copyMakeBorder(region.unpack().astype(np.float32), 4, 4, 4, 4, cv2.BORDER_REPLICATE),
            (0, 0),
            self._softness,
        )
        H_work_region = translation(region.origin[0] - 4, region.origin[1] - 4)
        H = compose(self._H_full_work, self._between(region.start, t), H_work_region)
        placed = transforms.warp(soft, H, self._full_size)
        return placed if placed.any() else None

    def passing(self) -> np.ndarray:
        """(T,) bool: frames in which something that moves hides part of the person: a ball, a hand, somebody else.

        It is found where the detector's mask leaves it out. It cannot be kept in front: nothing tells where it ends.

        Raises
        ------
        ValueError
            Before :meth:`finish`.
        """
        if not self._finished:
            raise ValueError("what passes is known after finish()")
        found = np.zeros(self._count, np.uint8)
        found[self._foreign] = 1
        # What is seen in a single frame is the detector's mistake.
        kernel = np.ones((1, _FOREIGN_FRAMES), np.uint8)
        return cv2.morphologyEx(found[None], cv2.MORPH_OPEN, kernel)[0].astype(bool)


# --- geometry -------------------------------------------------------------------------------------------------------


def _bounds(H: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, y) pixel, (2,) int each, that a (width, height) picture covers after a transform."""
    corners = transforms.apply(H, transforms.corners(size))
    return np.floor(corners.min(axis=0) + 0.5).astype(int), np.ceil(corners.max(axis=0) + 0.5).astype(int)


def _moved(image: np.ndarray, H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Votes or pictures on another canvas; votes (two axes) are never mixed."""
    flag = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_LINEAR
    return transforms.warp(image, H, size, flag)
