"""Pass 2, segment by segment: draw the new person and put it into the shot.

Each stage takes the shot and a :class:`Chunk` of consecutive frames and fills in the chunk's next fields.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import cv2
import numpy as np

from core.errors import StageError
from core.types import COCO_FROM_LANDMARKS, ControlMaps, FootContacts, GenerationRequest, GenerationResult, Segment
from models.controls import ControlSource, depth_reach, installed_depth_network, make_controls
from models.generators.base import LoadProgress
from models.memory import release_cuda_cache
from pipelines.replace.checkpoints import Patch
from pipelines.replace.shot import Shot
from utils import transforms
from utils.compositing import Finish, Layer
from utils.compositing import composite as draw_composite
from utils.foot_lock import FootLock
from utils.motion_blur import motion_blur
from utils.optical_flow import TemporalSteadier
from utils.person_crop import crop, crop_boxes


@dataclass
class SegmentState:
    """What is remembered from frame to frame inside one segment; made anew at every segment start."""

    segment: Segment
    boxes: np.ndarray
    """(len(segment), 4) int32 crop windows, in source or stabilised pixels as the engine draws."""
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
    return SegmentState(segment, windows, steadier, FootLock(shot.settings.foot_lock_strength), given or {})


def _person_boxes(shot: Shot) -> np.ndarray:
    """(T, 4) boxes around the old person and, where it is fitted, the new body, in source pixels."""
    track, _, _ = shot.found
    boxes = track.xyxy.astype(np.float64)
    if shot.body is not None:
        points = shot.body.keypoints @ shot.body.intrinsics.T
        pixels = points[..., :2] / np.maximum(points[..., 2:], 1e-3)
        fitted = shot.body.valid
        boxes[fitted, :2] = np.fmin(boxes[fitted, :2], pixels[fitted].min(axis=1))
        boxes[fitted, 2:] = np.fmax(boxes[fitted, 2:], pixels[fitted].max(axis=1))
    return boxes


def chunks(shot: Shot, state: SegmentState, frames: Iterator[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[Chunk]:
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


# -- the stages ----------------------------------------------------------------------------------------------------


def control(shot: Shot, chunk: Chunk) -> None:
    """Cut the crops and make the request, with the control maps that the engine asks for, and only those."""
    track = shot.found[0]
    needs = shot.engine.capabilities
    state = chunk.state
    windows = state.boxes[chunk.start - state.segment.start :][: len(chunk.sources)]
    size = (int(windows[0, 2] - windows[0, 0]), int(windows[0, 3] - windows[0, 1]))
    H_crop = np.stack([_H_crop(shot, state, t) for t in chunk.frames])
    masks = [track.mask(frame) for frame in chunk.frames]
    if needs.draws_in == "stable":
        cut = [partial(_warped, H=H, size=size) for H in H_crop]
    else:
        cut = [partial(crop, box=window) for window in windows]
    frames = np.stack([c(f) for c, f in zip(cut, chunk.sources, strict=True)])
    plate = (
        np.stack([c(f) for c, f in zip(cut, chunk.plates, strict=True)]) if chunk.plates and needs.needs_plate else None
    )
    count = len(chunk.sources)
    body, motion_body = None, None
    if shot.body is not None:
        body = shot.body.window(chunk.start, chunk.start + count)
        motion_body = shot.body.at(np.clip(np.arange(chunk.start - 1, chunk.start + count + 1), 0, len(shot.body) - 1))
    chunk.request = GenerationRequest(
        start=chunk.start,
        frames=frames,
        masks=np.stack([c(m.astype(np.uint8)) > 0 for c, m in zip(cut, masks, strict=True)]),
        H_crop_source=H_crop,
        seed=shot.settings.seed,
        plate=plate,
        body=body,
        motion_body=motion_body,
        shot=shot.look,
        carried=state.carried,
        given=_given(chunk, cut),
        landmarks=_in_crop(track.landmarks[chunk.start : chunk.start + count], H_crop),
    )
    chunk.request = replace(chunk.request, controls=_control_maps(shot, chunk.request))


def _given(chunk: Chunk, cut: Sequence[Callable[[np.ndarray], np.ndarray]]) -> np.ndarray | None:
    """(K, H, W, 3) the finished pictures of the chunk's first frames in crop pixels, where the segment before drew them."""
    pictures = []
    for source, frame, into_crop in zip(chunk.sources, chunk.frames, cut, strict=True):
        if frame not in chunk.state.given:
            break
        picture, patch = source, chunk.state.given[frame]
        if patch is not None:
            picture = source.copy()
            patch.paste(picture)
        pictures.append(into_crop(picture))
    return np.stack(pictures) if pictures else None


