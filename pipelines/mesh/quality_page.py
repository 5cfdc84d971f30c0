"""``quality.html``: the figures of a mesh with plots, in one file that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.pages import STYLE, number, peak_graphics, plot, stage_times, table

#: Lines about mended frames that are shown at most.
LISTED = 200


def render_page(
    record: Mapping[str, Any], figures: Mapping[str, Any], series: Mapping[str, Mapping[str, np.ndarray]]
) -> str:
    """The whole page.

    Parameters
    ----------
    record:
        The content of ``run.json``.
    figures:
        The content of ``quality.json``.
    series:
        (T,) values over the frames, by caption of the plot and name of the line; NaN is a gap.
    """
    plots = "".join(
        plot({name: values.tolist() for name, values in lines.items()}, caption) for caption, lines in series.items()
    )
    warnings = "".join(f'<div class="card warn">{html.escape(text)}</div>' for text in record["warnings"])
    tips = "".join(f"<li>{html.escape(text)}</li>" for text in figures["advice"])
    better = f'<div class="card"><ul>{tips}</ul></div>' if tips else '<p class="soft">Nothing stands out.</p>'
    clip = html.escape(", ".join(str(s["path"]).rpartition("/")[2] for s in record["sources"]))
    frames = figures["frames"]
    head = (
        f'<p class="soft">{clip} · {frames["total"]} frames · {record["fps"]} frames/s{peak_graphics(dict(record))}</p>'
    )
    settings = [(name, number(value), "") for name, value in record["settings"].items() if value not in (None, "")]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(record['id'])}</title><style>{STYLE}</style><h1>{html.escape(record['id'])}</h1>{head}"
        f"{warnings}<h2>Quality</h2>{table(_summary(figures))}{plots}<h2>What would help</h2>{better}"
        f"<h2>Limb lengths</h2>{_lengths(figures['limb_lengths_m'])}<h2>Mended frames</h2>{_mended(figures)}"
        f"<h2>Time</h2>{stage_times(record['stages'], frames['total'])}<h2>Settings</h2>{table(settings)}</html>"
    )


def _summary(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    frames, jitter, error = figures["frames"], figures["jitter"], figures["reprojection"]
    rows = [
        ("coverage", _shown(frames["coverage"]), "Share of the person's frames that have a body"),
        ("converged", _shown(figures["converged"]), "Share of those in which the body lies on the person"),
        ("reprojection", _shown(error["median_px"], "px"), "Distance of the limbs in the picture, median"),
        ("", _shown(error["percent_of_height"], "%"), "The same in percent of the person's height"),
        ("jitter before", _shown(jitter["before_mm"], "mm"), "Mean acceleration of the limbs as read, per frame²"),
        ("jitter after", _shown(jitter["after_mm"], "mm"), "The same of the body"),
        ("foot slide", _shown(figures["foot_slide"]["mm_per_frame"], "mm/frame"), "Movement of standing feet"),
        ("interpolated", _spans(frames["interpolated"]), "Frames in which the person was not found"),
        ("absent", _spans(frames["absent"]), "Frames without a body"),
    ]
    lens, size = figures["lens"], figures["size"]
    rows += [
        ("height", _shown(size["height_m"], "m"), f"Of the body; from: {size['from']}"),
        ("focal length", _shown(lens["focal_px"], "px"), f"Of the lens; from: {lens['from']}"),
    ]
    rows += [
        (f"view {name}", _shown(value, "px"), "Distance of the limbs in this view, median")
        for name, value in error.get("views", {}).items()
    ]
    return rows


def _shown(value: float | None, unit: str = "") -> str:
    return "not known" if value is None else f"{number(value)} {unit}".strip()


def _spans(spans: list[list[int]]) -> str:
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans) or "none"


def _lengths(lengths: Mapping[str, Mapping[str, float | None]]) -> str:
    return table(
        [
            (
                name,
                _shown(row["fitted"], "m"),
                f"read {_shown(row['read'], 'm')}, varying by {_shown(row['read_spread'], 'm')}",
            )
            for name, row in lengths.items()
        ]
    )


def _mended(figures: Mapping[str, Any]) -> str:
    frames = figures["outliers"]["frames"]
    if not frames:
        return '<p class="soft">None.</p>'
    rows: list[list[Any]] = []
    for entry in frames:
        text = _what_was_mended(entry)
        # Frames in a row that were mended alike share a line.
        if rows and rows[-1][1] == entry["frame"] - 1 and rows[-1][2] == text:
            rows[-1][1] = entry["frame"]
        else:
            rows.append([entry["frame"], entry["frame"], text])
    lines = [("frame " + str(a) if a == b else f"frames {a}-{b}", "", text) for a, b, text in rows[:LISTED]]
    more = f'<p class="soft">{len(rows) - LISTED} more in quality.json.</p>' if len(rows) > LISTED else ""
    return table(lines) + more


def _what_was_mended(entry: Mapping[str, Any]) -> str:
    texts = []
    if entry["replaced"]:
        texts.append("from the frames around: " + ", ".join(name.replace("_", " ") for name in entry["replaced"]))
    if entry["exchanged"]:
        texts.append("left and right exchanged: " + ", ".join(entry["exchanged"]))
    return "; ".join(texts)
