"""Control maps: pictures that tell a diffusion engine where the body is. Only the maps that an engine asks for are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from core.errors import InputError
from core.types import ControlMaps


@dataclass(frozen=True)
class ControlSource:
    """What the maps of a few frames are made from, in crop pixels."""

    frames: np.ndarray
    """(N, H, W, 3) uint8."""
    keypoints: np.ndarray
    """(N, 17, 3) float32, COCO keypoints x, y, score."""


#: The 18 points of OpenPose's body model by COCO index; the neck lies between the shoulders.
NECK = -1
OPENPOSE = (0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
#: Limbs as pairs of OpenPose points, in the order of their colours: the convention of the OpenPose ControlNet
#: (Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion Models", 2023).
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0), (0, 14),
    (14, 16), (0, 15), (15, 17),
)  # fmt: skip
#: Keypoints below this score are left out.
LEAST_SCORE = 0.3
#: Half the width of a limb, pixels at 512 pixels crop height.
STICK = 4


def _hue(index: int) -> tuple[int, int, int]:
    """Colour ``index`` of OpenPose's wheel: 18 steps of 20 degrees, fully saturated."""
    hue = np.array([[[round(index * 10), 255, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def pose_map(keypoints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The body as coloured sticks and dots on black.

    Parameters
    ----------
    keypoints:
        (17, 3) COCO keypoints: x, y in pixels, score.
    size:
        ``(width, height)``.

    Returns
    -------
    (H, W, 3) uint8.
    """
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    points = np.vstack([keypoints, keypoints[[5, 6]].mean(axis=0)])[list(OPENPOSE)]
    seen = points[:, 2] >= LEAST_SCORE
    half = max(1, round(STICK * height / 512))
    for index, (a, b) in enumerate(LIMBS):
        if seen[a] and seen[b]:
            (ax, ay), (bx, by) = points[a, :2], points[b, :2]
            centre = (round((ax + bx) / 2), round((ay + by) / 2))
            axes = (round(np.hypot(bx - ax, by - ay) / 2), half)
            outline = cv2.ellipse2Poly(centre, axes, round(np.degrees(np.arctan2(by - ay, bx - ax))), 0, 360, 1)
            cv2.fillConvexPoly(picture, outline, _hue(index))
    picture = (picture * 0.6).astype(np.uint8)
    for index, (x, y, _) in enumerate(points):
        if seen[index]:
            cv2.circle(picture, (round(x), round(y)), half, _hue(index), -1)
    return picture


def canny_map(rgb: np.ndarray, low: int = 100, high: int = 200) -> np.ndarray:
    """Edges, white on black, (H, W, 3) uint8, of an (H, W, 3) uint8 picture."""
    return np.repeat(cv2.Canny(rgb, low, high)[..., None], 3, axis=2)


def _pose(source: ControlSource) -> np.ndarray:
    height, width = source.frames.shape[1:3]
    return np.stack([pose_map(points, (width, height)) for points in source.keypoints])


def _canny(source: ControlSource) -> np.ndarray:
    return np.stack([canny_map(frame) for frame in source.frames])


#: Makers by the name that an engine asks for.
MAKERS: dict[str, Callable[[ControlSource], np.ndarray]] = {"pose": _pose, "canny": _canny}


def make_controls(names: Iterable[str], source: ControlSource) -> ControlMaps:
    """The maps that are asked for, and only those.

    Raises
    ------
    InputError
        A map that nobody makes.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in MAKERS]
    if unknown:
        raise InputError(f"There is no control map named {unknown[0]!r}.", f"Maps: {', '.join(MAKERS)}.")
    return ControlMaps({name: MAKERS[name](source) for name in wanted})
