"""How long the shutter of the footage was open, and how sharp the person is, read off its outline.

An edge that moves by v pixels a frame is smeared over s v pixels while a shutter is open for the share s of the frame time.
How wide the edges of the person are is measured across its outline; how much wider the fast ones are than the slow ones,
against how fast the fitted body says that they move, gives s. Edges that move along themselves are not smeared, so only the
motion across the outline counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.spatial import cKDTree
from scipy.special import erf

#: Outline points that are looked at in each frame.
_POINTS = 500
#: Half of the profile across the outline: a constant, and parts of the motion, pixels; and the longest.
_HALF, _PER_MOTION, _LONGEST = 5.0, 0.75, 26.0
#: Half of the stretch that a slope is taken over, parts of half the profile.
_SLOPE = 0.08
#: Samples of a profile.
_SAMPLES = 61
#: Levels between both sides of an outline that make an edge, and share of them by which a side may vary.
_LEAST_STEP, _FLAT = 24.0, 0.22
#: Motion across the outline, px/frame: still at most, and moving at least. Slower edges are as sharp as still ones.
_STILL, _MOVING = 1.5, 5.0
#: Edges that are needed of each kind.
_LEAST_STILL, _LEAST_MOVING = 40, 60
#: Width of a drawn, anti-aliased outline as it is measured here, and the blur that it stands for, pixels.
_DRAWN_WIDTH, _DRAWN_BLUR = 2.2, 0.4
#: Frames with moving edges that are needed, and edges that one needs to count: those of one frame share their errors.
_LEAST_FRAMES, _EDGES_A_FRAME = 4, 5
#: Shutters that cameras have; the estimate is kept between them.
_SHORTEST, _WIDEST = 0.02, 1.0
#: Shutter of footage that does not tell its own, and how far others are from it (standard deviation).
USUAL_SHUTTER, _USUAL_SPREAD = 0.4, 0.25


@dataclass
class ShutterEstimate:
    """Collects edges frame by frame.

    Width is the step from one side to the other over the steepest slope between them.
    """

    _speeds: list[np.ndarray] = field(default_factory=list)
    _widths: list[np.ndarray] = field(default_factory=list)

    def add(self, rgb: np.ndarray, mask: np.ndarray, points: np.ndarray, motion: np.ndarray) -> None:
        """Measure the edges of one frame.

        Parameters
        ----------
        rgb:
            (H, W, 3) uint8.
        mask:
            (H, W) bool, the person.
        points:
            (N, 2) pixels of points spread over the body.
        motion:
            (N, 2) their motion, px/frame.
        """
        outline, normals = _outline(mask)
        if len(outline) == 0 or len(points) == 0:
            return
        _, nearest = cKDTree(points).query(outline)
        speed = np.abs((motion[nearest] * normals).sum(axis=1))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        width = _edge_widths(grey, outline, normals, speed)
        usable = np.isfinite(width)
        self._speeds.append(speed[usable])
        self._widths.append(width[usable])

    def shutter(self) -> float | None:
        """Share of the frame time, 0..1; ``None`` where too few edges, or edges of too few frames, moved to tell.

        The less the frames agree, and the shorter the smear is against a still edge, the nearer it is to the usual shutter.
        """
        if not self._speeds:
            return None
        speed, width = np.concatenate(self._speeds), np.concatenate(self._widths)
        still, moving = width[speed < _STILL], speed > _MOVING
        if len(still) < _LEAST_STILL or np.count_nonzero(moving) < _LEAST_MOVING:
            return None
        # Of the moving edges the faster half tells most: the smear grows with the motion, the errors do not.
        fast = moving & (speed >= np.median(speed[moving]))
        sharp = float(np.median(still))
        smears = _smears(width[fast], sharp)
        shares = smears / speed[fast]
        frame = np.repeat(np.arange(len(self._speeds)), [len(part) for part in self._speeds])[fast]
        telling = np.flatnonzero(np.bincount(frame) >= _EDGES_A_FRAME)
        if len(telling) < _LEAST_FRAMES:
            return None
        of_frames = np.array([np.median(shares[frame == t]) for t in telling])
        spread = 1.4826 * float(np.median(np.abs(of_frames - np.median(of_frames))))
        # A smear shorter than a still edge is wide hardly widens it: half of that may be there, or not.
        unseen = 0.5 * max(sharp - float(np.median(smears)), 0.0) / float(np.median(speed[fast]))
        error = 1.25**2 * spread**2 / len(telling) + unseen**2
        trust = _USUAL_SPREAD**2 / (_USUAL_SPREAD**2 + error)
        found = trust * float(np.median(shares)) + (1.0 - trust) * USUAL_SHUTTER
        return float(np.clip(found, _SHORTEST, _WIDEST))

    def still_blur(self) -> float | None:
        """How soft the outline of the person is where it does not move, for ``Finish.blur``: standard deviation in pixels of
        the blur that a drawn outline needs to be as soft; ``None`` where too few edges stand still to tell."""
        if not self._speeds:
            return None
        speed, width = np.concatenate(self._speeds), np.concatenate(self._widths)
        still = width[speed < _STILL]
        if len(still) < _LEAST_STILL:
            return None
        more = max(float(np.median(still)) ** 2 - _DRAWN_WIDTH**2, 0.0) / (2.0 * np.pi)
        return float(np.clip(np.sqrt(_DRAWN_BLUR**2 + more), 0.3, 4.0))


def _smears(widths: np.ndarray, still: float) -> np.ndarray:
    """(N,) how far edges moved while the shutter was open, from their widths and that of a still edge.

    A Gaussian edge of width w0 = sqrt(2 pi) sigma, smeared over L, has the width L / erf(L / (sqrt(8) sigma)).
    """
    lengths = np.linspace(1e-3, 2.5 * _LONGEST, 2000)
    sigma = still / np.sqrt(2.0 * np.pi)
    found = np.interp(widths, lengths / erf(lengths / (np.sqrt(8.0) * sigma)), lengths)
    return np.where(widths > still, found, 0.0)


def _outline(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) pixels on the outline of a mask and (N, 2) unit normals, outwards; away from the picture's border."""
    height, width = mask.shape
    solid = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2)), np.zeros((0, 2))
    points = np.concatenate(contours)[:, 0].astype(np.float64)
    soft = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 3.0)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    x, y = points.astype(int).T
    normals = -np.stack([gx[y, x], gy[y, x]], axis=1).astype(np.float64)
    length = np.linalg.norm(normals, axis=1)
    inside = (x > 8) & (y > 8) & (x < width - 9) & (y < height - 9) & (length > 1e-3)
    keep = np.flatnonzero(inside)
    keep = keep[:: max(1, len(keep) // _POINTS)]
    return points[keep], normals[keep] / length[keep, None]


def _edge_widths(grey: np.ndarray, points: np.ndarray, normals: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """(N,) width in pixels of the edge across each outline point: the step over the steepest slope; NaN where it is no
    clean edge."""
    half = np.minimum(_HALF + _PER_MOTION * speed, _LONGEST)
    along = np.linspace(-1.0, 1.0, _SAMPLES)
    place = points[:, None] + normals[:, None] * (half[:, None] * along[None])[..., None]
    x, y = (np.ascontiguousarray(place[..., axis], np.float32) for axis in (0, 1))
    profile = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    fifth = _SAMPLES // 5
    inner, outer = profile[:, :fifth], profile[:, -fifth:]
    step = np.abs(outer.mean(axis=1) - inner.mean(axis=1))
    rough = np.maximum(inner.std(axis=1), outer.std(axis=1))
    spacing = 2.0 * half / (_SAMPLES - 1)
    # The slope over two pixels and more: single pixels are noise.
    reach = np.clip(np.rint(np.maximum(1.0, _SLOPE * half) / spacing).astype(int), 1, _SAMPLES // 4)
    steepest = np.zeros(len(points))
    for r in np.unique(reach):
        rows = reach == r
        slopes = np.abs(profile[rows, 2 * r :] - profile[rows, : -2 * r]) / (2 * r * spacing[rows])[:, None]
        steepest[rows] = slopes.max(axis=1)
    clean = (step > _LEAST_STEP) & (rough < _FLAT * step) & (steepest > 1e-6)
    return np.where(clean, step / np.maximum(steepest, 1e-6), np.nan)
