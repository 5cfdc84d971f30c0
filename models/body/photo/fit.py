"""Body and build of the person in a photo: the fit of a clip of one frame, with limb lengths baked into the body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.types import BodyParams
from models.body.articulation import params_transforms, rest_change, scales_of, skin
from models.body.base import Progress, RestBody
from models.body.fitting import fit_body
from models.body.mesh.build import fit_build, with_girth
from models.body.photo.sitter import Sitter

#: Girths that a photo may set. Head and feet keep their shape: face and shoes are made for it.
GIRTHS = tuple(f"scale_girth_{part}" for part in ("chest", "waist", "upper_arm", "forearm", "thigh", "shin"))


@dataclass(frozen=True)
class Sitting:
    """The body as it stands in the photo."""

    rest: RestBody
    """The body with the person's limb lengths and girths."""
    params: BodyParams
    """Its pose in the photo, one frame; no factors are left in its shape."""
    transforms: np.ndarray
    """(B, 4, 4) float32: rest coordinates of ``rest`` -> camera coordinates."""

    @property
    def intrinsics(self) -> np.ndarray:
        """(3, 3) K of the photo's camera, pixels."""
        return self.params.intrinsics


def fit_sitter(sitter: Sitter, rest: RestBody, progress: Progress | None = None) -> Sitting:
    """Fit ``rest`` to the person of a photo: pose, limb lengths, girths.

    Raises
    ------
    core.errors.InputError
        No body can be fitted to the landmarks.
    """
    report = progress or (lambda _share, _text: None)
    height, width = sitter.mask.shape
    params = fit_body(
        sitter.pose,
        lambda _t: sitter.mask,
        (width, height),
        rest,
        fps=25.0,
        quality="thorough",
        progress=lambda share, _text: report(0.6 * share, "fitting the body to the photo"),
    )
    report(0.6, "measuring the build")
    build = fit_build(rest, params, lambda _t: sitter.mask, [0])
    girths = {name: build[name] for name in GIRTHS if name in build}
    stretched = with_proportions(with_girth(rest, girths), params.shape)
    shape = {name: value for name, value in params.shape.items() if not name.startswith("scale_")}
    params = replace(params, shape=shape)
    report(1.0, "body fitted")
    return Sitting(stretched, params, params_transforms(stretched, params)[0])


def with_proportions(rest: RestBody, shape: dict[str, float]) -> RestBody:
    """The body with the limb lengths that the factors ``scale_*`` of a shape give it, as its own."""
    straight = replace(rest, bone_curl=np.tile(np.eye(3, dtype=np.float32), (len(rest.bone_names), 1, 1)))
    change = rest_change(straight, scales_of(shape)).bones
    heads = np.einsum("bij,bj->bi", change[:, :3, :3], rest.bone_heads) + change[:, :3, 3]
    return replace(
        rest,
        vertices=skin(rest.vertices, rest.bone_weights, rest.bone_indices, change),
        base_vertices=skin(rest.base_vertices, rest.base_bone_weights, rest.base_bone_indices, change),
        bone_heads=heads.astype(np.float32),
        landmarks=np.einsum("bij,kbj->kbi", change, rest.landmarks).astype(np.float32),
    )
