"""Camera motion from the scene around the person, and the smooth path of a virtual camera.

Points off the person are followed from frame to frame by pyramidal Lucas-Kanade (Bouguet 2000) and kept only where the
way back leads to where they came from (Kalal et al., "Forward-Backward Error", ICPR 2010). One similarity a pair of
frames is fitted: RANSAC finds what most points agree on, iteratively reweighted least squares (Tukey) sharpens it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.types import CameraPath
from utils import transforms
from utils.transforms import Similarity

#: Pictures wider or higher than this are tracked at reduced size; the accuracy is far below a pixel anyway.
_MAX_SIDE = 1280
#: Size of the picture in which new points are looked for.
_DETECT_SIDE = 480
#: Fewer agreeing points than this carry no transform.
_MIN_POINTS = 8
_RANSAC_PX = 1.5
#: A camera that strays no more than this, for at least so many frames, stands still; larger steps are no noise.
_STILL_PX = 0.25
_STILL_FRAMES = 30
_STEP_NOISE_PX = 0.02
_FORWARD_BACKWARD_PX = 0.5
_LK_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.005)


class CameraTracker:
    """Measures the camera's motion from frame to frame, streaming.

    Parameters
    ----------
    feature_points:
        Number of points to follow, spread over the frame.

    Attributes
    ----------
    inliers:
        Share of the points that agree with the transform, one entry a pair of frames.
    lost_frames:
        Frames whose motion could not be measured; their transform from the predecessor is the identity.
    """

    def __init__(self, feature_points: int = 200) -> None:
        if feature_points < _MIN_POINTS:
            raise ValueError(f"feature_points {feature_points} must be at least {_MIN_POINTS}")
        self._wanted = feature_points
        self._frame = -1
        self._grey: np.ndarray | None = None
        self._blocked: np.ndarray | None = None
        self._points = np.zeros((0, 2), np.float32)
        self.inliers: list[float] = []
        self.lost_frames: list[int] = []

    def update(self, rgb: np.ndarray, person_mask: np.ndarray | None = None) -> np.ndarray | None:
        """Take the next frame.

        Parameters
        ----------
        rgb:
            (H, W, 3) uint8.
        person_mask:
            (H, W) bool, the chosen person, or None; it is dilated here.

        Returns
        -------
        (3, 3) float64 ``H_next_source`` from the previous frame to this one; None for the first frame.
        """
        self._frame += 1
        height, width = rgb.shape[:2]
        factor = min(1.0, _MAX_SIDE / max(height, width))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if factor < 1.0:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        blocked = _blocked(person_mask, (grey.shape[1], grey.shape[0]))
        H_next_source = None
        if self._grey is not None:
            H, share = self._follow(self._grey, grey, blocked)
            if share == 0.0:
                self.lost_frames.append(self._frame)
            self.inliers.append(share)
            to_small = transforms.scaling(grey.shape[1] / width, grey.shape[0] / height)
            # A lost frame is the identity to the last bit, not the identity through two resizings.
            H_next_source = transforms.compose(transforms.invert(to_small), H, to_small) if share else np.eye(3)
        self._grey, self._blocked = grey, blocked
        if len(self._points) < 0.8 * self._wanted:
            self._points = _spread_points(grey, blocked, self._wanted)
        return H_next_source

    def _follow(self, before: np.ndarray, after: np.ndarray, blocked: np.ndarray | None) -> tuple[np.ndarray, float]:
        """Transform between two grey frames and its inlier share; keeps the points that were followed."""
        start = self._points
        if len(start) < _MIN_POINTS:
            self._points = start[:0]
            return np.eye(3), 0.0
        end, found, _ = cv2.calcOpticalFlowPyrLK(
            before, after, start, None, winSize=(21, 21), maxLevel=4, criteria=_LK_STOP
        )
        back, returned, _ = cv2.calcOpticalFlowPyrLK(
            after,
            before,
            end,
            start.copy(),
            winSize=(21, 21),
            maxLevel=4,
            criteria=_LK_STOP,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        good = (found.ravel() > 0) & (returned.ravel() > 0)
        good &= np.linalg.norm(back - start, axis=-1) < _FORWARD_BACKWARD_PX
        good &= _clear(end, after, blocked)
        start, end = start[good], end[good]
        fit = fit_similarity(start, end)
        if fit is None:
            self._points = start[:0]
            return np.eye(3), 0.0
        # Points that move on their own (other people, leaves) are dropped, so that they do not pile up.
        self._points = end[fit.inliers]
        return fit.matrix, float(fit.inliers.mean())


@dataclass(frozen=True)
class SimilarityFit:
    """A similarity between two point sets."""

    matrix: np.ndarray
    """(3, 3) float64."""
    inliers: np.ndarray
    """(N,) bool, the points that agree."""


def fit_similarity(source: np.ndarray, target: np.ndarray) -> SimilarityFit | None:
    """The similarity that most point pairs agree on.

    Parameters
    ----------
    source, target:
        (N, 2) pixels.

    Returns
    -------
    The fit, or None where fewer than 8 points agree.
    """
    if len(source) < _MIN_POINTS:
        return None
    rough, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_RANSAC_PX, maxIters=1000, confidence=0.999
    )
    if rough is None or np.count_nonzero(inliers) < _MIN_POINTS:
        return None
    # A similarity is one complex factor and one complex shift: z' = a z + b.
    z = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    w = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    a, b = complex(rough[0, 0], rough[1, 0]), complex(rough[0, 2], rough[1, 2])
    for _ in range(6):
        distance = np.abs(a * z + b - w)
        close = distance < 2 * _RANSAC_PX
        if np.count_nonzero(close) < _MIN_POINTS:
            return None
        # 1.48 MAD is the standard deviation; the floor keeps perfect synthetic data from dividing by zero.
        reach = 4.685 * max(1.48 * float(np.median(distance[close])), 0.01)
        weight = np.square(np.clip(1 - np.square(distance / reach), 0, None))
        total = weight.sum()
        z0, w0 = (weight * z).sum() / total, (weight * w).sum() / total
        a = (weight * np.conj(z - z0) * (w - w0)).sum() / (weight * np.abs(z - z0) ** 2).sum()
        b = w0 - a * z0
    inlier = np.abs(a * z + b - w) < _RANSAC_PX
    if np.count_nonzero(inlier) < _MIN_POINTS:
        return None
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0.0, 0.0, 1.0]])
    return SimilarityFit(matrix, inlier)


def camera_path(
    H_next_source: list[np.ndarray] | np.ndarray,
    inliers: list[float] | np.ndarray,
    size: tuple[int, int],
    smoothing_window: int = 30,
) -> CameraPath:
    """The camera's path and the smooth path of the virtual camera that replaces it.

    Parameters
    ----------
    H_next_source:
        (T-1, 3, 3), from :class:`CameraTracker`.
    inliers:
        (T-1,) share of agreeing points.
    size:
        ``(width, height)`` of the frames in pixels.
    smoothing_window:
        Length of the moving average in frames; 1 changes nothing: stabilised pixels are then source pixels.

    Returns
    -------
    The path. Where the camera stands still, the transforms are the identity to the last bit, so nothing is resampled.
    """
    motion = np.asarray(H_next_source, np.float64).reshape(-1, 3, 3)
    motion = _snap_static(motion, size)
    H_frame_first = transforms.chain(motion)
    centre = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    poses = [Similarity.of(H, centre) for H in H_frame_first]
    track = np.array([[p.dx, p.dy, p.angle, p.log_scale] for p in poses])
    track[:, 2] = np.unwrap(track[:, 2])
    smooth = _moving_average(track, smoothing_window)
    H_stable_source = []
    for pose, H, rough in zip(smooth, H_frame_first, track, strict=True):
        still = np.abs(pose - rough).max() < 1e-9
        virtual = Similarity(*pose).matrix(centre)
        H_stable_source.append(np.eye(3) if still else transforms.compose(virtual, transforms.invert(H)))
    return CameraPath(motion, np.stack(H_stable_source), np.asarray(inliers, np.float32))


def _moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """(T, D) moving average over ``window`` frames, symmetric (an even window has half weights at its ends).

    The ends are continued by point reflection, so that a steady pan stays a steady pan up to the last frame.
    """
    if window < 1:
        raise ValueError(f"smoothing window {window} must be at least 1 frame")
    half = window // 2
    kernel = np.ones(2 * half + 1)
    if window % 2 == 0:
        kernel[[0, -1]] = 0.5
    kernel /= kernel.sum()
    padded = np.pad(values, ((half, half), (0, 0)), mode="reflect", reflect_type="odd")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=-1)


def _snap_static(motion: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Make the motion exactly the identity where the camera stands still.

    A stretch counts as still when the chained path never strays further from its start than chance takes it: a
    quarter of a pixel plus three standard deviations of a random walk with the stretch's own step noise. A slow pan grows
    with the frames, a random walk only with their root, so a pan leaves the band and is kept. What little a still stretch
    strayed is made up for at its end, so the path as a whole never drifts.
    """
    result = motion.copy()
    outline = transforms.corners(size)
    start = 0
    while start < len(motion):
        end, strayed = _still_until(motion, start, outline)
        if end - start >= min(_STILL_FRAMES, len(motion)):
            result[start:end] = np.eye(3)
            if end < len(motion):
                result[end] = transforms.compose(motion[end], strayed)
            start = end + 1
        else:
            start += 1
    return result


