"""The photo as a source of colours for the surface."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.body.embree import RayScene, project, rasterize
from models.body.photo.surface import FOREARMS, HANDS, Points, Surface, limbs, pieces
from models.body.photo.trespass import trespassing
from models.body.wardrobe.mesh import vertex_normals
from models.body.wardrobe.noise import smoothstep

#: Cosine between normal and line of sight at which a pixel begins to count, and from which it counts wholly.
SLANTED, FACING = 0.15, 0.45
#: Pixels from the person's outline that do not count, at a height of 500 pixels.
OUTLINE = 3.2
#: The same for the edge of another limb, in parts of it: the fitted limb may lie that far off the one that is seen.
LIMB_MARGIN = 1.0
#: Depth step that is the edge of another limb, metres.
LIMB_EDGE = 0.05
#: How far from the pixels of its own limb a place may lie, pixels: at a seam both are right.
SEAM = 2.0
#: What lies beside an arm in front does not count within this distance, parts of the person's height: shadows, blends.
ARM_MARGIN = 0.01
#: Blur of the front's colours where they stand for the back's, parts of the person's height.
BACK_BLUR = 0.01
#: Pixels from which a colour is known, and the upper part of the scalp that the hair's is taken from.
LEAST_PIXELS, UPPER_SCALP = 12, 0.45
#: Trust in seen-through colours.
THROUGH_TRUST = 0.5


@dataclass(frozen=True)
class Sight:
    """The photo as a source of colours."""

    surface: Surface
    scene: RayScene
    corners: Points
    """The vertices."""
    clear: np.ndarray
    """(H, W) float32, 0..1: pixels whose colour is that of the surface behind them, not of an edge."""
    vertex: np.ndarray
    """(H, W) int: a vertex of the face that is seen in each pixel; -1 for none."""
    front: np.ndarray
    """(H, W) int: limb that is seen in each pixel; -1 for none."""
    arm: np.ndarray
    """(H, W) float32, 1 where the body has a forearm or hand in front."""
    blurred: np.ndarray
    """(H, W, 3) float32 albedo, blurred within the person."""

    @staticmethod
    def of(surface: Surface) -> Sight:
        """The photo behind a surface."""
        part = limbs(surface.body)
        height, width = surface.mask.shape
        scene = RayScene(surface.posed, surface.faces)
        seen = rasterize(scene, surface.sitting.intrinsics, np.eye(3), (width, height))
        tall = float(np.ptp(np.flatnonzero(surface.mask.any(axis=1)))) + 1
        edge = OUTLINE * max(tall / 500, 0.5)
        padded = np.pad(surface.mask, 1, mode="edge").astype(np.uint8)
        inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        depth = np.where(seen.hit, seen.zbuf, 0).astype(np.float32)
        kernel = np.ones((2 * max(round(LIMB_MARGIN * edge), 1) + 1,) * 2, np.uint8)
        step = cv2.dilate(np.where(seen.hit, depth, 0), kernel) - cv2.erode(np.where(seen.hit, depth, 1e3), kernel)
        vertex = np.where(seen.hit, surface.faces[np.maximum(seen.pix_to_face, 0), 0], -1)
        front = np.where(seen.hit, part[vertex], -1)
        clear = np.clip(inside / edge - 0.5, 0, 1) * (step < LIMB_EDGE) * surface.sure
        clear *= ~trespassing(surface, scene, tall)
        arm = seen.hit & np.isin(pieces(surface.body), (FOREARMS, HANDS))[vertex]
        size = 2 * round(ARM_MARGIN * tall) + 1
        beside = cv2.dilate(arm.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        clear *= arm | ~beside
        weight = surface.mask.astype(np.float32) * (clear > 0.3)
        sigma = BACK_BLUR * tall
        total = cv2.GaussianBlur(surface.albedo * weight[..., None], (0, 0), sigma)
        blurred = total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)[..., None]
        normals = vertex_normals(surface.posed.astype(np.float64), surface.faces)
        corners = Points(surface.body.points, surface.posed, normals, part, surface.shift)
        return Sight(
            surface,
            scene,
            corners,
            clear.astype(np.float32),
            vertex,
            front,
            arm.astype(np.float32),
            blurred.astype(np.float32),
        )

    def pixels(self, points: Points) -> np.ndarray:
        """(M, 2) float32 where places are in the photo."""
        place = project(self.surface.sitting.intrinsics, np.eye(3), points.posed.astype(np.float32))
        return (place + points.shift).astype(np.float32)

    def hair_color(self) -> np.ndarray | None:
        """(3,) albedo of the hair: the middle of what is seen of the scalp's upper part, where a headband or the rim that
        the light falls on is the lesser part; ``None`` where too little is seen."""
        scalp = (self.front == 6) & self.surface.mask & (self.surface.sure > 0.5)
        rows = np.flatnonzero(scalp.any(axis=1))
        if scalp.sum() < LEAST_PIXELS:
            return None
        scalp[rows[0] + round(UPPER_SCALP * len(rows)) :] = False
        return np.asarray(np.median(self.surface.albedo[scalp], axis=0))

    def color_of(self, chosen: np.ndarray) -> np.ndarray | None:
        """(3,) the middle albedo of the pixels in which the body has the chosen vertices (V,) bool; ``None`` where there are
        few."""
        pixels = (self.vertex >= 0) & chosen[self.vertex] & (self.surface.sure > 0.5)
        return np.asarray(np.median(self.surface.albedo[pixels], axis=0)) if pixels.sum() >= LEAST_PIXELS else None

    def colors(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """(M, 3) colours that the photo shows at places, and (M,) trust in them, 0..1."""
        pixels = self.pixels(points)
        toward = -points.posed / np.linalg.norm(points.posed, axis=1, keepdims=True)
        facing = smoothstep((points.normals * toward).sum(axis=1), SLANTED, FACING)
        trust = facing * _sampled(self.clear, pixels)
        asked = np.flatnonzero(trust > 0.01)
        origins = (points.posed[asked] + 0.004 * points.normals[asked]).astype(np.float32)
        hidden = self.scene.occluded(origins, toward[asked].astype(np.float32), 50.0)
        trust[asked[hidden]] = 0.0
        trust[self._under_another(points, pixels)] = 0.0
        return _sampled(self.surface.albedo, pixels), trust

    def _under_another(self, points: Points, pixels: np.ndarray) -> np.ndarray:
        """(M,) bool: places where the photo has another limb: two that touch run into each other in the fitted body."""
        arm = _sampled(self.arm, pixels) > 0.3
        result = arm & np.isin(points.part, (0, 3, 4, 6))
        for number in np.unique(points.part):
            mine = points.part == number
            away = cv2.distanceTransform((self.front != number).astype(np.uint8), cv2.DIST_L2, 5)
            result[mine] |= _sampled(away, pixels[mine]) > SEAM
        return result

    def through(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """(M, 3) colours of the same limb on the same line of sight, blurred, and (M,) trust in them. Not for the head: the
        back of a head is no face."""
        pixels = self.pixels(points)
        column, row = np.round(pixels).astype(int).T
        height, width = self.front.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        front = self.front[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        same = inside & (front == points.part) & (points.part < 5)
        return _sampled(self.blurred, pixels), THROUGH_TRUST * same * _sampled(self.clear, pixels)


def _sampled(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(M,) or (M, C) values of a picture, linear between pixels; 0 outside of it."""
    rows = []
    for start in range(0, len(pixels), 30000):
        x, y = (np.ascontiguousarray(pixels[start : start + 30000, k])[None] for k in (0, 1))
        rows.append(cv2.remap(picture, x, y, cv2.INTER_LINEAR)[0])
    return np.concatenate(rows)
