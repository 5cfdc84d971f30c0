"""Markers of motion capture: small balls that stand on whatever is worn."""

from __future__ import annotations

import numpy as np

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import RUBBER, Figure
from models.body.wardrobe.mesh import grid_faces, join, selection
from models.body.wardrobe.part import Part
from models.body.wardrobe.spec import Markers, linear

_FORWARD, _BACK, _OUT, _UP = np.array([0, -1, 0]), np.array([0, 1, 0]), np.array([1, 0, 0]), np.array([0, 0, 1])
#: For the left side and mirrored: the bone from whose head one looks, how far towards the next bone's head, and where to.
_PAIRS = (
    ("upperarm01", "lowerarm01", 0.05, _UP),
    ("upperarm01", "lowerarm01", 0.55, _OUT),
    ("lowerarm01", "wrist", 0.0, _OUT + _BACK),
    ("lowerarm01", "wrist", 0.5, _OUT),
    ("lowerarm01", "wrist", 0.8, _OUT + _FORWARD),
    ("upperleg01", "lowerleg01", -0.2, _FORWARD),
    ("upperleg01", "lowerleg01", -0.2, _BACK),
    ("upperleg01", "lowerleg01", 0.5, _FORWARD + _OUT),
    ("lowerleg01", "foot", 0.0, _FORWARD),
    ("lowerleg01", "foot", 0.0, _OUT),
    ("lowerleg01", "foot", 0.45, _OUT + _FORWARD),
)
#: The same along the middle.
_MIDDLE = (
    ("spine01", "neck01", 0.55, _FORWARD),
    ("spine01", "neck01", 0.75, _BACK),
    ("spine03", "neck01", 0.0, _FORWARD),
    ("spine04", "neck01", 0.0, _BACK),
)
_ROWS, _COLUMNS = 7, 10


def make_markers(figure: Figure, markers: Markers) -> None:
    """Put the balls on the outermost cloth, or on the skin where there is none."""
    body = figure.body
    picked = np.array(_places(body))
    directions = body.normals[picked]
    centres = body.points[picked] + directions * (figure.clearance[picked] + 0.6 * markers.radius)[:, None]
    ball, faces = _ball(markers.radius)
    points, all_faces = join([(ball + centre, faces) for centre in centres])
    source = selection(np.repeat(picked, len(ball)), len(body))
    color = np.tile(linear(markers.color), (len(points), 1))
    part = Part(points, all_faces, (source @ body.weights).tocsr(), color, (RUBBER,), np.zeros(len(points), int))
    figure.wear([part], np.full(len(body), -1.0))


def _places(body: Anatomy) -> list[int]:
    """Body vertices that a ray from inside the limb would come out near."""
    wanted: list[tuple[np.ndarray, np.ndarray]] = []
    for start, end, share, toward in _MIDDLE:
        wanted.append((_between(body, start, end, share), toward))
    for start, end, share, toward in _PAIRS:
        for side, mirror in (("L", 1.0), ("R", -1.0)):
            wanted.append((_between(body, f"{start}.{side}", f"{end}.{side}", share), toward * [mirror, 1, 1]))
    places = []
    for origin, toward in wanted:
        offset = body.points - origin
        direction = toward / np.linalg.norm(toward)
        along = offset @ direction
        beside = np.linalg.norm(offset - along[:, None] * direction, axis=1)
        ahead = (along > 0) & (along < 0.3) & (body.normals @ direction > 0.2)
        places.append(int(np.argmin(np.where(ahead, beside + 0.2 * along, np.inf))))
    return places


def _between(body: Anatomy, start: str, end: str, share: float) -> np.ndarray:
    return body.joints[start] + share * (body.joints[end] - body.joints[start])


def _ball(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and faces of a ball round the origin."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi, _ROWS), np.arange(_COLUMNS) * 2 * np.pi / _COLUMNS, indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1).reshape(-1, 3)
    return radius * points, grid_faces(_ROWS, _COLUMNS, True)
