"""Splitting a clip in time: approach, hold, exit.

A person who comes in, does something on the spot and leaves moves much, little, much. The split looks for that shape in
the motion energy; where the motion has another shape, the clip is cut evenly and the roles say so (``uniform_1``..).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from core.types import CameraPath, PersonTrack, Segment
from utils import transforms

#: Landmarks of the trunk (shoulders, hips): where the person goes, as against what the limbs do.
_TRUNK = (11, 12, 23, 24)
#: The hold must have less than this share of the energy of the approach and of the exit.
_HOLD_SHARE = 0.6
#: The three-part shape must explain at least this share of the energy's variance.
_EXPLAINED = 0.35
#: Auto: no part shorter than this many frames.
_MIN_AUTO_PART = 12
_SMOOTHING = 9


def motion_energy(track: PersonTrack, camera: CameraPath | None = None) -> np.ndarray:
    """How much the person moves in each frame.

    Parameters
    ----------
    track:
        The person.
    camera:
        The camera's motion, which is taken out; without it the camera counts as fixed.

    Returns
    -------
    (T,) float32, speed of the trunk and, at a quarter of the weight, of all landmarks, in body heights a frame;
    0 where the person is absent.
    """
    count = len(track)
    energy = np.zeros(count, np.float32)
    height = track.height_px
    if count < 2 or height <= 0:
        return energy
    before, after = track.landmarks[:-1, :, :2].astype(np.float64), track.landmarks[1:, :, :2]
    if camera is not None:
        before = transforms.apply(camera.H_next_source, before)
    speed = np.linalg.norm(after - before, axis=-1) / height
    known = np.isfinite(speed).all(axis=-1)
    # The median is deaf to single landmarks that jump.
    step = np.zeros(count - 1)
    step[known] = np.median(speed[known][:, list(_TRUNK)], axis=-1) + 0.25 * np.median(speed[known], axis=-1)
    energy[1:] = step
    energy[0] = energy[1]
    energy[~track.present] = 0.0
    return energy


def split_clip(
    motion_energy: np.ndarray,
    present: np.ndarray,
    segments: int = 0,
    overlap: int = 5,
    max_length: int = 240,
) -> tuple[Segment, ...]:
    """Split a clip into segments that cover every frame.

    Parameters
    ----------
    motion_energy:
        (T,) motion of the person, any unit, 0 where unknown.
    present:
        (T,) bool, frames with the person.
    segments:
        1, 3, 5 or 7; 0 chooses: three where the motion shows approach, hold and exit, else one. A clip with fewer frames
        than segments gets one segment a frame.
    overlap:
        Frames that neighbours share, less where a segment is shorter than that.
    max_length:
        Longest stretch without the overlap, in frames; longer segments are cut further, so that memory and the work lost
        in a crash stay bounded.

    Returns
    -------
    Segments in order. Roles are ``approach``, ``hold``, ``exit``, numbered (``hold_2``) where there are several of a
    kind; ``uniform_1``.. where the motion says nothing (:func:`is_uniform`), and ``hold`` for a single segment.

    Raises
    ------
    ValueError
        If the clip is empty or an argument is out of range.
    """
    count = len(motion_energy)
    if count == 0 or len(present) != count:
        raise ValueError(f"cannot split {count} frames with {len(present)} presence marks")
    if segments not in (0, 1, 3, 5, 7) or overlap < 0 or max_length < 1:
        raise ValueError(f"cannot split into {segments} segments, overlap {overlap}, max_length {max_length}")
    shape = _approach_hold_exit(np.asarray(motion_energy, np.float64), np.asarray(present, bool))
    if segments == 0:
        segments = 3 if shape is not None and min(np.diff([0, *shape, count])) >= _MIN_AUTO_PART else 1
    if segments == 1:
        parts = [("hold", 0, count)]
    elif shape is not None and count >= segments:
        parts = _share_out(shape, count, segments)
    else:
        cuts = _even_cuts(0, count, min(segments, count))
        parts = [("uniform", start, end) for start, end in pairwise(cuts)]
    parts = [piece for part in parts for piece in _bounded(part, max_length)]
    return _with_overlaps(_numbered(parts), overlap)


def is_uniform(segments: tuple[Segment, ...]) -> bool:
    """Whether the clip was cut evenly because the motion says nothing."""
    return any(segment.role.startswith("uniform") for segment in segments)


def _approach_hold_exit(energy: np.ndarray, present: np.ndarray) -> tuple[int, int] | None:
    """First frame of the hold and of the exit, or None where the energy is not high, low, high.

    The best three-level step function in the sense of least squares, found over all pairs of cuts with running sums.
    """
    frames = np.flatnonzero(present)
    if len(frames) < 9:
        return None
    first, last = int(frames[0]), int(frames[-1]) + 1
    kernel = np.ones(_SMOOTHING) / _SMOOTHING
    padded = np.pad(energy[first:last], _SMOOTHING // 2, mode="edge")
    level = np.convolve(padded, kernel, mode="valid")
    count, shortest = len(level), max(3, len(level) // 12)
    total = np.concatenate([[0.0], np.cumsum(level)])
    cuts = np.arange(shortest, count - shortest + 1)
    a, b = cuts[:, None], cuts[None, :]
    gap = np.maximum(b - a, 1)
    # Least squares of step functions: maximise the sum of (sum of a part)^2 / length of the part.
    score = total[a] ** 2 / a + (total[b] - total[a]) ** 2 / gap + (total[count] - total[b]) ** 2 / (count - b)
    score = np.where(b - a >= shortest, score, -np.inf)
    if not np.isfinite(score).any():
        return None
    i, j = np.unravel_index(int(np.argmax(score)), score.shape)
    start, end = int(cuts[i]), int(cuts[j])
    variance = float(np.sum(np.square(level - level.mean())))
    explained = (score[i, j] - total[count] ** 2 / count) / variance if variance > 1e-12 else 0.0
    approach, hold, leave = level[:start].mean(), level[start:end].mean(), level[end:].mean()
    if explained < _EXPLAINED or hold > _HOLD_SHARE * min(approach, leave):
        return None
    return first + start, first + end


def _share_out(shape: tuple[int, int], count: int, segments: int) -> list[tuple[str, int, int]]:
    """Cut approach, hold and exit further, always the one with the longest pieces, until there are enough."""
    edges = [0, *shape, count]
    lengths = np.diff(edges)
    pieces = [1, 1, 1]
    while sum(pieces) < segments:
        pieces[int(np.argmax(lengths / pieces))] += 1
    parts = []
    for role, start, end, number in zip(("approach", "hold", "exit"), edges[:-1], edges[1:], pieces, strict=True):
        cuts = _even_cuts(start, end, number)
        parts += [(role, a, b) for a, b in pairwise(cuts)]
    return parts


def _even_cuts(start: int, end: int, pieces: int) -> list[int]:
    return [start + (end - start) * i // pieces for i in range(pieces + 1)]


def _bounded(part: tuple[str, int, int], max_length: int) -> list[tuple[str, int, int]]:
    role, start, end = part
    cuts = _even_cuts(start, end, -(-(end - start) // max_length))
    return [(role, a, b) for a, b in pairwise(cuts)]


def _numbered(parts: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Number the roles that occur more than once, and ``uniform`` always."""
    roles = [role for role, _, _ in parts]
    seen: dict[str, int] = {}
    numbered = []
    for role, start, end in parts:
        seen[role] = seen.get(role, 0) + 1
        several = roles.count(role) > 1 or role == "uniform"
        numbered.append((f"{role}_{seen[role]}" if several else role, start, end))
    return numbered


def _with_overlaps(parts: list[tuple[str, int, int]], overlap: int) -> tuple[Segment, ...]:
    """Start every segment but the first ``overlap`` frames early, never before its predecessor's own first frame."""
    segments: list[Segment] = []
    previous = 0
    for role, start, end in parts:
        shared = min(overlap, start - previous)
        segments.append(Segment(role, start - shared, end, shared))
        previous = start
    return tuple(segments)
