"""Errors that a user can act on.

They are raised where the problem is found and translated once at each interface (exit code, HTTP status, toast).
Every message is one sentence that names the thing that is wrong; the hint says what to do about it.
"""

from __future__ import annotations


class UnderstudyError(Exception):
    """Base of all errors that are meant for the user's eyes.

    Parameters
    ----------
    message:
        One sentence: what is wrong, naming the file, setting or value.
    hint:
        One sentence: what the user can do about it; may be empty.
    """

    exit_code = 4

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class InputError(UnderstudyError):
    """The clip, a setting or a path given by the user cannot be used."""

    exit_code = 2


class NotAVideo(InputError):
    """The file is no video that can be read."""


class SettingError(InputError):
    """A setting does not exist, or its value is not allowed.

    Parameters
    ----------
    field:
        Name of the setting.
    """

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


class ModelUnavailable(UnderstudyError):
    """Something that is needed is missing on this machine: weights, a library, a GPU."""

    exit_code = 3


class ResourceError(UnderstudyError):
    """The machine ran out of memory, disk or another resource."""


class Cancelled(UnderstudyError):
    """The user asked the run to stop. What was finished is kept."""

    exit_code = 130


class StageError(UnderstudyError):
    """A stage failed in a way that nobody foresaw; carries where it happened.

    Parameters
    ----------
    stage:
        Name of the stage, as in ``run.json``.
    frame:
        Index of the frame at which it failed, or ``None`` where no single frame is to blame.
    """

    def __init__(self, stage: str, message: str, frame: int | None = None, hint: str = "") -> None:
        where = stage if frame is None else f"{stage}, frame {frame}"
        super().__init__(f"{where}: {message}", hint)
        self.stage = stage
        self.frame = frame
