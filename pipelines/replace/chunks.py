"""A segment's frames in groups for the engine, and what is remembered from group to group."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np

from core.types import GenerationRequest, GenerationResult, Segment
from models.generators.base import LoadProgress
from pipelines.replace.checkpoints import Patch
from pipelines.replace.ground import GroundFrame, ground_heights
from pipelines.replace.shot import Shot
from utils import transforms
from utils.compositing import Layer
from utils.foot_lock import FootLock
from utils.optical_flow import TemporalSteadier
from utils.person_crop import crop_boxes

#: How far past the frame the fitted body may widen the crop window, in parts of the frame's size.
PAST_THE_FRAME = 0.1


@dataclass
class SegmentState:
    """What is remembered from frame to frame inside one segment; made anew at every segment start."""

    segment: Segment
    boxes: np.ndarray
    """(len(segment), 4) int32 crop windows, in source or stabilised pixels as the engine draws."""
    ground: np.ndarray | None
    """(T,) float32 y of the ground under the fitted body in every frame of the clip, metres, camera axes."""
    steadier: TemporalSteadier
    foot_lock: FootLock
    given: dict[int, Patch | None] = field(default_factory=dict)
    """What the segment before has drawn of the first frames, for engines that continue from it: these stay as they are."""
    carried: np.ndarray | None = None
    """(C, H, W, 3) uint8, the last results, for engines that continue from them."""
    last_frame: int | None = None
    """The frame that was drawn before, if it was the one just before this chunk's first."""
    H_last_source: np.ndarray | None = None
    """(3, 3) its ``H_crop_source``."""


@dataclass
class Chunk:
    """Consecutive frames with the person in them, on their way through the stages."""

    state: SegmentState
    start: int
    sources: list[np.ndarray]
    """N frames, (H, W, 3) uint8."""
    plates: list[np.ndarray] | None
    """N frames of the plate, or ``None``."""
    step: LoadProgress | None = None
    """Told by the engine how far it is with the chunk."""
    request: GenerationRequest | None = None
    result: GenerationResult | None = None
    ground: list[GroundFrame | None] = field(default_factory=list)
    """The light on the ground in each frame, by *control*; empty where the shot has no cast shadow."""
    layers: list[Layer] = field(default_factory=list)
    """The new person in source pixels, by *reshake*."""
    patches: dict[int, Patch] = field(default_factory=dict)
    """What changes in each frame, by *composite*."""

    @property
    def frames(self) -> range:
        """Indices of the chunk's frames."""
        return range(self.start, self.start + len(self.sources))


def begin_segment(shot: Shot, segment: Segment, given: dict[int, Patch | None] | None = None) -> SegmentState:
    """The state at a segment's start: crop windows fixed, everything that remembers reset.

    Parameters
    ----------
    given:
        The first frames as the segment before has drawn them, for engines that carry frames over.
    """
    track, _, camera = shot.found
    boxes = _person_boxes(shot)[segment.start : segment.end].copy()
    boxes[~track.present[segment.start : segment.end]] = np.nan
    if shot.engine.capabilities.draws_in == "stable":
        for row, H in zip(boxes, camera.H_stable_source[segment.start : segment.end], strict=True):
            corners = transforms.apply(H, row[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2))
            row[:] = [*corners.min(axis=0), *corners.max(axis=0)]
    multiple = max(8, shot.engine.capabilities.size_multiple)
    windows = crop_boxes(boxes, margin=shot.engine.capabilities.crop_margin, multiple=multiple)
    steadier = TemporalSteadier(shot.settings.temporal_strength)
    ground = None if shot.body is None else ground_heights(shot.body, float(shot.info.rate))
    return SegmentState(segment, windows, ground, steadier, FootLock(shot.settings.foot_lock_strength), given or {})


def _person_boxes(shot: Shot) -> np.ndarray:
    """(T, 4) boxes around the old person and, where it is fitted, the new body, in source pixels."""
    track, _, _ = shot.found
    boxes = track.xyxy.astype(np.float64)
    if shot.body is not None:
        points = shot.body.keypoints @ shot.body.intrinsics.T
        pixels = points[..., :2] / np.maximum(points[..., 2:], 1e-3)
        # In a close shot the legs are far outside the picture, or beside the camera: nothing is drawn there.
        size = np.array(shot.info.size)
        pixels = np.clip(pixels, -PAST_THE_FRAME * size, (1 + PAST_THE_FRAME) * size)
        fitted = shot.body.valid
        boxes[fitted, :2] = np.fmin(boxes[fitted, :2], pixels[fitted].min(axis=1))
        boxes[fitted, 2:] = np.fmax(boxes[fitted, 2:], pixels[fitted].max(axis=1))
        if shot.ground is not None and shot.look is not None:
            for t in np.flatnonzero(fitted & np.isfinite(boxes[:, 0])):
                boxes[t] = shot.ground.with_shadow(int(t), boxes[t], shot.look)
    return boxes


def chunks(
    shot: Shot, state: SegmentState, frames: Iterator[tuple[np.ndarray, np.ndarray | None]]
) -> Generator[Chunk, None, None]:
    """Cut a segment's (source, plate) frames into groups for the engine; frames without the person are left out."""
    present = shot.found[0].present
    # What was carried over counts as frames of the call: at the segment's start as frames that are given.
    most = shot.engine.capabilities.frames_per_call - shot.engine.capabilities.carried_frames
    first = most + min(len(state.given), shot.engine.capabilities.carried_frames)
    group: list[tuple[np.ndarray, np.ndarray | None]] = []
    start = state.segment.start

    def close() -> Iterator[Chunk]:
        if group:
            plates = [plate for _, plate in group if plate is not None]
            yield Chunk(state, start, [source for source, _ in group], plates or None)
            group.clear()

    for index, pair in enumerate(frames, start=state.segment.start):
        if not present[index] or len(group) == (first if start == state.segment.start else most):
            yield from close()
        if present[index]:
            if not group:
                start = index
            group.append(pair)
    yield from close()


def H_crop_source(shot: Shot, state: SegmentState, frame: int) -> np.ndarray:
    """(3, 3) float64: source pixels of a frame -> pixels of its crop."""
    x0, y0, _, _ = state.boxes[frame - state.segment.start]
    H = transforms.translation(-float(x0), -float(y0))
    if shot.engine.capabilities.draws_in == "stable":
        H = H @ shot.found[2].H_stable_source[frame]
    return H