def _still_until(motion: np.ndarray, start: int, outline: np.ndarray) -> tuple[int, np.ndarray]:
    """End of the still stretch from ``start`` (exclusive), and the transform that chained up until then."""
    H, strayed = np.eye(3), np.eye(3)
    steps: list[float] = []
    for t in range(start, len(motion)):
        H = transforms.compose(motion[t], H)
        steps.append(float(np.linalg.norm(transforms.apply(motion[t], outline) - outline, axis=-1).mean()))
        distance = float(np.linalg.norm(transforms.apply(H, outline) - outline, axis=-1).mean())
        noise = min(float(np.median(steps)), _STEP_NOISE_PX)
        if distance > _STILL_PX + 3 * noise * np.sqrt(len(steps)):
            return t, strayed
        strayed = H
    return len(motion), strayed


def _blocked(person_mask: np.ndarray | None, size: tuple[int, int]) -> np.ndarray | None:
    """(h, w) bool at tracking size: where no point may be. Wide enough that no LK window sees the person."""
    if person_mask is None or not person_mask.any():
        return None
    mask = cv2.resize(person_mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    rows = np.flatnonzero(mask.any(axis=1))
    margin = int(12 + 0.03 * (rows[-1] - rows[0] + 1))
    return cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)).astype(bool)


