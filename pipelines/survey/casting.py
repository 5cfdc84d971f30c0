"""Who is followed in each shot of a clip with cuts: the same person, as far as clothes tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from core.errors import InputError
from models.detector import PersonDetector
from models.person_tracker import StartingPoint, choose_among, sight_people
from utils.person_track import Sighting, colour_distance, link_sightings

#: People whose colours differ by more than this (0 equal, 1 nothing in common) are taken for different ones.
_OTHER_CLOTHES = 0.6


class Casting:
    """Chooses the person in one shot after the other.

    Parameters
    ----------
    person:
        (x, y) in pixels: a point on the person in the first shot that shows somebody there; ``None`` takes the largest.

    Attributes
    ----------
    others:
        For each shot so far, whether the one who was chosen looks unlike the person of the first shot with anybody.
    """

    def __init__(self, person: tuple[float, float] | None) -> None:
        self._person = person
        self._look: np.ndarray | None = None
        self.others: list[bool] = []

    def choose(self, frames: Iterable[tuple[int, np.ndarray]], detector: PersonDetector) -> StartingPoint | None:
        """Whom to follow in the next shot; ``None`` where nobody is seen in it.

        ``frames``: (index in the shot, (H, W, 3) uint8 RGB) of a few frames, in order.
        """
        samples = [sight_people(index, rgb, detector) for index, rgb in frames]
        self.others.append(False)
        try:
            if self._look is None:
                start = choose_among(samples, self._person)
                self._look = _mean_look(start.sightings)
                return start
            return self._like_before(samples)
        except InputError:
            return None

    def _like_before(self, samples: list[list[Sighting]]) -> StartingPoint:
        assert self._look is not None
        look = self._look
        largest = choose_among(samples)
        tracks = link_sightings(samples)
        alike = min(tracks, key=lambda track: colour_distance(look, _mean_look(track)))
        if colour_distance(look, _mean_look(alike)) <= _OTHER_CLOTHES:
            return StartingPoint(alike[0].frame, alike[0].xyxy, tuple(alike))
        self.others[-1] = True
        return largest


def _mean_look(sightings: Sequence[Sighting]) -> np.ndarray:
    return np.mean([seen.look for seen in sightings], axis=0)
