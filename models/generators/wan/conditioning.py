"""What Wan-Animate is shown of a few frames: skeletons, faces, the scene with a hole in it, and the hole's mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

#: Width and height of what is drawn are multiples of this: 8 for the VAE times 2 for the transformer's patches.
GRID = 16
#: Frames of one call are ``STEP * n + 1``: the VAE packs four frames into one after the first.
STEP = 4
#: Fewest frames of one call; with a single one the pipeline's own arithmetic divides by zero.
FEWEST = STEP + 1
#: How far the hole reaches beyond the person, as a share of the crop's longer side: other hair, other clothes.
REACH = 0.035
#: Over which share of that reach the new layer fades out.
FADE = 0.6


@dataclass(frozen=True)
class Conditioning:
    """N frames as the network is shown them, at the size that is drawn."""

    pose: np.ndarray
    """(N, h, w, 3) uint8, the skeleton on black."""
    face: np.ndarray
    """(N, S, S, 3) uint8, the face that is imitated; black where it is not seen."""
    scene: np.ndarray
    """(N, h, w, 3) uint8, the frames with the hole blacked out."""
    hole: np.ndarray
    """(N, h, w) uint8: 255 is drawn anew, 0 is kept."""

    def __len__(self) -> int:
        return len(self.pose)

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` that is drawn."""
        height, width = self.pose.shape[1:3]
        return width, height

    def at(self, frames: np.ndarray | slice) -> Conditioning:
        """Some of the frames, (M,) int or a slice; a frame may be given more than once."""
        return Conditioning(self.pose[frames], self.face[frames], self.scene[frames], self.hole[frames])

    def kept(self, results: np.ndarray) -> Conditioning:
        """The same frames after they were drawn: (N, h, w, 3) uint8 results instead of the scene, and no hole."""
        return Conditioning(self.pose, self.face, results, np.zeros_like(self.hole))

    def __add__(self, following: Conditioning) -> Conditioning:
        """These frames and then those."""
        pairs = (
            (self.pose, following.pose),
            (self.face, following.face),
            (self.scene, following.scene),
            (self.hole, following.hole),
        )
        return Conditioning(*(np.concatenate(pair) for pair in pairs))

    def padded(self) -> Conditioning:
        """Lengthened to a number of frames that the network takes, by going back and forth at the end as the pipeline does."""
        return self.at(np.pad(np.arange(len(self)), (0, call_length(len(self)) - len(self)), mode="reflect"))


def call_length(count: int) -> int:
    """The smallest number of frames that one call may have and that is at least ``count``."""
    count = max(count, FEWEST)
    return count + (1 - count) % STEP


def drawing_size(crop: tuple[int, int], longer: int) -> tuple[int, int]:
    """Size at which a crop is drawn.

    Parameters
    ----------
    crop:
        ``(width, height)`` of the crop, pixels.
    longer:
        What the longer side shall be, pixels; rounded to the network's grid, like the other side.

    Returns
    -------
    ``(width, height)``, multiples of 16.
    """
    scale = longer / max(crop)
    width, height = (max(1, round(side * scale / GRID)) * GRID for side in crop)
    return width, height


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 pictures at another ``(width, height)``, (N, h, w, 3) uint8."""
    if frames.shape[2:0:-1] == size:
        return frames
    smaller = size[0] * size[1] < frames.shape[1] * frames.shape[2]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, size, interpolation=method) for frame in frames])


def holes(masks: np.ndarray) -> np.ndarray:
    """The person and some room around it, (N, H, W) bool in, (N, H, W) bool out."""
    reach = _reach(masks.shape[1:])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in masks])


def soft_edge(hole: np.ndarray) -> np.ndarray:
    """Alpha of the new layer in one frame.

    Parameters
    ----------
    hole:
        (H, W) bool, from :func:`holes`.

    Returns
    -------
    (H, W) float32: 0 outside the hole, rising smoothly to 1 before the old person begins.
    """
    inside = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(inside / (1 + FADE * _reach(hole.shape)), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _reach(size: Iterable[int]) -> int:
    return max(4, round(REACH * max(size)))


def conditioning(
    frames: np.ndarray, pose: np.ndarray, faces: np.ndarray, hole: np.ndarray, longer: int
) -> Conditioning:
    """Bring a request's pictures to the size that is drawn, and cut the hole.

    Parameters
    ----------
    frames, pose:
        (N, H, W, 3) uint8 in crop pixels: the source and the skeletons.
    faces:
        (N, S, S, 3) uint8.
    hole:
        (N, H, W) bool in crop pixels, from :func:`holes`.
    longer:
        Longer side of what is drawn, pixels.
    """
    height, width = frames.shape[1:3]
    size = drawing_size((width, height), longer)
    # Bilinear spreads a pixel over all that it touches, so any cover at all makes a hole: none of the old person stays.
    cover = np.stack(
        [cv2.resize(h.astype(np.float32), size, interpolation=_covering(size, (width, height))) for h in hole]
    )
    cut = cover > 0
    scene = resized(frames, size) * ~cut[..., None]
    return Conditioning(resized(pose, size), faces, scene, cut.astype(np.uint8) * 255)


def _covering(size: tuple[int, int], crop: tuple[int, int]) -> int:
    """An interpolation that leaves out no source pixel."""
    return cv2.INTER_AREA if size[0] < crop[0] or size[1] < crop[1] else cv2.INTER_LINEAR
