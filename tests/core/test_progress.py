"""Progress: fractions, time left, cancelling."""

from __future__ import annotations

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
