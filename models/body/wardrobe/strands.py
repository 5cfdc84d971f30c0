"""What breaks the outline of hair that lies on the head: locks that lift off it, flyaways, the coils of tight curls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.hair_cap import strand_color
from models.body.wardrobe.locks import Paths, tubes
from models.body.wardrobe.mesh import Matrix, unit, vertex_normals
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part
from models.body.wardrobe.scalp import Scalp
from models.body.wardrobe.spec import Hair

#: Sides of a lock's cross-section; it is flat, and under one pixel wide in most shots.
_SIDES = 3
#: Turns the cross-section so that one edge is below: the flat side that is seen is lit as the hair around it.
_FLAT_SIDE_UP = -np.pi / 2
#: No lock comes nearer to an ear than this, metres.
_OFF_EARS = 0.010
#: How far a lock may hang over the edge of the hair, metres, and how far from the edge it is rooted at least.
_OVERHANG, _ROOTED = 0.004, 0.008
#: How many times more places are tried than locks are wanted: some would end on the face.
_TRIES = 6


@dataclass(frozen=True)
class Growth:
    """What locks that lie on a cap of hair look like. Lengths in metres."""

    count: int
    length: tuple[float, float]
    """Shortest and longest."""
    width: float
    """Half width at the middle."""
    lift: tuple[float, float]
    """How far the tips stand off the cap: least and most."""
    steps: int = 6
    """Points along a lock."""
    stray: float = 0.25
    """How far directions stray from the flow, as a slope."""
    thin: float = 0.15
    """Width of the tip as a share of the middle's."""


