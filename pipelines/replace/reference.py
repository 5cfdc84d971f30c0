"""A person from a photo: checked before the clip is looked at, and shown in the run folder as it came out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from models.body.articulation import bone_transforms
from models.body.base import RestBody
from models.body.renderer import FigureRenderer, View
from pipelines.avatars_studio import BACKGROUND, STUDIO, facing_camera, stance
from pipelines.pictures import jpeg
from pipelines.replace.shot import Shot
from utils.photometry import srgb_from_linear

#: Height of the picture, and width of each view of the figure, pixels.
HEIGHT, WIDTH = 512, 288
#: Degrees by which the figure is turned: front, side and back.
TURNS = (0.0, 90.0, 180.0)
#: The picture in the run folder.
FILE = "reference-figure.jpg"


@runtime_checkable
class MakesFigure(Protocol):
    """An engine that makes a figure of the person in a reference picture."""

    def check_reference(self) -> None:
        """Raises ``InputError`` where the picture does not show one person."""
        ...

    @property
    def reference_notes(self) -> tuple[str, ...]:
        """What the picture does not show, a sentence each."""
        ...

    def sitter_close_up(self) -> np.ndarray:
        """(H, W, 3) uint8: the person in the picture; known once it was checked."""
        ...

    def figure(self) -> tuple[FigureRenderer, RestBody]:
        """What draws the figure, and its body."""
        ...


def check(shot: Shot) -> None:
    """See that the reference picture can be used, before minutes are spent on the clip.

    Raises
    ------
    core.errors.InputError
        It shows nobody, several people, or too little of one.
    """
    if isinstance(shot.engine, MakesFigure):
        shot.engine.check_reference()


def keep(shot: Shot) -> None:
    """Write ``reference-figure.jpg``: the picture beside the figure made of it, from the front, the side and behind; and
    warn of what the picture does not show."""
    if shot.settings.reference is None or not isinstance(shot.engine, MakesFigure):
        return
    for note in shot.engine.reference_notes:
        shot.run.warn(note)
    if not shot.run.has(FILE):
        shot.run.save_bytes(FILE, jpeg(portrait(shot.engine.sitter_close_up(), *shot.engine.figure())))


def portrait(photo: np.ndarray, renderer: FigureRenderer, rest: RestBody) -> np.ndarray:
    """(HEIGHT, W, 3) uint8 RGB: the photo (H, W, 3) uint8, and the figure from the front, the side and behind."""
    width = max(round(photo.shape[1] * HEIGHT / photo.shape[0]), 1)
    shown = cv2.resize(photo, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    views = [srgb_from_linear(_view(renderer, rest, degrees)) for degrees in TURNS]
    return np.concatenate([shown, *views], axis=1)


def _view(renderer: FigureRenderer, rest: RestBody, degrees: float) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) float32 linear picture of the figure, from 8 metres away."""
    rotations = stance()[None]
    rotations[0, 0] = facing_camera(degrees)
    transforms = bone_transforms(rest, rotations, np.zeros((1, 3)))[0]
    vertices = renderer.figure.skin(transforms)
    distance = 8.0
    transforms[:, :3, 3] += np.array([0.0, 0.0, distance]) - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    focal = distance / (1.1 * rest.height) * HEIGHT
    intrinsics = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1.0]])
    still = np.zeros((len(vertices), 2), np.float32)
    layer = renderer.render(
        renderer.figure.pose(transforms), still, View(intrinsics, np.eye(3), (WIDTH, HEIGHT)), STUDIO
    )
    alpha = layer.alpha[..., None]
    return np.asarray(alpha * layer.color + (1 - alpha) * BACKGROUND, np.float32)
