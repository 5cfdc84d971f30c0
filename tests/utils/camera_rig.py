"""A ring of cameras with known lenses around somebody who moves, for tests."""

from __future__ import annotations

import numpy as np

from core.types import LANDMARK_NAMES
from utils.cameras.camera import Camera, pose

SIZE = (1280, 720)
LENS = np.array([-0.12, 0.05, 0.001, -0.0015, 0.01])


def ring(count: int = 4, *, centre_offset: tuple[float, float] = (0, 0), lens: np.ndarray = LENS) -> list[Camera]:
    """Cameras four metres from the middle, eye height, z up; their principal points differ a little."""
    cameras = []
    for index in range(count):
        angle = 2 * np.pi * index / count + 0.3
        place = np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.6 + 0.2 * index])
        forward = np.array([0, 0, 1.0]) - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        cx, cy = 640 + 5 * index + centre_offset[0], 355 - 3 * index + centre_offset[1]
        K = np.array([[900.0 + 10 * index, 0, cx], [0, 905.0, cy], [0, 0, 1]])
        cameras.append(Camera(f"cam{index + 1:02d}", SIZE, K, lens, pose(R, -R @ place)))
    return cameras


def walker(times: np.ndarray) -> np.ndarray:
    """(T, 33, 3) metres: the landmarks of somebody who walks about and swings arms and legs; z up, soles on the ground."""
    height = {"nose": 1.6, "eye": 1.65, "ear": 1.63, "mouth": 1.55, "shoulder": 1.4, "elbow": 1.15, "wrist": 0.95}
    height |= {"pinky": 0.88, "index": 0.87, "thumb": 0.9, "hip": 0.95, "knee": 0.5, "ankle": 0.1, "heel": 0.03}
    height |= {"foot": 0.02}
    width = {
        "nose": 0.0,
        "eye": 0.03,
        "ear": 0.08,
        "mouth": 0.03,
        "hip": 0.13,
        "knee": 0.12,
        "ankle": 0.12,
        "heel": 0.12,
    }
    points = np.zeros((len(times), len(LANDMARK_NAMES), 3))
    for index, name in enumerate(LANDMARK_NAMES):
        part = next(part for part in name.split("_") if part in height)
        side = 1 if "left" in name else -1 if "right" in name else 0
        swing = side * np.sin(2 * np.pi * times) * (1.4 - height[part] if height[part] < 1.4 else 0) * 0.5
        points[:, index, 0] = side * width.get(part, 0.2)
        points[:, index, 1] = swing + 0.3 * np.sin(1.3 * times)
        points[:, index, 2] = height[part] + 0.03 * np.sin(4 * np.pi * times)
    points[..., 0] += 0.4 * np.sin(0.9 * times)[:, None]
    return points


def seen_by(cameras: list[Camera], world: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(V, T, N, 2) pixels, with normal noise of ``noise`` pixels."""
    pixels = np.stack([camera.project(world) for camera in cameras])
    return pixels + noise * np.random.default_rng(seed).standard_normal(pixels.shape)
