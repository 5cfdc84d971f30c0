"""Trousers, jeans, shorts, leggings and socks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.body.character import Surface
from models.body.wardrobe.anatomy import Anatomy, Limb
from models.body.wardrobe.cloth import (
    COTTON,
    DENIM,
    JERSEY,
    LEATHER,
    STRETCH,
    TWILL,
    Figure,
    Panel,
    blurred,
    finish,
    seam_shade,
)  # fmt: skip
from models.body.wardrobe.noise import fractal, smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.shell import Shell, creases, cut, divide, edge_distance, rings, stretch, widen
from models.body.wardrobe.shoes import Foot, vamp_height
from models.body.wardrobe.spec import Leggings, Legwear, Overall, Shorts, Socks, linear

_FAR = 1.0
#: Where long legs are cut; what is longer falls straight on from there over the shoe.
_ANKLE = 1.88
#: Metres, width of a stripe down the sides.
_SIDE_STRIPE = 0.026


def leg_length(body: Anatomy) -> float:
    """Metres from hip joint to knee: the unit of the leg coordinate."""
    joints = body.legs[0].joints
    return float(np.linalg.norm(joints[1] - joints[0]))


def make_legwear(figure: Figure, wear: Legwear) -> None:
    """Cut, hang and colour something with two legs, and put it on ``figure``."""
    body = figure.body
    unit = leg_length(body)
    tilt = 0.12 * (body.points[:, 1] - body.joints["upperleg01.L"][1])
    waist = np.where(body.arm_weight > 0.3, -_FAR, body.level(wear.waist) + tilt - body.points[:, 2])
    cut_at = min(wear.ends, _ANKLE)
    over_shoes = wear.ends > _ANKLE and not isinstance(wear, Leggings)
    ends = np.where(body.leg > 0, (cut_at - body.leg) * unit, _FAR)
    fine = None
    if isinstance(wear, Overall):
        bib = _bib_field(body, wear)
        fine = (np.abs(bib) < 0.05) & (body.points[:, 2] > body.level(wear.waist) - 0.02)
        waist = np.maximum(waist, bib)
    if over_shoes:
        # Long legs rest on the instep in front and reach lower behind.
        ends = ends + 0.15 * (body.points[:, 1] - body.joints["foot.L"][1]) * smoothstep(body.leg, 1.5, 1.8)
    depth = np.minimum(waist, ends)
    allowed = (body.arm_weight[body.faces] < 0.3).all(axis=1) & ~body.parts["head"]
    shell = cut(body, allowed, [waist, ends], fine=fine)
    ease = 0.002 if isinstance(wear, Leggings) else 0.004 + 0.004 * wear.fit
    stretch(shell, body, figure.clearance + ease, 12 if isinstance(wear, Leggings) else 60)
    if not isinstance(wear, Leggings):
        _hang(shell, body, wear)
    figure.keep_outside(shell, 0.003)
    if over_shoes:
        _rest_on_shoes(shell, body)
    lines = [edge_distance(shell, waist) - 0.038, edge_distance(shell, ends) - 0.022]
    if wear.side_stripe:
        around = _around_leg(shell.points, body)[0]
        lines += [around + _SIDE_STRIPE / 2, around - _SIDE_STRIPE / 2]
    divide(shell, lines)
    figure.wear([_color(shell, body, wear, (waist, ends))], depth, shell)


def _bib_field(body: Anatomy, wear: Overall) -> np.ndarray:
    """(N,) metres inside the bib and the straps of an overall (negative outside)."""
    x, y, z = np.abs(body.points[:, 0]), body.points[:, 1], body.points[:, 2]
    shoulder = abs(body.joints["upperarm01.L"][0])
    middle = (body.joints["spine01"][1] + body.joints["neck01"][1]) / 2
    ahead = smoothstep(middle - y, -0.02, 0.02)
    above = z - body.level(wear.waist) + 0.03
    top = np.where(ahead > 0.5, body.level(wear.bib), body.level(wear.waist + 0.12)) - z
    half = 0.72 * shoulder - 0.2 * np.maximum(z - body.level(0.45), 0)
    bib = np.minimum(half - x, top)
    strap = 0.021 - np.abs(x - 0.52 * shoulder)
    field = np.minimum(np.maximum(bib, strap), above)
    free = (body.arm_weight > 0.5) | (body.bone_weight("head", "neck03", "eye") > 0.3)
    return np.where(free, -_FAR, field)


def _around_leg(points: np.ndarray, body: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(V,) metres round the leg from the line down its outer side, positive behind it, and (V,) how far outwards each of
    ``points`` (V, 3) lies from the leg's middle."""
    around, outward = np.zeros(len(points)), np.zeros(len(points))
    for limb, sign, mine in zip(body.legs, (1, -1), (points[:, 0] > 0, points[:, 0] <= 0), strict=True):
        centre, _ = limb.at(limb.coordinate(points[mine]))
        offset = points[mine] - centre
        radius = np.hypot(offset[:, 0], offset[:, 1])
        around[mine] = radius * np.arctan2(offset[:, 1], sign * offset[:, 0])
        outward[mine] = sign * offset[:, 0]
    return around, outward


