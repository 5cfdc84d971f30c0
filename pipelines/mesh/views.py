"""Several views of one take: which camera took which clip, and the person's landmarks in space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from core.errors import InputError
from core.settings import MeshSettings
from core.types import BodyParams, PoseTrack, VideoInfo
from models.body.articulation import bone_transforms, landmark_positions
from models.body.base import JOINT_NAMES, RestBody
from models.body.fit_terms import FitWeights, SpacePoints
from models.body.pose_init import view_rotations
from pipelines.mesh.shot import MeshShot, SeenInSpace
from pipelines.survey.body import LIMBS
from pipelines.survey.frames import ranges
from utils.calibration import fit_to_clip, match_cameras, read_calibration
from utils.cameras.camera import Camera
from utils.cameras.sides import agree_on_sides
from utils.cameras.timing import ViewTiming, align_views, estimate_offsets, seconds
from utils.cameras.turned import mend_turned
from utils.landmarks import smooth
from utils.person_track import runs
from utils.triangulation import triangulate
from utils.video_io import VideoReader

#: Points in space hold the body twice as firmly as image positions do, and the usual pose counts less. On the sample clips the
#: limbs lie 12 mm from the points with weight 1, 10 mm with 4, where the body begins to shake with them.
WEIGHTS = FitWeights(point=2.0, prior=0.5, acceleration=1.0, turning=5.0)
#: Half-width of the window in which points in space are smoothed, seconds; and the size of their noise, metres.
SMOOTHING_S, NOISE_M = 0.1, 0.02
#: Trust in points that were carried over a gap, and in those that one view alone tells, against seen ones.
CARRIED, GUESSED = 0.3, 0.5
#: Limb joints that must be known in space in a frame that the reference view does not see, of twelve.
ENOUGH = 8
#: A view that agrees with the others on less than this share of its landmarks is told of.
STRANGE = 0.4
#: Standard deviation in time with which the body's place follows the points, seconds.
PLACE_S = 0.1
#: Bones whose lengths tell how tall the person is: pairs of landmarks.
BONES = np.array([[11, 13], [13, 15], [12, 14], [14, 16], [23, 25], [25, 27], [24, 26], [26, 28], [11, 23], [12, 24]])
#: What is left in the run folder.
FILES = ("points.npz", "cameras.json")
HIPS = [23, 24]


@dataclass(frozen=True)
class Match:
    """The clips' cameras."""

    cameras: tuple[Camera, ...]
    """In pixels of the clips."""
    notes: tuple[str, ...]
    """What the user should know."""
    reference: int
    """Index of the clip that sets the pace: the slowest, the first among equals."""


def match(infos: Sequence[VideoInfo], settings: MeshSettings) -> Match:
    """Find each clip's camera.

    Raises
    ------
    InputError
        No calibration is given, it cannot be read, a clip has no camera in it, or the clips have no moment in common.
    """
    if settings.calibration is None:
        raise InputError("Several clips need the calibration of their cameras.", "Give it with --calibration FILE.")
    calibration = read_calibration(settings.calibration, settings.calibration_unit)
    cameras, notes = match_cameras(calibration, [info.path for info in infos])
    notes = [*calibration.notes, *notes]
    fitted = []
    for camera, info in zip(cameras, infos, strict=True):
        with VideoReader(info) as reader:
            camera, note = fit_to_clip(camera, info.size, reader.frame(0))
        fitted.append(camera)
        notes += [] if note is None else [note]
    if not settings.find_offsets:
        align_views(infos)
    reference = int(np.argmin([float(info.rate) for info in infos]))
    return Match(tuple(fitted), tuple(notes), reference)


def locate(shot: MeshShot) -> None:
    """Find the person's landmarks in space, and put them in the place of those that the reference view alone tells."""
    if not all(shot.run.has(file) for file in FILES):
        _triangulate(shot)
    data = shot.run.load_arrays("points.npz")
    cameras = json.loads(shot.run.file("cameras.json").read_text())
    reference = cameras[shot.reference]
    shot.K = np.array(reference["K"], np.float64)
    shot.views = tuple(
        replace(view, camera=view.camera.with_principal_point(*np.array(entry["K"], np.float64)[:2, 2].tolist()))
        for view, entry in zip(shot.views, cameras, strict=True)
    )
    points = shot.views[shot.reference].camera.to_camera(data["points"])
    shot.space = SeenInSpace(points, data["confidence"])
    shot.pose = _pose_of(shot, shot.space)
    if not shot.pose.present.any():
        raise InputError(
            "The views agree on too few points in space to tell where the person is.",
            "Check that clips and calibration are of the same take, and each clip of the camera that it is named after.",
        )
    _warn_of_the_unseen(shot, data["covered"])
    shot.figures["views_reprojection_px"] = round(float(np.nanmedian(data["errors"][data["used"]])), 2)


