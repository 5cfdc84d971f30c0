"""The report is one file that shows what a user wants to know."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from pipelines.pages import plot
from pipelines.replace.report import render_report

RECORD = {
    "id": "20260101-000000-clip-abcd",
    "source": "my <clip>.mp4",
    "frames_out": 10,
    "fps": "30000/1001",
    "peak_rss_mb": 512.0,
    "device": "cpu",
    "warnings": ["The person is not in frames 3-5; they are the source's own."],
    "metrics": {"coverage": 1.0, "flicker": None},
    "stages": {"detect": 1.25, "encode": 0.5},
    "settings": {"avatar": "alex", "prompt": "", "seed": 0},
}


class _Balanced(HTMLParser):
    """Counts open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def handle_starttag(self, tag, attrs) -> None:
        self.depth += tag not in ("meta", "img", "rect", "line")

    def handle_endtag(self, tag) -> None:
        self.depth -= tag not in ("meta", "img", "rect", "line")


def test_report_is_complete_and_escaped() -> None:
    picture = np.full((20, 40, 3), 120, np.uint8)
    text = render_report(RECORD, {"iou over the frames": [0.8, None, 0.9]}, [(3, picture, picture)])
    for wanted in ("my &lt;clip&gt;.mp4", "frames 3-5", "coverage", "1.25 s", "125.0 ms a frame", "alex", "frame 3"):
        assert wanted in text
    parser = _Balanced()
    parser.feed(text)
    assert parser.depth == 0


def test_plot_leaves_gaps_open() -> None:
    text = plot({"a": [0.0, 1.0, None, 1.0, 0.0]}, "")
    path = text.split('<path d="')[1].split('"')[0]
    assert path.count("M") == 2
    assert path.count("L") == 2
    assert plot({"a": [None, None]}, "") == ""
