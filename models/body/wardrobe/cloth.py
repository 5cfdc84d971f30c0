"""What all garments share: fabrics, the figure that is being dressed, and the finishing of a shell into a part."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from models.body.character import Material, Pattern, Surface
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.mesh import Matrix, neighbours, selection, smooth
from models.body.wardrobe.noise import fractal
from models.body.wardrobe.part import Part, separate
from models.body.wardrobe.shell import Shell, hem_in

COTTON = Surface(Material.CLOTH, 0.88, sheen=0.25, pattern=Pattern.WEAVE, pattern_strength=0.25, wrinkles=0.75)
SHIRTING = Surface(Material.CLOTH, 0.8, sheen=0.15, pattern=Pattern.WEAVE, pattern_strength=0.2, wrinkles=0.9)
KNITTED = Surface(Material.CLOTH, 0.95, sheen=0.45, pattern=Pattern.KNIT, pattern_strength=0.5, wrinkles=0.55)
RIBBED = Surface(Material.CLOTH, 0.95, sheen=0.4, pattern=Pattern.RIBBED, pattern_strength=0.6, wrinkles=0.15)
JERSEY = Surface(Material.CLOTH, 0.92, sheen=0.35, pattern=Pattern.WEAVE, pattern_strength=0.3, wrinkles=0.2)
DENIM = Surface(Material.CLOTH, 0.85, sheen=0.15, pattern=Pattern.DENIM, pattern_strength=0.5, wrinkles=0.7)
STRETCH = Surface(Material.CLOTH, 0.65, sheen=0.2, pattern=Pattern.WEAVE, pattern_strength=0.1, wrinkles=0.25)
TWILL = Surface(Material.CLOTH, 0.85, sheen=0.2, pattern=Pattern.WEAVE, pattern_strength=0.25, wrinkles=0.75)
SATIN = Surface(Material.CLOTH, 0.45, specular=0.05, sheen=0.1, pattern=Pattern.WEAVE, pattern_strength=0.1)
LEATHER = Surface(Material.SHOE, 0.42, pattern=Pattern.LEATHER, pattern_strength=0.15)
SMOOTH_LEATHER = Surface(Material.SHOE, 0.45, pattern=Pattern.LEATHER, pattern_strength=0.05)
CANVAS = Surface(Material.SHOE, 0.85, sheen=0.15, pattern=Pattern.WEAVE, pattern_strength=0.3)
RUBBER = Surface(Material.PLASTIC, 0.6)
METAL = Surface(Material.METAL, 0.35, specular=0.5)

#: Depth in metres under a garment beyond which what lies below cannot be seen and is left out.
HIDDEN_DEPTH = 0.045


@dataclass
class Figure:
    """A body while it is being dressed."""

    body: Anatomy
    clearance: np.ndarray
    """(N,) metres: how far the outermost cloth so far stands off each body vertex."""
    layers: list[tuple[list[Part], np.ndarray]] = field(default_factory=list)
    """For each garment its parts, and (N,) how many metres inside its edges each body vertex lies (negative outside)."""
    surfaces: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """Points and normals (V, 3) of each garment's cloth, for the next one to stay outside of."""

    @staticmethod
    def of(body: Anatomy) -> Figure:
        """A bare figure."""
        return Figure(body, np.zeros(len(body)))

    def wear(self, parts: list[Part], depth: np.ndarray, shell: Shell | None = None) -> None:
        """Put a garment on over all others; ``shell`` is its cloth, where other garments may lie over it."""
        self.layers.append((parts, depth))
        if shell is not None:
            lift = measured_lift(shell, self.body)
            self.clearance = np.maximum(self.clearance, np.where(depth > 0, lift, 0.0))
            self.surfaces.append((shell.points.copy(), shell.normals))

    def keep_outside(self, shell: Shell, gap: float, where: np.ndarray | None = None) -> None:
        """Push a new garment's cloth out until it is ``gap`` metres outside of the garments under it.

        ``where`` (N,) 0..1 over the body: how much that matters; everywhere if it is not given.
        """
        matters = np.ones(len(shell.points)) if where is None else shell.of(where)
        for points, normals in self.surfaces:
            tree = cKDTree(points)
            for _ in range(2):
                distance, index = tree.query(shell.points, k=5)
                height = ((shell.points[:, None] - points[index]) * normals[index]).sum(axis=2)
                height = height[:, :4].mean(axis=1)
                near = (distance[:, 0] < 0.05) & ((normals[index[:, 0]] * shell.normals).sum(axis=1) > 0.2)
                push = np.where(near, np.maximum(gap - height, 0.0), 0.0) * matters
                shell.points = shell.points + blurred(push, shell, 1)[:, None] * normals[index].mean(axis=1)


