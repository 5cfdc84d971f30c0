"""What every engine does about the diffusion libraries: no loading bars of theirs, no broken pictures of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import StageError


@contextmanager
def without_loading_bars() -> Iterator[None]:
    """No bars of diffusers and transformers inside, as before afterwards: a run has one progress bar, its own."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [log for log in (diffusers_logging, transformers_logging) if log.is_progress_bar_enabled()]
    for log in shown:
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log in shown:
            log.enable_progress_bar()


def no_numbers() -> StageError:
    """The error for a picture with values that are no numbers (NaN), which would come out black."""
    return StageError(
        "generate",
        "the networks gave values that are no numbers, as a checkpoint does that overflows in half precision",
        hint="Check the weights with: python app.py weights verify; or choose another checkpoint.",
    )