def _triangulate(shot: MeshShot) -> None:
    infos = [view.survey.info for view in shot.views]
    cameras = [view.camera for view in shot.views]
    poses = [view.survey.pose for view in shot.views]
    assert all(pose is not None for pose in poses), "stages out of order"
    seen = [(pose.landmarks[..., :2].astype(np.float64), pose.weight) for pose in poses if pose is not None]
    offsets = None
    if shot.settings.find_offsets:
        shot.progress.report("triangulate", 0.1, "comparing the clips' clocks")
        found, notes = estimate_offsets(
            cameras, [seconds(info) for info in infos], [p for p, _ in seen], [w for _, w in seen]
        )
        offsets = found.tolist()
        for note in notes:
            shot.run.warn(note)
    timing = align_views(infos, offsets)
    for note in timing.notes:
        shot.run.warn(note)
    pixels = np.stack([timing.resample(view, points) for view, (points, _) in enumerate(seen)])
    weight = np.stack([timing.resample(view, trust) for view, (_, trust) in enumerate(seen)])
    shot.progress.report("triangulate", 0.4, "checking the calibration")
    cameras, mended = mend_turned(cameras, pixels, weight)
    if mended is not None:
        shot.run.warn(mended)
    order = agree_on_sides(cameras, pixels, weight)
    pixels, weight = np.take_along_axis(pixels, order[..., None], axis=2), np.take_along_axis(weight, order, axis=2)
    shot.progress.report("triangulate", 0.7, "finding points in space")
    solved = triangulate(cameras, pixels, weight)
    if not np.isfinite(solved.points).any():
        raise InputError(
            "The views agree on no point in space.", "Check that clips and calibration are of the same take."
        )
    _warn_of_strangers(shot, weight > 0, solved.used)
    rows = _rows(timing, shot.reference)
    count = shot.info.frame_count
    shot.run.save_arrays(
        "points.npz",
        points=_on_frames(solved.points, rows, count, np.nan),
        confidence=_on_frames(solved.confidence, rows, count, 0.0),
        errors=np.stack([_on_frames(each, rows, count, np.nan) for each in solved.errors]),
        used=np.stack([_on_frames(each, rows, count, False) for each in solved.used]),
        covered=_on_frames(np.ones(len(rows), bool), rows, count, False),
        time=timing.times,
        offsets=np.array(offsets or [0.0] * len(infos)),
        exchanged=(order != np.arange(order.shape[-1])).any(-1).sum(1),
        order=np.stack([_on_frames(each.astype(np.int16), rows, count, 0) for each in order]),
    )
    shot.run.save_json("cameras.json", [_described(*pair) for pair in zip(cameras, infos, strict=True)])


def _warn_of_the_unseen(shot: MeshShot, covered: np.ndarray) -> None:
    """Tell of frames, among those that the clips cover (T,), that hold no body; and of cuts."""
    assert shot.pose is not None
    unseen = covered & ~shot.pose.present
    if unseen.any():
        shot.run.warn(f"Too few views see the person in frames {ranges(unseen)}; they hold no body.")
    cut = [view.camera.name for view in shot.views if view.survey.cuts]
    if cut:
        shot.run.warn(
            f"The clip of {', '.join(cut)} is cut; several views must be filmed without a break. Give each part as a take of "
            "its own."
        )


def _warn_of_strangers(shot: MeshShot, seen: np.ndarray, used: np.ndarray) -> None:
    """Tell of views that hardly agree with the others; ``seen`` and ``used`` (V, T, 33) bool."""
    for view, told, agreed in zip(shot.views, seen, used, strict=True):
        share = agreed.sum() / max(told.sum(), 1)
        if share < STRANGE:
            shot.run.warn(
                f"The view {view.camera.name} agrees with the others on {100 * share:.0f} % of what it sees: somebody else is "
                "followed there, or its camera or clock is another than the calibration's."
            )


def _described(camera: Camera, info: VideoInfo) -> dict[str, object]:
    return {
        "name": camera.name,
        "clip": info.path.name,
        "size": list(info.size),
        "K": camera.K.tolist(),
        "distortion": camera.distortion.tolist(),
        "T_camera_world": camera.T_camera_world.tolist(),
    }


def _rows(timing: ViewTiming, reference: int) -> np.ndarray:
    """(M,) frames of the reference clip that the moments are; its frames set the pace, so each moment is one of them."""
    return timing.before[reference]


