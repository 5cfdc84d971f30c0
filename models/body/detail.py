"""Procedural relief and colour of surfaces: folds in cloth, locks in hair, mottling of skin, weave.

Everything is a function of the position in the rest pose, so that it moves with the surface, and every octave fades out
before its wavelength comes near the size of a pixel, so that nothing shimmers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from models.body.character import Character, Material, Pattern

#: Texels along each edge of the noise volume, and how many waves fit into it.
VOLUME_SIZE = 64
VOLUME_WAVES = 8

#: Wavelengths of folds in metres along x, y, z of the rest pose, and their height in metres. Folds of hanging cloth on a
#: standing figure run across the body where it bends, so they are longer sideways than upwards.
FOLDS = (
    (np.array([0.21, 0.21, 0.085], np.float32), 0.0100),
    (np.array([0.085, 0.085, 0.036], np.float32), 0.0026),
)
#: Folds are bent up and down by this much, metres, over this distance, metres.
BEND, DRIFT = 0.045, 0.32

#: Wavelength in metres of each pattern.
PATTERN_WAVELENGTH = {
    Pattern.NONE: 1.0,
    Pattern.WEAVE: 0.0016,
    Pattern.KNIT: 0.006,
    Pattern.DENIM: 0.0030,
    Pattern.PORES: 0.0014,
    Pattern.STRANDS: 0.0016,
    Pattern.LEATHER: 0.003,
    Pattern.RIBBED: 0.007,
}

#: Hair: wavelengths across the strand in metres, for locks, groups of strands, and strands.
LOCKS = (0.014, 0.0042, 0.0015)
LOCK_SLOPES, LOCK_SHADES, LOCK_TINTS = (0.13, 0.12, 0.09), (0.16, 0.18, 0.18), (0.06, 0.10, 0.13)
#: Mottling of skin: wavelength in metres.
MOTTLE = 0.030


@cache
def _noise_volume() -> np.ndarray:
    """(N * N * N, 4) float32: band-limited periodic noise of unit deviation and its gradient per wave; x runs fastest.

    Made in the frequency domain: one octave of random phases, so that it has no grid directions. The gradient is that of
    the same spectrum, exact between the texels up to the interpolation.
    """
    size = VOLUME_SIZE
    frequency = np.fft.fftfreq(size, 1.0 / size).astype(np.float32)
    kz, ky, kx = np.meshgrid(frequency, frequency, frequency, indexing="ij")
    radius = np.sqrt(kx**2 + ky**2 + kz**2)
    band = np.exp(-(((radius - VOLUME_WAVES) / (0.35 * VOLUME_WAVES)) ** 2)) / np.maximum(radius, 1.0)
    white = np.random.default_rng(7).standard_normal((size, size, size)).astype(np.float32)
    spectrum = np.fft.fftn(white) * band
    value = np.fft.ifftn(spectrum).real
    step = 2j * np.pi / VOLUME_WAVES
    channels = [value, *(np.fft.ifftn(spectrum * k * step).real for k in (kx, ky, kz))]
    volume = np.stack(channels, axis=-1).reshape(-1, 4) / value.std()
    return np.ascontiguousarray(volume, np.float32)


def noise(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise with one wave for each unit of length.

    Parameters
    ----------
    points:
        (M, 3) float32, in wavelengths.

    Returns
    -------
    value (M,) float32 of mean 0 and deviation 1, and its gradient (M, 3) with respect to ``points``.
    """
    volume, mask = _noise_volume(), VOLUME_SIZE - 1
    texels = points.astype(np.float32, copy=False).T * np.float32(VOLUME_SIZE / VOLUME_WAVES)
    base = np.floor(texels)
    part = texels - base
    low = base.astype(np.int32) & mask
    high = (low + 1) & mask
    stride = (1, VOLUME_SIZE, VOLUME_SIZE**2)
    index = [(low[axis] * stride[axis], high[axis] * stride[axis]) for axis in range(3)]
    weight = [(1 - part[axis], part[axis]) for axis in range(3)]
    total = np.zeros((len(points), 4), np.float32)
    for z in (0, 1):
        for y in (0, 1):
            row, share = index[2][z] + index[1][y], weight[2][z] * weight[1][y]
            for x in (0, 1):
                total += volume[row + index[0][x]] * (share * weight[0][x])[:, None]
    return total[:, 0], total[:, 1:]


@dataclass(frozen=True)
class Relief:
    """What fine structure does to each of S samples."""

    gradient: np.ndarray
    """(S, 3) float32: slope of the height over the surface, by rest position (dimensionless)."""
    cavity: np.ndarray
    """(S,) float32, -1 (deep in a crease) to 1 (on a ridge)."""
    tint: np.ndarray
    """(S,) float32: factor on the albedo, around 1."""


