"""Pass 1: look at the clip. Each stage fills in the shot, and leaves its findings in the run folder for a resumed run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import fields
from typing import Any

import numpy as np

from core.errors import InputError
from core.masks import MaskArchive
from core.runs import read_mask_archive
from core.types import ABSENT, PREDICTED, BodyMesh, BodyParams, CameraPath, PersonTrack, ShotLook, VideoInfo
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, params_transforms
from models.body.fitting import default_intrinsics, fit_body
from models.body.lighting import LookSample, estimate_shot_look
from models.detector import create_detector
from models.person_tracker import PersonTracker, choose_person
from pipelines.replace.shot import Shot
from utils.background import PlateBuilder, plate_frames
from utils.foot_lock import detect_contacts
from utils.landmarks import clean_landmarks
from utils.occlusion import OcclusionFinder
from utils.photometry import estimate_blur, estimate_grain
from utils.quality import foot_slide
from utils.segmentation import is_uniform, motion_energy, split_clip
from utils.stabilization import CameraTracker, camera_path
from utils.video_io import VideoReader, prefetch
from utils.video_writer import VideoWriter

#: Frames in which people are looked for before one is chosen.
CHOOSING_FRAMES = 10
#: Frames from which the look of the footage is measured.
LOOK_FRAMES = 8
#: Constant rate factor of plate.mp4: it is read back for the composite, so it is better than the result.
PLATE_QUALITY = 8


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices spread evenly over ``count`` frames, the ends left out where there is room."""
    if count <= wanted:
        return list(range(count))
    return np.unique(np.linspace(0, count - 1, wanted + 2).round().astype(int)[1:-1]).tolist()


def ranges(flags: np.ndarray) -> str:
    """The true entries as text: ``3-7, 12``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    pairs = edges.reshape(-1, 2)
    return ", ".join(f"{a}" if b - a == 1 else f"{a}-{b - 1}" for a, b in pairs)


# -- detect --------------------------------------------------------------------------------------------------------


def detect(shot: Shot) -> None:
    """Find the person and follow it through the clip; measure the camera's motion on the same pass."""
    if not (shot.run.has("person.npz") and shot.run.has("camera_path.json")):
        _first_pass(shot)
    shot.track = load_track(shot)
    shot.pose = clean_landmarks(shot.track, fps=float(shot.info.rate))
    _warn_of_gaps(shot, shot.track)


def _first_pass(shot: Shot) -> None:
    settings, info = shot.settings, shot.info
    detector = create_detector(settings.detector, complexity=settings.detector_complexity)
    try:
        with ExitStack() as stack:
            reader = stack.enter_context(VideoReader(info))
            beside = stack.enter_context(ThreadPoolExecutor(1))
            start = shot.start
            if start is None:
                start = choose_person(reader.at(spread(info.frame_count, CHOOSING_FRAMES)), detector, settings.person)
            tracker = PersonTracker(detector, start, info.size, max_gap=settings.max_gap)
            camera = CameraTracker(settings.feature_points)
            motion: list[np.ndarray] = []
            pending: Future[np.ndarray | None] | None = None
            frames = stack.enter_context(closing(prefetch(reader.frames())))
            for index, rgb in enumerate(shot.progress.track(frames, "detect", info.frame_count)):
                found = tracker.feed(index, rgb)
                # The camera is followed on the second core while the next frame's person is looked for.
                _collect(pending, motion)
                pending = beside.submit(camera.update, rgb, None if found is None else found.mask)
            _collect(pending, motion)
            track = tracker.finish()
    finally:
        detector.close()
    _save_track(shot, track)
    if camera.lost_frames:
        lost = np.isin(np.arange(info.frame_count), camera.lost_frames)
        shot.run.warn(f"The camera's motion could not be measured before frames {ranges(lost)}; taken as still there.")
    path = camera_path(motion, camera.inliers, info.size, settings.smoothing_window)
    content = {name: getattr(path, name).tolist() for name in ("H_next_source", "H_stable_source", "inliers")}
    shot.run.save_json("camera_path.json", content)


def _collect(pending: Future[np.ndarray | None] | None, motion: list[np.ndarray]) -> None:
    H_next_source = None if pending is None else pending.result()
    if H_next_source is not None:
        motion.append(H_next_source)