def _on_frames(values: np.ndarray, rows: np.ndarray, count: int, missing: float) -> np.ndarray:
    """Values (M, ...) of some frames as (T, ...) of all."""
    result = np.full((count, *values.shape[1:]), missing, values.dtype)
    result[rows] = values
    return result


# -- what the fit gets ---------------------------------------------------------------------------------------------


def _pose_of(shot: MeshShot, space: SeenInSpace) -> PoseTrack:
    """The points in space as the fit takes landmarks: where the reference camera would see them without its lens's
    distortion, and where they lie against the hips."""
    view = shot.views[shot.reference]
    alone = view.survey.pose
    assert alone is not None and shot.K is not None
    K = shot.K
    seen = np.isfinite(space.points).all(-1)
    points, weight = _steadied(shot, space)
    # Where too little is known in space, the reference view has to help out.
    enough = np.isfinite(points[:, LIMBS]).all(-1).sum(1) >= ENOUGH
    _fill(points, enough & ~alone.present)
    known = np.isfinite(points).all(-1)
    rays = np.concatenate([view.camera.normalized(alone.landmarks[..., :2]), np.ones((*known.shape, 1))], -1)
    pixels = np.where(known[..., None], points, rays) @ K.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    world = alone.world.astype(np.float64)
    # What the reference view alone tells is against the hips too; its lengths are about a person's.
    middle = points[:, HIPS].mean(1, keepdims=True)
    spatial = points - middle
    present = seen.any(1) & np.isfinite(pixels).all((1, 2)) & np.isfinite(middle).all((1, 2))
    here = np.flatnonzero(present)
    # The fit turns what it gets from axes that look straight at the person: turn it the other way first.
    spatial[here] = spatial[here] @ view_rotations(pixels[here], K)
    world = np.where(known[..., None], spatial, world)
    weight = np.where(known, weight, GUESSED * alone.weight)
    landmarks = np.concatenate([pixels, np.nan_to_num(alone.landmarks[..., 2:])], -1)
    gone = ~present
    landmarks[gone], world[gone], weight[gone] = np.nan, np.nan, 0.0
    return PoseTrack(
        landmarks.astype(np.float32), world.astype(np.float32), weight.astype(np.float32), present, alone.repaired
    )


def _steadied(shot: MeshShot, space: SeenInSpace) -> tuple[np.ndarray, np.ndarray]:
    """The points (T, 33, 3), smoothed and carried over short gaps, and the trust in them (T, 33)."""
    seen = np.isfinite(space.points).all(-1)
    points, weight = space.points.copy(), np.where(seen, space.confidence, 0.0)
    half = round(SMOOTHING_S * float(shot.info.rate))
    for start, end in runs(seen.any(1)):
        _carry(points[start:end], weight[start:end], shot.settings.max_gap)
        _steady(points[start:end], weight[start:end], half)
    return points, weight


def points_to_fit(shot: MeshShot, rest: RestBody) -> SpacePoints:
    """The points in space in the size of a body at rest: what the fit holds the body to, and :func:`settle` undoes."""
    assert shot.space is not None, "stages out of order"
    points, weight = _steadied(shot, shot.space)
    still = bone_transforms(rest, np.zeros((1, len(JOINT_NAMES), 3)), np.zeros((1, 3)))
    own = _lengths(landmark_positions(rest, still).astype(np.float64))[0]
    ratio = _lengths(np.where(weight[..., None] > CARRIED, points, np.nan)) / own
    size = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else 1.0
    known = np.isfinite(points).all(-1)
    return SpacePoints(np.nan_to_num(points) / size, np.where(known, weight, 0.0))


def _lengths(points: np.ndarray) -> np.ndarray:
    """(T, B) metres: the lengths of ``BONES`` between points (T, 33, 3)."""
    return np.linalg.norm(points[:, BONES[:, 0]] - points[:, BONES[:, 1]], axis=-1)


def _carry(points: np.ndarray, weight: np.ndarray, max_gap: int) -> None:
    """Fill gaps of up to ``max_gap`` frames in points (N, 33, 3) in place, with little trust."""
    frames = np.arange(len(points))
    for k in range(points.shape[1]):
        known = np.isfinite(points[:, k]).all(-1)
        if known.all() or not known.any():
            continue
        inner = np.flatnonzero(known)
        for start, end in runs(~known):
            if start > inner[0] and end <= inner[-1] and end - start <= max_gap:
                for axis in range(3):
                    points[start:end, k, axis] = np.interp(frames[start:end], inner, points[inner, k, axis])
                weight[start:end, k] = CARRIED * min(weight[start - 1, k], weight[end, k])


