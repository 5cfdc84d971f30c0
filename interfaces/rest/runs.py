"""``/runs``: put in, list, watch, cancel, resume, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from core.settings import ReplaceSettings
from core.types import VideoInfo
from interfaces.jobs.claim import UPLOADS
from interfaces.jobs.errors import NoSuchRun
from interfaces.jobs.limits import check_clip
from interfaces.jobs.status import FINAL, JobStatus
from interfaces.rest.errors import responses
from interfaces.rest.files import described
from interfaces.rest.form import Form, read_form, schema
from interfaces.rest.models import RunStatus
from interfaces.services import Services
from interfaces.settings_from import DEFAULT_PRESET, S, changes_from_json, settings_from

#: Seconds between two looks at a run that somebody watches.
WATCH_S = 0.25

TEXTS = {
    "preset": f"Name of a preset (default {DEFAULT_PRESET}); GET /presets lists them.",
    "settings": "JSON object of settings that differ from the preset's; GET /settings describes them.",
    "name": "What to call the clip; the file's name where it is left out.",
}
FILES = {
    "clip": "The video.",
    "reference": "Picture of the person to put in; the avatar engine wants one person from head to feet.",
}


def settings_of(form: Form, kind: type[S]) -> tuple[str, S]:
    """Preset and settings of a form; the reference picture, if one was sent, among them.

    Raises
    ------
    SettingError
        The preset, a setting or the JSON is not right.
    """
    preset = form.texts.get("preset", "").strip() or DEFAULT_PRESET
    changes = changes_from_json(form.texts.get("settings", ""), kind)
    if "reference" in form.files:
        changes["reference"] = str(form.files["reference"][0].path)
    return preset, settings_from(preset, changes, kind)


def name_of(form: Form) -> str:
    """What the sender calls the run; empty where that is not said."""
    return form.texts.get("name", "").strip()[:120]


def router(services: Services) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["runs"])
    queue, limits = services.queue, services.settings
    read = partial(read_form, folder=queue.root / UPLOADS, limits=limits, texts=TEXTS, files=dict.fromkeys(FILES, 1))

    def check(info: VideoInfo) -> None:
        check_clip(info.size, info.duration, limits)

    def submit(form: Form) -> JobStatus:
        clip = form.clip()
        preset, settings = settings_of(form, ReplaceSettings)
        return queue.submit(clip.path, settings, name=name_of(form) or clip.name, preset=preset, check=check)

    @routes.post(
        "/runs",
        status_code=202,
        summary="Put a replacement into the queue",
        response_model=RunStatus,
        responses=responses(413, 415, 422, 429, 503),
        openapi_extra=schema(TEXTS, FILES),
    )
    async def create(request: Request, response: Response) -> dict[str, Any]:
        """Send a clip, and what to do with it. The answer names the run; the work is done in turn."""
        async with read(request) as form:
            status = await run_in_threadpool(submit, form)
        response.headers["Location"] = f"/runs/{status.id}"
        return described(status)

    @routes.get("/runs", summary="All runs, newest first", response_model=list[RunStatus])
    def index() -> list[dict[str, Any]]:
        """Those of the command line in the same output folder are among them."""
        return [described(status) for status in queue.all()]

    @routes.get("/runs/{id}", summary="Where a run stands", response_model=RunStatus, responses=responses(404))
    def show(id: str) -> dict[str, Any]:
        return described(queue.status(id))

    @routes.post("/runs/{id}/cancel", summary="Stop a run", response_model=RunStatus, responses=responses(404, 409))
    def cancel(id: str) -> dict[str, Any]:
        """Within two seconds. What is finished is kept, and the run can be resumed."""
        return described(queue.cancel(id))

    @routes.post(
        "/runs/{id}/resume",
        status_code=202,
        summary="Continue a run that was cancelled, failed or cut off",
        response_model=RunStatus,
        responses=responses(404, 409, 429),
    )
    def resume(id: str) -> dict[str, Any]:
        """It goes to the end of the queue. Every finished stage and segment is kept."""
        return described(queue.resume(id))

    @routes.delete(
        "/runs/{id}", status_code=204, summary="Remove a run and all its files", responses=responses(404, 409)
    )
    def delete(id: str) -> None:
        queue.delete(id)

    def known(id: str) -> None:
        queue.status(id)

    @routes.get(
        "/runs/{id}/events",
        summary="Watch a run",
        response_class=EventSourceResponse,
        responses=responses(404),
        # Asked before the answer begins: afterwards it is too late for a 404.
        dependencies=[Depends(known)],
    )
    async def events(id: str) -> AsyncIterator[ServerSentEvent]:
        """Server-sent events: `progress` with the answer of `GET /runs/{id}` at each change, and one `end` with the last."""
        # A generator that sleeps, not a thread that waits: any number may watch.
        status = await run_in_threadpool(queue.status, id)
        while True:
            yield ServerSentEvent(event="progress", data=described(status))
            if status.state in FINAL:
                yield ServerSentEvent(event="end", data=described(status))
                return
            version = status.version
            while status.version == version:
                await anyio.sleep(WATCH_S)
                try:
                    status = await run_in_threadpool(queue.status, id)
                except NoSuchRun:
                    # It was deleted while somebody watched.
                    yield ServerSentEvent(event="end", data={**described(status), "state": "cancelled"})
                    return

    return routes
