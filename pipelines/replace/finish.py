"""The end of a run: overlaps blended, frames encoded, quality measured, report written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from core.types import Segment, VideoInfo
from models.memory import device_name
from pipelines.pictures import resized, save_thumbnail
from pipelines.replace.checkpoints import Patch, SegmentReader, segment_file
from pipelines.replace.report import render_report
from pipelines.replace.shot import Shot
from pipelines.running import peak_rss_mb
from utils.blending import blend, overlap_weights
from utils.quality import QualityMeter
from utils.video_io import VideoReader, prefetch
from utils.video_writer import VideoWriter

#: Each half of comparison.mp4 is at most this wide.
COMPARISON_WIDTH = 960
#: Pairs of pictures in the report.
REPORT_PAIRS = 4


class FinishedFrames:
    """The finished pictures of a clip, put together from the source and the segments' checkpoints."""

    def __init__(self, folder: Path, segments: tuple[Segment, ...]) -> None:
        self._segments = segments
        self._readers = [SegmentReader(segment_file(folder, i)) for i in range(len(segments))]

    def close(self) -> None:
        """Close all checkpoints."""
        for reader in self._readers:
            reader.close()

    def frame(self, index: int, source: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The finished picture and the new person's alpha.

        Parameters
        ----------
        index:
            Frame in the clip.
        source:
            (H, W, 3) uint8, the original frame; not changed.

        Returns
        -------
        (H, W, 3) uint8 and (H, W) float32; ``None`` for alpha where nothing was drawn.
        """
        owners = [i for i, s in enumerate(self._segments) if s.start <= index < s.end]
        pictures = [self._paste(self._readers[i].patch(index), source) for i in owners]
        picture, alpha = pictures[0]
        for owner, (incoming, incoming_alpha) in zip(owners[1:], pictures[1:], strict=True):
            segment = self._segments[owner]
            weight = float(overlap_weights(segment.overlap)[index - segment.start])
            if not np.array_equal(picture, incoming):
                picture = blend(picture, incoming, weight)
            alpha = incoming_alpha if alpha is None else alpha
        return picture, alpha

    def _paste(self, patch: Patch | None, source: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        if patch is None:
            return source, None
        picture = source.copy()
        patch.paste(picture)
        alpha = np.zeros(source.shape[:2], np.float32)
        x0, y0, x1, y1 = patch.box
        alpha[y0:y1, x0:x1] = patch.alpha / np.float32(255)
        return picture, alpha


def comparison_size(info: VideoInfo) -> tuple[int, int]:
    """Width and height of each half of comparison.mp4: even, at most :data:`COMPARISON_WIDTH` wide."""
    scale = min(1.0, COMPARISON_WIDTH / info.width)
    return max(2, round(info.width * scale / 2) * 2), max(2, round(info.height * scale / 2) * 2)


def encode(shot: Shot) -> None:
    """Blend the overlaps and encode result and comparison, measuring the result on the way; then write the report."""
    info, settings, run = shot.info, shot.settings, shot.run
    meter = QualityMeter()
    track = shot.found[0]
    shown = set(np.linspace(0, info.frame_count - 1, REPORT_PAIRS + 2).round().astype(int)[1:-1].tolist())
    pairs: list[tuple[int, np.ndarray, np.ndarray]] = []
    half = comparison_size(info)
    times: dict[str, Any] = {"rate": info.rate, "time_base": info.time_base, "pts": info.pts, "audio_from": info.path}
    with ExitStack() as stack:
        finished = FinishedFrames(run.file("segments"), shot.segments)
        stack.callback(finished.close)
        reader = stack.enter_context(VideoReader(info))
        result = stack.enter_context(
            VideoWriter(
                run.file("result.mp4"),
                info.size,
                crf=settings.quality,
                color=info.color,
                rotation=info.rotation,
                **times,
            )
        )
        beside = None
        if settings.comparison:
            size = (2 * half[0], half[1])
            beside = stack.enter_context(
                VideoWriter(
                    run.file("comparison.mp4"),
                    size,
                    crf=max(20, settings.quality),
                    preset="superfast",
                    color=info.color,
                    **times,
                )
            )
        frames = stack.enter_context(closing(prefetch(_finished(reader, finished))))
        for index, (source, picture, alpha) in enumerate(shot.progress.track(frames, "encode", info.frame_count)):
            result.write(picture)
            if beside is not None:
                beside.write(np.hstack([resized(source, half), resized(picture, half)]))
            meter.feed(source, picture, track.mask(index), alpha)
            if index in shown:
                pairs.append((index, resized(source, half), resized(picture, half)))
    for warning in result.warnings:
        run.warn(warning)
    _conclude(shot, meter, pairs)


def _finished(
    reader: VideoReader, finished: FinishedFrames
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    for index, source in enumerate(reader.frames()):
        yield (source, *finished.frame(index, source))


def _conclude(shot: Shot, meter: QualityMeter, pairs: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
    """Write the last entries of run.json and the report."""
    run = shot.run
    run.update(
        frames_out=shot.info.frame_count,
        metrics={**meter.figures(), **shot.figures},
        device=device_name(),
        peak_rss_mb=round(peak_rss_mb(), 1),
        peak_vram_mb=max(run.record.get("vram_mb", {}).values(), default=None),
    )
    series = {f"{name} over the frames": values for name, values in meter.series().items() if values}
    text = render_report(run.record, series, pairs)
    run.save_text("report.html", text)
    if pairs:
        save_thumbnail(run, pairs[len(pairs) // 2][2])