def _fill(points: np.ndarray, frames: np.ndarray) -> None:
    """In some frames (N,) bool, put landmarks that are not known where they are against the hips in the frames around, in
    place. They have no weight: a fit merely needs a number. Those that are known in no frame lie between the hips."""
    local = points - points[:, HIPS].mean(1, keepdims=True)
    every = np.arange(len(points))
    for k in range(points.shape[1]):
        known = np.isfinite(local[:, k]).all(-1)
        missing = frames & ~np.isfinite(points[:, k]).all(-1)
        for axis in range(3):
            path = np.interp(every, every[known], local[known, k, axis]) if known.any() else np.zeros(len(points))
            points[missing, k, axis] = (points[:, HIPS, axis].mean(1) + path)[missing]


def _steady(points: np.ndarray, weight: np.ndarray, half: int) -> None:
    """Smooth each point's unbroken stretches in place."""
    for k in range(points.shape[1]):
        for start, end in runs(np.isfinite(points[:, k]).all(-1)):
            part = points[start:end, k : k + 1]
            points[start:end, k : k + 1] = smooth(part, np.maximum(weight[start:end, k : k + 1], 0.05), half, NOISE_M)


def settle(shot: MeshShot, fitted: BodyParams) -> BodyParams:
    """Bring a body, whose size and distance one view cannot tell apart, to the size and place of the points in space."""
    assert shot.space is not None
    if shot.settings.height is not None:
        shot.run.warn("The cameras tell how tall the person is; the given height is not used.")
    trusted = np.where(shot.space.confidence > 0.3, 1.0, np.nan)[..., None]
    points = shot.space.points * trusted
    points[~fitted.valid] = np.nan
    ratio = _lengths(points) / np.maximum(_lengths(fitted.keypoints), 1e-3)
    if not np.isfinite(ratio).any():
        shot.run.warn("The views agree on too few points to tell how tall the person is; the body has its usual size.")
        return fitted
    scale = float(np.nanmedian(ratio))
    keypoints = scale * fitted.keypoints.astype(np.float64)
    place = scale * fitted.translation.astype(np.float64)
    off = (points - keypoints)[:, LIMBS]
    known = np.isfinite(off).all(-1).any(1)
    shift = np.zeros_like(place)
    shift[known] = np.nanmedian(off[known], axis=1)
    frames = np.arange(len(shift))
    for axis in range(3):
        shift[:, axis] = np.interp(frames, frames[known], shift[known, axis])
    shift = gaussian_filter1d(shift, PLACE_S * float(shot.info.rate), axis=0, mode="nearest")
    return replace(
        fitted,
        scale=fitted.scale * scale,
        translation=(place + shift).astype(np.float32),
        keypoints=(keypoints + shift[:, None]).astype(np.float32),
    )


def clip_errors(shot: MeshShot, keypoints: np.ndarray) -> dict[str, float | None]:
    """Median distance in pixels of a body's limbs from the person's in each view, by the camera's name, with left and right
    as the views agreed on them.

    Parameters
    ----------
    keypoints:
        (T, 33, 3) metres, axes of the reference camera, on the reference clip's frames; NaN where there is no body.
    """
    data = shot.run.load_arrays("points.npz")
    infos = [view.survey.info for view in shot.views]
    R_T = np.linalg.inv(shot.views[shot.reference].camera.T_camera_world)
    world = keypoints @ R_T[:3, :3].T + R_T[:3, 3]
    moments = np.flatnonzero(np.isfinite(data["points"]).all(-1).any(1))
    offsets = data["offsets"]
    at = seconds(infos[shot.reference])[moments] + offsets[shot.reference]
    result: dict[str, float | None] = {}
    for view, offset, order in zip(shot.views, offsets, data["order"][:, moments], strict=True):
        pose = view.survey.pose
        assert pose is not None
        own = np.abs(seconds(view.survey.info)[:, None] + offset - at).argmin(0)
        seen = np.take_along_axis(pose.landmarks[own], order[..., None].astype(int), axis=1)[:, LIMBS, :2]
        trust = np.take_along_axis(pose.weight[own], order.astype(int), axis=1)[:, LIMBS]
        error = np.linalg.norm(view.camera.project(world[moments][:, LIMBS]) - seen, axis=-1)
        trusted = (trust > 0.3) & np.isfinite(error)
        result[view.camera.name] = round(float(np.median(error[trusted])), 2) if trusted.any() else None
    return result
