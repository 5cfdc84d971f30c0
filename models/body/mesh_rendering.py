"""Draws the surface of a fitted body: as a plain matt figure, in the light of the shot, on grey or over the footage.

    renderer = MeshRenderer(rest, size, params.intrinsics, look)
    for t, frame in enumerate(frames):
        picture = renderer.frame(params, t).over(frame)

PyTorch3D shades. It also rasterises where there is CUDA; on the CPU Embree does. Edges are anti-aliased: pixels at which
something begins or ends take several samples. Frames are independent of each other, and nothing is kept but the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError, ModelUnavailable
from core.types import BodyParams, ShotLook
from models.body.articulation import Skin, params_transforms
from models.body.base import RestBody
from models.body.character import Character, Material, Surface
from models.body.embree import RayScene, project, window_of
from models.body.figure import Figure
from models.body.ground_shadow import Footing, ground_shadow
from models.body.mesh.ground import Ground
from models.body.mesh.openness import BodyOpenness
from models.body.mesh.parts import clay_colors
from models.body.renderer import View, subpixels
from models.body.shading import expose
from models.body.smplx_body import SmplxRestBody, final_vertices
from models.body.wardrobe.shading_hints import fine_occlusion
from utils.photometry import linear_from_srgb, srgb_from_linear

if TYPE_CHECKING:
    import torch

    from models.body.mesh.rasterization import Rasterizer

#: Level of the background of pictures without footage, sRGB.
GREY = 90
#: Samples in a pixel at an edge; rays into the sky from each probe on the body, and from each point of the ground.
EDGE_SAMPLES, SKY_RAYS, GROUND_RAYS = 8, 12, 8
#: Depth step between neighbouring pixels that counts as an edge, metres.
DEPTH_STEP = 0.03


@dataclass(frozen=True)
class MeshLayer:
    """A drawn body, to be laid over a picture."""

    size: tuple[int, int]
    """(width, height) of the whole picture, pixels."""
    window: tuple[int, int, int, int]
    """xyxy box in the picture that ``color`` and ``alpha`` fill; beyond it alpha is 0. May be empty."""
    color: np.ndarray
    """(h, w, 3) float32, linear RGB, multiplied by alpha."""
    alpha: np.ndarray
    """(h, w) float32, 0..1, share of the pixel that the body covers."""
    shadow: np.ndarray | None = None
    """(H, W) float32, factor on the light of the ground behind the body; ``None`` where none was asked for."""

    @property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8: the body's colour, not multiplied by alpha; black where there is no body."""
        result = np.zeros((*self.size[::-1], 3), np.uint8)
        plain = self.color / np.maximum(self.alpha, 1e-6)[..., None]
        result[self._box] = srgb_from_linear(plain)
        return result

    @property
    def coverage(self) -> np.ndarray:
        """(H, W) float32: alpha of the whole picture."""
        result = np.zeros(self.size[::-1], np.float32)
        result[self._box] = self.alpha
        return result

    def over(self, background: np.ndarray) -> np.ndarray:
        """The body over a picture, mixed in linear light.

        Parameters
        ----------
        background:
            (H, W, 3) uint8.

        Returns
        -------
        (H, W, 3) uint8. Pixels that neither body nor shadow touch are those of ``background``, level for level.

        Raises
        ------
        ValueError
            The picture has another size.
        """
        if background.shape != (*self.size[::-1], 3):
            raise ValueError(f"background: shape {background.shape} does not fit {(*self.size[::-1], 3)}")
        result = background.copy()
        if self.shadow is not None:
            pixels = result.reshape(-1, 3)
            at = np.flatnonzero(self.shadow < 1.0)
            if len(at):
                pixels[at] = srgb_from_linear(linear_from_srgb(pixels[at]) * self.shadow.ravel()[at, None])
        alpha = self.alpha.ravel()
        at = np.flatnonzero(alpha > 0)
        if len(at) == 0:
            return result
        part = np.ascontiguousarray(result[self._box])
        pixels, color = part.reshape(-1, 3), self.color.reshape(-1, 3)[at]
        partly = np.flatnonzero(alpha[at] < 1)
        behind = linear_from_srgb(pixels[at[partly]]) if len(partly) else color[partly]
        color[partly] += (1.0 - alpha[at[partly], None]) * behind
        pixels[at] = srgb_from_linear(color)
        result[self._box] = part
        return result

    def on_grey(self) -> np.ndarray:
        """(H, W, 3) uint8: the body on plain grey."""
        return self.over(np.full((*self.size[::-1], 3), GREY, np.uint8))

    @property
    def _box(self) -> tuple[slice, slice]:
        x0, y0, x1, y1 = self.window
        return slice(y0, max(y1, y0)), slice(x0, max(x1, x0))