def _in_crop(landmarks: np.ndarray, H_crop: np.ndarray) -> np.ndarray:
    """(N, 33, 4) landmarks of source pixels in crop pixels."""
    moved = landmarks.copy()
    for row, H in zip(moved, H_crop, strict=True):
        row[:, :2] = transforms.apply(H, row[:, :2])
    return moved


def _warped(image: np.ndarray, H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # Lanczos keeps the most detail on the way there and back.
    return transforms.warp(image, H, size, interpolation=cv2.INTER_LANCZOS4)


def _control_maps(shot: Shot, request: GenerationRequest) -> ControlMaps | None:
    names = shot.engine.capabilities.controls
    if not names:
        return None
    assert request.landmarks is not None
    source = ControlSource(
        request.frames,
        request.landmarks[:, COCO_FROM_LANDMARKS][..., [0, 1, 3]],
        scale=shot.settings.generation_size / max(request.masks.shape[1:]),
        body=request.body,
        H_crop_source=request.H_crop_source,
        masks=request.masks,
        reach=None if shot.body is None else depth_reach(shot.body),
        find_network=installed_depth_network,
    )
    return make_controls(names, source)


def generate(shot: Shot, chunk: Chunk) -> None:
    """Have the engine draw, padded to a number of frames that it accepts; the padding is dropped again."""
    assert chunk.request is not None
    count = len(chunk.request)
    wanted = shot.engine.capabilities.frame_rule.round_up(count)
    request = _padded(chunk.request, wanted - count) if wanted > count else chunk.request
    result = shot.engine.generate(request, chunk.step)
    for warning in result.warnings:
        shot.run.warn(warning)
    if len(result.frames) != wanted:
        raise StageError("generate", f"{result.engine} gave {len(result.frames)} frames for {wanted}", chunk.start)
    keep = slice(0, count)
    chunk.result = replace(
        result,
        frames=result.frames[keep],
        alpha=result.alpha[keep],
        shadow=None if result.shadow is None else result.shadow[keep],
        motion=None if result.motion is None else result.motion[keep],
    )
    carried = shot.engine.capabilities.carried_frames
    if carried:
        chunk.state.carried = chunk.result.frames[-carried:].copy()


def _padded(request: GenerationRequest, extra: int) -> GenerationRequest:
    """The request with its last frame repeated."""

    def repeat(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, np.repeat(array[-1:], extra, axis=0)])

    rows = np.minimum(np.arange(len(request) + extra), len(request) - 1)
    motion_rows = np.minimum(np.arange(len(request) + extra + 2), len(request) + 1)
    return replace(
        request,
        frames=repeat(request.frames),
        masks=repeat(request.masks),
        H_crop_source=repeat(request.H_crop_source),
        plate=None if request.plate is None else repeat(request.plate),
        body=None if request.body is None else request.body.at(rows),
        motion_body=None if request.motion_body is None else request.motion_body.at(motion_rows),
        landmarks=None if request.landmarks is None else repeat(request.landmarks),
        controls=None
        if request.controls is None
        else ControlMaps({k: repeat(v) for k, v in request.controls.maps.items()}),
    )


