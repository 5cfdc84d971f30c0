"""The warm process behind :class:`interfaces.jobs.studio.Studio`: ``python -m interfaces.jobs.studio_child``.

Requests come as JSON lines on standard input, one answer goes to standard output for each; pictures are ``.npy`` files in
the folder that the request names. It ends when its input does.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UnderstudyError
from core.settings import MeshSettings, ReplaceSettings, make_settings
from interfaces.jobs.channel import Channel
from interfaces.settings_from import SETTINGS
from pipelines.replace.preview import find_people, preview_frame

logger = logging.getLogger("understudy.studio")


def _people(
    request: dict[str, Any], clip: Path, settings: ReplaceSettings | MeshSettings, pictures: Path
) -> dict[str, Any]:
    found = find_people(clip, settings)
    np.save(pictures / "frame.npy", found.rgb)
    people = [{"xyxy": p.xyxy, "score": p.score, "point": p.point} for p in found.people]
    return {"frame": found.frame, "people": people}


def _preview(request: dict[str, Any], clip: Path, settings: ReplaceSettings, pictures: Path) -> dict[str, Any]:
    made = preview_frame(clip, settings, cache=Path(request["cache"]), frame=request["frame"])
    np.save(pictures / "source.npy", made.source)
    np.save(pictures / "result.npy", made.result)
    return {"frame": made.frame, "warnings": made.warnings, "seconds": made.seconds}


CALLS = {"people": _people, "preview": _preview}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        settings = make_settings(SETTINGS[request["kind"]], request["settings"])
        return CALLS[request["call"]](request, Path(request["clip"]), settings, Path(request["pictures"]))
    except UnderstudyError as error:
        return {"error": {"kind": type(error).__name__, "values": vars(error)}}
    except Exception as error:
        logger.exception("%s", request["call"])
        values = {"message": f"The preview failed: {type(error).__name__}: {error}.", "hint": ""}
        return {"error": {"kind": "UnderstudyError", "values": values}}


def main() -> None:
    """Answer until the server is gone."""
    channel = Channel()
    logging.basicConfig(stream=sys.stderr)
    for line in sys.stdin.buffer:
        channel.send(**_answer(json.loads(line)))


if __name__ == "__main__":
    main()
