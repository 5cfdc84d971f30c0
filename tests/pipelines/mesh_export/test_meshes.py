"""Meshes of single frames, read back by trimesh."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from core.types import BodyParams
from models.body.base import RestBody
from pipelines.mesh.export import export_body
from tests.pipelines.mesh_export.clips import MILLIMETRE, RATE


def one_frame(rest: RestBody, params: BodyParams, frame: int, kind: str, folder: Path) -> Path:
    """The file of one frame."""
    frames = export_body(rest, params.window(frame, frame + 1), RATE, folder, [kind])[kind]
    return frames / f"frame_000000.{kind}"


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_a_frame_is_read_back_by_trimesh(kind, rest, params, truth, tmp_path) -> None:
    path = one_frame(rest, params, 74, kind, tmp_path / "new")
    mesh = trimesh.load(path, process=False, maintain_order=True)
    assert mesh.faces.shape == rest.faces.shape
    # Texture seams split vertices, so corners are compared and not rows.
    away = np.abs(mesh.vertices[mesh.faces] - truth[74][rest.faces]).max()
    assert away < 0.02 * MILLIMETRE
    assert mesh.volume > 0.04, "faces are counter-clockwise seen from outside"
    assert mesh.vertices[:, 2].max() < 0, "in front of a camera that looks along -z"


def test_an_obj_keeps_the_texture_coordinates(rest, params, tmp_path) -> None:
    lines = one_frame(rest, params, 74, "obj", tmp_path).read_text().splitlines()
    coordinates = np.array([line.split()[1:] for line in lines if line.startswith("vt ")], float)
    corners = [[int(pair.split("/")[1]) - 1 for pair in line.split()[1:]] for line in lines if line.startswith("f ")]
    np.testing.assert_allclose(coordinates[corners], rest.uv[rest.uv_faces], atol=1e-6)


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_a_folder_of_frames_has_each_fitted_frame(kind, rest, params, tmp_path) -> None:
    short = params.window(68, 73)
    folder = export_body(rest, short, RATE, tmp_path, [kind])[kind]
    assert sorted(path.name for path in folder.iterdir()) == [f"frame_{n:06d}.{kind}" for n in (0, 1, 3, 4)]
    alone = one_frame(rest, short, 3, kind, tmp_path / "alone")
    assert (folder / f"frame_000003.{kind}").read_bytes() == alone.read_bytes()
