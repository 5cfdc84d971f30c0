"""The plate: the scene without the person, frame by frame, in source pixels.

The clip is handled in windows. What the person hides in a window is looked up in frames around it that show the place:
they are warped along the camera's path into one reference frame of the window, refined there against the reference, and
the median of what is not on the person is the scene. Where no frame shows the place, the hole is inpainted. For each frame
the scene is warped back, its light is matched to the frame around the hole, and only pixels of the hole are replaced.

Memory is bounded by the settings, not by the length of the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from core.types import CameraPath, PersonTrack
from utils import transforms
from utils.aligned_median import alignment_points, refine_alignment, stack_statistics
from utils.removal_mask import bounding_box, dilation_px, grow_by_residual, largest_channel, person_hole
from utils.transforms import compose, invert, translation

Inpaint = Literal["telea", "ns"]
_INPAINT = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}

#: Side of the coarse cells in which samples are chosen, pixels.
_CELL = 8
#: Width of the ring around a hole in which the light is compared, pixels.
_RING = 14
#: A frame this far away counts a third of one close by: the farther, the less it fits (parallax, light).
_NEAR = 60.0
#: Samples that differ by less than this from the reference, on average, are never dropped, levels.
_MISFIT_LEVELS = 7.0
#: Within a window every so many frames are aligned with the reference; the others lie between.
_ALIGN_EVERY = 6
#: Rows and columns of the grid on which the light correction is kept.
_LIGHT_GRID = (12, 8)


@dataclass(frozen=True)
class Window:
    """A stretch of the clip that shares one plate."""

    start: int
    """First frame."""
    end: int
    """One past the last frame of its own."""
    stop: int
    """One past the last frame that it covers: the frames from ``end`` on are faded into the next window."""

    @property
    def span(self) -> tuple[int, int]:
        """First frame and one past the last frame that it covers."""
        return self.start, self.stop

    @property
    def reference(self) -> int:
        """The frame in whose pixels the plate is made."""
        return (self.start + self.stop - 1) // 2


@dataclass(frozen=True)
class PlateFrame:
    """The plate of one frame."""

    index: int
    """Frame of the clip."""
    rgb: np.ndarray
    """(H, W, 3) uint8: the source frame without the person; equal to the source where ``removed`` is False."""
    removed: np.ndarray
    """(H, W) bool: pixels that were replaced: the person, its halo, and what moves with it."""
    seen: float
    """Share of the removed pixels that another frame really shows, 0..1; the rest is inpainted."""


@dataclass(frozen=True)
class _Fit:
    """How the window's scene is laid into one frame."""

    placement: Placement
    removed: np.ndarray
    """(H, ceil(W/8)) uint8: packed mask of the pixels that are replaced."""
    light: np.ndarray
    """(h, w, 3) float32 over the region at a quarter of its size: levels to add to the scene."""


class WindowPlate:
    """The plate of one window; made by :meth:`PlateBuilder.build`.

    Attributes
    ----------
    coverage:
        Share of the window's holes that some frame really shows, 0..1.
    """

    def __init__(self, scene: np.ndarray, seen: np.ndarray, fits: dict[int, _Fit], width: int) -> None:
        self._scene, self._seen, self._fits, self._width = scene, seen, fits, width
        self.coverage = float(np.mean([self.seen(t) for t in fits])) if fits else 1.0

    def __contains__(self, t: int) -> bool:
        return t in self._fits

    def removal_mask(self, t: int) -> np.ndarray:
        """(H, W) bool: the pixels of frame ``t`` that the plate replaces."""
        return np.unpackbits(self._fits[t].removed, axis=-1, count=self._width).view(bool)

    def seen(self, t: int) -> float:
        """Share of frame ``t``'s replaced pixels that another frame really shows, 0..1."""
        removed = self.removal_mask(t)
        box = bounding_box(removed)
        if box is None:
            return 1.0
        left, top, right, bottom = box
        seen = self._fits[t].placement.to_frame(self._seen, box)
        return float(seen[removed[top:bottom, left:right]].mean())

    def frame(self, t: int, source_rgb: np.ndarray) -> np.ndarray:
        """The source frame with the person taken out.

        Parameters
        ----------
        t:
            Frame of the clip; one that is not in the window's plate comes back as it is.
        source_rgb:
            (H, W, 3) uint8, that frame.

        Returns
        -------
        (H, W, 3) uint8; equal to the source outside :meth:`removal_mask`.
        """
        if t not in self._fits:
            return source_rgb
        fit, removed = self._fits[t], self.removal_mask(t)
        box = bounding_box(removed)
        if box is None:
            return source_rgb
        left, top, right, bottom = box
        part = (slice(top, bottom), slice(left, right))
        plate = fit.placement.to_frame(self._scene, box, interpolation=cv2.INTER_CUBIC)
        light = fit.placement.to_frame(fit.light, box, fit.light.shape[1] / self._scene.shape[1])
        plate = cv2.add(plate, light, dtype=cv2.CV_8U)
        result = source_rgb.copy()
        cv2.copyTo(plate, removed[part].view(np.uint8), result[part])
        return result


