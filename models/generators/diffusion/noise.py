"""Noise that moves with the footage.

Noise that stands still while the person moves shows as a pattern that the picture slides under; noise that is new in every
frame flickers. So one noise is drawn for a segment, and its samples are carried along the optical flow. Averaging
samples would make the noise weaker and blurred, which the network draws as mush: samples are therefore moved whole,
from cell to cell of the latent grid, each to at most one cell, and cells where none arrives get a new one. What results is
white noise of variance 1 again, whatever the flow (which cell wins depends on positions alone, never on values).
"""

from __future__ import annotations

import cv2
import numpy as np

#: Channels of the latents of Stable Diffusion.
CHANNELS = 4


class MovingNoise:
    """One segment's noise. The same seed and the same flows give the same noise, bit for bit.

    Parameters
    ----------
    seed:
        Seed of the first noise and of every new sample.
    cells:
        ``(rows, columns)`` of the latent grid.
    sets:
        Independent noises that move together, for schedulers that add new noise in every step.
    """

    def __init__(self, seed: int, cells: tuple[int, int], sets: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._shape = (sets, CHANNELS, *cells)
        self.samples = self._fresh()
        """(sets, 4, rows, columns) float32, the noise of the current frame."""
        # Where inside its cell each sample is, so that slow motion adds up: (rows, columns, 2) x, y in cells, -0.5..0.5.
        self._offset = np.zeros((*cells, 2), np.float32)

    def _fresh(self) -> np.ndarray:
        return self._random.standard_normal(self._shape, dtype=np.float32)

    def move(self, flow: np.ndarray) -> np.ndarray:
        """Carry the noise on to the next frame.

        Parameters
        ----------
        flow:
            (H, W, 2) float32, pixels: from the current frame to the next, in a picture over the whole grid.

        Returns
        -------
        (sets, 4, rows, columns) float32, the next frame's noise.
        """
        rows, columns = self._shape[2:]
        scale = np.array([columns / flow.shape[1], rows / flow.shape[0]], np.float32)
        step = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, 2) * scale
        home = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)
        place = home + self._offset + step
        inside = np.isfinite(place).all(axis=-1)
        # Halves all go the same way: rounded to even, neighbours that move alike would meet in one cell.
        cell = np.floor(np.nan_to_num(place, posinf=-1, neginf=-1) + 0.5).astype(np.int64)
        inside &= (cell >= 0).all(axis=-1) & (cell[..., 0] < columns) & (cell[..., 1] < rows)
        source = np.flatnonzero(inside)
        target = cell[..., 1].ravel()[source] * columns + cell[..., 0].ravel()[source]
        offset = (place - cell).reshape(-1, 2)[source]
        # Of several samples that reach one cell, the one nearest to its centre stays.
        order = np.lexsort((np.square(offset).sum(axis=-1), target))
        target, first = np.unique(target[order], return_index=True)
        winner = order[first]
        # As many new samples are drawn whatever the flow, so that a frame's noise depends on its own flow alone.
        moved = self._fresh().reshape(*self._shape[:2], -1)
        moved[..., target] = self.samples.reshape(*self._shape[:2], -1)[..., source[winner]]
        offsets = np.zeros((rows * columns, 2), np.float32)
        offsets[target] = offset[winner]
        self.samples, self._offset = moved.reshape(self._shape), offsets.reshape(rows, columns, 2)
        return self.samples
