"""The plate: the scene without the person, frame by frame, in source pixels.

The clip is handled in windows. What the person hides in a window is looked up in frames around it that show the place:
they are warped along the camera's path into one reference frame of the window, refined there against it, and
the median of what is not on the person is the scene. Where no frame shows the place, the hole is inpainted. For each frame
the scene is warped back, its light is matched to the frame around the hole, and only pixels of the hole are replaced.

Memory is bounded by the settings, not by the length of the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import cv2
import numpy as np

from core.types import CameraPath, PersonTrack
from utils import transforms
from utils.aligned_median import alignment_points, refine_alignment
from utils.removal_mask import bounding_box, dilation_px, person_hole
from utils.scene_draft import SceneDraft
from utils.scene_fill import FAR, LEAST_SAMPLES, Inpaint, fill_unseen, median_by_level
from utils.scene_light import light_difference, with_gain
from utils.scene_region import Box, Placement, View, enclosing, scaled, view
from utils.transforms import compose, invert, translation
from utils.window_plate import FrameFit, PlateFrame, Window, WindowPlate

#: Side of the coarse cells in which samples are chosen, pixels.
_CELL = 8
#: Width of the ring around a hole in which the light is compared, pixels.
_RING = 14
#: Things that move with the person reach this far from it, as a share of its height (a racket).
_BAND = 0.4
#: A mask smaller than this share of the usual size in so many neighbours on either side has lost part of the person.
_MASK_SHRUNK = 0.7
_MASK_NEIGHBOURS = 5
#: Height of the person, in pixels, in the pictures in which frames are aligned and in the draft of the scene.
_ALIGN_HEIGHT = 360.0
_DRAFT_HEIGHT = 200.0
#: A frame this far away counts a third of one close by: the farther, the less it fits (parallax, light).
_NEAR = 75.0
#: Within a window every so many frames are aligned with the reference; the others lie between.
_ALIGN_EVERY = 6


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
        samples: int = 20,
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
        self._align_scale = min(1.0, _ALIGN_HEIGHT / max(track.height_px, 1.0))
        self._draft_scale = min(0.5, _DRAFT_HEIGHT / max(track.height_px, 1.0))
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
        # A cell that is shown only close to the person counts, but less than one well off it.
        bare = [person_hole(self._track, int(t), 1) for t in candidates]
        shown = np.stack([cells(t, ~self._hole(t))[wanted] for t in candidates]) * np.float32(0.7)
        shown += np.stack([cells(t, ~mask)[wanted] for t, mask in zip(candidates, bare, strict=True)]) * np.float32(0.3)
        nearness = np.exp(-np.abs(candidates - window.reference) / _NEAR) * _mask_trust(bare)
        times = np.zeros(shown.shape[1])
        chosen: list[int] = []
        for _ in range(min(self._samples, len(candidates))):
            gain = (shown @ np.exp(-0.4 * times) + 1e-3) * nearness
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
            return WindowPlate(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), bool), {}, self._size[0])
        stack = dict(samples)
        placements = self._placements(window, region, {**{t: frames[t] for t in (*hidden, window.reference)}, **stack})

        def drafted(t: int, rgb: np.ndarray) -> View:
            return view(placements[t], rgb, self._hole(t), self._draft_scale, cv2.INTER_LINEAR)

        draft = SceneDraft(drafted(window.reference, frames[window.reference]), self._draft_scale)
        for t, rgb in stack.items():
            draft.add(t, rgb, self._hole(t), placements[t])
        draft.settle()
        if self._moving:
            draft.align_to_scene()
        views = {t: drafted(t, frames[t]) for t in hidden}
        grown = {t: draft.grown_hole(shown, self._reach_draft()) for t, shown in views.items()}
        scene, seen = self._scene(draft, stack, grown, (region[2] - region[0], region[3] - region[1]))
        lights = self._lights(scene, seen, views, grown)
        fits = {}
        for t, mask in hidden.items():
            added = grown[t] & ~views[t].hole
            box = bounding_box(mask, self._band())
            if added.any() and box is not None:
                left, top, right, bottom = box
                mask[top:bottom, left:right] |= placements[t].to_frame(added, box, self._draft_scale)
            fits[t] = FrameFit(placements[t], np.packbits(mask, axis=-1), lights[t])
        return WindowPlate(scene, seen, fits, self._size[0])

    def _hole(self, t: int) -> np.ndarray:
        """(H, W) bool, the grown person mask; the most recent ones are kept."""
        if t not in self._holes:
            if len(self._holes) > 128:
                self._holes.pop(next(iter(self._holes)))
            self._holes[t] = np.packbits(person_hole(self._track, t, self._radius), axis=-1)
        return np.unpackbits(self._holes[t], axis=-1, count=self._size[0]).view(bool)

    def _band(self) -> int:
        """How far around the person things are looked for that move with it, pixels."""
        return int(_BAND * self._track.height_px) + _RING

    def _reach_draft(self) -> int:
        return int(self._band() * self._draft_scale)

    def _region(self, window: Window, hidden: Mapping[int, np.ndarray], margin: int) -> Box | None:
        """Box in pixels of the reference frame around all holes, with a margin; None where there is no hole."""
        outlines = []
        for t, mask in hidden.items():
            box = bounding_box(mask, margin)
            if box is not None:
                left, top, right, bottom = box
                outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
                outlines.append(transforms.apply(self._H_region_frame(t, window, (0, 0, 0, 0)), outline))
        return enclosing(outlines)

    def _H_region_frame(self, t: int, window: Window, region: Box) -> np.ndarray:
        H_reference_frame = compose(self._H_frame_first[window.reference], invert(self._H_frame_first[t]))
        return compose(translation(-region[0], -region[1]), H_reference_frame)

    def _placements(self, window: Window, region: Box, needed: Mapping[int, np.ndarray]) -> dict[int, Placement]:
        """How each of the frames lies in the region.

        A similarity a frame pair cannot describe perspective and parallax, and drifts over long spans. So frames are
        aligned with the reference itself; the walk goes outwards from it and each frame starts from its neighbour's
        correction, so that only little is left to find. Frames between aligned ones get what lies between.
        """
        size = (region[2] - region[0], region[3] - region[1])
        rough = {t: self._H_region_frame(t, window, region) for t in needed}
        if not self._moving:
            return {t: Placement(H, size) for t, H in rough.items()}
        at = window.reference
        reference = self._grey_view(Placement(rough[at], size), needed[at], at)
        points = alignment_points(reference.patch, reference.shown)
        cells = scaled(size, 1 / 16)
        to_aligned = transforms.scaling(self._align_scale)
        corrections = {at: np.eye(3)}
        fields = {at: np.zeros((cells[1], cells[0], 2), np.float32)}
        measured = [t for t in needed if (t - at) % _ALIGN_EVERY == 0 or not window.start <= t < window.stop]
        for side in (sorted(t for t in measured if t > at), sorted((t for t in measured if t < at), reverse=True)):
            carried, field = np.eye(3), fields[at]
            for t in side:
                shown = self._grey_view(Placement(compose(carried, rough[t]), size), needed[t], t)
                found = refine_alignment(reference.patch, shown.patch, shown.shown, points)
                if found is not None:
                    matrix = compose(invert(to_aligned), found.matrix, to_aligned)
                    carried, field = compose(matrix, carried), found.field(cells) / np.float32(self._align_scale)
                corrections[t], fields[t] = carried, field
        matrices, moves = _interpolated(corrections, needed), _interpolated(fields, needed)
        return {t: Placement(compose(matrices[t], rough[t]), size, moves[t]) for t in needed}

    def _grey_view(self, placement: Placement, rgb: np.ndarray, t: int) -> View:
        return view(
            placement, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), self._hole(t), self._align_scale, cv2.INTER_LINEAR
        )

    def _scene(
        self, draft: SceneDraft, stack: Mapping[int, np.ndarray], grown: Mapping[int, np.ndarray], size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scene in the region, (h, w, 3) uint8, and which pixels of it are seen, (h, w) bool."""
        ring = np.ones((2 * int(_RING * self._draft_scale) + 5,) * 2, np.uint8)
        wanted = cv2.dilate(np.logical_or.reduce(list(grown.values())).view(np.uint8), ring)
        wanted = cv2.resize(wanted, size, interpolation=cv2.INTER_NEAREST).view(bool)
        box = bounding_box(wanted) or (0, 0, 1, 1)
        part = (slice(box[1], box[3]), slice(box[0], box[2]))
        inner = wanted[part]
        scene, seen = np.zeros((size[1], size[0], 3), np.uint8), np.zeros((size[1], size[0]), bool)
        patches, levels = [], []
        for t, mask in draft.grown_samples(self._reach_draft()).items():
            full = view(draft.placements[t], stack[t], self._hole_levels(t), 1.0, cv2.INTER_CUBIC, box)
            on_person = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST)[part][inner]
            patches.append(with_gain(full.patch[inner][None], draft.gains[t])[0])
            level = full.level[inner]
            levels.append(np.where((on_person > 0) & (level < 2), len(LEAST_SAMPLES), level))
        if patches:
            scene[wanted], seen[wanted] = median_by_level(np.stack(patches), np.stack(levels))
        return fill_unseen(scene, wanted & ~seen, seen, self._inpaint), seen

    def _hole_levels(self, t: int) -> np.ndarray:
        """(H, W) uint8: 0 far off the person, and one more for each of the nested masks that a pixel is within."""
        mask = self._track.mask(t)
        if not mask.any():
            return mask.view(np.uint8)
        distance = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 3)
        far = self._radius + FAR * self._track.height_px
        nested = (far, self._radius, 0.5 * self._radius, 0.15 * self._radius)
        return sum(((distance <= radius).view(np.uint8) for radius in nested), start=np.zeros(mask.shape, np.uint8))

    def _lights(
        self,
        scene: np.ndarray,
        seen: np.ndarray,
        views: Mapping[int, View],
        grown: Mapping[int, np.ndarray],
    ) -> dict[int, np.ndarray]:
        """(h, w, 3) float32 at a quarter of the region's size by frame: levels that the scene needs to meet the frame.

        Averaged over three frames, so that the plate cannot flicker.
        """
        size = scaled((scene.shape[1], scene.shape[0]), 0.25)
        little = cv2.resize(scene, size, interpolation=cv2.INTER_AREA)
        known = cv2.resize(seen.view(np.uint8), size, interpolation=cv2.INTER_AREA) == 1
        ring = np.ones((_RING // 4 * 2 + 1, _RING // 4 * 2 + 1), np.uint8)
        raw = {}
        for t, shown in views.items():
            source = cv2.resize(shown.patch, size, interpolation=cv2.INTER_AREA)
            hole = cv2.resize(grown[t].view(np.uint8), size, interpolation=cv2.INTER_AREA)
            hole = cv2.dilate(hole, np.ones((3, 3), np.uint8))
            inside = cv2.resize(shown.inside.view(np.uint8), size, interpolation=cv2.INTER_AREA) == 1
            around = (cv2.dilate(hole, ring) > 0) & (hole == 0) & known & inside
            raw[t] = light_difference(source, little, around)
        return {t: np.mean([raw[i] for i in (t - 1, t, t + 1) if i in raw], axis=0) for t in raw}


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


def _interpolated(measured: Mapping[int, np.ndarray], wanted: Iterable[int]) -> dict[int, np.ndarray]:
    """Arrays between measured frames, linearly: what the camera path lacks changes slowly."""
    known = np.array(sorted(measured))
    result = {}
    for t in wanted:
        after = min(int(np.searchsorted(known, t)), len(known) - 1)
        before = after if known[after] <= t else max(after - 1, 0)
        a, b = int(known[before]), int(known[after])
        weight = (t - a) / (b - a) if b > a else 0.0
        result[t] = (1 - weight) * measured[a] + weight * measured[b]
    return {t: value.astype(measured[int(known[0])].dtype) for t, value in result.items()}


def _cut_windows(count: int, length: int, fade: int) -> tuple[Window, ...]:
    pieces = -(-count // length)
    cuts = [count * i // pieces for i in range(pieces + 1)]
    return tuple(Window(cuts[i], cuts[i + 1], min(cuts[i + 1] + fade, count)) for i in range(pieces))


def _mask_trust(masks: list[np.ndarray]) -> np.ndarray:
    """(N,) float64: 1, or little for frames whose mask is much smaller than their neighbours': part of the person is
    missing from it, and would be taken for scene."""
    areas = np.array([np.count_nonzero(mask) for mask in masks], np.float64)
    around = np.pad(areas, _MASK_NEIGHBOURS, mode="reflect" if len(areas) > _MASK_NEIGHBOURS else "edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * _MASK_NEIGHBOURS + 1), axis=-1)
    return np.where(areas < _MASK_SHRUNK * usual, 0.02, 1.0)
