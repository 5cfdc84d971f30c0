#!/usr/bin/env python3
"""How well the body is fitted, on rendered scenes whose every joint is known.

    python benchmarks/mesh_truth.py [--work DIR] [--shapes maya,omar] [--motions walk,turn] [--levels LEVEL,..]
                                    [--weights direction=2,prior=0.5] [--settle] [--json FILE]

Bodies of several shapes walk, turn on the spot, raise their arms and crouch in front of a fixed and of a panning camera.
They are drawn as dressed avatars over an empty background, so that the landmark network finds a person. Clips and what
was detected in them are kept in the work folder. The fit is then measured at these levels:

    clean           true landmarks, known lens, neutral body with free proportions, sized by the landmarks in space
    clean-height    the same, sized by the true height
    own-body        as clean, with the very body that is in the picture
    lens            as clean, with the lens left unknown
    noisy           as clean, with the network's noise as measured on the clips, each landmark by itself
    network         the network's own landmarks, lens found from the camera's turning or taken as usual: what a run does
    network-height  the same, sized by the true height
    network-own     the same with the known lens and the very body that is in the picture

Prints Markdown: a table of each level, its errors by joint and direction, all levels side by side, the noise, and where
the time goes. ``docs/mesh-accuracy.md`` says how to read them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.truth import fits, tables  # noqa: E402
from benchmarks.truth.detections import detect  # noqa: E402
from benchmarks.truth.noise import LandmarkNoise, measure  # noqa: E402
from benchmarks.truth.scenes import (  # noqa: E402
    SHAPES,
    SHOTS,
    Scene,
    empty_background,
    truth_of,
    write_clip,
)
from core.types import LANDMARK_NAMES  # noqa: E402
from models.body.fit_terms import FitWeights  # noqa: E402
from pipelines.mesh.one_view import WEIGHTS  # noqa: E402

LEVELS = ("clean", "clean-height", "own-body", "lens", "noisy", "network", "network-height", "network-own")
#: Levels that need clips.
_FILMED = ("noisy", "network", "network-height", "network-own")


def _names(text: str, known: tuple[str, ...]) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SystemExit(f"There is no {unknown[0]!r}. Choose among: {', '.join(known)}.")
    return names


def weights_of(text: str) -> FitWeights:
    """``name=value,..`` as the weights of a fit; the others are the mesh's.

    ``SystemExit`` where a name or a number is wrong.
    """
    known = {entry.name for entry in fields(FitWeights)}
    values = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise SystemExit(f"The fit has no weight {name!r}. Choose among: {', '.join(sorted(known))}.")
        try:
            values[name] = float(value)
        except ValueError:
            raise SystemExit(f"The weight {name} = {value!r} is not a number. Write it like {name}=1.5.") from None
    return replace(WEIGHTS, **values)


def cases_of(args: argparse.Namespace, filmed: bool) -> list[fits.Case]:
    """All scenes, drawn and looked at where a level needs that."""
    cases, background = [], None
    for shape in args.shapes.split(","):
        for motion, camera in SHOTS:
            if motion not in _names(args.motions, tuple(dict.fromkeys(motion for motion, _ in SHOTS))):
                continue
            scene = Scene(shape, motion, camera)
            truth = truth_of(scene, args.frames)
            found = None
            if filmed:
                clip = args.work / f"{scene.name}-{args.frames}.mp4"
                if not clip.is_file():
                    background = empty_background(args.background) if background is None else background
                    write_clip(clip, scene, truth, background)
                found = detect(clip)
            print(f"{scene.name} is ready", file=sys.stderr)
            cases.append(fits.Case(scene, truth, found))
    return cases


def levels_of(names: list[str], noise: LandmarkNoise | None) -> list[fits.Level]:
    """The levels by name."""
    known = {
        "clean": fits.Level("clean"),
        "clean-height": fits.Level("clean-height", told_height=True),
        "own-body": fits.Level("own-body", own_body=True),
        "lens": fits.Level("lens", known_lens=False),
        "noisy": fits.Level("noisy", noise=noise),
        "network": fits.Level("network", network=True, known_lens=False),
        "network-height": fits.Level("network-height", network=True, known_lens=False, told_height=True),
        "network-own": fits.Level("network-own", network=True, own_body=True),
    }
    return [known[name] for name in names]


def print_noise(noise: LandmarkNoise) -> None:
    """The noise as a table, by landmark with left and right together."""
    print("\n## Noise of the landmarks, per cent of the height\n")
    heads = (
        "landmark",
        "picture: shift",
        "picture: σ",
        "picture: memory",
        "world: shift",
        "world: σ x, y, z",
        "world: memory",
    )
    print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
    for name in ("nose", "ear", "shoulder", "elbow", "wrist", "index", "hip", "knee", "ankle", "heel", "foot_index"):
        k = [i for i, landmark in enumerate(LANDMARK_NAMES) if landmark in (name, f"left_{name}", f"right_{name}")]
        shifts = [np.linalg.norm(table[k], axis=1).mean() for table in (noise.image_bias, noise.world_bias)]
        x, y, z = noise.world_sigma[k].mean(0)
        print(
            f"| {name} | {shifts[0]:.2f} | {noise.image_sigma[k].mean():.2f} | {noise.image_memory[k].mean():.2f} "
            f"| {shifts[1]:.2f} | {x:.2f}, {y:.2f}, {z:.2f} | {noise.world_memory[k].mean():.2f} |"
        )


def print_speed(
    results: list[fits.Result], case: fits.Case, level: fits.Level, options: fits.Options
) -> dict[str, float]:
    """Frames a second, and the parts of one fit."""
    rates, clock = ([result.figures[name] for result in results] for name in ("fps", "fps_clock"))
    _, shares = fits.profile(case, level, options)
    print("\n## Speed\n\n| frames a second | median | lowest | highest |\n|---|---:|---:|---:|")
    for label, values in (("by processor time, one core", rates), ("by the clock, beside other work", clock)):
        print(f"| {label} | {np.median(values):.1f} | {min(values):.1f} | {max(values):.1f} |")
    print(f"\nWhere the time goes ({case.scene.name}, {level.name}; each part with all that it calls):\n")
    print("| part | share of the time |\n|---|---:|")
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"| `{name}` | {share:.0%} |")
    return {"fps": float(np.median(rates)), "fps_clock": float(np.median(clock))} | shares


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "mesh_truth")
    parser.add_argument(
        "--background", type=Path, default=ROOT / "assets" / "demo" / "walk.mp4", help="clip of a still camera"
    )
    parser.add_argument("--shapes", default=",".join(SHAPES), help="avatars whose bodies are filmed")
    parser.add_argument("--motions", default="walk,turn,arms,crouch")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--levels", default=",".join(LEVELS))
    parser.add_argument("--quality", choices=("quick", "thorough"), default="thorough")
    parser.add_argument("--weights", type=weights_of, default=WEIGHTS, metavar="NAME=VALUE,..")
    parser.add_argument("--settle", action="store_true", help="fit each scene a second time, until it comes to rest")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--json", type=Path, help="where all figures are written as well")
    return parser


def main() -> int:
    """Make, fit, score, print."""
    args = _parser().parse_args()
    names = _names(args.levels, LEVELS)
    options = fits.Options(args.quality, args.weights, args.settle)
    filmed = any(name in _FILMED for name in names)
    cases = cases_of(args, filmed)
    noise = None
    if filmed:
        noise = measure([(case.truth, case.detected.seen.pose) for case in cases if case.detected is not None])
    everything: dict[str, list[fits.Result]] = {}
    for level in levels_of(names, noise):
        results = [fits.run(case, level, options, args.seed + number) for number, case in enumerate(cases)]
        everything[level.name] = results
        print(f"\n## {level.name}\n\n" + "\n".join(tables.scene_table(results)), flush=True)
        print(f"\nBy joint, mm after Procrustes:\n\n{chr(10).join(tables.joint_table(results))}", flush=True)
    print("\n## All levels\n\n" + "\n".join(tables.summary(everything)))
    if noise is not None:
        print_noise(noise)
    every = [result for results in everything.values() for result in results]
    speed = print_speed(every, cases[0], levels_of(names, noise)[0], options)
    if args.json is not None:
        content = {
            "frames": args.frames,
            "seed": args.seed,
            "quality": args.quality,
            "weights": vars(args.weights),
            "results": [result.as_dict() for result in every],
            "noise": None if noise is None else noise.as_dict(),
            "speed": {name: round(value, 4) for name, value in speed.items()},
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
