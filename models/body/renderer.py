"""Draws a posed figure: rays, adaptive samples at edges, attributes, light. CPU, numpy and Embree.

One ray goes through the centre of every pixel. Where neighbours belong to different things (silhouette, layers, depth
steps) the pixel is sampled again at several points, and only there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.types import ShotLook
from models.body.character import Character
from models.body.detail import DetailModel
from models.body.embree import Fragments, RayScene, camera_rays, project, rasterize, window_of
from models.body.figure import Figure, PosedFigure, unit
from models.body.occlusion import OcclusionModel, frames_around, hemisphere
from models.body.see_through import SeeThrough, Strata
from models.body.shading import UP, Samples, SurfaceTable, dot, expose, shade
from models.body.texture import TextureModel

#: Depth step between neighbouring pixels that counts as an edge, metres.
DEPTH_STEP = 0.03
#: Radius of the sun's disc (as a slope) for a hard light; grows with softness.
SUN_SLOPE, SOFT_SLOPE = 0.02, 0.5
#: Softness above which the sharp part of the light is too weak for its shadows to be seen.
SOFTEST_SHADOW = 0.85
#: Which of sixteen points each pixel of a 4 x 4 pattern takes (an ordered dither: neighbours are far apart).
PLACES = np.array([0, 8, 2, 10, 12, 4, 14, 6, 3, 11, 1, 9, 15, 7, 13, 5])
#: What the inner side of cloth sees of light, sky and ground, where a sleeve or a hem shows it.
INSIDE = np.array([0.15, 0.2, 0.2], np.float32)


@dataclass(frozen=True)
class View:
    """From where a figure is drawn."""

    intrinsics: np.ndarray
    """(3, 3), K of the source camera, pixels."""
    H_crop_source: np.ndarray
    """(3, 3), source pixels -> crop pixels."""
    size: tuple[int, int]
    """(width, height) of the crop in pixels."""

    @property
    def focal(self) -> float:
        """Focal length in crop pixels."""
        return float(self.intrinsics[0, 0] * np.sqrt(abs(np.linalg.det(self.H_crop_source[:2, :2]))))


@dataclass(frozen=True)
class Layer:
    """A drawn figure in crop pixels."""

    color: np.ndarray
    """(H, W, 3) float32, linear RGB of the footage (exposed, hazed), not multiplied by alpha; 0 where alpha is 0."""
    alpha: np.ndarray
    """(H, W) float32, 0..1, anti-aliased."""
    motion: np.ndarray
    """(H, W, 2) float32, px/frame."""


def subpixels(count: int) -> np.ndarray:
    """(count, 2) float32 sample points in a pixel, -0.5..0.5: a rank-1 lattice, even in both directions."""
    number = np.arange(count)
    golden = (number * 0.6180339887498949 + 0.5 / count) % 1.0
    return np.stack([(number + 0.5) / count, golden], axis=1).astype(np.float32) - 0.5


class FigureRenderer:
    """Draws one character again and again. ``scene`` holds the figure as it was last drawn.

    Parameters
    ----------
    character, bone_count:
        The figure and the number of bones of its body.
    edge_samples, shadow_rays, occlusion_rays:
        See ``EngineOptions``.
    """

    def __init__(
        self, character: Character, bone_count: int, edge_samples: int, shadow_rays: int, occlusion_rays: int
    ) -> None:
        self.character = character
        self.figure = Figure(character, bone_count)
        self.scene = RayScene(character.vertices, character.faces)
        self._table = SurfaceTable.of(character)
        self._detail = DetailModel(character)
        self._occlusion = OcclusionModel(character, occlusion_rays) if occlusion_rays else None
        self._subpixels = subpixels(edge_samples)
        self._orders = Strata.orders(edge_samples)
        self._shadow_rays = shadow_rays
        faces = character.faces
        self._face_surface = character.surface[faces[:, 0]].astype(np.int64)
        self._face_kind = character.layer.astype(np.int64) * 256 + self._face_surface
        still = (
            character.vertices,
            character.albedo,
            character.fold[:, None],
            character.softness[:, None],
            character.strand,
        )
        self._static = np.concatenate(still, axis=1).astype(np.float32)
        self._textures = TextureModel(character)
        self._see_through = SeeThrough(character, self._textures, self._static, self._face_surface)
        self._sheet = np.array([surface.sheet for surface in character.surfaces])

    def render(self, posed: PosedFigure, displacement: np.ndarray, view: View, look: ShotLook) -> Layer:
        """Draw one frame. Moves ``scene`` to the pose.

        Parameters
        ----------
        posed:
            The figure in its pose.
        displacement:
            (V, 2) float32, motion of each vertex in crop px/frame.
        """
        self.scene.move(posed.vertices)
        width, height = view.size
        window = window_of(project(view.intrinsics, view.H_crop_source, posed.vertices), view.size)
        centre = rasterize(self.scene, view.intrinsics, view.H_crop_source, view.size, window)
        edges = self._edges(centre, view.focal)
        pixels, hits, weight = self._samples(posed, centre, edges, view)
        picture = np.zeros((height, width, 6), np.float32)
        if len(pixels):
            openness = self._openness(posed, look)
            values = self._lit(posed, displacement, openness, hits, pixels, view, look)
            _gather(picture, values * weight[:, None], pixels)
        return Layer(picture[..., :3], np.minimum(picture[..., 5], 1.0), np.ascontiguousarray(picture[..., 3:5]))

    def _openness(self, posed: PosedFigure, look: ShotLook) -> np.ndarray:
        if self._occlusion is not None:
            return self._occlusion.openness(self.scene, posed, look.light_direction, UP)
        facing = np.clip(dot(posed.normals, look.light_direction), 0.0, None) ** 1.5
        above = 0.5 + 0.5 * dot(posed.normals, UP)
        return np.stack([facing, above, 1.0 - above], axis=1) * self.character.occlusion[:, None]

    def _edges(self, centre: Fragments, focal: float) -> np.ndarray:
        """(H, W) bool: pixels at which something begins or ends."""
        hit = centre.hit
        kind = np.where(hit, self._face_kind[centre.pix_to_face], -1)
        edge = np.zeros(hit.shape, bool)
        for axis in (0, 1):
            near, far = (np.take(kind, range(*r), axis) for r in ((0, kind.shape[axis] - 1), (1, kind.shape[axis])))
            depth = np.abs(np.diff(centre.zbuf, axis=axis)) > DEPTH_STEP
            step = (near != far) | depth
            first, second = [slice(None)] * 2, [slice(None)] * 2
            first[axis], second[axis] = slice(0, -1), slice(1, None)
            edge[tuple(first)] |= step
            edge[tuple(second)] |= step
        return edge | self._see_through.edges(centre, focal)

    def _samples(
        self, posed: PosedFigure, centre: Fragments, edges: np.ndarray, view: View
    ) -> tuple[np.ndarray, Fragments, np.ndarray]:
        """All samples that hit something: flat pixel index, fragment, weight in the pixel."""
        width = view.size[0]
        inside = np.flatnonzero(centre.hit & ~edges)
        at_edge = np.flatnonzero(edges)
        count = len(self._subpixels)
        again = np.repeat(at_edge, count)
        points = np.stack([again % width, again // width], axis=1) + np.tile(self._subpixels, (len(at_edge), 1))
        directions = camera_rays(view.intrinsics, view.H_crop_source, points)
        found = self.scene.intersect(np.zeros_like(directions), directions)
        place = (PLACES[(again % width) % 4 + 4 * ((again // width) % 4)] / np.float32(16)).astype(np.float32)
        strata = Strata(self._orders, np.tile(np.arange(count), len(at_edge)), again, place)
        found = self._see_through.follow(self.scene, posed, found, directions, strata, view.focal)
        hit = found.hit
        face = np.concatenate([centre.pix_to_face.ravel()[inside], found.pix_to_face[hit]])
        depth = np.concatenate([centre.zbuf.ravel()[inside], found.zbuf[hit]])
        bary = np.concatenate([centre.bary_coords.reshape(-1, 3)[inside], found.bary_coords[hit]])
        weight = np.concatenate([np.ones(len(inside), np.float32), np.full(int(hit.sum()), 1.0 / count, np.float32)])
        return np.concatenate([inside, again[hit]]), Fragments(face, depth, bary), weight

    def _lit(
        self,
        posed: PosedFigure,
        displacement: np.ndarray,
        openness: np.ndarray,
        hits: Fragments,
        pixels: np.ndarray,
        view: View,
        look: ShotLook,
    ) -> np.ndarray:
        """(S, 6): colour, motion, 1."""
        face = hits.pix_to_face
        corners = self.character.faces[face]
        moving = np.concatenate(
            [posed.vertices, posed.normals, posed.compression[:, None], openness, posed.strand, displacement], axis=1
        ).astype(np.float32)
        table = np.concatenate([self._static, moving], axis=1)
        mixed = sum(hits.bary_coords[:, k : k + 1] * table.take(corners[:, k], axis=0) for k in range(3))
        rest, albedo, fold, strand = mixed[:, :3], mixed[:, 3:6], mixed[:, 6], mixed[:, 8:11]
        position, normal, compression = mixed[:, 11:14], unit(mixed[:, 14:17]), mixed[:, 17]
        view_direction = -unit(position)
        inside_out = dot(posed.face_normals[face], view_direction) < 0
        normal = np.where(inside_out[:, None], -normal, normal)
        surface = self._face_surface[face]
        footprint = hits.zbuf / np.float32(view.focal)
        # A pixel covers more of a surface that is seen at a slant; the mean of its two widths keeps it sharp enough.
        slanted = footprint / np.sqrt(np.clip(dot(normal, view_direction), 0.1, 1.0))
        relief = self._detail.relief(rest, surface, fold, compression, unit(strand), slanted)
        lying = face, surface, hits.bary_coords, slanted
        albedo = self._textures.colors(albedo, *lying)
        self._textures.add_slopes(relief.gradient, *lying)
        bumped = self._bump(posed, face, corners, normal, relief.gradient)
        samples = Samples(
            normal=bumped,
            smooth_normal=normal,
            view=view_direction,
            strand=unit(mixed[:, 21:24]),
            albedo=albedo * relief.tint[:, None],
            surface=surface,
            openness=np.where((inside_out & ~self._sheet[surface])[:, None], INSIDE, mixed[:, 18:21]),
            sunlit=self._sunlit(position, normal, pixels, view, look),
            cavity=relief.cavity,
        )
        color = expose(shade(samples, self._table, look), look)
        return np.concatenate([color, mixed[:, 24:26], np.ones((len(face), 1), np.float32)], axis=1)

    def _bump(
        self, posed: PosedFigure, face: np.ndarray, corners: np.ndarray, normal: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        """Tilt normals against the slope of the relief, carried from the rest pose to the posed face (Mikkelsen 2010)."""
        steep = np.flatnonzero(np.abs(gradient).max(axis=1, initial=0.0) > 1e-4)
        if len(steep) == 0:
            return normal
        corner = corners[steep]
        origin_rest, origin = self.character.vertices[corner[:, 0]], posed.vertices[corner[:, 0]]
        rise1 = dot(gradient[steep], self.character.vertices[corner[:, 1]] - origin_rest)[:, None]
        rise2 = dot(gradient[steep], self.character.vertices[corner[:, 2]] - origin_rest)[:, None]
        edge1, edge2 = posed.vertices[corner[:, 1]] - origin, posed.vertices[corner[:, 2]] - origin
        across = posed.face_normals[face[steep]]
        area = np.maximum(dot(across, across), 1e-16)[:, None]
        slope = (rise1 * np.cross(edge2, across) + rise2 * np.cross(across, edge1)) / area
        length = np.sqrt(dot(slope, slope))[:, None]
        slope *= np.minimum(1.0, 0.9 / np.maximum(length, 1e-9))
        result = normal.copy()
        result[steep] = unit(normal[steep] - slope)
        return result

    def _sunlit(
        self, position: np.ndarray, normal: np.ndarray, pixels: np.ndarray, view: View, look: ShotLook
    ) -> np.ndarray:
        """(S,) share of the light's disc that is seen. The disc's sixteen points go to a 4 x 4 pattern of pixels."""
        result = np.ones(len(position), np.float32)
        if self._shadow_rays == 0 or look.softness > SOFTEST_SHADOW:
            return result
        lit = np.flatnonzero(dot(normal, look.light_direction) > -0.15)
        if len(lit) == 0:
            return result
        width = view.size[0]
        place = (pixels[lit] % width) % 4 + 4 * ((pixels[lit] // width) % 4)
        slope = SUN_SLOPE + SOFT_SLOPE * look.softness**2
        points = hemisphere(16 * self._shadow_rays)[:, :2].astype(np.float32) * slope
        frame = frames_around(look.light_direction[None].astype(np.float32), np.zeros(1, np.float32))[0]
        origins = position[lit] + 0.006 * normal[lit] + 0.004 * look.light_direction
        blocked = np.zeros(len(lit), np.float32)
        for number in range(self._shadow_rays):
            offset = points[number * 16 + PLACES[place]]
            toward = offset[:, :1] * frame[:, 0] + offset[:, 1:] * frame[:, 1] + look.light_direction
            blocked += self.scene.occluded(origins, toward)
        result[lit] = 1.0 - blocked / self._shadow_rays
        return _smooth_over_pixels(result, pixels, view.size)


def _gather(picture: np.ndarray, weighted: np.ndarray, pixels: np.ndarray) -> None:
    """Sum weighted samples in their pixels, in place; the last channel is the cover, the others are divided by it."""
    height, width, channels = picture.shape
    used, place = np.unique(pixels, return_inverse=True)
    total = np.stack([np.bincount(place, weighted[:, c], len(used)) for c in range(channels)], axis=1)
    total[:, :-1] = total[:, :-1] / np.maximum(total[:, -1:], 1e-6)
    picture.reshape(height * width, channels)[used] = total


def _smooth_over_pixels(values: np.ndarray, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(S,) values averaged over 4 x 4 pixels, which removes the pattern of the rays exactly on even ground."""
    width = size[0]
    low, high = pixels.min() // width, pixels.max() // width + 1
    shifted = pixels - low * width
    count = (high - low) * width
    total = np.bincount(shifted, values, count).astype(np.float32).reshape(-1, width)
    number = np.bincount(shifted, minlength=count).astype(np.float32).reshape(-1, width)
    mean = cv2.blur(total, (4, 4)) / np.maximum(cv2.blur(number, (4, 4)), 1e-6)
    return mean.ravel()[shifted].astype(np.float32)
