"""The child's end of the line to the server: JSON lines, one message each."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any


class Channel:
    """Takes standard output for messages. Whatever libraries print goes to standard error from here on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(self, **message: Any) -> None:
        """Send one message. Where the server is gone, this process ends at once and leaves its work cut off."""
        try:
            with self._lock:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
        except BrokenPipeError:
            # As an error it would pass through the pipeline, and the run would be marked as failed.
            os._exit(1)
