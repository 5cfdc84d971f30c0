"""A camera that circles a fitted body and keeps it in the middle of the picture, on a ground that stands still.

The camera stays level and looks down by a shift of its lens, as architects' cameras do: upright lines stay upright, and the
shadow on the ground is found as in any shot.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from core.errors import InputError
from core.types import BodyParams, ShotLook
from models.body.base import RestBody
from models.body.ground_shadow import Footing
from models.body.mesh.ground import find_ground
from models.body.mesh_rendering import EDGE_SAMPLES, GREY, MeshRenderer
from models.body.shading import UP

#: Focal length in picture heights.
FOCAL = 1.6
#: Share of the picture's height and width that the body may fill.
FILL = 0.94
#: From the outermost landmarks to the skin beyond them, metres.
BEYOND_LANDMARKS = 0.13
#: How far the camera stands above the body's highest point, metres.
LOOK_DOWN = 0.5
#: Standard deviation in time with which the camera's aim follows the body, seconds.
FOLLOW = 0.4
#: Distance of the lines on the ground and how far they reach, metres; levels by which ground and lines are brighter than grey.
GRID, GRID_REACH = 0.5, 3.0
GROUND_LEVELS, LINE_LEVELS = 10.0, 22.0
#: Landmarks of the shoulders and ankles; cosine to the vertical above which people are upright.
_SHOULDERS, _ANKLES, _UPRIGHT = [11, 12], [27, 28], 0.8
#: Fraction bits of the end points of lines.
_BITS = 6


class Turntable:
    """Pictures of a fitted body from all around.

    Light and ground belong to the place and not to the camera: both stay where they are while the camera goes round.

    Parameters
    ----------
    rest, params:
        The fitted body. For one pose give ``params.window(t, t + 1)``.
    size:
        (width, height) of the pictures in pixels.
    look:
        The light, in the axes of the source camera.
    rate:
        Frames per second of ``params``.
    up:
        (3,) unit vector, axes of the source camera: against gravity, where that is known; else the camera is taken to be
        level.
    device, albedo, edge_samples:
        See :class:`MeshRenderer`.

    Raises
    ------
    core.errors.InputError
        No frame of ``params`` is valid.
    """

    def __init__(
        self,
        rest: RestBody,
        params: BodyParams,
        size: tuple[int, int],
        look: ShotLook,
        rate: float,
        *,
        up: np.ndarray | None = None,
        device: str = "auto",
        albedo: np.ndarray | None = None,
        edge_samples: int = EDGE_SAMPLES,
    ) -> None:
        if not params.valid.any():
            raise InputError("The clip has no frame with a fitted body.", "Choose a clip in which the person is seen.")
        if up is not None:
            params, look = levelled(params, look, up)
        self.size, self.look, self._params = size, look, params
        self._ground = find_ground(rest, params, rate)
        self._aim = _followed(params, rate)
        width, height = size
        focal = FOCAL * height
        self._eye, self._distance, middle = self._stand(focal, size)
        intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2 - middle], [0, 0, 1.0]])
        self._renderer = MeshRenderer(
            rest, size, intrinsics, look, device=device, albedo=albedo, edge_samples=edge_samples
        )
        self._grid_reach = min(GRID_REACH, self._distance - 0.3)
        self._falloff = self._ground_falloff()

    def frame(self, t: int, angle: float) -> np.ndarray:
        """The body of frame ``t`` from one side; an empty ground where the body is not valid.

        Parameters
        ----------
        angle:
            Radians; 0 is the source camera's side, and the camera goes round counter-clockwise as seen from above.

        Returns
        -------
        (H, W, 3) uint8.
        """
        R = turned(angle)
        background = self._ground_picture(t, R)
        if not self._params.valid[t]:
            return background
        look = replace(self.look, light_direction=(R @ self.look.light_direction).astype(np.float32))
        footings = tuple(
            Footing(self._seen(footing.point[None], t, R)[0], footing.radius)
            for footing in self._ground.footings(t, self.look)
        )
        vertices = self._seen(self._renderer.vertices(self._params, t), t, R)
        return self._renderer.draw(vertices, footings, look).over(background)

    def _seen(self, points: np.ndarray, t: int, R: np.ndarray) -> np.ndarray:
        """Points (M, 3) in source camera axes as the circling camera has them."""
        x, z = self._aim[t]
        middle = np.array([x, self._ground.height[t] - self._eye, z])
        return ((points - middle) @ R.T + [0, 0, self._distance]).astype(np.float32)

    def _stand(self, focal: float, size: tuple[int, int]) -> tuple[float, float, float]:
        """Height of the camera over the ground, its distance (both metres), and how far below its level the body's middle
        lies in the picture (pixels), so that the body is as large as fits from every side and in every frame."""
        valid = self._params.valid
        points = self._params.keypoints[valid].astype(np.float64)
        beside = np.linalg.norm(points[..., [0, 2]] - self._aim[valid][:, None], axis=-1)
        above = self._ground.height[valid][:, None] - points[..., 1]
        eye = float(above.max()) + LOOK_DOWN
        room = FILL * np.array(size)
        near, far = float(beside.max()) + BEYOND_LANDMARKS, 100.0
        for _ in range(40):
            distance = (near + far) / 2
            low = focal * ((eye - above + BEYOND_LANDMARKS) / (distance - beside)).max()
            high = focal * ((eye - above - BEYOND_LANDMARKS) / (distance + beside)).min()
            across = 2 * focal * ((beside + BEYOND_LANDMARKS) / np.sqrt(distance**2 - beside**2)).max()
            fits = low - high <= room[1] and across <= room[0]
            near, far = (near, distance) if fits else (distance, far)
        return eye, distance, (low + high) / 2

    def _ground_falloff(self) -> np.ndarray:
        """(H, W) float32: 1 on the ground at the body's feet, falling to 0 where the ground ends."""
        width, height = self.size
        K = self._renderer.intrinsics
        across, down = np.meshgrid((np.arange(width) - K[0, 2]) / K[0, 0], (np.arange(height) - K[1, 2]) / K[1, 1])
        depth = self._eye / np.maximum(down, 1e-6)
        distance = np.hypot(across * depth, depth - self._distance)
        near = np.clip(1.0 - distance / self._grid_reach, 0.0, 1.0)
        return (near * near * (3 - 2 * near)).astype(np.float32)

    def _ground_picture(self, t: int, R: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8: grey with a patch of ground and its lines."""
        lines = np.zeros(self.size[::-1], np.uint8)
        ends = self._seen(_grid_lines(self._aim[t], self._ground.height[t], self._grid_reach), t, R)
        pixels = ends @ self._renderer.intrinsics.T
        places = np.rint(pixels[:, :2] / pixels[:, 2:] * (1 << _BITS)).astype(int)
        for start, end in places.reshape(-1, 2, 2):
            cv2.line(lines, tuple(start.tolist()), tuple(end.tolist()), 255, 1, cv2.LINE_AA, _BITS)
        bright = GROUND_LEVELS + LINE_LEVELS / 255.0 * lines.astype(np.float32)
        levels = np.rint(GREY + bright * self._falloff).astype(np.uint8)
        return np.repeat(levels[..., None], 3, axis=2)


def turned(angle: float) -> np.ndarray:
    """(3, 3) float64: axes of the source camera -> axes of one that has gone round by ``angle`` about the vertical."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def levelled(params: BodyParams, look: ShotLook, up: np.ndarray) -> tuple[BodyParams, ShotLook]:
    """Body and light as a level camera at the same place has them, which looks the same way otherwise.

    ``up`` (3,) unit vector, axes of the source camera.
    """
    R_level_camera = Rotation.align_vectors([UP], [up])[0]
    root = R_level_camera * Rotation.from_rotvec(params.rotations[:, 0])
    rotations = params.rotations.copy()
    rotations[:, 0] = root.as_rotvec()
    matrix = R_level_camera.as_matrix().astype(np.float32)
    turned_params = replace(
        params,
        rotations=rotations,
        translation=params.translation @ matrix.T,
        keypoints=params.keypoints @ matrix.T,
    )
    return turned_params, replace(look, light_direction=matrix @ look.light_direction)


def upright_axis(params: BodyParams, R_camera_world: np.ndarray) -> np.ndarray | None:
    """(3,) unit vector against gravity in camera axes, by a calibration whose floor lies along two of its world's axes.

    The axis counts that people mostly have along their bodies; ``None`` where none comes near that, as in a clip of
    somebody who lies on the ground.
    """
    points = params.keypoints[params.valid].astype(np.float64)
    along = np.median(points[:, _SHOULDERS].mean(1) - points[:, _ANKLES].mean(1), axis=0)
    axes = np.concatenate([R_camera_world.T, -R_camera_world.T])
    likeness = axes @ along / max(np.linalg.norm(along), 1e-9)
    best = int(likeness.argmax())
    return axes[best] if likeness[best] > _UPRIGHT else None


def _followed(params: BodyParams, rate: float) -> np.ndarray:
    """(T, 2) float64: x and z of the root, smoothed in time, carried on where there is no body."""
    known = np.flatnonzero(params.valid)
    every = np.arange(len(params))
    path = np.stack([np.interp(every, known, params.translation[known, axis]) for axis in (0, 2)], axis=1)
    reach = min(round(4 * FOLLOW * rate), len(path) - 1)
    # Carried on beyond the ends of the clip as it came, so that the camera does not lag behind there.
    longer = np.pad(path, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    return gaussian_filter1d(longer, FOLLOW * rate, axis=0, mode="nearest")[reach : reach + len(path)]


def _grid_lines(middle: np.ndarray, height: float, reach: float) -> np.ndarray:
    """(2 L, 3) float64, metres: start and end in turn of the lines on the ground within ``reach`` of the (2,) ``middle``."""
    ends = []
    for across in (0, 1):
        first, last = np.ceil((middle[across] - reach) / GRID), np.floor((middle[across] + reach) / GRID)
        for place in GRID * np.arange(first, last + 1):
            half = np.sqrt(max(reach**2 - (place - middle[across]) ** 2, 0.0))
            for side in (-half, half):
                point = np.array([0.0, height, 0.0])
                point[[0, 2][across]], point[[2, 0][across]] = place, middle[1 - across] + side
                ends.append(point)
    return np.array(ends)
