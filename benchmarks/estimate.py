#!/usr/bin/env python3
"""How well the estimate foretells runs: each finished run of this machine is left out and estimated from the others.

    python benchmarks/estimate.py [FOLDER ...]

FOLDER holds run folders (default: outputs). Prints a Markdown table: how far the estimated time and memory lie from what
the run took, and how many runs end inside the range that should hold four of five.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipelines.replace.costs import START_S  # noqa: E402
from pipelines.replace.estimate import PastRun, foretell, past_runs  # noqa: E402

#: What is known when a run is estimated: name -> which of the other runs may be used.
KNOWN: dict[str, Callable[[PastRun, PastRun], bool]] = {
    "nothing but the typical figures": lambda _run, _other: False,
    "runs of other clips": lambda run, other: (run.frames, run.size) != (other.frames, other.size),
    "all other runs": lambda _run, _other: True,
}


def row(runs: list[PastRun], may: Callable[[PastRun, PastRun], bool], seen: bool) -> str:
    """One line of the table."""
    times, memory, inside = [], [], 0
    for index, run in enumerate(runs):
        others = [other for i, other in enumerate(runs) if i != index and may(run, other)]
        share = run.person_share if seen else None
        guess = foretell(others, run.frames, run.size, run.settings, person_share=share)
        took = START_S + sum(run.stages.values())
        times.append(abs(guess.seconds / took - 1))
        memory.append(abs(guess.peak_mb / run.peak_mb - 1))
        inside += guess.range_s[0] <= took <= guess.range_s[1]
    cells = [f"{statistics.median(errors):.0%} ({_ninth(errors):.0%})" for errors in (times, memory)]
    return f"| {'yes' if seen else 'no'} | {' | '.join(cells)} | {inside / len(runs):.0%} |"


def _ninth(errors: list[float]) -> float:
    """The error that nine of ten stay below."""
    return sorted(errors)[min(len(errors) - 1, round(0.9 * (len(errors) - 1)))]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[ROOT / "outputs"])
    runs = [run for folder in parser.parse_args().folders for run in past_runs(folder)]
    if len(runs) < 2:
        print("There are fewer than two finished runs of this machine.", file=sys.stderr)
        return 2
    print(f"{len(runs)} runs of {len({(run.frames, run.size) for run in runs})} clips\n")
    print("| what is known | person's size known | time off by, median (9 of 10) | memory off by | inside the range |")
    print("|---|---|---|---|---|")
    for name, may in KNOWN.items():
        for seen in (False, True):
            print(f"| {name} {row(runs, may, seen)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
