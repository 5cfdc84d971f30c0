"""Light, grain and blur of the footage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from core.types import BodyMesh, BodyParams, ShotLook
from models.body.cast_shadow import Sun
from models.body.lighting import LookSample, estimate_shot_look
from pipelines.survey.body import intrinsics
from pipelines.survey.findings import Survey
from pipelines.survey.frames import spread
from utils.photometry import estimate_blur, estimate_grain
from utils.video_io import VideoReader

#: What this stage leaves in the run folder.
FILES = ("look.json",)
#: Frames from which the look of the footage is measured.
LOOK_FRAMES = 8


@dataclass(frozen=True)
class Observed:
    """What the person's outline and shadow tell; ``None`` for what they do not."""

    sun: Sun | None = None
    """The light that casts the person's shadow."""
    shutter: float | None = None
    """Share of the frame time that the shutter is open."""
    blur: float | None = None
    """Standard deviation of the blur of the person's outline, pixels."""


def look(
    shot: Survey, meshes_of: Callable[[BodyParams], list[BodyMesh]], observe: Callable[[], Observed] | None = None
) -> None:
    """Light, grain and blur of the footage, measured on a few frames.

    Parameters
    ----------
    meshes_of:
        Gives the surface of the fitted body in each of its frames.
    observe:
        Looks at the person's outline and shadow; called only where the look was not measured before.
    """
    if not shot.run.has("look.json"):
        measured = _measure_look(shot, meshes_of, observe() if observe is not None else Observed())
        found = {field.name: np.asarray(getattr(measured, field.name)).tolist() for field in fields(measured)}
        shot.run.save_json("look.json", found)
    content: dict[str, Any] = json.loads(shot.run.file("look.json").read_text())
    values: dict[str, Any] = {k: np.array(v, np.float32) if isinstance(v, list) else v for k, v in content.items()}
    shot.look = ShotLook(**values)


def _measure_look(shot: Survey, meshes_of: Callable[[BodyParams], list[BodyMesh]], observed: Observed) -> ShotLook:
    track = shot.found[0]
    usable = np.flatnonzero(track.present if shot.body is None else track.present & shot.body.valid)
    chosen = usable[spread(len(usable), LOOK_FRAMES)]
    with VideoReader(shot.info) as reader:
        frames = [rgb for _, rgb in reader.at(chosen)]
    masks = [track.mask(int(t)) for t in chosen]
    grain = estimate_grain(frames, [~mask for mask in masks])
    # The person's own outline is in the person's depth; without it, all edges on and around the person tell.
    blur = estimate_blur(frames, masks) if observed.blur is None else observed.blur
    samples = []
    if shot.body is not None:
        meshes = meshes_of(shot.body.at(chosen))
        samples = [
            LookSample(rgb, mask, mesh, track.landmarks[t])
            for rgb, mask, mesh, t in zip(frames, masks, meshes, chosen, strict=True)
        ]
    estimate = estimate_shot_look(samples, intrinsics(shot), grain=grain, blur=blur, sun=observed.sun)
    for note in estimate.notes:
        shot.run.warn(note)
    return replace(estimate.look, shutter=observed.shutter)
