"""A take as a dataset for EasyMoCap: what the detector saw in each clip, the clips' pictures and cameras.

File numbers are the frames of the clip (of the reference clip, where there are several), so that results fitted to the
dataset fit the clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.types import PoseTrack, VideoInfo
from models.body.base import Progress
from pipelines.mesh.easymocap import write_dataset
from pipelines.mesh.export import FORMATS, told_as_resource, whole_folder
from pipelines.mesh.shot import MeshShot
from utils.cameras.camera import Camera
from utils.cameras.timing import align_views, seconds
from utils.video_io import VideoReader, prefetch

#: Name of the camera of a take with one clip.
ONLY_CAMERA = "01"


@dataclass(frozen=True)
class _Seen:
    """What the clips show at the frames of the reference clip. V views, T frames."""

    infos: Sequence[VideoInfo]
    cameras: Sequence[Camera]
    landmarks: np.ndarray
    """(V, T, 33, 3) x, y in pixels and trust; NaN where not every view has been looked at."""
    frames: np.ndarray
    """(V, T) int64, each view's frame nearest in time."""


def write_take(shot: MeshShot, folder: Path, progress: Progress) -> None:
    """Write the take of a run, after its body is fitted, into a folder, which appears whole or not at all.

    ``progress`` is called as the work goes on; what it raises stops it.
    """
    seen = _several(shot) if shot.views else _single(shot)
    total = seen.frames.size
    done = 0

    def pictures(view: int) -> Iterator[np.ndarray]:
        nonlocal done
        for picture in prefetch(_at(seen.infos[view], seen.frames[view])):
            yield picture
            done += 1
            progress(done / total, f"{FORMATS['easymocap'].label}: picture {done} of {total}")

    with told_as_resource(folder), whole_folder(folder) as part:
        pictures_of = [pictures(view) for view in range(len(seen.infos))]
        write_dataset(part, seen.cameras, seen.landmarks, pictures_of)


def _at(info: VideoInfo, frames: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures of some frames, (T,) in an order that never goes back; a frame may come several times."""
    chosen, counts = np.unique(frames, return_counts=True)
    with VideoReader(info) as reader:
        for (_, rgb), count in zip(reader.at(chosen), counts, strict=True):
            for _ in range(count):
                yield rgb


def _with_trust(pose: PoseTrack) -> np.ndarray:
    """(T, 33, 3) x, y, trust."""
    return np.concatenate([pose.landmarks[..., :2], pose.weight[..., None]], -1).astype(np.float64)


def _single(shot: MeshShot) -> _Seen:
    assert shot.body is not None and shot.pose is not None, "stages out of order"
    camera = Camera(ONLY_CAMERA, shot.info.size, shot.body.intrinsics.astype(np.float64), np.zeros(5), np.eye(4))
    return _Seen([shot.info], [camera], _with_trust(shot.pose)[None], np.arange(shot.info.frame_count)[None])


def _several(shot: MeshShot) -> _Seen:
    infos = [view.survey.info for view in shot.views]
    cameras = [view.camera for view in shot.views]
    poses = [view.survey.pose for view in shot.views if view.survey.pose is not None]
    data = shot.run.load_arrays("points.npz")
    offsets = data["offsets"]
    timing = align_views(infos, offsets.tolist())
    common = np.stack([timing.resample(view, _with_trust(pose)) for view, pose in enumerate(poses)])
    rows = timing.before[shot.reference]
    landmarks = np.full((len(infos), shot.info.frame_count, *common.shape[2:]), np.nan)
    # Left and right as the views agreed on them.
    order = data["order"][:, rows].astype(np.int64)
    landmarks[:, rows] = np.take_along_axis(common, order[..., None], axis=2)
    now = seconds(shot.info) + offsets[shot.reference]
    frames = [_nearest(seconds(info) + offset, now) for info, offset in zip(infos, offsets, strict=True)]
    return _Seen(infos, cameras, landmarks, np.stack(frames))


def _nearest(own: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(T,) index of the stamp nearest to each of the times (T,); ``own`` increases."""
    after = np.clip(np.searchsorted(own, times), 1, max(len(own) - 1, 1))
    if len(own) == 1:
        return np.zeros(len(times), np.int64)
    return np.where(times - own[after - 1] <= own[after] - times, after - 1, after)
