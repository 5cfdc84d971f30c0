"""Scenes with a known body and a known camera, drawn over the empty background of a real clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from benchmarks.truth.motions import MOTIONS, Motion, motion_of
from core.types import CameraPath, ShotLook
from models.body.anny_body import AnnyBody, cache_folder
from models.body.articulation import bone_transforms, landmark_positions, rotation_matrices
from models.body.base import RestBody
from models.body.pose_init import rotation_vectors
from models.body.renderer import FigureRenderer, View
from models.body.wardrobe import dress, load_avatar
from utils.photometry import srgb_from_linear
from utils.video_io import VideoReader
from utils.video_probe import probe
from utils.video_writer import VideoWriter

SIZE = (960, 540)
RATE = Fraction(30)
#: Focal length in parts of the width. The fit takes 0.9 where it is not told.
FOCAL = 1.15
#: Size of the background, pixels of the clip: wider than the picture, so that the camera can pan.
BACKGROUND_SIZE = (1768, 994)
#: Where the middle of the path lies on the ground, world axes: x right, y down, z forward, the camera at the origin.
MIDDLE = np.array([0.0, 1.1, 5.5])
#: World axes (x right, y down, z forward) from model axes (z up).
WORLD_FROM_MODEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
#: Bodies by the avatars that wear them: a slim woman, a broad man, a short slim man.
SHAPES = ("maya", "omar", "kenji")
#: Motions and cameras; each is filmed with every shape.
SHOTS = (
    ("walk", "fixed"),
    ("walk", "panning"),
    ("turn", "fixed"),
    ("turn", "panning"),
    ("arms", "fixed"),
    ("crouch", "panning"),
)
_LOOK = ShotLook(
    light_direction=np.array([-0.5, -0.7, -0.5], np.float32) / np.float32(np.linalg.norm([0.5, 0.7, 0.5])),
    light=np.full(3, 0.9, np.float32),
    sky=np.full(3, 0.5, np.float32),
    ground=np.full(3, 0.25, np.float32),
    haze=np.zeros(3, np.float32),
    exposure=0.9,
    softness=0.5,
    grain=1.5,
    blur=0.6,
)


@dataclass(frozen=True)
class Scene:
    """What is filmed."""

    shape: str
    """One of ``SHAPES``, or any avatar."""
    motion: str
    """One of ``MOTIONS``."""
    camera: str
    """``fixed`` or ``panning``."""

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.motion}-{self.camera}-{self.shape}"


@dataclass(frozen=True)
class Truth:
    """All that is known of a scene."""

    rest: RestBody
    """The body in the picture."""
    rotations: np.ndarray
    """(T, J, 3) radians, as in ``BodyParams``."""
    translation: np.ndarray
    """(T, 3) metres, camera axes."""
    landmarks: np.ndarray
    """(T, 33, 3) metres, camera axes."""
    standing: np.ndarray
    """(T-1, 4) bool: which of left heel, left toe, right heel, right toe rest to the next frame."""
    intrinsics: np.ndarray
    """(3, 3) pixels."""
    R_camera_world: np.ndarray
    """(T, 3, 3): the camera turns and stays in its place."""

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def H_next_source(self) -> np.ndarray:
        """(T-1, 3, 3): motion of the background in the picture."""
        turn = self.R_camera_world[1:] @ self.R_camera_world[:-1].transpose(0, 2, 1)
        return self.intrinsics @ turn @ np.linalg.inv(self.intrinsics)

    @property
    def camera(self) -> CameraPath:
        """The true camera as the fit takes it."""
        stable = np.tile(np.eye(3), (len(self), 1, 1))
        return CameraPath(self.H_next_source, stable, np.ones(max(len(self) - 1, 0), np.float32))

    @property
    def pixels(self) -> np.ndarray:
        """(T, 33, 2) landmarks in the picture."""
        points = self.landmarks @ self.intrinsics.T
        return points[..., :2] / points[..., 2:]


def _camera_turns(kind: str, place: np.ndarray, travels: bool) -> np.ndarray:
    """(T, 3, 3) world axes -> camera axes of a ``kind`` of camera that films a root at ``place`` (T, 3)."""
    if kind == "fixed":
        return np.tile(np.eye(3), (len(place), 1, 1))
    if kind != "panning":
        raise KeyError(kind)
    if travels:
        angle = 0.8 * gaussian_filter1d(np.arctan2(place[:, 0], place[:, 2]), 6.0, mode="nearest")
    else:
        angle = np.radians(7.0) * np.sin(np.linspace(-1.2, 1.8, len(place)))
    tilt = rotation_matrices(np.array([np.radians(1.5), 0, 0]))
    return tilt @ rotation_matrices(-angle[:, None] * np.array([0.0, 1.0, 0.0]))


def truth_of(scene: Scene, frames: int) -> Truth:
    """The scene's body, motion and camera; ``KeyError`` for an unknown motion or camera."""
    if scene.motion not in MOTIONS:
        raise KeyError(scene.motion)
    rest = AnnyBody().rest(load_avatar(scene.shape).phenotype.model_dump())
    return film(motion_of(scene.motion, rest, frames, float(RATE)), rest, scene)


