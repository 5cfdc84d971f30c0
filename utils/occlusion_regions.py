"""From votes to regions: where a window of frames says that something stands in front of the person."""

from __future__ import annotations

import cv2
import numpy as np

#: Rods: shortest length and largest width, how far they are carried on, parts of the person's height; and how many levels
#: their colour may differ.
_ROD_LENGTH, _ROD_WIDTH, _ROD_PAST, _ROD_COLOUR = 0.22, 0.065, 0.10, 45
#: GrabCut works on a picture in which the person is at most this high, pixels.
_GRABCUT_PERSON = 100.0


def disc(radius: float) -> np.ndarray:
    """Round structuring element of about this radius, at least one pixel."""
    size = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def find_regions(
    front: np.ndarray, clear: np.ndarray, plate: np.ndarray, known: np.ndarray, *, person: float, enough: int
) -> np.ndarray:
    """Regions that stand in front, from the votes of a window.

    Parameters
    ----------
    front, clear:
        (h, w) uint: frames in which something hid the body, and in which the person was seen.
    plate:
        (h, w, 3) uint8, the scene.
    known:
        (h, w) bool, where ``plate`` is filled in.
    person:
        Height of the person in pixels.
    enough:
        Votes that a place needs.

    Returns
    -------
    (h, w) bool.
    """
    every = ((front >= enough) & (front >= 6 * clear.astype(np.int32))).astype(np.uint8)
    seeds = cv2.morphologyEx(every, cv2.MORPH_OPEN, disc(0.006 * person))
    seeds = large_parts(seeds, 0.0015 * person**2)
    out = thin_parts(every, plate, known, person)
    if not seeds.any():
        return out
    room = round(0.6 * person)
    x, y, width, height = cv2.boundingRect(seeds)
    x0, y0, x1, y1 = max(x - room, 0), max(y - room, 0), x + width + room, y + height + room
    cut = np.s_[y0:y1, x0:x1]
    grown = _grow(seeds[cut], clear[cut], plate[cut], known[cut], person)
    # What hides somebody is larger than a hand; smaller finds are places where the person looks like the scene.
    out[cut] |= large_parts(grown.view(np.uint8), 0.01 * person**2) > 0
    return out


def thin_parts(seeds: np.ndarray, plate: np.ndarray, known: np.ndarray, person: float) -> np.ndarray:
    """Rods, wires and rails among the places that hide the person: long, straight, thin, and of one colour.

    Parameters
    ----------
    seeds:
        (h, w) uint8, 0 or 1: places with enough votes.
    plate, known, person:
        See :func:`find_regions`.

    Returns
    -------
    (h, w) bool, the rods, carried on a little past the body's core.
    """
    joined = cv2.morphologyEx(seeds, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    out = np.zeros(seeds.shape, bool)
    for number in range(1, count):
        long = max(stats[number, cv2.CC_STAT_WIDTH], stats[number, cv2.CC_STAT_HEIGHT])
        if long < _ROD_LENGTH * person:
            continue
        points = np.argwhere(labels == number)[:, ::-1].astype(np.float64)
        middle = points.mean(axis=0)
        _, _, axes = np.linalg.svd(points - middle, full_matrices=False)
        along, aside = (points - middle) @ axes.T[:, 0], (points - middle) @ axes.T[:, 1]
        length = np.ptp(along) + 1
        # A rod fills its own length; its width is what is left.
        width = len(points) / length
        if width > _ROD_WIDTH * person or length < 8 * width or np.std(aside) > 0.5 * width + 0.7:
            continue
        out |= _rod(middle, axes[0], length, width, plate, known, labels == number, person)
    return out


def _rod(
    middle: np.ndarray,
    axis: np.ndarray,
    length: float,
    width: float,
    plate: np.ndarray,
    known: np.ndarray,
    seen: np.ndarray,
    person: float,
) -> np.ndarray:
    """(h, w) bool: the pixels of one rod's colour along its line."""
    half = 0.5 * length + _ROD_PAST * person
    line = np.zeros(seen.shape, np.uint8)
    ends = [tuple(int(v) for v in np.rint(middle + sign * half * axis)) for sign in (-1, 1)]
    cv2.line(line, ends[0], ends[1], 1, max(1, round(width)) + 2)
    colour = np.median(plate[seen], axis=0)
    like = np.abs(plate.astype(np.int16) - colour).max(axis=2) < _ROD_COLOUR
    return (line > 0) & known & (seen | like)


def large_parts(mask: np.ndarray, area: float) -> np.ndarray:
    """Connected parts of at least ``area`` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    keep = stats[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return keep[labels].astype(np.uint8)


def _grow(seeds: np.ndarray, clear: np.ndarray, plate: np.ndarray, known: np.ndarray, person: float) -> np.ndarray:
    """Carry the seeds to the edges of the thing that they lie on.

    GrabCut (Rother et al., 2004) on a reduced picture separates it by colour from the places where the person was
    seen; a watershed in a narrow band then finds the edge to the pixel.
    """
    behind = cv2.morphologyEx((clear >= 2).astype(np.uint8), cv2.MORPH_OPEN, disc(1))
    behind[cv2.dilate(seeds, disc(1)) > 0] = 0
    to_seeds = cv2.distanceTransform(1 - seeds, cv2.DIST_L2, 3)
    to_behind = cv2.distanceTransform(1 - behind, cv2.DIST_L2, 3)
    likely = (to_seeds < np.maximum(to_behind, 0.35 * person)) & (to_seeds < 0.6 * person) & known
    labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[behind > 0] = cv2.GC_BGD
    labels[seeds > 0] = cv2.GC_FGD
    scale = min(1.0, _GRABCUT_PERSON / person)
    size = (max(8, round(seeds.shape[1] * scale)), max(8, round(seeds.shape[0] * scale)))
    small = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    small[cv2.resize(seeds, size, interpolation=cv2.INTER_AREA) > 0] = cv2.GC_FGD
    picture = cv2.resize(plate, size, interpolation=cv2.INTER_AREA)
    cv2.setRNGSeed(1)
    cv2.grabCut(picture, small, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    rough = ((small == cv2.GC_FGD) | (small == cv2.GC_PR_FGD)).astype(np.uint8)
    rough = cv2.resize(rough, seeds.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return _to_edges(_touching(rough & known.view(np.uint8), seeds, person), behind, plate)


def _touching(mask: np.ndarray, seeds: np.ndarray, person: float) -> np.ndarray:
    """The smoothed parts of the mask that hold seeds."""
    smooth = cv2.morphologyEx(mask | seeds, cv2.MORPH_CLOSE, disc(0.03 * person))
    smooth = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, disc(0.012 * person)) | seeds
    _, labels = cv2.connectedComponents(smooth)
    keep = np.zeros(int(labels.max()) + 1, np.uint8)
    keep[labels[seeds > 0]] = 1
    return keep[labels]


def _to_edges(rough: np.ndarray, behind: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """Move the border of a region to the strongest edge within three pixels."""
    markers = np.zeros(rough.shape, np.int32)
    markers[cv2.erode(rough, disc(3), borderValue=1) > 0] = 2
    markers[(cv2.dilate(rough, disc(3)) == 0) | ((behind > 0) & (rough == 0))] = 1
    labels = cv2.watershed(np.ascontiguousarray(cv2.GaussianBlur(plate, (3, 3), 0)), markers)
    return cv2.medianBlur((labels == 2).astype(np.uint8), 5) > 0
