"""Small decisions of the survey."""

from __future__ import annotations

import numpy as np

from pipelines.survey.frames import ranges, spread


def test_spread_takes_few_frames_over_the_whole_clip() -> None:
    assert spread(3, 10) == [0, 1, 2]
    chosen = spread(150, 10)
    assert len(chosen) == 10
    assert chosen == sorted(set(chosen))
    assert chosen[0] > 0 and chosen[-1] < 149
    assert max(np.diff(chosen)) < 20


def test_ranges_read_like_a_person_would_write_them() -> None:
    flags = np.zeros(12, bool)
    flags[[0, 1, 2, 5, 9, 10, 11]] = True
    assert ranges(flags) == "0-2, 5, 9-11"
    assert ranges(np.zeros(4, bool)) == ""
