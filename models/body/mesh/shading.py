"""A plain, matt surface in the light of a shot, by PyTorch3D's lights, materials and shaders.

``ShotLook`` gives radiances on a white surface, so a diffuse surface answers with albedo times light, without a factor of pi.
Vectors are in camera axes; colours are linear RGB before exposure.
"""

from __future__ import annotations

import torch
from pytorch3d.ops import interpolate_face_attributes
from pytorch3d.renderer import DirectionalLights, Materials, PerspectiveCameras
from pytorch3d.renderer.mesh.rasterizer import Fragments
from pytorch3d.renderer.mesh.shader import ShaderBase
from pytorch3d.structures import Meshes
from torch.nn.functional import normalize

from core.types import ShotLook
from models.body.shading import BOUNCE, UP

#: Roughness (GGX) and reflectance at normal incidence of dry skin.
ROUGHNESS, REFLECTANCE = 0.5, 0.035
#: How far light wraps round the terminator, 0 (chalk) to 1. A little, as in clay and skin.
WRAP = 0.18


class ShotLights(DirectionalLights):
    """The light of a shot: a source with a direction, the sky above and the ground below.

    It can stand wherever PyTorch3D takes lights; its own shaders know of nothing that is in the way.
    """

    def __init__(self, look: ShotLook, device: torch.device | str = "cpu") -> None:
        super().__init__(
            ambient_color=((0.0, 0.0, 0.0),),
            diffuse_color=_row(look.light),
            specular_color=_row(look.light),
            direction=_row(look.light_direction),
            device=device,
        )
        self.softness = float(look.softness)
        self.sky = torch.tensor(_row(look.sky), device=device)
        self.ground = torch.tensor(_row(look.ground), device=device)
        self.up = torch.tensor(UP, device=device)

    def diffuse(self, normals: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
        """(..., 3) light on a white surface with the given normals (..., 3), when nothing is in the way."""
        del points  # The source is far away.
        normals = normalize(normals, dim=-1)
        cosine = normals @ self.direction[0]
        rise = 0.5 + 0.5 * (normals @ self.up)
        around = torch.stack([cosine.clamp(min=0) ** 1.5, rise, 1 - rise], dim=-1)
        sharp = (1 - self.softness) * self.sharp(normals)[..., None] * self.diffuse_color[0]
        return sharp + self.soft(around)

    def sharp(self, normals: torch.Tensor) -> torch.Tensor:
        """(...) answer of a surface to the source as a point; ``normals`` (..., 3) unit."""
        return ((normals @ self.direction[0] + WRAP) / (1 + WRAP) ** 2).clamp(min=0)

    def soft(self, around: torch.Tensor) -> torch.Tensor:
        """(..., 3) light on a white surface from all but the source as a point.

        ``around`` (..., 3), 0..1: how much the surface sees of the light as a broad source, the sky, the ground.
        """
        key, sky, ground = around.unbind(-1)
        closed = (1 - sky - ground).clamp(0, 1)
        bounce = 0.3 * BOUNCE * (self.sky[0] + self.ground[0])
        result = self.softness * key[..., None] * self.diffuse_color[0]
        return result + sky[..., None] * self.sky[0] + ground[..., None] * self.ground[0] + closed[..., None] * bounce


def skin_like(look: ShotLook, device: torch.device | str = "cpu") -> Materials:
    """PyTorch3D's material with the gloss of dry skin.

    A broad light gives a broad highlight: the lobe is widened instead of sampling the source.
    """
    alpha = min(ROUGHNESS**2 + 0.35 * look.softness, 1.0)
    # The exponent of Blinn's lobe that is as wide as GGX's, a fourth of it for Phong's, which turns twice as fast.
    shininess = max((2 / alpha**2 - 2) / 4, 1.0)
    strength = REFLECTANCE * (shininess + 2) / 2
    return Materials(
        ambient_color=((0.0, 0.0, 0.0),),
        specular_color=((strength,) * 3,),
        shininess=shininess,
        device=device,
    )


class MattShader(ShaderBase):
    """A matt surface whose vertices know what they see of their surroundings.

    Light is worked out at the vertices and interpolated (Gouraud): all of it varies slowly, for highlights are wide, and a
    body has a vertex each centimetre. Light at each sample instead would differ by more than two levels in one pixel of a
    hundred and seventy, and cost three times as much.
    """

    def __init__(self, cameras: PerspectiveCameras, lights: ShotLights, materials: Materials) -> None:
        super().__init__(device=lights.device, cameras=cameras, lights=lights, materials=materials)

    def forward(self, fragments: Fragments, meshes: Meshes, **attributes: torch.Tensor) -> torch.Tensor:
        """Radiance towards the camera.

        Parameters
        ----------
        fragments:
            (N, H, W, K), all of which hit something.
        meshes:
            With vertex normals.
        attributes:
            ``albedo`` (V, 3) linear RGB; ``around`` (V, 3), see :meth:`ShotLights.soft`; ``sunlit`` (V,), 0..1, how much
            is seen of the source as a point.

        Returns
        -------
        (N, H, W, K, 3) float32.
        """
        lights, sunlit = self.lights, attributes["sunlit"]
        normals = meshes.verts_normals_packed()
        reflected = attributes["albedo"] * self.materials.diffuse_color[0]
        light = lights.soft(attributes["around"])
        light += ((1 - lights.softness) * sunlit * lights.sharp(normals))[:, None] * lights.diffuse_color[0]
        radiance = reflected * light + self._gloss(meshes, normals, attributes)
        return interpolated(fragments, meshes.faces_packed(), radiance)

    def _gloss(self, meshes: Meshes, normals: torch.Tensor, seen: dict[str, torch.Tensor]) -> torch.Tensor:
        """(V, 3) the highlight of the source at each vertex."""
        lobe = self.lights.specular(
            normals=normals,
            points=meshes.verts_packed(),
            camera_position=self.cameras.get_camera_center(),
            shininess=self.materials.shininess,
        )
        softness = self.lights.softness
        visible = (1 - softness) * seen["sunlit"] + softness * seen["around"][:, 0]
        facing = (normals @ self.lights.direction[0]).clamp(min=0)
        return self.materials.specular_color[0] * lobe * (visible * facing)[:, None]


def interpolated(fragments: Fragments, faces: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values of the vertices at each sample: ``faces`` (F, 3), ``values`` (V, D) -> (N, H, W, K, D)."""
    if values.is_cuda:
        return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, values[faces])
    # PyTorch3D's own way on the CPU looks up every number by itself; whole rows are several times faster.
    rows = values[faces].flatten(1).index_select(0, fragments.pix_to_face.reshape(-1))
    mixed = torch.bmm(fragments.bary_coords.reshape(-1, 1, 3), rows.view(-1, 3, values.shape[1]))
    return mixed.view(*fragments.pix_to_face.shape, values.shape[1])


def _row(vector: object) -> tuple[tuple[float, ...], ...]:
    return (tuple(float(value) for value in vector),)  # type: ignore[attr-defined]
