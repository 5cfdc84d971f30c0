"""Pictures of avatars in a neutral studio light: thumbnails and contact sheets, drawn with the program's own renderer."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.types import ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.renderer import FigureRenderer, View
from models.body.wardrobe import AvatarSpec, dress
from utils.photometry import srgb_from_linear

#: Linear RGB of the wall behind the figure, half-way up.
BACKGROUND = np.array([0.30, 0.31, 0.33], np.float32)
STUDIO = ShotLook(
    light_direction=np.array([-0.45, -0.62, -0.64], np.float32),
    light=np.array([0.95, 0.92, 0.88], np.float32),
    sky=np.array([0.42, 0.44, 0.47], np.float32),
    ground=np.array([0.22, 0.21, 0.20], np.float32),
    haze=np.zeros(3, np.float32),
    exposure=1.0,
    softness=0.6,
    grain=0.0,
    blur=0.0,
)
#: Camera distance as a multiple of the height that the picture shows; not nearer than NEAREST metres.
DISTANCE, NEAREST = 3.2, 1.6
#: Degrees by which the figure is turned in the views of a sheet.
FRONT, SIDE, BACK = 0.0, -90.0, 180.0
#: Height of a sheet in pixels; widths of its full figures and of its close-ups.
SHEET_HEIGHT, FIGURE_WIDTH, DETAIL_WIDTH = 640, 300, 320
#: Degrees by which figures are turned in a thumbnail.
THUMBNAIL_TURNS = (0.0, -38.0)


@dataclass(frozen=True)
class Detail:
    """A close-up: what is in its middle and how much it shows."""

    bones: tuple[str, ...]
    """The middle lies half-way between the heads of these bones."""
    shift: tuple[float, float]
    """Metres to the right and down from there to the middle of the picture."""
    height: float
    """Metres from top to bottom."""
    turn: float
    """Degrees by which the figure is turned."""


#: Close-ups of a sheet, from left to right and top to bottom.
DETAILS = (
    Detail(("head",), (0.0, -0.09), 0.34, FRONT),
    Detail(("head",), (0.0, -0.09), 0.34, -55.0),
    Detail(("wrist.L",), (0.02, 0.06), 0.34, FRONT),
    Detail(("foot.L", "foot.R"), (0.0, 0.02), 0.44, -35.0),
)


def stance() -> np.ndarray:
    """(J, 3) rotation vectors: arms lowered, one knee a little bent."""
    rotations = np.zeros((len(JOINT_NAMES), 3))
    for name, turn in {
        "left_shoulder": (0.0, 0.52, 0.0),
        "right_shoulder": (0.0, -0.52, 0.0),
        "left_elbow": (0.30, 0.03, 0.26),
        "right_elbow": (0.30, -0.03, -0.26),
        "left_hip": (0.0, 0.05, 0.0),
        "right_hip": (0.0, -0.05, 0.0),
    }.items():
        rotations[JOINT_NAMES.index(name)] = turn
    return rotations


def facing_camera(degrees: float) -> np.ndarray:
    """(3,) rotation vector from model axes (z up, face along -y) to a camera in front, turned about the vertical."""
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    turn = cv2.Rodrigues(np.array([0.0, 0.0, np.radians(degrees)]))[0]
    return cv2.Rodrigues(upright @ turn)[0].ravel()


class Studio:
    """One dressed avatar, ready to be drawn from all sides.

    Parameters
    ----------
    spec, rest:
        Who it is, and the baked body of its phenotype.
    rotations:
        (J, 3) rotation vectors of the pose; the first is replaced by the view. Standing at ease where ``None``.
    """

    def __init__(self, spec: AvatarSpec, rest: RestBody, rotations: np.ndarray | None = None) -> None:
        self.rest = rest
        self.renderer = FigureRenderer(
            dress(spec, rest), len(rest.bone_names), edge_samples=8, shadow_rays=6, occlusion_rays=24
        )
        self._pose = stance() if rotations is None else rotations

    def figure(self, degrees: float, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 3) float32 linear picture of the whole figure; ``size`` is (width, height)."""
        transforms = self._transforms(degrees)
        vertices = self.renderer.figure.skin(transforms)
        middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        return self._draw(transforms, middle, self.rest.height * 1.10, size)

    def detail(self, what: Detail, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 3) float32 linear picture of a close-up; ``size`` is (width, height)."""
        transforms = self._transforms(what.turn)
        places = []
        for name in what.bones:
            bone = self.rest.bone(name)
            places.append(transforms[bone, :3, :3] @ self.rest.bone_heads[bone] + transforms[bone, :3, 3])
        middle = np.mean(places, axis=0) + np.array([*what.shift, 0.0])
        return self._draw(transforms, middle, what.height, size)

    def _transforms(self, degrees: float) -> np.ndarray:
        rotations = self._pose.copy()[None]
        rotations[0, 0] = facing_camera(degrees)
        return np.array(bone_transforms(self.rest, rotations, np.zeros((1, 3)))[0])

    def _draw(self, transforms: np.ndarray, middle: np.ndarray, height: float, size: tuple[int, int]) -> np.ndarray:
        """Draw at twice the size and scale down."""
        large = size[0] * 2, size[1] * 2
        distance = max(DISTANCE * height, NEAREST)
        focal = distance / height * large[1]
        intrinsics = np.array([[focal, 0, (large[0] - 1) / 2], [0, focal, (large[1] - 1) / 2], [0, 0, 1.0]])
        moved = transforms.copy()
        moved[:, :3, 3] += np.array([0.0, 0.0, distance]) - middle
        layer = self.renderer.render(
            self.renderer.figure.pose(moved),
            np.zeros((len(self.renderer.character.vertices), 2), np.float32),
            View(intrinsics, np.eye(3), large),
            STUDIO,
        )
        fade = np.linspace(1.12, 0.82, large[1], dtype=np.float32)[:, None, None]
        alpha = layer.alpha[..., None]
        picture = alpha * layer.color + (1 - alpha) * (BACKGROUND * fade)
        return cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def thumbnail(spec: AvatarSpec, bodies: AnnyBody) -> np.ndarray:
    """(384, 384, 3) uint8 RGB: the avatar from the front and turned, side by side."""
    studio = Studio(spec, bodies.rest(spec.phenotype.model_dump()))
    return srgb_from_linear(np.concatenate([studio.figure(turn, (192, 384)) for turn in THUMBNAIL_TURNS], axis=1))


def contact_sheet(spec: AvatarSpec, bodies: AnnyBody) -> np.ndarray:
    """(SHEET_HEIGHT, W, 3) uint8 RGB: front, side and back, then close-ups of the head (twice), a hand and the feet."""
    studio = Studio(spec, bodies.rest(spec.phenotype.model_dump()))
    columns = [studio.figure(turn, (FIGURE_WIDTH, SHEET_HEIGHT)) for turn in (FRONT, SIDE, BACK)]
    close = [studio.detail(what, (DETAIL_WIDTH, SHEET_HEIGHT // 2)) for what in DETAILS]
    columns += [np.concatenate(close[start : start + 2]) for start in range(0, len(close), 2)]
    return srgb_from_linear(np.concatenate(columns, axis=1))
