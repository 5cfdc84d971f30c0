"""What the stages of a mesh run typically take on two x86-64 cores, for the progress and the estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.settings import MeshSettings
from pipelines.mesh.export import FORMATS
from pipelines.survey.costs import detect_seconds, fit_seconds, look_seconds, probe_seconds

#: Seconds a frame: to draw the body, for each megapixel of the picture, for the turntable, for a format of cost 1.
DRAW_S, DRAW_MEGAPIXEL_S, TURNTABLE_S, EXPORT_S = 0.06, 0.04, 0.15, 0.002


#: Seconds to measure the build.
BUILD_S = 2.0
#: Seconds to start Python and to import what a run needs; they stand in no stage.
START_S = 1.5
#: Memory of a run: whatever the clip, and for each megapixel of its picture.
BASE_MB, MEGAPIXEL_MB = 780.0, 220.0


class ClipShape(NamedTuple):
    """What a clip's costs depend on."""

    frames: int
    size: tuple[int, int]
    """Width and height, pixels."""


def stage_seconds(clips: Sequence[ClipShape], reference: int, settings: MeshSettings) -> dict[str, float]:
    """Typical seconds by stage.

    Parameters
    ----------
    clips:
        All clips of the take.
    reference:
        Index of the one that the videos show.
    settings:
        What the run is started with.
    """
    frames, size = clips[reference]
    megapixels = size[0] * size[1] / 1e6
    names = [name for name in settings.videos.split(",") if name]
    framed = sum(name != "turntable" for name in names)
    drawing = DRAW_S * (framed > 0) + framed * DRAW_MEGAPIXEL_S * megapixels + TURNTABLE_S * ("turntable" in names)
    formats = sum(FORMATS[name].cost for name in settings.formats.split(",") if name)
    return {
        "probe": sum(probe_seconds(*clip) for clip in clips),
        "detect": sum(detect_seconds(*clip, settings.detector_complexity) for clip in clips),
        "triangulate": 0.01 * frames if len(clips) > 1 else 0.0,
        "body": fit_seconds(frames, settings.fit),
        "build": BUILD_S,
        "look": look_seconds(frames, size),
        "render": frames * drawing,
        "export": frames * formats * EXPORT_S,
        "quality": 0.2,
    }


def peak_mb(clips: Sequence[ClipShape]) -> float:
    """Most memory that a run typically holds, MB."""
    return BASE_MB + MEGAPIXEL_MB * max(width * height for _, (width, height) in clips) / 1e6
