"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from benchmarks.truth.fits import Result
from benchmarks.truth.scores import LISTED
from core.types import LANDMARK_NAMES

#: Heading and key of the columns that every level has.
_COLUMNS = (
    ("root-aligned, mm", "root_mm", 1),
    ("after one scale, mm", "scaled_mm", 1),
    ("Procrustes, mm", "procrustes_mm", 1),
    ("scale", "scale", 3),
    ("acceleration error, mm/frame²", "acceleration_error", 2),
    ("slide, mm/frame", "slide_mm", 2),
    ("… across the view", "slide_flat_mm", 2),
    ("… along the view", "slide_depth_mm", 2),
    ("on the landmarks", "reached", 3),
)
_RAW = (
    ("network: Procrustes, mm", "procrustes_mm", 1),
    ("network: acceleration, mm/frame²", "acceleration", 1),
    ("network: acceleration error", "acceleration_error", 1),
)


def cut(results: Sequence[Result], name: str = "acceleration") -> float:
    """By how much the fit lowers a figure of the raw world landmarks, 0..1, over all results that have both."""
    raw = [(result.figures[name], result.raw[name]) for result in results if result.raw is not None]
    return 1.0 - sum(own for own, _ in raw) / sum(other for _, other in raw)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(first: int, others: int) -> str:
    return "|" + "---|" * first + "---:|" * others


def _means(results: Sequence[Result], keys: Sequence[tuple[str, str, int]]) -> list[str]:
    return [f"{np.mean([result.figures[key] for result in results]):.{digits}f}" for _, key, digits in keys]


def _raw_means(results: Sequence[Result]) -> list[str]:
    return [f"{np.mean([result.raw[key] for result in results if result.raw]):.{digits}f}" for _, key, digits in _RAW]


def scene_table(results: Sequence[Result]) -> Iterator[str]:
    """One level: a row for each scene, then one for each motion and each shape, then all."""
    columns = list(_COLUMNS)
    if all("settled" in result.figures for result in results):
        columns.append(("settled", "settled", 3))
    network = all(result.raw is not None for result in results)
    headings = [heading for heading, _, _ in columns]
    if network:
        headings += [heading for heading, _, _ in _RAW] + ["acceleration cut", "error cut"]
    yield _line(["motion", "camera", "shape", *headings])
    yield _rule(3, len(headings))

    def row(labels: Sequence[str], chosen: Sequence[Result]) -> str:
        cells = _means(chosen, columns)
        if network:
            cells += [*_raw_means(chosen), f"{cut(chosen):.0%}", f"{cut(chosen, 'acceleration_error'):.0%}"]
        return _line([*labels, *cells])

    for result in results:
        scene = result.scene
        yield row([scene.motion, scene.camera, scene.shape], [result])
    for labels, key in (((0,), _motion), ((2,), _shape)):
        for value, group in groupby(sorted(results, key=key), key):
            names = ["all"] * 3
            names[labels[0]] = value
            yield row([f"*{name}*" for name in names], list(group))
    yield row(["**all**", "", ""], list(results))


def _motion(result: Result) -> str:
    return result.scene.motion


def _shape(result: Result) -> str:
    return result.scene.shape


def _sided(table: dict[str, np.ndarray], k: int, name: str) -> float:
    """A figure of one joint; leftwards shifts of the right side count as outwards."""
    value = float(table[name][k])
    outwards = name == "constant_left" and LANDMARK_NAMES[k].startswith("right")
    return -value if outwards else value


def joint_table(results: Sequence[Result]) -> Iterator[str]:
    """Where the error of one level lies: by joint (left and right together) and by direction, after Procrustes."""
    heads = (
        "joint", "across the picture", "up and down", "along the view", "constant in the body", "outwards", "backwards",
        "upwards",
    )  # fmt: skip
    keys = ("across", "upright", "depth", "constant", "constant_left", "constant_back", "constant_up")
    joints: dict[str, list[int]] = {}
    for k in LISTED:
        joints.setdefault(LANDMARK_NAMES[k].replace("left_", "").replace("right_", ""), []).append(int(k))
    yield _line(heads)
    yield _rule(1, len(keys))
    for joint, indices in joints.items():
        cells = []
        for name in keys:
            values = [_sided(result.directions, k, name) for result in results for k in indices]
            mean = np.mean(values) if name.startswith("constant") else np.sqrt(np.mean(np.square(values)))
            cells.append(f"{mean:.1f}")
        yield _line([joint, *cells])


def summary(levels: dict[str, list[Result]]) -> Iterator[str]:
    """All levels side by side."""
    headings = [heading for heading, _, _ in _COLUMNS]
    yield _line(["level", *headings])
    yield _rule(1, len(headings))
    for name, results in levels.items():
        yield _line([name, *_means(results, _COLUMNS)])
