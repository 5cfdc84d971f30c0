#!/usr/bin/env python3
"""Every avatar that ships on real footage, judged from outside, and print the table.

    python benchmarks/wardrobe.py [--shared DIR] [--work DIR] [--preset NAME] [--clips NAME ...] [--frames N] [AVATAR ...]

For each clip (runner and demo by default) the first avatar's run is a whole one, as a user starts it. The others share its
survey, which knows nothing of the avatar: they are resumed runs that begin with drawing. So the table's memory is that
of the whole run for the first avatar, and that of drawing and encoding for the others. Seconds a frame are those of the second
pass (draw, composite, checkpoint) by the clock, over the frames with the person in them; run it on a machine that does
nothing else. ``cpu`` is the processor time of the whole command over the same frames, start and encoding included.

With ``--garments`` an avatar in garments from files is drawn too, from the samples in ../shared/wardrobe.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measure import CLIP_TARGETS, Measure, Workplace  # noqa: E402
from benchmarks.surveyed import with_avatar  # noqa: E402

#: Targets of a full wardrobe: IoU with loose clothes, seconds a frame at 960x544, memory in MB.
LEAST_IOU, MOST_SECONDS, MOST_MEMORY = 0.80, 0.12, 3000
#: Which column of CLIP_TARGETS holds for a clip.
COLUMN = {"runner": 0, "demo": 1}
#: An avatar in garments from files, as in docs/wardrobe.md.
GARMENTS = """\
name: pack
phenotype: {gender: 0.0, age: 0.6, height: 0.5}
skin: {tone: "#c08a66"}
hair: {kind: garment, file: HAIR, color: "#4a3020"}
outfit:
  - {kind: garment, file: shoes01}
  - {kind: garment, file: female_casualsuit01, color: "#7fa6c9", lower: "#2a3550"}
"""


@dataclass(frozen=True)
class Drawn:
    """A finished run and what it took."""

    folder: Path
    record: dict[str, Any]
    seconds: float
    """A frame, of the second pass by the clock."""
    cpu: float
    """Processor seconds a frame, of the whole command."""


def _command(*arguments: str | Path) -> tuple[Path, float]:
    """Run the product as a user does; returns the run folder and the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "app.py", *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ROOT / done.stdout.strip().splitlines()[-1], cpu


def _drawn(folder: Path, cpu: float) -> Drawn:
    import numpy as np

    record = json.loads((folder / "run.json").read_text())
    with np.load(folder / "person.npz", allow_pickle=False) as data:
        frames = int((data["state"] != "absent").sum())
    return Drawn(folder, record, record["drawing_s"] / frames, cpu / frames)


def runs(place: Workplace, clip: Path, avatars: list[str]) -> Iterator[tuple[str, Drawn]]:
    """Draw all avatars into a clip, the first by a whole run."""
    root = place.work / "runs"
    surveyed: Path | None = None
    for avatar in avatars:
        if surveyed is None:
            chosen = ("--preset", place.preset, "--avatar", avatar, "--output", root)
            surveyed, cpu = _command("replace", clip, *chosen)
            yield avatar, _drawn(surveyed, cpu)
        else:
            yield avatar, _drawn(*_command("resume", with_avatar(surveyed, avatar, root)))


def judged(place: Workplace, name: str, clip: Path, drawn: Drawn) -> list[Measure]:
    """All figures of one run with their targets."""
    report = json.loads(place.script("evaluate.py", clip, drawn.folder / "result.mp4"))
    parity = report["parity"]
    same = all(parity[key] for key in ("frames_equal", "fps_equal", "size_equal", "audio_same"))
    measures = [Measure("parity", float(same), 1, ">=")]
    for figure, (sense, *targets) in CLIP_TARGETS.items():
        target = LEAST_IOU if figure == "iou" else targets[COLUMN[name]]
        measures.append(Measure(figure, report[figure], target, sense))
    return [
        *measures,
        Measure("s/frame", round(drawn.seconds, 3), MOST_SECONDS, "<="),
        Measure("memory_mb", drawn.record["peak_rss_mb"], MOST_MEMORY, "<="),
    ]


def _cells(measures: list[Measure]) -> list[str]:
    """The figures as cells of a table; those that miss their target are bold."""
    shown = ["none" if m.value is None else f"{m.value:g}" for m in measures]
    return [text if m.reached else f"**{text}**" for text, m in zip(shown, measures, strict=True)]


def _garment_avatar(place: Workplace) -> str:
    """The file of an avatar in garments from the samples."""
    folder = place.shared / "wardrobe"
    os.environ["UNDERSTUDY_WARDROBE"] = str(folder)
    hair = sorted((folder / "hair").glob("*/*.mhclo"))[0].stem
    file = place.work / "pack.yaml"
    file.write_text(GARMENTS.replace("HAIR", hair), encoding="utf-8")
    return str(file)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatars", nargs="*", metavar="AVATAR", help="all that ship by default")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "wardrobe")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--clips", nargs="+", choices=list(COLUMN), default=list(COLUMN))
    parser.add_argument("--frames", type=int, default=150, help="the first so many of each clip")
    parser.add_argument("--garments", action="store_true", help="an avatar in garments from files, too")
    return parser.parse_args()


def main() -> int:
    """Print the table; 0 where every target is met."""
    args = _arguments()
    if not args.shared.is_dir():
        print(f"no footage in {args.shared}: give --shared DIR", file=sys.stderr)
        return 2
    from models.body.wardrobe import list_avatars

    args.work.mkdir(parents=True, exist_ok=True)
    place = Workplace(args.shared.resolve(), args.work.resolve(), args.preset)
    avatars = args.avatars or [spec.name for spec in list_avatars()]
    if args.garments:
        avatars.append(_garment_avatar(place))
    missed = 0
    for name in args.clips:
        clip = place.clip(name, args.frames)
        for count, (avatar, drawn) in enumerate(runs(place, clip, avatars)):
            measures = judged(place, name, clip, drawn)
            if count == 0:
                goals = [f"{m.what} {m.sense} {m.target:g}" for m in measures]
                print(f"\n{name}, {args.frames} frames, preset {args.preset}\n\n| avatar | {' | '.join(goals)} | cpu |")
                print("|---" * (len(measures) + 2) + "|", flush=True)
            cells = [Path(avatar).stem, *_cells(measures), f"{drawn.cpu:.3f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            missed += sum(not m.reached for m in measures)
    print(f"\n{missed} missed" if missed else "\nall reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
