"""Filling the scene behind the person: from the most trustworthy samples, and by inpainting where there is none."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from utils.aligned_median import stack_statistics
from utils.removal_mask import bounding_box

Inpaint = Literal["telea", "ns"]
_INPAINT = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}
#: The scene is looked for far off the person first (this share of its height further than the grown mask), then off the
#: grown mask, half of it and a seventh of it. So many samples must show a pixel at each level: few far off, where things
#: that the person carries do not reach; one off the mask; and several close to it, where a single one may show its edge.
FAR = 0.12
LEAST_SAMPLES = (4, 1, 2, 3)


def median_by_level(samples: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scene from what lies far off the person; where too little does, from what lies closer to it.

    Parameters
    ----------
    samples:
        (N, P, 3) uint8.
    levels:
        (N, P) uint8: how deep within the person's nested masks the pixel lies in the sample, 0 = off it.

    Returns
    -------
    The median, (P, 3) uint8, and which pixels have one, (P,) bool.
    """
    scene = np.zeros(samples.shape[1:], np.uint8)
    seen = np.zeros(samples.shape[1], bool)
    for allowed, least in enumerate(LEAST_SAMPLES):
        todo = np.flatnonzero(~seen)
        valid = levels[:, todo] <= allowed
        some = np.count_nonzero(valid, axis=0) >= least
        todo = todo[some]
        if len(todo):
            found = stack_statistics(samples[:, todo], valid[:, some])
            scene[todo] = np.rint(found.median).astype(np.uint8)
            seen[todo] = True
    return scene, seen


def fill_unseen(scene: np.ndarray, missing: np.ndarray, seen: np.ndarray, method: Inpaint) -> np.ndarray:
    """Inpaint what no sample shows, inside the box of the missing pixels."""
    box = bounding_box(missing, 8)
    if box is None or not seen.any():
        return scene
    left, top, right, bottom = box
    part = (slice(top, bottom), slice(left, right))
    filled = scene.copy()
    filled[part] = cv2.inpaint(scene[part], (~seen[part]).astype(np.uint8), 5, _INPAINT[method])
    return filled
