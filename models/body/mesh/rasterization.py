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

from models.body.embree import RayScene, camera_rays, project

#: Where no lens shift or crop is wanted.
SAME = np.eye(3)
#: Depth, metres, up to which nothing is seen where a mesh reaches behind the camera.
NEAR = 0.02
#: Smallest and largest side of the square cells in which Embree looks for the mesh, pixels.
CELL_SIDES = (8, 64)


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
        face, depth, bary = [], [], []
        for x, y in offsets:
            shifted = intrinsics - np.array([[0, 0, x], [0, 0, y], [0, 0, 0]])
            seen = self._rasterize(mesh, shifted, size)
            face.append(seen.pix_to_face.view(-1)[pixels])
            depth.append(seen.zbuf.view(-1)[pixels])
            bary.append(seen.bary_coords.view(-1, 3)[pixels])
        return loose_fragments(*(torch.stack(part, dim=1).flatten(0, 1) for part in (face, depth, bary)))

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
        if vertices[:, 2].min() > NEAR:
            cells, side = _cells_near(project(intrinsics, SAME, vertices), self._faces, size)
        else:
            # What reaches behind the camera has no place in the picture: look everywhere.
            side = CELL_SIDES[1]
            cells = np.ones([-(-length // side) for length in size[::-1]], bool)
        rows, columns = np.nonzero(cells)
        starts = np.stack([columns, rows], axis=1).astype(np.float32)[:, None] * side
        within = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2).astype(np.float32)
        seen = self._trace(intrinsics, (starts + within).reshape(-1, 2))
        parts = [_from_cells(values, rows, columns, cells.shape, side, size) for values in seen]
        return Fragments(*(torch.from_numpy(part)[None, :, :, None] for part in parts), None)

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
        """Faces (M,) int64, depths (M,) and weights (M, 3) of what rays through the (M, 2) points meet; -1 for nothing."""
        directions = camera_rays(intrinsics, SAME, points)
        seen = self._scene.intersect(np.zeros_like(directions), directions)
        return seen.pix_to_face.astype(np.int64), seen.zbuf, seen.bary_coords


def loose_fragments(pix_to_face: torch.Tensor, zbuf: torch.Tensor, bary_coords: torch.Tensor) -> Fragments:
    """M points as a picture of one column: (M,) int64, (M,) float32, (M, 3) float32 -> Fragments (1, M, 1, 1)."""
    shape = (1, len(pix_to_face), 1, 1)
    return Fragments(pix_to_face.view(shape), zbuf.view(shape), bary_coords.view(*shape, 3), None)


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
    usual = np.percentile((high - low).max(axis=1), 90) if len(low) else 0.0
    side = int(np.clip(usual, *CELL_SIDES))
    columns, rows = (-(-length // side) for length in size)
    cells = np.zeros((rows, columns), bool)
    # A picture begins half a pixel before the centre of its first pixel.
    first = ((low + 0.5) / side).clip(0, (columns - 1, rows - 1)).astype(np.int32)
    past = ((high + 0.5) / side).clip(0, (columns - 1, rows - 1)).astype(np.int32)
    # Nearly all faces touch at most two by two cells; the others are walked through.
    for x in (first[:, 0], past[:, 0]):
        for y in (first[:, 1], past[:, 1]):
            cells[y, x] = True
    large = (past - first > 1).any(axis=1)
    first, past = first[large], past[large]
    for right, below in np.ndindex(*(past - first).max(axis=0, initial=0) + 1):
        cells[np.minimum(first[:, 1] + below, past[:, 1]), np.minimum(first[:, 0] + right, past[:, 0])] = True
    return cells, side


def _from_cells(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...], side: int, size: tuple[int, int]
) -> np.ndarray:
    """(H, W, ...) picture, -1 where nothing is given, of the values (N * side * side, ...) in N cells."""
    tail = values.shape[1:]
    # Filled by numpy: PyTorch would share so small an array out among threads.
    picture = np.full((shape[0], side, shape[1], side, *tail), -1, values.dtype)
    picture[rows, :, columns] = values.reshape(len(rows), side, side, *tail)
    whole = picture.reshape(shape[0] * side, shape[1] * side, *tail)
    return np.ascontiguousarray(whole[: size[1], : size[0]])
