"""``report.html``: settings, timings and quality figures of a run with plots, in one file that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.pages import STYLE, number, peak_graphics, picture, plot, stage_times, table

#: What each figure means, in words for a user, and its unit.
MEANINGS: dict[str, tuple[str, str]] = {
    "background_psnr_db": ("Pixels away from the person against the source (only the codec differs)", "dB"),
    "background_changed": ("Share of those pixels that differ visibly", ""),
    "coverage": ("Share of the person's frames in which the new person was drawn", ""),
    "iou": ("Overlap of the new person's silhouette with the old one's", ""),
    "replaced": ("Share of the old person's pixels that changed visibly", ""),
    "reprojection_px": ("Distance of the fitted body's joints from the person's, median", "px"),
    "reprojection_pct": ("The same in percent of the person's height", "%"),
    "face_frames": ("Frames in which the face moves with the person's", ""),
    "hand_frames": ("Frames in which fingers of at least one hand move with the person's", ""),
    "flicker": ("Brightness steadiness inside the person, source = 1", ""),
    "slide_px": ("Movement of standing feet against the ground", "px/frame"),
    "seam": ("Largest jump between two frames beyond the source's own", ""),
    "camera_inliers": ("Share of the tracked points that agree with the camera path", ""),
    "plate_seen": ("Share of the hidden scene that other frames really show", ""),
}


def render_report(
    record: dict[str, Any],
    series: Mapping[str, Sequence[float | None]],
    pairs: Sequence[tuple[int, np.ndarray, np.ndarray]],
) -> str:
    """The whole page.

    Parameters
    ----------
    record:
        The content of ``run.json``.
    series:
        Values over the frames, by the caption of their plot.
    pairs:
        ``(frame, source, result)`` pictures, (H, W, 3) uint8, to be shown side by side.
    """
    figures = []
    for name, value in record["metrics"].items():
        meaning, unit = MEANINGS.get(name, ("", ""))
        figures.append((name, f"{number(value)} {unit}".strip(), meaning))
    settings = [(name, number(value), "") for name, value in record["settings"].items() if value not in (None, "")]
    warnings = "".join(f'<div class="card warn">{html.escape(text)}</div>' for text in record["warnings"])
    shown = "".join(
        f'<figure class="card"><figcaption>frame {index}</figcaption><div class="pair">{picture(a)}{picture(b)}</div></figure>'
        for index, a, b in pairs
    )
    plots = "".join(plot({caption: values}, "") if values is not None else "" for caption, values in series.items())
    clip = html.escape(str(record.get("name") or record["source"]))
    head = (
        f'<p class="soft">{clip} · {record["frames_out"]} frames · {record["fps"]} frames/s · '
        f"{html.escape(str(record.get('device', '')))} · peak memory {record['peak_rss_mb']:.0f} MB{peak_graphics(record)}</p>"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(record['id'])}</title><style>{STYLE}</style><h1>{html.escape(record['id'])}</h1>{head}"
        f"{warnings}<h2>Source and result</h2>{shown}<h2>Quality</h2>{table(figures)}{plots}"
        f"<h2>Time</h2>{stage_times(record['stages'], record['frames_out'])}<h2>Settings</h2>{table(settings)}</html>"
    )
