"""Where a run stands: stage, percentage, time left; and the way to stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from core.errors import Cancelled

T = TypeVar("T")


@dataclass(frozen=True)
class ProgressState:
    """One moment of a run."""

    stage: str
    """Name of the stage that is under way."""
    stage_fraction: float
    """How much of the stage is done, 0..1."""
    fraction: float
    """How much of the run is done, 0..1, stages weighted by what they usually cost."""
    seconds_left: float | None
    """Estimated seconds to the end; ``None`` until enough is done to tell."""
    detail: str = ""
    """What the stage is doing just now, e.g. ``frame 12 of 150``."""


Listener = Callable[[ProgressState], None]


class Progress:
    """Counts the work of a run whose stages and their usual shares of the time are known beforehand.

    Parameters
    ----------
    shares:
        Stage name -> usual share of the run's time (any unit; normalised here). Stages that are not listed count
        nothing.
    listener:
        Called at most ten times a second, and at the start and end of each stage, from the thread that works.
    """

    #: Least seconds between two calls of the listener inside a stage.
    INTERVAL = 0.1

    def __init__(self, shares: dict[str, float] | None = None, listener: Listener | None = None) -> None:
        self._shares = dict(shares or {})
        self._listener = listener
        self._done: dict[str, float] = {}
        self._cancel = threading.Event()
        self._started = time.monotonic()
        self._last_call = 0.0
        self.state = ProgressState("", 0.0, 0.0, None)

    def cancel(self) -> None:
        """Ask the run to stop at the next frame. Safe from any thread and from a signal handler."""
        self._cancel.set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the run was asked to stop."""
        if self._cancel.is_set():
            raise Cancelled("The run was cancelled.", "Continue it with: python app.py resume RUN")

    def report(self, stage: str, stage_fraction: float, detail: str = "", *, force: bool = False) -> None:
        """Note how far a stage is (0..1), tell the listener, and raise :class:`Cancelled` if asked to stop."""
        self.check()
        self._done[stage] = min(max(stage_fraction, 0.0), 1.0)
        now = time.monotonic()
        if not force and now - self._last_call < self.INTERVAL:
            return
        self._last_call = now
        total = sum(self._shares.values()) or 1.0
        fraction = sum(share * self._done.get(name, 0.0) for name, share in self._shares.items()) / total
        elapsed = now - self._started
        # Below two percent or two seconds the estimate says more about start-up than about the run.
        left = elapsed * (1 - fraction) / fraction if fraction > 0.02 and elapsed > 2 else None
        self.state = ProgressState(stage, self._done[stage], fraction, left, detail)
        if self._listener is not None:
            self._listener(self.state)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Mark a stage's start and end."""
        self.report(name, 0.0, force=True)
        yield
        self.report(name, 1.0, force=True)

    def track(self, items: Iterable[T], stage: str, total: int, unit: str = "frame") -> Iterator[T]:
        """Pass items through, reporting after each one."""
        for index, item in enumerate(items):
            yield item
            self.report(stage, (index + 1) / max(total, 1), f"{unit} {index + 1} of {total}")
