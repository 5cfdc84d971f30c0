"""The pose map: the body as coloured sticks, drawn as the OpenPose ControlNet saw them in training.

That network was trained on 512-pixel pictures with sticks four pixels to each side of the bone, whatever the size of the
person, so four pixels of the generated picture are right at every crop size. The drawing follows controlnet-aux's
``draw_bodypose`` to the pixel (coordinates are cut to whole pixels, not rounded); that module cannot be used itself,
because importing it loads the OpenPose detectors.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from models.controls.source import ControlSource

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
#: Half the width of a limb and radius of a joint, pixels of the generated picture.
STICK = 4
#: Limbs are darker than joints.
LIMB_SHADE = 0.6


def _hue(index: int) -> tuple[int, int, int]:
    """Colour ``index`` of OpenPose's wheel: 18 steps of 20 degrees, fully saturated."""
    # Each channel rises over 60 degrees, stays for 120, falls over 60: 85 levels a step.
    levels = (255 - min(255, max(0, 85 * (abs((index - 6 * channel + 9) % 18 - 9) - 3))) for channel in range(3))
    red, green, blue = levels
    return red, green, blue


def pose_map(keypoints: np.ndarray, size: tuple[int, int], scale: float = 1.0) -> np.ndarray:
    """The body as coloured sticks and dots on black. Keypoints that are not trusted are left out, with their limbs.

    Parameters
    ----------
    keypoints:
        (17, 3) COCO keypoints: x, y in pixels, score.
    size:
        ``(width, height)``.
    scale:
        By how much the map will be enlarged before the network sees it.

    Returns
    -------
    (H, W, 3) uint8.
    """
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    neck = keypoints[[5, 6]].mean(axis=0)
    neck[2] = keypoints[[5, 6], 2].min()
    points = np.vstack([keypoints, neck])[list(OPENPOSE)].astype(np.float64)
    seen = (points[:, 2] >= LEAST_SCORE) & np.isfinite(points).all(axis=1)
    half = max(1, round(STICK / scale))
    for index, (a, b) in enumerate(LIMBS):
        if seen[a] and seen[b]:
            (ax, ay), (bx, by) = points[a, :2], points[b, :2]
            axes = (int(math.hypot(ax - bx, ay - by) / 2), half)
            angle = int(math.degrees(math.atan2(ay - by, ax - bx)))
            outline = cv2.ellipse2Poly((int((ax + bx) / 2), int((ay + by) / 2)), axes, angle, 0, 360, 1)
            cv2.fillConvexPoly(picture, outline, [int(level * LIMB_SHADE) for level in _hue(index)])
    for index, (x, y, _) in enumerate(points):
        if seen[index]:
            cv2.circle(picture, (int(x), int(y)), half, _hue(index), -1)
    return picture


def pose_maps(source: ControlSource) -> np.ndarray:
    """(N, H, W, 3) uint8: the pose in each frame."""
    return np.stack([pose_map(points, source.size, source.scale) for points in source.keypoints])
