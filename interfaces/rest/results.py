"""``/runs/{id}/...``: the files of a run. These and no others are served, by names that are written here."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from core.errors import InputError
from interfaces.jobs.errors import NoSuchRun, WrongState
from interfaces.jobs.status import display_name
from interfaces.rest.errors import responses
from interfaces.rest.pictures import jpeg
from interfaces.services import Services

#: The report shows its own pictures and styles and nothing else, whatever stands in it.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"

_VIDEO: dict[int | str, dict[str, Any]] = {200: {"content": {"video/mp4": {}}}}
_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}

_DOWNLOAD = Query(False, description="Send it as a file to be saved.")


def router(services: Services) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["results"])
    queue = services.queue

    def finished(id: str, name: str, kind: str, download: bool, headers: dict[str, str] | None = None) -> FileResponse:
        """A file that a run has when it is done."""
        status = queue.status(id)
        if status.state != "done":
            raise WrongState(f"Run {id} is {status.state}: it has no {name} yet.", "Wait until it is done.")
        file = _own_file(queue.folder(id), name)
        saved_as = f"{_slug(display_name(status.record))}-{_LABELS[name]}" if download else None
        # A browser asks again whether it has changed, and is told that it has not.
        return FileResponse(
            file, media_type=kind, filename=saved_as, headers={"Cache-Control": "private, no-cache", **(headers or {})}
        )

    @routes.get(
        "/runs/{id}/result", summary="The finished video", response_class=FileResponse,
        responses={**_VIDEO, **responses(404, 409)},
    )  # fmt: skip
    def result(id: str, download: bool = _DOWNLOAD) -> FileResponse:
        """Ranges are answered, so that a player can jump."""
        return finished(id, "result.mp4", "video/mp4", download)

    @routes.get(
        "/runs/{id}/comparison", summary="Source and result side by side", response_class=FileResponse,
        responses={**_VIDEO, **responses(404, 409)},
    )  # fmt: skip
    def comparison(id: str, download: bool = _DOWNLOAD) -> FileResponse:
        return finished(id, "comparison.mp4", "video/mp4", download)

    @routes.get(
        "/runs/{id}/report", summary="The quality report", response_class=FileResponse,
        responses={200: {"content": {"text/html": {}}}, **responses(404, 409)},
    )  # fmt: skip
    def report(id: str, download: bool = _DOWNLOAD) -> FileResponse:
        """One HTML file with everything in it."""
        return finished(id, "report.html", "text/html", download, {"Content-Security-Policy": REPORT_POLICY})

    @routes.get(
        "/runs/{id}/thumbnail", summary="A small picture of the clip", response_class=FileResponse,
        responses={**_JPEG, **responses(404)},
    )  # fmt: skip
    def thumbnail(id: str) -> FileResponse:
        file = _own_file(queue.folder(id), "thumbnail.jpg")
        return FileResponse(file, media_type="image/jpeg", headers={"Cache-Control": "private, no-cache"})

    @routes.get(
        "/runs/{id}/live", summary="The latest finished frame", response_class=Response,
        responses={**_JPEG, **responses(404)},
    )  # fmt: skip
    def live(id: str) -> Response:
        """While the run is under way; 404 as long as there is none."""
        file = _own_file(queue.folder(id), "live.jpg")
        try:
            # Read whole: it is replaced twice a second, and removed at the end.
            content = file.read_bytes()
        except FileNotFoundError as error:
            raise _no_file(id, "live.jpg") from error
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    @routes.get(
        "/runs/{id}/frames/{n}", summary="One frame, before or after", response_class=Response,
        responses={**_JPEG, **responses(404, 409, 422)},
    )  # fmt: skip
    def frame(id: str, n: int, side: Literal["source", "result"] = "result") -> Response:
        status = queue.status(id)
        if status.state != "done":
            raise WrongState(f"Run {id} is {status.state}: it has no result yet.", "Wait until it is done.")
        folder = queue.folder(id)
        stamp = _own_file(folder, "result.mp4").stat().st_mtime_ns
        try:
            source, after = _pair(folder, stamp, n)
        except InputError as error:
            raise NoSuchRun(error.message, error.hint) from error
        content = source if side == "source" else after
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    return routes


#: What a saved file is called after the clip's name.
_LABELS = {"result.mp4": "understudy.mp4", "comparison.mp4": "comparison.mp4", "report.html": "report.html"}


@lru_cache(maxsize=64)
def _pair(folder: Path, _stamp: int, frame: int) -> tuple[bytes, bytes]:
    """Both sides of a frame as JPEG. Who asks for one asks for the other next."""
    from pipelines.replace.preview import frame_pair

    source, result = frame_pair(folder, frame)
    return jpeg(source), jpeg(result)


def _own_file(folder: Path, name: str) -> Path:
    """A file of a run folder, itself and no link to elsewhere."""
    file = folder / name
    if file.is_symlink() or not file.is_file():
        raise _no_file(folder.name, name)
    return file


def _no_file(run_id: str, name: str) -> NoSuchRun:
    return NoSuchRun(f"Run {run_id} has no {name}.", "")


def _slug(name: str) -> str:
    """A clip's name as the beginning of a file name."""
    return re.sub(r"[^\w-]+", "-", Path(name).stem).strip("-")[:60] or "clip"
