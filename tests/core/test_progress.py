"""Progress: fractions, time left, cancelling."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import Cancelled
from core.progress import Progress


def test_fractions_follow_the_shares() -> None:
    seen = []
    progress = Progress({"a": 1, "b": 3}, seen.append)
    with progress.stage("a"):
        pass
    with progress.stage("b"):
        progress.report("b", 0.5, force=True)
    fractions = [state.fraction for state in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert 0.25 in fractions
    assert 0.625 in fractions


def test_track_passes_everything_through() -> None:
    progress = Progress({"a": 1})
    assert list(progress.track(range(5), "a", 5)) == [0, 1, 2, 3, 4]
    progress.report("a", 1.0, force=True)
    assert progress.state.fraction == 1.0


def test_cancel_stops_at_the_next_report() -> None:
    progress = Progress({"a": 1})
    done = []
    with pytest.raises(Cancelled):
        for item in progress.track(range(100), "a", 100):
            done.append(item)
            if item == 3:
                progress.cancel()
    assert done == [0, 1, 2, 3]


def test_finished_frames_are_made_only_for_somebody_who_looks() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    made, seen = [], []

    def make() -> np.ndarray:
        made.append(1)
        return picture

    Progress({"a": 1}).show(0, make)
    assert not made
    progress = Progress({"a": 1}, viewer=lambda frame, rgb: seen.append((frame, rgb)))
    for frame in range(5):
        progress.show(frame, make)
    # Five at once: the first is shown, the others come too soon.
    assert seen == [(0, picture)]
    assert len(made) == 1


def test_what_an_earlier_go_did_says_nothing_of_the_speed(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr("core.progress.time.monotonic", lambda: now[0])
    progress = Progress()
    progress.expect({"look": 60.0, "draw": 40.0})
    progress.skip("look")
    now[0] += 10
    progress.report("draw", 0.5, force=True)
    assert progress.state.fraction == pytest.approx(0.8)
    # Half of the drawing took ten seconds, so the other half will.
    assert progress.state.seconds_left == pytest.approx(10)
