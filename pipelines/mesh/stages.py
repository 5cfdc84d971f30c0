"""The stages of a mesh run, in order. Each leaves its findings in the run folder; a resumed run keeps those."""

from __future__ import annotations

from collections.abc import Callable

from core.types import BodyMesh, BodyParams
from pipelines.mesh import quality, videos, views
from pipelines.mesh.export import FORMATS, export_body
from pipelines.mesh.shot import MeshShot
from pipelines.survey import body as survey_body
from pipelines.survey import look as survey_look
from pipelines.survey import person
from pipelines.survey.motion import find_contacts, stabilize

#: Folder of the exported files, in the run folder.
EXPORTS = "exports"


def detect(shot: MeshShot) -> None:
    """Follow the person, in every view."""
    if not shot.views:
        person.detect(shot)
        return
    for view in shot.views:
        person.detect(view.survey)
    reference = shot.views[shot.reference].survey
    shot.track, shot.pose = reference.track, reference.pose


def triangulate(shot: MeshShot) -> None:
    """Find the person's landmarks in space, where there are several views."""
    if shot.views:
        views.locate(shot)


def steady(shot: MeshShot) -> None:
    """The camera's path."""
    if not shot.views:
        stabilize(shot)
        return
    reference = shot.views[shot.reference].survey
    stabilize(reference)
    shot.camera = reference.camera


def contacts(shot: MeshShot) -> None:
    """When the feet stand."""
    find_contacts(shot)


def body(shot: MeshShot) -> None:
    """Fit the body."""
    if shot.views:
        survey_body.fit(shot, shot.model, weights=views.WEIGHTS, settle=lambda fitted: views.settle(shot, fitted))
    else:
        survey_body.fit(shot, shot.model)
    for warning in getattr(shot.model, "warnings", ()):
        shot.run.warn(warning)


def look(shot: MeshShot) -> None:
    """Light of the footage, for the videos."""

    def meshes_of(fitted: BodyParams) -> list[BodyMesh]:
        return survey_body.body_meshes(shot.rest, fitted)

    survey_look.look(shot, meshes_of)


def export(shot: MeshShot) -> None:
    """Write the files for other programs."""
    assert shot.body is not None, "stages out of order"
    folder = shot.run.file(EXPORTS)
    missing = [name for name in formats_of(shot) if not (folder / FORMATS[name].target).exists()]
    if missing:
        export_body(
            shot.rest,
            shot.body,
            shot.info.rate,
            folder,
            missing,
            lambda fraction, text: shot.progress.report("export", fraction, text),
        )


def formats_of(shot: MeshShot) -> list[str]:
    """Names of the formats that were asked for."""
    return [name for name in shot.settings.formats.split(",") if name]


#: All stages, in order.
STAGES: tuple[tuple[str, Callable[[MeshShot], None]], ...] = (
    ("detect", detect),
    ("triangulate", triangulate),
    ("stabilize", steady),
    ("contacts", contacts),
    ("body", body),
    ("look", look),
    ("render", videos.render),
    ("export", export),
    ("quality", quality.judge),
)
