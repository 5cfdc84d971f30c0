"""One run in a process of its own: ``python -m interfaces.jobs.child RUN_FOLDER``.

Standard output carries messages, one JSON object a line: ``progress``, ``view`` (``live.jpg`` is new) and one ``end``.
Standard input is held open by the server: the line ``cancel`` asks for a stop at the next frame; its end means that the
server is dead, and this process ends at once, which leaves the run cut off, to be taken up again.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Cancelled, UnderstudyError
from core.progress import Progress, ProgressState
from core.runs import RunFolder
from interfaces.jobs.channel import Channel
from interfaces.jobs.runners import RUNNERS

if TYPE_CHECKING:
    import numpy as np

#: Latest finished frame, in the run folder, while the run is under way.
LIVE = "live.jpg"
#: Widest live picture in pixels.
LIVE_WIDTH = 960
#: How much the run gives way to the server, so that the page stays quick.
NICENESS = 5

logger = logging.getLogger("understudy.run")


class Orders:
    """Listens to the server, from the first moment on."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._cancelled = False
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def obey(self, progress: Progress) -> None:
        """Pass a wish to stop on to ``progress``, also one that came before."""
        with self._lock:
            self._progress = progress
            if self._cancelled:
                progress.cancel()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            if line.strip() == b"cancel":
                with self._lock:
                    self._cancelled = True
                    if self._progress is not None:
                        self._progress.cancel()
        # The server is gone. Nothing is tidied up: to those who look, the run is one that was cut off.
        os._exit(1)


def _work(folder: Path, channel: Channel, orders: Orders) -> None:
    """Do the run."""
    run = RunFolder.open(folder)
    perform = RUNNERS[run.record["kind"]]()

    def listen(state: ProgressState) -> None:
        channel.send(event="progress", **dataclasses.asdict(state))

    def view(frame: int, rgb: np.ndarray) -> None:
        run.save_bytes(LIVE, _jpeg(rgb))
        channel.send(event="view", frame=frame)

    progress = Progress(listener=listen, viewer=view)
    orders.obey(progress)
    perform(folder, progress=progress)
    run.file(LIVE).unlink(missing_ok=True)


def _jpeg(rgb: np.ndarray) -> bytes:
    import cv2

    height, width = rgb.shape[:2]
    if width > LIVE_WIDTH:
        rgb = cv2.resize(rgb, (LIVE_WIDTH, round(height * LIVE_WIDTH / width)), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes()


def main(folder: Path) -> int:
    """Do one run. Returns the exit code."""
    orders = Orders()
    channel = Channel()
    os.nice(NICENESS)
    logging.basicConfig(stream=sys.stderr)
    try:
        _work(folder, channel, orders)
    except Cancelled:
        channel.send(event="end", state="cancelled", error=None)
    except UnderstudyError as error:
        logger.error("%s", error)
        channel.send(event="end", state="failed", error=str(error))
        return error.exit_code
    except Exception as error:
        logger.exception("unexpected")
        channel.send(event="end", state="failed", error=f"{type(error).__name__}: {error}")
        return 4
    else:
        channel.send(event="end", state="done", error=None)
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stderr.flush()
    # Every file is closed and in place. Tearing down the libraries takes a second, in which the next run would wait.
    os._exit(code)