#: Places along a strand at which noise is averaged, half a wavelength apart, and the deviation of that mean.
COMB_TAPS, COMB_DEVIATION = 9, 0.335


def combed(points: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Noise that hardly changes along ``along`` (M, 3), unit vectors: averaged over a few waves of it, so that its streaks
    follow strands however they turn. Otherwise like :func:`noise`."""
    value, slope = np.zeros(len(points), np.float32), np.zeros((len(points), 3), np.float32)
    for tap in range(COMB_TAPS):
        height, rise = noise(points + np.float32(0.5 * (tap - COMB_TAPS // 2)) * along)
        value += height
        slope += rise
    scale = np.float32(1.0 / (COMB_TAPS * COMB_DEVIATION))
    slope -= np.einsum("ij,ij->i", slope, along)[:, None] * along
    return value * scale, slope * scale


def _ribs(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridges one above the other. Like all threads: (M,) height of (M, 3) points in wavelengths, and (M, 3) along which it
    rises: its gradient times a constant."""
    phase = 2.0 * np.pi * points[:, 2]
    slope = np.zeros_like(points)
    slope[:, 2] = np.cos(phase)
    return np.sin(phase), slope


def _weave(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Threads upwards and across, each over and under the other."""
    up, across = 2.0 * np.pi * (points[:, 0] + points[:, 1]), 2.0 * np.pi * points[:, 2]
    slope = np.empty_like(points)
    slope[:, 0] = slope[:, 1] = 0.7 * np.cos(up) * np.cos(across)
    slope[:, 2] = -0.7 * np.sin(up) * np.sin(across)
    return np.sin(up) * np.cos(across), slope


def _twill(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal lines, as on denim."""
    phase = 2.0 * np.pi * (points[:, 0] + points[:, 1] + points[:, 2])
    return np.sin(phase), np.repeat(0.6 * np.cos(phase)[:, None], 3, axis=1)


def _stitches(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of V-shaped stitches, as on knitting."""
    column = points[:, 0] + points[:, 1]
    offset = column - np.floor(column) - 0.5
    phase = 2.0 * np.pi * (1.3 * points[:, 2] - np.abs(offset))
    groove = np.cos(2.0 * np.pi * offset)  # deep between the columns
    wave = np.sin(phase)
    slope = np.empty_like(points)
    along = -np.sign(offset) * np.cos(phase) * (0.6 + 0.4 * groove) - 0.4 * np.sin(2.0 * np.pi * offset) * (1.0 + wave)
    slope[:, 0] = slope[:, 1] = 0.7 * along
    slope[:, 2] = 0.7 * 1.3 * np.cos(phase) * (0.6 + 0.4 * groove)
    return (wave + 1.0) * (0.6 + 0.4 * groove) - 0.6, slope


#: Threads have edges: their finest wave is this share of their wavelength.
SHARPNESS = 0.7
#: How the patterns that have an order are laid.
THREADS: dict[Pattern, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    Pattern.RIBBED: _ribs,
    Pattern.WEAVE: _weave,
    Pattern.DENIM: _twill,
    Pattern.KNIT: _stitches,
}


def _visible(wavelength: np.ndarray | float, footprint: np.ndarray) -> np.ndarray:
    """0..1: fades a wave out between four and two pixels of length."""
    return np.clip(wavelength / (2.0 * footprint) - 1.0, 0.0, 1.0).astype(np.float32)


class DetailModel:
    """The fine structure of one character."""

    def __init__(self, character: Character) -> None:
        self._material = np.array([s.material for s in character.surfaces], np.int64)
        self._pattern = np.array([s.pattern for s in character.surfaces], np.int64)
        self._strength = character.table("pattern_strength")
        self._wrinkles = character.table("wrinkles")
        self._wavelength = np.array([PATTERN_WAVELENGTH[s.pattern] for s in character.surfaces], np.float32)

    def relief(
        self,
        rest: np.ndarray,
        surface: np.ndarray,
        fold: np.ndarray,
        compression: np.ndarray,
        strand: np.ndarray,
        footprint: np.ndarray,
    ) -> Relief:
        """The fine structure at S samples.

        Parameters
        ----------
        rest:
            (S, 3) position in the rest pose, metres.
        surface:
            (S,) index of the surface.
        fold:
            (S,) 0..1, where cloth may fold.
        compression:
            (S,) 0..1, how much the pose squeezes the surface here.
        strand:
            (S, 3) direction of the hair in the rest pose, 0 elsewhere.
        footprint:
            (S,) size of a pixel on the surface, metres.
        """
        count = len(rest)
        relief = Relief(np.zeros((count, 3), np.float32), np.zeros(count, np.float32), np.ones(count, np.float32))
        material = self._material[surface]
        self._add_folds(
            relief, np.flatnonzero((self._wrinkles[surface] * fold) > 0.01), rest, surface, fold, compression, footprint
        )
        self._add_locks(relief, np.flatnonzero(material == Material.HAIR), rest, strand, footprint)
        skin = (material == Material.SKIN) | (material == Material.LIP)
        self._add_mottle(relief, np.flatnonzero(skin & (footprint < MOTTLE / 2)), rest, footprint)
        fine = (self._strength[surface] > 0) & (material != Material.HAIR) & (footprint < self._wavelength[surface] / 2)
        self._add_pattern(relief, np.flatnonzero(fine), rest, surface, footprint)
        return relief

    def _add_folds(
        self,
        relief: Relief,
        at: np.ndarray,
        rest: np.ndarray,
        surface: np.ndarray,
        fold: np.ndarray,
        compression: np.ndarray,
        footprint: np.ndarray,
    ) -> None:
        if len(at) == 0:
            return
        points = rest[at].copy()
        # Slow noise bends the folds out of the horizontal and makes them come and go.
        drift, drift_slope = noise(points / np.float32(DRIFT))
        bend = drift_slope * np.float32(BEND / DRIFT)
        points[:, 2] += BEND * drift
        squeeze = 0.55 + 2.2 * np.clip(compression[at], 0.0, 0.6)
        amount = self._wrinkles[surface[at]] * fold[at] * squeeze * np.clip(0.75 + 0.45 * drift, 0.2, 1.5)
        for wavelength, height in FOLDS:
            value, slope = noise(points / wavelength)
            seen = amount * _visible(float(wavelength[2]), footprint[at])
            # Creases are sharper than bulges: bend the wave with a smooth absolute value.
            crease = np.sqrt(value**2 + 0.15)
            sharp = 0.5 + 0.5 * value / crease
            gradient = slope / wavelength * (height * seen * sharp)[:, None]
            gradient += gradient[:, 2:] * bend
            relief.gradient[at] += gradient
            relief.cavity[at] += np.clip(value * seen * (0.85 if height > 0.004 else 0.40), -1.0, 1.0)

    def _add_locks(
        self, relief: Relief, at: np.ndarray, rest: np.ndarray, strand: np.ndarray, footprint: np.ndarray
    ) -> None:
        if len(at) == 0:
            return
        points, along = rest[at], strand[at]
        for number, across in enumerate(LOCKS):
            seen = _visible(across, footprint[at])
            mine = np.flatnonzero(seen > 0)
            if len(mine) == 0:
                continue
            value, slope = combed(points[mine] / np.float32(across) + np.float32(3.7 * number), along[mine])
            where, share = at[mine], seen[mine]
            relief.gradient[where] += slope * (share * LOCK_SLOPES[number])[:, None]
            relief.cavity[where] += value * share * LOCK_SHADES[number]
            relief.tint[where] *= 1.0 + np.clip(value, -2.0, 2.0) * share * LOCK_TINTS[number]

    def _add_mottle(self, relief: Relief, at: np.ndarray, rest: np.ndarray, footprint: np.ndarray) -> None:
        if len(at) == 0:
            return
        value, _ = noise(rest[at] / np.float32(MOTTLE))
        relief.tint[at] *= 1.0 + 0.035 * np.clip(value, -2.0, 2.0) * _visible(MOTTLE, footprint[at])

    def _add_pattern(
        self, relief: Relief, at: np.ndarray, rest: np.ndarray, surface: np.ndarray, footprint: np.ndarray
    ) -> None:
        if len(at) == 0:
            return
        kind = surface[at]
        wavelength = self._wavelength[kind]
        points = rest[at] / wavelength[:, None]
        value, slope = noise(points)
        finest = wavelength.copy()
        for pattern, threads in THREADS.items():
            mine = np.flatnonzero(self._pattern[kind] == pattern)
            if len(mine):
                made, lean = threads(points[mine])
                # Yarn is never quite even.
                value[mine] = 1.2 * made + 0.35 * value[mine]
                slope[mine] = lean + 0.35 * slope[mine]
                finest[mine] *= SHARPNESS
        seen = self._strength[kind] * _visible(finest, footprint[at])
        relief.gradient[at] += slope * (0.12 * seen)[:, None]
        relief.tint[at] *= 1.0 + 0.20 * np.clip(value, -2.0, 2.0) * seen
