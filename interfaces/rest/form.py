"""Multipart forms whose files go straight to the output folder's disk, never whole into memory, never over the limit."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import anyio
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from core.errors import ResourceError, SettingError
from core.settings import ServerSettings
from interfaces.jobs.errors import TooLarge
from interfaces.jobs.limits import upload_too_large
from interfaces.rest.guard import DRAIN_BYTES, DRAIN_S

#: Longest text field in bytes.
MAX_TEXT = 100_000
#: Bytes that are gathered before they are written.
PIECE = 1_000_000

_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


@dataclass(frozen=True)
class Upload:
    """A file that was sent."""

    path: Path
    """Where it lies; the name is ours."""
    name: str
    """What the sender calls it, for messages and lists only."""


@dataclass
class Form:
    """What a form held."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[Upload]] = field(default_factory=dict)

    def clips(self) -> list[Upload]:
        """The clips.

        Raises
        ------
        SettingError
            None was sent.
        """
        if "clip" not in self.files:
            raise SettingError("clip", "The form has no clip.", "Send the video as the multipart file field clip.")
        return self.files["clip"]

    def clip(self) -> Upload:
        """The clip, of a form that has one. Raises as :meth:`clips`."""
        return self.clips()[0]


def schema(texts: dict[str, str], files: dict[str, str], most: Mapping[str, int] | None = None) -> dict[str, object]:
    """The OpenAPI description of a form; ``texts`` and ``files`` give each field's meaning, ``most`` how many files a
    field may have at most where that is more than one."""
    properties: dict[str, dict[str, object]] = {}
    for name, meaning in files.items():
        properties[name] = {"type": "string", "format": "binary", "description": meaning}
        if most and most.get(name, 1) > 1:
            items = {"type": "string", "format": "binary"}
            properties[name] = {"type": "array", "items": items, "maxItems": most[name], "description": meaning}
    properties.update({name: {"type": "string", "description": meaning} for name, meaning in texts.items()})
    content = {"schema": {"type": "object", "required": ["clip"], "properties": properties}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


@contextlib.asynccontextmanager
async def read_form(
    request: Request, folder: Path, limits: ServerSettings, *, texts: Collection[str], files: Mapping[str, int]
) -> AsyncIterator[Form]:
    """Read a form. Its files are gone when the context is left.

    Parameters
    ----------
    request:
        What was sent.
    folder:
        Where files are put meanwhile, each form in a folder of its own.
    limits:
        Of which ``max_upload_mb`` holds for each file.
    texts:
        Names of the text fields that the form may have.
    files:
        Names of its file fields, and how often each may be sent.

    Raises
    ------
    TooLarge
        A file is over the limit.
    SettingError
        A field is none of those, or the body is no such form.
    """
    await run_in_threadpool(folder.mkdir, parents=True, exist_ok=True)
    place = Path(await run_in_threadpool(tempfile.mkdtemp, dir=folder))
    try:
        reader = _Reader(place, limits.max_upload_mb, texts, files)
        body = request.stream()
        try:
            await reader.read(request.headers.get("content-type", ""), body)
        except (TooLarge, SettingError):
            await _drain(body)
            raise
        except ClientDisconnect:
            raise HTTPException(400, "The upload ended early") from None
        except OSError as error:
            raise ResourceError(
                f"The upload cannot be stored: {error.strerror}.", "Free disk space on the server."
            ) from error
        finally:
            reader.close()
        yield reader.form
    finally:
        await run_in_threadpool(shutil.rmtree, place, ignore_errors=True)


class _Reader:
    """Takes the parser's events."""

    def __init__(self, place: Path, limit_mb: int, texts: Collection[str], files: Mapping[str, int]) -> None:
        self.form = Form()
        self._place, self._limit_mb = place, limit_mb
        self._texts, self._files = texts, files
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._name = ""
        self._text = bytearray()
        self._file: BinaryIO | None = None
        self._opened: list[BinaryIO] = []
        self._size = 0
        self._pending: list[tuple[BinaryIO, bytes]] = []
        self._pending_size = 0

    async def read(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        """Read the whole body."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise _no_form()
        try:
            parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                },
            )
            async for chunk in body:
                parser.write(chunk)
                if self._pending_size >= PIECE:
                    await run_in_threadpool(self._write)
            parser.finalize()
        except FormParserError:
            raise _no_form() from None
        await run_in_threadpool(self._write)

    def close(self) -> None:
        """Close all files."""
        for file in self._opened:
            file.close()

    def _write(self) -> None:
        for file, data in self._pending:
            file.write(data)
        self._pending.clear()
        self._pending_size = 0

    # -- the parser's events ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._disposition, self._file, self._size = b"", None, 0
        self._text = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        sent = len(self.form.files.get(self._name, ())) + (self._name in self.form.texts)
        most = self._files.get(self._name, 1)
        if sent >= most:
            raise SettingError(
                self._name[:60],
                "The form has a field twice." if most == 1 else f"The form has more than {most} files in a field.",
                "Send it once." if most == 1 else "Send fewer.",
            )
        if b"filename" in options:
            if self._name not in self._files:
                raise self._unknown()
            called = options[b"filename"].decode("utf-8", "replace")
            suffix = Path(called).suffix.lower()
            number = str(sent + 1) if sent else ""
            path = self._place / (self._name + number + (suffix if _SUFFIX.fullmatch(suffix) else ""))
            self._file = path.open("xb")
            self._opened.append(self._file)
            self.form.files.setdefault(self._name, []).append(Upload(path, shown_name(called) or path.name))
        elif self._name not in self._texts:
            raise self._unknown()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is None:
            if self._size > MAX_TEXT:
                raise SettingError(self._name, f"The field is longer than {MAX_TEXT} bytes.", "Send less.")
            self._text += data[start:end]
            return
        if self._size > self._limit_mb * 1_000_000:
            raise upload_too_large(self._limit_mb)
        self._pending.append((self._file, data[start:end]))
        self._pending_size += end - start

    def _end(self) -> None:
        if self._file is None:
            self.form.texts[self._name] = self._text.decode("utf-8", "replace")

    def _unknown(self) -> SettingError:
        files = ", ".join(self._files)
        return SettingError(
            self._name[:60],
            "The form has no such field.",
            f"Text fields: {', '.join(self._texts)}. File fields: {files}.",
        )


def shown_name(sent: str) -> str:
    """A file name as sent, fit to be shown: its last part, without control characters, of bearable length."""
    last = re.split(r"[/\\]", sent)[-1]
    return "".join(c for c in last if c.isprintable()).strip()[:120]


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read on, within bounds, until the client has sent all: one that is still sending does not read the answer."""
    left = DRAIN_BYTES
    with anyio.move_on_after(DRAIN_S), contextlib.suppress(ClientDisconnect):
        async for piece in body:
            left -= len(piece)
            if left < 0:
                return


def _no_form() -> SettingError:
    return SettingError(
        "clip", "The request is no complete multipart form.", "Send the video as the multipart file field clip."
    )