def _save_track(shot: Shot, track: PersonTrack) -> None:
    shot.run.save_arrays(
        "person.npz",
        frame=np.arange(len(track), dtype=np.int32),
        xyxy=track.xyxy,
        score=track.score,
        keypoints=track.keypoints,
        landmarks=track.landmarks,
        world=track.world,
        state=track.state,
        mask=track.packed_masks,
    )


def load_track(shot: Shot) -> PersonTrack:
    """The person from ``person.npz``."""
    file = shot.run.file("person.npz")
    with np.load(file, allow_pickle=False) as data:
        rows = {name: data[name] for name in ("xyxy", "score", "landmarks", "world", "state")}
    return PersonTrack(**rows, packed_masks=read_mask_archive(file, "mask", shot.info.width), width=shot.info.width)


def _warn_of_gaps(shot: Shot, track: PersonTrack) -> None:
    absent, predicted = track.state == ABSENT, track.state == PREDICTED
    if absent.all():
        raise InputError("The person could not be followed in any frame.", "Choose another person with --person x,y.")
    if predicted.any():
        shot.run.warn(f"The person was not found in frames {ranges(predicted)}; predicted from the frames around them.")
    if absent.any():
        shot.run.warn(f"The person is not in frames {ranges(absent)}; they are the source's own.")


# -- stabilize, segment --------------------------------------------------------------------------------------------


def stabilize(shot: Shot) -> None:
    """The camera's path, smoothed into that of a steady camera."""
    content = json.loads(shot.run.file("camera_path.json").read_text())
    count = shot.info.frame_count
    shot.camera = CameraPath(
        H_next_source=np.array(content["H_next_source"], np.float64).reshape(count - 1, 3, 3),
        H_stable_source=np.array(content["H_stable_source"], np.float64),
        inliers=np.array(content["inliers"], np.float32),
    )
    shot.figures["camera_inliers"] = round(float(shot.camera.inliers.mean()), 3) if count > 1 else None


def segment(shot: Shot) -> None:
    """Split the clip in time, and find out when the feet stand."""
    track, pose, camera = shot.found
    settings = shot.settings
    shot.segments = split_clip(motion_energy(track, camera), track.present, settings.segments, settings.overlap)
    if settings.segments > 1 and is_uniform(shot.segments):
        shot.run.warn("The motion does not tell approach, hold and exit apart; the segments are of equal length.")
    shot.run.record["segments"] = [[s.role, s.start, s.end, s.overlap] for s in shot.segments]
    shot.contacts = detect_contacts(
        pose.landmarks,
        camera,
        height_px=track.height_px,
        frame_height=shot.info.height,
        rate=float(shot.info.rate),
        present=pose.present,
        weight=pose.weight,
    )


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


def body(shot: Shot) -> None:
    """Fit the engine's body to the clip, where it draws one."""
    if not shot.engine.capabilities.needs_body:
        return
    if not shot.run.has("body.npz"):
        track, pose, camera = shot.found
        fitted = fit_body(
            pose,
            track.mask,
            shot.info.size,
            AnnyBody().rest({}, lambda fraction, text: shot.progress.report("body", 0.0, text)),
            intrinsics=intrinsics(shot),
            quality=shot.settings.fit,
            camera=camera,
            contacts=shot.contacts if shot.settings.foot_lock else None,
            fps=float(shot.info.rate),
            progress=lambda fraction, text: shot.progress.report("body", fraction, text),
        )
        save_body(shot, fitted)
    shot.body = load_body(shot)
    _judge_fit(shot)


def intrinsics(shot: Shot) -> np.ndarray:
    """(3, 3) K of the source camera, with the user's focal length where one is given."""
    matrix = default_intrinsics(shot.info.size)
    if shot.settings.focal_length is not None:
        matrix[0, 0] = matrix[1, 1] = shot.settings.focal_length
    return matrix