class MeshRenderer:
    """Draws one body in one camera, pose after pose.

    Parameters
    ----------
    rest:
        The body at rest.
    size:
        (width, height) of the picture in pixels.
    intrinsics:
        (3, 3), K of the camera in pixels of that picture, without skew.
    look:
        The light.
    device:
        ``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` takes CUDA where there is some.
    albedo:
        (V, 3) float32, linear RGB of each vertex; clay where ``None``. See ``models.body.mesh.parts``.
    edge_samples:
        Samples in a pixel at an edge; 1 leaves edges jagged.

    Raises
    ------
    core.errors.InputError
        ``device`` is CUDA, and there is none.
    core.errors.ModelUnavailable
        PyTorch3D or Embree is missing.
    ValueError
        ``albedo`` does not fit the body, or ``intrinsics`` is no matrix of a camera without skew.
    """

    def __init__(
        self,
        rest: RestBody,
        size: tuple[int, int],
        intrinsics: np.ndarray,
        look: ShotLook,
        *,
        device: str = "auto",
        albedo: np.ndarray | None = None,
        edge_samples: int = EDGE_SAMPLES,
    ) -> None:
        chosen = _device(device)
        self.size, self.look = size, look
        self.intrinsics = np.asarray(intrinsics, np.float64)
        _check_camera(self.intrinsics, size)
        self._rest = rest
        self._subpixels = subpixels(edge_samples)
        self._skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
        character = _bare(rest, clay_colors(rest) if albedo is None else albedo)
        self._figure = Figure(character, len(rest.bone_names))
        self._openness = BodyOpenness(character, SKY_RAYS)
        self._scene = RayScene(rest.vertices, rest.faces)
        self._rasterizer = _rasterizer(chosen, self._scene, rest)

    def vertices(self, params: BodyParams, t: int) -> np.ndarray:
        """(V, 3) float32, metres, camera axes: the surface in frame ``t``."""
        transforms = params_transforms(self._rest, params.window(t, t + 1))[0]
        if isinstance(self._rest, SmplxRestBody):
            return final_vertices(self._rest, transforms, params.rotations[t])
        return self._skin(transforms)

    def frame(self, params: BodyParams, t: int, ground: Ground | None = None) -> MeshLayer:
        """Draw frame ``t`` of a fitted body; the layer is empty where the body is not valid.

        Parameters
        ----------
        ground:
            Where the ground lies; the body casts a shadow on it.
        """
        if not params.valid[t]:
            return self._empty()
        return self.draw(self.vertices(params, t), () if ground is None else ground.footings(t, self.look))

    def draw(self, vertices: np.ndarray, footings: tuple[Footing, ...] = (), look: ShotLook | None = None) -> MeshLayer:
        """Draw a surface.

        Parameters
        ----------
        vertices:
            (V, 3) float32, metres, axes of the renderer's camera.
        footings:
            Patches of ground that it shades; none, no shadow.
        look:
            Another light than the renderer's, for this one picture.
        """
        look = look or self.look
        if not np.isfinite(vertices).all() or vertices[:, 2].max() <= 0:
            return self._empty()
        self._scene.move(vertices)
        shadow = None
        if footings:
            view = View(self.intrinsics, np.eye(3), self.size)
            shadow = ground_shadow(self._scene, view, look, footings, GROUND_RAYS)
        window = self._window(vertices)
        if window[2] <= window[0] or window[3] <= window[1]:
            return self._empty(shadow)
        with _one_thread():
            return self._drawn(vertices, window, look, shadow)

    def _window(self, vertices: np.ndarray) -> tuple[int, int, int, int]:
        """The xyxy box in which the surface is to be seen; the whole picture where it reaches behind the camera."""
        from models.body.mesh.rasterization import NEAR

        if vertices[:, 2].min() <= NEAR:
            return 0, 0, *self.size
        return window_of(project(self.intrinsics, np.eye(3), vertices), self.size)

    def _empty(self, shadow: np.ndarray | None = None) -> MeshLayer:
        return MeshLayer(self.size, (0, 0, 0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32), shadow)

    def _drawn(
        self, vertices: np.ndarray, window: tuple[int, int, int, int], look: ShotLook, shadow: np.ndarray | None
    ) -> MeshLayer:
        """Rasterise, shade, and average the samples of each pixel."""
        import torch

        from models.body.mesh.rasterization import loose_fragments

        x0, y0, x1, y1 = window
        size = (x1 - x0, y1 - y0)
        intrinsics = self.intrinsics - np.array([[0, 0, x0], [0, 0, y0], [0, 0, 0]])
        pixels, centers = self._rasterizer.hits(vertices, intrinsics, size)
        depth = centers.zbuf.new_full((size[0] * size[1],), -1.0)
        depth[pixels] = centers.zbuf.view(-1)
        edges = _edges(depth.view(size[::-1])).view(-1)
        inside, at_edge = _where(~edges[pixels]), _where(edges)
        found = self._rasterizer.samples(vertices, intrinsics, size, at_edge, self._subpixels)
        hits = _where(found.pix_to_face.view(-1) >= 0)

        def both(name: str, width: int) -> torch.Tensor:
            parts = ((centers, inside), (found, hits))
            return torch.cat([getattr(seen, name).view(-1, width).index_select(0, at) for seen, at in parts])

        joined = loose_fragments(both("pix_to_face", 1)[:, 0], both("zbuf", 1)[:, 0], both("bary_coords", 3))
        color = expose(self._shaded(vertices, joined, look), look)
        count, own = len(self._subpixels), len(inside)
        place, edge, hit = (part.cpu().numpy() for part in (pixels[inside], at_edge, hits))
        samples = np.zeros((len(edge) * count, 3), np.float32)
        samples[hit] = color[own:]
        picture, alpha = np.zeros((size[0] * size[1], 3), np.float32), np.zeros(size[0] * size[1], np.float32)
        picture[place], alpha[place] = color[:own], 1.0
        picture[edge] = np.einsum("esc->ec", samples.reshape(len(edge), count, 3)) / count
        alpha[edge] = np.bincount(hit // count, minlength=len(edge)) / count
        return MeshLayer(self.size, window, picture.reshape(*size[::-1], 3), alpha.reshape(size[::-1]), shadow)

    def _shaded(self, vertices: np.ndarray, fragments: object, look: ShotLook) -> np.ndarray:
        """(M, 3) float32: radiance of loose fragments that all hit something."""
        import torch
        from pytorch3d.structures import Meshes

        from models.body.mesh.rasterization import screen_camera
        from models.body.mesh.shading import MattShader, ShotLights, skin_like

        device = self._rasterizer.device
        # The transforms only turn hair, of which there is none.
        posed = self._figure.posed(vertices, np.zeros((len(self._rest.bone_names), 4, 4), np.float32))
        attributes = {
            "albedo": self._figure.character.albedo,
            "around": self._openness.around(self._scene, posed, look.light_direction),
            "sunlit": self._openness.sunlit(self._scene, posed, look.light_direction, look.softness),
        }
        mesh = Meshes(
            [torch.from_numpy(vertices).to(device)],
            [torch.from_numpy(self._rest.faces.astype(np.int64)).to(device)],
            verts_normals=[torch.from_numpy(posed.normals.astype(np.float32)).to(device)],
        )
        camera = screen_camera(self.intrinsics, self.size, device)
        shader = MattShader(camera, ShotLights(look, device), skin_like(look, device))
        tensors = {name: torch.from_numpy(values).to(device) for name, values in attributes.items()}
        with torch.inference_mode():
            return shader(fragments, mesh, **tensors).view(-1, 3).cpu().numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: the arrays are too small to share out, and the other cores have frames to decode."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rasterizer(device: str, scene: RayScene, rest: RestBody) -> Rasterizer:
    from models.body.mesh.rasterization import EmbreeRasterizer, TorchRasterizer

    return EmbreeRasterizer(scene, rest.faces) if device == "cpu" else TorchRasterizer(rest.faces, device)


def _check_camera(intrinsics: np.ndarray, size: tuple[int, int]) -> None:
    from models.body.mesh.rasterization import screen_camera

    screen_camera(intrinsics, size)


def _device(name: str) -> str:
    try:
        import pytorch3d.renderer  # noqa: F401
        import torch
    except ImportError as error:
        hint = "Install the pinned requirements again: pip install -r requirements.txt"
        raise ModelUnavailable(f"PyTorch3D cannot be loaded: {error}.", hint) from error
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not torch.cuda.is_available():
        raise InputError(f"There is no CUDA device for {name!r}.", "Choose the device cpu or auto.")
    return name


def _bare(rest: RestBody, albedo: np.ndarray) -> Character:
    """The body as a character of one surface, without clothes or hair."""
    count = len(rest.vertices)
    nothing = np.zeros(count, np.float32)
    return Character(
        name=rest.model,
        vertices=rest.vertices,
        faces=rest.faces,
        bone_indices=rest.bone_indices,
        bone_weights=rest.bone_weights,
        albedo=np.ascontiguousarray(albedo, np.float32),
        surface=np.zeros(count, np.uint8),
        surfaces=(Surface(Material.MANNEQUIN, roughness=0.5),),
        layer=np.zeros(len(rest.faces), np.uint8),
        strand=np.zeros((count, 3), np.float32),
        fold=nothing,
        softness=nothing,
        occlusion=fine_occlusion(rest.vertices, rest.faces),
    )


def _where(mask: torch.Tensor) -> torch.Tensor:
    """(M,) int64: where the (N,) ``mask`` is set."""
    import torch

    # PyTorch takes eight times as long as numpy on the CPU.
    return torch.nonzero(mask)[:, 0] if mask.is_cuda else torch.from_numpy(np.flatnonzero(mask.numpy()))


def _edges(depth: torch.Tensor) -> torch.Tensor:
    """(h, w) bool: pixels at which the body begins or ends, or one part of it stands before another.

    ``depth`` (h, w), -1 where there is nothing, which is a step to anything else too.
    """
    edge = (depth < 0).new_zeros(depth.shape)
    across = (depth[:, 1:] - depth[:, :-1]).abs() > DEPTH_STEP
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    down = (depth[1:] - depth[:-1]).abs() > DEPTH_STEP
    edge[1:] |= down
    edge[:-1] |= down
    return edge