def _clear(points: np.ndarray, grey: np.ndarray, blocked: np.ndarray | None) -> np.ndarray:
    """(N,) bool: the point is inside the picture and off the person."""
    height, width = grey.shape
    x, y = np.rint(points).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if blocked is not None:
        inside[inside] = ~blocked[y[inside], x[inside]]
    return inside


def _spread_points(grey: np.ndarray, blocked: np.ndarray | None, count: int) -> np.ndarray:
    """(N, 2) float32, up to ``count`` corners (Shi-Tomasi), spread over a grid: the best of each cell come first."""
    factor = min(1.0, _DETECT_SIDE / max(grey.shape))
    small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    height, width = small.shape
    allowed = None
    if blocked is not None:
        allowed = 255 - 255 * cv2.resize(blocked.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    spacing = max(3.0, 0.4 * np.sqrt(width * height / count))
    corners = cv2.goodFeaturesToTrack(small, 4 * count, 0.002, spacing, mask=allowed, blockSize=5)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    corners = corners.reshape(-1, 2)
    side = np.sqrt(width * height / (count / 3))
    cell = (corners[:, 1] // side).astype(int) * 10_000 + (corners[:, 0] // side).astype(int)
    rank = np.zeros(len(corners), int)
    for name in np.unique(cell):
        # The corners come best first, so the running number within the cell is the rank.
        rank[cell == name] = np.arange(np.count_nonzero(cell == name))
    chosen = corners[np.argsort(rank, kind="stable")[:count]]
    full = transforms.apply(transforms.scaling(grey.shape[1] / width, grey.shape[0] / height), chosen)
    return full.astype(np.float32)
