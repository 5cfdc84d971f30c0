"""What the stages of a mesh run typically take on two x86-64 cores, for the progress."""

from __future__ import annotations

from collections.abc import Sequence

from core.settings import MeshSettings
from core.types import VideoInfo
from pipelines.mesh.export import FORMATS
from pipelines.survey.costs import detect_seconds, fit_seconds, look_seconds, probe_seconds

#: Seconds a frame: to draw the body, for each megapixel of the picture, for the turntable, for a format of cost 1.
DRAW_S, DRAW_MEGAPIXEL_S, TURNTABLE_S, EXPORT_S = 0.06, 0.04, 0.15, 0.002


def stage_seconds(infos: Sequence[VideoInfo], reference: VideoInfo, settings: MeshSettings) -> dict[str, float]:
    """Typical seconds by stage.

    Parameters
    ----------
    infos:
        All clips of the take.
    reference:
        The one that the videos show.
    settings:
        What the run is started with.
    """
    frames, megapixels = reference.frame_count, reference.width * reference.height / 1e6
    names = [name for name in settings.videos.split(",") if name]
    framed = sum(name != "turntable" for name in names)
    drawing = DRAW_S * (framed > 0) + framed * DRAW_MEGAPIXEL_S * megapixels + TURNTABLE_S * ("turntable" in names)
    formats = sum(FORMATS[name].cost for name in settings.formats.split(",") if name)
    return {
        "probe": sum(probe_seconds(info.frame_count, info.size) for info in infos),
        "detect": sum(detect_seconds(info.frame_count, info.size, settings.detector_complexity) for info in infos),
        "triangulate": 0.01 * frames if len(infos) > 1 else 0.0,
        "body": fit_seconds(frames, settings.fit),
        "look": look_seconds(frames, reference.size),
        "render": frames * drawing,
        "export": frames * formats * EXPORT_S,
        "quality": 0.2,
    }
