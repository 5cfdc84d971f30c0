"""When feet stand on the ground, and holding them there in engines that draw pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from scipy.ndimage import median_filter

from core.types import LANDMARK_NAMES, CameraPath, FootContacts
from utils import transforms

_ANKLES, _HEELS, _TOES, _KNEES = (
    np.array([LANDMARK_NAMES.index(f"{side}_{part}") for side in ("left", "right")])
    for part in ("ankle", "heel", "foot_index", "knee")
)


# --- contacts -------------------------------------------------------------------------------------------------------


def detect_contacts(
    landmarks: np.ndarray,
    camera: CameraPath,
    *,
    height_px: float,
    frame_height: int,
    rate: float,
    present: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    speed_limit: float = 5.0,
) -> FootContacts:
    """Find the frames in which each foot stands.

    A foot stands when its slowest part (ankle, heel or toe: a rolling foot always rests on one of them) hardly moves
    against the scene and the foot is low for the gait: not far above where it, or the other foot, stands around that
    time. Two thresholds (hysteresis) and closing of short gaps keep the contacts from flickering.

    Parameters
    ----------
    landmarks:
        (T, 33, >=2) float, cleaned landmarks, x and y in source pixels; NaN where the person is absent.
    camera:
        Motion of the camera, which is taken out of the feet's motion.
    height_px:
        Height of the person in pixels.
    frame_height:
        Height of the frame in pixels: speeds are scaled to 720.
    rate:
        Frames per second: speeds are scaled to 30.
    present:
        (T,) bool, frames in which the person is there; where the landmarks are finite if ``None``.
    weight:
        (T, 33) float, trust in the landmarks, 0..1; a foot whose ankle has less than 0.1 gives no contact.
    speed_limit:
        A slower foot may begin a contact, px/frame at 720p and 30 frames per second.

    Returns
    -------
    Contacts and ankle speeds, both (T, 2), left and right.
    """
    count = len(landmarks)
    points = landmarks[..., :2].astype(np.float64)
    here = np.isfinite(points).all(axis=(1, 2)) if present is None else present
    scale = 720 / frame_height * rate / 30
    speeds = {name: _scene_speed(points[:, index], camera, here, rate) * scale for name, index in _PARTS.items()}
    slowest = np.minimum(np.minimum(speeds["ankle"], speeds["heel"]), speeds["toe"])
    # Toes of landmark trackers are noisy: a slow part only counts while the ankle is not on its way.
    slowest = np.maximum(slowest, speeds["ankle"] / 3)
    raised = _height_above_ground(points, here, rate) / max(height_px, 1.0)
    contact = np.zeros((count, 2), bool)
    for foot in range(2):
        begin = here & (slowest[:, foot] < speed_limit) & (raised[:, foot] < 0.03)
        keep = here & (slowest[:, foot] < 1.3 * speed_limit) & (raised[:, foot] < 0.045)
        if weight is not None:
            keep &= weight[:, _ANKLES[foot]] >= 0.1
        contact[:, foot] = _steady(_hysteresis(begin, keep), here, round(rate * 0.1))
    return FootContacts(contact, np.nan_to_num(speeds["ankle"], nan=0.0, posinf=0.0).astype(np.float32))


_PARTS = {"ankle": _ANKLES, "heel": _HEELS, "toe": _TOES}


def _scene_speed(points: np.ndarray, camera: CameraPath, present: np.ndarray, rate: float) -> np.ndarray:
    """(T, 2) px/frame at which two points move against the scene; infinite where it cannot be known."""
    count = len(points)
    step = np.full((max(count - 1, 0), 2), np.inf)
    if count > 1:
        both = present[:-1] & present[1:]
        carried = transforms.apply(camera.H_next_source[both], points[:-1][both])
        step[both] = np.linalg.norm(points[1:][both] - carried, axis=-1)
        # One stray landmark makes two fast steps: the median of five does not see them.
        step = median_filter(step, size=(2 * max(1, round(rate / 15)) + 1, 1), mode="nearest")
        step[~both] = np.inf
    # A frame is as slow as the slower of the steps before and after it, so that a stance keeps its first and last frame.
    edge = np.full((1, 2), np.inf)
    return np.minimum(np.vstack([edge, step]), np.vstack([step, edge]))[:count]


def _height_above_ground(points: np.ndarray, present: np.ndarray, rate: float) -> np.ndarray:
    """(T, 2) px by which each foot's lowest part is above the lowest of either foot within a gait cycle around it."""
    lowest = np.max(np.stack([points[:, index, 1] for index in _PARTS.values()]), axis=0)
    lowest = np.where(present[:, None], lowest, -np.inf)
    half = max(1, round(0.5 * rate))
    out = np.zeros_like(lowest)
    for t in range(len(lowest)):
        near = lowest[max(0, t - half) : t + half + 1]
        near = near[np.isfinite(near[:, 0])]
        if not present[t] or not len(near):
            continue
        # Not the very lowest: a single stray landmark would lift all the others off the ground. A foot is compared
        # with itself (the other may be nearer to the camera, so lower in the picture), but a foot that never came
        # down in that time with the other one.
        ground = np.percentile(near, 90, axis=0)
        out[t] = np.maximum(ground, ground.max() - 0.12 * np.ptp(points[t, :, 1])) - lowest[t]
    return out