def measured_lift(shell: Shell, body: Anatomy) -> np.ndarray:
    """(N,) metres by which the cloth stands off each body vertex, spread to the vertices that it does not cover."""
    off = ((shell.points - shell.of(body.points)) * shell.of(body.normals)).sum(axis=1)
    total = shell.source.T @ np.maximum(off, 0)
    weight = np.asarray(shell.source.sum(axis=0)).ravel()
    lift = total / np.maximum(weight, 1e-9)
    return np.where(weight > 1e-6, lift, 0.0)


def skin_weights(source: Matrix, faces: np.ndarray, body: Anatomy, rounds: int = 5) -> Matrix:
    """(V, B) weights of cloth: the body's, a little smoothed, because cloth spreads a bend over its length."""
    weights = source @ body.weights
    mean = neighbours(faces, source.shape[0])
    for _ in range(rounds):
        weights = 0.5 * weights + 0.5 * (mean @ weights)
        weights.data[weights.data < 1e-4] = 0
        weights.eliminate_zeros()
    return weights.tocsr()


@dataclass(frozen=True)
class Panel:
    """How the faces with certain panel bits look."""

    color: np.ndarray
    """(3,) linear RGB."""
    surface: Surface
    raised: float = 0.0
    """Metres by which the panel stands out from the rest."""


def finish(
    shell: Shell, body: Anatomy, panels: list[Panel], which: np.ndarray, fold: np.ndarray, tint: np.ndarray, hem: float
) -> Part:
    """Hem a shell, give each panel its own vertices, colour and surface, and skin it.

    Parameters
    ----------
    panels, which:
        The looks, and for each face of the shell (F,) the index of its look.
    fold:
        (V,) 0..1, where the cloth is free to fold.
    tint:
        (V,) factor on the colour.
    hem:
        Metres of cloth folded back at the openings.
    """
    weights = skin_weights(shell.source, shell.faces, body)
    _raise(shell, panels, which)
    points, faces, origin, parents = hem_in(shell, hem, 0.0022)
    inner = np.zeros(len(points), bool)
    inner[len(shell.points) :] = True
    faces, matrix, label = separate(faces, which[parents], len(points))
    back = origin[np.asarray(matrix.argmax(axis=1)).ravel()]
    surfaces = tuple(_told_apart(panels))
    color = np.stack([panel.color for panel in panels])[label]
    worn = 1 + 0.05 * fractal(shell.points, 0.12, 3, seed=7)
    albedo = color * (tint * worn)[back, None]
    albedo[inner[np.asarray(matrix.argmax(axis=1)).ravel()]] *= 0.55
    pick = selection(back, len(shell.points))
    return Part(
        matrix @ points, faces, (pick @ weights).tocsr(), np.clip(albedo, 0, 1), surfaces, label.astype(int),
        fold=fold[back], source=(pick @ shell.source).tocsr(), control=back,
    )  # fmt: skip


def _told_apart(panels: list[Panel]) -> list[Surface]:
    """The panels' surfaces; a panel of the same cloth in another colour gets one of its own, because the renderer smooths the
    edges between surfaces."""
    result: list[Surface] = []
    for index, panel in enumerate(panels):
        alike = [other for other in panels[:index] if np.abs(other.color - panel.color).max() < 0.06]
        same = [other for other in panels[:index] if other.surface == panel.surface]
        nudged = replace(panel.surface, roughness=panel.surface.roughness - 0.001 * index)
        result.append(nudged if same and not alike else panel.surface)
    return result


def _raise(shell: Shell, panels: list[Panel], which: np.ndarray) -> None:
    """Lift the panels that stand out (bands, cuffs) from the cloth around them."""
    height = np.zeros(len(shell.points))
    count = np.zeros(len(shell.points))
    for corner in range(3):
        np.add.at(height, shell.faces[:, corner], np.array([panel.raised for panel in panels])[which])
        np.add.at(count, shell.faces[:, corner], 1)
    shell.points = shell.points + (height / np.maximum(count, 1))[:, None] * shell.normals


def seam_shade(shell: Shell, fields: list[np.ndarray], width: float = 0.006, strength: float = 0.25) -> np.ndarray:
    """(V,) factor that darkens the cloth along the zero lines of ``fields`` (each (V,) in metres)."""
    shade = np.ones(len(shell.points))
    for values in fields:
        shade *= 1 - strength * np.exp(-((values / width) ** 2))
    return shade


def blurred(values: np.ndarray, shell: Shell, rounds: int = 4) -> np.ndarray:
    """A per-vertex field, smoothed over the cloth."""
    return smooth(values, neighbours(shell.faces, len(shell.points)), rounds)
