"""Cuts in a clip: finding them, and taking what was found apart and together again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from core.masks import MaskArchive
from core.types import PersonTrack, PoseTrack
from utils.landmarks import clean_landmarks

#: Size of the pictures that are compared, and the contrast that they are brought to, levels.
_THUMB, _CONTRAST = (64, 36), 40.0
#: Frames on both sides that a change is compared with. Two cuts closer together than this are not told apart.
_AROUND = 6
#: A cut changes the picture by so many levels, and by so many times as much as the frames around it do. In footage without
#: cuts the factor stays below 2; where the scene is another it is above 20.
_CUT_LEVELS, _CUT_FACTOR = 4.0, 4.0
#: The same where only the person may be elsewhere, in front of the same scene; the person's track decides there.
_JUMP_LEVELS, _JUMP_FACTOR = 2.0, 1.8
#: A person who is so far away, in heights, from where it was last seen did not walk there; and what it may have walked in
#: each frame between.
_JUMP, _STRIDE = 0.3, 0.1
#: Frames within which the person must be seen again for the two places to be compared.
_SEARCH = 15


class CutFinder:
    """Compares each frame with the one before, streaming."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._changes: list[float] = []

    def feed(self, rgb: np.ndarray) -> None:
        """The next frame, (H, W, 3) uint8. Changes of brightness and contrast alone do not count."""
        thumb = cv2.resize(rgb, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
        thumb -= thumb.mean((0, 1))
        thumb *= _CONTRAST / (thumb.std() + 0.1 * _CONTRAST)
        if self._before is not None:
            self._changes.append(float(np.abs(thumb - self._before).mean()))
        self._before = thumb

    def cuts(self) -> list[int]:
        """First frames of shots that show another scene."""
        return self._jumps(_CUT_LEVELS, _CUT_FACTOR)

    def suspects(self) -> list[int]:
        """Frames before which the picture changes at once, but not so much that it must be a cut; with all cuts."""
        return self._jumps(_JUMP_LEVELS, _JUMP_FACTOR)

    def _jumps(self, levels: float, factor: float) -> list[int]:
        found = []
        for index, change in enumerate(self._changes):
            around = self._changes[max(0, index - _AROUND) : index] + self._changes[index + 1 : index + 1 + _AROUND]
            if around and change > levels and change > factor * max(around):
                found.append(index + 1)
        return found


def shot_spans(cuts: Sequence[int], count: int) -> list[tuple[int, int]]:
    """(start, end) of the shots of a clip of ``count`` frames."""
    ends = [0, *sorted(cut for cut in set(cuts) if 0 < cut < count), count]
    return list(pairwise(ends))


def person_jumps(boxes: Sequence[np.ndarray | None], frame: int) -> bool:
    """Whether the person is somewhere else from ``frame`` on, or found on one side of it only.

    ``boxes``: for each frame (4,) xyxy in pixels, ``None`` where the person was not found.
    """
    before = next((t for t in range(frame - 1, max(frame - 1 - _SEARCH, -1), -1) if boxes[t] is not None), None)
    after = next((t for t in range(frame, min(frame + _SEARCH, len(boxes))) if boxes[t] is not None), None)
    if before is None or after is None:
        return before is not after
    a, b = boxes[before], boxes[after]
    assert a is not None and b is not None
    height = max(float(a[3] - a[1]), float(b[3] - b[1]), 1.0)
    away = float(np.hypot(*((a[:2] + a[2:] - b[:2] - b[2:]) / 2)))
    return away > (_JUMP + _STRIDE * (after - before)) * height


def track_of(track: PersonTrack, start: int, end: int) -> PersonTrack:
    """The frames ``start`` to ``end`` (exclusive) as a track of their own."""
    masks = _archive([track], start, end)
    part = slice(start, end)
    return PersonTrack(
        track.xyxy[part],
        track.score[part],
        track.landmarks[part],
        track.world[part],
        track.state[part],
        masks,
        track.width,
    )


def joined(tracks: Sequence[PersonTrack]) -> PersonTrack:
    """Tracks of consecutive shots as one."""
    names = ("xyxy", "score", "landmarks", "world", "state")
    arrays = {name: np.concatenate([getattr(track, name) for track in tracks]) for name in names}
    return PersonTrack(**arrays, packed_masks=_archive(tracks, 0, None), width=tracks[0].width)


def _archive(tracks: Sequence[PersonTrack], start: int, end: int | None) -> MaskArchive:
    result = MaskArchive(tracks[0].packed_masks.shape[1], tracks[0].width)
    for track in tracks:
        for frame in range(start, len(track) if end is None else end):
            result.append_packed(track.packed_masks[frame])
    return result


def clean_shots(track: PersonTrack, cuts: Sequence[int], fps: float) -> PoseTrack:
    """The landmarks of all shots, each cleaned by itself."""
    if not cuts:
        return clean_landmarks(track, fps=fps)
    poses = [clean_landmarks(track_of(track, *span), fps=fps) for span in shot_spans(cuts, len(track))]
    repaired = {name: sum(pose.repaired[name] for pose in poses) for name in poses[0].repaired}
    names = ("landmarks", "world", "weight", "present")
    return PoseTrack(
        **{name: np.concatenate([getattr(pose, name) for pose in poses]) for name in names}, repaired=repaired
    )