def film(motion: Motion, rest: RestBody, scene: Scene) -> Truth:
    """Put a motion in front of the scene's camera."""
    place = motion.place @ WORLD_FROM_MODEL.T + MIDDLE
    turns = _camera_turns(scene.camera, place, scene.motion == "walk")
    root = turns @ WORLD_FROM_MODEL @ rotation_matrices(motion.vectors[:, 0])
    rotations = motion.vectors.copy()
    rotations[:, 0] = rotation_vectors(root)
    translation = np.einsum("tij,tj->ti", turns, place)
    landmarks = landmark_positions(rest, bone_transforms(rest, rotations, translation)).astype(np.float64)
    width, height = SIZE
    focal = FOCAL * width
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Truth(rest, rotations, translation, landmarks, motion.standing, intrinsics, turns)


def empty_background(clip: Path, samples: int = 25) -> np.ndarray:
    """(H, W, 3) uint8 of ``BACKGROUND_SIZE``: what is left of a clip with a still camera when its people have moved on.

    The median over time. Raises what opening a clip raises (``core.errors.InputError``).
    """
    info = probe(clip)
    with VideoReader(info) as reader:
        chosen = np.linspace(0, info.frame_count - 1, min(samples, info.frame_count)).round().astype(int)
        median = np.median([rgb for _, rgb in reader.at(np.unique(chosen).tolist())], axis=0).astype(np.uint8)
    return cv2.resize(median, BACKGROUND_SIZE, interpolation=cv2.INTER_CUBIC)


def _seen_background(background: np.ndarray, truth: Truth, frame: int) -> np.ndarray:
    """(H, W, 3) uint8: the far background as the camera sees it; mirrored beyond its edges."""
    width, height = BACKGROUND_SIZE
    K_background = truth.intrinsics.copy()
    K_background[:2, 2] = (width - 1) / 2, (height - 1) / 2
    H_background_source = K_background @ truth.R_camera_world[frame].T @ np.linalg.inv(truth.intrinsics)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(background, H_background_source, SIZE, flags=flags, borderMode=cv2.BORDER_REFLECT)


def pictures(scene: Scene, truth: Truth, background: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB, frame by frame: the dressed body over the background, with lens blur and grain."""
    character = dress(load_avatar(scene.shape), truth.rest, cache_folder() / "characters")
    renderer = FigureRenderer(character, len(truth.rest.bone_names), 4, 1, 0)
    still = np.zeros((len(character.vertices), 2), np.float32)
    view = View(truth.intrinsics, np.eye(3), SIZE)
    noise = np.random.default_rng(seed)
    transforms = bone_transforms(truth.rest, truth.rotations, truth.translation)
    for frame, transform in enumerate(transforms):
        layer = renderer.render(renderer.figure.pose(transform), still, view, _LOOK)
        alpha = layer.alpha[..., None]
        body = srgb_from_linear(layer.color).astype(np.float32)
        mixed = alpha * body + (1 - alpha) * _seen_background(background, truth, frame)
        mixed = cv2.GaussianBlur(mixed, (0, 0), _LOOK.blur)
        mixed += noise.normal(0, _LOOK.grain, (*mixed.shape[:2], 1)).astype(np.float32)
        yield np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def write_clip(path: Path, scene: Scene, truth: Truth, background: np.ndarray) -> None:
    """The scene as an MP4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, SIZE, RATE) as video:
        for rgb in pictures(scene, truth, background):
            video.write(rgb)
