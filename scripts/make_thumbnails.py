"""Draw every avatar's thumbnail, front and three-quarter, in a neutral studio light.

Usage: python scripts/make_thumbnails.py [NAME ...]

Writes assets/avatars/NAME.png (384 x 384, two views side by side, at most 60 KB) with the project's own renderer. Run it
after changing an avatar's file or the wardrobe.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.types import ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.renderer import FigureRenderer, View
from models.body.wardrobe import AVATAR_FOLDER, AvatarSpec, dress, list_avatars, load_avatar
from utils.photometry import srgb_from_linear

WIDTH, HEIGHT, ENLARGE = 192, 384, 2
MAX_BYTES = 60_000
BACKGROUND = np.array([0.30, 0.31, 0.33], np.float32)
#: Degrees by which the figure is turned in the two views.
TURNS = (0.0, -38.0)
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


def draw(renderer: FigureRenderer, rest: RestBody, degrees: float) -> np.ndarray:
    """(H, W, 3) float32 linear picture of the figure on the studio's background."""
    size = WIDTH * ENLARGE, HEIGHT * ENLARGE
    rotations = stance()[None]
    rotations[0, 0] = facing_camera(degrees)
    focal = 3.2 * size[1]
    distance = focal * (rest.height * 1.10) / size[1]
    intrinsics = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1.0]])
    transforms = bone_transforms(rest, rotations, np.zeros((1, 3)))[0]
    vertices = renderer.figure.skin(transforms)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    transforms[:, :3, 3] += np.array([0.0, 0.0, distance]) - middle
    layer = renderer.render(
        renderer.figure.pose(transforms),
        np.zeros((len(vertices), 2), np.float32),
        View(intrinsics, np.eye(3), size),
        STUDIO,
    )
    fade = np.linspace(1.12, 0.82, size[1], dtype=np.float32)[:, None, None]
    alpha = layer.alpha[..., None]
    return alpha * layer.color + (1 - alpha) * (BACKGROUND * fade)


def thumbnail(spec: AvatarSpec, bodies: AnnyBody) -> np.ndarray:
    """(H, 2 W, 3) uint8 RGB: the avatar from the front and turned."""
    rest = bodies.rest(spec.phenotype.model_dump())
    renderer = FigureRenderer(dress(spec, rest), len(rest.bone_names), edge_samples=8, shadow_rays=6, occlusion_rays=24)
    views = [cv2.resize(draw(renderer, rest, turn), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for turn in TURNS]
    return srgb_from_linear(np.concatenate(views, axis=1))


def encode(picture: np.ndarray) -> bytes:
    """PNG of at most ``MAX_BYTES``: fewer shades where it would be larger."""
    for step in (1, 2, 4, 8, 16):
        shades = (picture // step) * step + step // 2
        done, data = cv2.imencode(".png", shades[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        if done and len(data) <= MAX_BYTES:
            return data.tobytes()
    raise RuntimeError(f"the thumbnail does not fit into {MAX_BYTES} bytes")


def main(names: list[str]) -> None:
    """Draw the thumbnails of the avatars ``names``, or of all."""
    bodies = AnnyBody()
    for spec in [load_avatar(name) for name in names] or list_avatars():
        data = encode(thumbnail(spec, bodies))
        (AVATAR_FOLDER / f"{spec.name}.png").write_bytes(data)
        print(f"{spec.name}: {len(data) / 1000:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
