"""The web app: REST API and page in one process on one port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI

from core.errors import InputError
from core.settings import ServerSettings
from interfaces.jobs.queue import JobQueue
from interfaces.jobs.studio import Studio
from interfaces.rest import catalogue, errors, health, meshes, preview, results, runs
from interfaces.rest.guard import Guard, check_address
from interfaces.services import Services
from pipelines.machine import devices

#: Seconds that connections which stay open, such as those that watch a run, have at the end.
GOODBYE_S = 2

_ABOUT = """Everything that the page does, for programs. Send a clip to `POST /runs` (another person)
or `POST /meshes` (the person's body as a mesh), watch `GET /runs/{id}/events`, fetch what `files` of `GET /runs/{id}` lists.
Errors look like `{"error": {"message", "hint", "field"}}`."""


def build_services(settings: ServerSettings) -> Services:
    """Queue and studio for this machine, not started yet."""
    found = devices()
    queue = JobQueue(settings.output, devices=found, limit=settings.max_queue)
    return Services(settings, queue, Studio(settings.output, found[0]))


def build_app(settings: ServerSettings, *, page: bool = True, services: Services | None = None) -> FastAPI:
    """The application. Its queue starts with it, unless it has been started, and stops with it.

    Parameters
    ----------
    settings:
        Address, password, limits, output folder.
    page:
        Whether the web page is there too, or the REST API alone.
    services:
        What it stands on; made from the settings where it is left out.

    Raises
    ------
    InputError
        It would listen to others without a password.
    """
    check_address(settings)
    services = services or build_services(settings)

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        services.queue.start()
        try:
            yield
        finally:
            services.studio.close()
            services.queue.stop()

    app = FastAPI(
        title="Understudy", version=health.project_version(), description=_ABOUT, lifespan=life, redoc_url=None
    )
    app.state.services = services
    errors.install(app)
    for router in (health.router, runs.router, meshes.router, results.router, preview.router):
        app.include_router(router(services))
    app.include_router(catalogue.router())
    if page:
        # Gradio takes seconds to load, which programs that want the API alone need not wait for.
        from interfaces.web.page import mount

        app = mount(app, services)
    app.add_middleware(Guard, settings=settings)
    return app


class _Server(uvicorn.Server):
    """Says where it is, once it is there."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(f"Understudy is at {self._address}\n")
            sys.stderr.flush()


def serve(settings: ServerSettings) -> None:
    """Run the web app until Ctrl-C or SIGTERM. Runs that are under way then go back into the queue.

    Raises
    ------
    InputError
        The address is taken or is not this machine's, it needs a password, or the output folder cannot be used.
    """
    check_address(settings)
    with _listen(settings) as listener:
        host, port = settings.host, listener.getsockname()[1]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        services = build_services(settings)
        # First of all, for what may be wrong here has its reason said in one sentence.
        services.queue.start()
        try:
            _run(build_app(settings, services=services), listener, address)
        finally:
            services.queue.stop()
        sys.stderr.write("Understudy has stopped.\n")


def _run(app: FastAPI, listener: socket.socket, address: str) -> None:
    """Serve until a signal comes."""
    logging.getLogger("uvicorn.error").addFilter(_not_a_goodbye)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GOODBYE_S, server_header=False
    )
    # uvicorn raises the signal again once all is stopped; SIGTERM is then as good an end as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, address).run(sockets=[listener])


def _not_a_goodbye(record: logging.LogRecord) -> bool:
    """Drop uvicorn's words on connections that were still open at the end: pages that are open are no error."""
    error = record.exc_info[1] if record.exc_info else None
    return "graceful shutdown exceeded" not in record.getMessage() and not isinstance(error, asyncio.CancelledError)


def _listen(settings: ServerSettings) -> socket.socket:
    """Take the address, so that a clear word can be said where that fails."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"{where} is in use by another program.", "Choose another port with --port.") from error
        raise InputError(
            f"Understudy cannot listen on {where}: {error.strerror}.", "Check --host and --port."
        ) from error
    return listener
