"""Views in time: clips of different length or rate on one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InputError
from core.types import VideoInfo
from utils.cameras.camera import Camera
from utils.triangulation import MAX_ERROR_SHARE, triangulate

#: Stamps that lie closer together than this share of a frame are of the same moment.
_SAME_MOMENT = 0.02
#: Shifting a view in time must lower the disagreement by this share to be believed.
_CONVINCING = 0.1
#: What shifts may change by chance: the square of a tenth of the tolerance.
_NOISE = 0.01
#: Offsets are looked for at every so many frames, then closer by.
_STRIDES = (4, 2, 1)
#: Moments at which offsets are judged.
_JUDGED = 24


@dataclass(frozen=True)
class ViewTiming:
    """Which frames of each view belong together. V views, T moments."""

    times: np.ndarray
    """(T,) float64, seconds on the common clock, which starts with the first frame of the first view."""
    before: np.ndarray
    """(V, T) int64: the view's last frame at or before each moment."""
    blend: np.ndarray
    """(V, T) float64, 0..1: how far each moment lies on the way to the frame after it."""
    notes: tuple[str, ...]
    """What the user should know: frames left out, rates that differ."""

    def __len__(self) -> int:
        return len(self.times)

    def resample(self, view: int, values: np.ndarray) -> np.ndarray:
        """(T, ...) what a view saw at the moments, linear between its frames; ``values`` is (its frames, ...)."""
        lower, share = self.before[view], self.blend[view]
        upper = np.minimum(lower + 1, len(values) - 1)
        share = share.reshape(-1, *(1,) * (values.ndim - 1))
        # Where a moment is a frame of the view, the frame after it must not matter, NaN or not.
        return np.where(share == 0, values[lower], (1 - share) * values[lower] + share * values[upper])


def seconds(info: VideoInfo) -> np.ndarray:
    """(T,) float64: the frames' time stamps from the clip's first frame."""
    return (info.pts - info.pts[0]) * float(info.time_base)


def align_views(infos: Sequence[VideoInfo], offsets: Sequence[float] | None = None) -> ViewTiming:
    """Put views on one clock.

    Parameters
    ----------
    infos:
        The V clips. They are taken to begin at the same moment.
    offsets:
        Seconds by which each clip begins after the first one; negative where it begins before.

    Returns
    -------
    The moments of the slowest view's frames within the span that all views cover.

    Raises
    ------
    core.errors.InputError
        There is no moment that all views cover.
    """
    offsets = [0.0] * len(infos) if offsets is None else list(offsets)
    stamps = [seconds(info) + offset for info, offset in zip(infos, offsets, strict=True)]
    frame = [float(1 / info.rate) for info in infos]
    start, end = max(s[0] for s in stamps), min(s[-1] for s in stamps)
    slowest = int(np.argmax(frame))
    slack = _SAME_MOMENT * min(frame)
    times = stamps[slowest]
    times = times[(times >= start - slack) & (times <= end + slack)]
    if not len(times):
        raise InputError(
            "The clips have no moment in common.", "Give clips of the same take, and check their time offsets."
        )
    pairs = [_frames_at(own, times, slack) for own in stamps]
    before, blend = (np.stack(column) for column in zip(*pairs, strict=True))
    return ViewTiming(times, before, blend, tuple(_notes(infos, stamps, times, slowest)))


def _frames_at(own: np.ndarray, times: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray]:
    """(T,) frames before the moments and (T,) shares of the way to the next; whole where a frame lies on the moment."""
    lower = np.clip(np.searchsorted(own, times + slack, side="right") - 1, 0, len(own) - 1)
    upper = np.minimum(lower + 1, len(own) - 1)
    gap = np.maximum(own[upper] - own[lower], 1e-12)
    share = np.where(np.abs(times - own[lower]) <= slack, 0.0, np.clip((times - own[lower]) / gap, 0, 1))
    return lower, share


def _notes(infos: Sequence[VideoInfo], stamps: Sequence[np.ndarray], times: np.ndarray, slowest: int) -> list[str]:
    notes = []
    rates = {f"{float(info.rate):.6g}" for info in infos}
    if len(rates) > 1:
        said = ", ".join(f"{info.path.name} {float(info.rate):.6g}" for info in infos)
        notes.append(f"The clips have different frame rates ({said}); {infos[slowest].path.name} sets the pace.")
    half = 0.5 / float(max(info.rate for info in infos))
    cut = [
        f"{info.path.name} {int(((own < times[0] - half) | (own > times[-1] + half)).sum())}"
        for info, own in zip(infos, stamps, strict=True)
        if ((own < times[0] - half) | (own > times[-1] + half)).any()
    ]
    if cut:
        notes.append(f"Frames outside the span that all clips cover are left out: {', '.join(cut)}.")
    return notes


