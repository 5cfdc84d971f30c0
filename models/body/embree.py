"""Ray casting against a triangle mesh on the CPU, by Embree.

Fragments follow PyTorch3D's convention (``pix_to_face``, ``bary_coords``, ``zbuf``), so that shading does not care which of
the two made them. Pixels are named by their centres: pixel (x, y) is the ray through image point (x, y).

The package ``embreex`` brings Embree and a small wrapper that copies a mesh face by face and builds a new tree for it: 60 ms
for 80 000 faces. Here Embree's own C interface is called, through the same library: the tree shares numpy's memory, is
built once, and is refitted in 2 ms when the figure moves. Rays travel in packets of sixteen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from core.errors import ModelUnavailable

#: Value of ``pix_to_face``, ``zbuf`` and ``bary_coords`` where nothing was hit.
EMPTY = -1


@dataclass(frozen=True)
class Fragments:
    """What each of a set of rays meets first. ``...`` is ``(M,)`` for loose rays, ``(H, W)`` for pictures."""

    pix_to_face: np.ndarray
    """(...) int32, index of the face, -1 for none."""
    zbuf: np.ndarray
    """(...) float32, camera-space depth in metres, -1 for none."""
    bary_coords: np.ndarray
    """(..., 3) float32, perspective-correct weights of the face's three corners, -1 for none."""

    @property
    def hit(self) -> np.ndarray:
        """(...) bool, whether the ray meets the mesh."""
        return self.pix_to_face >= 0


#: Numbers from Embree's headers (embree4/rtcore_*.h).
_INDEX_BUFFER, _VERTEX_BUFFER, _FORMAT_UINT3, _FORMAT_FLOAT3 = 0, 1, 0x5003, 0x9003
_TRIANGLES, _SCENE_DYNAMIC, _QUALITY_LOW, _QUALITY_REFIT = 0, 1, 0, 3
_COHERENT, _ALL_FEATURES = 1 << 16, 0xFFFFFFFF
#: Rays in a packet, and rows of a packet: RTCRay16 has twelve, RTCHit16 up to nine; rounded up.
_LANES, _ROWS = 16, 24
_ORIGIN, _TNEAR, _DIRECTION, _TIME, _TFAR, _MASK = slice(0, 3), 3, slice(4, 7), 7, 8, 9
_NOTHING = 0xFFFFFFFF
_HIT, _U, _V, _FACE, _HIT_IDS = slice(12, 17), 15, 16, 17, slice(17, _ROWS)
#: Packets that are filled and traced at a time, which stay in the cache.
_BLOCK = 1024


class _Arguments(ctypes.Structure):
    """Embree's RTCIntersectArguments, with room for what later releases add."""

    _fields_ = (
        ("flags", ctypes.c_int),
        ("feature_mask", ctypes.c_uint),
        ("context", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
        ("intersect", ctypes.c_void_p),
        ("min_width_distance_factor", ctypes.c_float),
        ("spare", ctypes.c_float * 7),
    )


#: Asks Embree to walk the tree once for all rays of a packet.
_TOGETHER = _Arguments(flags=_COHERENT, feature_mask=_ALL_FEATURES)


@cache
def _library() -> Any:
    """Embree's C functions, with their argument types. They keep Python's lock: a call takes a microsecond.

    Raises
    ------
    ModelUnavailable
        The package ``embreex`` is missing, or it is not linked with Embree 4.
    """
    hint = "Install the pinned requirements again: pip install -r requirements.txt"
    try:
        import embreex.rtcore
    except ImportError as error:
        raise ModelUnavailable(f"Embree cannot be loaded: {error}.", hint) from error
    pointer, size, integer, none = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, None
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "rtcNewDevice": (pointer, (ctypes.c_char_p,)),
        "rtcGetDeviceError": (integer, (pointer,)),
        "rtcNewScene": (pointer, (pointer,)),
        "rtcSetSceneFlags": (none, (pointer, integer)),
        "rtcSetSceneBuildQuality": (none, (pointer, integer)),
        "rtcCommitScene": (none, (pointer,)),
        "rtcReleaseScene": (none, (pointer,)),
        "rtcNewGeometry": (pointer, (pointer, integer)),
        "rtcSetGeometryBuildQuality": (none, (pointer, integer)),
        "rtcSetSharedGeometryBuffer": (none, (pointer, integer, ctypes.c_uint, integer, pointer, size, size, size)),
        "rtcUpdateGeometryBuffer": (none, (pointer, integer, ctypes.c_uint)),
        "rtcCommitGeometry": (none, (pointer,)),
        "rtcAttachGeometry": (ctypes.c_uint, (pointer, pointer)),
        "rtcReleaseGeometry": (none, (pointer,)),
        "rtcIntersect16": (none, (pointer, pointer, pointer, pointer)),
        "rtcOccluded16": (none, (pointer, pointer, pointer, pointer)),
    }
    # The extension module is linked with Embree, so Embree's symbols are found through it, wherever the library lies.
    library = ctypes.PyDLL(embreex.rtcore.__file__)
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ModelUnavailable(f"The installed embreex offers no Embree function {name}.", hint) from None
        function.restype, function.argtypes = result, arguments
    return library