def _leg_width(limb: Limb, wear: Legwear) -> Callable[[np.ndarray], np.ndarray]:
    """Radius of the trouser legs along the leg: straight down from the thigh, the more so the looser they are."""
    thigh = float(np.interp(0.5, limb.stations, limb.radius))
    ease = 0.004 + 0.012 * wear.fit

    def radius(s: np.ndarray) -> np.ndarray:
        own = np.interp(s, limb.stations, limb.radius) + ease
        narrow = 0.40 - 0.26 * wear.fit
        straight = (thigh + 0.6 * ease) * (1 - narrow * np.clip(s - 0.5, 0, 1.5) / 1.5)
        if isinstance(wear, Shorts):
            straight = thigh + ease + 0.012 * smoothstep(s, 0.3, wear.ends)
        return np.where(s > 0.35, np.maximum(own, straight), own) * smoothstep(s, 0.1, 0.5)

    return radius


def _hang(shell: Shell, body: Anatomy, wear: Legwear) -> None:
    share = smoothstep(shell.of(body.leg_weight), 0.3, 0.95)
    left = shell.points[:, 0] > 0
    for limb, mine in zip(body.legs, (left, ~left), strict=True):
        shell.points = widen(shell.points, limb, _leg_width(limb, wear), np.where(mine, share, 0))
    for limb, mine in zip(body.legs, (left, ~left), strict=True):
        longer = max(wear.ends - _ANKLE, 0) * leg_length(body)
        low = np.clip((limb.coordinate(shell.points) - 1.45) / (_ANKLE - 1.45), 0, 1.2) * mine
        shell.points = shell.points + (longer * low)[:, None] * np.array([0.0, 0.0, -1.0])
    middle = 0.004
    inside = smoothstep(shell.of(body.leg), 0.05, 0.3)
    x = shell.points[:, 0]
    pushed = np.where(left, np.maximum(x, middle), np.minimum(x, -middle))
    shell.points[:, 0] = (1 - inside) * x + inside * pushed
    shell.points += _fold_depth(shell, body, wear)[:, None] * shell.normals


def _rest_on_shoes(shell: Shell, body: Anatomy) -> None:
    """Make room in long legs for the shoes that are put on later: the front lies on the instep, the back hangs behind."""
    low = smoothstep(shell.of(body.leg), 1.6, 1.75)
    for side, sign in (("L", 1), ("R", -1)):
        foot = Foot(body, side)
        t = np.linspace(0.1, 1.0, 30)
        left, right, top = foot.extents(t)
        share = (shell.points @ foot.forward - foot.start) / foot.length
        middle, half = np.interp(share, t, (left + right) / 2), np.interp(share, t, (right - left) / 2) + 0.008
        across = np.clip((shell.points @ foot.across - middle) / half, -1, 1)
        heel = (np.abs(across) < 1) & (share < 0.15) & (shell.points[:, 0] * sign > 0)
        behind = np.where(heel, low * np.clip(share + 0.06, 0, 0.2) * foot.length, 0.0)
        shell.points -= blurred(behind, shell, 3)[:, None] * foot.forward
        instep = foot.ground + np.interp(share, t, vamp_height(top)) * (1 - across**4) ** 0.5 + 0.008
        mine = (shell.points[:, 0] * sign > 0) & (share > 0.3) & (share < 0.95)
        lift = np.where(mine, low * np.clip(instep - shell.points[:, 2], 0, 0.05), 0.0)
        shell.points[:, 2] += blurred(lift, shell, 8)


