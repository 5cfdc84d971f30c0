"""Closed shoes: an upper and a sole, lofted along the foot."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import CANVAS, HIDDEN_DEPTH, LEATHER, RUBBER, Figure
from models.body.wardrobe.mesh import grid_faces, unit
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part, separate
from models.body.wardrobe.spec import Shoes, linear

_STATIONS, _AROUND = 31, 36
#: Length of a station's half window along the foot, as a share of its length.
_WINDOW = 0.06


class _Foot:
    """A foot measured along its length: 0 heel, 1 toe tip."""

    def __init__(self, body: Anatomy, side: str) -> None:
        sign = 1 if side == "L" else -1
        weight = body.bone_weight(f"foot.{side}", "toe")
        mine = (weight > 0.35) & (body.points[:, 0] * sign > 0)
        self.points = body.points[mine]
        self.ground = body.ground
        low = self.points[self.points[:, 2] < self.ground + 0.05]
        heel = low[low[:, 1] > np.quantile(low[:, 1], 0.85)].mean(axis=0)
        toes = low[low[:, 1] < np.quantile(low[:, 1], 0.15)].mean(axis=0)
        self.forward = unit(np.array([toes[0] - heel[0], toes[1] - heel[1], 0.0]))
        self.across = np.array([-self.forward[1], self.forward[0], 0.0])
        along = low @ self.forward
        self.start, self.length = along.min(), np.ptp(along)
        self.ankle = body.joints[f"foot.{side}"]
        self.inner = -sign * np.sign(self.across[0])

    def place(self, t: np.ndarray, across: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Points from share along the foot, metres across and height."""
        base = (self.start + t * self.length)[..., None] * self.forward + across[..., None] * self.across
        return base + z[..., None] * np.array([0.0, 0.0, 1.0])

    def extents(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left edge, right edge and height over the ground of the foot at each station, smoothed."""
        share = (self.points @ self.forward - self.start) / self.length
        across = self.points @ self.across
        left, right, top = [], [], []
        for value in np.clip(t, 0.02, 0.98):
            near = np.abs(share - value) < _WINDOW
            low = near & (self.points[:, 2] < self.ground + 0.065)
            left.append(across[low].min())
            right.append(across[low].max())
            top.append(self.points[near, 2].max() - self.ground)
        kernel = np.array([1, 3, 4, 3, 1]) / 12
        return tuple(np.convolve(np.pad(v, 2, "edge"), kernel, "valid") for v in (left, right, top))  # type: ignore[return-value]


def make_shoes(figure: Figure, shoes: Shoes) -> None:
    """Put a pair of shoes on ``figure``."""
    body = figure.body
    parts = [part for side in "LR" for part in _shoe(body, side, shoes)]
    depth = np.where(body.leg_weight > 0.3, body.ground + 0.04 + HIDDEN_DEPTH - body.points[:, 2], -1.0)
    for side, mine in (("L", body.points[:, 0] > 0), ("R", body.points[:, 0] < 0)):
        foot = _Foot(body, side)
        ahead = (body.points - foot.ankle) @ foot.forward - 0.05 + HIDDEN_DEPTH
        low = mine & (body.points[:, 2] < body.ground + 0.12)
        depth = np.where(low, np.maximum(depth, ahead), depth)
    figure.wear(parts, depth)


def _upper_height(t: np.ndarray, top: np.ndarray, shoes: Shoes, ankle: float) -> tuple[np.ndarray, np.ndarray]:
    """Height of the upper at each station, and (S,) how far its middle is open for the leg."""
    collar = 0.068 + 0.05 * shoes.collar
    vamp = top + 0.010
    opening = smoothstep(t, 0.54, 0.38)
    tongue = 0.018 * np.exp(-(((t - 0.46) / 0.055) ** 2))
    height = np.where(t > 0.45, np.minimum(vamp, collar + 0.004 + tongue), collar)
    height = opening * collar + (1 - opening) * height + tongue * 0.6
    heel_tab = 0.004 * np.exp(-((t / 0.08) ** 2))
    dip = -0.010 * np.exp(-(((t - 0.24) / 0.1) ** 2))
    height = height + heel_tab + dip
    front = np.clip((t - 0.80) / 0.22, 0, 1)
    toe_box = 0.020 + 0.032 * np.sqrt(np.clip(1 - front**2, 0, 1))
    height = np.where(t > 0.72, np.minimum(height, np.maximum(toe_box, 0.012)), height)
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    return np.convolve(np.pad(height, 2, "edge"), kernel, "valid"), opening * (t > -0.02)


def _shoe(body: Anatomy, side: str, shoes: Shoes) -> list[Part]:
    foot = _Foot(body, side)
    t = -0.035 + 1.085 * (1 - np.cos(np.linspace(0, np.pi, _STATIONS))) / 2
    left, right, top = foot.extents(t)
    ends = np.sqrt(np.clip(1 - np.clip((t - 0.80) / 0.25, 0, 1) ** 2.2, 0, 1)) * np.sqrt(
        np.clip(1 - np.clip((0.13 - t) / 0.165, 0, 1) ** 2.2, 0, 1)
    )
    middle = (left + right) / 2
    bend = smoothstep(t, 0.72, 1.05) * 0.006 * foot.inner
    half = ((right - left) / 2 + 0.006) * ends + 1e-5
    height, opening = _upper_height(t, top, shoes, foot.ankle[2] - foot.ground)
    spring = 0.010 * smoothstep(t, 0.75, 1.05) ** 1.5 + 0.003 * smoothstep(t, 0.05, -0.04)
    sole = shoes.thickness * (0.72 + 0.28 * smoothstep(t, 0.55, 0.1))
    lowered = sole - 0.012
    upper = _upper(foot, t, middle + bend, half, height, opening, spring + 0.012, body, shoes)
    base = _sole(foot, t, middle + bend, half, spring - lowered - 0.0, sole + 0.002, body, shoes)
    parts = [upper, base]
    if shoes.laces:
        parts.append(_laces(foot, t, middle + bend, half, height, body, shoes))
    return parts


def _skinned(points: np.ndarray, body: Anatomy, side_points: np.ndarray) -> sparse.csr_matrix:
    """(V, B) weights from the nearest foot skin, blended over a few neighbours."""
    feet = np.flatnonzero(body.bone_weight("foot", "toe") > 0.35)
    distance, index = cKDTree(body.points[feet]).query(points, k=12)
    share = 1 / (distance + 0.01) ** 2
    share /= share.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), 12)
    mix = sparse.csr_matrix((share.ravel(), (rows, feet[index].ravel())), shape=(len(points), len(body)))
    return (mix @ body.weights).tocsr()


def _upper(
    foot: _Foot, t: np.ndarray, middle: np.ndarray, half: np.ndarray, height: np.ndarray, opening: np.ndarray,
    floor: np.ndarray, body: Anatomy, shoes: Shoes,
) -> Part:  # fmt: skip
    """The upper: each section rises from the sole over the foot; where the leg enters it turns inwards and down."""
    phi = np.linspace(0, np.pi, _AROUND)
    cosine, sine = np.cos(phi)[None], np.sin(phi)[None]
    boxy = 0.62
    bulge = 1 + 0.05 * np.sin(2 * phi[None]) ** 2
    across = middle[:, None] + half[:, None] * np.sign(cosine) * np.abs(cosine) ** boxy * bulge
    rise = np.maximum(height - floor, 0.002)[:, None]
    z = foot.ground + floor[:, None] + rise * sine ** (0.72 - 0.40 * opening[:, None])
    narrowing = 1 - 0.30 * (smoothstep(height, 0.06, 0.1)[:, None]) * sine**3
    across = middle[:, None] + (across - middle[:, None]) * narrowing
    centre = smoothstep(np.abs(cosine), 0.80, 0.42) * (opening * smoothstep(half, 0.014, 0.026))[:, None]
    z = z - centre * np.minimum(0.05, 0.6 * height[:, None])
    place = foot.place(np.repeat(t[:, None], _AROUND, 1), across, z)
    points = place.reshape(-1, 3)
    faces = _outward(grid_faces(_STATIONS, _AROUND, False), points, points.mean(axis=0))
    t_face = t[faces.min(axis=1) // _AROUND]
    toe_cap = t_face > 0.83
    heel = t_face < 0.10
    which = np.where(toe_cap | heel, 1, 0)
    main = linear(shoes.color)
    second = linear(shoes.trim) if shoes.trim else main * 0.86
    cloth = LEATHER if shoes.leather else CANVAS
    faces, pick, label = separate(faces, which, len(points))
    albedo = np.stack([main, second])[label]
    inside = (pick @ centre.ravel()) > 0.6
    albedo[inside] *= 0.4
    points = pick @ points
    return Part(points, faces, _skinned(points, body, foot.points), albedo, (cloth, LEATHER), label.astype(int))


def _outward(faces: np.ndarray, points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Turn all faces round if most of them look towards ``center``."""
    a, b, c = points[faces].transpose(1, 0, 2)
    facing = (np.cross(b - a, c - a) * (a - center)).sum()
    return faces if facing > 0 else faces[:, ::-1]


def _sole(
    foot: _Foot, t: np.ndarray, middle: np.ndarray, half: np.ndarray, bottom: np.ndarray, thickness: np.ndarray,
    body: Anatomy, shoes: Shoes,
) -> Part:  # fmt: skip
    """A slab under the upper, a little wider than it, with rounded edges."""
    path = [(0.0, 0.0), (0.86, 0.0), (0.99, 0.14), (1.0, 0.5), (0.985, 0.92), (0.93, 1.0), (0.6, 1.0)]
    outline = [*path, *[(-x, z) for x, z in reversed(path)]]
    wide = half + 0.0045 * np.minimum(1, half / 0.01)
    across = np.stack([middle + x * wide for x, _ in outline], axis=1)
    z = np.stack([foot.ground + bottom + h * thickness for _, h in outline], axis=1)
    grown = (t - 0.5) * 1.012 + 0.5
    points = foot.place(np.repeat(grown[:, None], len(outline), 1), across, z).reshape(-1, 3)
    faces = _outward(grid_faces(_STATIONS, len(outline), True), points, points.mean(axis=0))
    color = np.tile(linear(shoes.sole), (len(points), 1))
    level = np.tile([h for _, h in outline], _STATIONS)
    color[level < 0.1] *= 0.45
    return Part(points, faces, _skinned(points, body, foot.points), color, (RUBBER,), np.zeros(len(points), int))


def _laces(
    foot: _Foot, t: np.ndarray, middle: np.ndarray, half: np.ndarray, height: np.ndarray, body: Anatomy, shoes: Shoes
) -> Part:
    """Flat bars across the instep."""
    rows, bars = [], []
    for number, place in enumerate(np.linspace(0.50, 0.70, 5)):
        m, h, w = (float(np.interp(place, t, values)) for values in (middle, height, half))
        x = np.linspace(-0.5, 0.5, 7) * min(0.042, w)
        drop = 0.25 * h * (np.abs(x) / max(w, 1e-3)) ** 2.2
        z = foot.ground + h + 0.0014 - drop
        for edge in (-0.011, 0.011):
            slope = np.interp(place + edge, t, height) - h
            rows.append(foot.place(np.full(7, place + edge), m + x, z + slope))
        bars.append(grid_faces(2, 7, False) + number * 14)
    points, faces = np.concatenate(rows), np.concatenate(bars)
    a, b, c = points[faces].transpose(1, 0, 2)
    if np.cross(b - a, c - a)[:, 2].sum() < 0:
        faces = faces[:, ::-1]
    color = np.tile(linear(shoes.laces or shoes.color), (len(points), 1))
    return Part(points, faces, _skinned(points, body, foot.points), color, (CANVAS,), np.zeros(len(points), int))
