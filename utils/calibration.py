"""Calibrations: reading them in any of the known formats, and which clip belongs to which camera.

    calibration = read_calibration(Path("Calib.qca.txt"))
    cameras = match_cameras(calibration, clips)
    cameras = [fit_to_clip(camera, info.size, frames) for ...]

The cameras' conventions are in :mod:`utils.cameras.camera`; docs/mesh-cameras.md has those of the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import InputError
from utils import transforms
from utils.cameras.camera import Camera
from utils.cameras.opencv_yaml import EXTRINSICS, INTRINSICS, read_opencv_yaml
from utils.cameras.qualisys import read_qualisys
from utils.cameras.toml_files import read_toml

Unit = Literal["auto", "m", "cm", "mm"]
_METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
#: Cameras this many units apart stand on a calibration in millimetres: no room is a hundred metres wide.
_FAR_APART = 100.0
#: Rows or columns of a clip darker than this (the 90th percentile of their brightest channel) are a black bar.
_BLACK = 40
#: Pixels by which a black bar may differ from what the sizes foretell.
_BAR_TOLERANCE = 2

__all__ = ["Calibration", "Camera", "Unit", "fit_to_clip", "match_cameras", "read_calibration"]


@dataclass(frozen=True)
class Calibration:
    """What a calibration file says."""

    path: Path
    """The file, or the folder of EasyMoCap's two files."""
    cameras: tuple[Camera, ...]
    """In the file's order, metres; names are unique."""
    notes: tuple[str, ...] = ()
    """What was decided while reading that the user should know of."""


def read_calibration(path: Path, unit: Unit = "auto") -> Calibration:
    """Read a calibration.

    Parameters
    ----------
    path:
        EasyMoCap's ``intri.yml`` (with ``extri.yml`` beside it) or the folder of the two, a Qualisys ``.qca.txt``, or a
        TOML file of Pose2Sim, Anipose or FreeMoCap. A folder may also hold one file of the other kinds.
    unit:
        Unit of the lengths in a YAML or TOML file, which do not tell. ``auto``: metres, but millimetres where cameras
        lie more than a hundred units apart; that is noted. A Qualisys file is in millimetres always.

    Raises
    ------
    core.errors.InputError
        There is no such file, it is of no known format, or an entry is missing or wrong (file and key are named).
    """
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        raise InputError(f"There is no calibration file {path}.", "Give the path of a calibration file.")
    suffix = path.suffix.lower()
    if suffix in (".yml", ".yaml"):
        return _in_metres(path.parent, read_opencv_yaml(path.parent), unit)
    if suffix == ".toml":
        return _in_metres(path, read_toml(path), unit)
    if path.name.lower().endswith((".qca.txt", ".qca", ".xml")):
        return Calibration(path, read_qualisys(path))
    raise InputError(
        f"{path} is of no known calibration format.",
        f"Give {INTRINSICS} with {EXTRINSICS} beside it, a Qualisys .qca.txt or a .toml file.",
    )


def _file_in(folder: Path) -> Path:
    """The one calibration in a folder."""
    if (folder / INTRINSICS).is_file() or (folder / EXTRINSICS).is_file():
        return folder / INTRINSICS
    found = sorted(p for p in folder.iterdir() if p.suffix == ".toml" or p.name.lower().endswith((".qca.txt", ".qca")))
    if len(found) != 1:
        what = ", ".join(p.name for p in found) or "none"
        raise InputError(f"{folder} should hold one calibration and holds {what}.", "Give the path of the file itself.")
    return found[0]


def _in_metres(path: Path, cameras: tuple[Camera, ...], unit: Unit) -> Calibration:
    notes: tuple[str, ...] = ()
    chosen: str = unit
    if unit == "auto":
        centres = np.stack([camera.centre for camera in cameras])
        apart = float(np.linalg.norm(centres[:, None] - centres, axis=-1).max())
        chosen = "mm" if apart > _FAR_APART else "m"
        if chosen == "mm":
            notes = (f"{path.name}: cameras lie {apart:.0f} units apart; lengths are taken as millimetres.",)
    scaled = []
    for camera in cameras:
        T = camera.T_camera_world.copy()
        T[:3, 3] *= _METRES[chosen]
        scaled.append(replace(camera, T_camera_world=T))
    return Calibration(path, tuple(scaled), notes)


# -- clips and cameras ---------------------------------------------------------------------------------------------