def _fold_depth(shell: Shell, body: Anatomy, wear: Legwear) -> np.ndarray:
    """(V,) metres of relief: breaks over the shoe, bends behind the knee, pulls at the crotch."""
    points, s = shell.points, shell.of(body.leg)
    on_leg = smoothstep(s, 0.25, 0.5)
    relief = np.zeros(len(points))
    for limb, mine in zip(body.legs, (points[:, 0] > 0, points[:, 0] <= 0), strict=True):
        knee = 0.7 * np.exp(-(((s - 1.05) / 0.2) ** 2))
        stack = smoothstep(s, 1.4, 1.8) if wear.ends > 1.6 else 0.0
        relief += np.where(mine, on_leg * (0.12 + knee + stack), 0) * rings(points, limb, 0.075, 31) * 0.0034
    hip = np.exp(-(((s - 0.12) / 0.2) ** 2)) * smoothstep(
        -body.points[:, 1][np.asarray(shell.source.argmax(axis=1)).ravel()], -0.05, 0.05
    )
    toward = np.stack([np.sign(points[:, 0]) * 0.8, np.zeros(len(points)), np.full(len(points), 0.6)], axis=1)
    along = (points * toward).sum(axis=1)
    across = points - 0.85 * along[:, None] * toward
    relief += hip * fractal(across, 0.03, 2, 37) * 0.0045
    relief += on_leg * creases(points, np.array([0, 0, 1.0]), 0.07, 41) * 0.0022
    ends = smoothstep((min(wear.ends, _ANKLE) - s) * leg_length(body), -0.002, 0.02)
    below_waist = smoothstep(body.level(wear.waist) - 0.045 - points[:, 2], 0.0, 0.06)
    return (0.35 + 0.65 * wear.fit) * relief * ends * below_waist


def _color(shell: Shell, body: Anatomy, wear: Legwear, edges: tuple[np.ndarray, ...]) -> Part:
    """Panels: 0 legs, 1 waistband or belt, 2 hems, 3 side stripe."""
    main = linear(wear.color)
    trim = linear(wear.trim) if wear.trim else main * 0.95
    cloth = (
        DENIM
        if wear.denim
        else STRETCH
        if isinstance(wear, Leggings)
        else COTTON
        if isinstance(wear, Shorts)
        else TWILL
    )
    bits = shell.panel
    which = np.zeros(len(shell.faces), int)
    around, outward = _around_leg(shell.points, body)
    if wear.side_stripe:
        outer = outward[shell.faces].mean(axis=1) > 0
        which[outer & ((bits & 4) > 0) & ((bits & 8) == 0)] = 3
    which[(bits & 2) == 0] = 2
    which[(bits & 1) == 0] = 1
    band: Surface = LEATHER if wear.belt else cloth
    panels = [
        Panel(main, cloth),
        Panel(linear(wear.belt) if wear.belt else trim, band, 0.0025 if wear.belt else 0.0012),
        Panel(trim, cloth, 0.0007),
        Panel(linear(wear.side_stripe) if wear.side_stripe else main, cloth, 0.0003),
    ]
    waist, ends = (shell.of(edge) for edge in edges)
    lines = [ends - 0.022, np.where(outward > 0, around, 1.0)]
    tint = seam_shade(shell, lines)
    if wear.denim:
        s, front = shell.of(body.leg), smoothstep(-shell.normals[:, 1], -0.1, 0.9)
        faded = front * np.exp(-(((s - 0.55) / 0.4) ** 2)) + 0.4 * np.exp(-(((s - 1.0) / 0.12) ** 2)) * front
        tint = tint * (1 + 0.45 * faded + 0.14 * fractal(shell.points, 0.05, 3, 5))
    fold = smoothstep(np.minimum(waist - 0.04, ends), 0.0, 0.05) * (0.3 + 0.7 * wear.fit)
    return finish(shell, body, panels, which, fold, tint, 0.02)


def make_socks(figure: Figure, wear: Socks) -> None:
    """Put socks on: a thin ribbed layer from the toes up to their top."""
    body = figure.body
    top = np.where(body.leg > 0.5, (body.leg - wear.top) * leg_length(body), -_FAR)
    shell = cut(body, (body.leg[body.faces] > 0.5).all(axis=1), [top])
    stretch(shell, body, figure.clearance + 0.0025, 12)
    divide(shell, [edge_distance(shell, top) - 0.02])
    main = linear(wear.color)
    band = linear(wear.trim) if wear.trim else main
    panels = [Panel(main, JERSEY), Panel(band, JERSEY, 0.0006)]
    which = ((shell.panel & 1) == 0).astype(int)
    part = finish(shell, body, panels, which, np.zeros(len(shell.points)), np.ones(len(shell.points)), 0.01)
    figure.wear([part], top, shell)
