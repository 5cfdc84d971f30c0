"""One warm process for what must answer in seconds: who is in the clip, and one frame in its final look."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

import core.errors
from core.errors import ResourceError, UnderstudyError
from core.settings import MeshSettings, ReplaceSettings
from interfaces.jobs.claim import PREVIEWS
from interfaces.jobs.limits import check_names
from interfaces.jobs.process import PROJECT, environment
from interfaces.settings_from import kind_of
from pipelines.replace.preview import FoundPerson, PeopleFound, Preview

#: Seconds without a call after which the process, which holds models in memory, is ended.
IDLE_S = 300.0
#: Seconds that a call may take; the first one may have to load networks of tens of GB.
CALL_S = 900.0
#: Digests of clips that are kept; another avatar on the same clip is quick as long as its digest is there.
KEPT_DIGESTS = 8


class Studio:
    """Answers calls one after another, in a process that is started at the first one.

    Parameters
    ----------
    root:
        The output folder; what previews are made from lies in ``.previews`` in it.
    device:
        The device that the process may see.
    """

    def __init__(self, root: Path, device: str = "cpu") -> None:
        self._folder = root.resolve() / PREVIEWS
        self._device = device
        self._turn = threading.Lock()
        self._process: _StudioProcess | None = None
        self._idle: threading.Timer | None = None
        self._closed = False

    def people(self, clip: Path, settings: ReplaceSettings | MeshSettings) -> PeopleFound:
        """The people in the clip's first good frame. See :func:`pipelines.replace.preview.find_people`.

        Raises
        ------
        UnderstudyError
            Those of ``find_people``; ``ResourceError`` when the process dies or takes too long.
        """
        with self._answer("people", clip, settings) as (answer, pictures):
            people = tuple(FoundPerson(tuple(p["xyxy"]), p["score"], tuple(p["point"])) for p in answer["people"])
            return PeopleFound(answer["frame"], np.load(pictures / "frame.npy"), people)

    def preview(self, clip: Path, settings: ReplaceSettings, frame: int | None = None) -> Preview:
        """One frame before and after. See :func:`pipelines.replace.preview.preview_frame`.

        Raises
        ------
        UnderstudyError
            Those of ``preview_frame``; ``ResourceError`` when the process dies or takes too long.
        """
        with self._answer("preview", clip, settings, frame=frame) as (answer, pictures):
            source, result = np.load(pictures / "source.npy"), np.load(pictures / "result.npy")
            return Preview(answer["frame"], source, result, tuple(answer["warnings"]), answer["seconds"])

    def close(self) -> None:
        """End the process, also in the middle of a call, and remove what it kept."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._end()
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def _answer(self, call: str, clip: Path, settings: ReplaceSettings | MeshSettings, **values: Any) -> Any:
        """Have a call answered: the answer, and the folder of its pictures, which is gone afterwards."""
        check_names(settings)
        with self._turn:
            if self._closed:
                raise ResourceError("The server is ending.", "")
            if self._idle is not None:
                self._idle.cancel()
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with tempfile.TemporaryDirectory(dir=self._folder, prefix="pictures-") as pictures:
                    request = {
                        "call": call,
                        "clip": str(clip.resolve()),
                        "kind": kind_of(type(settings)),
                        "settings": settings.model_dump(mode="json"),
                        "pictures": pictures,
                        "cache": str(self._folder / "digests"),
                        **values,
                    }
                    yield self._ask(request), Path(pictures)
            finally:
                self._prune()
                self._idle = threading.Timer(IDLE_S, self._rest)
                self._idle.daemon = True
                self._idle.start()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process is None or not self._process.alive:
            self._end()
            self._process = _StudioProcess(self._folder / "studio.log", self._device)
        try:
            answer = self._process.ask(request)
        except ResourceError:
            self._end()
            raise
        if "error" in answer:
            raise _error(answer["error"], Path(request["clip"]))
        return answer

    def _rest(self) -> None:
        with self._turn:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _prune(self) -> None:
        """Drop the oldest digests."""
        with contextlib.suppress(FileNotFoundError):
            digests = sorted((self._folder / "digests").glob("[!.]*"), key=lambda path: path.stat().st_mtime)
            for old in digests[:-KEPT_DIGESTS]:
                shutil.rmtree(old, ignore_errors=True)


class _StudioProcess:
    """The process: one request in, one answer out."""

    def __init__(self, log: Path, device: str) -> None:
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "interfaces.jobs.studio_child"],
                cwd=PROJECT,
                env=environment(device),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                start_new_session=True,
            )
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=CALL_S)
        except queue.Empty:
            raise ResourceError(
                f"The preview took longer than {CALL_S:.0f} seconds and was stopped.", "Try again, or start the run."
            ) from None
        except OSError:
            line = None
        if line is None:
            raise ResourceError(
                "The process that makes previews ended unexpectedly; memory may have run out.",
                "Try again, or with a smaller clip.",
            )
        return json.loads(line)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        with self._process.stdout as stream:  # type: ignore[union-attr]
            for line in stream:
                self._answers.put(line)
        self._answers.put(None)


def _error(content: dict[str, Any], clip: Path) -> UnderstudyError:
    """The error that the process met, as the same class. The clip's name stands in it without its folder."""
    content["values"]["message"] = content["values"]["message"].replace(str(clip), clip.name)
    kind = getattr(core.errors, content["kind"])
    error: UnderstudyError = kind.__new__(kind)
    # Not by the constructor: some build their message from parts.
    error.args = (content["values"]["message"],)
    vars(error).update(content["values"])
    return error
