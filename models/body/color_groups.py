"""Groups of like colours on a person: cloths, skin, hair."""

from __future__ import annotations

import cv2
import numpy as np

#: Groups of colours on the person, each taken to have one albedo.
COLOR_GROUPS = 5
#: Weights of hue and of brightness (in stops) when colours are grouped; groups nearer than this are one cloth.
HUE_WEIGHT, BRIGHTNESS_WEIGHT, SAME_HUE, SAME_CLOTH_STOPS = 3.0, 0.18, 0.20, 1.4


def color_groups(colors: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Sort the colours of a person into cloths.

    Parameters
    ----------
    colors:
        (M, 3) float32, linear RGB.
    bright:
        (M,) float32, their luminance.

    Returns
    -------
    (M,) int, 0..COLOR_GROUPS - 1: groups of like chromaticity and, less so, brightness.
    """
    total = colors.sum(axis=1, keepdims=True) + 0.02
    features = np.concatenate(
        [HUE_WEIGHT * colors[:, :2] / total, BRIGHTNESS_WEIGHT * np.log2(bright + 0.01)[:, None]], axis=1
    )
    step = max(1, len(features) // 6000)
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1e-3)
    _, _, centres = cv2.kmeans(
        np.ascontiguousarray(features[::step], np.float32), COLOR_GROUPS, None, criteria, 2, cv2.KMEANS_PP_CENTERS
    )
    return _merged(centres)[np.argmin(((features[:, None] - centres[None]) ** 2).sum(axis=2), axis=1)]


def _merged(centres: np.ndarray) -> np.ndarray:
    """(G,) int: one number for groups of one hue whose brightness forms a chain: the light and dark side of one cloth."""
    number = np.arange(len(centres))
    for first in range(len(centres)):
        for second in range(first):
            hue = float(np.linalg.norm(centres[first, :2] - centres[second, :2]))
            stops = abs(float(centres[first, 2] - centres[second, 2])) / BRIGHTNESS_WEIGHT
            if hue < SAME_HUE and stops < SAME_CLOTH_STOPS:
                number[number == number[first]] = number[second]
    return number
