"""Light, grain and blur of the footage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from core.types import BodyMesh, BodyParams, ShotLook
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


def look(shot: Survey, meshes_of: Callable[[BodyParams], list[BodyMesh]]) -> None:
    """Light, grain and blur of the footage, measured on a few frames.

    Parameters
    ----------
    meshes_of:
        Gives the surface of the fitted body in each of its frames.
    """
    if not shot.run.has("look.json"):
        measured = _measure_look(shot, meshes_of)
        found = {field.name: np.asarray(getattr(measured, field.name)).tolist() for field in fields(measured)}
        shot.run.save_json("look.json", found)
    content: dict[str, Any] = json.loads(shot.run.file("look.json").read_text())
    values: dict[str, Any] = {k: np.array(v, np.float32) if isinstance(v, list) else v for k, v in content.items()}
    shot.look = ShotLook(**values)


def _measure_look(shot: Survey, meshes_of: Callable[[BodyParams], list[BodyMesh]]) -> ShotLook:
    track = shot.found[0]
    usable = np.flatnonzero(track.present if shot.body is None else track.present & shot.body.valid)
    chosen = usable[spread(len(usable), LOOK_FRAMES)]
    with VideoReader(shot.info) as reader:
        frames = [rgb for _, rgb in reader.at(chosen)]
    masks = [track.mask(int(t)) for t in chosen]
    grain = estimate_grain(frames, [~mask for mask in masks])
    blur = estimate_blur(frames, masks)
    samples = []
    if shot.body is not None:
        meshes = meshes_of(shot.body.at(chosen))
        samples = [
            LookSample(rgb, mask, mesh, track.landmarks[t])
            for rgb, mask, mesh, t in zip(frames, masks, meshes, chosen, strict=True)
        ]
    estimate = estimate_shot_look(samples, intrinsics(shot), grain=grain, blur=blur)
    for note in estimate.notes:
        shot.run.warn(note)
    return estimate.look
