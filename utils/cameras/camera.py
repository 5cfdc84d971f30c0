"""One calibrated camera: from the world to its pixels and back to rays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

#: Numbers of distortion coefficients that OpenCV's model knows.
DISTORTION_LENGTHS = (4, 5, 8, 12, 14)
#: Points nearer to the camera's plane than this are not projected, metres.
NEAR = 1e-3
#: A ray that lands further from its pixel than this was not found by the undistortion, pixels.
_ROUND_TRIP = 0.5


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with OpenCV's lens distortion, fixed in the world."""

    name: str
    """As in the calibration file."""
    size: tuple[int, int] | None
    """(width, height) in pixels of the pictures that were calibrated; ``None`` where the file does not tell."""
    K: np.ndarray
    """(3, 3) float64, pixels, origin at the centre of the top-left pixel."""
    distortion: np.ndarray
    """(4, 5, 8, 12 or 14,) float64, OpenCV's order: k1, k2, p1, p2, k3, ..."""
    T_camera_world: np.ndarray
    """(4, 4) float64, metres: world points to camera points (x right, y down, z forward)."""

    def __post_init__(self) -> None:
        if self.K.shape != (3, 3) or self.T_camera_world.shape != (4, 4):
            raise ValueError(f"K {self.K.shape} and T_camera_world {self.T_camera_world.shape} must be 3x3 and 4x4")
        if self.distortion.shape not in {(n,) for n in DISTORTION_LENGTHS}:
            raise ValueError(f"distortion has shape {self.distortion.shape}; OpenCV knows {DISTORTION_LENGTHS} terms")
        R = self.T_camera_world[:3, :3]
        if not np.allclose(R @ R.T, np.eye(3), atol=1e-4) or np.linalg.det(R) < 0:
            raise ValueError("the upper left of T_camera_world is not a rotation")
        if not np.allclose(self.K[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]], (0, 0, 0, 0, 1)):
            raise ValueError("K holds skew or a last row other than 0, 0, 1, which OpenCV's model does not have")
        if min(self.K[0, 0], self.K[1, 1]) <= 0:
            raise ValueError(f"focal lengths {self.K[0, 0]:g}, {self.K[1, 1]:g} must be positive")

    @property
    def focal(self) -> float:
        """Mean focal length in pixels."""
        return float(self.K[0, 0] + self.K[1, 1]) / 2

    @property
    def centre(self) -> np.ndarray:
        """(3,) metres: where the camera is in the world."""
        return -self.T_camera_world[:3, :3].T @ self.T_camera_world[:3, 3]

    @property
    def longest_side(self) -> float:
        """Longest side of the picture in pixels, from the principal point where the size is not known."""
        return float(max(self.size)) if self.size else float(2 * self.K[:2, 2].max())

    def to_camera(self, world: np.ndarray) -> np.ndarray:
        """(..., 3) metres, camera axes, of world points (..., 3)."""
        return world @ self.T_camera_world[:3, :3].T + self.T_camera_world[:3, 3]

    def project(self, world: np.ndarray) -> np.ndarray:
        """Where world points are seen.

        ``world`` is (..., 3) metres; returns (..., 2) float64 pixels, distortion included. NaN for points that are NaN
        or not in front of the camera.
        """
        points = self.to_camera(np.asarray(world, np.float64)).reshape(-1, 3)
        pixels = np.full((len(points), 2), np.nan)
        seen = np.isfinite(points).all(axis=1) & (np.nan_to_num(points[:, 2]) > NEAR)
        if seen.any():
            zero = np.zeros(3)
            pixels[seen] = cv2.projectPoints(points[seen], zero, zero, self.K, self.distortion)[0][:, 0]
        return pixels.reshape(*world.shape[:-1], 2)

    def normalized(self, pixels: np.ndarray) -> np.ndarray:
        """Directions of pixels, the distortion undone.

        ``pixels`` is (..., 2); returns (..., 2) float64: x/z and y/z in camera axes. NaN for pixels that are NaN, and
        for those so far outside that the distortion cannot be undone there.
        """
        flat = np.asarray(pixels, np.float64).reshape(-1, 2)
        rays = np.full(flat.shape, np.nan)
        known = np.isfinite(flat).all(axis=1)
        if known.any():
            stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-12)
            found = cv2.undistortPointsIter(flat[known][:, None], self.K, self.distortion, None, None, stop)[:, 0]
            points = np.column_stack([found, np.ones(len(found))])
            zero = np.zeros(3)
            again = cv2.projectPoints(points, zero, zero, self.K, self.distortion)[0][:, 0]
            near = np.linalg.norm(again - flat[known], axis=1) < _ROUND_TRIP
            rays[known] = np.where(near[:, None], found, np.nan)
        return rays.reshape(pixels.shape)

    def moved(self, H_new_old: np.ndarray, size: tuple[int, int]) -> Camera:
        """The camera whose pictures were scaled and shifted.

        ``H_new_old`` (3, 3) takes its pixels to those of pictures of ``size`` (width, height); it may scale along the
        axes and shift. Raises ``ValueError`` for any other transform.
        """
        H = np.asarray(H_new_old, np.float64) / H_new_old[2, 2]
        if max(abs(H[0, 1]), abs(H[1, 0]), *np.abs(H[2, :2])) > 1e-9 or min(H[0, 0], H[1, 1]) <= 0:
            raise ValueError("pictures may be scaled and shifted, not turned or bent")
        return replace(self, K=H @ self.K, size=size)

    def with_principal_point(self, x: float, y: float) -> Camera:
        """The camera with another principal point, pixels."""
        K = self.K.copy()
        K[:2, 2] = x, y
        return replace(self, K=K)


def pose(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(4, 4) float64 transform from a rotation matrix (3, 3) or vector (3,) in radians and a translation (3,)."""
    T = np.eye(4)
    rotation = np.asarray(rotation, np.float64)
    T[:3, :3] = cv2.Rodrigues(rotation.reshape(3))[0] if rotation.size == 3 else rotation.reshape(3, 3)
    T[:3, 3] = np.asarray(translation, np.float64).reshape(3)
    return T
