"""Pass 2: segment by segment through the stages of :mod:`pipelines.replace.perform`, each segment into its checkpoint.

Three threads go hand in hand: the next frames are prepared, these are drawn, the last ones are finished. Each stage sees the
frames in order, so the pixels are the same as with one.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from core.errors import StageError
from core.types import Segment
from pipelines import running
from pipelines.replace.checkpoints import Patch, SegmentReader, SegmentWriter, is_finished, segment_file
from pipelines.replace.chunks import Chunk, begin_segment, chunks
from pipelines.replace.perform import COMPLETE, DRAW, PREPARE, Stage
from pipelines.replace.shot import Shot
from utils.video_io import VideoReader, prefetch
from utils.video_probe import probe

Chunks: TypeAlias = Generator[Chunk, None, None]

#: Stages that may run while the engine draws other frames.
BESIDE_DRAWING = frozenset({*(name for name, _ in (*PREPARE, *COMPLETE)), "checkpoint"})


def perform(shot: Shot) -> None:
    """Pass 2: draw every segment that is not finished yet, and checkpoint it. Notes how long it took by the clock."""
    started = time.monotonic()
    folder = shot.run.file("segments")
    total = sum(len(segment) for segment in shot.segments)
    done = 0
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(shot.info))
        plates = None
        if shot.removal is not None:
            plates = stack.enter_context(VideoReader(probe(shot.run.file("plate.mp4"))))
        for index, segment in enumerate(shot.segments):
            path = segment_file(folder, index)
            if not is_finished(path, segment):
                given = _given(shot, folder, index)
                draw_segment(shot, segment, path, reader, plates, given=given, done=done, total=total)
            else:
                shot.progress.skip("generate", (done + len(segment)) / total)
            done += len(segment)
    before = shot.run.record.get("drawing_s", 0.0)
    shot.run.update(drawing_s=round(before + time.monotonic() - started, 3))


def _given(shot: Shot, folder: Path, index: int) -> dict[int, Patch | None]:
    """What an engine that carries frames continues from: the overlap as the segment before has drawn it.

    Read back from the checkpoint, so that a resumed run continues from the very same pixels.
    """
    overlap = shot.segments[index].overlap
    if index == 0 or not overlap or not shot.engine.capabilities.carried_frames:
        return {}
    start = shot.segments[index].start
    with closing(SegmentReader(segment_file(folder, index - 1))) as before:
        return {frame: before.patch(frame) for frame in range(start, start + overlap)}


def draw_segment(
    shot: Shot,
    segment: Segment,
    path: Path,
    reader: VideoReader,
    plates: VideoReader | None,
    *,
    given: dict[int, Patch | None] | None = None,
    done: int = 0,
    total: int = 1,
) -> None:
    """Draw one segment into its checkpoint.

    Parameters
    ----------
    given:
        The overlap as the segment before has drawn it, for engines that carry frames over.
    done, total:
        How many frames of how many were drawn before, for the progress.
    """
    if not shot.found[0].present[segment.start : segment.end].any():
        with SegmentWriter(path, segment):
            return
    # Every segment starts from nothing, so that a resumed run draws it as an unbroken one does.
    shot.engine.load()
    state = begin_segment(shot, segment, given)
    meanwhile = shot.engine.capabilities.leaves_cpu
    with SegmentWriter(path, segment) as writer, closing(prefetch(_pairs(reader, plates, segment))) as pairs:
        work = _told(shot, chunks(shot, state, pairs), done - segment.start, total)
        for stages in (PREPARE, DRAW):
            work = prefetch(_through(shot, stages, work), depth=1)
        with closing(_through(shot, COMPLETE, work)) as finished:
            for chunk in finished:
                with metered(shot, "checkpoint"):
                    for frame, patch in chunk.patches.items():
                        writer.add(frame, patch)
                shot.progress.show(chunk.frames[-1], partial(_finished_frame, chunk))
                if not meanwhile:
                    # Otherwise the engine is ahead, and tells how far it is itself.
                    frames = done + chunk.frames.stop - segment.start
                    text = f"frame {chunk.frames.stop} of {shot.info.frame_count}"
                    shot.progress.report("generate", frames / total, text)


def _told(shot: Shot, work: Chunks, offset: int, total: int) -> Chunks:
    """Have the engine's own steps count in the progress; ``offset`` + its index is the frames before one, of ``total``."""
    with closing(work):
        for chunk in work:
            chunk.step = partial(_report_step, shot, offset + chunk.start, len(chunk.frames), total)
            yield chunk


def _through(shot: Shot, stages: Sequence[tuple[str, Stage]], work: Chunks) -> Chunks:
    """Pass chunks through some of the stages."""
    with closing(work):
        for chunk in work:
            for name, stage in stages:
                shot.progress.check()
                try:
                    with metered(shot, name):
                        stage(shot, chunk)
                except (ValueError, IndexError, ArithmeticError, np.linalg.LinAlgError) as error:
                    raise StageError(name, f"{type(error).__name__}: {error}", chunk.start) from error
            yield chunk


def _report_step(shot: Shot, before: int, count: int, total: int, share: float, text: str) -> None:
    """Pass on how far the engine is with ``count`` of ``total`` frames, ``before`` of which were done earlier."""
    shot.progress.report("generate", (before + share * count) / total, text)


def _finished_frame(chunk: Chunk) -> np.ndarray:
    """The last frame of a chunk as it will be seen."""
    picture = chunk.sources[-1].copy()
    patch = chunk.patches.get(chunk.frames[-1])
    if patch is not None:
        patch.paste(picture)
    return picture


def _pairs(
    reader: VideoReader, plates: VideoReader | None, segment: Segment
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """(source, plate) frames of a segment."""
    sources = reader.frames(segment.start, segment.end)
    if plates is None:
        yield from ((source, None) for source in sources)
    else:
        yield from zip(sources, plates.frames(segment.start, segment.end), strict=True)


def metered(shot: Shot, name: str) -> AbstractContextManager[None]:
    """Note what a stage takes: seconds, and the peak of graphics memory."""
    # Of stages that run side by side, drawing is the one that takes graphics memory.
    alone = name not in BESIDE_DRAWING or not shot.engine.capabilities.leaves_cpu
    return running.metered(shot.run, name, graphics=alone)
