"""Qualisys Track Manager's ``.qca.txt``: XML with one ``camera`` element for each camera.

What the fields mean was worked out on footage (docs/mesh-cameras.md has the figures):

* ``transform`` ``x y z`` is the camera's place in millimetres; ``r11``..``r33``, read row by row, takes world axes to
  axes that look back along z with y up. Turning those by half a turn about x gives camera axes.
* ``intrinsic`` counts in 64ths of a pixel from the sensor's upper left corner, half a pixel before the centre of its first
  pixel. ``fov_video`` is the part of the sensor that the pictures show, ends included.
* ``radialDistortion`` and ``tangentalDistortion`` (so spelt) are OpenCV's k1, k2, k3 and p1, p2, without a unit.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from core.errors import InputError
from utils.cameras.camera import Camera
from utils.cameras.parsing import entry, fault, make_camera, numbers, read_text, unique

#: Units of ``intrinsic`` to a pixel.
SUBPIXELS = 64
#: Axes that look back with y up -> camera axes.
_CAMERA_FROM_QUALISYS = np.diag([1.0, -1.0, -1.0])


def _values(path: Path, camera: str, element: ElementTree.Element | None, tag: str, *keys: str) -> np.ndarray:
    if element is None:
        raise fault(path, f"camera {camera}: {tag}", "is missing")
    where = f"camera {camera}: {tag} "
    found = [numbers(path, where + key, entry(path, element.attrib, key, where), (1,))[0] for key in keys]
    return np.array(found)


def read_qualisys(path: Path) -> tuple[Camera, ...]:
    """The active cameras of a ``.qca.txt`` file, in metres. Raises :class:`InputError` naming file and key."""
    text = read_text(path)
    if "<!DOCTYPE" in text:
        raise InputError(f"{path} declares a document type, which no calibration does.", "Export it from QTM again.")
    try:
        # Read as bytes: the declaration may name an encoding of its own, but all that counts here is ASCII.
        root = ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not the XML of a Qualisys calibration: {error}.", "Export it again.") from error
    active = [camera for camera in root.iter("camera") if camera.get("active", "1") != "0"]
    return unique(path, [_camera(path, camera) for camera in active])


def _camera(path: Path, element: ElementTree.Element) -> Camera:
    name = element.get("serial", "")
    if not name:
        raise fault(path, "camera serial", "is missing")
    left, top, right, bottom = _values(
        path, name, element.find("fov_video"), "fov_video", "left", "top", "right", "bottom"
    )
    inner = element.find("intrinsic")
    fx, fy, cx, cy = (
        _values(path, name, inner, "intrinsic", "focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
        / SUBPIXELS
    )
    terms = _values(
        path, name, inner, "intrinsic",
        "radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2", "radialDistortion3",
    )  # fmt: skip
    if right <= left or bottom <= top:
        raise fault(path, f"camera {name}: fov_video", "is empty")
    if inner is not None and numbers(path, "intrinsic skew", inner.get("skew", "0"), (1,))[0] != 0:
        raise fault(path, f"camera {name}: intrinsic skew", "is not 0, which is not supported")
    outer = element.find("transform")
    turn = [f"r{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]
    R = _CAMERA_FROM_QUALISYS @ _values(path, name, outer, "transform", *turn).reshape(3, 3)
    centre = _values(path, name, outer, "transform", "x", "y", "z") / 1000
    K = np.array([[fx, 0, cx - left - 0.5], [0, fy, cy - top - 0.5], [0, 0, 1]])
    size = (int(right - left) + 1, int(bottom - top) + 1)
    return make_camera(path, name, size, K, terms, R, -R @ centre)
