"""What rays pass through: between the wisps at the fringe of hair, and through the clear parts of textures (hair cards,
lashes, lace)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from models.body.character import Character
from models.body.detail import combed
from models.body.embree import Fragments, RayScene
from models.body.figure import PosedFigure, unit
from models.body.shading import dot
from models.body.texture import CLOSED, TextureModel

#: How far behind a surface a ray that passes through it goes on, metres.
STEP_BEHIND = 0.0004
#: Wavelength across the wisps at the fringe of hair, metres.
WISP = 0.0024
#: How fast hair thins out towards its fringe, in deviations of the wisps, and how dense it is seen across.
THINNING, DENSITY = 4.6, 1.5
#: How much wisps decide at best; the rest is chance, which gives them soft edges.
CLEAREST = 0.8
#: Most layers that one ray passes through: of wisps, and of cards, which lie many deep.
WISP_LAYERS, CARD_LAYERS = 2, 10


@dataclass(frozen=True)
class Strata:
    """Which share of the opacities each ray of a pixel stands for: the rays of one pixel share 0..1 out evenly, and do so
    anew at each layer, because layers cover independently of each other."""

    order: np.ndarray
    """(CARD_LAYERS, C) the order in which the C rays of a pixel take the shares, one row a layer."""
    ray: np.ndarray
    """(S,) number of each ray in its pixel."""
    pixel: np.ndarray
    """(S,) flat index of its pixel."""
    place: np.ndarray
    """(S,) float32, 0..1, where in its share it lies."""

    @staticmethod
    def orders(count: int) -> np.ndarray:
        """The table of orders for ``count`` rays a pixel."""
        generator = np.random.default_rng(11)
        return np.stack([np.arange(count), *(generator.permutation(count) for _ in range(CARD_LAYERS - 1))])

    def thresholds(self, layer: int, rays: np.ndarray) -> np.ndarray:
        """(M,) float32 opacity below which each of ``rays`` (M,) passes the layer."""
        count = self.order.shape[1]
        # Pixels begin elsewhere in the order, or the grain of one pattern would show.
        begin = ((self.pixel[rays].astype(np.uint32) + np.uint32(977 * layer)) * np.uint32(2654435761)) >> np.uint32(16)
        share = (self.order[layer, self.ray[rays]] + begin) % count
        return ((share + self.place[rays]) / count).astype(np.float32)


class SeeThrough:
    """The parts of a character that rays may pass.

    Parameters
    ----------
    static:
        (V, 11) float32: rest position, albedo, fold, softness, strand of each vertex.
    face_surface:
        (F,) int64, index of the surface of each face.
    """

    def __init__(
        self,
        character: Character,
        textures: TextureModel,
        static: np.ndarray,
        face_surface: np.ndarray,
    ) -> None:
        self._faces = character.faces
        self._textures = textures
        self._static, self._face_surface = static, face_surface
        self._soft_face = character.softness[character.faces].max(axis=1) > 0.1

    def edges(self, centre: Fragments, focal: float) -> np.ndarray:
        """(H, W) bool: pixels of which something behind may show. ``focal`` in pixels."""
        edge = centre.hit & self._soft_face[centre.pix_to_face]
        cards = np.flatnonzero((centre.hit & self._textures.open_face[centre.pix_to_face]).ravel())
        if len(cards):
            face = centre.pix_to_face.ravel()[cards]
            closed = self._textures.opacity(
                face,
                self._face_surface[face],
                centre.bary_coords.reshape(-1, 3)[cards],
                centre.zbuf.ravel()[cards] / np.float32(focal),
            )
            edge.ravel()[cards[closed < CLOSED]] = True
        return edge

    def follow(
        self,
        scene: RayScene,
        posed: PosedFigure,
        found: Fragments,
        directions: np.ndarray,
        strata: Strata,
        focal: float,
    ) -> Fragments:
        """Let rays go on to what they meet behind clear places.

        Parameters
        ----------
        found:
            What each of S rays from the camera meets first.
        directions:
            (S, 3) float32, z = 1.
        strata:
            The shares of the S rays.
        """
        face, depth, bary = found.pix_to_face.copy(), found.zbuf.copy(), found.bary_coords.copy()
        active = np.flatnonzero(face >= 0)
        for layer in range(CARD_LAYERS):
            active = active[face[active] >= 0]
            gone = []
            soft = active[self._soft_face[face[active]]] if layer < WISP_LAYERS else active[:0]
            if len(soft):
                gone.append(
                    soft[
                        self._between_wisps(
                            posed,
                            Fragments(face[soft], depth[soft], bary[soft]),
                            directions[soft],
                            focal,
                            strata.thresholds(layer, soft),
                        )
                    ]
                )
            cards = active[self._textures.open_face[face[active]]]
            if len(cards):
                mine = face[cards]
                footprint = depth[cards] / np.float32(focal)
                closed = self._textures.opacity(mine, self._face_surface[mine], bary[cards], footprint)
                gone.append(cards[closed <= strata.thresholds(layer, cards)])
            active = np.unique(np.concatenate(gone)) if gone else active[:0]
            if len(active) == 0:
                break
            rays = directions[active]
            start = rays * (depth[active] + STEP_BEHIND)[:, None]
            behind = scene.intersect(start, rays)
            face[active], bary[active] = behind.pix_to_face, behind.bary_coords
            depth[active] = np.where(behind.hit, behind.zbuf + depth[active] + STEP_BEHIND, -1.0)
        return Fragments(face, depth, bary)

    def _between_wisps(
        self, posed: PosedFigure, found: Fragments, directions: np.ndarray, focal: float, thresholds: np.ndarray
    ) -> np.ndarray:
        """(S,) bool: rays that meet the fringe of hair between two wisps.

        Wisps that are finer than two pixels cannot be told apart: there the share of the rays of a pixel that pass
        (``thresholds`` (S,), from :class:`Strata`) is that of the gaps, and nothing sparkles.
        """
        corners = self._faces[found.pix_to_face]
        rest = np.einsum("sk,skc->sc", found.bary_coords, self._static[corners])
        normal = unit(np.einsum("sk,skc->sc", found.bary_coords, posed.normals[corners]))
        facing = np.abs(dot(normal, unit(directions)))
        value = ndtri(np.clip(thresholds, 1e-3, 1.0 - 1e-3)).astype(np.float32)
        clear = np.clip(WISP * focal / (2.0 * found.zbuf) - 1.0, 0.0, CLEAREST).astype(np.float32)
        near = np.flatnonzero(clear > 0)
        if len(near):
            wisps, _ = combed(rest[near, :3] / np.float32(WISP), unit(rest[near, 8:11]))
            value[near] = clear[near] * wisps + np.sqrt(1.0 - clear[near] ** 2) * value[near]
        return value < THINNING * rest[:, 7] - DENSITY - facing
