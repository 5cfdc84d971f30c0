"""The person's outline in a photo, drawn along the edges that the photo shows.

The detector's mask comes from a network of 256 pixels: at its outline there is background in it. Guided filters (He,
Sun and Tang, 2013) pull it to the picture's own edges; what they leave undecided does not count as the person's colour.
"""

from __future__ import annotations

import cv2
import numpy as np

from models.body.wardrobe.noise import smoothstep

#: Radii of the filters one after the other, parts of the person's height: the first is as wide as the mask is wrong.
RADII = (0.025, 0.02, 0.02, 0.015, 0.01)
#: Contrast below which a filter takes an area for even, of the colours' range.
EVEN = 0.01
#: Share of the person in a pixel from which its colour begins to count, and from which it counts wholly.
BEGINS, WHOLLY = 0.65, 0.95


def refine(rgb: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move a person's outline to the edges of the picture.

    Parameters
    ----------
    rgb:
        (H, W, 3) uint8, the photo.
    mask:
        (H, W) bool, the person's pixels as the detector has them; at least one.

    Returns
    -------
    (H, W) bool, the person's pixels; (H, W) float32, 0..1, how surely a pixel shows the person and nothing else.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    tall = float(rows[-1] - rows[0]) + 1
    share = mask.astype(np.float32)
    for radius in RADII:
        solid = (share > 0.5).astype(np.float32)
        # Opencv takes the contrast squared, in levels.
        share = cv2.ximgproc.guidedFilter(rgb, solid, max(round(radius * tall), 2), (EVEN * 255) ** 2)
    refined = share > 0.5
    sure = smoothstep(share, BEGINS, WHOLLY) * refined
    return (refined if refined.any() else mask), sure.astype(np.float32)
