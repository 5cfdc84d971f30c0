#!/usr/bin/env python3
"""Run the mesh command on real footage and print how well the body covers the person, and what it took.

    python benchmarks/mesh_footage.py [--shared DIR] [--output DIR] [--clips walk,runner] [--set KEY=VALUE]

Each clip goes through ``app.py mesh --video overlay --format ""`` as a user would run it. Printed, as Markdown:

- overlap: intersection over union of the drawn body (half of a pixel and more) with the person's mask, the median and the
  tenth percentile over every other frame in which the person was detected. The mask is the one in ``person.npz``, which
  the landmark network gives: with clothes, hair, shoes, and at times with what the person carries.
- reprojection: distance of the body's limbs from the detected ones, median, in pixels and per cent of the height.
- jitter: mean acceleration of the limbs against the hips, mm per frame squared, as detected and of the body.
- frames a second of the body's fit, of fit and build together, of drawing and writing the overlay, and of the whole
  command with start-up; the most memory that the process held.

Exits with 1 where the median overlap of a clip is below 0.80.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.runs import RunFolder, read_mask_archive  # noqa: E402
from core.types import DETECTED, ShotLook  # noqa: E402
from models.body.anny_body import AnnyBody  # noqa: E402
from models.body.mesh.build import with_girth  # noqa: E402
from models.body.mesh_rendering import MeshRenderer  # noqa: E402
from pipelines.survey.body import load_body  # noqa: E402

#: Least median overlap of body and mask.
TARGET = 0.80
#: Every how many frames the overlap is measured.
STRIDE = 2
#: Light has no part in the overlap.
PLAIN = ShotLook(
    light_direction=np.array([0, -1, 0], np.float32),
    light=np.ones(3, np.float32),
    sky=np.ones(3, np.float32),
    ground=np.ones(3, np.float32),
    haze=np.zeros(3, np.float32),
    exposure=1.0,
    softness=1.0,
    grain=0.0,
    blur=0.0,
)


@dataclass(frozen=True)
class Take:
    """One clip, or several with the calibration of their cameras."""

    name: str
    clips: tuple[Path, ...]
    calibration: Path | None = None


def takes(shared: Path) -> dict[str, Take]:
    """All takes by name. The portrait in the shared footage shows no whole person."""
    footage = shared / "footage"
    views = tuple(footage / "gymnast4" / f"cam0{number}.mp4" for number in range(1, 5))
    singles = [ROOT / "assets" / "demo" / "walk.mp4", *(footage / f"{n}.mp4" for n in ("runner", "demo", "tennis"))]
    found = {clip.stem: Take(clip.stem, (clip,)) for clip in (*singles, *views)}
    found["gymnast4"] = Take("gymnast4", views, footage / "gymnast4" / "Calib.qca.txt")
    return found


def run_of(take: Take, output: Path, settings: list[str]) -> tuple[Path, float]:
    """Run the command; the run folder and the seconds of the whole command."""
    command = [sys.executable, "app.py", "mesh", *map(str, take.clips), "--video", "overlay", "--format", ""]
    command += ["--output", str(output)]
    if take.calibration is not None:
        command += ["--calibration", str(take.calibration)]
    for setting in settings:
        command += ["--set", setting]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip().splitlines()[-1]), time.monotonic() - started


def reference_view(run: Path, record: dict[str, Any]) -> tuple[Path, dict[str, Any] | None]:
    """Where the findings of the clip stand that the overlay shows, and its camera where there are several."""
    if not (run / "cameras.json").is_file():
        return run, None
    cameras = json.loads((run / "cameras.json").read_text())
    size = record["size"]
    body = load_body(RunFolder.open(run))
    for number, camera in enumerate(cameras):
        if camera["size"] == size and np.allclose(camera["K"], body.intrinsics, atol=1e-3):
            return next((run / "views").glob(f"{number + 1:02d}_*")), camera
    raise SystemExit(f"{run}: no camera is that of the body.")


def overlaps(run: Path, record: dict[str, Any], stride: int) -> np.ndarray:
    """(N,) intersection over union of body and mask, every ``stride`` frames in which the person was detected."""
    body, size = load_body(RunFolder.open(run)), (int(record["size"][0]), int(record["size"][1]))
    view, camera = reference_view(run, record)
    masks = read_mask_archive(view / "person.npz", "mask", size[0])
    with np.load(view / "person.npz", allow_pickle=False) as data:
        detected = data["state"] == DETECTED
    rest = with_girth(AnnyBody().rest(body.shape), body.shape)
    renderer = MeshRenderer(rest, size, body.intrinsics, PLAIN)
    found = []
    for t in np.flatnonzero(body.valid & detected)[::stride]:
        mask = np.unpackbits(masks[int(t)], axis=-1)[:, : size[0]]
        if camera is not None:
            mask = cv2.undistort(mask, np.array(camera["K"]), np.array(camera["distortion"]))
        drawn = renderer.frame(body, int(t)).coverage >= 0.5
        both, either = np.count_nonzero(drawn & (mask > 0)), np.count_nonzero(drawn | (mask > 0))
        found.append(both / max(either, 1))
    return np.array(found)


def row_of(take: Take, output: Path, settings: list[str]) -> tuple[str, float]:
    """The take's row of the table, and its median overlap."""
    run, seconds = run_of(take, output, settings)
    record = json.loads((run / "run.json").read_text())
    quality = json.loads((run / "quality.json").read_text())
    found, stages, frames = overlaps(run, record, STRIDE), record["stages"], record["frames_in"]
    overlap = float(np.median(found))
    error, jitter = quality["reprojection"], quality["jitter"]
    # run.json tells the time of probing and all stages; start-up and imports are the rest.
    cells = [
        take.name,
        f"{frames}, {record['size'][0]}x{record['size'][1]}",
        f"{overlap:.3f} ({np.percentile(found, 10):.3f})",
        f"{error['median_px']} ({error['percent_of_height']} %)",
        f"{jitter['before_mm']} to {jitter['after_mm']}",
        f"{frames / stages['body']:.1f}",
        f"{frames / (stages['body'] + stages['build']):.1f}",
        f"{frames / stages['render']:.1f}",
        f"{frames / seconds:.1f}",
        f"{record['peak_rss_mb']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |", overlap


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder that holds footage/")
    parser.add_argument("--output", type=Path, help="keep the run folders here")
    parser.add_argument("--clips", help="only these, separated by commas")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the runs")
    given = parser.parse_args()
    known = takes(given.shared)
    names = given.clips.split(",") if given.clips else list(known)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"there is no clip {unknown[0]!r}; choose among {', '.join(known)}")
    there = [known[name] for name in names if all(clip.is_file() for clip in known[name].clips)]
    for name in sorted(set(names) - {take.name for take in there}):
        print(f"{name} is left out: its footage is not in {given.shared / 'footage'}.", file=sys.stderr)
    if not there:
        parser.error(f"there is no footage in {given.shared / 'footage'}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start\n")
    columns = ("clip", "frames", "overlap, median (p10)", "reprojection, px", "jitter, mm", "fit/s", "fit and build/s")
    columns += ("overlay/s", "whole/s", "peak MB")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    overlap = []
    with tempfile.TemporaryDirectory() as temporary:
        for take in there:
            row, value = row_of(take, given.output or Path(temporary), given.set)
            overlap.append(value)
            print(row, flush=True)
    print(f"\nLeast median overlap {min(overlap):.3f}, median of all {statistics.median(overlap):.3f}.")
    return 0 if min(overlap) >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
