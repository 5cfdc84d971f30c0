#!/usr/bin/env python3
"""Run the quality measures on real footage and on scenes whose truth is known, and print the table.

    python benchmarks/measure.py [--shared DIR] [--work DIR] [--preset NAME] [GROUP ...]

Groups: ``clips`` (runner, demo, tennis against the independent yardstick), ``passthrough``, ``known`` (scenes with a
known camera, mask and background), ``walk`` (the fitted body against its own render), ``memory`` (150 against 600
frames). All by default. The footage and the yardstick (``evaluate.py`` and others) are looked for in ``../shared``.
"""

from __future__ import annotations

import argparse
import json
import operator
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Measure:
    """One figure with its target."""

    what: str
    value: float | None
    target: float
    sense: str
    """``>=`` or ``<=``."""

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        compare = {">=": operator.ge, "<=": operator.le}[self.sense]
        return self.value is not None and compare(self.value, self.target)

    def row(self) -> str:
        """The measure as a line of a Markdown table."""
        value = "none" if self.value is None else f"{self.value:g}"
        return f"| {self.what} | {value} | {self.sense} {self.target:g} | {'yes' if self.reached else '**no**'} |"


@dataclass(frozen=True)
class Workplace:
    """Where footage is read and results are kept."""

    shared: Path
    work: Path
    preset: str

    def script(self, name: str, *arguments: str | Path) -> str:
        """Run a script of the yardstick; returns what it prints."""
        command = [sys.executable, str(self.shared / "eval" / name), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def clip(self, name: str, frames: int = 150, width: int = 960) -> Path:
        """The first frames of a piece of footage, scaled."""
        path = self.work / f"{name}_{frames}.mp4"
        if not path.exists():
            self.script("clip.py", self.shared / "footage" / f"{name}.mp4", path, str(frames), str(width))
        return path

    def replace(self, clip: Path, *options: str) -> tuple[Path, dict[str, Any], float]:
        """Run the product as a user does; returns the run folder, run.json, and seconds of the whole command."""
        command = [
            sys.executable,
            "app.py",
            "replace",
            str(clip),
            "--preset",
            self.preset,
            "--output",
            str(self.work / "runs"),
        ]
        started = time.monotonic()
        done = subprocess.run([*command, *options], check=True, capture_output=True, text=True, cwd=ROOT)
        seconds = time.monotonic() - started
        folder = ROOT / done.stdout.strip().splitlines()[-1]
        return folder, json.loads((folder / "run.json").read_text()), seconds


#: Figure -> (sense, target for runner, target for demo).
CLIP_TARGETS: dict[str, tuple[str, float, float]] = {
    "background_psnr_db": (">=", 40, 40),
    "background_changed": ("<=", 0, 0),
    "coverage": (">=", 0.99, 0.99),
    "pck10": (">=", 0.97, 0.93),
    "joint_err_pct": ("<=", 1.2, 1.5),
    "iou": (">=", 0.82, 0.82),
    "replaced": (">=", 0.95, 0.9),
    "flicker": ("<=", 1.5, 1.5),
    "jitter": ("<=", 1.1, 1.1),
    "slide_px": ("<=", 1.0, 2.0),
    "seam": ("<=", 0.1, 0.1),
}


def _judge(place: Workplace, clip: Path, result: Path) -> dict[str, Any]:
    return json.loads(place.script("evaluate.py", clip, result))


def _parity(report: dict[str, Any], name: str) -> Measure:
    parity = report["parity"]
    equal = all(parity[key] for key in ("frames_equal", "fps_equal", "size_equal", "audio_same"))
    return Measure(f"{name}: frames, rate, size, audio equal", float(equal), 1, ">=")


def clips(place: Workplace) -> Iterator[Measure]:
    """The avatar on real footage."""
    for column, name in enumerate(("runner", "demo", "tennis")):
        clip = place.clip(name)
        folder, record, seconds = place.replace(clip)
        report = _judge(place, clip, folder / "result.mp4")
        print(f"<!-- {name}: {json.dumps({k: v for k, v in report.items() if k != 'parity'})} -->", flush=True)
        yield _parity(report, name)
        if name != "tennis":
            for figure, (sense, *targets) in CLIP_TARGETS.items():
                yield Measure(f"{name}: {figure}", report[figure], targets[column], sense)
        per_frame = seconds / record["frames_in"]
        limit = {"fast": 0.2, "balanced": 0.35}.get(place.preset)
        if limit is not None and name != "tennis":
            yield Measure(f"{name}: seconds a frame, {place.preset}, start to end", round(per_frame, 3), limit, "<=")
            yield Measure(f"{name}: peak memory, MB", record["peak_rss_mb"], 2500, "<=")


def passthrough(place: Workplace) -> Iterator[Measure]:
    """The engine that changes nothing: what is left is the codec."""
    for name in ("runner", "demo"):
        clip = place.clip(name)
        folder, _, _ = place.replace(clip, "--engine", "passthrough")
        yield Measure(
            f"passthrough {name}: PSNR of the whole frame, dB", psnr_of_files(clip, folder / "result.mp4"), 42, ">="
        )


def psnr_of_files(first: Path, second: Path) -> float:
    """PSNR in dB over all pixels of all frames of two clips."""
    import av
    import numpy as np

    errors = []
    with av.open(str(first)) as a, av.open(str(second)) as b:
        for x, y in zip(a.decode(video=0), b.decode(video=0), strict=True):
            difference = x.to_ndarray(format="rgb24").astype(np.float32) - y.to_ndarray(format="rgb24")
            errors.append(float(np.square(difference).mean()))
    return round(float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9))), 2)


