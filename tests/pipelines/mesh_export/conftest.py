"""One clip in all formats, and where its body really is."""

from pathlib import Path

import numpy as np
import pytest

from core.types import BodyParams
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, params_transforms
from models.body.base import RestBody
from pipelines.mesh.export import BODY_FORMATS, FORMATS, export_body
from tests.pipelines.mesh_export.clips import CHECKED, RATE, UP, lively


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


@pytest.fixture(scope="module")
def params() -> BodyParams:
    return lively()


@pytest.fixture(scope="module")
def files(rest, params, tmp_path_factory) -> dict[str, Path]:
    """The clip in all formats that are one file."""
    single = [name for name in BODY_FORMATS if not FORMATS[name].is_folder]
    return export_body(rest, params, RATE, tmp_path_factory.mktemp("export"), single)


@pytest.fixture(scope="module")
def truth(rest, params) -> dict[int, np.ndarray]:
    """The surface in some frames, as the rest of the project poses it, with y up."""
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    transforms = params_transforms(rest, params)
    return {frame: skin(transforms[frame]) @ UP.T for frame in CHECKED}


@pytest.fixture(scope="module")
def joint_places(rest, params) -> np.ndarray:
    """(T, J, 3) metres, y up."""
    transforms = params_transforms(rest, params)[:, rest.joint_bones].astype(float)
    heads = rest.bone_heads[rest.joint_bones]
    return (np.einsum("tjab,jb->tja", transforms[..., :3, :3], heads) + transforms[..., :3, 3]) @ UP.T