def temporal(shot: Shot, chunk: Chunk) -> None:
    """Steady the layer with the previous result along the footage's motion, for engines that flicker."""
    assert chunk.request is not None and chunk.result is not None
    if shot.engine.capabilities.steady or shot.settings.temporal_strength == 0:
        return
    state = chunk.state
    if state.last_frame is not None and state.last_frame != chunk.start - 1:
        state.steadier.reset()
    camera = shot.found[2]
    frames, alphas = [], []
    for i, frame in enumerate(chunk.frames):
        H_this_last = _motion_between(camera.H_next_source, chunk.request.H_crop_source[i], state.H_last_source, frame)
        rgb, alpha = state.steadier.update(
            chunk.request.frames[i], chunk.result.frames[i], chunk.result.alpha[i], H_this_last
        )
        frames.append(rgb)
        alphas.append(alpha)
        state.last_frame, state.H_last_source = frame, chunk.request.H_crop_source[i]
    chunk.result = replace(chunk.result, frames=np.stack(frames), alpha=np.stack(alphas))


def _motion_between(H_next_source: np.ndarray, H_crop: np.ndarray, H_last: np.ndarray | None, frame: int) -> np.ndarray:
    """(3, 3) scene motion from the previous frame's crop pixels to this frame's."""
    if H_last is None:
        return np.eye(3)
    return transforms.compose(H_crop, H_next_source[frame - 1], transforms.invert(H_last))


def foot_lock(shot: Shot, chunk: Chunk) -> None:
    """Hold standing feet in the picture, for engines that draw pixels; where a body is drawn, its fit has done it."""
    assert chunk.request is not None and chunk.result is not None
    if shot.engine.capabilities.holds_feet or not shot.settings.foot_lock or shot.contacts is None:
        return
    if not chunk.plates:
        # Nothing is behind a foot that moves away but the old one.
        return
    _, pose, camera = shot.found
    contacts: FootContacts = shot.contacts
    frames, alphas = [], []
    for i, frame in enumerate(chunk.frames):
        H_crop = chunk.request.H_crop_source[i]
        H_layer_previous = None
        if frame > chunk.state.segment.start and pose.present[frame - 1]:
            # The crop of the frame before: the same state's window, so that chunks do not show.
            before = _H_crop(shot, chunk.state, frame - 1)
            H_layer_previous = transforms.compose(H_crop, camera.H_next_source[frame - 1], transforms.invert(before))
        landmarks = transforms.apply(H_crop, pose.landmarks[frame, :, :2])
        rgb, alpha = chunk.state.foot_lock.hold(
            chunk.result.frames[i], chunk.result.alpha[i], landmarks, contacts.contact[frame], H_layer_previous
        )
        frames.append(rgb)
        alphas.append(alpha)
    chunk.result = replace(chunk.result, frames=np.stack(frames), alpha=np.stack(alphas))


def _H_crop(shot: Shot, state: SegmentState, frame: int) -> np.ndarray:
    """(3, 3) float64: source pixels of a frame -> pixels of its crop."""
    x0, y0, _, _ = state.boxes[frame - state.segment.start]
    H = transforms.translation(-float(x0), -float(y0))
    if shot.engine.capabilities.draws_in == "stable":
        H = H @ shot.found[2].H_stable_source[frame]
    return H


def reshake(shot: Shot, chunk: Chunk) -> None:
    """Bring the new layer, and it alone, back to source pixels; blur it along its motion."""
    assert chunk.request is not None and chunk.result is not None
    for i in range(len(chunk.sources)):
        rgb, alpha = chunk.result.frames[i], chunk.result.alpha[i]
        if chunk.result.motion is not None and shot.settings.shutter > 0:
            rgb, alpha = motion_blur(rgb, alpha, chunk.result.motion[i], shot.settings.shutter)
        shadow = None if chunk.result.shadow is None else chunk.result.shadow[i]
        chunk.layers.append(_in_source(rgb, alpha, shadow, chunk.request.H_crop_source[i]))


