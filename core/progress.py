"""Where a run stands: stage, percentage, time left; and the way to stop it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

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
#: Given the index and the pixels, (H, W, 3) uint8, of the latest finished frame.
Viewer = Callable[[int, np.ndarray], None]


class Progress:
    """Counts the work of a run whose stages and their usual shares of the time are known beforehand.

    Parameters
    ----------
    shares:
        Stage name -> usual share of the run's time (any unit; normalised here). Stages that are not listed count
        nothing.
    listener:
        Called at most ten times a second, and at the start and end of each stage, from the thread that works.
    viewer:
        Given the latest finished frame, at most twice a second, from the thread that works.
    """

    #: Least seconds between two calls of the listener inside a stage.
    INTERVAL = 0.1
    #: Least seconds between two calls of the viewer.
    VIEW_INTERVAL = 0.5

    def __init__(
        self,
        shares: dict[str, float] | None = None,
        listener: Listener | None = None,
        viewer: Viewer | None = None,
    ) -> None:
        self._shares = dict(shares or {})
        self._listener, self._viewer = listener, viewer
        self._done: dict[str, float] = {}
        self._skipped: dict[str, float] = {}
        self._cancel = threading.Event()
        self._started = time.monotonic()
        self._last_call = self._last_view = 0.0
        self.state = ProgressState("", 0.0, 0.0, None)

    def cancel(self) -> None:
        """Ask the run to stop at the next frame. Safe from any thread and from a signal handler."""
        self._cancel.set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the run was asked to stop."""
        if self._cancel.is_set():
            raise Cancelled("The run was cancelled.", "Continue it with: python app.py resume RUN")

    def expect(self, shares: dict[str, float]) -> None:
        """Take other shares, known better now that the work has been looked at; the time counts from here."""
        self._shares = dict(shares)
        self._started = time.monotonic()

    def skip(self, stage: str, stage_fraction: float = 1.0) -> None:
        """Note that a stage was done to this point by an earlier go: that counts as done, and says nothing of the speed."""
        self._done[stage] = self._skipped[stage] = stage_fraction

    def report(self, stage: str, stage_fraction: float, detail: str = "", *, force: bool = False) -> None:
        """Note how far a stage is (0..1), tell the listener, and raise :class:`Cancelled` if asked to stop."""
        self.check()
        self._done[stage] = min(max(stage_fraction, self._skipped.get(stage, 0.0)), 1.0)
        now = time.monotonic()
        if not force and now - self._last_call < self.INTERVAL:
            return
        self._last_call = now
        fraction = self._share_of(self._done)
        worked = fraction - self._share_of(self._skipped)
        elapsed = now - self._started
        # Below two percent or two seconds the estimate says more about start-up than about the run.
        left = elapsed * (1 - fraction) / worked if worked > 0.02 and elapsed > 2 else None
        self.state = ProgressState(stage, self._done[stage], fraction, left, detail)
        if self._listener is not None:
            self._listener(self.state)

    def show(self, frame: int, make: Callable[[], np.ndarray]) -> None:
        """Offer a finished frame to whoever looks on; it is made only when somebody does and the last one is old enough.

        Parameters
        ----------
        frame:
            Its index in the clip.
        make:
            Gives its pixels, (H, W, 3) uint8.
        """
        now = time.monotonic()
        if self._viewer is None or now - self._last_view < self.VIEW_INTERVAL:
            return
        self._last_view = now
        self._viewer(frame, make())

    def _share_of(self, parts: dict[str, float]) -> float:
        """Share of the run that parts (0..1) of its stages are."""
        total = sum(self._shares.values()) or 1.0
        return sum(share * parts.get(name, 0.0) for name, share in self._shares.items()) / total

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
