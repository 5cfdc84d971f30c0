"""Which face of a mesh each point of a picture shows: by Embree on the CPU, by PyTorch3D's own rasteriser on CUDA.

Both give PyTorch3D's ``Fragments``, so that its shaders take either. Vertices are in camera axes of this project (x right,
y down, z forward); pixels have their origin at the centre of the top-left pixel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from pytorch3d.renderer import MeshRasterizer, PerspectiveCameras, RasterizationSettings
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.structures import Meshes
from pytorch3d.utils import cameras_from_opencv_projection

from models.body.embree import RayScene, project

#: Where no lens shift or crop is wanted.
SAME = np.eye(3)
#: Depth, metres, up to which nothing is seen where a mesh reaches behind the camera.
NEAR = 0.02
#: Smallest and largest side of the square cells in which Embree looks for the mesh, pixels: multiples of a packet's side.
CELL_SIDES = (8, 64)
#: Every how many faces the size of a face is looked at.
TYPICAL = 8
#: Side of the square of pixels whose rays travel together.
PACKET_SIDE = 4


class Rasterizer(Protocol):
    """Finds the faces that are seen. ``size`` is (width, height) in pixels, ``intrinsics`` (3, 3) K in pixels."""

    device: torch.device
    """Where the fragments lie."""

    def centers(self, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> Fragments:
        """What is seen at the centre of each pixel.

        Parameters
        ----------
        vertices:
            (V, 3) float32, metres, camera axes.

        Returns
        -------
        Fragments of shape (1, H, W, 1), without ``dists``.
        """
        ...

    def hits(
        self, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
    ) -> tuple[torch.Tensor, Fragments]:
        """The same for those pixels alone that show something, in any order.

        Returns
        -------
        (M,) int64 flat indices of the pixels, and their Fragments (1, M, 1, 1), without ``dists``.
        """
        ...

    def samples(
        self,
        vertices: np.ndarray,
        intrinsics: np.ndarray,
        size: tuple[int, int],
        pixels: torch.Tensor,
        offsets: np.ndarray,
    ) -> Fragments:
        """What is seen at several points of some pixels.

        Parameters
        ----------
        pixels:
            (P,) int64 flat indices of pixels.
        offsets:
            (S, 2) float32, x and y of the points in a pixel, -0.5..0.5.

        Returns
        -------
        Fragments of shape (1, P * S, 1, 1), without ``dists``; the points of a pixel follow each other.
        """
        ...


def screen_camera(
    intrinsics: np.ndarray, size: tuple[int, int], device: torch.device | str = "cpu"
) -> PerspectiveCameras:
    """The source camera as PyTorch3D's, which counts pixels from the corner of the picture instead of a pixel's centre.

    Raises
    ------
    ValueError
        ``intrinsics`` is no (3, 3) upper triangle without skew.
    """
    K = np.asarray(intrinsics, np.float64)
    if K.shape != (3, 3) or np.any(K[[0, 1, 2, 2], [1, 0, 0, 1]] != 0) or K[2, 2] != 1:
        raise ValueError(f"intrinsics must be focal lengths and a principal point without skew, not {K.tolist()}")
    K = K + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return cameras_from_opencv_projection(
        torch.eye(3, device=device)[None],
        torch.zeros(1, 3, device=device),
        torch.tensor(K, dtype=torch.float32, device=device)[None],
        torch.tensor([size[::-1]], device=device),
    )


class TorchRasterizer:
    """PyTorch3D's rasteriser. It needs CUDA to be of use: on the CPU it visits every face for every pixel.

    Parameters
    ----------
    faces:
        (F, 3) int32.
    """

    def __init__(self, faces: np.ndarray, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._faces = torch.from_numpy(np.ascontiguousarray(faces, np.int64)).to(self.device)

    def centers(self, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> Fragments:
        """See :class:`Rasterizer`. Unlike there, ``dists`` is filled in."""
        return self._rasterize(self._mesh(vertices), intrinsics, size)

    def hits(
        self, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
    ) -> tuple[torch.Tensor, Fragments]:
        """See :class:`Rasterizer`."""
        seen = self.centers(vertices, intrinsics, size)
        pixels = torch.nonzero(seen.pix_to_face.view(-1) >= 0)[:, 0]
        return pixels, loose_fragments(*_picked(seen, pixels))

    def samples(
        self,
        vertices: np.ndarray,
        intrinsics: np.ndarray,
        size: tuple[int, int],
        pixels: torch.Tensor,
        offsets: np.ndarray,
    ) -> Fragments:
        """See :class:`Rasterizer`. Draws the whole picture once for each offset, with the camera shifted by it."""
        mesh = self._mesh(vertices)
        found = []
        for x, y in offsets:
            shifted = intrinsics - np.array([[0, 0, x], [0, 0, y], [0, 0, 0]])
            found.append(_picked(self._rasterize(mesh, shifted, size), pixels))
        return loose_fragments(*(torch.stack(part, dim=1).flatten(0, 1) for part in zip(*found, strict=True)))

    def _mesh(self, vertices: np.ndarray) -> Meshes:
        return Meshes([torch.from_numpy(vertices).to(self.device)], [self._faces])

    def _rasterize(self, mesh: Meshes, intrinsics: np.ndarray, size: tuple[int, int]) -> Fragments:
        settings = RasterizationSettings(
            image_size=size[::-1],
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
            z_clip_value=NEAR if float(mesh.verts_packed()[:, 2].min()) <= NEAR else None,
            # A small figure lies in one bin with all its faces; with the default limit some would be lost.
            max_faces_per_bin=len(self._faces),
        )
        return MeshRasterizer(screen_camera(intrinsics, size, self.device), settings)(mesh)


class EmbreeRasterizer:
    """Rays through pixels, by Embree.

    Parameters
    ----------
    scene:
        The mesh as a scene. Whoever moves it must do so before asking for fragments: ``vertices`` only tell where to look.
    faces:
        (F, 3) int32, the scene's.
    """

    def __init__(self, scene: RayScene, faces: np.ndarray) -> None:
        self.device = torch.device("cpu")
        self._scene = scene
        self._faces = np.ascontiguousarray(faces)

    def centers(self, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> Fragments:
        """See :class:`Rasterizer`."""
        pixels, seen = self.hits(vertices, intrinsics, size)
        shape = (1, size[1], size[0], 1)
        face, depth, bary = (torch.full((*shape, *tail), -1.0) for tail in ((), (), (3,)))
        face = face.long()
        face.view(-1)[pixels] = seen.pix_to_face.view(-1)
        depth.view(-1)[pixels] = seen.zbuf.view(-1)
        bary.view(-1, 3)[pixels] = seen.bary_coords.view(-1, 3)
        return Fragments(face, depth, bary, None)

    def hits(
        self, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
    ) -> tuple[torch.Tensor, Fragments]:
        """See :class:`Rasterizer`."""
        if vertices[:, 2].min() > NEAR:
            cells, side = _cells_near(project(intrinsics, SAME, vertices), self._faces, size)
        else:
            # What reaches behind the camera has no place in the picture: look everywhere.
            side = CELL_SIDES[1]
            cells = np.ones([-(-length // side) for length in size[::-1]], bool)
        rows, columns = np.nonzero(cells)
        starts, within = side * np.stack([columns, rows], axis=1).astype(np.int32), _by_packets(side)
        points = (starts[:, None] + within).reshape(-1, 2)
        face, depth, bary = self._trace(intrinsics, points.astype(np.float32))
        # The last cells may hang over the picture's border.
        found = np.flatnonzero((face >= 0) & (points[:, 0] < size[0]) & (points[:, 1] < size[1]))
        place = points.take(found, axis=0)
        pixels = torch.from_numpy(place[:, 1].astype(np.int64) * size[0] + place[:, 0])
        parts = (torch.from_numpy(values.take(found, axis=0)) for values in (face, depth, bary))
        return pixels, loose_fragments(*parts)

    def samples(
        self,
        vertices: np.ndarray,
        intrinsics: np.ndarray,
        size: tuple[int, int],
        pixels: torch.Tensor,
        offsets: np.ndarray,
    ) -> Fragments:
        """See :class:`Rasterizer`."""
        flat = pixels.numpy()
        points = np.stack([flat % size[0], flat // size[0]], axis=1).astype(np.float32)
        seen = self._trace(intrinsics, (points[:, None] + offsets).reshape(-1, 2))
        return loose_fragments(*(torch.from_numpy(part) for part in seen))

    def _trace(self, intrinsics: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Faces (M,) int32, depths (M,) and weights (M, 3) of what rays through the (M, 2) points meet; -1 for nothing."""
        directions = np.ones((len(points), 3), np.float32)
        for axis in range(2):
            focal, middle = float(intrinsics[axis, axis]), float(intrinsics[axis, 2])
            np.multiply(points[:, axis], 1 / focal, out=directions[:, axis])
            directions[:, axis] -= middle / focal
        origins = np.broadcast_to(np.zeros(3, np.float32), directions.shape)
        seen = self._scene.intersect(origins, directions, coherent=True)
        return seen.pix_to_face, seen.zbuf, seen.bary_coords


