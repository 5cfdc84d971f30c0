"""NPZ archives whose long arrays are written in pieces."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Pieces:
    """An array that is made piece by piece along its first axis."""

    shape: tuple[int, ...]
    """Shape of the whole."""
    dtype: np.dtype
    """Type of the whole; pieces are converted to it."""
    make: Callable[[], Iterable[np.ndarray]]
    """Gives the pieces in order."""


def write_npz(path: Path, arrays: Mapping[str, np.ndarray | Pieces]) -> None:
    """Write an archive that ``np.load(path, allow_pickle=False)`` reads.

    Raises ``ValueError`` for an array that would need a pickle, and where pieces do not add up to their whole.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if not isinstance(array, Pieces):
                    np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
                    continue
                descr = np.lib.format.dtype_to_descr(array.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                rows = 0
                for piece in array.make():
                    if piece.shape[1:] != array.shape[1:]:
                        raise ValueError(f"{name}: a piece of shape {piece.shape} does not fit {array.shape}")
                    member.write(np.ascontiguousarray(piece, array.dtype).tobytes())
                    rows += len(piece)
                if rows != array.shape[0]:
                    raise ValueError(f"{name}: the pieces have {rows} rows, the whole {array.shape[0]}")
