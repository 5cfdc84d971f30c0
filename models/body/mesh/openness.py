"""What each vertex of a posed body sees of the light, the sky and the ground."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from models.body.character import Character
from models.body.embree import RayScene
from models.body.figure import PosedFigure, unit
from models.body.occlusion import OcclusionModel, frames_around, hemisphere
from models.body.renderer import SOFT_SLOPE, SOFTEST_SHADOW, SUN_SLOPE
from models.body.shading import UP, dot

#: Rays to the light from each vertex.
LIGHT_RAYS = 4
#: How far off the surface rays to the light start, metres: along the normal, and towards the light.
LIFT_NORMAL, LIFT_LIGHT = 0.006, 0.004
#: Cosine to the light below which no ray is spent on a vertex: it faces away.
AWAY = -0.15


class BodyOpenness(OcclusionModel):
    """Openness at the vertices, with the relief that lies between the probes."""

    def __init__(self, character: Character, rays: int) -> None:
        super().__init__(character, rays)
        count = len(character.vertices)
        start, end = character.faces[:, [0, 1, 2]].ravel(), character.faces[:, [1, 2, 0]].ravel()
        linked = sparse.coo_matrix((np.ones(len(start), np.float32), (start, end)), shape=(count, count)).tocsr()
        linked = (linked + linked.T).sign() + sparse.identity(count, np.float32)
        mean = sparse.diags(1.0 / np.asarray(linked.sum(axis=1)).ravel()) @ linked
        self._soften = (mean @ mean).tocsr().astype(np.float32)

    def around(self, scene: RayScene, posed: PosedFigure, light: np.ndarray) -> np.ndarray:
        """(V, 3) float32, 0..1: how much is seen of the light as a broad source, of the sky, of the ground.

        Probes stand some centimetres apart. A vertex whose normal differs from the mean of the probes around it gets more
        or less by its own tilt.
        """
        coarse = self.openness(scene, posed, light, UP)
        smooth = unit(self._spread @ posed.normals[self.probes])
        tilts = []
        for direction, offset in ((light, 1.1), (UP, 1.2), (-UP, 1.2)):
            tilt = (offset + dot(posed.normals, direction)) / (offset + dot(smooth, direction))
            tilts.append(np.clip(tilt, 0.4, 1.8))
        return np.clip(coarse * np.stack(tilts, axis=1), 0.0, 1.0).astype(np.float32)

    def sunlit(self, scene: RayScene, posed: PosedFigure, light: np.ndarray, softness: float) -> np.ndarray:
        """(V,) float32, 0..1: share of the light's disc that is seen; 1 everywhere where the light casts no sharp shadow.

        The borders of shadows are spread over two rings of vertices, lest they follow the edges of faces.
        """
        result = np.ones(len(posed.vertices), np.float32)
        if softness > SOFTEST_SHADOW:
            return result
        lit = np.flatnonzero(dot(posed.normals, light) > AWAY)
        across = frames_around(light[None].astype(np.float32), np.zeros(1, np.float32))[0]
        starts = posed.vertices[lit] + LIFT_NORMAL * posed.normals[lit] + LIFT_LIGHT * light
        blocked = np.zeros(len(lit), np.float32)
        for x, y, _ in hemisphere(LIGHT_RAYS) * (SUN_SLOPE + SOFT_SLOPE * softness**2):
            toward = light + x * across[:, 0] + y * across[:, 1]
            blocked += scene.occluded(starts, np.broadcast_to(toward, starts.shape))
        result[lit] = 1.0 - blocked / LIGHT_RAYS
        return self._soften @ result
