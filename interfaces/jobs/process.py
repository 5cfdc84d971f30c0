"""A run's own process, seen from the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Folder from which ``-m interfaces...`` is found.
PROJECT = Path(__file__).resolve().parent.parent.parent

LOG = "run.log"


def environment(device: str) -> dict[str, str]:
    """Environment of a child that may see one device: ``cpu``, or ``cuda:N`` counted among those this process may see."""
    values = dict(os.environ)
    # The password of the server is no business of its children.
    values.pop("UNDERSTUDY_AUTH", None)
    if device == "cpu":
        values["CUDA_VISIBLE_DEVICES"] = ""
    else:
        number = device.removeprefix("cuda:")
        allowed = [part.strip() for part in values.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
        values["CUDA_VISIBLE_DEVICES"] = allowed[int(number)] if allowed else number
    return values


class RunProcess:
    """A child process that works on one run and tells how far it is.

    It ends by itself when this process dies, for it notices that its standard input is closed.

    Parameters
    ----------
    folder:
        The run folder. What the child writes to standard error goes into its ``run.log``.
    device:
        The device that it may see.
    """

    def __init__(self, folder: Path, device: str) -> None:
        with (folder / LOG).open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} on {device}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "interfaces.jobs.child", str(folder)],
                cwd=PROJECT,
                env=environment(device),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # A group of its own: Ctrl-C is the server's to handle, and a kill takes helpers with it.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the child tells, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The last line may be torn when the child was killed.
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)

    def ask_to_stop(self) -> None:
        """Ask for a stop at the next frame."""
        assert self._process.stdin is not None
        # A child that has just ended reads no more.
        with contextlib.suppress(OSError):
            self._process.stdin.write(b"cancel\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end. Returns its exit code, negative for a signal."""
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        return code
