"""The stages of a mesh run, in order. Each leaves its findings in the run folder; a resumed run keeps those."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import InputError
from core.types import BodyMesh, BodyParams
from models.body.smplx_body import SmplxBody
from pipelines.mesh import build, easymocap_body, easymocap_take, one_view, quality, videos, views
from pipelines.mesh.export import BODY_FORMATS, FORMATS, export_body
from pipelines.mesh.lens import find_lens
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
        person.detect(shot, by_shots=True)
        return
    for view in shot.views:
        try:
            person.detect(view.survey, by_shots=True)
        except InputError as error:
            raise InputError(f"The view {view.camera.name}: {error.message}", error.hint) from error
    reference = shot.views[shot.reference].survey
    shot.track, shot.pose, shot.cuts = reference.track, reference.pose, reference.cuts


def triangulate(shot: MeshShot) -> None:
    """Find the person's landmarks in space, where there are several views."""
    if shot.views:
        views.locate(shot)


def steady(shot: MeshShot) -> None:
    """The camera's path and lens."""
    if not shot.views:
        stabilize(shot)
        find_lens(shot)
        return
    reference = shot.views[shot.reference].survey
    stabilize(reference)
    shot.camera = reference.camera


def contacts(shot: MeshShot) -> None:
    """When the feet stand."""
    find_contacts(shot)


def body(shot: MeshShot) -> None:
    """Fit the body, or take over the one that EasyMoCap fitted."""
    if shot.settings.easymocap_results is not None:
        easymocap_body.take_over(shot, shot.settings.easymocap_results)
    else:
        way = views if shot.views else one_view
        survey_body.fit(
            shot,
            shot.model,
            weights=way.WEIGHTS,
            points=views.points_to_fit(shot, shot.model.rest({})) if shot.views else None,
            # Tools for the SMPL family know its shape parameters and nothing of factors.
            shape_like=shot.model.shape_like if isinstance(shot.model, SmplxBody) else None,
            settle=lambda fitted: way.settle(shot, fitted),
            resumable=True,
        )
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
    of_body = [name for name in missing if name in BODY_FORMATS]
    share = sum(FORMATS[name].cost for name in of_body) / max(sum(FORMATS[name].cost for name in missing), 1e-9)
    if of_body:
        export_body(
            shot.rest,
            shot.body,
            shot.info.rate,
            folder,
            of_body,
            lambda fraction, text: shot.progress.report("export", share * fraction, text),
            up=shot.up,
        )
    if "easymocap" in missing:
        easymocap_take.write_take(
            shot,
            folder / FORMATS["easymocap"].target,
            lambda fraction, text: shot.progress.report("export", share + (1 - share) * fraction, text),
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
    ("build", build.measure_build),
    ("look", look),
    ("render", videos.render),
    ("export", export),
    ("quality", quality.judge),
)
