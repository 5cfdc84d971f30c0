"""TOML calibrations of Pose2Sim, Anipose and FreeMoCap: one table for each camera, OpenCV's conventions."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from core.errors import InputError
from utils.cameras.camera import Camera
from utils.cameras.parsing import distortion_terms, entry, fault, make_camera, numbers, read_text, unique


def read_toml(path: Path) -> tuple[Camera, ...]:
    """The cameras of a TOML file, in the file's order; lengths as in the file.

    Raises :class:`InputError` naming file and key.
    """
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}.", "Export the calibration again.") from error
    tables = {key: table for key, table in content.items() if key != "metadata" and isinstance(table, dict)}
    return unique(path, [_camera(path, key, table) for key, table in tables.items()])


def _camera(path: Path, key: str, table: dict[str, Any]) -> Camera:
    where = f"[{key}] "
    if table.get("fisheye", False):
        raise fault(path, f"{where}fisheye", "is true: fisheye lenses are not supported")
    width, height = numbers(path, f"{where}size", entry(path, table, "size", where), (2,))
    return make_camera(
        path,
        str(table.get("name", key)),
        (round(width), round(height)),
        numbers(path, f"{where}matrix", entry(path, table, "matrix", where), (3, 3)),
        distortion_terms(path, f"{where}distortions", entry(path, table, "distortions", where)),
        numbers(path, f"{where}rotation", entry(path, table, "rotation", where), (3,), (3, 3)),
        numbers(path, f"{where}translation", entry(path, table, "translation", where), (3,)),
    )
