"""What every engine does about the diffusion libraries: no loading bars of theirs, no broken pictures of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import StageError


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """No bars and no warnings of diffusers and transformers inside, as before afterwards: a run has one progress bar, its
    own, and says itself what the user should know."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    logs: tuple[Any, ...] = (diffusers_logging, transformers_logging)
    before = [(log, log.is_progress_bar_enabled(), log.get_verbosity()) for log in logs]
    for log in logs:
        log.disable_progress_bar()
        log.set_verbosity_error()
    try:
        yield
    finally:
        for log, bars, verbosity in before:
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()


def no_numbers() -> StageError:
    """The error for a picture with values that are no numbers (NaN), which would come out black."""
    return StageError(
        "generate",
        "the networks gave values that are no numbers, as a checkpoint does that overflows in half precision",
        hint="Check the weights with: python app.py weights verify; or choose another checkpoint.",
    )
