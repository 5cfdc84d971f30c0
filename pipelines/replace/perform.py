"""Pass 2, segment by segment: draw the new person and put it into the shot.

Each stage takes the shot and a :class:`Chunk` of consecutive frames and fills in the chunk's next fields.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from core.errors import StageError
from core.types import FootContacts
from models.memory import release_cuda_cache
from pipelines.replace.checkpoints import Patch
from pipelines.replace.chunks import Chunk, H_crop_source
from pipelines.replace.ground import without_old_shadow
from pipelines.replace.request import control, padded
from pipelines.replace.shot import Shot
from utils import transforms
from utils.compositing import Finish, Layer
from utils.compositing import composite as draw_composite
from utils.motion_blur import motion_blur
from utils.person_crop import crop
from utils.shutter import USUAL_SHUTTER


def generate(shot: Shot, chunk: Chunk) -> None:
    """Have the engine draw, padded to a number of frames that it accepts; the padding is dropped again."""
    assert chunk.request is not None
    # Known only now: the chunk before may have been drawn while this one was prepared.
    chunk.request = replace(chunk.request, carried=chunk.state.carried)
    count = len(chunk.request)
    wanted = shot.engine.capabilities.frame_rule.round_up(count)
    request = padded(chunk.request, wanted - count) if wanted > count else chunk.request
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
            before = H_crop_source(shot, chunk.state, frame - 1)
            H_layer_previous = transforms.compose(H_crop, camera.H_next_source[frame - 1], transforms.invert(before))
        landmarks = transforms.apply(H_crop, pose.landmarks[frame, :, :2])
        rgb, alpha = chunk.state.foot_lock.hold(
            chunk.result.frames[i], chunk.result.alpha[i], landmarks, contacts.contact[frame], H_layer_previous
        )
        frames.append(rgb)
        alphas.append(alpha)
    chunk.result = replace(chunk.result, frames=np.stack(frames), alpha=np.stack(alphas))


def reshake(shot: Shot, chunk: Chunk) -> None:
    """Bring the new layer, and it alone, back to source pixels; blur it along its motion."""
    assert chunk.request is not None and chunk.result is not None
    shutter = _shutter(shot)
    for i in range(len(chunk.sources)):
        rgb, alpha = chunk.result.frames[i], chunk.result.alpha[i]
        if chunk.result.motion is not None and shutter > 0:
            rgb, alpha = motion_blur(rgb, alpha, chunk.result.motion[i], shutter)
        shadow = None if chunk.result.shadow is None else chunk.result.shadow[i]
        chunk.layers.append(_in_source(rgb, alpha, shadow, chunk.request.H_crop_source[i]))


def _shutter(shot: Shot) -> float:
    """Share of the frame time that the shutter is open: the user's, the footage's own, or what is usual."""
    if shot.settings.shutter is not None:
        return shot.settings.shutter
    if shot.look is not None and shot.look.shutter is not None:
        return shot.look.shutter
    return USUAL_SHUTTER


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
        tint = (float(shot.look.cast_tint[0]), float(shot.look.cast_tint[1]), float(shot.look.cast_tint[2]))
        finish = Finish(feather=0, grain=grain, blur=shot.look.blur, seed=shot.settings.seed, shadow_tint=tint)
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
        layer = _relit(chunk, i, removal)
        picture = draw_composite(
            source,
            plate,
            layer,
            removal_mask=removal,
            frame=frame,
            finish=finish,
            occluder=occluder(shot, frame),
        )
        patch = _difference(source, picture, layer)
        if patch is not None:
            chunk.patches[frame] = patch


def _relit(chunk: Chunk, index: int, removal: np.ndarray) -> Layer:
    """A frame's layer, with the old person's cast shadow taken off the ground where the source is shown; it stays where the
    engine draws none in its place."""
    layer = chunk.layers[index]
    ground = chunk.ground[index] if chunk.ground else None
    if ground is None or layer.shadow is None:
        return layer
    return replace(layer, shadow=without_old_shadow(layer.shadow, layer.box, ground, removal))


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

#: The stages of pass 2, in order: before the engine draws, drawing, after it.
PREPARE: tuple[tuple[str, Stage], ...] = (("control", control),)
DRAW: tuple[tuple[str, Stage], ...] = (("generate", generate),)
COMPLETE: tuple[tuple[str, Stage], ...] = (
    ("temporal", temporal),
    ("foot_lock", foot_lock),
    ("reshake", reshake),
    ("composite", composite),
    ("release", release),
)
PERFORM = (*PREPARE, *DRAW, *COMPLETE)
