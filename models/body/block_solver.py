"""Normal equations of a sequence: blocks of frames, each coupled to its next two neighbours."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded


class NormalEquations:
    """``H step = -g`` for T frames of n parameters, H block-pentadiagonal and positive definite.

    Terms are added as residuals ``r`` with derivatives by the parameters of one, two or three consecutive frames.
    Parameters that all frames share (proportions) may be added as a border of the system.
    """

    def __init__(self, frames: int, parameters: int, shared: int = 0) -> None:
        self.frames, self.parameters, self.shared = frames, parameters, shared
        self.blocks = [np.zeros((max(frames - offset, 0), parameters, parameters)) for offset in range(3)]
        self.gradient = np.zeros((frames, parameters))
        self.border = np.zeros((frames, parameters, shared))
        self.shared_block = np.zeros((shared, shared))
        self.shared_gradient = np.zeros(shared)
        self.cost = 0.0
        self._coupled = False

    def add(self, residual: np.ndarray, jacobian: np.ndarray, shared: np.ndarray | None = None) -> None:
        """A term of single frames: residual (T, R), jacobian (T, R, n), shared (T, R, s)."""
        transposed = jacobian.transpose(0, 2, 1)
        self.cost += float((residual**2).sum())
        self.blocks[0] += transposed @ jacobian
        self.gradient += (transposed @ residual[..., None])[..., 0]
        if shared is not None and self.shared:
            self.border += transposed @ shared
            flat = shared.reshape(-1, self.shared)
            self.shared_block += flat.T @ flat
            self.shared_gradient += flat.T @ residual.reshape(-1)

    def add_coupled(self, residual: np.ndarray, jacobians: list[np.ndarray]) -> None:
        """A term over neighbours: residual (M, R), jacobians[i] (M, R, n) by frame ``m + i``, for m = 0..M-1."""
        count = len(residual)
        self._coupled = True
        self.cost += float((residual**2).sum())
        for i, first in enumerate(jacobians):
            transposed = first.transpose(0, 2, 1)
            self.gradient[i : i + count] += (transposed @ residual[..., None])[..., 0]
            self.blocks[0][i : i + count] += transposed @ first
            for j in range(i):
                # Lower blocks: row frame m + i, column frame m + j.
                self.blocks[i - j][j : j + count] += transposed @ jacobians[j]

    def add_diagonal(self, residual: np.ndarray, slope: np.ndarray) -> None:
        """A term on each parameter by itself: residual (T, n), derivative (n,) by that parameter."""
        index = np.arange(self.parameters)
        self.cost += float((residual**2).sum())
        self.blocks[0][:, index, index] += slope**2
        self.gradient += residual * slope

    def add_differences(self, residual: np.ndarray, slope: np.ndarray, parts: tuple[float, ...]) -> None:
        """Differences over time of each parameter by itself.

        ``parts`` are the factors of consecutive frames: (-1, 1) first differences, (1, -2, 1) second ones. Residual
        (T - len(parts) + 1, n), times ``slope`` (n,) already.
        """
        index, count = np.arange(self.parameters), len(residual)
        self._coupled = True
        self.cost += float((residual**2).sum())
        for i, first in enumerate(parts):
            self.gradient[i : i + count] += first * slope * residual
            for j in range(i + 1):
                self.blocks[i - j][j : j + count, index, index] += first * parts[j] * slope**2

    def add_shared(self, residual: np.ndarray, weight: np.ndarray) -> None:
        """A prior on the shared parameters: residual (s,) of derivative 1, and weights (s,)."""
        self.cost += float((weight * residual**2).sum())
        self.shared_block += np.diag(weight)
        self.shared_gradient += weight * residual

    def _banded(self, damping: float) -> np.ndarray:
        """Lower banded storage for LAPACK: row d holds the d-th subdiagonal."""
        n, frames = self.parameters, self.frames
        offsets = min(frames, 3)
        band = np.zeros((offsets * n, frames * n))
        rows, columns = np.indices((n, n))
        for offset in range(offsets):
            block = self.blocks[offset].copy()
            keep = np.ones((n, n), bool)
            if offset == 0:
                block[:, np.arange(n), np.arange(n)] *= 1.0 + damping
                block[:, np.arange(n), np.arange(n)] += 1e-9
                keep = rows >= columns
            below = (rows - columns + offset * n)[keep]
            start = np.arange(frames - offset)[:, None] * n
            band[below[None, :].repeat(frames - offset, 0), start + columns[keep][None, :]] = block[:, keep]
        return band

    def _solve_frames(self, damping: float, columns: np.ndarray) -> np.ndarray:
        """``H x = columns`` where no frames are coupled: many small systems."""
        block = self.blocks[0].copy()
        index = np.arange(self.parameters)
        block[:, index, index] *= 1.0 + damping
        block[:, index, index] += 1e-9
        return np.linalg.solve(block, columns)

    def solve(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """The damped Newton step: (T, n) and (s,)."""
        columns = np.concatenate([self.gradient[..., None], self.border], 2)
        if self._coupled:
            factor = cholesky_banded(self._banded(damping), overwrite_ab=True, lower=True, check_finite=False)
            flat = columns.reshape(self.gradient.size, -1)
            solved = cho_solve_banded((factor, True), flat, check_finite=False).reshape(columns.shape)
        else:
            solved = self._solve_frames(damping, columns)
        if not self.shared:
            return -solved[..., 0], np.zeros(0)
        # Schur complement of the border.
        reduced = self.shared_block * (1 + damping * np.eye(self.shared)) - np.tensordot(
            self.border, solved[..., 1:], ((0, 1), (0, 1))
        )
        pull = self.shared_gradient - np.tensordot(self.border, solved[..., 0], ((0, 1), (0, 1)))
        shared = -np.linalg.solve(reduced, pull)
        return -(solved[..., 0] + solved[..., 1:] @ shared), shared
