"""What single frames say about things in front of the person: evidence for :mod:`utils.occlusion`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.types import LANDMARK_NAMES
from utils import transforms
from utils.occlusion_regions import disc, large_parts
from utils.transforms import translation

_ID = {name: index for index, name in enumerate(LANDMARK_NAMES)}
#: Parts of the body that must be drawn wherever the person is, and their thickness as a share of the body's height:
#: about half as thick as the limbs are, so that landmark errors stay inside the person.
_BONES = tuple(
    (_ID[f"{side}_{a}"], _ID[f"{side}_{b}"], thickness)
    for side in ("left", "right")
    for a, b, thickness in (
        ("shoulder", "elbow", 0.036),
        ("elbow", "wrist", 0.026),
        ("hip", "knee", 0.05),
        ("knee", "ankle", 0.036),
    )
)
_TORSO = [_ID[name] for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
_FACE = [_ID[name] for name in ("nose", "left_ear", "right_ear")]

#: Source and plate are the same below the first difference (levels) and surely differ above the second.
_SAME, _DIFFERENT = 9.0, 20.0
#: Share of the body's core below which nobody looks closer at a foreign thing.
_FOREIGN_LEAST = 0.03


def expected_body(points: np.ndarray, weight: np.ndarray | None, size: tuple[int, int], person: float) -> np.ndarray:
    """Where the body must be: its core, thinner than the body is.

    Parameters
    ----------
    points:
        (33, 2) landmarks, pixels.
    weight:
        (33,) trust, 0..1; nothing is expected where not even the torso is trusted.
    size:
        Width and height of the result.
    person:
        Height of the person in pixels.

    Returns
    -------
    (H, W) uint8, 0 or 1.
    """
    body = np.zeros((size[1], size[0]), np.uint8)
    trusted = weight is None or float(np.mean(weight[_TORSO])) > 0.15
    if not (trusted and np.isfinite(points).all() and np.abs(points).max() < 1e4):
        return body
    for a, b, thickness in _BONES:
        cv2.line(body, _pixel(points[a]), _pixel(points[b]), 1, max(1, round(thickness * person)))
    torso = points[_TORSO]
    # A torso seen from the side is a line between the landmarks; it still is about a tenth of the height deep.
    shrunk = torso.mean(axis=0) + 0.85 * (torso - torso.mean(axis=0))
    cv2.fillPoly(body, [np.rint(shrunk).astype(np.int32)], 1)
    spine = [points[_TORSO[:2]].mean(axis=0), points[_TORSO[2:]].mean(axis=0)]
    cv2.line(body, _pixel(spine[0]), _pixel(spine[1]), 1, max(1, round(0.06 * person)))
    cv2.circle(body, _pixel(points[_FACE].mean(axis=0)), round(0.03 * person), 1, -1)
    return body


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


@dataclass(frozen=True)
class Sight:
    """What one frame shows around the person; all pictures (h, w) uint8, 0 or 1."""

    t: int
    origin: tuple[int, int]
    """x, y of the pictures in the frame."""
    mask: np.ndarray
    """The person as detected."""
    same: np.ndarray
    """Where the frame shows the bare scene."""
    bare: np.ndarray
    """Where single pixels show the bare scene: also inside of a thin thing, whose neighbours are the person."""
    differs: np.ndarray
    """Where the frame surely does not show the bare scene."""
    upper: np.ndarray
    """Head and torso of the person: what moves as one."""
    head: np.ndarray
    """(2,) pixel of the middle of the face, in the frame."""


def look(
    t: int, origin: tuple[int, int], source: np.ndarray, plate: np.ndarray, mask: np.ndarray, points: np.ndarray
) -> Sight:
    """Compare a frame with the plate around the person.

    Parameters
    ----------
    t, origin:
        Index of the frame, and where (x, y) in it the pictures are cut out.
    source, plate:
        (h, w, 3) uint8.
    mask:
        (h, w) uint8, 0 or 1, the person as detected.
    points:
        (33, 2) landmarks in the pixels of the frame.
    """
    single = _strongest(cv2.absdiff(source, plate))
    difference = cv2.blur(single, (3, 3))
    upper = mask.copy()
    hips = points[_TORSO[2:], 1].mean() - origin[1] if np.isfinite(points).all() else 0
    upper[max(0, int(hips)) :] = 0
    return Sight(
        t,
        origin,
        mask,
        (difference < _SAME).view(np.uint8),
        (single < _SAME).view(np.uint8),
        (difference > _DIFFERENT).view(np.uint8),
        upper,
        points[_FACE].mean(axis=0),
    )


def votes(
    sight: Sight, source: np.ndarray, plate: np.ndarray, body: np.ndarray, person: float
) -> tuple[np.ndarray, np.ndarray]:
    """What a frame says by itself: (h, w) uint8 where something hides the body, and where the person is seen."""
    around = cv2.dilate(sight.mask, disc(0.015 * person))
    inner = cv2.erode(sight.mask, disc(0.025 * person))
    clear = (around & sight.differs) | (inner & (1 - sight.same))
    outside = body & (1 - around) & sight.same
    inside = (body | inner) & around & sight.bare
    if not inside.any():
        return outside, clear
    unlike = _unlike_person(source, plate, sight.mask & sight.differs, person)
    # A rod is as wide as its own edges: what is the scene's to the pixel, and unlike the person, is not seen through.
    thin = body & sight.bare & unlike
    return outside | (inside & sight.same & unlike) | thin, clear & (1 - thin)


def foreign_share(sight: Sight, source: np.ndarray, body: np.ndarray, person: float) -> float:
    """How much of the body one thing hides that is neither the person nor the scene: something that passes in front.

    Parameters
    ----------
    source:
        (h, w, 3) uint8.
    body:
        (h, w) uint8, 0 or 1, see :func:`expected_body`.
    person:
        Height of the person, pixels.

    Returns
    -------
    The largest such piece as a share of the body's core, 0..1.
    """
    expected = cv2.countNonZero(body)
    around = cv2.dilate(sight.mask, disc(0.015 * person))
    piece = cv2.morphologyEx(body & (1 - around) & sight.differs, cv2.MORPH_OPEN, disc(1))
    if not expected or cv2.countNonZero(piece) < _FOREIGN_LEAST * expected:
        return 0.0
    # A limb that the detector missed has the colours of the person.
    piece &= _unlike_person(source, source, sight.mask & sight.differs, person, reach=0.06, least=0.1)
    _, _, stats, _ = cv2.connectedComponentsWithStats(piece)
    largest = int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
    return largest / expected


def _strongest(image: np.ndarray) -> np.ndarray:
    """(H, W) the largest of three channels."""
    first, second, third = cv2.split(image)
    return cv2.max(cv2.max(first, second), third)


def _unlike_person(
    source: np.ndarray,
    plate: np.ndarray,
    visible: np.ndarray,
    person: float,
    reach: float = 0.02,
    least: float = 0.25,
) -> np.ndarray:
    """Where the scene's colour is unlike the person's nearby: there it cannot be the person that looks the same.

    ``reach`` is how near, parts of the person's height at a quarter of the size; ``least`` the share of the place that must
    be the person for it to tell.
    """
    reduced = (max(1, source.shape[1] // 4), max(1, source.shape[0] // 4))
    size = round(reach * person) | 1
    weight = visible.astype(np.float32)
    masked = cv2.copyTo(source, visible).astype(np.float32) if visible.any() else np.zeros(source.shape, np.float32)
    share = cv2.blur(cv2.resize(weight, reduced, interpolation=cv2.INTER_AREA), (size, size))
    colour = cv2.blur(cv2.resize(masked, reduced, interpolation=cv2.INTER_AREA), (size, size))
    colour /= np.maximum(share, 1e-3)[..., None]
    full = cv2.resize(np.clip(colour, 0, 255).astype(np.uint8), source.shape[1::-1])
    unlike = _strongest(cv2.absdiff(full, plate)) > 2 * _DIFFERENT
    return (unlike & (cv2.resize(share, source.shape[1::-1]) > least)).view(np.uint8)


def compared_vote(whole: Sight, partial: Sight, H_partial_whole: np.ndarray, person: float) -> np.ndarray | None:
    """Where something hides a person that another frame shows more of.

    Head and torso of the frame ``whole`` are moved to where the head is in the frame ``partial``. If the person walked
    on in between, and what is seen in ``partial`` fits inside, but a good part in one piece is missing and shows the
    bare scene instead, that piece is hidden.

    Returns
    -------
    (h, w) uint8 in the pictures of ``partial``, or ``None`` where nothing is hidden or the two do not fit together.
    """
    if not (np.isfinite(whole.head).all() and np.isfinite(partial.head).all()):
        return None
    seen, all_of_it = cv2.countNonZero(partial.upper), cv2.countNonZero(whole.upper)
    if seen > 0.96 * all_of_it or seen < 0.6 * all_of_it:
        return None
    if np.linalg.norm(partial.head - transforms.apply(H_partial_whole, whole.head)) < 0.1 * person:
        return None
    shift = np.rint(partial.head - partial.origin - (whole.head - whole.origin))
    size = (partial.mask.shape[1], partial.mask.shape[0])
    moved = transforms.warp(whole.upper, translation(*shift), size, cv2.INTER_NEAREST)
    wide = cv2.dilate(moved, disc(0.03 * person))
    if cv2.countNonZero(partial.upper & wide) < 0.93 * seen:
        return None
    around = cv2.dilate(partial.mask, disc(0.015 * person))
    missing = cv2.erode(moved, disc(0.02 * person)) & (1 - around)
    hidden = missing & partial.same
    if cv2.countNonZero(hidden) < 0.9 * cv2.countNonZero(missing):
        return None
    piece = large_parts(hidden, max(0.8 * cv2.countNonZero(hidden), 0.004 * person**2))
    return piece if piece.any() else None
