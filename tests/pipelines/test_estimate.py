"""The estimate: does it follow what runs on this machine took, and only those, and what is dearer?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InputError
from core.presets import load_preset
from core.runs import RunFolder
from core.settings import ReplaceSettings, make_settings
from pipelines.machine import machine_key
from pipelines.replace.costs import DRAWING_STAGES, START_S, peak_mb, stage_seconds
from pipelines.replace.estimate import estimate

SIZE = (960, 540)
FRAMES = 100
BALANCED = ReplaceSettings()


def preset(name: str, **changes: Any) -> ReplaceSettings:
    return make_settings(ReplaceSettings, {**load_preset(name, "replace"), **changes})


def finished(
    root: Path,
    *,
    slower: float = 1.0,
    settings: ReplaceSettings = BALANCED,
    frames: int = FRAMES,
    size: tuple[int, int] = SIZE,
    share: float = 0.1,
    stages: dict[str, float] | None = None,
    **record: Any,
) -> RunFolder:
    """A run folder as a finished run leaves it, on a machine so much slower than the typical one."""
    run = RunFolder.create(root, kind="replace", source=Path("clip.mp4"), settings=settings.model_dump(mode="json"))
    took = {name: seconds * slower for name, seconds in stage_seconds(frames, size, settings, share).items()}
    box = [0.0, 0.0, size[0], size[1] * share]
    run.save_arrays("person.npz", xyxy=np.array([box] * frames, np.float32))
    values = {
        "state": "done",
        "machine": machine_key(),
        "stages": took | (stages or {}),
        "frames_in": frames,
        "size": list(size),
        "peak_rss_mb": peak_mb(frames, size, settings, share) * slower,
    }
    run.update(**(values | record))
    return run


def seconds(
    history: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE, settings=BALANCED, **given: Any
) -> float:
    return estimate(frames, size, settings, history=history, **given).seconds


# -- without earlier runs ------------------------------------------------------------------------------------------


def test_without_runs_the_figures_are_the_typical_ones_and_say_so(tmp_path) -> None:
    guess = estimate(FRAMES, SIZE, BALANCED, history=tmp_path / "nowhere")
    assert guess.runs == 0
    assert "no earlier runs" in guess.basis
    assert guess.seconds == pytest.approx(START_S + sum(stage_seconds(FRAMES, SIZE, BALANCED).values()))
    assert guess.seconds == pytest.approx(sum(guess.stages.values()))
    assert guess.seconds_per_frame == pytest.approx(guess.seconds / FRAMES)
    assert guess.range_s[0] < guess.seconds / 1.3
    assert guess.range_s[1] > guess.seconds * 1.3
    assert guess.cost_usd is None


def test_the_cost_follows_the_price(tmp_path) -> None:
    guess = estimate(FRAMES, SIZE, BALANCED, history=tmp_path, hourly_price=0.36)
    assert guess.cost_usd == pytest.approx(guess.seconds * 0.0001)


def test_presets_cost_more_from_fast_to_high(tmp_path) -> None:
    costs = [seconds(tmp_path, settings=preset(name)) for name in ("fast", "balanced", "high")]
    assert costs == sorted(costs)
    assert costs[2] > 1.2 * costs[0]


def test_longer_and_larger_clips_cost_more(tmp_path) -> None:
    assert seconds(tmp_path, frames=200) > 1.5 * seconds(tmp_path)
    small, large = (estimate(FRAMES, size, BALANCED, history=tmp_path) for size in ((480, 270), (1920, 1080)))
    assert large.seconds > 1.5 * small.seconds
    assert large.peak_mb > 1.5 * small.peak_mb


@pytest.mark.parametrize(
    ("name", "cheap", "dear"),
    [
        ("detector_complexity", 0, 2),
        ("fit", "quick", "best"),
        ("plate", "off", "auto"),
        ("plate_samples", 5, 40),
        ("occluders", False, True),
        ("edge_samples", 1, 16),
        ("occlusion_rays", 0, 64),
        ("comparison", False, True),
        ("quality", 30, 4),
        ("engine", "passthrough", "avatar"),
    ],
)
def test_settings_that_make_a_run_longer_cost_more(tmp_path, name: str, cheap: Any, dear: Any) -> None:
    assert seconds(tmp_path, settings=preset("balanced", **{name: cheap})) < seconds(
        tmp_path, settings=preset("balanced", **{name: dear})
    )


def test_a_large_person_costs_more_and_narrows_the_range(tmp_path) -> None:
    unknown = estimate(FRAMES, SIZE, BALANCED, history=tmp_path)
    small, large = (estimate(FRAMES, SIZE, BALANCED, history=tmp_path, person_share=share) for share in (0.02, 0.3))
    assert small.seconds < unknown.seconds < large.seconds
    assert small.peak_mb < large.peak_mb
    assert small.range_s[1] / small.range_s[0] < unknown.range_s[1] / unknown.range_s[0]


def test_what_cannot_be_estimated_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="'nobody'"):
        estimate(FRAMES, SIZE, ReplaceSettings(engine="nobody"), history=tmp_path)
    with pytest.raises(ValueError, match="no clip"):
        estimate(0, SIZE, BALANCED, history=tmp_path)


# -- with earlier runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slower", [0.25, 3.0])
def test_the_estimate_follows_this_machines_runs(tmp_path, slower: float) -> None:
    typical = seconds(tmp_path, person_share=0.1)
    finished(tmp_path, slower=slower)
    first = seconds(tmp_path, person_share=0.1) / typical
    for _ in range(4):
        finished(tmp_path, slower=slower)
    fifth = estimate(FRAMES, SIZE, BALANCED, history=tmp_path, person_share=0.1)
    assert first == pytest.approx(slower, rel=0.25)
    assert fifth.seconds / typical == pytest.approx(slower, rel=0.1)
    assert fifth.peak_mb == pytest.approx(peak_mb(FRAMES, SIZE, BALANCED, 0.1) * slower, rel=0.1)
    assert fifth.runs == 5
    assert fifth.basis.startswith("From 5 earlier runs on this machine")


def test_runs_make_the_range_narrower(tmp_path) -> None:
    before = estimate(FRAMES, SIZE, BALANCED, history=tmp_path)
    for _ in range(4):
        finished(tmp_path)
    after = estimate(FRAMES, SIZE, BALANCED, history=tmp_path)
    assert after.range_s[1] / after.range_s[0] < 0.7 * before.range_s[1] / before.range_s[0]
    assert after.range_s[0] < after.seconds < after.range_s[1]


def test_other_presets_and_sizes_learn_from_a_run_too(tmp_path) -> None:
    other = {"frames": 300, "size": (1920, 1080), "settings": preset("high")}
    typical = seconds(tmp_path, **other)
    finished(tmp_path, slower=4.0, settings=preset("fast"))
    assert 2.0 < seconds(tmp_path, **other) / typical < 4.5


def test_runs_like_the_one_asked_for_weigh_more(tmp_path) -> None:
    for _ in range(2):
        finished(tmp_path, slower=1.0)
        finished(tmp_path, slower=4.0, settings=preset("high"), size=(480, 270))
    typical = seconds(tmp_path / "nowhere", person_share=0.1)
    assert seconds(tmp_path, person_share=0.1) == pytest.approx(typical, rel=0.3)


def test_a_clip_that_was_run_before_is_known_by_its_person(tmp_path) -> None:
    finished(tmp_path, share=0.4)
    finished(tmp_path, share=0.02, frames=50, size=(640, 360))
    known = seconds(tmp_path)
    assert known == pytest.approx(START_S + sum(stage_seconds(FRAMES, SIZE, BALANCED, 0.4).values()), rel=0.2)


@pytest.mark.parametrize(
    "record",
    [
        {"machine": {"cpu": "Another", "cores": 64, "gpus": []}},
        {"machine": None},
        {"state": "failed"},
        {"state": "cancelled"},
        {"state": "running"},
    ],
)
def test_runs_of_other_machines_and_unfinished_ones_do_not_count(tmp_path, record: dict[str, Any]) -> None:
    finished(tmp_path, slower=10.0, **record)
    guess = estimate(FRAMES, SIZE, BALANCED, history=tmp_path)
    assert guess.runs == 0
    assert guess.seconds == pytest.approx(seconds(tmp_path / "nowhere"))


def test_damaged_runs_are_passed_over(tmp_path) -> None:
    finished(tmp_path)
    for name, content in {
        "text": "not json",
        "list": "[1, 2]",
        "empty": "",
        "half": json.dumps({"state": "done"}),
        "words": json.dumps({"state": "done", "settings": "many", "source": "a", "machine": machine_key()}),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(content)
    finished(tmp_path, stages={"detect": float("nan")})
    finished(tmp_path, stages={"detect": -5.0})
    finished(tmp_path, frames_in=0)
    finished(tmp_path).update(stages=["detect", 5.0])
    finished(tmp_path).update(size=[0, 0])
    finished(tmp_path, peak_rss_mb=None)
    finished(tmp_path).update(settings={"of_another_version": 1})
    finished(tmp_path).file("person.npz").write_bytes(b"PK\x03\x04 cut off")
    finished(tmp_path).file("person.npz").unlink()
    (tmp_path / "a file").write_text("")
    guess = estimate(FRAMES, SIZE, BALANCED, history=tmp_path)
    assert guess.runs == 1
    assert guess.basis.startswith("From 1 earlier run on this machine")


def test_a_run_counts_once_it_is_finished(tmp_path) -> None:
    run = finished(tmp_path, state="running")
    assert estimate(FRAMES, SIZE, BALANCED, history=tmp_path).runs == 0
    run.update(state="done")
    assert estimate(FRAMES, SIZE, BALANCED, history=tmp_path).runs == 1


def test_the_minute_that_the_first_run_spends_on_the_bodys_tables_is_not_expected_again(tmp_path) -> None:
    before = seconds(tmp_path, person_share=0.1)
    finished(tmp_path, stages={"body": 70.0, "load": 15.0})
    assert seconds(tmp_path, person_share=0.1) == pytest.approx(before, rel=0.1)


def test_another_engines_runs_tell_the_machines_speed_and_nothing_more(tmp_path) -> None:
    typical = seconds(tmp_path, person_share=0.1)
    passthrough = preset("balanced", engine="passthrough")
    slow_to_draw = {"generate": 1000.0}
    finished(tmp_path, slower=2.0, settings=passthrough, stages=slow_to_draw)
    guess = estimate(FRAMES, SIZE, BALANCED, history=tmp_path, person_share=0.1)
    assert guess.seconds == pytest.approx(2 * typical, rel=0.3)
    assert guess.basis.endswith("none of them with this engine.")


def test_stages_that_went_side_by_side_count_by_the_clock(tmp_path) -> None:
    took = stage_seconds(FRAMES, SIZE, BALANCED, 0.1)
    drawing = sum(took.get(name, 0.0) for name in DRAWING_STAGES)
    for _ in range(30):
        finished(tmp_path, drawing_s=0.7 * drawing)
    guess = estimate(FRAMES, SIZE, BALANCED, history=tmp_path, person_share=0.1)
    assert guess.seconds == pytest.approx(START_S + sum(took.values()) - 0.3 * drawing, rel=0.03)
    assert guess.stages["detect"] == pytest.approx(took["detect"], rel=0.03)


def test_a_real_run_foretells_the_next_one(tmp_path, app, small_clip) -> None:
    def took(*options: str) -> dict[str, Any]:
        done = app("replace", small_clip, "--preset", "fast", "--output", tmp_path, *options)
        assert done.returncode == 0, done.stderr
        return json.loads((Path(done.stdout.strip()) / "run.json").read_text())

    first = took()
    guess = estimate(first["frames_in"], tuple(first["size"]), preset("fast"), history=tmp_path)
    assert guess.runs == 1
    second = took("--avatar", "mannequin")
    assert second["drawing_s"] > 0
    total = START_S + sum(second["stages"].values())
    assert 0.5 < guess.seconds / total < 2
    assert 0.5 < guess.peak_mb / second["peak_rss_mb"] < 2
