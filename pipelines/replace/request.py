"""What the engine is asked for: crops, masks and control maps of a few frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from core.types import COCO_FROM_LANDMARKS, ControlMaps, GenerationRequest
from models.controls import ControlSource, depth_reach, installed_depth_network, make_controls
from pipelines.replace.chunks import Chunk, H_crop_source
from pipelines.replace.ground import GroundFrame
from pipelines.replace.shot import Shot
from utils import transforms
from utils.person_crop import crop


def control(shot: Shot, chunk: Chunk) -> None:
    """Cut the crops and make the request, with the control maps that the engine asks for, and only those."""
    track = shot.found[0]
    needs = shot.engine.capabilities
    state = chunk.state
    windows = state.boxes[chunk.start - state.segment.start :][: len(chunk.sources)]
    size = (int(windows[0, 2] - windows[0, 0]), int(windows[0, 3] - windows[0, 1]))
    H_crop = np.stack([H_crop_source(shot, state, t) for t in chunk.frames])
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
    if shot.ground is not None and shot.look is not None:
        chunk.ground = [shot.ground.frame(t, f, shot.look) for t, f in zip(chunk.frames, chunk.sources, strict=True)]
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
        given=_given(chunk, cut),
        landmarks=_in_crop(track.landmarks[chunk.start : chunk.start + count], H_crop),
        ground=None if state.ground is None else state.ground[chunk.start : chunk.start + count],
        sunlit=_sunlit(chunk.ground, H_crop, size),
    )
    chunk.request = replace(chunk.request, controls=_control_maps(shot, chunk.request))


def _sunlit(ground: Sequence[GroundFrame | None], H_crop: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """(N, H, W) float32 the sun's share of the ground's light in crop pixels; ``None`` where the shot has no cast shadow."""
    if not ground:
        return None
    shares = np.zeros((len(ground), size[1], size[0]), np.float32)
    for share, one, H in zip(shares, ground, H_crop, strict=True):
        if one is not None:
            H_crop_box = transforms.compose(H, transforms.translation(one.box[0], one.box[1]))
            share[:] = transforms.warp(one.sunlit, H_crop_box, size)
    return shares


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


def padded(request: GenerationRequest, extra: int) -> GenerationRequest:
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
        ground=None if request.ground is None else repeat(request.ground),
        sunlit=None if request.sunlit is None else repeat(request.sunlit),
        controls=None
        if request.controls is None
        else ControlMaps({k: repeat(v) for k, v in request.controls.maps.items()}),
    )
