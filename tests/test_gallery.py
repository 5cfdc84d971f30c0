"""The gallery and the wardrobe's benchmark: what they say of an avatar is what a user gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from benchmarks.surveyed import SurveyedClip, with_avatar
from core.settings import ReplaceSettings
from models.body.wardrobe import list_avatars
from pipelines.replace.processor import replace_clip, resume_run
from scripts.make_gallery import FLAWS, FOLDER, MAX_BYTES, page
from tests import clips
from utils.video_io import VideoReader
from utils.video_probe import probe


def frames_of(video: Path) -> list[np.ndarray]:
    with VideoReader(probe(video)) as reader:
        return list(reader.frames())


def test_the_page_shows_every_avatar_with_its_worst_flaw() -> None:
    flaws = yaml.safe_load(FLAWS.read_text(encoding="utf-8"))
    assert set(flaws) == {spec.name for spec in list_avatars()}
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page(list_avatars(), flaws), "run make gallery"
    for spec in list_avatars():
        assert 0 < (FOLDER / f"{spec.name}.jpg").stat().st_size <= MAX_BYTES


def test_a_run_on_anothers_survey_gives_the_same_pictures(tmp_path: Path, demo_clip: Path) -> None:
    """The survey knows nothing of the avatar; so the benchmark may make it once for all of them."""
    clip = clips.demo_cut(demo_clip, tmp_path, frames=12, size=(320, 180))
    values = {"fit": "quick", "plate_samples": 5, "detector_complexity": 0, "comparison": False}
    first = replace_clip(clip, ReplaceSettings(avatar="alex", **values), output=tmp_path / "runs")
    whole = replace_clip(clip, ReplaceSettings(avatar="mannequin", **values), output=tmp_path / "runs")
    shared = resume_run(with_avatar(first, "mannequin", tmp_path / "runs"))
    for one, other in zip(frames_of(whole / "result.mp4"), frames_of(shared / "result.mp4"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(frames_of(whole / "result.mp4")[6].astype(int) - frames_of(first / "result.mp4")[6]).max() > 40


def test_single_frames_are_those_of_a_whole_run(tmp_path: Path, demo_clip: Path) -> None:
    clip = clips.demo_cut(demo_clip, tmp_path, frames=12, size=(320, 180))
    surveyed = SurveyedClip(clip, tmp_path / "survey", "fast")
    ((source, drawn),) = surveyed.frames("mannequin", [6])
    run = resume_run(with_avatar(tmp_path / "survey", "mannequin", tmp_path / "runs"))
    np.testing.assert_array_equal(source, frames_of(clip)[6])
    # The run's picture went through the encoder.
    difference = np.abs(frames_of(run / "result.mp4")[6].astype(int) - drawn)
    assert difference.mean() < 2
    assert surveyed.present[6] and surveyed.box(6)[3] > surveyed.box(6)[1]