def _in_source(rgb: np.ndarray, alpha: np.ndarray, shadow: np.ndarray | None, H_crop_source: np.ndarray) -> Layer:
    """A layer drawn in crop pixels as a layer in source pixels."""
    height, width = alpha.shape
    shift = -H_crop_source[:2, 2]
    if np.array_equal(H_crop_source[:, :2], np.eye(3)[:, :2]) and np.array_equal(shift, np.rint(shift)):
        x0, y0 = (int(v) for v in shift)
        return Layer(rgb, alpha, (x0, y0, x0 + width, y0 + height), shadow)
    H_source_crop = transforms.invert(H_crop_source)
    corners = transforms.apply(H_source_crop, transforms.corners((width, height)))
    x0, y0 = (int(v) for v in np.floor(corners.min(axis=0)))
    x1, y1 = (int(v) + 1 for v in np.ceil(corners.max(axis=0)))
    H_box_crop = transforms.translation(-x0, -y0) @ H_source_crop
    size = (x1 - x0, y1 - y0)
    colour = transforms.warp(rgb, H_box_crop, size, interpolation=cv2.INTER_LANCZOS4, border=cv2.BORDER_REPLICATE)
    cover = np.clip(transforms.warp(alpha, H_box_crop, size), 0, 1)
    shade = None if shadow is None else transforms.warp(shadow, H_box_crop, size, border=cv2.BORDER_REPLICATE)
    return Layer(colour, cover, (x0, y0, x1, y1), shade)


def composite(shot: Shot, chunk: Chunk) -> None:
    """New body over plate over the original frame; light, grain and blur of the shot; only what changes is kept."""
    # The plate is feathered into the source already.
    finish = Finish(feather=0)
    if not shot.engine.capabilities.matches_shot and shot.look is not None:
        grain = shot.look.grain if shot.settings.grain else 0.0
        finish = Finish(feather=0, grain=grain, blur=shot.look.blur, seed=shot.settings.seed)
    for i, frame in enumerate(chunk.frames):
        if frame in chunk.state.given:
            patch = chunk.state.given[frame]
            if patch is not None:
                chunk.patches[frame] = patch
            continue
        source = chunk.sources[i]
        plate = chunk.plates[i] if chunk.plates else source
        nothing = np.zeros(source.shape[:2], bool)
        removal = shot.removal.mask(frame) if shot.removal is not None and chunk.plates else nothing
        picture = draw_composite(
            source,
            plate,
            chunk.layers[i],
            removal_mask=removal,
            frame=frame,
            finish=finish,
            occluder=occluder(shot, frame),
        )
        patch = _difference(source, picture, chunk.layers[i])
        if patch is not None:
            chunk.patches[frame] = patch


def occluder(shot: Shot, frame: int) -> np.ndarray | None:
    """(H, W) float32 soft mask of what stands in front of the person, or ``None``."""
    if shot.occluders is None or not shot.occluders.any(frame):
        return None
    blur = max(0.7, shot.look.blur if shot.look is not None else 0.0)
    return cv2.GaussianBlur(shot.occluders.mask(frame).astype(np.float32), (0, 0), blur)


def _difference(source: np.ndarray, picture: np.ndarray, layer: Layer) -> Patch | None:
    """The box of what changed and of the new person, with the new person's alpha inside it."""
    height, width = source.shape[:2]
    left, top = layer.box[:2]
    concerned = cv2.absdiff(source, picture).max(axis=2)
    drawn = crop(layer.alpha, np.array([-left, -top, width - left, height - top]))
    x0, y0, width, height = cv2.boundingRect(cv2.max(concerned, cv2.convertScaleAbs(drawn, alpha=255)))
    if not width or not height:
        return None
    alpha = drawn[y0 : y0 + height, x0 : x0 + width]
    rgb = np.ascontiguousarray(picture[y0 : y0 + height, x0 : x0 + width])
    return Patch((x0, y0, x0 + width, y0 + height), rgb, cv2.convertScaleAbs(alpha, alpha=255))


def release(shot: Shot, chunk: Chunk) -> None:
    """Give back what the frames of this chunk took on the GPU."""
    if shot.settings.release_cuda_cache and release_cuda_cache():
        gc.collect()


Stage = Callable[[Shot, Chunk], None]

#: The stages of pass 2, in order.
PERFORM: tuple[tuple[str, Stage], ...] = (
    ("control", control),
    ("generate", generate),
    ("temporal", temporal),
    ("foot_lock", foot_lock),
    ("reshake", reshake),
    ("composite", composite),
    ("release", release),
)
