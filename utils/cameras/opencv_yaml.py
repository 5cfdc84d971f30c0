"""EasyMoCap's ``intri.yml`` and ``extri.yml``: OpenCV's YAML with one set of keys for each camera."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from core.errors import InputError
from core.runs import write_bytes
from utils.cameras.camera import Camera
from utils.cameras.parsing import distortion_terms, entry, fault, make_camera, numbers, read_text, unique

INTRINSICS, EXTRINSICS = "intri.yml", "extri.yml"


class _Loader(yaml.BaseLoader):
    """Plain YAML whose scalars stay text: camera ``01`` is not the number 1. OpenCV's matrices are plain mappings."""


def _mapping(loader: _Loader, node: yaml.Node) -> Any:
    """What an ``!!opencv-matrix`` holds; it is looked at where its key is known."""
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _mapping)


def _load(path: Path) -> dict[str, Any]:
    lines = read_text(path).splitlines()
    # OpenCV writes "%YAML:1.0", which is no directive that YAML knows.
    if lines and lines[0].startswith("%YAML"):
        lines = lines[1:]
    try:
        content = yaml.load("\n".join(lines), _Loader)
    except yaml.YAMLError as error:
        raise InputError(
            f"{path} is not YAML: {' '.join(str(error).split())}.", "Export the calibration again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} has no keys.", f"Give a folder with {INTRINSICS} and {EXTRINSICS}.")
    return content


def _matrix(path: Path, content: dict[str, Any], key: str) -> np.ndarray:
    """The matrix of a key that must be there, in the shape that it states."""
    value = entry(path, content, key)
    whole = isinstance(value, dict) and {"rows", "cols", "data"} <= set(value) and isinstance(value["data"], list)
    if not whole:
        raise fault(path, key, "is no opencv-matrix with rows, cols and data")
    # YAML's names for what is not finite have a point in front.
    data = [str(text).replace(".Nan", "nan").replace(".Inf", "inf") for text in value["data"]]
    shape = numbers(path, f"{key} rows and cols", [value["rows"], value["cols"]], (2,)).astype(int)
    try:
        return np.array(data, np.float64).reshape(shape)
    except ValueError as error:
        raise fault(path, key, f"does not hold {shape[0]} x {shape[1]} numbers") from error


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    names = entry(path, content, "names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise fault(path, "names", "is not a list of camera names")
    return [name for name in names if name != "none"]


def _key(content: dict[str, Any], prefix: str, name: str, index: int) -> str:
    """The key of one camera; some writers number the keys from 1 and keep the names in the list alone."""
    named, counted = f"{prefix}_{name}", f"{prefix}_{index + 1}"
    return counted if named not in content and counted in content else named


def _size(path: Path, content: dict[str, Any], name: str, index: int) -> tuple[int, int] | None:
    keys = [_key(content, prefix, name, index) for prefix in ("W", "H")]
    if not all(key in content for key in keys):
        return None
    width, height = (int(numbers(path, key, content[key], (1,))[0]) for key in keys)
    return (width, height) if width > 0 and height > 0 else None


def read_opencv_yaml(folder: Path) -> tuple[Camera, ...]:
    """The cameras of a folder's ``intri.yml`` and ``extri.yml``, in the order of ``names``; lengths as in the file.

    Raises :class:`InputError` naming file and key.
    """
    intri, extri = folder / INTRINSICS, folder / EXTRINSICS
    inner, outer = _load(intri), _load(extri)
    missing = sorted(set(_names(intri, inner)) - set(_names(extri, outer)))
    if missing:
        raise fault(extri, "names", f"lacks {', '.join(missing)}, which {INTRINSICS} has")
    cameras = []
    for index, name in enumerate(_names(intri, inner)):
        k, d = (_key(inner, prefix, name, index) for prefix in ("K", "dist"))
        place = _names(extri, outer).index(name)
        r, turn, t = (_key(outer, prefix, name, place) for prefix in ("R", "Rot", "T"))
        if d not in inner:
            d = _key(inner, "D", name, index) if _key(inner, "D", name, index) in inner else d
        # R_ is the rotation vector and Rot_ its matrix; either is enough.
        r = turn if r not in outer and turn in outer else r
        K = numbers(intri, k, _matrix(intri, inner, k), (3, 3))
        terms = distortion_terms(intri, d, _matrix(intri, inner, d))
        rotation = numbers(extri, r, _matrix(extri, outer, r), (3,), (3, 3))
        translation = numbers(extri, t, _matrix(extri, outer, t), (3,))
        size = _size(intri, inner, name, index)
        cameras.append(make_camera(intri, name, size, K, terms, rotation, translation))
    return unique(intri, cameras)


def _entry_text(key: str, matrix: np.ndarray) -> str:
    data = ", ".join(f"{value:.10g}" for value in matrix.ravel())
    # OpenCV's reader takes a number without a point for an integer, which it may not mix with others.
    data = ", ".join(text if any(c in text for c in ".en") else f"{text}." for text in data.split(", "))
    return f"{key}: !!opencv-matrix\n  rows: {matrix.shape[0]}\n  cols: {matrix.shape[1]}\n  dt: d\n  data: [{data}]\n"


def check_terms(cameras: Iterable[Camera]) -> None:
    """Raise :class:`InputError` for a camera with more distortion terms than EasyMoCap takes."""
    for camera in cameras:
        if np.abs(camera.distortion[5:]).max(initial=0) > 0:
            raise InputError(
                f"Camera {camera.name} has {len(camera.distortion)} distortion terms; EasyMoCap takes five.",
                "Calibrate it with the five-term model.",
            )


def write_opencv_yaml(folder: Path, cameras: Iterable[Camera]) -> None:
    """Write ``intri.yml`` and ``extri.yml`` into a folder, metres, as EasyMoCap reads them.

    Distortion is cut to the five terms that EasyMoCap takes. Raises :class:`InputError` for a camera with more.
    """
    cameras = list(cameras)
    head = "%YAML:1.0\n---\nnames:\n" + "".join(f'  - "{camera.name}"\n' for camera in cameras)
    inner, outer = head, head
    check_terms(cameras)
    for camera in cameras:
        terms = np.zeros((1, 5))
        terms[0, : min(5, len(camera.distortion))] = camera.distortion[:5]
        inner += _entry_text(f"K_{camera.name}", camera.K) + _entry_text(f"dist_{camera.name}", terms)
        if camera.size is not None:
            inner += f"H_{camera.name}: {camera.size[1]}\nW_{camera.name}: {camera.size[0]}\n"
        R = camera.T_camera_world[:3, :3]
        outer += _entry_text(f"R_{camera.name}", cv2.Rodrigues(R)[0]) + _entry_text(f"Rot_{camera.name}", R)
        outer += _entry_text(f"T_{camera.name}", camera.T_camera_world[:3, 3:])
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / INTRINSICS, inner.encode())
    write_bytes(folder / EXTRINSICS, outer.encode())
