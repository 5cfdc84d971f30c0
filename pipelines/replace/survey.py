"""Pass 1: look at the clip. Each stage fills in the shot, and leaves its findings in the run folder for a resumed run.

What a mesh needs too stands in :mod:`pipelines.survey`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import numpy as np

from core.masks import MaskArchive
from core.runs import read_mask_archive
from core.types import BodyMesh, BodyParams, VideoInfo
from models.body.anny_body import AnnyBody
from pipelines.replace.ground import Ground, observe
from pipelines.replace.shot import Shot
from pipelines.survey import body as survey_body
from pipelines.survey import details as survey_details
from pipelines.survey import look as survey_look
from pipelines.survey.frames import ranges
from pipelines.survey.motion import find_contacts, stabilize
from pipelines.survey.person import detect
from utils.background import PlateBuilder, plate_frames
from utils.occlusion import OcclusionFinder
from utils.segmentation import is_uniform, motion_energy, split_clip
from utils.video_io import VideoReader, prefetch
from utils.video_writer import VideoWriter

#: Constant rate factor of plate.mp4: it is read back for the composite, so it is better than the result.
PLATE_QUALITY = 8

__all__ = ["body", "details", "detect", "look", "plate", "segment", "stabilize"]


def segment(shot: Shot) -> None:
    """Split the clip in time, and find out when the feet stand."""
    track, _, camera = shot.found
    settings = shot.settings
    shot.segments = split_clip(motion_energy(track, camera), track.present, settings.segments, settings.overlap)
    if settings.segments > 1 and is_uniform(shot.segments):
        shot.run.warn("The motion does not tell approach, hold and exit apart; the segments are of equal length.")
    shot.run.record["segments"] = [[s.role, s.start, s.end, s.overlap] for s in shot.segments]
    find_contacts(shot)


# -- plate ---------------------------------------------------------------------------------------------------------


def plate(shot: Shot) -> None:
    """The scene without the person, and what stands in front of it."""
    if not shot.wants_plate:
        return
    if not (shot.run.has("plate.mp4") and shot.run.has("removal.npz")):
        _make_plate(shot)
    file, width = shot.run.file("removal.npz"), shot.info.width
    shot.removal = read_mask_archive(file, "removal", width)
    if shot.settings.occluders:
        occluders = read_mask_archive(file, "occluder", width)
        shot.occluders = occluders if any(occluders.any(t) for t in range(len(occluders))) else None
    with np.load(file, allow_pickle=False) as data:
        shot.figures["plate_seen"] = round(float(data["seen"].mean()), 3)


def _make_plate(shot: Shot) -> None:
    info, settings = shot.info, shot.settings
    track, pose, camera = shot.found
    builder = PlateBuilder(info.size, camera, track, inpaint=settings.inpaint, samples=settings.plate_samples)
    finder = OcclusionFinder(camera, info.size, rate=float(info.rate), height_px=track.height_px)
    removal = MaskArchive(info.height, info.width)
    seen = []
    held: dict[int, np.ndarray] = {}
    writer = VideoWriter(
        shot.run.file("plate.mp4"), info.size, info.rate, info.time_base, info.pts, crf=PLATE_QUALITY, color=info.color
    )
    with ExitStack() as stack:
        reader, sampler = (stack.enter_context(VideoReader(info)) for _ in range(2))
        stack.enter_context(writer)
        sources = stack.enter_context(closing(prefetch(reader.frames())))
        plates = plate_frames(_remembered(sources, held), sampler.at(builder.grid), builder)
        for frame in shot.progress.track(plates, "plate", info.frame_count):
            source = held.pop(frame.index)
            writer.write(frame.rgb)
            removal.append(frame.removed)
            if track.present[frame.index]:
                seen.append(frame.seen)
                if settings.occluders:
                    mask = track.mask(frame.index)
                    t = frame.index
                    finder.feed(t, source, frame.rgb, mask, pose.landmarks[t], pose.weight[t])
    finder.finish()
    if finder.passing().any():
        shot.run.warn(
            f"Something passes in front of the person in frames {ranges(finder.passing())}; the new person covers it there."
        )
    occluder = MaskArchive.from_masks(info.height, info.width, _occluder_masks(finder, info))
    shot.run.save_arrays("removal.npz", removal=removal, occluder=occluder, seen=np.array(seen, np.float32))


def _remembered(frames: Iterator[np.ndarray], held: dict[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Number the frames, and keep each one until its plate is done (the plate runs a window behind)."""
    for index, rgb in enumerate(frames):
        held[index] = rgb
        yield index, rgb


def _occluder_masks(finder: OcclusionFinder, info: VideoInfo) -> Iterator[np.ndarray]:
    nothing = np.zeros((info.height, info.width), bool)
    for t in range(info.frame_count):
        soft = finder.occluders(t)
        yield nothing if soft is None else soft > 0.5


# -- body, look ----------------------------------------------------------------------------------------------------


def details(shot: Shot) -> None:
    """Read face and hands, where the engine draws a body that can move them."""
    if shot.engine.capabilities.needs_body:
        survey_details.read_details(shot, shot.settings)


def body(shot: Shot) -> None:
    """Fit the engine's body to the clip, where it draws one, and give it what face and hands do."""
    if shot.engine.capabilities.needs_body:
        survey_body.fit(shot, AnnyBody())
        survey_details.follow_details(shot, AnnyBody())


def look(shot: Shot) -> None:
    """Light, grain and blur of the footage, measured on a few frames."""
    if shot.engine.capabilities.matches_shot:
        return
    if shot.body is None or not shot.wants_plate:
        survey_look.look(shot, _meshes_of)
        return
    survey_look.look(shot, _meshes_of, lambda: observe(shot))
    if not shot.engine.capabilities.casts_shadow:
        # Without a shadow of its own in place of it, the new person keeps the old one's.
        shot.ground = None
    elif shot.look is not None and shot.look.cast_direction is not None and shot.ground is None:
        shot.ground = Ground(shot)
        shot.ground.hide_shadows(shot.look.cast_direction)


def _meshes_of(fitted: BodyParams) -> list[BodyMesh]:
    """The surface of a fitted body in each of its frames."""
    return survey_body.body_meshes(AnnyBody().rest(fitted.shape), fitted)