def spread(points: np.ndarray, count: int, allowed: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Indices of at most ``count`` of the points (V, 3) where ``allowed`` (V,), spread evenly in a random order."""
    order = random.permutation(np.flatnonzero(allowed))
    if len(order) == 0:
        return order
    tree, area = cKDTree(points[order]), np.ptp(points[order], axis=0).max() ** 2
    radius = np.sqrt(area / max(count, 1))
    while True:
        free, chosen = np.ones(len(order), bool), []
        for place in range(len(order)):
            if free[place]:
                chosen.append(place)
                free[tree.query_ball_point(points[order[place]], radius)] = False
        if len(chosen) >= count or radius < 1e-3:
            return order[np.array(chosen[:count])]
        radius *= 0.85


def locks_on(
    body: Anatomy, scalp: Scalp, hair: Hair, cap: Part, flow: np.ndarray, growth: Growth, seed: int
) -> list[Part]:
    """Locks that leave the cap along ``flow`` (V, 3): one part, or none where there is no room."""

    def clear(path: np.ndarray) -> np.ndarray:
        return _clear_of_skin(body, scalp, path, growth.width)

    return _locks(hair, cap, flow, growth, scalp.inside > _ROOTED, clear, seed)


def locks_over(hair: Hair, sheet: Part, growth: Growth, allowed: np.ndarray, seed: int) -> list[Part]:
    """Locks that leave a sheet of falling hair where ``allowed`` (V,) bool: one part, or none where there is no room."""
    return _locks(hair, sheet, sheet.strand, growth, allowed, lambda path: np.ones(len(path), bool), seed)


def _locks(
    hair: Hair,
    cap: Part,
    flow: np.ndarray,
    growth: Growth,
    allowed: np.ndarray,
    clear: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> list[Part]:
    random = np.random.default_rng(seed)
    roots = spread(cap.points, growth.count * _TRIES, allowed, random)
    roots = roots[random.permutation(len(roots))]
    length = random.uniform(*growth.length, len(roots))
    lift = growth.lift[0] + (growth.lift[1] - growth.lift[0]) * random.random(len(roots)) ** 1.5
    stray = growth.stray * random.normal(0, 1, len(roots))
    path, out = _CapSurface(cap, flow).follow(cap.points[roots], length, lift, stray, growth.steps)
    kept = np.flatnonzero(clear(path))[: growth.count]
    if len(kept) == 0:
        return []
    t = np.linspace(0, 1, growth.steps)
    shape = np.interp(t, [0, 0.35, 1], [0.5, 1.0, growth.thin])
    width = growth.width * shape * random.uniform(0.7, 1.25, (len(kept), 1))
    paths = Paths(path[kept], width, 0.28 * width, out[kept])
    return [_lock_part(paths, hair, cap, roots[kept], random)]


class _CapSurface:
    """The outer side of a cap as something to walk on."""

    def __init__(self, cap: Part, flow: np.ndarray) -> None:
        self.points, self.flow = cap.points, flow
        self.normals = vertex_normals(cap.points, cap.faces)
        self.tree = cKDTree(cap.points)

    def follow(
        self, start: np.ndarray, length: np.ndarray, lift: np.ndarray, stray: np.ndarray, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(M, K, 3) paths from ``start`` (M, 3) along the flow, ``lift`` (M,) metres off the cap at their tips, and the
        normals under them."""
        place, path, out = start.copy(), [], []
        for step in range(steps):
            t = step / (steps - 1)
            near = self.tree.query(place, k=4)[1]
            normal, flow = unit(self.normals[near].mean(axis=1)), unit(self.flow[near].mean(axis=1))
            foot = self.points[near].mean(axis=1)
            height = ((place - foot) * normal).sum(axis=1)
            on_cap = place - height[:, None] * normal
            # Roots are sunk in, so that a lock seems to come out of the hair around it.
            rise = -0.0015 * (1 - t) ** 2 + lift * smoothstep(np.full(len(lift), t), 0.1, 1.0)
            path.append(on_cap + rise[:, None] * normal)
            out.append(normal)
            aside = np.cross(normal, flow)
            place = on_cap + (length / (steps - 1))[:, None] * unit(flow + (stray * (1 - t))[:, None] * aside)
        return np.stack(path, axis=1), np.stack(out, axis=1)


def _clear_of_skin(body: Anatomy, scalp: Scalp, path: np.ndarray, width: float) -> np.ndarray:
    """(M,) bool: paths (M, K, 3) that stay over the hair, off the face and off the ears."""
    away = cKDTree(scalp.points).query(path)
    edge = scalp.inside[away[1]] < 0.003
    ears = cKDTree(body.points[body.painted("ears") > 0.3])
    off_ears = ears.query(path)[0].min(axis=1) > _OFF_EARS + width
    # Over the edge the nearest point of the scalp stays behind: the tips at the nape may hang over it, others not.
    nape = path[..., 1] > body.face_frame.skull[1] + 0.3 * body.face_frame.unit
    over = edge & (~nape | (away[0] > _OVERHANG + 0.012))
    return off_ears & ~over.any(axis=1)


def _lock_part(paths: Paths, hair: Hair, cap: Part, roots: np.ndarray, random: np.random.Generator) -> Part:
    """All locks as one part that moves with the places of the cap where they are rooted."""
    points, faces, strand = tubes(paths, _SIDES, _FLAT_SIDE_UP)
    locks, steps = paths.points.shape[:2]
    each = _SIDES * steps
    along = np.tile(np.linspace(0.45, 1.0, steps), locks)
    clump = np.repeat(random.normal(0, 0.5, locks), steps)
    color = strand_color(hair, np.repeat(along, _SIDES), np.repeat(clump, _SIDES), random.normal(0, 0.25, len(points)))
    weights: Matrix = cap.weights[np.repeat(roots, each)].tocsr()
    return Part(points, faces, weights, color, cap.surfaces, np.zeros(len(points), int), strand=strand)


def coils_on(body: Anatomy, scalp: Scalp, hair: Hair, cap: Part, count: int, size: float, seed: int) -> list[Part]:
    """Tight curls that stand out of the cap: ``count`` coils, each ``size`` metres across."""
    random = np.random.default_rng(seed)
    roots = spread(cap.points, count, scalp.inside > _ROOTED, random)
    normals = vertex_normals(cap.points, cap.faces)[roots]
    helper = unit(random.normal(0, 1, normals.shape))
    first = unit(np.cross(normals, helper))
    second = np.cross(normals, first)
    steps = 7
    t = np.linspace(0, 1, steps)
    turn = 2 * np.pi * (random.random((len(roots), 1)) + random.uniform(0.65, 1.0, (len(roots), 1)) * t)
    radius = 0.5 * size * random.uniform(0.7, 1.2, (len(roots), 1))
    # A coil lies half in the hair, so that it is seen as an arc.
    rise = random.uniform(0.1, 0.8, (len(roots), 1)) * size * t - 0.55 * size
    across = np.cos(turn)[..., None] * first[:, None] + np.sin(turn)[..., None] * normals[:, None]
    path = cap.points[roots][:, None] + radius[..., None] * across
    path = path + 0.5 * rise[..., None] * normals[:, None] + (rise - 0.3 * size)[..., None] * second[:, None]
    kept = np.flatnonzero(_clear_of_skin(body, scalp, path, 0.0))
    if len(kept) == 0:
        return []
    out = np.broadcast_to(normals[kept][:, None], path[kept].shape)
    width = 0.0018 * np.interp(t, [0, 0.6, 1], [1.0, 0.9, 0.5]) * random.uniform(0.8, 1.3, (len(kept), 1))
    return [_lock_part(Paths(path[kept], width, width, out), hair, cap, roots[kept], random)]
