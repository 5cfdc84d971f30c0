"""Progress on standard error: one line that is redrawn on a terminal, plain lines otherwise."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from core.progress import Progress, ProgressState


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class ProgressBar:
    """A listener for :class:`core.progress.Progress`."""

    WIDTH = 24

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._last_line = ("", -1)

    def __call__(self, state: ProgressState) -> None:
        percent = int(state.fraction * 100)
        left = "" if state.seconds_left is None else f"  {clock(state.seconds_left)} left"
        if self._terminal:
            filled = int(state.fraction * self.WIDTH)
            bar = "█" * filled + "·" * (self.WIDTH - filled)
            line = f"{bar} {percent:3d}%  {state.stage:<10} {state.detail}{left}"
            columns = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[2K" + line[: columns - 1])
        elif (state.stage, percent // 5) != self._last_line:
            # A log file gets a line per stage and per five percent.
            self._last_line = (state.stage, percent // 5)
            self._stream.write(f"{percent:3d}%  {state.stage}  {state.detail}{left}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()


@contextmanager
def cancel_on_signal(progress: Progress) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a clean stop at the next frame; a second Ctrl-C stops at once."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        progress.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress that is drawn, and that Ctrl-C and SIGTERM stop cleanly."""
    bar = ProgressBar()
    progress = Progress(listener=bar)
    try:
        with cancel_on_signal(progress):
            yield progress
    finally:
        bar.close()