def known(place: Workplace) -> Iterator[Measure]:
    """Scenes whose camera, mask and background are known."""
    background = place.work / "background.png"
    if not background.exists():
        _empty_frame(place.shared / "footage" / "demo.mp4", background)
    targets = {
        "camera_px": ("<=", 0.05),
        "mask_iou": (">=", 0.95),
        "plate_psnr": (">=", 30.0),
        "seen_psnr": (">=", 34.0),
    }
    for seed in range(3):
        scene = place.work / f"scene_{seed}"
        if not scene.exists():
            actor = place.shared / "footage" / "runner.mp4"
            place.script("make_known_scene.py", actor, background, scene, "--seed", str(seed))
        folder, _, _ = place.replace(scene / "clip.mp4")
        scores = json.loads(place.script("score_known_scene.py", folder, scene))
        for figure, (sense, target) in targets.items():
            yield Measure(f"known scene {seed}: {figure}", scores[figure], target, sense)


def _empty_frame(video: Path, picture: Path) -> None:
    """The median of a clip with a static camera: nobody is left in it."""
    import av
    import cv2
    import numpy as np

    with av.open(str(video)) as container:
        frames = [f.to_ndarray(format="bgr24") for i, f in enumerate(container.decode(video=0)) if i % 12 == 0]
    cv2.imwrite(str(picture), np.median(np.stack(frames), axis=0).astype(np.uint8))


def walk(place: Workplace) -> Iterator[Measure]:
    """The fitted body against its own render."""
    from benchmarks.known_walk import make_walk, score_run

    scene = place.work / "walk"
    if not (scene / "clip.mp4").exists():
        background = place.work / "background.png"
        if not background.exists():
            _empty_frame(place.shared / "footage" / "demo.mp4", background)
        make_walk(background, scene)
    folder, _, _ = place.replace(scene / "clip.mp4")
    yield Measure("known walk: mean joint error after Procrustes, mm", round(score_run(folder, scene), 1), 45, "<=")


def memory(place: Workplace) -> Iterator[Measure]:
    """Peak memory must not grow with the clip's length."""
    short = place.clip("runner")
    long = place.work / "runner_600.mp4"
    if not long.exists():
        _loop(short, long, 600)
    peaks = [place.replace(clip)[1]["peak_rss_mb"] for clip in (short, long)]
    yield Measure("peak memory at 150 frames, MB", peaks[0], 2500, "<=")
    yield Measure("peak memory at 600 frames, MB", peaks[1], 2500, "<=")
    yield Measure("peak memory, 600 over 150 frames", round(peaks[1] / peaks[0], 3), 1.1, "<=")


def _loop(source: Path, target: Path, count: int) -> None:
    """Play a clip forwards and backwards until ``count`` frames are out."""
    import av

    with av.open(str(source)) as container:
        rate = container.streams.video[0].average_rate
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "fast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for i in range(count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frames[order[i % len(order)]], format="rgb24")))
        out.mux(stream.encode())


GROUPS: dict[str, Callable[[Workplace], Iterator[Measure]]] = {
    "clips": clips,
    "passthrough": passthrough,
    "known": known,
    "walk": walk,
    "memory": memory,
}


def main() -> int:
    """Print the table; 0 where every target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / "measure")
    parser.add_argument("--preset", default="balanced")
    args = parser.parse_args()
    unknown = set(args.groups) - set(GROUPS)
    if unknown or not args.shared.is_dir():
        print(
            f"unknown groups {unknown}" if unknown else f"no footage in {args.shared}: give --shared DIR",
            file=sys.stderr,
        )
        return 2
    args.work.mkdir(parents=True, exist_ok=True)
    place = Workplace(args.shared, args.work.resolve(), args.preset)
    print(f"preset {args.preset}\n\n| measure | value | target | reached |\n|---|---|---|---|", flush=True)
    missed = 0
    for name in args.groups or GROUPS:
        for measure in GROUPS[name](place):
            print(measure.row(), flush=True)
            missed += not measure.reached
    print(f"\n{missed} missed" if missed else "\nall reached")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
