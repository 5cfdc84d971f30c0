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

from core.types import LANDMARK_NAMES, CameraPath
from utils import transforms
from utils.transforms import compose, invert, translation

_ID = {name: index for index, name in enumerate(LANDMARK_NAMES)}
#: Parts of the body that must be drawn wherever the person is, and their thickness as a share of the body's height:
#: about half as thick as the limbs are, so that landmark errors stay inside the person.
_BONES = tuple(
    (_ID[f"{side}_{a}"], _ID[f"{side}_{b}"], thickness)
    for side in ("left", "right")
    for a, b, thickness in (
        ("shoulder", "elbow", 0.036),
        ("elbow", "wrist", 0.026),
        ("hip", "knee", 0.05),
        ("knee", "ankle", 0.036),
    )
)
_TORSO = [_ID[name] for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
_FACE = [_ID[name] for name in ("nose", "left_ear", "right_ear")]

#: Seconds that are gathered in one chunk, and how many chunks on each side of a chunk take part in its decision.
_CHUNK_SECONDS, _NEIGHBOURS = 0.5, 2
#: Frames up to this far apart are compared with each other.
_COMPARED_SECONDS = 0.5
#: Source and plate are the same below the first difference (levels) and surely differ above the second.
_SAME, _DIFFERENT = 9.0, 20.0
#: GrabCut works on a picture in which the person is this high, pixels.
_GRABCUT_PERSON = 100.0


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
        self._camera = camera
        self._width, self._height = size
        self._person = max(height_px, 16.0)
        self._softness = softness
        self._length = max(2, round(rate * _CHUNK_SECONDS))
        self._enough = max(2, round(rate / 15))
        self._stride = max(1, round(rate * _COMPARED_SECONDS / 3))
        self._sights: deque[_Sight] = deque(maxlen=3 * self._stride)
        self._open: list[_Chunk] = []
        self._regions: dict[int, _Region] = {}
        self._decided = 0
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
        if t <= self._last:
            raise ValueError(f"frame {t} comes after frame {self._last}: feed the frames in order")
        self._last = t
        chunk = self._chunk_for(t)
        body = self._expected_body(landmarks, weight)
        box = self._box(body, mask)
        if box is None:
            return
        x0, y0, x1, y1 = box
        cut = np.s_[y0:y1, x0:x1]
        sight = _look(t, (x0, y0), source[cut], plate[cut], mask[cut], landmarks[:, :2])
        front, clear = _votes(sight, source[cut], plate[cut], body[cut], self._person)
        self._vote(chunk, t, (x0, y0), front, clear, plate[cut])
        self._compare(sight)

    def _compare(self, sight: _Sight) -> None:
        """Let the frame and those a few frames before it vote on each other."""
        for other in self._sights:
            if (sight.t - other.t) % self._stride:
                continue
            for whole, partial in ((sight, other), (other, sight)):
                hidden = _carried_vote(whole, partial, self._between(whole.t, partial.t), self._person)
                if hidden is not None:
                    chunk = next(c for c in self._open if c.start <= partial.t < c.start + self._length)
                    self._vote(chunk, partial.t, partial.origin, hidden, None, None)
        self._sights.append(sight)

    def finish(self) -> None:
        """Decide what is still open; to be called after the last frame."""
        self._decide(until=None)
        self._open.clear()

    def _chunk_for(self, t: int) -> _Chunk:
        start = t // self._length * self._length
        if not self._open or self._open[-1].start != start:
            self._decide(until=start)
            self._open.append(self._new_chunk(start))
        return self._open[-1]

    def _new_chunk(self, start: int) -> _Chunk:
        end = min(start + self._length, len(self._camera.H_stable_source))
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
        H = compose(*self._camera.H_next_source[first:last][::-1])
        return H if source <= target else invert(H)

    def _expected_body(self, landmarks: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """(H, W) uint8: the core of the body, thinner than the body is."""
        body = np.zeros((self._height, self._width), np.uint8)
        points = landmarks[:, :2]
        trusted = weight is None or float(np.mean(weight[_TORSO])) > 0.15
        if not (trusted and np.isfinite(points).all() and np.abs(points).max() < 1e4):
            return body
        for a, b, thickness in _BONES:
            cv2.line(body, _pixel(points[a]), _pixel(points[b]), 1, max(1, round(thickness * self._person)))
        torso = points[_TORSO]
        # A torso seen from the side is a line between the landmarks; it still is about a tenth of the height deep.
        shrunk = torso.mean(axis=0) + 0.85 * (torso - torso.mean(axis=0))
        cv2.fillPoly(body, [np.rint(shrunk).astype(np.int32)], 1)
        spine = [points[_TORSO[:2]].mean(axis=0), points[_TORSO[2:]].mean(axis=0)]
        cv2.line(body, _pixel(spine[0]), _pixel(spine[1]), 1, max(1, round(0.06 * self._person)))
        cv2.circle(body, _pixel(points[_FACE].mean(axis=0)), round(0.03 * self._person), 1, -1)
        return body

    def _box(self, body: np.ndarray, mask: np.ndarray) -> tuple[int, int, int, int] | None:
        x, y, width, height = cv2.boundingRect(body | mask.view(np.uint8))
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
        low, high = _bounds(H, front.shape[::-1])
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
        size = chunk.front.shape[::-1]
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
        return _Region(chunk.start, origin, cut.shape, np.packbits(cut, axis=-1))

    # --- asking -----------------------------------------------------------------------------------------------------

    def occluders(self, t: int) -> np.ndarray | None:
        """Where something stands in front of the person in frame ``t``.

        Returns
        -------
        (H, W) float32, 1 in front, soft at the edges; ``None`` where there is no occluder.
        """
        region = self._regions.get(t // self._length * self._length)
        if region is None:
            return None
        soft = cv2.GaussianBlur(
            cv2.copyMakeBorder(region.unpack().astype(np.float32), 4, 4, 4, 4, cv2.BORDER_REPLICATE),
            (0, 0),
            self._softness,
        )
        H = compose(self._between(region.start, t), translation(region.origin[0] - 4, region.origin[1] - 4))
        placed = transforms.warp(soft, H, (self._width, self._height))
        return placed if placed.any() else None


# --- geometry -------------------------------------------------------------------------------------------------------


def _bounds(H: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, y) pixel, (2,) int each, that a (width, height) picture covers after a transform."""
    corners = transforms.apply(H, transforms.corners(size))
    return np.floor(corners.min(axis=0) + 0.5).astype(int), np.ceil(corners.max(axis=0) + 0.5).astype(int)


def _moved(image: np.ndarray, H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Votes or pictures on another canvas; votes (two axes) are never mixed."""
    flag = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_LINEAR
    return transforms.warp(image, H, size, flag)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


# --- evidence of one frame ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sight:
    """What one frame shows around the person; all pictures (h, w) uint8, 0 or 1."""

    t: int
    origin: tuple[int, int]
    """x, y of the pictures in the frame."""
    mask: np.ndarray
    """The person as detected."""
    same: np.ndarray
    """Where the frame shows the bare scene."""
    differs: np.ndarray
    """Where the frame surely does not show the bare scene."""
    upper: np.ndarray
    """Head and torso of the person: what moves as one."""
    head: np.ndarray
    """(2,) pixel of the middle of the face, in the frame."""


def _look(t: int, origin: tuple[int, int], source: np.ndarray, plate: np.ndarray, mask: np.ndarray, points: np.ndarray) -> _Sight:
    difference = cv2.blur(_strongest(cv2.absdiff(source, plate)), (3, 3))
    detected = np.ascontiguousarray(mask).view(np.uint8)
    upper = detected.copy()
    hips = points[_TORSO[2:], 1].mean() - origin[1] if np.isfinite(points).all() else 0
    upper[max(0, int(hips)) :] = 0
    return _Sight(
        t,
        origin,
        detected,
        (cv2.dilate(difference, _disc(1)) < _SAME).view(np.uint8),
        (difference > _DIFFERENT).view(np.uint8),
        upper,
        points[_FACE].mean(axis=0),
    )


def _votes(
    sight: _Sight, source: np.ndarray, plate: np.ndarray, body: np.ndarray, person: float
) -> tuple[np.ndarray, np.ndarray]:
    """What a frame says by itself: (h, w) uint8 where something hides the body, and where the person is seen."""
    around = cv2.dilate(sight.mask, _disc(0.015 * person))
    inner = cv2.erode(sight.mask, _disc(0.025 * person))
    clear = (around & sight.differs) | (inner & (1 - sight.same))
    outside = body & (1 - around) & sight.same
    inside = (body | inner) & sight.mask & sight.same
    if inside.any():
        inside &= _unlike_person(source, plate, sight.mask & sight.differs, person)
    return outside | inside, clear


def _strongest(image: np.ndarray) -> np.ndarray:
    """(H, W) the largest of three channels."""
    first, second, third = cv2.split(image)
    return cv2.max(cv2.max(first, second), third)


def _unlike_person(source: np.ndarray, plate: np.ndarray, visible: np.ndarray, person: float) -> np.ndarray:
    """Where the scene's colour is unlike the person's nearby: there it cannot be the person that looks the same."""
    reduced = (max(1, source.shape[1] // 4), max(1, source.shape[0] // 4))
    size = round(0.02 * person) | 1
    weight = visible.astype(np.float32)
    masked = cv2.copyTo(source, visible).astype(np.float32) if visible.any() else np.zeros(source.shape, np.float32)
    share = cv2.blur(cv2.resize(weight, reduced, interpolation=cv2.INTER_AREA), (size, size))
    colour = cv2.blur(cv2.resize(masked, reduced, interpolation=cv2.INTER_AREA), (size, size))
    colour /= np.maximum(share, 1e-3)[..., None]
    full = cv2.resize(np.clip(colour, 0, 255).astype(np.uint8), source.shape[1::-1])
    unlike = _strongest(cv2.absdiff(full, plate)) > 2 * _DIFFERENT
    return (unlike & (cv2.resize(share, source.shape[1::-1]) > 0.25)).view(np.uint8)


def _carried_vote(whole: _Sight, partial: _Sight, H_partial_whole: np.ndarray, person: float) -> np.ndarray | None:
    """Where something hides a person that another frame shows more of.

    Head and torso of the frame ``whole`` are moved to where the head is in the frame ``partial``. If what is seen there
    fits inside, but a good part is missing and shows the bare scene instead, that part is hidden.

    Returns
    -------
    (h, w) uint8 in the pictures of ``partial``, or ``None`` where the two do not fit together.
    """
    size = partial.mask.shape[::-1]
    shift = np.rint(partial.head - partial.origin - (whole.head - whole.origin))
    if not np.isfinite(shift).all() or np.abs(H_partial_whole[:2, :2] - np.eye(2)).max() > 0.05:
        return None
    moved = transforms.warp(whole.upper, translation(*shift), size, cv2.INTER_NEAREST)
    wide = cv2.dilate(moved, _disc(0.03 * person))
    seen = cv2.countNonZero(partial.upper)
    if seen < 0.15 * cv2.countNonZero(moved) or cv2.countNonZero(partial.upper & wide) < 0.93 * seen:
        return None
    around = cv2.dilate(partial.mask, _disc(0.015 * person))
    missing = cv2.erode(moved, _disc(0.02 * person)) & (1 - around)
    hidden = missing & partial.same
    if cv2.countNonZero(hidden) < max(0.9 * cv2.countNonZero(missing), 0.002 * person**2):
        return None
    return hidden


def _disc(radius: float) -> np.ndarray:
    size = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


# --- evidence of a window -------------------------------------------------------------------------------------------


def find_regions(
    front: np.ndarray, clear: np.ndarray, plate: np.ndarray, known: np.ndarray, *, person: float, enough: int
) -> np.ndarray:
    """Regions that stand in front, from the votes of a window.

    Parameters
    ----------
    front, clear:
        (h, w) uint: frames in which something hid the body, and in which the person was seen.
    plate:
        (h, w, 3) uint8, the scene.
    known:
        (h, w) bool, where ``plate`` is filled in.
    person:
        Height of the person in pixels.
    enough:
        Votes that a place needs.

    Returns
    -------
    (h, w) bool.
    """
    seeds = (front >= enough) & (front >= 6 * clear.astype(np.int32))
    seeds = cv2.morphologyEx(seeds.astype(np.uint8), cv2.MORPH_OPEN, _disc(0.006 * person))
    seeds = _large_parts(seeds, 0.0015 * person**2)
    out = np.zeros(front.shape, bool)
    if not seeds.any():
        return out
    room = round(0.6 * person)
    x, y, width, height = cv2.boundingRect(seeds)
    x0, y0, x1, y1 = max(x - room, 0), max(y - room, 0), x + width + room, y + height + room
    cut = np.s_[y0:y1, x0:x1]
    out[cut] = _grow(seeds[cut], clear[cut], plate[cut], known[cut], person)
    return out


def _large_parts(mask: np.ndarray, area: float) -> np.ndarray:
    """Connected parts of at least ``area`` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    keep = stats[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return keep[labels].astype(np.uint8)


def _grow(seeds: np.ndarray, clear: np.ndarray, plate: np.ndarray, known: np.ndarray, person: float) -> np.ndarray:
    """Carry the seeds to the edges of the thing that they lie on.

    GrabCut (Rother et al., 2004) on a reduced picture separates it by colour from the places where the person was
    seen; a watershed in a narrow band then finds the edge to the pixel.
    """
    behind = cv2.morphologyEx((clear >= 2).astype(np.uint8), cv2.MORPH_OPEN, _disc(1))
    behind[cv2.dilate(seeds, _disc(1)) > 0] = 0
    to_seeds = cv2.distanceTransform(1 - seeds, cv2.DIST_L2, 3)
    to_behind = cv2.distanceTransform(1 - behind, cv2.DIST_L2, 3)
    labels = np.where(to_seeds < to_behind, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[to_seeds > 0.6 * person] = cv2.GC_PR_BGD
    labels[behind > 0] = cv2.GC_BGD
    labels[seeds > 0] = cv2.GC_FGD
    scale = min(1.0, _GRABCUT_PERSON / person)
    size = (max(8, round(seeds.shape[1] * scale)), max(8, round(seeds.shape[0] * scale)))
    small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    small[cv2.resize(seeds, size, interpolation=cv2.INTER_AREA) > 0] = cv2.GC_FGD
    picture = cv2.resize(plate, size, interpolation=cv2.INTER_AREA)
    cv2.setRNGSeed(1)
    cv2.grabCut(picture, small, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    rough = ((small == cv2.GC_FGD) | (small == cv2.GC_PR_FGD)).astype(np.uint8)
    rough = cv2.resize(rough, seeds.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return _to_edges(_touching(rough & known.view(np.uint8), seeds, person), behind, plate)


def _touching(mask: np.ndarray, seeds: np.ndarray, person: float) -> np.ndarray:
    """The smoothed parts of the mask that hold seeds."""
    smooth = cv2.morphologyEx(mask | seeds, cv2.MORPH_CLOSE, _disc(0.03 * person))
    smooth = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, _disc(0.012 * person)) | seeds
    _, labels = cv2.connectedComponents(smooth)
    keep = np.zeros(int(labels.max()) + 1, np.uint8)
    keep[labels[seeds > 0]] = 1
    return keep[labels]


def _to_edges(rough: np.ndarray, behind: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """Move the border of a region to the strongest edge within three pixels."""
    markers = np.zeros(rough.shape, np.int32)
    markers[cv2.erode(rough, _disc(3), borderValue=1) > 0] = 2
    markers[(cv2.dilate(rough, _disc(3)) == 0) | ((behind > 0) & (rough == 0))] = 1
    labels = cv2.watershed(np.ascontiguousarray(cv2.GaussianBlur(plate, (3, 3), 0)), markers)
    return cv2.medianBlur((labels == 2).astype(np.uint8), 5) > 0
