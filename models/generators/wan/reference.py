"""The picture of the person to become: the user's own, or a portrait of the chosen avatar."""

from __future__ import annotations

import numpy as np

from core.types import BodyParams, GenerationRequest, ShotLook
from models.generators.base import EngineOptions, LoadProgress
from models.generators.reference_picture import GREY

#: Size of the avatar's portrait, pixels.
PORTRAIT = (576, 1024)
#: Turns of the joints against the rest pose, radians: arms lowered, elbows a little bent.
STANCE = {
    "left_shoulder": (0.0, 0.52, 0.0),
    "right_shoulder": (0.0, -0.52, 0.0),
    "left_elbow": (0.30, 0.03, 0.26),
    "right_elbow": (0.30, -0.03, -0.26),
}
#: Share of the picture's height that the figure fills, and the focal length in picture heights.
FILL, FOCAL = 0.9, 3.2


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture as large as it goes in a black one of ``size`` (width, height): how the network was shown references."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.pad(Image.fromarray(picture), size, Image.Resampling.LANCZOS, color=(0, 0, 0)))


def avatar_portrait(avatar: str, progress: LoadProgress | None = None) -> np.ndarray:
    """(H, W, 3) uint8: an avatar from the front, standing, in even light, on grey.

    Raises
    ------
    InputError
        There is no such avatar.
    ModelUnavailable
        The body model is missing.
    """
    from models.body.anny_body import AnnyBody
    from models.body.base import JOINT_NAMES
    from models.body.wardrobe import load_avatar
    from models.generators.avatar import AvatarGenerator

    width, height = PORTRAIT
    rest = AnnyBody().rest(load_avatar(avatar).phenotype.model_dump())
    rotations = np.zeros((1, len(JOINT_NAMES), 3), np.float32)
    # A quarter turn about x takes z up to y down, and the face towards the camera.
    rotations[0, 0] = (np.pi / 2, 0, 0)
    for name, turn in STANCE.items():
        rotations[0, JOINT_NAMES.index(name)] = turn
    focal = FOCAL * height
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    low, high = rest.vertices[:, 2].min(), rest.vertices[:, 2].max()
    root = rest.bone_heads[rest.joint_bones[0]]
    place = np.array([[0, root[2] * -1 + (low + high) / 2, FOCAL * (high - low) / FILL]], np.float32)
    body = BodyParams(
        rest.model,
        dict(rest.shape),
        JOINT_NAMES,
        rotations,
        place,
        intrinsics,
        np.zeros((1, 33, 3), np.float32),
        np.ones(1, bool),
    )
    blank = np.full((1, height, width, 3), GREY, np.uint8)
    request = GenerationRequest(
        0,
        blank,
        np.zeros((1, height, width), bool),
        np.eye(3)[None],
        seed=0,
        body=body,
        motion_body=body.at(np.zeros(3, int)),
        shot=_studio(),
    )
    engine = AvatarGenerator(EngineOptions(avatar=avatar))
    engine.load(progress)
    result = engine.generate(request)
    alpha = result.alpha[0, ..., None]
    return np.rint(alpha * result.frames[0] + (1 - alpha) * blank[0]).astype(np.uint8)


def _studio() -> ShotLook:
    """Soft light from the upper left in front."""
    light = np.array([-0.45, -0.62, -0.64], np.float32)
    return ShotLook(
        light_direction=light / np.linalg.norm(light),
        light=np.full(3, 0.92, np.float32),
        sky=np.full(3, 0.44, np.float32),
        ground=np.full(3, 0.21, np.float32),
        haze=np.zeros(3, np.float32),
        exposure=1.0,
        softness=0.6,
        grain=0.0,
        blur=0.0,
    )