@cache
def _device() -> int:
    """Embree's device, one for the process. One thread: trees are small, and other stages want the other cores."""
    return _library().rtcNewDevice(b"threads=1")


class RayScene:
    """A triangle mesh that rays can be shot at.

    Parameters
    ----------
    vertices:
        (V, 3) float32, metres, any axes.
    faces:
        (F, 3) int32.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self._scene: int | None = None
        if len(faces) == 0:
            raise ValueError("a scene needs at least one face")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(f"a face points at vertex {faces.max()} of {len(vertices)}")
        self._embree = embree = _library()
        # Embree reads sixteen bytes at each vertex: one more row keeps the last read inside.
        self._vertices = np.zeros((len(vertices) + 1, 3), np.float32)
        self._vertices[:-1] = vertices
        self._faces = np.array(faces, np.uint32, order="C")
        self._all = _aligned(_LANES, np.int32)
        self._all[:] = -1
        self._scene = embree.rtcNewScene(_device())
        embree.rtcSetSceneFlags(self._scene, _SCENE_DYNAMIC)
        embree.rtcSetSceneBuildQuality(self._scene, _QUALITY_LOW)
        self._geometry = geometry = embree.rtcNewGeometry(_device(), _TRIANGLES)
        embree.rtcSetGeometryBuildQuality(geometry, _QUALITY_REFIT)
        share = embree.rtcSetSharedGeometryBuffer
        share(geometry, _VERTEX_BUFFER, 0, _FORMAT_FLOAT3, self._vertices.ctypes.data, 0, 12, len(vertices))
        share(geometry, _INDEX_BUFFER, 0, _FORMAT_UINT3, self._faces.ctypes.data, 0, 12, len(faces))
        embree.rtcCommitGeometry(geometry)
        embree.rtcAttachGeometry(self._scene, geometry)
        embree.rtcReleaseGeometry(geometry)
        embree.rtcCommitScene(self._scene)
        error = embree.rtcGetDeviceError(_device())
        if error:
            raise RuntimeError(f"Embree reports error {error} while it builds a scene")

    def __del__(self) -> None:
        if self._scene is not None:
            self._embree.rtcReleaseScene(self._scene)

    def move(self, vertices: np.ndarray) -> None:
        """Give the mesh a new pose: (V, 3) float32, the same vertices elsewhere. The tree is refitted."""
        if vertices.shape != self._vertices[:-1].shape:
            raise ValueError(f"vertices: shape {vertices.shape} does not fit {self._vertices[:-1].shape}")
        self._vertices[:-1] = vertices
        self._embree.rtcUpdateGeometryBuffer(self._geometry, _VERTEX_BUFFER, 0)
        self._embree.rtcCommitGeometry(self._geometry)
        self._embree.rtcCommitScene(self._scene)

    def intersect(self, origins: np.ndarray, directions: np.ndarray, *, coherent: bool = False) -> Fragments:
        """The first face on each ray.

        Parameters
        ----------
        origins, directions:
            (M, 3) float32. ``zbuf`` is the distance in units of the direction's length, which is camera depth for rays
            from :func:`camera_rays`.
        coherent:
            Every sixteen rays run close together: the same faces are found in half the time.
        """
        count = len(directions)
        face = np.empty(count, np.int32)
        depth, u, v = (np.empty(count, np.float32) for _ in range(3))
        for part, packets in self._traced(origins, directions, np.inf, self._embree.rtcIntersect16, coherent):
            face[part] = _unpacked(packets[:, _FACE].view(np.int32), part)
            depth[part], u[part], v[part] = (_unpacked(packets[:, row], part) for row in (_TFAR, _U, _V))
        bary = np.empty((count, 3), np.float32)
        bary[:, 0], bary[:, 1], bary[:, 2] = 1.0 - u - v, u, v
        miss = np.flatnonzero(face < 0)
        bary[miss] = EMPTY
        depth[miss] = EMPTY
        return Fragments(face, depth, bary)

    def occluded(self, origins: np.ndarray, directions: np.ndarray, reach: float = 1e4) -> np.ndarray:
        """Whether anything stands on each ray within ``reach`` lengths of its direction.

        Start rays a little off the surface: nothing keeps a ray from meeting the face that it starts on.

        Returns
        -------
        (M,) bool.
        """
        blocked = np.empty(len(directions), bool)
        for part, packets in self._traced(origins, directions, reach, self._embree.rtcOccluded16):
            blocked[part] = _unpacked(packets[:, _TFAR], part) < 0
        return blocked

    def _traced(
        self, origins: np.ndarray, directions: np.ndarray, reach: float, trace: Any, coherent: bool = False
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Fill packets with rays, trace them, and give back the range of rays and the (P, 24, 16) packets, in blocks."""
        step = _BLOCK * _LANES
        packets = _aligned((_BLOCK, _ROWS, _LANES), np.float32)
        first, stride, valid = packets.ctypes.data, packets.strides[0], self._all.ctypes.data
        arguments = ctypes.addressof(_TOGETHER) if coherent else None
        for start in range(0, len(directions), step):
            part = slice(start, min(start + step, len(directions)))
            used = -(-(part.stop - start) // _LANES)
            block = packets[:used]
            _pack(block[:, _ORIGIN], origins[part])
            _pack(block[:, _DIRECTION], directions[part])
            block[:, _TNEAR] = block[:, _TIME] = 0.0
            block[:, _TFAR] = reach
            bits = block.view(np.uint32)
            bits[:, _MASK] = _NOTHING
            bits[:, _MASK + 1 : _MASK + 3] = 0
            bits[:, _HIT] = 0
            bits[:, _HIT_IDS] = _NOTHING
            for address in range(first, first + used * stride, stride):
                trace(valid, self._scene, address, arguments)
            yield part, block


def _aligned(shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
    """An uninitialised array of 4-byte numbers that starts at a multiple of 64 bytes, as Embree's packets must."""
    count = int(np.prod(shape))
    raw: np.ndarray = np.empty(count + 16, dtype)
    skip = (-raw.ctypes.data % 64) // 4
    return raw[skip : skip + count].reshape(shape)


def _pack(rows: np.ndarray, vectors: np.ndarray) -> None:
    """Write (M, 3) vectors to the rows (P, 3, 16) of packets; lanes left over repeat the last vector."""
    full = len(vectors) // _LANES
    rows[:full] = vectors[: full * _LANES].reshape(full, _LANES, 3).transpose(0, 2, 1)
    if full < len(rows):
        rest = vectors[full * _LANES :]
        rows[full, :, : len(rest)] = rest.T
        rows[full, :, len(rest) :] = rest[-1][:, None]


def _unpacked(row: np.ndarray, part: slice) -> np.ndarray:
    """The (P, 16) values of one row as a flat array, without the lanes left over."""
    return row.reshape(-1)[: part.stop - part.start]


def camera_rays(intrinsics: np.ndarray, H_crop_source: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Directions, in camera axes and with z = 1, of the rays through points of a crop.

    Parameters
    ----------
    intrinsics:
        (3, 3), K of the source camera in pixels.
    H_crop_source:
        (3, 3), source pixels -> crop pixels.
    pixels:
        (M, 2) float, x and y in the crop, fractions allowed.

    Returns
    -------
    (M, 3) float32. The camera stands at the origin.
    """
    matrix = np.linalg.inv(_crop_from_ray(intrinsics, H_crop_source))
    x, y = pixels[:, 0], pixels[:, 1]
    rays = np.empty((len(pixels), 3), np.float32)
    scale = x * matrix[2, 0] + y * matrix[2, 1] + matrix[2, 2]
    for row in range(2):
        rays[:, row] = (x * matrix[row, 0] + y * matrix[row, 1] + matrix[row, 2]) / scale
    rays[:, 2] = 1.0
    return rays


def _crop_from_ray(intrinsics: np.ndarray, H_crop_source: np.ndarray) -> np.ndarray:
    """(3, 3) float64: camera coordinates -> homogeneous crop pixels."""
    return np.asarray(H_crop_source, np.float64) @ np.asarray(intrinsics, np.float64)


def project(intrinsics: np.ndarray, H_crop_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where points in camera axes lie in a crop: the inverse of :func:`camera_rays`.

    Parameters
    ----------
    points:
        (M, 3), metres, z > 0.

    Returns
    -------
    (M, 2) float32, crop pixels.
    """
    matrix = _crop_from_ray(intrinsics, H_crop_source).astype(np.float32)
    x, y, z = points.astype(np.float32, copy=False).T
    u, v, w = (x * row[0] + y * row[1] + z * row[2] for row in matrix)
    return np.stack([u / w, v / w], axis=1)


def rasterize(
    scene: RayScene,
    intrinsics: np.ndarray,
    H_crop_source: np.ndarray,
    size: tuple[int, int],
    window: tuple[int, int, int, int] | None = None,
) -> Fragments:
    """One ray through the centre of every pixel of a crop.

    Parameters
    ----------
    size:
        (width, height) of the crop in pixels.
    window:
        xyxy box in crop pixels outside which nothing is to be seen; ``None`` looks everywhere.

    Returns
    -------
    Fragments as (H, W) pictures of the whole crop.
    """
    width, height = size
    x0, y0, x1, y1 = window if window is not None else (0, 0, width, height)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    face = np.full((height, width), EMPTY, np.int32)
    zbuf = np.full((height, width), EMPTY, np.float32)
    bary = np.full((height, width, 3), EMPTY, np.float32)
    if x1 > x0 and y1 > y0:
        grid = np.mgrid[y0:y1, x0:x1][::-1].reshape(2, -1).T
        directions = camera_rays(intrinsics, H_crop_source, grid)
        seen = scene.intersect(np.zeros_like(directions), directions)
        shape = (y1 - y0, x1 - x0)
        face[y0:y1, x0:x1] = seen.pix_to_face.reshape(shape)
        zbuf[y0:y1, x0:x1] = seen.zbuf.reshape(shape)
        bary[y0:y1, x0:x1] = seen.bary_coords.reshape(*shape, 3)
    return Fragments(face, zbuf, bary)


def window_of(points: np.ndarray, size: tuple[int, int], margin: int = 2) -> tuple[int, int, int, int]:
    """The xyxy box of whole pixels around projected points, cut to the crop; empty boxes have x1 <= x0 or y1 <= y0.

    Parameters
    ----------
    points:
        (M, 2), crop pixels.
    size:
        (width, height) of the crop.
    """
    low = np.floor(points.min(axis=0)).astype(int) - margin
    high = np.ceil(points.max(axis=0)).astype(int) + margin + 1
    return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), size[0]), min(int(high[1]), size[1])
