"""Whole runs with the diffusion engines: the true networks at toy size, from the clip to the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from core.errors import Cancelled, StageError
from core.progress import Progress
from core.settings import ReplaceSettings
from models.generators import controlnet, wan_animate
from pipelines.replace import perform, request, second_pass
from pipelines.replace.checkpoints import SegmentReader, segment_file
from pipelines.replace.processor import replace_clip, resume_run
from tests import clips
from utils.video_io import VideoReader
from utils.video_probe import probe

ENGINES = ("controlnet", "wan-animate")
FRAMES = 14


@pytest.fixture(autouse=True)
def weights(toy_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(toy_weights))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, demo_clip: Path) -> Path:
    return clips.demo_cut(demo_clip, tmp_path_factory.mktemp("clip"), frames=FRAMES, size=(320, 180))


def settings(engine: str, **changes: Any) -> ReplaceSettings:
    values: dict[str, Any] = {
        "engine": engine, "avatar": "mannequin", "steps": 2, "generation_size": 64, "prompt": "a man",
        "negative_prompt": "bad", "segments": 3, "overlap": 3, "fit": "quick", "plate_samples": 5,
        "detector_complexity": 0, "comparison": False,
    }  # fmt: skip
    return ReplaceSettings(**(values | changes))


def record(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text()))


def drawn(run: Path) -> list[list[np.ndarray]]:
    """The patches of each segment's frames, in order."""
    segments = []
    for index, (_role, start, end, _overlap) in enumerate(record(run)["segments"]):
        reader = SegmentReader(segment_file(run / "segments", index))
        patches = [reader.patch(frame) for frame in range(start, end)]
        assert all(patch is not None for patch in patches)
        segments.append([patch.rgb for patch in patches if patch is not None])
        reader.close()
    return segments


@pytest.mark.parametrize("engine", ENGINES)
def test_a_whole_clip(engine: str, clip: Path, tmp_path: Path) -> None:
    run = replace_clip(clip, settings(engine), output=tmp_path / "out")
    source, result = probe(clip), probe(run / "result.mp4")
    assert (result.frame_count, result.rate, result.size) == (FRAMES, source.rate, source.size)
    assert result.audio_streams == source.audio_streams
    log = record(run)
    assert log["state"] == "done" and log["settings"]["engine"] == engine
    assert log["metrics"]["replaced"] > 0.9, "nothing of the old person shows"
    assert log["vram_mb"] == {} and log["peak_vram_mb"] is None
    assert all("segments are of equal length" in warning for warning in log["warnings"])
    changed = 0
    with VideoReader(source) as reader:
        frames = list(reader.frames())
    for index, (_role, start, end, _overlap) in enumerate(log["segments"]):
        checkpoint = SegmentReader(segment_file(run / "segments", index))
        for frame in range(start, end):
            patch = checkpoint.patch(frame)
            assert patch is not None
            x0, y0, x1, y1 = patch.box
            change = cv2.absdiff(patch.rgb, frames[frame][y0:y1, x0:x1]).max(axis=2)
            away = cv2.dilate(patch.alpha, np.ones((41, 41))) == 0
            assert not change[away].any(), "pixels away from the person are the source's own"
            changed += int((change[patch.alpha > 250] > 8).mean() > 0.5)
    assert changed >= FRAMES, "toy networks draw noise: the person must be gone under it"


def test_without_a_plate_nothing_changes_outside_the_drawn_mask(clip: Path, tmp_path: Path) -> None:
    run = replace_clip(
        clip, settings("controlnet", start_from="source", depth_weight=0, plate="off"), output=tmp_path / "out"
    )
    with VideoReader(probe(clip)) as reader:
        frames = list(reader.frames())
    checkpoint = SegmentReader(segment_file(run / "segments", 0))
    for frame in range(checkpoint.start, checkpoint.end):
        patch = checkpoint.patch(frame)
        assert patch is not None
        x0, y0, x1, y1 = patch.box
        change = cv2.absdiff(patch.rgb, frames[frame][y0:y1, x0:x1]).max(axis=2)
        # The checkpoint keeps alpha in 255 steps. Where it says 0, half a step of light may be left, which over black is
        # up to six levels.
        assert change[patch.alpha == 0].max(initial=0) <= 6
        assert not change[cv2.dilate(patch.alpha, np.ones((7, 7))) == 0].any()


def test_wan_continues_over_segments_without_a_seam(clip: Path, tmp_path: Path) -> None:
    run = replace_clip(clip, settings("wan-animate"), output=tmp_path / "out")
    segments = record(run)["segments"]
    patches = drawn(run)
    assert len(segments) == 3
    for index in (1, 2):
        overlap = segments[index][3]
        assert overlap == 3
        for before, after in zip(patches[index - 1][-overlap:], patches[index][:overlap], strict=True):
            np.testing.assert_array_equal(before, after)


