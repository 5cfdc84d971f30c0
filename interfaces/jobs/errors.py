"""What can go wrong between a user and the queue."""

from __future__ import annotations

from core.errors import InputError, UnderstudyError


class NoSuchRun(UnderstudyError):
    """There is no run of that name."""


class WrongState(UnderstudyError):
    """The run is in a state in which that cannot be done."""


class QueueFull(UnderstudyError):
    """As many runs wait as may wait."""


class TooLarge(InputError):
    """The clip is larger, longer or of more pixels than this server takes."""
