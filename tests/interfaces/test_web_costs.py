"""The page's words for time, and whose size in the picture an estimate goes by."""

from __future__ import annotations

from fractions import Fraction

import pytest

from interfaces.web.costs import Footage
from interfaces.web.parts import duration, missing_notice, pace, span
from pipelines.replace.preview import ClipFacts, FoundPerson

FACTS = ClipFacts(frames=100, size=(1000, 500), rate=Fraction(25), duration_s=4.0, has_audio=False)
LARGE = FoundPerson((100.0, 100.0, 300.0, 400.0), 0.9, (200.0, 250.0))
SMALL = FoundPerson((220.0, 200.0, 350.0, 300.0), 0.8, (300.0, 250.0))


@pytest.mark.parametrize(
    ("point", "share"),
    [
        (None, 0.12),
        ((120.0, 390.0), 0.12),
        # Both boxes hold these: whose middle is nearer?
        ((260.0, 250.0), 0.026),
        ((230.0, 250.0), 0.12),
        ((900.0, 20.0), None),
    ],
)
def test_the_share_is_that_of_the_person_at_the_point(point, share) -> None:
    found = Footage(FACTS, (LARGE, SMALL)).person_share(point)
    assert found == (None if share is None else pytest.approx(share))


def test_nobody_found_is_no_share() -> None:
    assert Footage(FACTS).person_share(None) is None


def test_times_in_words() -> None:
    assert [duration(s) for s in (0.2, 50, 120, 7200, 40_000)] == ["1 s", "50 s", "2 min", "2 h", "11 h"]
    assert span(120, 240) == "2 to 4 min"
    assert span(50, 120) == "50 s to 2 min"
    assert span(118, 122) == "2 min"
    assert [pace(s) for s in (0.254, 9.4, 43, 600)] == ["0.25 s", "9.4 s", "43 s", "10 min"]


def test_what_is_missing_is_shown_as_text() -> None:
    shown = missing_notice("the weights <b>", "get & go")
    assert "&lt;b&gt;" in shown
    assert "<code>get &amp; go</code>" in shown
