"""Who is to be seen, one frame in its final look, and runs that wait."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from core.errors import InputError, NotAVideo
from core.runs import list_runs
from core.settings import ReplaceSettings
from pipelines.replace import preview
from pipelines.replace.processor import enqueue_clip, resume_run
from tests import clips

QUICK = ReplaceSettings(detector_complexity=0, fit="quick", plate_samples=8, edge_samples=2, occlusion_rays=6)


@pytest.fixture(scope="module")
def shown(small_clip, tmp_path_factory) -> tuple:
    """A preview of frame 9, and the folder of its digest."""
    cache = tmp_path_factory.mktemp("previews")
    return preview.preview_frame(small_clip, QUICK, cache=cache, frame=9), cache


def test_people_are_found_where_they_are(small_clip) -> None:
    found = preview.find_people(small_clip, QUICK)
    assert found.rgb.shape == (clips.DEMO_SIZE[1], clips.DEMO_SIZE[0], 3)
    assert len(found.people) == 1
    x0, y0, x1, y1 = found.people[0].xyxy
    assert y1 - y0 > 0.4 * clips.DEMO_SIZE[1] > x1 - x0
    x, y = found.people[0].point
    assert x0 <= x <= x1 and y0 <= y <= y1


def test_nobody_there_is_said_so(tmp_path) -> None:
    with pytest.raises(InputError, match="No person was found"):
        preview.find_people(clips.plain(tmp_path, size=(320, 240)), QUICK)


def test_a_preview_changes_the_person_and_nothing_else(small_clip, shown) -> None:
    result, _ = shown
    assert result.frame == 9
    box = np.array(preview.find_people(small_clip, QUICK).people[0].xyxy)
    changed = np.abs(result.source.astype(int) - result.result).max(axis=2) > 12
    rows, columns = np.nonzero(changed)
    assert len(rows) > 0.3 * (box[2] - box[0]) * (box[3] - box[1]) * 0.3
    reach = 0.6 * (box[3] - box[1])
    assert columns.min() > box[0] - reach and columns.max() < box[2] + reach


def test_a_preview_looks_like_the_run(small_clip, shown, tmp_path) -> None:
    result, _ = shown
    folder = resume_run(enqueue_clip(small_clip, QUICK, output=tmp_path).path)
    source, finished = preview.frame_pair(folder, 9)
    # The digest is a re-encoded clip, the finished one an encoded result: a little noise apart, but the same picture.
    assert np.abs(source.astype(int) - result.source).mean() < 3
    new = np.abs(result.result.astype(int) - result.source).max(axis=2) > 12
    apart = np.abs(result.result.astype(int) - finished)[new].mean()
    moved = np.abs(result.result.astype(int) - result.source)[new].mean()
    assert apart < 0.35 * moved
    with pytest.raises(InputError, match="no frame 24"):
        preview.frame_pair(folder, 24)


def test_another_avatar_uses_the_same_survey(small_clip, shown) -> None:
    result, cache = shown
    folders = sorted(cache.iterdir())
    other = preview.preview_frame(small_clip, QUICK.model_copy(update={"avatar": "maya"}), cache=cache, frame=9)
    assert sorted(cache.iterdir()) == folders
    np.testing.assert_array_equal(other.source, result.source)
    assert np.abs(other.result.astype(int) - result.result).max() > 40


def test_a_frame_that_is_not_there_is_said_so(small_clip, tmp_path) -> None:
    with pytest.raises(InputError, match=r"no frame 99.*0 to 23"):
        preview.preview_frame(small_clip, QUICK, cache=tmp_path, frame=99)


def test_facts_of_a_clip(small_clip) -> None:
    facts = preview.clip_facts(small_clip)
    assert (facts.frames, facts.size, facts.has_audio) == (clips.DEMO_FRAMES, clips.DEMO_SIZE, True)
    assert facts.duration_s == pytest.approx(clips.DEMO_FRAMES / float(facts.rate), rel=1e-3)


def test_a_waiting_run_owns_its_clip(small_clip, tmp_path) -> None:
    clip = tmp_path / "upload"
    shutil.copy(small_clip, clip)
    run = enqueue_clip(
        clip, ReplaceSettings(engine="passthrough"), output=tmp_path / "out", name="../../My walk.MP4", preset="fast"
    )
    assert run.path.parent == tmp_path / "out"
    assert (run.record["state"], run.record["name"], run.record["preset"]) == ("queued", "My walk.MP4", "fast")
    assert run.has("thumbnail.jpg")
    clip.unlink()
    folder = resume_run(run.path)
    record = json.loads((folder / "run.json").read_text())
    assert (record["state"], record["frames_out"]) == ("done", clips.DEMO_FRAMES)
    assert record["machine"]


def test_what_cannot_be_run_leaves_nothing_behind(small_clip, tmp_path) -> None:
    out = tmp_path / "out"
    with pytest.raises(NotAVideo, match=r"^holiday\.mp4 is a text file"):
        enqueue_clip(clips.text(tmp_path), QUICK, output=out, name="holiday.mp4")
    with pytest.raises(InputError, match="no avatar"):
        enqueue_clip(small_clip, QUICK.model_copy(update={"avatar": "nobody"}), output=out)

    def refuse(info) -> None:
        raise InputError(f"{info.frame_count} frames are too many.")

    with pytest.raises(InputError, match="24 frames are too many"):
        enqueue_clip(small_clip, QUICK, output=out, info_check=refuse)
    assert list_runs(out) == []
