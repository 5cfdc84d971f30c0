"""A person's mask for every frame of a clip, small enough to keep in memory whatever the clip's length."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np


class MaskArchive:
    """Bit-packed masks, compressed frame by frame; behaves like a ``(T, H, ceil(W/8))`` uint8 array that is read by frame.

    A mask of a 1920x1080 frame takes 260 kB as bits and about 3 kB here, so ten minutes of video stay under 60 MB.
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._frames: list[bytes] = []

    @classmethod
    def from_masks(cls, height: int, width: int, masks: Iterable[np.ndarray]) -> MaskArchive:
        """Archive of ``(H, W)`` bool masks."""
        archive = cls(height, width)
        for mask in masks:
            archive.append(mask)
        return archive

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, H, ceil(W/8))``, the shape of the packed array that this stands for."""
        return len(self._frames), self.height, (self.width + 7) // 8

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, mask: np.ndarray) -> None:
        """Add the ``(H, W)`` bool mask of the next frame."""
        self._frames.append(self._pack(mask))

    def replace(self, frame: int, mask: np.ndarray) -> None:
        """Put another ``(H, W)`` bool mask in the place of one frame's."""
        self._frames[frame] = self._pack(mask)

    def append_packed(self, packed: np.ndarray) -> None:
        """Add the next frame as ``(H, ceil(W/8))`` uint8, ``np.packbits(mask, axis=-1)``."""
        self._frames.append(zlib.compress(np.ascontiguousarray(packed, np.uint8).tobytes(), 1))

    def __getitem__(self, frame: int) -> np.ndarray:
        """(H, ceil(W/8)) uint8, the packed mask of one frame."""
        flat = np.frombuffer(zlib.decompress(self._frames[frame]), np.uint8)
        return flat.reshape(self.height, (self.width + 7) // 8)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def mask(self, frame: int) -> np.ndarray:
        """(H, W) bool, the mask of one frame."""
        return np.unpackbits(self[frame], axis=-1, count=self.width).astype(bool)

    def any(self, frame: int) -> bool:
        """Whether the mask of one frame has any pixel set."""
        return bool(self[frame].any())

    def _pack(self, mask: np.ndarray) -> bytes:
        if mask.shape != (self.height, self.width):
            raise ValueError(f"mask of shape {mask.shape} in an archive of {(self.height, self.width)}")
        return zlib.compress(np.packbits(mask, axis=-1).tobytes(), 1)
