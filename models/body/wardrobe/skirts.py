"""Skirts: a tube of cloth hung from the waist, not a copy of the legs."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.character import Surface
from models.body.drape import DRAPE_COLUMNS, DRAPE_ROWS
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import COTTON, Figure, Panel, finish, skin_weights
from models.body.wardrobe.legwear import leg_length
from models.body.wardrobe.mesh import grid_faces
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Drape, Part
from models.body.wardrobe.shell import Shell
from models.body.wardrobe.spec import Skirt, linear

#: Metres to either side of the middle where cloth follows both legs.
_BETWEEN = 0.1
#: Folds round a skirt.
_FOLDS = 11


def make_skirt(figure: Figure, skirt: Skirt) -> None:
    """Hang a skirt on ``figure``."""
    figure.wear(*sew_skirt(figure, skirt))


def sew_skirt(figure: Figure, skirt: Skirt, cloth: Surface = COTTON) -> tuple[list[Part], np.ndarray, Shell]:
    """A skirt over all that ``figure`` wears: what :meth:`~models.body.wardrobe.cloth.Figure.wear` takes."""
    body = figure.body
    top = body.level(skirt.waist)
    bottom = body.hip - skirt.ends * leg_length(body)
    shell = _tube(figure, skirt, top, bottom)
    row = shell.faces.min(axis=1) // DRAPE_COLUMNS
    height = top - (top - bottom) * row / (DRAPE_ROWS - 1)
    which = np.where(top - height < 0.035, 1, 0)
    if skirt.stripes:
        which[(height - bottom > 0.05) & (height - bottom < 0.085)] = 2
    main = linear(skirt.color)
    trim = linear(skirt.trim) if skirt.trim else main * 0.95
    panels = [Panel(main, cloth), Panel(trim, cloth, 0.0012), Panel(linear(skirt.stripes or skirt.color), cloth)]
    z = shell.points[:, 2]
    # The folds of a skirt are in its shape: those that the renderer lays on other cloth run across.
    fold = 0.12 * smoothstep(top - 0.04 - z, 0.0, 0.1)
    part = finish(shell, body, panels, which, fold, np.ones(len(z)), 0.02)
    part.drape = _drape(figure, shell)
    waist = top - body.points[:, 2]
    hips_only = np.minimum(waist, body.points[:, 2] - body.level(-0.22))
    depth = np.where(body.arm_weight > 0.3, -1.0, hips_only)
    return [part], depth, shell


def _tube(figure: Figure, skirt: Skirt, top: float, bottom: float) -> Shell:
    """A tube that lies on what is worn at the waist, hangs from the widest places below it, and falls in folds."""
    body = figure.body
    mine = (body.arm_weight < 0.2) & (body.points[:, 2] < top + 0.03)
    cloud = body.points[mine] + body.normals[mine] * (figure.clearance[mine] + 0.006)[:, None]
    heights = np.linspace(top, bottom, DRAPE_ROWS)
    angle = np.arange(DRAPE_COLUMNS) * 2 * np.pi / DRAPE_COLUMNS
    directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    middle = np.array([0.0, body.joints["upperleg01.L"][1] + 0.01])
    support = np.full((DRAPE_ROWS, DRAPE_COLUMNS), 0.05)
    for index, z in enumerate(heights):
        near = cloud[np.abs(cloud[:, 2] - z) < 0.022, :2] - middle
        if len(near):
            support[index] = (near @ directions.T).max(axis=0)
    hull = _radius(support, directions)
    # At the waist the band follows the body into its hollows; from there the cloth goes over to the hull.
    worn = [points[(points[:, 2] > bottom) & (points[:, 2] < top + 0.03)] for points, _ in figure.surfaces]
    close = _outline(np.concatenate([cloud, *worn]) - [*middle, 0.0], heights, hull)
    free = smoothstep(top - heights, 0.03, 0.16)[:, None]
    hull = (close + 0.005) * (1 - free) + np.maximum(close + 0.005, hull) * free
    radius = np.maximum.accumulate(hull, axis=0)
    for _ in range(4):
        radius[1:-1] = (radius[:-2] + 2 * radius[1:-1] + radius[2:]) / 4
    down = np.linspace(0, 1, DRAPE_ROWS)[:, None]
    radius = radius + (0.01 + 0.16 * skirt.flare) * (top - bottom) * down**1.1
    radius = radius + (0.005 + 0.036 * skirt.flare) * _folds(angle, down)
    points = np.stack(
        [
            middle[0] + radius * directions[:, 0],
            middle[1] + radius * directions[:, 1],
            np.repeat(heights[:, None], DRAPE_COLUMNS, 1),
        ],
        -1,
    )
    flat = points.reshape(-1, 3)
    faces = grid_faces(DRAPE_ROWS, DRAPE_COLUMNS, True)
    return Shell(_nearest_mix(flat, body), faces, flat, np.zeros(len(faces), int))


def _outline(cloud: np.ndarray, heights: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """(R, A) metres from the middle to the outside of ``cloud`` (V, 3), which stands round it, at each of the heights. What
    stands far outside of ``hull`` (R, A) is an arm."""
    turn = np.rint(np.arctan2(cloud[:, 1], cloud[:, 0]) / (2 * np.pi) * DRAPE_COLUMNS).astype(int)
    distance = np.hypot(cloud[:, 0], cloud[:, 1])
    result = np.zeros((len(heights), DRAPE_COLUMNS))
    for row, z in enumerate(heights):
        near = (np.abs(cloud[:, 2] - z) < 0.018) & (distance < hull[row, turn % DRAPE_COLUMNS] + 0.04)
        for shift in (-2, -1, 0, 1, 2):
            np.maximum.at(result[row], (turn[near] + shift) % DRAPE_COLUMNS, distance[near])
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    return np.stack([np.convolve(np.r_[line[-2:], line, line[:2]], kernel, "valid") for line in result])


def _folds(angle: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(R, A) -1..1: folds that begin at different heights, run straight down and open towards the hem."""
    total = np.zeros((len(down), len(angle)))
    turns = (np.arange(_FOLDS) + 0.32 * np.sin(2.4 * np.arange(_FOLDS))) * 2 * np.pi / _FOLDS
    for index, turn in enumerate(turns):
        begins = 0.06 + 0.30 * (0.5 + 0.5 * np.sin(5.1 * index + 1.0))
        strength = 0.65 + 0.35 * np.sin(3.7 * index)
        away = np.angle(np.exp(1j * (angle - turn)))[None]
        width = 0.085 + 0.055 * down
        crest = np.exp(-((away / width) ** 2))
        total += strength * smoothstep(down, begins, begins + 0.6) * (0.4 + 0.6 * down) * crest
    return 2 * (total - total.mean(axis=1, keepdims=True))