def test_wan_is_shown_the_last_frames_of_the_segment_before(
    small_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = []
    real = wan_animate.WanAnimateGenerator.run_pipeline

    def watched(self: Any, shown: Any, seed: int, on_step: Any) -> np.ndarray:
        known.append(int((shown.hole.max(axis=(1, 2)) == 0).sum()))
        return real(self, shown, seed, on_step)

    monkeypatch.setattr(wan_animate.WanAnimateGenerator, "run_pipeline", watched)
    replace_clip(small_clip, settings("wan-animate", overlap=5), output=tmp_path / "out")
    assert known[0] == 0 and len(known) == 3
    assert all(count == 5 for count in known[1:])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_was_stopped_between_two_steps_goes_on_to_the_same_pixels(
    engine: str, clip: Path, tmp_path: Path
) -> None:
    whole = replace_clip(clip, settings(engine), output=tmp_path / "whole")
    after_first = {"at": None}

    def stop(snapshot: Any) -> None:
        folders = list((tmp_path / "cut").glob("*/segments/segment_000.zip"))
        if folders and "step" in snapshot.detail and after_first["at"] is None:
            after_first["at"] = snapshot.detail
            progress.cancel()

    progress = Progress(listener=stop)
    progress.INTERVAL = 0.0  # every step is told
    with pytest.raises(Cancelled):
        replace_clip(clip, settings(engine), output=tmp_path / "cut", progress=progress)
    (run,) = (tmp_path / "cut").iterdir()
    assert record(run)["state"] == "cancelled"
    assert not (run / "result.mp4").exists() and (run / "segments" / "segment_000.zip").exists()
    assert not (run / "segments" / "segment_002.zip").exists()
    resume_run(run)
    assert record(run)["state"] == "done"
    for one, other in zip(drawn(whole), drawn(run), strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("engine", "network"),
    [
        ("controlnet", lambda made: made._drawer.pipe.unet),
        ("wan-animate", lambda made: made._networks.pipe.transformer),
    ],
)
def test_running_out_of_memory_is_answered_and_noted(
    engine: str, network: Callable[[Any], Any], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = controlnet.ControlNetGenerator if engine == "controlnet" else wan_animate.WanAnimateGenerator
    load = kind.load

    def limited(self: Any, progress: Any = None) -> None:
        load(self, progress)
        part = network(self)
        if hasattr(part, "_limited"):
            return
        forward, part._limited = part.forward, True

        def give_up(*arguments: Any, **named: Any) -> Any:
            sample = named["hidden_states"] if "hidden_states" in named else arguments[0]
            # Pictures in a batch, or packed frames of a video.
            if (len(sample) if sample.ndim == 4 else sample.shape[2]) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return forward(*arguments, **named)

        part.forward = give_up

    monkeypatch.setattr(kind, "load", limited)
    run = replace_clip(clip, settings(engine, segments=1), output=tmp_path / "out")
    log = record(run)
    assert log["state"] == "done" and log["frames_out"] == FRAMES
    assert any("Memory ran out" in warning for warning in log["warnings"])


@pytest.mark.parametrize("engine", ENGINES)
def test_missing_weights_end_with_exit_code_3_and_the_command(
    engine: str, clip: Path, tmp_path: Path, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "none"))
    done = app("replace", clip, "--engine", engine, "--output", tmp_path / "out")
    assert done.returncode == 3
    needed = {"controlnet": "controlnet-sd15", "wan-animate": "wan-animate"}[engine]
    assert done.stderr.strip().endswith(f"python app.py weights pull {needed}")
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("engine", ["controlnet", "avatar"])
def test_frames_that_are_prepared_and_finished_while_others_are_drawn_come_out_the_same(
    engine: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"segments": 1, "temporal_strength": 0.7, "foot_lock": True}
    together = replace_clip(clip, settings(engine, **changes), output=tmp_path / "together")
    monkeypatch.setattr(second_pass, "prefetch", lambda items, depth=4: (item for item in items))
    in_turn = replace_clip(clip, settings(engine, **changes), output=tmp_path / "in_turn")
    for one, other in zip(drawn(together)[0], drawn(in_turn)[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("broken", ["draw_composite", "make_controls"])
def test_an_error_beside_the_drawing_ends_the_run_by_the_stages_name(
    broken: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> Any:
        raise ValueError("the numbers do not fit")

    module, stage = {"draw_composite": (perform, "composite"), "make_controls": (request, "control")}[broken]
    monkeypatch.setattr(module, broken, fail)
    with pytest.raises(StageError, match=stage):
        replace_clip(clip, settings("controlnet"), output=tmp_path / "out")
    (run,) = (tmp_path / "out").iterdir()
    assert record(run)["state"] == "failed" and "the numbers do not fit" in record(run)["error"]
    assert not list((run / "segments").iterdir())
