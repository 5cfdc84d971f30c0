"""Smooth random fields in space, made from positions alone: the same place always gets the same value."""

from __future__ import annotations

import numpy as np

_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])


def _hash(cells: np.ndarray, seed: int) -> np.ndarray:
    """(..., 3) integer cells to uniform numbers in -1..1."""
    x, y, z = (cells[..., i].astype(np.uint64) for i in range(3))
    mixed = x * np.uint64(0x9E3779B97F4A7C15) ^ y * np.uint64(0xC2B2AE3D27D4EB4F) ^ z * np.uint64(0x165667B19E3779F9)
    mixed ^= np.uint64((seed * 0x27D4EB2F165667C5) & 0xFFFFFFFFFFFFFFFF)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return (mixed & np.uint64(0xFFFFFF)).astype(float) / 0x7FFFFF - 1


def noise(points: np.ndarray, cell: float, seed: int = 0) -> np.ndarray:
    """Value noise: (..., 3) points in metres to (...,) values in about -1..1 that change over ``cell`` metres."""
    with np.errstate(over="ignore"):
        scaled = np.asarray(points, float) / cell
        base = np.floor(scaled)
        part = scaled - base
        part = part * part * part * (part * (part * 6 - 15) + 10)
        corners = base[..., None, :].astype(np.int64) + _CORNERS
        weight = np.prod(np.where(_CORNERS == 1, part[..., None, :], 1 - part[..., None, :]), axis=-1)
        return (weight * _hash(corners, seed)).sum(axis=-1)


def fractal(points: np.ndarray, cell: float, octaves: int = 3, seed: int = 0) -> np.ndarray:
    """Sum of ``octaves`` noises, each half as large and half as strong as the one before."""
    total = sum(noise(points, cell / 2**i, seed + i) / 2**i for i in range(octaves))
    return np.asarray(total) / (2 - 2 ** (1 - octaves))


def smoothstep(values: np.ndarray | float, start: float, end: float) -> np.ndarray:
    """0 before ``start``, 1 after ``end``, smooth between (``end`` may be the smaller one)."""
    x = np.clip((np.asarray(values, float) - start) / (end - start), 0, 1)
    return x * x * (3 - 2 * x)
