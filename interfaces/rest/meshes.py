"""``POST /meshes``: put a mesh run in. Once it is there it is a run like any other."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from core.settings import MeshSettings
from core.types import VideoInfo
from interfaces.jobs.claim import UPLOADS
from interfaces.jobs.limits import MOST_CALIBRATIONS, MOST_CLIPS, check_clip
from interfaces.jobs.status import JobStatus
from interfaces.rest.errors import responses
from interfaces.rest.files import described
from interfaces.rest.form import Form, Upload, read_form, schema
from interfaces.rest.models import RunStatus
from interfaces.rest.runs import TEXTS, name_of, settings_of
from interfaces.services import Services

MESH_TEXTS = {
    **TEXTS,
    "settings": "JSON object of settings that differ from the preset's; GET /settings?kind=mesh describes them.",
}
MESH_FILES = {
    "clip": "The video; sent once for each camera where several filmed the same moment.",
    "calibration": "For several clips: the calibration of their cameras, one file, or intri.yml and extri.yml.",
}
#: How many files a field may have.
MOST = {"clip": MOST_CLIPS, "calibration": MOST_CALIBRATIONS}


def router(services: Services) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["runs"])
    queue, limits = services.queue, services.settings
    read = partial(read_form, folder=queue.root / UPLOADS, limits=limits, texts=MESH_TEXTS, files=MOST)

    def check(info: VideoInfo) -> None:
        check_clip(info.size, info.duration, limits)

    def submit(form: Form) -> JobStatus:
        from pipelines.mesh.submit import Given, Take

        def given(uploads: list[Upload]) -> tuple[Given, ...]:
            return tuple(Given(upload.path, upload.name) for upload in uploads)

        take = Take(given(form.clips()), given(form.files.get("calibration", [])))
        preset, settings = settings_of(form, MeshSettings)
        return queue.submit(take, settings, name=name_of(form), preset=preset, check=check)

    @routes.post(
        "/meshes",
        status_code=202,
        summary="Put a body mesh into the queue",
        response_model=RunStatus,
        responses=responses(413, 415, 422, 429, 503),
        openapi_extra=schema(MESH_TEXTS, MESH_FILES, MOST),
    )
    async def create(request: Request, response: Response) -> dict[str, Any]:
        """Send a clip, or several of one take with the calibration of their cameras. The answer names the run, which is
        watched, cancelled, resumed and deleted under `/runs`."""
        async with read(request) as form:
            status = await run_in_threadpool(submit, form)
        response.headers["Location"] = f"/runs/{status.id}"
        return described(status)

    return routes