def _hysteresis(begin: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Runs of ``keep`` that contain at least one ``begin``."""
    out = np.zeros_like(keep)
    for start, end in _runs(keep | begin):
        out[start:end] = begin[start:end].any()
    return out


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _steady(contact: np.ndarray, present: np.ndarray, short: int) -> np.ndarray:
    """Close gaps of up to ``short`` frames, then drop contacts shorter than that."""
    out = contact.copy()
    runs = _runs(contact)
    for (_, end), (start, _) in pairwise(runs):
        if start - end <= short and present[end:start].all():
            out[end:start] = True
    for start, end in _runs(out):
        if end - start < max(short, 2):
            out[start:end] = False
    return out


# --- holding --------------------------------------------------------------------------------------------------------


@dataclass
class _Foot:
    """What is remembered of one foot."""

    anchor: np.ndarray | None = None
    """(2,) place of the ankle in the scene, in the pixels of the last frame."""
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """(2,) px by which the foot was moved in the last frame."""


class FootLock:
    """Holds standing feet of a drawn layer at their place in the scene.

    For engines that draw pixels and have no body to constrain. While a foot is in contact it is moved to the place
    where it came down, as far as ``strength`` says (0.7 = 70 % held, 30 % as drawn); the move fades out towards the
    knee and, after the contact, over a few frames.

    Parameters
    ----------
    strength:
        0..1.
    ease:
        Frames over which the move fades after a contact ends.
    limit:
        Largest move, as a share of the shin's length: room for jitter. A foot that is further off was drawn elsewhere on
        purpose, or the ground moves otherwise than the scene that the camera's path was measured on.
    """

    def __init__(self, strength: float = 0.7, ease: int = 4, limit: float = 0.12) -> None:
        self._strength = strength
        self._ease = ease
        self._limit = limit
        self._feet = (_Foot(), _Foot())

    def reset(self) -> None:
        """Forget all anchors; to be called at the start of a segment and wherever frames are missing."""
        self._feet = (_Foot(), _Foot())

    def hold(
        self,
        rgb: np.ndarray,
        alpha: np.ndarray,
        landmarks: np.ndarray,
        contact: np.ndarray,
        H_layer_previous: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Move the standing feet of one frame.

        Parameters
        ----------
        rgb, alpha:
            The layer: (H, W, 3) uint8 and (H, W) float32.
        landmarks:
            (33, >=2) where the layer's person is drawn, layer pixels.
        contact:
            (2,) bool, left and right.
        H_layer_previous:
            (3, 3) the scene's motion: pixels of the previous frame's layer -> pixels of this one. ``None`` if there
            is no previous frame.

        Returns
        -------
        rgb, alpha of the same shapes; the very inputs where nothing is moved.
        """
        if H_layer_previous is None:
            self.reset()
        moves = []
        for foot, state in enumerate(self._feet):
            knee, ankle, toe = (landmarks[index[foot], :2].astype(np.float64) for index in (_KNEES, _ANKLES, _TOES))
            if not np.isfinite([knee, ankle, toe]).all():
                state.anchor, state.shift = None, np.zeros(2)
                continue
            shin = max(float(np.linalg.norm(ankle - knee)), 1.0)
            self._follow(state, ankle, bool(contact[foot]), shin, H_layer_previous)
            if np.abs(state.shift).max() > 0.05:
                moves.append((state.shift, ankle, (ankle + toe) / 2, shin))
        return _shift_feet(rgb, alpha, moves) if moves else (rgb, alpha)

    def _follow(self, state: _Foot, ankle: np.ndarray, contact: bool, shin: float, H: np.ndarray | None) -> None:
        """Carry one foot's anchor along with the scene and set its move."""
        if not contact:
            state.anchor = None
            state.shift = state.shift * max(0.0, 1 - 1.5 / max(self._ease, 1))
            return
        if state.anchor is None:
            # Anchored where it is drawn now, its fading move included, so that nothing jumps.
            state.anchor = ankle + state.shift / max(self._strength, 1e-6)
        elif H is not None:
            state.anchor = transforms.apply(H, state.anchor)
        shift = self._strength * (state.anchor - ankle)
        size = float(np.linalg.norm(shift))
        state.shift = shift * min(1.0, self._limit * shin / max(size, 1e-6))


def _shift_feet(
    rgb: np.ndarray, alpha: np.ndarray, moves: list[tuple[np.ndarray, np.ndarray, np.ndarray, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Warp the layer by moves (shift, ankle, middle of the foot, shin length) that fade out towards the knee."""
    height, width = alpha.shape
    low = np.min([np.minimum(a, f) - 1.3 * s for _, a, f, s in moves], axis=0)
    high = np.max([np.maximum(a, f) + 1.3 * s for _, a, f, s in moves], axis=0)
    x0, y0 = np.clip(np.floor(low), 0, [width, height]).astype(int)
    x1, y1 = np.clip(np.ceil(high), 0, [width, height]).astype(int)
    if x0 >= x1 or y0 >= y1:
        return rgb, alpha
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    total, dx, dy = np.full_like(x, 1e-6), np.zeros_like(x), np.zeros_like(x)
    for shift, ankle, middle, shin in moves:
        near = _falloff(x, y, ankle, middle, shin)
        total += near
        dx += near * near * np.float32(shift[0])
        dy += near * near * np.float32(shift[1])
    # Where two feet are close, each pixel follows the nearer; a lone foot moves by near * shift.
    source_x, source_y = x - dx / total, y - dy / total
    window = np.s_[y0:y1, x0:x1]
    packed = cv2.merge([*cv2.split(cv2.multiply(rgb, cv2.merge([alpha] * 3), dtype=cv2.CV_32F)), alpha])
    warped = cv2.remap(packed, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    out_rgb, out_alpha = rgb.copy(), alpha.copy()
    out_alpha[window] = warped[..., 3]
    straight = warped[..., :3] / np.maximum(warped[..., 3:], 1e-3)
    out_rgb[window] = np.clip(straight + 0.5, 0, 255).astype(np.uint8)
    return out_rgb, out_alpha


def _falloff(x: np.ndarray, y: np.ndarray, ankle: np.ndarray, middle: np.ndarray, shin: float) -> np.ndarray:
    """1 within 0.45 shin of the foot, smoothly 0 from 1.1 shin on."""
    distance = np.minimum(
        np.hypot(x - np.float32(ankle[0]), y - np.float32(ankle[1])),
        np.hypot(x - np.float32(middle[0]), y - np.float32(middle[1])),
    )
    ramp = np.clip((np.float32(1.1 * shin) - distance) / np.float32(0.65 * shin), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)