def match_cameras(calibration: Calibration, clips: Sequence[Path]) -> tuple[list[Camera], list[str]]:
    """Find each clip's camera.

    A clip belongs to the camera whose name its own name is or holds as a part (``cam01.mp4`` and ``walk_cam_1.mp4`` to
    ``cam_01``: case, separators and leading zeros do not count). Where no clip bears a camera's name and there are as
    many clips as cameras, they are matched by order.

    Returns
    -------
    The clips' cameras, and notes for the user (one where the order decided).

    Raises
    ------
    core.errors.InputError
        A clip has no camera or more than one, or two clips have the same.
    """
    names = [camera.name for camera in calibration.cameras]
    listed = f"{calibration.path.name} has {', '.join(names)}"
    hint = f"Name each clip after its camera; {listed}."
    found = [_cameras_of(clip, calibration.cameras) for clip in clips]
    if not any(found):
        if len(clips) != len(names):
            raise InputError(f"None of the {len(clips)} clips bears the name of a camera.", hint)
        pairs = ", ".join(f"{clip.name} is {name}" for clip, name in zip(clips, names, strict=True))
        return list(calibration.cameras), [f"No clip bears the name of a camera; matched by order: {pairs}."]
    for clip, cameras in zip(clips, found, strict=True):
        if not cameras:
            raise InputError(f"{calibration.path} has no camera for the clip {clip.name}.", hint)
        if len(cameras) > 1:
            several = " and ".join(camera.name for camera in cameras)
            raise InputError(f"The clip {clip.name} could be of the cameras {several}.", hint)
    chosen = [cameras[0] for cameras in found]
    for index, camera in enumerate(chosen):
        if camera.name in [other.name for other in chosen[:index]]:
            raise InputError(f"Two clips are of the camera {camera.name}, one of them {clips[index].name}.", hint)
    return chosen, []


def _words(text: str) -> tuple[str, ...]:
    """Letters and numbers of a name in order, without zeros in front: ``Walk_cam01`` is walk, cam, 1."""
    words = re.findall(r"[a-z]+|\d+", text.lower())
    return tuple(word.lstrip("0") or "0" if word.isdigit() else word for word in words)


def _cameras_of(clip: Path, cameras: Sequence[Camera]) -> list[Camera]:
    """The cameras whose name the clip bears: the same name, else the longest that is a part of it."""
    exact = [camera for camera in cameras if camera.name == clip.stem]
    words = _words(clip.stem)
    if exact or not words:
        return exact
    held = []
    for camera in cameras:
        wanted = _words(camera.name)
        starts = range(len(words) - len(wanted) + 1)
        if wanted and any(words[start : start + len(wanted)] == wanted for start in starts):
            held.append((len(wanted), camera))
    longest = max((length for length, _ in held), default=0)
    return [camera for length, camera in held if length == longest]


# -- sizes ---------------------------------------------------------------------------------------------------------


def fit_to_clip(camera: Camera, size: tuple[int, int], frame: np.ndarray | None = None) -> tuple[Camera, str | None]:
    """The camera for a clip whose pictures may not have the calibrated size.

    Parameters
    ----------
    camera:
        The camera as calibrated; where its size is not known, that of the clip is taken.
    size:
        (width, height) of the clip in pixels.
    frame:
        (H, W, 3) uint8, one frame of the clip: black bars tell that it was scaled to fit into another shape.

    Returns
    -------
    The camera in pixels of the clip, and a note where pictures were scaled.

    Raises
    ------
    core.errors.InputError
        Calibrated pictures and clip have different shapes, and no black bars tell how the one became the other.
    """
    if camera.size is None or camera.size == size:
        return replace(camera, size=size), None
    (width, height), (new_width, new_height) = camera.size, size
    scale = min(new_width / width, new_height / height)
    bars = ((new_width - scale * width) / 2, (new_height - scale * height) / 2)
    said = f"{camera.name}: calibrated at {width}x{height}, the clip is {new_width}x{new_height}"
    if camera.size == size[::-1]:
        raise InputError(
            f"{said}: the pictures were turned, the calibration was not.",
            "Give the clip as the camera recorded it, or a calibration of the turned pictures.",
        )
    if max(bars) >= 0.5:
        if frame is None or not _has_bars(frame, bars):
            raise InputError(
                f"{said}, and no black bars tell how it was cut or scaled.", "Give the clip as the camera recorded it."
            )
        said += " with black bars"
    H_clip_camera = transforms.translation(*bars) @ transforms.scaling(scale)
    return camera.moved(H_clip_camera, size), f"{said}; its camera was scaled by {scale:.4f}."


def _has_bars(frame: np.ndarray, bars: tuple[float, float]) -> bool:
    """Whether the frame has the black bars left and right, or above and below, that ``bars`` (pixels) foretells."""
    brightest = frame.max(axis=2)
    for wanted, axis in zip(bars, (0, 1), strict=True):
        dark = np.percentile(brightest, 90, axis=axis) < _BLACK
        if dark.all():
            return False
        widths = (np.argmin(dark), np.argmin(dark[::-1]))
        if wanted >= 0.5 and any(abs(width - wanted) > _BAR_TOLERANCE or width == 0 for width in widths):
            return False
    return True
