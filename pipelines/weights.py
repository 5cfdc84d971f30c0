"""Weights for the interfaces: list them, fetch them, check them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import Cancelled
from core.progress import Progress
from models.weights import store
from models.weights.table import WEIGHTS, WeightSet, weight_set

#: Sets from this size on are fetched only when the user has agreed, bytes.
ASK_FROM = 10_000_000_000


@dataclass(frozen=True)
class WeightCard:
    """One set, as a list shows it."""

    name: str
    purpose: str
    licence: str
    size: int
    """About how much is fetched, bytes; 0 where its page tells."""
    status: store.Status
    """``ready``, ``missing``, ``partial``, or ``by hand``: the user has to put files there."""
    where: Path
    """Its folder."""
    advice: str
    """What to do about it, one sentence; empty when it is ready."""


def cards(cache: Path | None = None) -> tuple[WeightCard, ...]:
    """All sets, with what is on disk."""
    return tuple(_card(row, cache) for row in WEIGHTS.values())


def _card(row: WeightSet, cache: Path | None) -> WeightCard:
    state = store.state_of(row, cache)
    advice = "" if state.status == "ready" else row.command
    if state.status == "by hand":
        advice = store.by_hand_help(row, state.folder)
    return WeightCard(row.name, row.purpose, row.licence, round(row.size_gb * 1e9), state.status, state.folder, advice)


def folder(cache: Path | None = None) -> Path:
    """The folder of all sets."""
    return store.weights_folder(cache)


def ready(cache: Path | None = None) -> tuple[str, ...]:
    """Names of the sets that are whole."""
    return tuple(card.name for card in cards(cache) if card.status == "ready")


def size_text(size: float) -> str:
    """Bytes as people read them: ``82.3 GB``, ``135 MB``."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            number = size / one
            return f"{number:.1f} {unit}" if number < 100 and unit == "GB" else f"{number:.0f} {unit}"
    return f"{size:.0f} B"


def pull(
    names: Sequence[str],
    agree: Callable[[str, int], None],
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Fetch sets that are not on disk yet. What has come is kept whatever happens.

    Parameters
    ----------
    agree:
        Called with the name of a set and the bytes to fetch when that is a lot; raises to leave it.

    Returns
    -------
    The folders, in the order of ``names``.

    Raises
    ------
    InputError
        There is no such set, its folder cannot be written, or another process fetches it.
    ModelUnavailable
        The user has to put the files in place; no network; offline mode; a repository that is gated or gone.
    ResourceError
        The disk is too small.
    Cancelled
        Asked to stop.
    """
    from models.weights.pull import check_disk, make_plan
    from models.weights.pull import pull as fetch

    progress = progress or Progress()
    # Whatever stands against one of them shows before the first is fetched.
    plans = []
    for row in [weight_set(name) for name in dict.fromkeys(names)]:
        progress.check()
        with _own_words("fetched"):
            plans.append(make_plan(row, cache, _Listing(progress, row.name)))
    for plan in plans:
        if plan.bytes_to_fetch >= ASK_FROM:
            agree(plan.row.name, plan.bytes_to_fetch)
    check_disk(plans)
    progress.expect({plan.row.name: float(plan.total) for plan in plans})
    for plan in plans:
        progress.skip(plan.row.name, 1 - plan.bytes_to_fetch / max(plan.total, 1))
    with _own_words("fetched"):
        for plan in plans:
            if plan.wanted:
                meter = _Meter(progress, plan.row.name, plan.total, plan.total - plan.bytes_to_fetch)
                meter(0)
                fetch(plan, meter, progress.check)
                progress.report(plan.row.name, 1.0, size_text(plan.total), force=True)
    return tuple(plan.folder for plan in plans)


class _Listing:
    """Tells how much of the list of a set's files has come: how long it is, nobody knows before."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage, self._done = progress, stage, 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._progress.report(self._stage, 0.0, f"list of files, {size_text(self._done)}")


class _Meter:
    """Turns bytes into progress."""

    def __init__(self, progress: Progress, stage: str, total: int, done: int = 0) -> None:
        self._progress, self._stage, self._total, self._done = progress, stage, total, done
        self._before, self._start = done, time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        rate = (self._done - self._before) / max(time.monotonic() - self._start, 0.1)
        detail = f"{size_text(self._done)} of {size_text(self._total)}, {size_text(rate)}/s"
        self._progress.report(self._stage, min(self._done / max(self._total, 1), 1.0), detail)


def verify(
    names: Sequence[str], cache: Path | None = None, progress: Progress | None = None
) -> dict[str, tuple[store.Fault, ...]]:
    """Read every file of the named sets, or of all that are on disk, and compare it with what the hub announced.
    Damaged files are set aside; the next pull fetches them anew.

    Returns
    -------
    Name of each set that was read -> what is wrong with it.

    Raises
    ------
    InputError
        There is no such set.
    ModelUnavailable
        A named set is not on disk.
    Cancelled
        Asked to stop.
    """
    progress = progress or Progress()
    rows = [weight_set(name) for name in names]
    if not rows:
        rows = [row for row in WEIGHTS.values() if store.state_of(row, cache).status in ("ready", "partial")]
    sizes = {row.name: store.bytes_on_disk(row, cache) for row in rows}
    progress.expect({name: float(size) for name, size in sizes.items()})
    faults = {}
    with _own_words("checked"):
        for row in rows:
            faults[row.name] = store.verify(row, cache, _Meter(progress, row.name, sizes[row.name]))
            progress.report(row.name, 1.0, size_text(sizes[row.name]), force=True)
    return faults


@contextmanager
def _own_words(what: str) -> Iterator[None]:
    """A cancelled run is resumed by name; weights are not."""
    try:
        yield
    except Cancelled as error:
        raise Cancelled(f"Stopped before all was {what}.", "What has come is kept: run the same again.") from error
