"""What is known of a clip, or of several clips of one take, on the way to a mesh."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from core.runs import RunFolder
from core.settings import MeshSettings
from models.body.base import BodyModel, RestBody
from models.body.mesh.build import with_girth
from models.body.mesh.turntable import upright_axis
from pipelines.survey.findings import Survey

if TYPE_CHECKING:
    from utils.cameras.camera import Camera


@dataclass
class ViewSurvey(Survey):
    """What is found in one of several clips."""

    absent_frames: ClassVar[str] = "there the other views have to tell"


@dataclass(frozen=True)
class View:
    """One of several clips of the same take. The person is followed in it as in a clip of its own."""

    camera: Camera
    """Its camera, in pixels of the clip."""
    survey: Survey
    """What is found in it."""
    folder: str
    """Where its findings stand in the run folder."""


@dataclass(frozen=True)
class SeenInSpace:
    """The person's landmarks as the views agree on them, on the frames of the reference clip."""

    points: np.ndarray
    """(T, 33, 3) float64, metres, axes of the reference camera; NaN where fewer than two views agree."""
    confidence: np.ndarray
    """(T, 33) float32, 0..1."""


@dataclass
class MeshShot(Survey):
    """One take on its way through the pipeline. With several views the clip is the reference one: the body is in its camera's
    axes, on its frames."""

    settings: MeshSettings
    """What the user asked for."""
    model: BodyModel = field(kw_only=True)
    """The body that is fitted."""
    views: tuple[View, ...] = ()
    """All clips of the take, where there are several."""
    reference: int = 0
    """Index of the reference clip in ``views``."""
    space: SeenInSpace | None = None
    """Filled by *triangulate*; ``None`` for a single clip."""

    @cached_property
    def rest(self) -> RestBody:
        """The body that was fitted, at rest."""
        assert self.body is not None, "stages out of order"
        return with_girth(self.model.rest(self.body.shape), self.body.shape)

    @property
    def distortion(self) -> np.ndarray | None:
        """Lens distortion of the reference camera, where there is any."""
        if not self.views:
            return None
        distortion = self.views[self.reference].camera.distortion
        return distortion if distortion.any() else None

    @property
    def up(self) -> np.ndarray | None:
        """(3,) unit vector against gravity in the reference camera's axes, where a calibration tells."""
        if not self.views or self.body is None:
            return None
        return upright_axis(self.body, self.views[self.reference].camera.T_camera_world[:3, :3])


class ViewFolder(RunFolder):
    """A view's files in the run's folder; record and warnings are the run's."""

    def __init__(self, run: RunFolder, index: int, name: str) -> None:
        super().__init__(run.path)
        self.record, self._writing = run.record, run._writing
        self._name = name
        # The name comes from the calibration: it may hold what no folder's name should.
        self.folder = f"views/{index + 1:02d}_{re.sub('[^A-Za-z0-9_-]+', '_', name)[:40]}"
        self.file("").mkdir(parents=True, exist_ok=True)

    def file(self, name: str) -> Path:
        """Path of a file of the view."""
        return self.path / self.folder / name

    def warn(self, text: str) -> None:
        """Note something, with the view's name."""
        super().warn(f"{self._name}: {text}")
