"""What the readers of calibration files share: numbers that are checked, errors that name file and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from utils.cameras.camera import DISTORTION_LENGTHS, Camera, pose

#: A calibration file is text of a few kilobytes; anything much larger is something else.
MAX_BYTES = 8 << 20


def read_text(path: Path) -> str:
    """The file's text. Raises :class:`InputError` where it cannot be read, is too large, or is not text."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is too large for a calibration.", "Give the calibration file of the cameras.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Give the path of a calibration file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file.", "Give the calibration file of the cameras.") from error


def fault(path: Path, key: str, what: str) -> InputError:
    """The error for one entry of a file."""
    return InputError(f"{path}: {key} {what}.", "Correct the entry, or export the calibration again.")


def entry(path: Path, table: Mapping[str, Any], key: str, where: str = "") -> Any:
    """The value of a key that must be there; ``where`` names the table in the message."""
    if key not in table:
        raise fault(path, f"{where}{key}", "is missing")
    return table[key]


def numbers(path: Path, key: str, value: Any, *shapes: tuple[int, ...]) -> np.ndarray:
    """Finite float64 numbers in one of the shapes (rows and columns that hold one entry only do not count)."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise fault(path, key, "does not hold numbers") from error
    if not np.isfinite(array).all():
        raise fault(path, key, "holds numbers that are not finite")
    for shape in shapes:
        if array.squeeze().shape == tuple(n for n in shape if n != 1):
            return array.reshape(shape)
    wanted = " or ".join("x".join(map(str, shape)) for shape in shapes)
    raise fault(path, key, f"has {array.size} numbers in shape {array.shape}, not {wanted}")


def distortion_terms(path: Path, key: str, value: Any) -> np.ndarray:
    """(N,) coefficients in OpenCV's order."""
    return numbers(path, key, value, *((n,) for n in DISTORTION_LENGTHS))


def make_camera(
    path: Path,
    name: str,
    size: tuple[int, int] | None,
    K: np.ndarray,
    distortion: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
) -> Camera:
    """The camera, with what is impossible about it said in terms of the file."""
    try:
        return Camera(name, size, K, distortion, pose(rotation, translation))
    except ValueError as error:
        raise fault(path, f"camera {name}:", str(error)) from error


def unique(path: Path, cameras: list[Camera]) -> tuple[Camera, ...]:
    """The cameras, at least one, no two of one name."""
    names = [camera.name for camera in cameras]
    if not names:
        raise InputError(f"{path} holds no camera.", "Give the calibration file of the cameras.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise fault(path, f"camera {twice}", "is there twice")
    return tuple(cameras)
