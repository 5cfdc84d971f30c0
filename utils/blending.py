"""Linear cross-fade of the frames that two neighbouring segments both drew."""

from __future__ import annotations

import numpy as np


def overlap_weights(count: int) -> np.ndarray:
    """Weights of the *incoming* segment over an overlap; the outgoing one has ``1 - weight``.

    Neither end is 0 or 1: those weights belong to the frames just before and just after the overlap, so each of the
    ``count`` frames really mixes both segments and the steps are all equal.

    Parameters
    ----------
    count:
        Number of frames that both segments drew, >= 0.

    Returns
    -------
    (count,) float32, rising from ``1 / (count + 1)`` to ``count / (count + 1)``.

    Raises
    ------
    ValueError
        If ``count`` is negative.
    """
    if count < 0:
        raise ValueError(f"an overlap of {count} frames does not exist")
    return np.arange(1, count + 1, dtype=np.float32) / np.float32(count + 1)


def blend(outgoing: np.ndarray, incoming: np.ndarray, weight: float) -> np.ndarray:
    """Mix two pictures of the same shape: ``(1 - weight) * outgoing + weight * incoming``.

    Parameters
    ----------
    outgoing, incoming:
        Arrays of one shape and one dtype: uint8 pictures (the result is rounded) or float32 maps.
    weight:
        Share of ``incoming``, 0..1.

    Returns
    -------
    Array of the same shape and dtype.

    Raises
    ------
    ValueError
        If shapes or dtypes differ or the weight is outside 0..1.
    """
    if outgoing.shape != incoming.shape or outgoing.dtype != incoming.dtype:
        raise ValueError(
            f"cannot blend {outgoing.dtype}{outgoing.shape} with {incoming.dtype}{incoming.shape}: they must be alike"
        )
    if not 0 <= weight <= 1:
        raise ValueError(f"weight {weight} is outside 0..1")
    mixed = outgoing.astype(np.float32) * np.float32(1 - weight) + incoming.astype(np.float32) * np.float32(weight)
    if np.issubdtype(outgoing.dtype, np.integer):
        mixed = np.rint(mixed)
    return mixed.astype(outgoing.dtype)
