#!/usr/bin/env python3
"""Measure the diffusion engines on an NVIDIA card, with networks of full size and random weights.

    python benchmarks/gpu_bench.py [--only controlnet,wan] [--repeats 5] [--tiny]

Nothing is downloaded. Prints Markdown tables, each row as soon as it is measured; what cannot be measured says why.
docs/gpu-benchmark.md tells what each figure means.

Sections for --only: presets (the three presets beside the plain pipeline), clip, batches, compile; wan. controlnet is
all but the last. Exit codes: 0 done, 3 there is no NVIDIA card, 4 something failed that was not foreseen.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CONTROLNET = ("presets", "clip", "batches", "compile")
SECTIONS = (*CONTROLNET, "wan")
#: Longer side of what toy networks draw, pixels.
TINY_SIZE = 64


def sections(text: str) -> tuple[str, ...]:
    """Sections by name; ``controlnet`` stands for four of them."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in (*SECTIONS, "controlnet")]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"choose from controlnet, {', '.join(SECTIONS)}, separated by commas")
    wanted = {part for name in names for part in (CONTROLNET if name == "controlnet" else (name,))}
    return tuple(name for name in SECTIONS if name in wanted)


def offload_levels(text: str) -> tuple[str, ...]:
    """Offload levels by name."""
    from benchmarks.gpu.wan import LEVELS

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or any(name not in LEVELS for name in names):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(LEVELS)}, separated by commas")
    return names


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=sections, default=SECTIONS, metavar="NAME[,NAME]", help="sections to measure")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each kind (default: 5)")
    parser.add_argument("--tiny", action="store_true", help="toy networks on the CPU: tries the benchmark itself")
    parser.add_argument("--size", type=int, help="longer side of what is drawn, pixels (default: the presets' own)")
    parser.add_argument("--levels", type=offload_levels, metavar="LEVEL[,LEVEL]", help="offload levels for wan")
    parser.add_argument("--clip", type=Path, default=ROOT / "assets" / "demo" / "walk.mp4", help="for the section clip")
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error("--repeats starts at 1")
    return given


def main() -> int:
    """Print the tables."""
    given = arguments()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    from benchmarks.gpu import clip, controlnet, wan
    from benchmarks.gpu.common import Bench, facts, say

    missing = not given.tiny and not torch.cuda.is_available()
    bench = Bench(
        device="cpu" if given.tiny or missing else "cuda:0",
        tiny=given.tiny,
        repeats=given.repeats,
        size=given.size or (TINY_SIZE if given.tiny else None),
        blocked="no CUDA" if missing else "",
    )
    say(facts(bench))
    work = {
        "presets": lambda: controlnet.measure_presets(bench),
        "clip": lambda: clip.measure_clip(bench, given.clip),
        "batches": lambda: controlnet.measure_batches(bench),
        "compile": lambda: controlnet.measure_compile(bench),
        "wan": lambda: wan.measure_wan(bench, given.levels or wan.LEVELS),
    }
    for name in given.only:
        work[name]()
    for error in bench.unforeseen:
        print(f"failed: {error}", file=sys.stderr)
    if missing:
        print("This machine has no NVIDIA card. Run it on one that has, or try --tiny.", file=sys.stderr)
        return 3
    return 4 if bench.unforeseen else 0


if __name__ == "__main__":
    sys.exit(main())
