"""Parts of the pages that runs leave: plots, tables and pictures, in one file that needs nothing else."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

STYLE = """
:root{color-scheme:light dark;--fg:#1c2024;--bg:#fbfbfa;--card:#fff;--line:#e4e4e0;--soft:#6b7075;--a:#2f6fde;--b:#d9622b}
@media(prefers-color-scheme:dark){:root{--fg:#e8e8e6;--bg:#141517;--card:#1d1f22;--line:#303338;--soft:#9aa0a6}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);margin:0 auto;max-width:64rem;padding:2rem 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem}.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;margin:.6rem 0;overflow-x:auto}
table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem .3rem 0;text-align:left;border-bottom:1px solid var(--line)}
tr:last-child td{border:0}
td.n{font-variant-numeric:tabular-nums;white-space:nowrap}@media(max-width:40rem){td.n{white-space:normal}}figure{margin:0}figcaption{color:var(--soft)}
img{max-width:100%;border-radius:6px}.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.6rem}
svg{width:100%;height:auto}.warn{border-left:4px solid var(--b)}.bar{fill:var(--a)}
"""


def picture(rgb: np.ndarray, width: int = 640) -> str:
    """An ``<img>`` with the picture inside it, at most ``width`` pixels wide."""
    height = round(rgb.shape[0] * width / rgb.shape[1])
    if rgb.shape[1] > width:
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'


def plot(series: Mapping[str, Sequence[float | None]], caption: str, *, height: int = 150) -> str:
    """Lines over the frames as an ``<svg>``; gaps (``None`` or NaN) stay gaps."""
    colours = ("var(--a)", "var(--b)")
    clean = {k: [math.nan if v is None else float(v) for v in values] for k, values in series.items()}
    known = [v for values in clean.values() for v in values if math.isfinite(v)]
    if not known:
        return ""
    low, high = min(0.0, *known), max(known)
    span = (high - low) or 1.0
    width, left, bottom = 900, 50, 20
    parts = []
    for value in (low, low + span / 2, high):
        y = 8 + (height - bottom - 8) * (1 - (value - low) / span)
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="0" y="{y + 4:.1f}" font-size="12" fill="var(--soft)">{value:.3g}</text>')
    names = []
    for colour, (name, values) in zip(colours, clean.items(), strict=False):
        step = (width - left) / max(len(values) - 1, 1)
        path, pen_up = [], True
        for i, value in enumerate(values):
            if not math.isfinite(value):
                pen_up = True
                continue
            y = 8 + (height - bottom - 8) * (1 - (value - low) / span)
            path.append(f"{'M' if pen_up else 'L'}{left + i * step:.1f} {y:.1f}")
            pen_up = False
        parts.append(f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        names.append(f'<span style="color:{colour}">■</span> {html.escape(name)}')
    count = max(len(values) for values in clean.values())
    parts.append(f'<text x="{left}" y="{height - 4}" font-size="12" fill="var(--soft)">frame 0</text>')
    parts.append(
        f'<text x="{width}" y="{height - 4}" font-size="12" text-anchor="end" fill="var(--soft)">{count - 1}</text>'
    )
    svg = f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'
    return f'<figure class="card"><figcaption>{html.escape(caption)} &nbsp; {" &nbsp; ".join(names)}</figcaption>{svg}</figure>'


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """A ``<table>`` of name, value and meaning."""
    cells = "".join(
        f"<tr><td>{html.escape(a)}</td><td class=n>{html.escape(b)}</td><td class=soft>{html.escape(c)}</td></tr>"
        for a, b, c in rows
    )
    return f'<div class="card"><table>{cells}</table></div>'


def number(value: Any) -> str:
    """A value as it stands in a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def stage_times(stages: Mapping[str, float], frames: int) -> str:
    """A ``<table>`` of the seconds of each stage, with bars."""
    longest = max(stages.values(), default=0.0) or 1.0
    rows = []
    for name, seconds in stages.items():
        share = 100 * seconds / longest
        rectangle = f'<rect class="bar" width="{share:.1f}" height="6"/>'
        bar = f'<svg viewBox="0 0 100 6" preserveAspectRatio="none" height="8">{rectangle}</svg>'
        each = f"{1000 * seconds / max(frames, 1):.1f} ms a frame"
        rows.append(
            f"<tr><td>{html.escape(name)}</td><td class=n>{seconds:.2f} s</td><td class=n>{each}</td><td>{bar}</td></tr>"
        )
    return f'<div class="card"><table>{"".join(rows)}</table></div>'


def peak_graphics(record: dict[str, Any]) -> str:
    """The most graphics memory and the stage that took it; empty without a card."""
    peaks = record.get("vram_mb") or {}
    if not peaks:
        return ""
    stage = max(peaks, key=lambda name: peaks[name])
    return f" · peak graphics memory {peaks[stage]:.0f} MB ({html.escape(stage)})"