class PlateBuilder:
    """Makes the plate of a clip, window by window.

    Parameters
    ----------
    size:
        ``(width, height)`` of the frames in pixels.
    camera:
        The camera's path.
    track:
        The person.
    inpaint:
        Method for holes that no frame shows: ``telea`` or ``ns``.
    samples:
        Frames that the median of a window is taken over.
    window:
        Longest window in frames.
    fade:
        Frames over which one window's plate becomes the next one's.
    reach:
        How many frames before and after a window are looked at.
    dilation:
        How far the mask is grown for halo, hair and motion blur, as a share of the person's height.
    cache_mb:
        Memory for the frames that samples are chosen from; also shortens the windows of very large frames.

    Attributes
    ----------
    windows:
        The windows, in order; they cover all frames.
    grid:
        (K,) int64, ascending: the frames that samples are chosen from.
    """

    def __init__(
        self,
        size: tuple[int, int],
        camera: CameraPath,
        track: PersonTrack,
        *,
        inpaint: Inpaint = "telea",
        samples: int = 24,
        window: int = 32,
        fade: int = 6,
        reach: int = 240,
        dilation: float = 0.02,
        cache_mb: int = 160,
    ) -> None:
        self._size, self._track = size, track
        self._moving = not bool(np.all(camera.H_next_source == np.eye(3)))
        self._H_frame_first = transforms.chain(camera.H_next_source)
        self._inpaint: Inpaint = inpaint
        self._samples, self._reach = samples, reach
        self._radius = dilation_px(track, dilation)
        self._holes: dict[int, np.ndarray] = {}
        frames_in_cache = max(12, int(cache_mb * 2**20 / (size[0] * size[1] * 3)))
        count = len(track)
        candidates = min(60, frames_in_cache)
        self.grid = np.arange(0, count, max(1, -(-min(count, 2 * reach) // candidates)))
        self.windows = _cut_windows(count, min(window, max(8, frames_in_cache // 2)), fade)

    def candidates(self, window: Window) -> np.ndarray:
        """(K,) int64: the frames of the grid within reach of a window."""
        near = (self.grid >= window.start - self._reach) & (self.grid < window.stop + self._reach)
        return self.grid[near]

    def sample_indices(self, window: Window) -> np.ndarray:
        """(N,) int64, ascending: the frames that together show best what the person hides in a window.

        Greedy cover on coarse cells: a frame counts for the hidden cells that it shows, the more the fewer frames show
        them already, and near frames before far ones.
        """
        hidden = {t: self._hole(t) for t in range(*window.span)}
        region = self._region(window, hidden, margin=0)
        candidates = self.candidates(window)
        if region is None or not len(candidates):
            return candidates[:0]
        size = scaled((region[2] - region[0], region[3] - region[1]), 1 / _CELL)
        H_cell_frame = transforms.scaling(1 / _CELL)

        def cells(t: int, mask: np.ndarray) -> np.ndarray:
            small = cv2.resize(mask.view(np.uint8), None, fx=1 / _CELL, fy=1 / _CELL, interpolation=cv2.INTER_NEAREST)
            H = compose(H_cell_frame, self._H_region_frame(t, window, region), invert(H_cell_frame))
            return transforms.warp(small.view(bool), H, size)

        wanted = np.logical_or.reduce([cells(t, mask) for t, mask in hidden.items()])
        shown = np.stack([cells(t, ~self._hole(t))[wanted] for t in candidates])
        nearness = np.exp(-np.abs(candidates - window.reference) / _NEAR)
        times, chosen = np.zeros(shown.shape[1]), []
        for _ in range(min(self._samples, len(candidates))):
            gain = (shown @ np.exp(-0.5 * times) + 1e-3) * nearness
            gain[chosen] = -1.0
            best = int(np.argmax(gain))
            chosen.append(best)
            times += shown[best]
        return np.sort(candidates[chosen])

    def build(
        self, window: Window, frames: Mapping[int, np.ndarray], samples: Iterable[tuple[int, np.ndarray]]
    ) -> WindowPlate:
        """Make the plate of a window.

        Parameters
        ----------
        window:
            One of :attr:`windows`.
        frames:
            (H, W, 3) uint8 by index, for every frame ``window.start`` .. ``window.stop - 1``.
        samples:
            (index, (H, W, 3) uint8) of :meth:`sample_indices`.
        """
        hidden = {t: mask for t in range(*window.span) if (mask := self._hole(t)).any()}
        region = self._region(window, hidden, margin=self._band())
        if region is None:
            return WindowPlate(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.float32), {}, self._size[0])
        stack = {t: rgb for t, rgb in samples}
        placements = self._placements(window, region, {**{t: frames[t] for t in (*hidden, window.reference)}, **stack})
        draft = _Draft(window.reference, frames[window.reference], self._hole(window.reference), placements)
        draft.take({t: (rgb, self._hole(t)) for t, rgb in stack.items()})
        if self._moving:
            draft.align_to_scene()
        removed = {
            t: draft.removal(frames[t], hidden[t], placements[t], reach=self._band()) for t in hidden
        }
        scene, seen = self._scene(draft, stack, removed)
        fits = {
            t: _Fit(placements[t], np.packbits(removed[t], axis=-1), light)
            for t, light in draft.light(scene, {t: (frames[t], removed[t], placements[t]) for t in hidden}).items()
        }
        return WindowPlate(scene, seen.astype(np.float32), fits, self._size[0])

    def _hole(self, t: int) -> np.ndarray:
        """(H, W) bool, the grown person mask; the most recent ones are kept."""
        if t not in self._holes:
            if len(self._holes) > 128:
                self._holes.pop(next(iter(self._holes)))
            self._holes[t] = np.packbits(person_hole(self._track, t, self._radius), axis=-1)
        return np.unpackbits(self._holes[t], axis=-1, count=self._size[0]).view(bool)

    def _band(self) -> int:
        """How far around the person things are looked for that move with it, pixels."""
        return int(0.22 * self._track.height_px) + _RING

    def _region(
        self, window: Window, hidden: list[tuple[int, np.ndarray]], margin: int
    ) -> tuple[int, int, int, int] | None:
        """``(left, top, width, height)`` in pixels of the reference frame around all holes; None where there is none."""
        corners = []
        for t, mask in hidden:
            box = bounding_box(mask, margin)
            if box is not None:
                left, top, right, bottom = box
                outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
                corners.append(transforms.apply(self._H_roi_frame(t, window, (0, 0, 0, 0)), outline))
        if not corners:
            return None
        points = np.concatenate(corners)
        left, top = np.floor(points.min(axis=0)).astype(int)
        right, bottom = np.ceil(points.max(axis=0)).astype(int)
        return int(left), int(top), int(right - left), int(bottom - top)

    def _H_roi_frame(self, t: int, window: Window, roi: tuple[int, int, int, int]) -> np.ndarray:
        H_reference_frame = compose(self._H_frame_first[window.reference], invert(self._H_frame_first[t]))
        return compose(translation(-roi[0], -roi[1]), H_reference_frame)

    def _aligned(
        self,
        t: int,
        rgb: np.ndarray,
        window: Window,
        roi: tuple[int, int, int, int],
        interpolation: int = cv2.INTER_LINEAR,
        correction: np.ndarray | None = None,
        field: np.ndarray | None = None,
    ) -> _Aligned:
        H = self._H_roi_frame(t, window, roi)
        if correction is not None:
            H = compose(correction, H)
        size = (roi[2], roi[3])
        if field is None:
            patch = transforms.warp(rgb, H, size, interpolation, cv2.BORDER_REPLICATE)
        else:
            patch = _warp_with_field(rgb, H, field, size, interpolation)
        hole = transforms.warp(self._hole(t), H, size)
        inside = transforms.warp(np.ones(rgb.shape[:2], bool), H, size)
        return _Aligned(H, patch, hole, inside)

    def _corrections(
        self, window: Window, roi: tuple[int, int, int, int], reference_rgb: np.ndarray, needed: dict[int, np.ndarray]
    ) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """What the camera path lacks, by frame.

        First (3, 3) matrices, region pixels by the path -> region pixels of the reference; then, for the frames that
        were measured, fields of what these leave (:meth:`Alignment.field`).

        A similarity a frame pair cannot describe perspective and drifts over long spans. Every frame is aligned with the
        reference itself; the walk goes outwards from it and each frame starts from its neighbour's correction, so
        that only little is left to find.
        """
        if not self._moving:
            return {t: np.eye(3) for t in needed}, {}
        reference = self._aligned(window.reference, cv2.cvtColor(reference_rgb, cv2.COLOR_RGB2GRAY), window, roi)
        points = alignment_points(reference.patch, reference.inside & ~reference.hole)
        corrections: dict[int, np.ndarray] = {window.reference: np.eye(3)}
        fields: dict[int, np.ndarray] = {}
        measured = [t for t in needed if abs(t - window.reference) % _ALIGN_EVERY == 0 or t not in range(*window.span)]
        after = sorted(t for t in measured if t > window.reference)
        before = sorted((t for t in measured if t < window.reference), reverse=True)
        for side in (after, before):
            carried = np.eye(3)
            for t in side:
                grey = cv2.cvtColor(needed[t], cv2.COLOR_RGB2GRAY)
                rough = self._aligned(t, grey, window, roi, correction=carried)
                rest = refine_alignment(reference.patch, rough.patch, rough.inside & ~rough.hole, points)
                if rest is not None:
                    carried = compose(rest.matrix, carried)
                    fields[t] = rest.field((roi[2], roi[3]))
                corrections[t] = carried
        return _interpolated(corrections, needed), fields

    def _grow(self, stack: list[_Aligned], shown: list[_Aligned]) -> list[np.ndarray]:
        """Grow the holes of all frames by what differs from a first, half-size scene; returns those of ``shown``."""
        if not stack:
            return [aligned.hole for aligned in shown]
        height, width = stack[0].hole.shape
        half = (max(width // 2, 1), max(height // 2, 1))
        small = [_shrunk(aligned, half) for aligned in (*stack, *shown)]
        samples = small[: len(stack)]
        valid = np.stack([(a.inside & ~a.hole).ravel() for a in samples])
        first = stack_statistics(np.stack([a.patch.reshape(-1, 3) for a in samples]), valid)
        scene = np.rint(first.median).astype(np.uint8).reshape(half[1], half[0], 3)
        spread, count = first.spread.reshape(half[::-1]), first.count.reshape(half[::-1])
        reach = self._band() // 2
        grown = []
        for large, little in zip((*stack, *shown), small, strict=True):
            known = little.inside & (count >= 4)
            mask = grow_by_residual(little.patch, little.hole, scene, spread, known, reach)
            added = (mask & ~little.hole).view(np.uint8)
            grown.append(large.hole | cv2.resize(added, (width, height), interpolation=cv2.INTER_NEAREST).view(bool))
        for sample, mask in zip(stack, grown, strict=False):
            sample.hole = mask
        return grown[len(stack) :]

    def _scene(
        self, stack: list[_Aligned], removed: list[np.ndarray], shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scene in the window's region, (h, w, 3) uint8, and which pixels of it are seen, (h, w) bool."""
        wanted = np.logical_or.reduce(removed)
        kernel = np.ones((2 * _RING + 5, 2 * _RING + 5), np.uint8)
        wanted = cv2.dilate(wanted.view(np.uint8), kernel).view(bool)
        scene, seen = np.zeros((*shape, 3), np.uint8), np.zeros(shape, bool)
        if stack:
            valid = np.stack([(a.inside & ~a.hole)[wanted] for a in stack])
            found = stack_statistics(np.stack([a.patch[wanted] for a in stack]), valid)
            scene[wanted] = np.rint(found.median).astype(np.uint8)
            seen[wanted] = found.count > 0
        missing = wanted & ~seen
        if missing.any():
            scene = _fill(scene, missing, seen, self._inpaint)
        return scene, seen

    def _fit(
        self, rgb: np.ndarray, H_roi_frame: np.ndarray, removed_roi: np.ndarray, scene: np.ndarray, seen: np.ndarray
    ) -> _Fit:
        """How the scene is laid into a frame, and the light that it needs there."""
        H_frame_roi = invert(H_roi_frame)
        removed = transforms.warp(removed_roi, H_frame_roi, self._size)
        box = bounding_box(removed, _RING) or (0, 0, 1, 1)
        left, top, right, bottom = box
        size = (right - left, bottom - top)
        H_box_roi = compose(translation(-left, -top), H_frame_roi)
        plate = transforms.warp(scene, H_box_roi, size, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        known = transforms.warp(seen, H_box_roi, size)
        light = _light(rgb[top:bottom, left:right], plate, removed[top:bottom, left:right], known)
        return _Fit(H_frame_roi, np.packbits(removed, axis=-1), box, light)


def plate_frames(
    frames: Iterable[tuple[int, np.ndarray]],
    grid_frames: Iterable[tuple[int, np.ndarray]],
    builder: PlateBuilder,
) -> Iterator[PlateFrame]:
    """The plate of every frame of a clip, in order.

    Parameters
    ----------
    frames:
        (index, (H, W, 3) uint8) of every frame, in order.
    grid_frames:
        The same for the frames of ``builder.grid``. It runs ahead of ``frames`` by up to ``reach`` frames and is read
        step by step, so the two must be independent readers of the clip.
    builder:
        What makes the plate.
    """
    source, ahead = iter(frames), iter(grid_frames)
    held: dict[int, np.ndarray] = {}
    grid: dict[int, np.ndarray] = {}
    previous: WindowPlate | None = None
    previous_window: Window | None = None
    for window in builder.windows:
        while window.stop - 1 not in held:
            index, rgb = next(source)
            held[index] = rgb
        near = builder.candidates(window)
        grid = {index: rgb for index, rgb in grid.items() if index >= near[0]} if len(near) else {}
        while len(near) and near[-1] not in grid:
            index, rgb = next(ahead)
            grid[index] = rgb
        plate = builder.build(window, held, ((int(i), grid[int(i)]) for i in builder.sample_indices(window)))
        for t in range(window.start, window.end):
            rgb = held.pop(t)
            fades = previous is not None and previous_window is not None and t < previous_window.stop
            yield _plate_frame(t, rgb, plate, previous if fades else None, previous_window)
        previous, previous_window = plate, window


def _plate_frame(
    t: int, rgb: np.ndarray, plate: WindowPlate, previous: WindowPlate | None, previous_window: Window | None
) -> PlateFrame:
    """One frame, faded over from the previous window where the two overlap."""
    if t not in plate:
        return PlateFrame(t, rgb, np.zeros(rgb.shape[:2], bool), 1.0)
    result, removed = plate.frame(t, rgb), plate.removal_mask(t)
    if previous is not None and previous_window is not None and t in previous:
        weight = (t - previous_window.end + 1) / (previous_window.stop - previous_window.end + 1)
        result = cv2.addWeighted(result, weight, previous.frame(t, rgb), 1 - weight, 0)
        removed = removed | previous.removal_mask(t)
        result[~removed] = rgb[~removed]
    return PlateFrame(t, result, removed, plate.seen(t))


def _interpolated(corrections: dict[int, np.ndarray], wanted: Iterable[int]) -> dict[int, np.ndarray]:
    """Corrections between measured frames, linearly: what the camera path lacks changes slowly."""
    at = np.array(sorted(corrections))
    values = np.stack([corrections[int(t)] for t in at]).reshape(-1, 9)
    frames = np.array(sorted(wanted))
    between = np.stack([np.interp(frames, at, column) for column in values.T], axis=-1).reshape(-1, 3, 3)
    return dict(zip(frames.tolist(), between, strict=True))


def _cut_windows(count: int, length: int, fade: int) -> tuple[Window, ...]:
    pieces = -(-count // length)
    cuts = [count * i // pieces for i in range(pieces + 1)]
    return tuple(Window(cuts[i], cuts[i + 1], min(cuts[i + 1] + fade, count)) for i in range(pieces))


def _shrunk(aligned: _Aligned, size: tuple[int, int]) -> _Aligned:
    def little(mask: np.ndarray) -> np.ndarray:
        return cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).view(bool)

    patch = cv2.resize(aligned.patch, size, interpolation=cv2.INTER_AREA)
    return _Aligned(aligned.H_roi_frame, patch, little(aligned.hole), little(aligned.inside))


def _match_exposure(sample: _Aligned, reference: _Aligned) -> None:
    """Bring a sample to the reference's exposure, in place: one gain a channel, from what both show of the scene."""
    both = sample.inside & reference.inside & ~sample.hole & ~reference.hole
    a, b = sample.patch[::4, ::4][both[::4, ::4]], reference.patch[::4, ::4][both[::4, ::4]]
    usable = ((a > 16) & (a < 240) & (b > 16) & (b < 240)).all(axis=-1)
    if np.count_nonzero(usable) < 200:
        return
    gain = np.median(b[usable] / a[usable].astype(np.float32), axis=0)
    if np.abs(gain - 1).max() > 0.004 and np.abs(gain - 1).max() < 0.5:
        table = np.clip(np.arange(256)[:, None] * gain + 0.5, 0, 255).astype(np.uint8)
        sample.patch = cv2.LUT(sample.patch, table.reshape(256, 1, 3))


def _warp_with_field(
    rgb: np.ndarray, H_roi_frame: np.ndarray, field: np.ndarray, size: tuple[int, int], interpolation: int
) -> np.ndarray:
    """Warp a frame into the region, with a smooth displacement on top of the transform."""
    move = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR)
    x = move[..., 0] + np.arange(size[0], dtype=np.float32)
    y = move[..., 1] + np.arange(size[1], dtype=np.float32)[:, None]
    (a, b, c), (d, e, f), _ = invert(H_roi_frame).astype(np.float32)
    return cv2.remap(rgb, a * x + b * y + c, d * x + e * y + f, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _without_misfits(stack: list[_Aligned], reference: _Aligned) -> list[_Aligned]:
    """Drop samples that do not lie well over the reference: wrongly aligned, or another shot altogether."""
    misfit = np.full(len(stack), np.inf)
    for i, sample in enumerate(stack):
        both = (sample.inside & reference.inside & ~sample.hole & ~reference.hole)[::2, ::2]
        if np.count_nonzero(both) > 100:
            difference = cv2.absdiff(sample.patch[::2, ::2], reference.patch[::2, ::2])
            misfit[i] = float(largest_channel(difference)[both].mean())
    if not np.isfinite(misfit).any():
        return stack
    limit = max(_MISFIT_LEVELS, 2.0 * float(np.quantile(misfit[np.isfinite(misfit)], 0.3)))
    return [sample for sample, value in zip(stack, misfit, strict=True) if value <= limit]


def _fill(scene: np.ndarray, missing: np.ndarray, seen: np.ndarray, method: Inpaint) -> np.ndarray:
    """Inpaint what no sample shows, inside the box of the missing pixels."""
    box = bounding_box(missing, 8)
    if box is None or not seen.any():
        return scene
    left, top, right, bottom = box
    part = (slice(top, bottom), slice(left, right))
    filled = scene.copy()
    filled[part] = cv2.inpaint(scene[part], (~seen[part]).astype(np.uint8), 5, _INPAINT[method])
    return filled


def _light(source: np.ndarray, plate: np.ndarray, removed: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Levels to add to the plate so that it meets the frame around the hole.

    The difference in the ring around the hole, without outliers, is carried smoothly into the hole (normalised
    convolution); far from the ring it tends to the ring's mean.

    Returns
    -------
    (rows, columns, 3) float32 over the box.
    """
    ring = cv2.dilate(removed.view(np.uint8), np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)).view(bool)
    difference = source.astype(np.float32) - plate
    use = ring & ~removed & known & (largest_channel(np.abs(difference)) < 24)
    rows, columns = _LIGHT_GRID
    if np.count_nonzero(use) < 50:
        return np.zeros((rows, columns, 3), np.float32)
    mean = difference[use].mean(axis=0)
    weight = cv2.resize(use.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(use[..., None], difference - mean, 0), (columns, rows), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(np.dstack([total, weight]), (0, 0), 1.2, borderType=cv2.BORDER_REFLECT)
    return blurred[..., :3] / (blurred[..., 3:] + 0.05) + mean


def _smooth_light(fits: dict[int, _Fit]) -> None:
    """Average the light correction over three frames, in place, so that it cannot flicker."""
    raw = {t: fit.light for t, fit in fits.items()}
    for t, fit in fits.items():
        fit.light = np.mean([raw[i] for i in (t - 1, t, t + 1) if i in raw], axis=0).astype(np.float32)


def _feather(removed: np.ndarray) -> np.ndarray:
    """(h, w) float32 weight of the plate: 0 outside the mask, rising to 1 within about 3 pixels inside it."""
    inner = cv2.erode(removed.astype(np.float32), np.ones((3, 3), np.uint8), borderValue=1.0)
    return np.where(removed, np.maximum(cv2.blur(inner, (3, 3)), 0.34), 0.0)
