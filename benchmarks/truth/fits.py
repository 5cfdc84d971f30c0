"""Fits of the scenes, as the mesh pipeline makes them, at levels of truth: perfect landmarks, landmarks with the network's
noise, the network itself."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.truth.detections import Detected, Seen, perfect
from benchmarks.truth.noise import LandmarkNoise, make
from benchmarks.truth.scenes import RATE, SIZE, Scene, Truth
from benchmarks.truth.scores import LISTED, align, directions, reached, score, score_raw, settled
from core.types import LANDMARK_NAMES, BodyParams
from models.body import fitting
from models.body.anny_body import AnnyBody
from models.body.fit_size import height_of, resized, size_in_space
from models.body.fit_terms import FitWeights
from models.body.fitting import Quality, default_intrinsics, fit_body
from pipelines.mesh.one_view import WEIGHTS

#: Iterations of the last stage of a fit that is left running until it rests.
LONG = 120
#: Functions whose share of the time is told.
PARTS = (
    "pose", "add_image_term", "add_direction_term", "add_prior_term", "add_motion_terms", "add_contact_term", "solve",
    "initial_state",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One scene with all that was seen in it."""

    scene: Scene
    truth: Truth
    detected: Detected | None


@dataclass
class Result:
    """One fit."""

    level: str
    scene: Scene
    figures: dict[str, float]
    directions: dict[str, np.ndarray] = field(repr=False)
    """(33,) each, mm, of the residual after Procrustes; see :func:`benchmarks.truth.scores.directions`."""
    scales: dict[str, float] = field(default_factory=dict)
    raw: dict[str, float] | None = None
    """The figures of the raw world landmarks."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        joints = {
            LANDMARK_NAMES[k]: {name: round(float(values[k]), 2) for name, values in self.directions.items()}
            for k in LISTED
        }
        rounded = {name: round(value, 4) for name, value in self.figures.items()}
        raw = None if self.raw is None else {name: round(value, 4) for name, value in self.raw.items()}
        return {
            "level": self.level, "shape": self.scene.shape, "motion": self.scene.motion, "camera": self.scene.camera,
            "figures": rounded, "raw": raw, "scales": self.scales, "joints": joints,
        }  # fmt: skip


@dataclass(frozen=True)
class Level:
    """What the fit is told."""

    name: str
    noise: LandmarkNoise | None = None
    network: bool = False
    """Whether the landmarks are the network's own."""
    own_body: bool = False
    """Whether the fit has the very body that is in the picture, instead of the neutral one with free proportions."""
    known_lens: bool = True
    """Whether the fit has the true lens; else it takes the one that the camera's turning shows, or the usual one."""
    told_height: bool = False
    """Whether the body is brought to the true height, instead of the size of the landmarks in space."""


@dataclass(frozen=True)
class Options:
    """How the fit works."""

    quality: Quality = "thorough"
    weights: FitWeights = WEIGHTS
    settle: bool = False
    """Whether each fit is made again with many more iterations, to see whether it had come to rest."""


@contextmanager
def _longer(quality: Quality) -> Iterator[None]:
    usual = fitting.SCHEDULES[quality]
    scale, _ = usual.poses[-1]
    fitting.SCHEDULES[quality] = replace(usual, poses=(*usual.poses[:-1], (scale, LONG)))
    try:
        yield
    finally:
        fitting.SCHEDULES[quality] = usual


def _lens(case: Case, level: Level) -> np.ndarray | None:
    """(3, 3) K as the fit is told it; ``None`` for the usual one."""
    if level.known_lens:
        return case.truth.intrinsics
    if not level.network or case.detected is None or case.detected.focal is None:
        return None
    K = default_intrinsics(SIZE)
    K[0, 0] = K[1, 1] = case.detected.focal
    return K


def _fit(case: Case, seen: Seen, level: Level, options: Options) -> BodyParams:
    rest = case.truth.rest if level.own_body else AnnyBody().rest({})
    params = fit_body(
        seen.pose,
        None,
        SIZE,
        rest,
        fps=float(RATE),
        intrinsics=_lens(case, level),
        quality=options.quality,
        camera=seen.camera,
        contacts=seen.contacts,
        proportions=not level.own_body,
        weights=options.weights,
    )
    if level.own_body:
        return params
    if level.told_height:
        return resized(params, case.truth.rest.height / height_of(rest, params))
    return resized(params, size_in_space(params, seen.pose) or 1.0)


def seen_at(case: Case, level: Level, seed: int = 0) -> Seen:
    """The input of a fit at a level."""
    if level.network:
        if case.detected is None:
            raise ValueError(f"{case.scene.name}: nothing was detected, so there is nothing to fit")
        return case.detected.seen
    noise = None if level.noise is None else make(level.noise, case.truth, seed)
    return perfect(case.truth, SIZE, float(RATE), noise)


def run(case: Case, level: Level, options: Options, seed: int = 0) -> Result:
    """Fit one scene and score it."""
    seen = seen_at(case, level, seed)
    begun = time.perf_counter(), time.process_time()
    params = _fit(case, seen, level, options)
    clock, processor = time.perf_counter() - begun[0], time.process_time() - begun[1]
    truth, valid = case.truth, params.valid
    figures = score(params, truth)
    figures["reached"] = float(reached(params, seen.pose).mean())
    # A machine that does other work as well slows the clock's figure down, not the processor's.
    figures |= {"fps": len(params) / processor, "fps_clock": len(params) / clock}
    if options.settle:
        with _longer(options.quality):
            longer = _fit(case, seen, level, options)
        figures["settled"] = float(settled(params, longer).mean())
    left = align(params.keypoints[valid], truth.landmarks[valid]).procrustes
    scales = {name: round(value, 3) for name, value in params.shape.items() if name.startswith("scale_")}
    raw = None
    if level.network and case.detected is not None:
        raw = score_raw(case.detected.raw_world, truth, case.detected.detected)
    return Result(level.name, case.scene, figures, directions(left, truth.landmarks[valid]), scales, raw)


def profile(case: Case, level: Level, options: Options) -> tuple[float, dict[str, float]]:
    """Processor seconds of one fit, and the share of each of ``PARTS`` with all that it calls."""
    seen = seen_at(case, level)
    watch = cProfile.Profile(time.process_time)
    watch.enable()
    _fit(case, seen, level, options)
    watch.disable()
    table = pstats.Stats(watch).stats  # type: ignore[attr-defined]
    total = max(entry[3] for (_, _, name), entry in table.items() if name == "fit_body")
    shares = dict.fromkeys(PARTS, 0.0)
    for (file, _, name), entry in table.items():
        if name in shares and "models/body" in file:
            shares[name] += entry[3] / total
    return total, shares
