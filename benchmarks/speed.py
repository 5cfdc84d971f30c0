#!/usr/bin/env python3
"""Time whole runs, from the command line to the exit code, and their stages.

    python benchmarks/speed.py [--clip CLIP] [--runs 3] [--presets fast,balanced]

Prints a Markdown table: seconds a frame (median and spread of the runs, after one warm-up that is not counted), peak
memory of the process, and the milliseconds a frame of each stage in the median run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """One timed run."""

    seconds: float
    frames: int
    peak_mb: float
    stages: dict[str, float]

    @property
    def per_frame(self) -> float:
        """Seconds of the whole command for each frame."""
        return self.seconds / self.frames


def timed(clip: Path, preset: str, output: Path) -> Run:
    """Run the product once."""
    command = [sys.executable, "app.py", "replace", str(clip), "--preset", preset, "--output", str(output)]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    seconds = time.monotonic() - started
    record = json.loads((Path(done.stdout.strip()) / "run.json").read_text())
    return Run(seconds, record["frames_in"], record["peak_rss_mb"], record["stages"])


def help_seconds() -> float:
    """Median time of ``python app.py --help``."""
    times = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run([sys.executable, "app.py", "--help"], cwd=ROOT, check=True, capture_output=True)
        times.append(time.monotonic() - started)
    return statistics.median(times[1:])


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ROOT / "assets" / "demo" / "walk.mp4")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--presets", default="fast,balanced")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"\n`python app.py --help`: {help_seconds():.2f} s\n")
    print("| preset | s a frame, median (min to max) | peak memory |\n|---|---|---|")
    medians = {}
    with tempfile.TemporaryDirectory() as output:
        for preset in args.presets.split(","):
            timed(args.clip, preset, Path(output))
            runs = sorted((timed(args.clip, preset, Path(output)) for _ in range(args.runs)), key=lambda r: r.seconds)
            medians[preset] = runs[len(runs) // 2]
            spread = f"{runs[0].per_frame:.3f} to {runs[-1].per_frame:.3f}"
            print(f"| {preset} | {medians[preset].per_frame:.3f} ({spread}) | {max(r.peak_mb for r in runs):.0f} MB |")
    print("\n| stage, ms a frame | " + " | ".join(medians) + " |\n|---|" + "---|" * len(medians))
    for stage in next(iter(medians.values())).stages:
        cells = (f"{1000 * run.stages.get(stage, 0) / run.frames:.1f}" for run in medians.values())
        print(f"| {stage} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