def _picked(fragments: Fragments, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Faces, depths and weights at the (P,) flat indices of pixels."""
    return (
        fragments.pix_to_face.view(-1)[pixels],
        fragments.zbuf.view(-1)[pixels],
        fragments.bary_coords.view(-1, 3)[pixels],
    )


def loose_fragments(pix_to_face: torch.Tensor, zbuf: torch.Tensor, bary_coords: torch.Tensor) -> Fragments:
    """M points as a picture of one column: (M,) int, (M,) float32, (M, 3) float32 -> Fragments (1, M, 1, 1)."""
    shape = (1, len(pix_to_face), 1, 1)
    return Fragments(pix_to_face.long().view(shape), zbuf.view(shape), bary_coords.view(*shape, 3), None)


def with_distances(
    fragments: Fragments, faces: np.ndarray, vertices: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
) -> Fragments:
    """Fill in ``dists`` of the fragments that :meth:`EmbreeRasterizer.centers` gives, for PyTorch3D's soft shaders.

    ``dists`` is the squared distance of the pixel's centre to the nearest edge of its face in PyTorch3D's NDC units (half of
    the picture's shorter side), negative because the centre lies in the face; -1 where there is none.
    """
    place = np.flatnonzero(fragments.pix_to_face.numpy().ravel() >= 0)
    centers = np.stack([place % size[0], place // size[0]], axis=1).astype(np.float64)
    points = project(intrinsics, SAME, vertices).astype(np.float64)
    corners = points[faces[fragments.pix_to_face.numpy().ravel()[place]]]
    nearest = np.full(len(place), np.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        edge, offset = corners[:, second] - corners[:, first], centers - corners[:, first]
        length = np.maximum((edge**2).sum(axis=1), 1e-12)
        along = np.clip((edge * offset).sum(axis=1) / length, 0.0, 1.0)
        nearest = np.minimum(nearest, ((offset - along[:, None] * edge) ** 2).sum(axis=1))
    dists = np.full(fragments.zbuf.numel(), -1.0, np.float32)
    dists[place] = -nearest / (min(size) / 2) ** 2
    return replace(fragments, dists=torch.from_numpy(dists).view(fragments.zbuf.shape))


def _cells_near(points: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, int]:
    """Which square cells of a picture the box around some face touches.

    Parameters
    ----------
    points:
        (V, 2) projected vertices, pixels.

    Returns
    -------
    (rows, columns) bool, and the side of a cell in pixels. The last cells may hang over the picture's border.
    """
    corners = [points.take(faces[:, k], axis=0) for k in range(3)]
    low = np.minimum(np.minimum(corners[0], corners[1]), corners[2])
    high = np.maximum(np.maximum(corners[0], corners[1]), corners[2])
    seen = ((high >= -0.5) & (low <= np.array(size) - 0.5)).all(axis=1)
    low, high = low[seen], high[seen]
    usual = np.percentile((high - low)[::TYPICAL].max(axis=1), 90) if len(low) else 0.0
    side = int(np.clip(PACKET_SIDE * round(usual / PACKET_SIDE), *CELL_SIDES))
    columns, rows = (-(-length // side) for length in size)
    cells = np.zeros((rows, columns), bool)
    # A picture begins half a pixel before the centre of its first pixel.
    first = ((low + 0.5) / side).clip(0, (columns - 1, rows - 1)).astype(np.int32)
    past = ((high + 0.5) / side).clip(0, (columns - 1, rows - 1)).astype(np.int32)
    # Most faces lie in one cell, nearly all others touch at most two by two; what is left is walked through.
    cells[first[:, 1], first[:, 0]] = True
    several = np.flatnonzero((first != past).any(axis=1))
    first, past = first[several], past[several]
    for x, y in ((past, first), (first, past), (past, past)):
        cells[y[:, 1], x[:, 0]] = True
    large = (past - first > 1).any(axis=1)
    first, past = first[large], past[large]
    for right, below in np.ndindex(*(past - first).max(axis=0, initial=0) + 1):
        cells[np.minimum(first[:, 1] + below, past[:, 1]), np.minimum(first[:, 0] + right, past[:, 0])] = True
    return cells, side


def _by_packets(side: int) -> np.ndarray:
    """(side * side, 2) int32, x and y of the pixels of a cell, square after square of ``PACKET_SIDE``."""
    down, right, y, x = np.indices((side // PACKET_SIDE, side // PACKET_SIDE, PACKET_SIDE, PACKET_SIDE))
    return np.stack([PACKET_SIDE * right + x, PACKET_SIDE * down + y], axis=-1).reshape(-1, 2).astype(np.int32)
