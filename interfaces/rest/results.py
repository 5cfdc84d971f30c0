"""``/runs/{id}/...``: the files of a run. These and no others are served, by names that are written here."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from core.errors import InputError
from interfaces.jobs.errors import NoSuchRun, WrongState
from interfaces.rest.errors import responses
from interfaces.rest.files import MEDIA_TYPES, files_of, saved_as
from interfaces.rest.pictures import jpeg
from interfaces.rest.zipping import zipped
from interfaces.services import Services

#: The report shows its own pictures and styles and nothing else, whatever stands in it.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"

_VIDEO: dict[int | str, dict[str, Any]] = {200: {"content": {"video/mp4": {}}}}
_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}

#: Videos of a mesh.
VideoName = Literal["overlay", "side_by_side", "mesh", "turntable"]

_DOWNLOAD = Query(False, description="Send it as a file to be saved.")


def router(services: Services) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["results"])
    queue = services.queue

    def finished(id: str, part: str, download: bool, headers: dict[str, str] | None = None) -> Response:
        """A file that a run has when it is done."""
        status = queue.status(id)
        what = part.rpartition("/")[2]
        if status.state != "done":
            raise WrongState(f"Run {id} is {status.state}: it has no {what} yet.", "Wait until it is done.")
        file = next((file for file in files_of(status.record) if file.part == part), None)
        if file is None:
            raise _no_file(id, what)
        named = saved_as(status.record, file)
        # A browser asks again whether it has changed, and is told that it has not.
        headers = {"Cache-Control": "private, no-cache", **(headers or {})}
        if file.is_folder:
            folder = _own_folder(queue.folder(id), file.path)
            headers["Content-Disposition"] = f'attachment; filename="{named}"'
            return StreamingResponse(zipped(folder), media_type="application/zip", headers=headers)
        place = _own_file(queue.folder(id), file.path)
        return FileResponse(
            place,
            media_type=MEDIA_TYPES.get(place.suffix, "application/octet-stream"),
            filename=named if download else None,
            headers=headers,
        )

    @routes.get(
        "/runs/{id}/result", summary="The finished video of a replacement", response_class=FileResponse,
        responses={**_VIDEO, **responses(404, 409)},
    )  # fmt: skip
    def result(id: str, download: bool = _DOWNLOAD) -> Response:
        """Ranges are answered, so that a player can jump."""
        return finished(id, "result", download)

    @routes.get(
        "/runs/{id}/comparison", summary="Source and result side by side", response_class=FileResponse,
        responses={**_VIDEO, **responses(404, 409)},
    )  # fmt: skip
    def comparison(id: str, download: bool = _DOWNLOAD) -> Response:
        return finished(id, "comparison", download)

    @routes.get(
        "/runs/{id}/report", summary="The quality report", response_class=FileResponse,
        responses={200: {"content": {"text/html": {}}}, **responses(404, 409)},
    )  # fmt: skip
    def report(id: str, download: bool = _DOWNLOAD) -> Response:
        """One HTML file with everything in it."""
        return finished(id, "report", download, {"Content-Security-Policy": REPORT_POLICY})

    @routes.get(
        "/runs/{id}/figure", summary="The person made from a photo", response_class=FileResponse,
        responses={**_JPEG, **responses(404, 409)},
    )  # fmt: skip
    def figure(id: str, download: bool = _DOWNLOAD) -> Response:
        """The photo, and beside it the figure from the front, the side and behind: replacements with the avatar engine and
        a reference picture have it."""
        return finished(id, "figure", download)

    @routes.get(
        "/runs/{id}/videos/{name}", summary="A video of a mesh", response_class=FileResponse,
        responses={**_VIDEO, **responses(404, 409, 422)},
    )  # fmt: skip
    def video(id: str, name: VideoName, download: bool = _DOWNLOAD) -> Response:
        """Those that the run was asked for. Ranges are answered."""
        return finished(id, f"videos/{name}", download)

    @routes.get(
        "/runs/{id}/exports/{name}", summary="A mesh in one format", response_class=FileResponse,
        responses={200: {"content": {"application/octet-stream": {}}}, **responses(404, 409)},
    )  # fmt: skip
    def export(id: str, name: str, download: bool = _DOWNLOAD) -> Response:
        """Those that the run was asked for; `GET /formats` lists all. A folder of files is sent as a zip."""
        return finished(id, f"exports/{name}", download)

    @routes.get(
        "/runs/{id}/quality", summary="The quality figures of a mesh", response_class=FileResponse,
        responses={200: {"content": {"application/json": {}}}, **responses(404, 409)},
    )  # fmt: skip
    def quality(id: str, download: bool = _DOWNLOAD) -> Response:
        return finished(id, "quality", download)

    @routes.get(
        "/runs/{id}/body", summary="The fitted body of a mesh as arrays (npz)", response_class=FileResponse,
        responses={200: {"content": {"application/octet-stream": {}}}, **responses(404, 409)},
    )  # fmt: skip
    def body(id: str, download: bool = _DOWNLOAD) -> Response:
        return finished(id, "body", download)

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


@lru_cache(maxsize=64)
def _pair(folder: Path, _stamp: int, frame: int) -> tuple[bytes, bytes]:
    """Both sides of a frame as JPEG. Who asks for one asks for the other next."""
    from pipelines.replace.preview import frame_pair

    source, result = frame_pair(folder, frame)
    return jpeg(source), jpeg(result)


def _own_file(folder: Path, name: str) -> Path:
    """A file of a run folder, itself and no link to elsewhere."""
    file = folder / name
    if file.is_symlink() or not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        raise _no_file(folder.name, file.name)
    return file


def _own_folder(folder: Path, name: str) -> Path:
    """A folder of a run folder, itself and no link to elsewhere."""
    inner = folder / name
    if inner.is_symlink() or not inner.is_dir() or not inner.resolve().is_relative_to(folder.resolve()):
        raise _no_file(folder.name, inner.name)
    return inner


def _no_file(run_id: str, name: str) -> NoSuchRun:
    return NoSuchRun(f"Run {run_id} has no {name}.", "")
