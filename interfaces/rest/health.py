"""``/health``."""

from __future__ import annotations

import tomllib

from fastapi import APIRouter

from interfaces.jobs.process import PROJECT
from interfaces.rest.models import Health
from interfaces.services import Services


def project_version() -> str:
    """Version of the program, from the one place in which it is written."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["version"]


def router(services: Services) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["server"])
    version = project_version()

    @routes.get("/health", summary="How the server is")
    def health() -> Health:
        waiting, running = services.queue.counts()
        s = services.settings
        limits = {
            "max_upload_mb": s.max_upload_mb,
            "max_duration_s": s.max_duration_s,
            "max_pixels": s.max_pixels,
            "max_queue": s.max_queue,
        }
        return Health(
            version=version, devices=list(services.queue.devices), queue=waiting, running=running, limits=limits
        )

    return routes
