"""The videos of a mesh: over the footage, beside it, alone, and from all around. Frames are streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np

from models.body.mesh.ground import find_ground
from models.body.mesh.parts import clay_colors, part_colors
from models.body.mesh.turntable import Turntable
from models.body.mesh_rendering import MeshLayer, MeshRenderer
from pipelines.mesh.shot import MeshShot
from pipelines.pictures import resized, save_thumbnail
from utils.mesh_layout import side_by_side, turntable_angles
from utils.video_io import VideoReader, prefetch
from utils.video_writer import VideoWriter

#: Videos that show the footage's frames, in the order in which they are drawn.
FRAMED = ("overlay", "side_by_side", "mesh")
#: Each half of side_by_side.mp4 is at most this wide, pixels.
HALF_WIDTH = 960
#: Seconds in which the turntable's camera goes round once.
TURN_S = 6.0
#: Width of the turntable against its height.
TURNTABLE_SHAPE = 4 / 5


def wanted(shot: MeshShot) -> list[str]:
    """Names of the videos that were asked for."""
    return [name for name in shot.settings.videos.split(",") if name]


def file_of(name: str) -> str:
    """File of a video."""
    return f"{name}.mp4"


def render(shot: MeshShot) -> None:
    """Draw the videos that are not there yet."""
    missing = [name for name in wanted(shot) if not shot.run.has(file_of(name))]
    framed = [name for name in FRAMED if name in missing]
    share = len(framed) / max(len(missing), 1)
    if framed:
        _framed(shot, framed, share)
    if "turntable" in missing:
        _turntable(shot, share)


def _framed(shot: MeshShot, names: list[str], share: float) -> None:
    info, count = shot.info, shot.info.frame_count
    half = _half(info.size)
    sizes = {"overlay": info.size, "side_by_side": (2 * half[0], half[1]), "mesh": info.size}
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(info))
        writers = {name: stack.enter_context(_writer(shot, name, sizes[name])) for name in names}
        # One thread decodes, one draws, this one lays the drawings over the footage and encodes.
        layers = stack.enter_context(closing(prefetch(_layers(shot, reader, "mesh" in names))))
        for index, (source, layer) in enumerate(layers):
            picture = _pictures(source, layer, names, half)
            for name, writer in writers.items():
                writer.write(picture[name])
            shown = picture.get("overlay", picture[names[0]])
            shot.progress.show(index, partial(np.asarray, shown))
            if index == count // 2:
                save_thumbnail(shot.run, shown)
            shot.progress.report("render", share * (index + 1) / count, f"frame {index + 1} of {count}")
    for writer in writers.values():
        for warning in writer.warnings:
            shot.run.warn(warning)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, HALF_WIDTH / size[0])
    return max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2)


def _writer(shot: MeshShot, name: str, size: tuple[int, int]) -> VideoWriter:
    info = shot.info
    audio: dict[str, Any] = {} if name == "mesh" else {"audio_from": info.path}
    return VideoWriter(
        shot.run.file(file_of(name)),
        size,
        info.rate,
        info.time_base,
        info.pts,
        crf=shot.settings.quality,
        color=info.color,
        **audio,
    )


def _albedo(shot: MeshShot) -> np.ndarray:
    """(V, 3) float32, linear RGB: the colour that was asked for."""
    return part_colors(shot.rest) if shot.settings.surface == "parts" else clay_colors(shot.rest)


def _layers(shot: MeshShot, reader: VideoReader, with_ground: bool) -> Iterator[tuple[np.ndarray, MeshLayer]]:
    """Each frame of the footage, without the lens's distortion, and the body that is drawn for it."""
    assert shot.body is not None and shot.look is not None, "stages out of order"
    params = shot.body
    renderer = MeshRenderer(
        shot.rest,
        shot.info.size,
        params.intrinsics,
        shot.look,
        albedo=_albedo(shot),
        edge_samples=shot.settings.edge_samples,
    )
    ground = find_ground(shot.rest, params, float(shot.info.rate)) if with_ground else None
    straight = straightener(shot)
    with closing(prefetch(reader.frames())) as frames:
        for t, frame in enumerate(frames):
            yield straight(frame), renderer.frame(params, t, ground)


def _pictures(source: np.ndarray, layer: MeshLayer, names: list[str], half: tuple[int, int]) -> dict[str, np.ndarray]:
    """One frame's picture for each video."""
    pictures = {}
    if "overlay" in names or "side_by_side" in names:
        # The footage has the person's own shadow already.
        overlay = replace(layer, shadow=None).over(source)
        pictures["overlay"] = overlay
        if "side_by_side" in names:
            pictures["side_by_side"] = side_by_side([resized(source, half), resized(overlay, half)])
    if "mesh" in names:
        pictures["mesh"] = layer.on_grey()
    return pictures


def straightener(shot: MeshShot) -> Callable[[np.ndarray], np.ndarray]:
    """Takes the lens's distortion out of a frame, where it is known: the body is fitted and drawn without."""
    distortion, K = shot.distortion, shot.K
    if distortion is None or K is None:
        return lambda frame: frame
    maps = cv2.initUndistortRectifyMap(K, distortion, np.eye(3), K, shot.info.size, cv2.CV_16SC2)
    return lambda frame: cv2.remap(frame, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _turntable(shot: MeshShot, before: float) -> None:
    assert shot.body is not None and shot.look is not None, "stages out of order"
    count, rate = shot.info.frame_count, float(shot.info.rate)
    height = shot.settings.turntable_height
    size = (round(height * TURNTABLE_SHAPE / 2) * 2, height)
    turntable = Turntable(
        shot.rest,
        shot.body,
        size,
        shot.look,
        rate,
        up=shot.up,
        albedo=_albedo(shot),
        edge_samples=shot.settings.edge_samples,
    )
    angles = turntable_angles(count, max(1.0, round(count / rate / TURN_S)))
    pictures = (turntable.frame(t, float(angle)) for t, angle in enumerate(angles))
    info = shot.info
    with (
        VideoWriter(
            shot.run.file(file_of("turntable")), size, info.rate, info.time_base, info.pts, crf=shot.settings.quality
        ) as writer,
        closing(prefetch(pictures)) as drawn,
    ):
        for index, picture in enumerate(drawn):
            writer.write(picture)
            done = before + (1 - before) * (index + 1) / count
            shot.progress.report("render", done, f"turntable, frame {index + 1} of {count}")
            if index == count // 2 and not shot.run.has("thumbnail.jpg"):
                save_thumbnail(shot.run, picture)
