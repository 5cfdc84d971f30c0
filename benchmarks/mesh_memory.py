#!/usr/bin/env python3
"""Whether the mesh command holds more memory the longer the clip is.

    python benchmarks/mesh_memory.py [--clip CLIP] [--times 4] [--set KEY=VALUE]

Runs ``app.py mesh`` with all videos and a GLB on the clip, and on the same clip played there and back until it is ``times``
as long. Prints the most memory that each process held, and what a further frame adds. Exits with 1 where that is more than
two packed masks of the picture: the masks are kept, everything else is streamed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.video_io import VideoReader  # noqa: E402
from utils.video_probe import probe  # noqa: E402
from utils.video_writer import VideoWriter  # noqa: E402

#: What the process holds differs by this from run to run, MB.
SPREAD_MB = 40.0


def lengthened(clip: Path, times: int, path: Path) -> Path:
    """The clip there and back, until it has ``times`` as many frames."""
    info = probe(clip)
    with VideoReader(info) as reader, VideoWriter(path, info.size, info.rate) as writer:
        for turn in range(times):
            order = range(info.frame_count) if turn % 2 == 0 else range(info.frame_count - 1, -1, -1)
            for index in order:
                writer.write(next(rgb for _, rgb in reader.at([index])))
    return path


def peak(clip: Path, output: Path, settings: list[str]) -> tuple[int, float]:
    """Frames of the clip, and the most memory in MB that its run held."""
    command = [sys.executable, "app.py", "mesh", str(clip), "--format", "glb", "--output", str(output)]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    record = json.loads((Path(done.stdout.strip().splitlines()[-1]) / "run.json").read_text())
    return record["frames_in"], record["peak_rss_mb"]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ROOT / "assets" / "demo" / "walk.mp4")
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the runs")
    given = parser.parse_args()
    if given.times < 2:
        parser.error("--times starts at 2")
    width, height = probe(given.clip).size
    with tempfile.TemporaryDirectory() as folder:
        longer = lengthened(given.clip, given.times, Path(folder) / "longer.mp4")
        runs = np.array([peak(clip, Path(folder), given.set) for clip in (given.clip, longer)])
    print("| frames | most memory, MB |\n|---|---|")
    for frames, megabytes in runs:
        print(f"| {frames:.0f} | {megabytes:.0f} |")
    more, added = np.diff(runs, axis=0)[0]
    mask = height * -(-width // 8) / 1e6
    print(f"\nA further frame adds {added / more:.3f} MB; its packed mask takes {mask:.3f} MB.")
    return 0 if added <= 2 * mask * more + SPREAD_MB else 1


if __name__ == "__main__":
    sys.exit(main())