def _radius(support: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(R, A) distance of the hull from its middle along each direction, from its support function."""
    cosine = directions @ directions.T
    with np.errstate(divide="ignore"):
        reach = np.where(cosine[None] > 0.05, support[:, None, :] / cosine[None], np.inf)
    return reach.min(axis=2)


def _nearest_mix(points: np.ndarray, body: Anatomy) -> sparse.csr_matrix:
    """(V, N) blend of body vertices near each point. Cloth over a leg follows that leg, and both only between them; and it
    follows the thigh for longer than it lies over it, because it does not bend at the knee."""
    knee = body.legs[0].joints[1][2] + 0.12
    raised = points.copy()
    raised[:, 2] = np.maximum(points[:, 2], knee + 0.25 * (points[:, 2] - knee))
    both = smoothstep(points[:, 0], -_BETWEEN, _BETWEEN)
    total = sparse.csr_matrix((len(points), len(body)))
    for share, side in ((both, body.points[:, 0] > 0), (1 - both, body.points[:, 0] < 0)):
        allowed = np.flatnonzero((body.arm_weight < 0.1) & (body.leg < 1.9) & side)
        distance, index = cKDTree(body.points[allowed]).query(raised, k=24)
        near = 1 / (distance - distance[:, :1] + 0.03) ** 2
        near *= share[:, None] / near.sum(axis=1, keepdims=True)
        rows = np.repeat(np.arange(len(points)), 24)
        total = total + sparse.csr_matrix((near.ravel(), (rows, allowed[index].ravel())), shape=total.shape)
    return total.tocsr()


def _drape(figure: Figure, shell: Shell) -> Drape:
    """The control points of a skirt, and balls along what the legs wear under it."""
    body = figure.body
    points, radius, weights = (
        [shell.points],
        [np.zeros(len(shell.points))],
        [skin_weights(shell.source, shell.faces, body)],
    )
    for limb, mine in zip(body.legs, (body.points[:, 0] > 0, body.points[:, 0] < 0), strict=True):
        stations = np.linspace(0.12, 1.9, 20)
        centre, thick = limb.at(stations)
        rows = []
        for index, station in enumerate(stations):
            near = mine & (np.abs(body.leg - station) < 0.07) & (body.leg_weight > 0.4)
            rows.append(sparse.csr_matrix(near / near.sum()) @ body.weights)
            thick[index] += np.median(figure.clearance[near])
        points.append(centre)
        radius.append(1.05 * thick + 0.006)
        weights.append(sparse.vstack(rows))
    return Drape(np.concatenate(points), sparse.vstack(weights, format="csr"), np.concatenate(radius))