def save_body(shot: Shot, fitted: BodyParams) -> None:
    """Write ``body.npz``."""
    shot.run.save_arrays(
        "body.npz",
        model=np.array(fitted.model),
        shape_names=np.array(list(fitted.shape)),
        shape_values=np.array(list(fitted.shape.values()), np.float64),
        joint_names=np.array(fitted.joint_names),
        rotations=fitted.rotations,
        translation=fitted.translation,
        intrinsics=fitted.intrinsics,
        joints=fitted.keypoints,
        valid=fitted.valid,
        scale=np.array(fitted.scale),
    )


def load_body(shot: Shot) -> BodyParams:
    """The body from ``body.npz``."""
    data = shot.run.load_arrays("body.npz")
    return BodyParams(
        model=str(data["model"]),
        shape=dict(zip(data["shape_names"].tolist(), data["shape_values"].tolist(), strict=True)),
        joint_names=tuple(data["joint_names"].tolist()),
        rotations=data["rotations"],
        translation=data["translation"],
        intrinsics=data["intrinsics"],
        keypoints=data["joints"],
        valid=data["valid"],
        scale=float(data["scale"]),
    )


def body_meshes(fitted: BodyParams) -> list[BodyMesh]:
    """The surface of a fitted body in each of its frames."""
    rest = AnnyBody().rest(fitted.shape)
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    return [BodyMesh(skin(transforms), rest.faces) for transforms in params_transforms(rest, fitted)]


#: Shoulders, elbows, wrists, hips, knees, ankles.
LIMBS = np.array([11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
#: Left and right ankle.
ANKLES = np.array([27, 28])
#: Median reprojection error in percent of the person's height above which the fit is called poor.
POOR_FIT = 3.0


def _judge_fit(shot: Shot) -> None:
    """Note how well the body lies on the person."""
    assert shot.body is not None
    track, pose, _ = shot.found
    points = shot.body.keypoints @ shot.body.intrinsics.T
    pixels = points[..., :2] / np.maximum(points[..., 2:], 1e-3)
    if shot.contacts is not None:
        ankles = np.where(shot.body.valid[:, None, None], pixels[:, ANKLES], np.nan)
        shot.figures["slide_px"] = foot_slide(ankles, shot.contacts, shot.found[2], shot.info.height)
    error = np.linalg.norm(pixels - pose.landmarks[..., :2], axis=-1)[:, LIMBS]
    trusted = (pose.weight[:, LIMBS] > 0.3) & shot.body.valid[:, None]
    if not trusted.any() or not track.height_px:
        return
    median = float(np.median(error[trusted]))
    percent = 100 * median / track.height_px
    shot.figures.update(reprojection_px=round(median, 2), reprojection_pct=round(percent, 3))
    if percent > POOR_FIT:
        shot.run.warn(f"The body lies {percent:.1f} % of the person's height off the person: a poor fit.")


def look(shot: Shot) -> None:
    """Light, grain and blur of the footage, measured on a few frames."""
    if shot.engine.capabilities.matches_shot:
        return
    if not shot.run.has("look.json"):
        measured = _measure_look(shot)
        found = {field.name: np.asarray(getattr(measured, field.name)).tolist() for field in fields(measured)}
        shot.run.save_json("look.json", found)
    content: dict[str, Any] = json.loads(shot.run.file("look.json").read_text())
    values: dict[str, Any] = {k: np.array(v, np.float32) if isinstance(v, list) else v for k, v in content.items()}
    shot.look = ShotLook(**values)


def _measure_look(shot: Shot) -> ShotLook:
    track = shot.found[0]
    usable = np.flatnonzero(track.present if shot.body is None else track.present & shot.body.valid)
    chosen = usable[spread(len(usable), LOOK_FRAMES)]
    with VideoReader(shot.info) as reader:
        frames = [rgb for _, rgb in reader.at(chosen)]
    masks = [track.mask(int(t)) for t in chosen]
    grain = estimate_grain(frames, [~mask for mask in masks])
    blur = estimate_blur(frames, masks)
    samples = []
    if shot.body is not None:
        meshes = body_meshes(shot.body.at(chosen))
        samples = [
            LookSample(rgb, mask, mesh, track.landmarks[t])
            for rgb, mask, mesh, t in zip(frames, masks, meshes, chosen, strict=True)
        ]
    estimate = estimate_shot_look(samples, intrinsics(shot), grain=grain, blur=blur)
    for note in estimate.notes:
        shot.run.warn(note)
    return estimate.look
