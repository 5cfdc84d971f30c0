"""Servers for tests: the REST API in a thread of this process, or the whole web app as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import uvicorn

from core.settings import ServerSettings
from interfaces.jobs.queue import JobQueue
from interfaces.server import build_app
from tests.conftest import ROOT

#: Seconds after which a run of a few frames has surely ended, on a machine that is busy with other things.
PATIENCE_S = 240
#: The quickest mesh that has a video and files.
QUICK_MESH = {"detector_complexity": 0, "fit": "quick", "edge_samples": 1, "videos": "overlay", "formats": "glb,csv"}
#: The quickest settings there are: nothing new is drawn.
QUICK = {"engine": "passthrough", "plate": "off", "detector_complexity": 0}


@contextmanager
def rest_server(output: Path, **settings) -> Iterator[tuple[httpx.Client, JobQueue]]:
    """The REST API without the page, on a free port; a client for it, and its queue."""
    app = build_app(ServerSettings(output=output, port=0, **settings), page=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the server starts")
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client, app.state.services.queue
    finally:
        server.should_exit = True
        thread.join()


class AppProcess:
    """``python app.py`` as a user starts it, once it has said where it is."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--port", "0", *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if "Understudy is at " in line:
                break
        else:
            raise AssertionError("".join(lines))
        self.url = line.split(" is at ")[1].strip()

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send a signal and wait for the end: exit code, and what was said last."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def until(holds: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
    """Wait until something holds; fail when it does not in good time."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.02)


def submit(client: httpx.Client, clip: Path, settings: dict | None = None, **fields: str) -> httpx.Response:
    """``POST /runs``."""
    with clip.open("rb") as file:
        return client.post(
            "/runs",
            files={"clip": (clip.name, file, "video/mp4")},
            data={"settings": json.dumps(QUICK if settings is None else settings), **fields},
        )


def submit_mesh(
    client: httpx.Client,
    clips: Sequence[Path],
    settings: dict | None = None,
    calibration: Sequence[Path] = (),
    **fields: str,
) -> httpx.Response:
    """``POST /meshes``."""
    files = [("clip", (clip.name, clip.read_bytes(), "video/mp4")) for clip in clips]
    files += [("calibration", (file.name, file.read_bytes(), "text/plain")) for file in calibration]
    data = {"settings": json.dumps(QUICK_MESH if settings is None else settings), **fields}
    return client.post("/meshes", files=files, data=data)


def wait_for_end(client: httpx.Client, run_id: str) -> dict:
    """Status of a run when it has ended."""
    until(lambda: client.get(f"/runs/{run_id}").json()["state"] not in ("queued", "running"), f"{run_id} ends")
    return client.get(f"/runs/{run_id}").json()


def process_of(part: str, *, own: bool = False) -> psutil.Process | None:
    """The process with ``part`` in its command line, among all or only among our own children; ``None``: there is none."""
    found = psutil.Process().children(recursive=True) if own else psutil.process_iter()
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            if part in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None