# -- finding offsets -----------------------------------------------------------------------------------------------


def estimate_offsets(
    cameras: Sequence[Camera],
    times: Sequence[np.ndarray],
    pixels: Sequence[np.ndarray],
    confidence: Sequence[np.ndarray],
    *,
    max_offset: float = 0.5,
) -> tuple[np.ndarray, list[str]]:
    """Find by how much each clip begins after the first one, from where the views see the same points.

    Only what moves tells: a person who stands still fits any offset, and then the clips are left as they are.

    Parameters
    ----------
    cameras:
        V cameras in pixels of the clips.
    times:
        V arrays (T_v,): seconds of each view's frames from its first, see :func:`seconds`.
    pixels, confidence:
        V arrays (T_v, N, 2) and (T_v, N): what each view sees.
    max_offset:
        Largest offset tried, seconds.

    Returns
    -------
    (V,) float64 offsets in seconds for :func:`align_views`, the first 0, and notes for the user.
    """
    offsets = np.zeros(len(cameras))
    # Every candidate is judged on the same moments, those that every view covers under any of them.
    last = min(own[-1] for own in times)
    judged = times[0][(times[0] >= max_offset) & (times[0] <= last - max_offset)]
    if len(judged) < 3 or min(map(len, times)) < 3:
        return offsets, ["The clips are too short to find out whether they begin at the same moment."]
    judged = judged[np.linspace(0, len(judged) - 1, min(len(judged), _JUDGED)).round().astype(int)]
    scene = _Scene(cameras, times, pixels, confidence, judged)
    before = scene.disagreement(offsets)
    for stride in _STRIDES:
        for view in range(1, len(cameras)):
            frame = float(np.median(np.diff(times[view])))
            # Whole frames only: between two frames the noise of both is averaged, and any view would like that.
            steps = int(max_offset / frame / stride) if stride == _STRIDES[0] else 2
            tried = offsets[view] + stride * frame * np.arange(-steps, steps + 1)
            tried = tried[np.abs(tried) <= max_offset + 1e-9]
            costs = [scene.disagreement(_with(offsets, view, float(value))) for value in tried]
            offsets[view] = tried[int(np.argmin(costs))]
    if before - scene.disagreement(offsets) < max(_CONVINCING * before, _NOISE):
        return np.zeros(len(cameras)), []
    offsets = np.array([_between_frames(scene, offsets, view, own) for view, own in enumerate(times)])
    said = ", ".join(f"{camera.name} {1000 * value:+.0f} ms" for camera, value in zip(cameras, offsets, strict=True))
    return offsets, [f"The clips do not begin at the same moment; found from the person's motion: {said}."]


def _between_frames(scene: _Scene, offsets: np.ndarray, view: int, own: np.ndarray) -> float:
    """The view's offset at the bottom of the parabola through the disagreement one frame to either side."""
    frame = float(np.median(np.diff(own)))
    if view == 0:
        return 0.0
    low, here, high = (scene.disagreement(_with(offsets, view, offsets[view] + k * frame)) for k in (-1, 0, 1))
    bend = low + high - 2 * here
    return float(offsets[view] + (0.5 * frame * np.clip((low - high) / bend, -1, 1) if bend > 0 else 0))


def _with(offsets: np.ndarray, view: int, value: float) -> np.ndarray:
    changed = offsets.copy()
    changed[view] = value
    return changed


@dataclass(frozen=True)
class _Scene:
    """What the views see, to be looked up at any moment."""

    cameras: Sequence[Camera]
    times: Sequence[np.ndarray]
    pixels: Sequence[np.ndarray]
    confidence: Sequence[np.ndarray]
    judged: np.ndarray

    def disagreement(self, offsets: np.ndarray) -> float:
        """Truncated mean squared reprojection error, 0..1, at the judged moments under these offsets."""
        seen, trust = [], []
        for own, offset, points, weight in zip(self.times, offsets, self.pixels, self.confidence, strict=True):
            lower, share = _frames_at(own + offset, self.judged, 0.0)
            upper = np.minimum(lower + 1, len(own) - 1)
            share = share[:, None]
            seen.append((1 - share[..., None]) * points[lower] + share[..., None] * points[upper])
            trust.append(np.minimum(weight[lower], weight[upper]))
        weight = np.nan_to_num(np.stack(trust))
        solved = triangulate(self.cameras, np.stack(seen), weight)
        limit = MAX_ERROR_SHARE * np.array([camera.longest_side for camera in self.cameras])
        share_of_limit = np.nan_to_num(solved.errors / limit[:, None, None], nan=1.0)
        cost = np.minimum(share_of_limit, 1) ** 2
        return float((weight * cost).sum() / max(weight.sum(), 1e-9))
