"""``quality.json`` and ``quality.html``: how good a mesh is, and what would make it better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.body.fit_size import height_of
from pipelines.mesh.lens import described
from pipelines.mesh.measures import (
    Evidence,
    absent_and_guessed,
    confidence,
    cuts,
    flips,
    foot_slide_mm,
    jitter,
    limb_lengths,
    mean,
    mended,
    missed,
    reprojection,
    rounded,
    spans,
    upside_down,
)
from pipelines.mesh.one_view import size_source
from pipelines.mesh.quality_page import render_page
from pipelines.mesh.shot import MeshShot
from pipelines.mesh.views import clip_errors
from pipelines.survey.frames import ranges

#: Below this mean trust a part of the body counts as hardly seen.
HARDLY_SEEN = 0.3
#: Distance of the body from the person in a view, as a share of the person's height, that makes the view doubtful.
POOR_VIEW = 0.03
#: Height of the person in pixels below which detections are coarse; share of frames with mended limbs that is much.
SMALL_PX, MUCH_MENDED = 150, 0.2
#: Frames per second below which fast motion is lost.
SLOW_RATE = 20.0


def judge(shot: MeshShot) -> None:
    """Measure the mesh and write ``quality.json`` and ``quality.html``."""
    evidence = _evidence(shot)
    figures, series = measure(evidence)
    if shot.views:
        keypoints = np.where(evidence.body.valid[:, None, None], evidence.body.keypoints, np.nan)
        figures["reprojection"]["views"] = clip_errors(shot, keypoints)
        exchanged = shot.run.load_arrays("points.npz")["exchanged"].tolist()
        names = [view.camera.name for view in shot.views]
        figures["outliers"]["sides_exchanged"] = dict(zip(names, exchanged, strict=True))
        figures["reprojection"]["triangulation_px"] = shot.figures["views_reprojection_px"]
    figures["lens"] = described(shot)
    figures["size"] = {"height_m": rounded(height_of(shot.rest, evidence.body)), "from": size_source(shot)}
    for text in warnings_of(figures, evidence):
        shot.run.warn(text)
    figures["advice"] = [*advice(figures, evidence), *told_better(figures)]
    shot.run.save_json("quality.json", figures)
    headline = {
        "coverage": figures["frames"]["coverage"],
        "converged": figures["converged"],
        "reprojection_px": figures["reprojection"]["median_px"],
        "reprojection_pct": figures["reprojection"]["percent_of_height"],
        "jitter_mm": figures["jitter"]["after_mm"],
        "slide_mm": figures["foot_slide"]["mm_per_frame"],
    }
    shot.run.update(metrics={**shot.figures, **headline})
    shot.run.save_text("quality.html", render_page(shot.run.record, figures, series))


def _evidence(shot: MeshShot) -> Evidence:
    track, pose, camera = shot.found
    assert shot.body is not None and shot.contacts is not None, "stages out of order"
    read = track.world if shot.space is None else shot.space.points
    rate = float(shot.info.rate)
    return Evidence(track, pose, shot.body, camera, shot.contacts, rate, read.astype(np.float64), shot.cuts)


def measure(evidence: Evidence) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """All figures, and series over the frames by plot and line."""
    track, body = evidence.track, evidence.body
    gone, guessed = absent_and_guessed(track)
    raw = jitter(evidence.read, track.present, evidence.cuts)
    final = jitter(body.keypoints.astype(np.float64), body.valid, evidence.cuts)
    errors, slide, trust = reprojection(evidence), foot_slide_mm(evidence), confidence(evidence)
    before, after = mean(raw), mean(final)
    known = errors[np.isfinite(errors)]
    height = track.height_px
    # With several views the others may see the person where the reference view does not.
    fitted, seen = int(body.valid.sum()), track.present | body.valid
    off = missed(evidence, errors)
    figures: dict[str, Any] = {
        "frames": {
            "total": len(track),
            "with_person": int(seen.sum()),
            "fitted": fitted,
            "coverage": rounded(fitted / max(int(seen.sum()), 1)),
            "absent": spans(gone & ~body.valid),
            "interpolated": spans(guessed),
            "cuts": list(evidence.cuts),
            "suspected_cuts": cuts(evidence),
            "flips": flips(evidence),
        },
        "outliers": {"landmarks": dict(evidence.pose.repaired), "frames": mended(evidence)},
        "jitter": {
            "before_mm": before,
            "after_mm": after,
            "reduction": rounded(1 - after / before) if before and after is not None else None,
        },
        "reprojection": {
            "median_px": rounded(float(np.median(known)), 2) if len(known) else None,
            "p90_px": rounded(float(np.percentile(known, 90)), 2) if len(known) else None,
            "percent_of_height": rounded(float(100 * np.median(known) / height)) if len(known) and height else None,
        },
        "converged": rounded(1 - off.sum() / fitted) if fitted else None,
        "not_converged": spans(off),
        "foot_slide": {"mm_per_frame": mean(slide), "frames": int(np.isfinite(slide).sum())},
        "confidence": {name: mean(values) for name, values in trust.items()},
        "limb_lengths_m": limb_lengths(evidence),
    }
    series = {
        "Trust in the arms, 0 to 1": {"left": trust["left arm"], "right": trust["right arm"]},
        "Trust in the legs, 0 to 1": {"left": trust["left leg"], "right": trust["right leg"]},
        "Distance of body and person in the picture, px": {"median of the limbs": errors},
        "Jitter, mm per frame²": {"as read": raw, "body": final},
        "Movement of standing feet, mm per frame": {"mean": slide},
    }
    return figures, series


def warnings_of(figures: Mapping[str, Any], evidence: Evidence) -> list[str]:
    """What did not go the plain way."""
    texts = []
    for frame in figures["frames"]["suspected_cuts"]:
        texts.append(
            f"The picture changes at once before frame {frame}, as at a cut; the body is smoothed across it. "
            "Give each part as a clip of its own."
        )
    if figures["frames"]["flips"]:
        frames = ", ".join(map(str, figures["frames"]["flips"]))
        texts.append(
            f"The body turns round at once at frame {frames}: unless the person spins, left and right were read the wrong way "
            "before or after it. A second view would tell."
        )
    hidden = [name for name, value in figures["confidence"].items() if value is not None and value < HARDLY_SEEN]
    if hidden:
        texts.append(f"Hardly seen: {', '.join(hidden)}; the pose of these parts is a guess.")
    if upside_down(evidence) > 0.5:
        texts.append("The person is upside down in most frames; turn the clip if it was filmed upright.")
    if figures["not_converged"]:
        off = missed(evidence, reprojection(evidence))
        texts.append(f"The body does not lie on the person in frames {ranges(off)}.")
    for name, error in figures["reprojection"].get("views", {}).items():
        if error is not None and error > POOR_VIEW * evidence.track.height_px > 0:
            texts.append(
                f"In the view {name} the body lies {error:.0f} px off the person: somebody else is followed there, or its "
                "camera or clock is another than the calibration's."
            )
    return texts


def advice(figures: Mapping[str, Any], evidence: Evidence) -> list[str]:
    """What to change in the footage to get a better mesh, the most important first; empty where nothing stands out."""
    texts: list[str] = []
    frames = figures["frames"]
    hidden = [name for name, value in figures["confidence"].items() if value is not None and value < HARDLY_SEEN]
    if frames["suspected_cuts"]:
        texts.append("Cut the clip into single shots.")
    elif frames["cuts"]:
        texts.append("Film in one take: the motion breaks off at each cut.")
    if hidden:
        texts.append(f"Show the whole person: {', '.join(hidden)} can hardly be seen.")
    if 0 < evidence.track.height_px < SMALL_PX:
        texts.append(f"Film closer: the person is {evidence.track.height_px:.0f} pixels tall.")
    if evidence.rate < SLOW_RATE:
        texts.append(f"Film at 25 frames a second or more: {evidence.rate:.4g} lose fast motion.")
    guessed = [entry["replaced"] for entry in figures["outliers"]["frames"] if entry["replaced"]]
    many = len(guessed) / max(frames["with_person"], 1)
    if many > MUCH_MENDED:
        most = Counter(name for names in guessed for name in names).most_common(1)[0][0].replace("_", " ")
        texts.append(
            f"Limbs had to be guessed in {100 * many:.0f} % of the frames, the {most} most often. Where the body hides them, "
            "a second camera helps; where they blur, more light and a shorter shutter."
        )
    if frames["absent"] or frames["interpolated"]:
        texts.append("Keep the person in the picture and unhidden: in some frames it was not found.")
    if figures["converged"] is not None and figures["converged"] < 0.95:
        texts.append("Try --set fit=best.")
    return texts


def told_better(figures: Mapping[str, Any]) -> list[str]:
    """What the run had to guess and the user may know."""
    texts = []
    if figures["size"]["from"] == "landmarks":
        texts.append("The person's height is a guess: tell it with --set height=METRES.")
    if figures["lens"]["from"] == "usual":
        texts.append("The lens is a guess: tell it with --set focal_length=PIXELS where it is known.")
    return texts
