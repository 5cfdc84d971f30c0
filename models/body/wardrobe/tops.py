"""Tops: T-shirts, shirts, sweaters, hoodies, jackets. One pattern, cut by the fields of the avatar's file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from models.body.wardrobe import collars, tailoring
from models.body.wardrobe.anatomy import Anatomy, Limb
from models.body.wardrobe.cloth import (
    COTTON,
    KNITTED,
    RIBBED,
    SHIRTING,
    TWILL,
    Figure,
    Panel,
    blurred,
    finish,
    seam_shade,
)  # fmt: skip
from models.body.wardrobe.mesh import smooth, vertex_normals
from models.body.wardrobe.noise import noise, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.shell import (
    Drape,
    Shell,
    creases,
    cut,
    divide,
    edge_distance,
    keep_off,
    open_mean,
    rings,
    stretch,
    widen,
)  # fmt: skip
from models.body.wardrobe.spec import Jacket, Shirt, Top, linear

_FAR = 1.0
#: Where along the arm the armpit ends.
_ARMPIT = 0.38
#: Metres from stripe to stripe, and how much of that a stripe takes.
_STRIPE, _STRIPE_WIDTH = 0.08, 0.36


def neck_field(body: Anatomy, top: Top) -> np.ndarray:
    """(N,) metres below the neckline (negative above it)."""
    up = np.array([0.0, -0.5, 0.866])
    rise = {"crew": 0.004, "v": 0.006, "collar": 0.010, "hood": -0.002, "turtle": 0.05}[top.neck]
    root = body.joints["neck01"]
    if isinstance(top, Jacket):
        rise -= 0.012
    below = rise - (body.points - root) @ up
    if top.neck == "v":
        below = np.minimum(below, _notch(body, root, 0.095))
    elif (
        top.neck == "collar" and top.front != "open" and not _tailored(top) and not (isinstance(top, Shirt) and top.tie)
    ):
        below = np.minimum(below, _notch(body, root, 0.075))
    return np.where(body.arm_weight > 0.5, _FAR, below)


def _notch(body: Anatomy, root: np.ndarray, depth: float) -> np.ndarray:
    """(N,) metres below a V at the throat that reaches ``depth`` below the root of the neck."""
    x, y, z = body.points.T
    slope = 2.0
    bottom = root[2] - depth
    return (bottom + slope * np.abs(x) - z) / np.hypot(1, slope) + np.maximum(0, y - root[1]) * 8


def _front_field(body: Anatomy, top: Top) -> np.ndarray:
    """(N,) metres from the edge of an open front (positive = cloth)."""
    x, y, z = body.points.T
    down = smoothstep(z, body.level(1.0), body.level(top.hem))
    gap = 0.028 + 0.045 * down
    return np.abs(x) - gap + tailoring.behind(body, y, z)


def _hem_field(body: Anatomy, top: Top) -> np.ndarray:
    x, y, z = body.points.T
    curve = 0.022 * (np.abs(x) / 0.16) ** 2 if isinstance(top, Shirt) else 0.0
    tail = 0.02 * smoothstep(y, -0.05, 0.1) if isinstance(top, Shirt) else 0.0
    return np.where(body.arm_weight > 0.5, _FAR, z - body.level(top.hem) - np.minimum(curve, 0.04) + tail)


def _sleeve_field(body: Anatomy, top: Top) -> np.ndarray:
    length = np.linalg.norm(body.arms[0].joints[1] - body.arms[0].joints[0])
    ends = np.full(len(body), top.sleeve)
    if top.sleeve < _ARMPIT:
        # However short the sleeve, the armhole passes under the armpit.
        under = smoothstep(body.normals[:, 2], 0.15, -0.25)
        ends += under * (_ARMPIT - top.sleeve)
    return np.where(body.arm_weight > 0.01, (ends - body.arm) * length, _FAR)


def _stripe_place(shell: Shell, body: Anatomy) -> np.ndarray:
    """(V,) metres across which stripes repeat: height on the trunk, length on the sleeves."""
    points = shell.points
    along = np.zeros(len(points))
    for limb, side in zip(body.arms, (points[:, 0] > 0, points[:, 0] <= 0), strict=True):
        length = np.linalg.norm(limb.joints[1] - limb.joints[0])
        along[side] = limb.joints[0][2] - limb.coordinate(points[side]) * length
    mix = blurred(smoothstep(shell.of(body.arm_weight), 0.3, 0.9), shell, 6)
    return np.asarray((1 - mix) * points[:, 2] + mix * along)


def _mark(shell: Shell, body: Anatomy, top: Top, hem: np.ndarray, sleeve: np.ndarray) -> None:
    """Draw the lines between panels on the finished cloth: bands along hem and cuffs, stripes or a block."""
    hem_band, cuff = (0.05, 0.055) if top.knit else (0.02, 0.022 if top.sleeve < 1.2 else 0.05)
    lines = [edge_distance(shell, hem) - hem_band, edge_distance(shell, sleeve) - cuff]
    if top.stripes is not None:
        place = _stripe_place(shell, body)
        edges = np.arange(np.floor(place.min() / _STRIPE), np.ceil(place.max() / _STRIPE)) * _STRIPE
        lines += [place - edge - shift for edge in edges for shift in (0.0, _STRIPE_WIDTH * _STRIPE)]
    elif top.block is not None:
        lines.append(shell.points[:, 2] - body.level(0.66))
    divide(shell, lines)


def make_top(figure: Figure, top: Top) -> None:
    """Cut, hang and colour a top, and put it on ``figure``."""
    parts, depth, shell = sew_top(figure, top)
    figure.wear(parts, depth, shell)
    # What is worn over it lies over its collar, its placket and its buttons too.
    tree = cKDTree(shell.points)
    for part in parts[1:]:
        normals = vertex_normals(part.points, part.faces)
        outer = (normals * shell.normals[tree.query(part.points)[1]]).sum(axis=1) > 0.2
        figure.surfaces.append((part.points[outer] - 0.003 * normals[outer], normals[outer]))


def sew_top(figure: Figure, top: Top) -> tuple[list[Part], np.ndarray, Shell]:
    """A top over all that ``figure`` wears: what :meth:`~models.body.wardrobe.cloth.Figure.wear` takes."""
    body = figure.body
    if _tailored(top):
        top = top.model_copy(update={"neck": "collar", "front": "buttons", "knit": False})
    neck, hem, sleeve = neck_field(body, top), _hem_field(body, top), _sleeve_field(body, top)
    limits = [neck, hem, sleeve]
    if _tailored(top):
        limits.append(tailoring.opening(body, top))
    elif top.front == "open":
        limits.append(_front_field(body, top))
    # One looks further into openings that stand off, most of all into short sleeves.
    seen = 0.0 if top.knit else 0.03 * top.fit
    depth = np.minimum(np.min(limits, axis=0), np.minimum(hem, neck) - seen)
    if top.sleeve < 1.2:
        depth = np.minimum(depth, sleeve - 0.06 * top.fit)
    on_head = (body.bone_weight("head", "eye")[body.faces] > 0.3).any(axis=1)
    trunk = ~on_head & ~body.parts["hands"]
    legs_only = (body.leg[body.faces] > 0.9).all(axis=1)
    shell = cut(body, trunk & ~legs_only, limits)
    ease = 0.0055 + 0.005 * top.fit + (0.004 if isinstance(top, Jacket) else 0.0)
    # Far from its edges nothing is left of what is worn under it but the skin, so it need not stand off that far.
    near = smoothstep(depth, 0.16, 0.06)
    clearance = figure.clearance * (0.35 + 0.65 * near)
    # An arm that goes up opens the fold of the armpit faster than cloth follows.
    fold = smoothstep(body.normals[:, 2], 0.1, -0.5) * smoothstep(np.abs(body.arm_weight - 0.5), 0.5, 0.2)
    stretch(shell, body, clearance + ease + 0.005 * fold, 160)
    _hang(shell, body, top, hem, sleeve)
    keep_off(shell, body, clearance + 0.6 * ease)
    figure.keep_outside(shell, 0.004, near)
    _mark(shell, body, top, hem, sleeve)
    parts = [_color(shell, body, top, (hem, sleeve, neck))]
    parts += collars.make_neck(shell, body, top, neck)
    if _tailored(top):
        parts += tailoring.make_lapels(shell, body, top)
    elif top.front in ("buttons", "zip"):
        parts += collars.make_front(shell, body, top)
    if isinstance(top, Shirt) and top.tie:
        line = collars.neck_line(shell, body, neck)
        parts.append(tailoring.make_tie(shell, body, linear(top.tie), line.points[np.argmin(line.points[:, 1])]))
    return parts, depth, shell


def _tailored(top: Top) -> bool:
    """Whether a top is a suit jacket."""
    return isinstance(top, Jacket) and top.lapels


def _hang(shell: Shell, body: Anatomy, top: Top, hem: np.ndarray, sleeve: np.ndarray) -> None:
    """Give the shell its ease, its fall and its standing folds."""
    arm_share = smoothstep(shell.of(body.arm_weight), 0.15, 0.85)
    left = shell.points[:, 0] > 0
    for limb, side in zip(body.arms, (left, ~left), strict=True):
        share = np.where(side, arm_share, 0.0)
        shell.points = widen(shell.points, limb, _sleeve_width(limb, top), share)
    armpit = body.level(0.72)
    drape = Drape(body, shell.points[arm_share < 0.3], armpit, float(shell.points[:, 2].min()))
    slope = 0.55 - 0.5 * top.fit
    flare = 0.0 if top.knit else 0.004 + 0.012 * top.fit
    shell.points = drape(shell.points, 1 - smoothstep(shell.of(body.arm_weight), 0.0, 0.35), slope, flare)
    low = smoothstep(shell.of(hem), 0.16, 0.03) * (1 - arm_share)
    eased = smooth(shell.points, open_mean(shell.faces, len(shell.points)), 14)
    shell.points += low[:, None] * (eased - shell.points)
    shell.points += _fold_depth(shell, body, top, hem, sleeve)[:, None] * shell.normals
    shell.points = smooth(shell.points, open_mean(shell.faces, len(shell.points)), 2)


def _sleeve_width(limb: Limb, top: Top) -> Callable[[np.ndarray], np.ndarray]:
    """Radius of the sleeves along the arm."""
    upper = float(np.interp(0.45, limb.stations, limb.radius))
    loose = 0.006 + 0.014 * top.fit
    blouson = isinstance(top, Jacket) and top.front in ("open", "zip") and not top.lapels
    gather = top.knit or (top.sleeve > 1.5 and (isinstance(top, Shirt) or blouson))
    taper = 0.27 if isinstance(top, Jacket) else 0.16

    def radius(s: np.ndarray) -> np.ndarray:
        own = np.interp(s, limb.stations, limb.radius)
        straight = upper * (1.0 - taper * np.clip(s - 0.45, 0, 2)) + loose * 0.6
        wide = np.maximum(own + loose, np.where(s > 0.45, straight, 0.0))
        if top.sleeve < 1.2:
            wide = own + loose * (0.6 + 0.9 * smoothstep(s, 0.1, top.sleeve))
        if gather:
            close = smoothstep(s, top.sleeve - 0.26, top.sleeve - 0.14)
            wide = (1 - close) * wide + close * (own + 0.0045)
        # The shoulder keeps its own slope: what is pushed out there stands like a pad once the arm hangs down.
        return wide * smoothstep(s, 0.05, 0.6)

    return radius


def _fold_depth(shell: Shell, body: Anatomy, top: Top, hem: np.ndarray, sleeve: np.ndarray) -> np.ndarray:
    """(V,) metres of relief: rings on the sleeves, pulls at the armpits, soft falls on the trunk."""
    points = shell.points
    arm = shell.of(body.arm)
    arm_share = smoothstep(shell.of(body.arm_weight), 0.3, 0.8)
    scale = 0.35 + 0.65 * top.fit
    relief = np.zeros(len(points))
    for limb, side in zip(body.arms, (points[:, 0] > 0, points[:, 0] <= 0), strict=True):
        bend = np.exp(-(((arm - 1.0) / 0.28) ** 2)) + 0.8 * np.exp(-(((arm - top.sleeve + 0.3) / 0.25) ** 2))
        relief += (
            np.where(side, arm_share * (0.25 + 0.75 * np.clip(bend, 0, 1)), 0) * rings(points, limb, 0.07, 3) * 0.0034
        )
    free = 1 - arm_share
    drop = smoothstep(points[:, 2], body.level(0.75), body.level(top.hem))
    falls = creases(points, np.array([0.15, 0, 1]), 0.06, 11) * (0.15 + 0.85 * drop) * 0.004
    waist = creases(points, np.array([1, 0, 0.35 * 1]), 0.045, 17) * np.exp(
        -(((points[:, 2] - body.level(0.22)) / 0.07) ** 2)
    )
    relief += free * (falls + 0.0028 * waist)
    armpit = np.exp(-(((points[:, 2] - body.level(0.72)) / 0.08) ** 2)) * smoothstep(np.abs(points[:, 0]), 0.07, 0.14)
    slant = np.stack([0.7 * np.sign(points[:, 0]), np.zeros(len(points)), np.full(len(points), 0.7)], 1)
    along = (points * slant).sum(axis=1)
    across = points - 0.8 * along[:, None] * slant
    relief += free * armpit * noise(across, 0.035, 23) * 0.004
    near_edge = np.minimum.reduce([shell.of(hem) - 0.004, shell.of(sleeve) - 0.004])
    return (
        1.6
        * scale
        * relief
        * smoothstep(near_edge, -0.004, 0.03)
        * smoothstep(points[:, 2], body.level(1.02), body.level(0.86))
    )


def _color(shell: Shell, body: Anatomy, top: Top, edges: tuple[np.ndarray, ...]) -> Part:
    """Panels: 0 body, 1 hem, 2 cuffs, 3 stripes or block."""
    main = linear(top.color)
    trim = linear(top.trim) if top.trim else main
    cloth = (
        KNITTED if top.knit else SHIRTING if isinstance(top, Shirt) else TWILL if isinstance(top, Jacket) else COTTON
    )
    band = RIBBED if top.knit else cloth
    bits = shell.panel
    which = np.zeros(len(shell.faces), int)
    if top.stripes is not None:
        place = _stripe_place(shell, body)[shell.faces].mean(axis=1)
        which[(place / _STRIPE) % 1 < _STRIPE_WIDTH] = 3
    elif top.block is not None:
        which[(bits & 4) > 0] = 3
    which[(bits & 1) == 0] = 1
    which[(bits & 2) == 0] = 2
    second = top.stripes or top.block
    raised = 0.0015 if top.knit else 0.0008
    banded = trim if (top.knit or top.trim) else main * 0.97
    panels = [
        Panel(main, cloth),
        Panel(banded if top.knit else main * 0.98, band, raised),
        Panel(banded, band, raised),
        Panel(linear(second) if second else main, cloth),
    ]
    hem, sleeve, neck = (shell.of(edge) for edge in edges)
    free = np.minimum.reduce([hem, sleeve, neck])
    fold = smoothstep(free, 0.01, 0.05) * (0.35 + 0.65 * top.fit)
    lines = [hem - (0.05 if top.knit else 0.02), sleeve - (0.055 if top.knit else 0.022), neck - 0.02]
    shoulder = np.where(shell.of(body.arm_weight) > 0.02, shell.of(body.arm) - 0.06, 1.0) * 0.28
    return finish(shell, body, panels, which, fold, seam_shade(shell, [*lines, shoulder]), 0.014)
