"""Skirts: a tube of cloth hung from the waist, not a copy of the legs."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import COTTON, Figure, Panel, finish
from models.body.wardrobe.legwear import leg_length
from models.body.wardrobe.mesh import grid_faces
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.shell import Shell
from models.body.wardrobe.spec import Skirt, linear

_ROWS, _ANGLES = 34, 96


def make_skirt(figure: Figure, skirt: Skirt) -> None:
    """Hang a skirt on ``figure``."""
    body = figure.body
    top = body.level(skirt.waist)
    bottom = body.hip - skirt.ends * leg_length(body)
    shell = _tube(figure, skirt, top, bottom)
    row = shell.faces.min(axis=1) // _ANGLES
    height = top - (top - bottom) * row / (_ROWS - 1)
    which = np.where(top - height < 0.035, 1, 0)
    if skirt.stripes:
        which[(height - bottom > 0.05) & (height - bottom < 0.085)] = 2
    main = linear(skirt.color)
    trim = linear(skirt.trim) if skirt.trim else main * 0.95
    panels = [Panel(main, COTTON), Panel(trim, COTTON, 0.0012), Panel(linear(skirt.stripes or skirt.color), COTTON)]
    z = shell.points[:, 2]
    fold = smoothstep(top - 0.04 - z, 0.0, 0.1)
    part = finish(shell, body, panels, which, fold, np.ones(len(z)), 0.02)
    waist = top - body.points[:, 2]
    hips_only = np.minimum(waist, body.points[:, 2] - body.level(-0.22))
    depth = np.where(body.arm_weight > 0.3, -1.0, hips_only)
    figure.wear([part], depth, shell)


def _tube(figure: Figure, skirt: Skirt, top: float, bottom: float) -> Shell:
    """The hull of hips and thighs at each height, which never narrows downwards, with flare and pleats."""
    body = figure.body
    mine = (body.arm_weight < 0.2) & (body.points[:, 2] < top + 0.03)
    cloud = body.points[mine] + body.normals[mine] * (figure.clearance[mine] + 0.006)[:, None]
    heights = np.linspace(top, bottom, _ROWS)
    angle = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    middle = np.array([0.0, body.joints["upperleg01.L"][1] + 0.01])
    support = np.full((_ROWS, _ANGLES), 0.05)
    for index, z in enumerate(heights):
        near = cloud[np.abs(cloud[:, 2] - z) < 0.022, :2] - middle
        if len(near):
            support[index] = (near @ directions.T).max(axis=0)
    radius = np.maximum.accumulate(_radius(support, directions), axis=0)
    for _ in range(4):
        radius[1:-1] = (radius[:-2] + 2 * radius[1:-1] + radius[2:]) / 4
    down = np.linspace(0, 1, _ROWS)[:, None]
    radius = radius + (0.01 + 0.16 * skirt.flare) * (top - bottom) * down**1.1
    pleats = np.sin(angle * 9 + 1.3 * np.sin(angle * 2) + 0.6 * np.sin(angle * 5 + 1)) + 0.4 * np.sin(angle * 17 + 2)
    radius = radius + (0.002 + 0.02 * skirt.flare) * pleats[None] * down**1.2
    points = np.stack(
        [
            middle[0] + radius * directions[:, 0],
            middle[1] + radius * directions[:, 1],
            np.repeat(heights[:, None], _ANGLES, 1),
        ],
        -1,
    )
    flat = points.reshape(-1, 3)
    faces = grid_faces(_ROWS, _ANGLES, True)
    return Shell(_nearest_mix(flat, body), faces, flat, np.zeros(len(faces), int))


def _radius(support: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(R, A) distance of the hull from its middle along each direction, from its support function."""
    cosine = directions @ directions.T
    with np.errstate(divide="ignore"):
        reach = np.where(cosine[None] > 0.05, support[:, None, :] / cosine[None], np.inf)
    return reach.min(axis=2)


def _nearest_mix(points: np.ndarray, body: Anatomy) -> sparse.csr_matrix:
    """(V, N) blend of body vertices near each point; wide between the legs, so that both legs pull the cloth there."""
    allowed = np.flatnonzero((body.arm_weight < 0.1) & (body.leg < 1.9))
    distance, index = cKDTree(body.points[allowed]).query(points, k=40)
    share = 1 / (distance - distance[:, :1] + 0.02) ** 2
    share /= share.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), 40)
    return sparse.csr_matrix((share.ravel(), (rows, allowed[index].ravel())), shape=(len(points), len(body)))
