"""What every request passes first, be it for the page, the REST API or a websocket: who asks, from where, how much.

A server that listens on this machine alone asks for no password, so it must make sure that it is not a foreign web page
that asks through the user's browser: the Host header must be a name of this machine (a foreign name that resolves to
127.0.0.1 is refused), and requests that change something must not come from another origin.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import json
import re
import time
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import InputError
from core.settings import ServerSettings
from interfaces.jobs.limits import upload_too_large

#: Largest body of requests that upload no file. The page's events carry no files either.
PLAIN_BODY = 4_000_000
#: What a form may hold besides its files.
FORM_REST = 1_000_000
#: Addresses at which files are uploaded.
UPLOADS = re.compile(r"(/runs|/meshes|/preview|/people|/gradio_api/upload)/?")

#: How much of a body that is too large is still read, in bytes and seconds, so that the client gets to read the answer:
#: one that is still sending when the connection is closed reports a broken pipe instead.
DRAIN_BYTES, DRAIN_S = 64_000_000, 10.0

_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
}


def is_loopback(host: str) -> bool:
    """Whether an address, or a host name with or without port, is this machine's own."""
    name = host_name(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """The name in a Host header, without port, brackets and a final dot, in lower case."""
    if host.count(":") > 1 and not host.startswith("["):
        return host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def check_address(settings: ServerSettings) -> None:
    """Refuse to listen to others without a password.

    Raises
    ------
    InputError
        The host is not this machine's own, and there is no password.
    """
    if settings.auth is None and not is_loopback(settings.host):
        raise InputError(
            f"Listening on {settings.host} would let anybody in who can reach this machine.",
            "Set a password: UNDERSTUDY_AUTH=user:password, or --auth user:password.",
        )


class _Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, message: str, hint: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = json.dumps({"error": {"message": message, "hint": hint}}).encode()


class Guard:
    """ASGI middleware around everything.

    Parameters
    ----------
    app:
        What is guarded.
    settings:
        Host, password and largest upload.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self._auth = None if settings.auth is None else settings.auth.encode()
        self._local = is_loopback(settings.host)
        self._upload_mb = settings.max_upload_mb

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_password(headers)
            self._check_origin(scope, headers)
        except _Refused as refused:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await _refuse(refused, headers, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            await self._pass_on(scope, headers, receive, send)

    # -- who asks, and from where ----------------------------------------------------------------------------------

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._local and not is_loopback(host):
            raise _Refused(
                403,
                f"This server answers on this machine's own names only, not as {host[:80]!r}.",
                "Open it as http://127.0.0.1, or start it with --host 0.0.0.0 and a password.",
            )

    def _check_password(self, headers: Headers) -> None:
        if self._auth is None:
            return
        given = b""
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                given = b""
        # User and password in one comparison, so that its time tells nothing of either.
        if not hmac.compare_digest(given, self._auth):
            raise _Refused(
                401,
                "This server asks for a user name and a password.",
                "They are those that it was started with (UNDERSTUDY_AUTH or --auth).",
                {"www-authenticate": 'Basic realm="Understudy", charset="UTF-8"'},
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
            return
        origin = headers.get("origin")
        # Programs send no Origin. Where a proxy has changed the Host, the browser's own word counts; pages cannot forge it.
        if origin is None or headers.get("sec-fetch-site") == "same-origin":
            return
        if _netloc(origin) != headers.get("host", "").lower():
            raise _Refused(
                403, f"Requests from {origin[:80]} are not taken.", "Use the page of this server, or a program."
            )

    # -- how much --------------------------------------------------------------------------------------------------

    async def _pass_on(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        upload = UPLOADS.fullmatch(scope["path"]) is not None
        limit = self._upload_mb * 1_000_000 + FORM_REST if upload else PLAIN_BODY
        body = _LimitedBody(receive, limit)
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await _refuse(self._too_large(upload), headers, receive, send)
            return

        async def send_on(message: Message) -> None:
            if body.exceeded:
                return
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    own.setdefault(name, value)
                body.answered = True
            await send(message)

        try:
            await self.app(scope, body.receive, send_on)
        except Exception:
            # What the application makes of a body that ends early is of no interest: the answer is ours.
            if not body.exceeded:
                raise
        if body.exceeded and not body.answered:
            await _refuse(self._too_large(upload), headers, body.rest, send)

    def _too_large(self, upload: bool) -> _Refused:
        if upload:
            error = upload_too_large(self._upload_mb)
            return _Refused(413, error.message, error.hint)
        return _Refused(413, f"The request is larger than {PLAIN_BODY // 1_000_000} MB.", "Send less at once.")


def _netloc(origin: str) -> str | None:
    """Host and port of an origin; ``None`` where it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


class _LimitedBody:
    """Counts a body while it is read; what is over the limit looks to the application as if the client had gone."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit
        self.exceeded = False
        self.answered = False
        self._ended = False

    async def rest(self) -> Message:
        """Read on, whatever the length; after the end there is nothing to wait for."""
        if self._ended:
            return {"type": "http.disconnect"}
        return await self._receive()

    async def receive(self) -> Message:
        if self.exceeded:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._left < 0 and not self.answered:
                self.exceeded = True
                return {"type": "http.disconnect"}
        return message


async def _refuse(refused: _Refused, headers: Headers, receive: Receive, send: Send) -> None:
    """Answer in place of the application, once the client has sent its body."""
    # A client that waits for leave to send needs no reading from; reading would give it leave.
    if headers.get("expect", "").lower() != "100-continue":
        await _drain(receive)
    start = {
        **_HEADERS,
        **refused.headers,
        "content-type": "application/json",
        "content-length": str(len(refused.body)),
    }
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in start.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": refused.body})


async def _drain(receive: Receive) -> None:
    """Read on, within bounds, until the client has sent all."""
    left, end = DRAIN_BYTES, time.monotonic() + DRAIN_S
    with anyio.move_on_after(DRAIN_S):
        while left > 0 and time.monotonic() < end:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
            left -= len(message.get("body", b""))
