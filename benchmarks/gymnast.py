#!/usr/bin/env python3
"""How well four calibrated views of a gymnast agree on points in space, and one view with all of them.

    python benchmarks/gymnast.py [--shared DIR] [--stride N] [--cache DIR] [--points]

Detects the person in every Nth frame of each view (kept in the cache folder, so a second run is quick), triangulates the
33 landmarks and prints the median reprojection error of each view: with the calibration as the file has it, with the
principal points mirrored, and with left and right agreed on. Then, unless ``--points``, runs the mesh product on all clips
together and on each alone (some minutes) and prints how far the body lies from the person in each view, and how far the
joints of one view's body lie from those of all views'. Exits with 1 where a median is not under 8 pixels or 80 millimetres.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.truth import views as truth  # noqa: E402
from core.types import LANDMARK_NAMES, VideoInfo  # noqa: E402
from models.detector import create_detector  # noqa: E402
from models.person_tracker import PersonTracker, choose_person  # noqa: E402
from utils.calibration import fit_to_clip, match_cameras, read_calibration  # noqa: E402
from utils.cameras.camera import Camera  # noqa: E402
from utils.cameras.sides import agree_on_sides  # noqa: E402
from utils.cameras.timing import align_views, estimate_offsets, seconds  # noqa: E402
from utils.cameras.turned import mend_turned  # noqa: E402
from utils.landmarks import clean_landmarks  # noqa: E402
from utils.triangulation import Triangulation, triangulate  # noqa: E402
from utils.video_io import VideoReader  # noqa: E402
from utils.video_probe import probe  # noqa: E402

#: Largest median reprojection error that is good enough, pixels.
TARGET_PX = 8.0
#: Largest median distance of one view's joints from those of all views, after Procrustes, millimetres.
TARGET_MM = 80.0
#: Bones whose length must not change: name and the landmarks at its ends.
BONES = {
    f"{side} {bone}": (f"{side}_{start}", f"{side}_{end}")
    for bone, start, end in (
        ("upper arm", "shoulder", "elbow"),
        ("forearm", "elbow", "wrist"),
        ("thigh", "hip", "knee"),
        ("shin", "knee", "ankle"),
    )
    for side in ("left", "right")
}


@dataclass(frozen=True)
class View:
    """One clip with its camera and what was seen in it."""

    camera: Camera
    info: VideoInfo
    pixels: np.ndarray
    """(T, 33, 2) every Nth frame."""
    weight: np.ndarray
    """(T, 33), 0..1."""


def detect(info: VideoInfo, stride: int, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """(T, 33, 2) cleaned landmarks in pixels and (T, 33) trust in them, from the cache where they are there."""
    file = cache / f"{info.path.stem}-{stride}.npz"
    if not file.is_file():
        frames = list(range(0, info.frame_count, stride))
        detector = create_detector(complexity=2)
        try:
            with VideoReader(info) as reader:
                chosen = frames[:: max(len(frames) // 10, 1)]
                looked_at = ((frames.index(t), rgb) for t, rgb in reader.at(chosen))
                tracker = PersonTracker(detector, choose_person(looked_at, detector), info.size)
                for index, (_, rgb) in enumerate(reader.at(frames)):
                    tracker.feed(index, rgb)
            pose = clean_landmarks(tracker.finish(), fps=float(info.rate) / stride)
        finally:
            detector.close()
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, pixels=pose.landmarks[..., :2], weight=pose.weight)
    with np.load(file, allow_pickle=False) as data:
        return data["pixels"].astype(np.float64), data["weight"].astype(np.float64)


def views_of(folder: Path, stride: int, cache: Path) -> list[View]:
    """The clips of a folder with their cameras."""
    clips = sorted(folder.glob("*.mp4"))
    cameras, notes = match_cameras(read_calibration(folder), clips)
    views = []
    for camera, clip in zip(cameras, clips, strict=True):
        info = probe(clip)
        with VideoReader(info) as reader:
            camera, note = fit_to_clip(camera, info.size, reader.frame(0))
        if note is not None:
            notes.append(note)
        begun = time.perf_counter()
        pixels, weight = detect(info, stride, cache)
        print(f"{clip.name}: {len(pixels)} frames, {time.perf_counter() - begun:.1f} s", file=sys.stderr)
        views.append(View(camera, info, pixels, weight))
    for note in notes:
        print(f"* {note}")
    return views


def row(what: str, found: Triangulation) -> str:
    """One line of the table."""
    trusted, every = found.median_errors(), found.median_errors(trusted_only=False)
    share = found.used.mean(axis=(1, 2))
    cells = [f"{a:.1f} / {b:.1f} ({c:.0%})" for a, b, c in zip(trusted, every, share, strict=True)]
    return f"| {what} | {' | '.join(cells)} | {np.isfinite(found.points).all(-1).mean():.1%} |"


def one_against_all(folder: Path, cache: Path) -> bool:
    """Fit the body to all views and to each, print how they differ, and tell whether the targets are met."""
    clips = sorted(folder.glob("*.mp4"))
    calibration = next(folder.glob("*.qca.txt"))
    every = truth.fit(clips, calibration, cache / "runs")
    errors: dict[str, float] = every.quality["reprojection"]["views"]
    print(
        "\n| body of all views against the person | " + " | ".join(errors) + " |\n" + "|---" * (len(errors) + 1) + "|"
    )
    print("| median distance, px | " + " | ".join(f"{value:.1f}" for value in errors.values()) + " |\n")
    differences = [
        truth.compare(truth.fit([clip], None, cache / "runs"), every, index, camera)
        for index, (clip, camera) in enumerate(zip(clips, errors, strict=True))
    ]
    print("\n".join(truth.table(differences)))
    medians = [float(np.median(one.procrustes)) for one in differences]
    return max(errors.values()) < TARGET_PX and max(medians) < TARGET_MM


def main() -> int:
    """Print the tables; 0 where the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--stride", type=int, default=2, help="frames from one detection to the next")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "gymnast")
    parser.add_argument("--points", action="store_true", help="fit no bodies")
    args = parser.parse_args()
    folder = args.shared / "footage" / "gymnast4"
    if not folder.is_dir() or args.stride < 1:
        print(f"no footage in {folder}, or stride {args.stride} is below 1", file=sys.stderr)
        return 2
    views = views_of(folder, args.stride, args.cache)
    cameras = [view.camera for view in views]
    pixels, weight = (np.stack(arrays) for arrays in zip(*[(v.pixels, v.weight) for v in views], strict=True))
    print(
        f"\n| median error, px: trusted / all (share trusted) | {' | '.join(c.name for c in cameras)} | points found |"
    )
    print("|---" * (len(views) + 2) + "|")
    print(row("calibration as it is", triangulate(cameras, pixels, weight)))
    mended, note = mend_turned(cameras, pixels, weight)
    print(row("principal points mirrored", triangulate(mended, pixels, weight)))
    order = agree_on_sides(mended, pixels, weight)
    pixels, weight = np.take_along_axis(pixels, order[..., None], axis=2), np.take_along_axis(weight, order, axis=2)
    found = triangulate(mended, pixels, weight)
    print(row("left and right agreed on", found))
    exchanged = (order != np.arange(len(LANDMARK_NAMES))).any(axis=-1).sum(axis=1)
    told = ", ".join(f"{camera.name} {count}" for camera, count in zip(cameras, exchanged, strict=True))
    print(f"\n* {note or 'The calibration was left as it is.'}\n* Frames with left and right exchanged: {told}.")
    times = [seconds(view.info)[:: args.stride] for view in views]
    offsets, said = estimate_offsets(mended, times, list(pixels), list(weight), max_offset=0.2)
    print(f"* Offsets found: {', '.join(f'{1000 * value:+.0f} ms' for value in offsets)}. {' '.join(said)}")
    print(f"* Moments that all views cover: {len(align_views([view.info for view in views], offsets.tolist()))}.")
    print("\n| bone | median length, m | spread (standard deviation), m |\n|---|---|---|")
    for name, ends in BONES.items():
        start, end = (found.points[:, LANDMARK_NAMES.index(end)] for end in ends)
        length = np.linalg.norm(start - end, axis=-1)
        print(f"| {name} | {np.nanmedian(length):.3f} | {np.nanstd(length):.3f} |")
    near = bool((found.median_errors(trusted_only=False) < TARGET_PX).all())
    return int(not near or not (args.points or one_against_all(folder, args.cache)))


if __name__ == "__main__":
    sys.exit(main())
