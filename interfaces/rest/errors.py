"""Errors as HTTP answers: one status a class, one shape for all."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from core.errors import InputError, ModelUnavailable, NotAVideo, ResourceError, SettingError, UnderstudyError
from interfaces.jobs.errors import NoSuchRun, QueueFull, TooLarge, WrongState

logger = logging.getLogger("understudy.rest")

#: The first class that an error belongs to gives its status.
STATUS: tuple[tuple[type[UnderstudyError], int], ...] = (
    (NoSuchRun, 404),
    (WrongState, 409),
    (TooLarge, 413),
    (NotAVideo, 415),
    (InputError, 422),
    (QueueFull, 429),
    (ModelUnavailable, 503),
    (ResourceError, 503),
)

#: Seconds after which a client may ask again when the queue is full.
RETRY_AFTER_S = 30

_MEANING = {
    401: "User name and password are missing or wrong.",
    404: "There is no such run, file or frame.",
    409: "The run is in a state in which that cannot be done.",
    413: "The clip is too large, too long, or its pictures have too many pixels.",
    415: "The file is no video that can be read.",
    422: "Something that was given cannot be used; `field` names the setting or form field where there is one.",
    429: "As many runs wait as may wait; `Retry-After` says in how many seconds to ask again.",
    503: "Something that is needed is missing or used up on this machine.",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="What is wrong, in one sentence.")
    hint: str = Field("", description="What to do about it.")
    field: str | None = Field(None, description="The setting or form field that is to blame.")


class ErrorBody(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a path operation may answer besides success, for the OpenAPI document."""
    return {status: {"model": ErrorBody, "description": _MEANING[status]} for status in statuses}


def status_of(error: UnderstudyError) -> int:
    """HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def error_response(
    status: int, message: str, hint: str = "", field: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as an answer."""
    content = {"message": message, "hint": hint}
    if field is not None:
        content["field"] = field
    return JSONResponse({"error": content}, status, headers=headers)


def install(app: FastAPI) -> None:
    """Have all errors of an application answered in the one shape."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, UnderstudyError)
        status = status_of(error)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 429 else None
        field = error.field if isinstance(error, SettingError) else None
        return error_response(status, error.message, error.hint, field, headers)

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        # Inside a list the place is a number.
        field = next(part for part in reversed(first["loc"]) if isinstance(part, str))
        return error_response(422, f"{field}: {first['msg']}.", "See /docs.", field)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return error_response(error.status_code, f"{error.detail}.", "See /docs.", headers=dict(error.headers or {}))

    async def unforeseen(_request: Request, error: Exception) -> JSONResponse:
        logger.error("unexpected", exc_info=error)
        return error_response(500, "Something went wrong that nobody foresaw.", "The server's log says more.")

    app.add_exception_handler(UnderstudyError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unforeseen)
