"""How long a fit works, by quality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Quality = Literal["quick", "thorough", "best"]


@dataclass(frozen=True)
class Schedule:
    """How long the fit works."""

    scales: tuple[tuple[float, int], ...]
    """(robust scale in per cent of the height, iterations) while proportions are found."""
    poses: tuple[tuple[float, int], ...]
    """The same for the whole sequence."""
    silhouette: int = 0
    """Further iterations in which the body is kept inside the person's mask."""


SCHEDULES: dict[str, Schedule] = {
    "quick": Schedule(((8.0, 4), (5.0, 3)), ((40.0, 2), (8.0, 3), (5.0, 3))),
    "thorough": Schedule(((8.0, 5), (5.0, 4)), ((40.0, 3), (8.0, 4), (5.0, 6))),
    "best": Schedule(((8.0, 8), (5.0, 10)), ((40.0, 4), (8.0, 6), (5.0, 8)), silhouette=8),
}
