"""Bring the fitted body to the person's build: as stout as the person's pixels say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.types import DETECTED
from models.body.mesh.build import GIRTHS, fit_build
from pipelines.mesh.shot import MeshShot
from pipelines.mesh.videos import straightener
from pipelines.survey.body import save_body


def measure_build(shot: MeshShot) -> None:
    """Add the girths to the body's shape, in ``body.npz`` too. A body that others fitted keeps its own build.

    With several views the reference view tells.
    """
    body = shot.body
    assert body is not None, "stages out of order"
    if shot.settings.easymocap_results is not None or any(name in body.shape for name in GIRTHS):
        return
    track = shot.found[0]
    straight = straightener(shot)

    def mask(t: int) -> np.ndarray:
        return straight(track.mask(t).astype(np.uint8)) > 0

    girths = fit_build(
        shot.model.rest(body.shape),
        body,
        mask,
        np.flatnonzero(track.state == DETECTED),
        lambda fraction, text: shot.progress.report("build", fraction, text),
    )
    shot.body = replace(body, shape={**body.shape, **girths})
    save_body(shot, shot.body)
