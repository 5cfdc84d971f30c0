"""What the page and the REST API both stand on."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import ServerSettings
from interfaces.jobs.queue import JobQueue
from interfaces.jobs.studio import Studio


@dataclass
class Services:
    """One of each for the whole server."""

    settings: ServerSettings
    queue: JobQueue
    studio: Studio
