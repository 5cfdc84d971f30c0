"""Biovision BVH: a skeleton and its motion as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

#: Channels of every joint in the order of the file: the matrix of a joint is Rz @ Rx @ Ry.
ROTATION_CHANNELS = "Zrotation Xrotation Yrotation"


@dataclass(frozen=True)
class BvhSkeleton:
    """A tree of joints. All axes are parallel at rest."""

    names: Sequence[str]
    """Names of the J joints without blanks, in depth-first order, the root first."""
    parents: Sequence[int]
    """(J,) index of each joint's parent, -1 for the root."""
    offsets: np.ndarray
    """(J, 3) metres: each joint from its parent at rest; the root's is written as it is."""
    tips: Mapping[int, np.ndarray]
    """End of each joint without children, (3,) metres from the joint."""

    def __post_init__(self) -> None:
        if self.offsets.shape != (len(self.names), 3):
            raise ValueError(f"offsets {self.offsets.shape} do not fit {len(self.names)} joints")
        open_joints: list[int] = []
        for joint, parent in enumerate(self.parents):
            while open_joints and open_joints[-1] != parent:
                open_joints.pop()
            if not open_joints and joint:
                raise ValueError(f"joint {self.names[joint]!r} is out of depth-first order")
            open_joints.append(joint)
        leaves = set(range(len(self.names))) - set(self.parents)
        if leaves != set(self.tips):
            raise ValueError(
                f"tips are given for joints {sorted(self.tips)}, the joints without children are {sorted(leaves)}"
            )


def _hierarchy(skeleton: BvhSkeleton) -> Iterator[str]:
    """The lines of the HIERARCHY section."""
    depth = [0] * len(skeleton.names)
    opened = 0
    yield "HIERARCHY"
    for joint, parent in enumerate(skeleton.parents):
        depth[joint] = 0 if parent < 0 else depth[parent] + 1
        while opened > depth[joint]:
            opened -= 1
            yield "\t" * opened + "}"
        tab = "\t" * depth[joint]
        yield f"{tab}{'ROOT' if parent < 0 else 'JOINT'} {skeleton.names[joint]}"
        yield f"{tab}{{"
        yield f"{tab}\tOFFSET {_numbers(skeleton.offsets[joint])}"
        place = "6 Xposition Yposition Zposition" if parent < 0 else "3"
        yield f"{tab}\tCHANNELS {place} {ROTATION_CHANNELS}"
        if joint in skeleton.tips:
            yield from (
                f"{tab}\tEnd Site",
                f"{tab}\t{{",
                f"{tab}\t\tOFFSET {_numbers(skeleton.tips[joint])}",
                f"{tab}\t}}",
            )
        opened = depth[joint] + 1
    for left in reversed(range(opened)):
        yield "\t" * left + "}"


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:z.6f}" for value in values)


class _Continuous:
    """Euler angles (z, x, y) in degrees that stay close to the frame before; two triples stand for every rotation."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def __call__(self, rotations: np.ndarray) -> np.ndarray:
        """(n, J, 3, 3) rotation matrices to (n, J, 3) degrees."""
        flat = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_euler("ZXY", degrees=True)
        plain = flat.reshape(*rotations.shape[:2], 3)
        other = plain * (1, -1, 1) + 180.0
        result = np.empty_like(plain)
        for frame in range(len(plain)):
            result[frame] = (
                plain[frame] if self._last is None else self._nearest(plain[frame], other[frame], self._last)
            )
            self._last = result[frame]
        return result

    @staticmethod
    def _nearest(plain: np.ndarray, other: np.ndarray, last: np.ndarray) -> np.ndarray:
        both = np.stack([plain, other])
        both -= 360.0 * np.round((both - last) / 360.0)
        far = np.abs(both - last).sum(-1)
        return np.where((far[0] <= far[1])[:, None], both[0], both[1])


def write_bvh(
    path: Path,
    skeleton: BvhSkeleton,
    rate: Fraction,
    count: int,
    chunks: Iterable[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Write a motion.

    Parameters
    ----------
    path:
        The file.
    skeleton:
        The joints.
    rate:
        Frames per second.
    count:
        Number of frames.
    chunks:
        Pieces of the motion in order: the root's place (n, 3) in metres, and (n, J, 3, 3) rotation matrices of the joints
        against their parents.

    Raises
    ------
    ValueError
        The pieces do not add up to ``count`` frames.
    """
    euler, written = _Continuous(), 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in _hierarchy(skeleton))
        file.write(f"MOTION\nFrames: {count}\nFrame Time: {float(1 / rate):.9f}\n")
        for places, rotations in chunks:
            rows = np.concatenate([places, euler(rotations).reshape(len(places), -1)], 1)
            file.writelines(f"{_numbers(row)}\n" for row in rows)
            written += len(rows)
    if written != count:
        raise ValueError(f"{written} frames were given, {count} announced")
