"""The upright square in which BlazePose reads a person: cutting it out of a frame and putting its mask back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

#: Side of the landmark network's input and of its mask, pixels.
NETWORK_SIDE = 256
#: A region is this much larger than the circle around the person (the network was trained so).
REGION_SCALE = 1.25
#: Soft mask values above this are the person; measured as the least biased cut against mattes of known scenes.
MASK_THRESHOLD = 0.42


@dataclass(frozen=True)
class Region:
    """The upright square in which a person is read. ``up`` points along the body, hips to head."""

    center: np.ndarray
    """(2,) float64, pixels, about the hips."""
    side: float
    """Pixels."""
    up: np.ndarray
    """(2,) float64, unit vector."""

    @classmethod
    def from_points(cls, hips: np.ndarray, rim: np.ndarray) -> Region | None:
        """From the middle of the hips and a point on the circle around the body; ``None`` if they coincide."""
        reach = float(np.hypot(*(rim - hips)))
        if reach < 2:
            return None
        return cls(hips, 2 * REGION_SCALE * reach, (rim - hips) / reach)

    @property
    def frame_region(self) -> np.ndarray:
        """(2, 3) float64, network pixels -> frame pixels."""
        step = self.side / NETWORK_SIDE
        right, down = np.array([-self.up[1], self.up[0]]), -self.up
        turn = np.stack([right, down], axis=1) * step
        middle = (NETWORK_SIDE - 1) / 2
        return np.column_stack([turn, self.center - turn @ [middle, middle]])


def cut(rgb: np.ndarray, region: Region) -> np.ndarray:
    """(256, 256, 3) uint8: the region's pixels; shrunk by area first where it is large, so that nothing aliases."""
    to_frame = region.frame_region
    shrink = int(region.side / NETWORK_SIDE)
    if shrink >= 2:
        reach = 0.75 * region.side
        x0, y0 = np.maximum(np.floor(region.center - reach), 0).astype(int)
        x1, y1 = np.ceil(region.center + reach).astype(int)
        window = rgb[y0:y1, x0:x1]
        width, height = max(window.shape[1] // shrink, 1), max(window.shape[0] // shrink, 1)
        window = window[: height * shrink, : width * shrink]
        if window.size:
            rgb = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
            to_frame = to_frame.copy()
            to_frame[:, 2] -= [x0, y0]
            to_frame = to_frame / shrink
            to_frame[:, 2] += 0.5 / shrink - 0.5
    size = (NETWORK_SIDE, NETWORK_SIDE)
    return cv2.warpAffine(rgb, to_frame, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def paste_mask(soft: np.ndarray, region: Region, width: int, height: int) -> np.ndarray:
    """(H, W) bool: the region's soft mask, rid of stray islands, put into the frame and cut at the threshold."""
    mask = np.zeros((height, width), bool)
    person = _main_pieces(soft > MASK_THRESHOLD)
    rows, columns = np.flatnonzero(person.any(axis=1)), np.flatnonzero(person.any(axis=0))
    if not len(rows):
        return mask
    left, top, right, bottom = columns[0] - 2, rows[0] - 2, columns[-1] + 2, rows[-1] + 2
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)
    corners = apply_affine(region.frame_region, corners)
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)) + 1, [width, height]).astype(int)
    if x1 <= x0 or y1 <= y0:
        return mask
    to_window = region.frame_region.copy()
    to_window[:, 2] -= [x0, y0]
    # A rim of two pixels stays soft around what is kept, so that the outline is found between pixels.
    near = cv2.dilate(person.astype(np.uint8), np.ones((5, 5), np.uint8))
    window = cv2.warpAffine(soft * near, to_window, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    mask[y0:y1, x0:x1] = window > MASK_THRESHOLD
    return mask


def _main_pieces(mask: np.ndarray) -> np.ndarray:
    """Bool: without the islands that are smaller than a twentieth of the largest piece."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return mask
    keep = stats[:, cv2.CC_STAT_AREA] >= 0.05 * stats[1:, cv2.CC_STAT_AREA].max()
    keep[0] = False
    return keep[labels]


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 2) points through a (2, 3) affine matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]
