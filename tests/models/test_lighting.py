"""Reading the light off a person whose light is known."""

from __future__ import annotations

import numpy as np
import pytest

from core.types import BodyMesh
from models.body.cast_shadow import Sun
from models.body.embree import RayScene, rasterize
from models.body.figure import vertex_normals
from models.body.lighting import LookSample, estimate_shot_look
from utils.photometry import srgb_from_linear

SIZE = 160
INTRINSICS = np.array([[150.0, 0, 79.5], [0, 150.0, 79.5], [0, 0, 1]])


def body() -> BodyMesh:
    """A smooth egg, two metres tall, four metres away."""
    rings = 40
    v, u = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, 2 * rings), indexing="ij")
    points = np.stack([0.6 * np.cos(u) * np.sin(v), np.cos(v), 0.6 * np.sin(u) * np.sin(v)], -1).reshape(-1, 3)
    index = np.arange(rings * 2 * rings).reshape(rings, -1)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return BodyMesh((points + np.array([0, 0, 4.0])).astype(np.float32), faces.astype(np.int32))


def sample(light: np.ndarray, upper: np.ndarray, lower: np.ndarray, key: float = 0.7) -> LookSample:
    """A picture of the egg in two colours under a light of known direction, before a mid-grey wall."""
    mesh = body()
    fragments = rasterize(RayScene(mesh.vertices, mesh.faces), INTRINSICS, np.eye(3), (SIZE, SIZE))
    normals = vertex_normals(mesh.vertices, mesh.faces)
    normals *= np.sign((normals * (mesh.vertices - [0, 0, 4.0])).sum(axis=1, keepdims=True))
    hit = fragments.hit
    corners = mesh.faces[fragments.pix_to_face[hit]]
    normal = np.einsum("sk,skc->sc", fragments.bary_coords[hit], normals[corners])
    shading = key * np.clip(normal @ light, 0, None) + 0.25 + 0.1 * -normal[:, 1]
    picture = np.full((SIZE, SIZE, 3), 0.2, np.float32)
    rows = np.nonzero(hit)[0]
    albedo = np.where((rows < SIZE / 2)[:, None], upper, lower)
    picture[hit] = albedo * shading[:, None]
    picture += np.random.default_rng(0).normal(0, 0.004, picture.shape).astype(np.float32)
    landmarks = np.full((33, 3), np.nan, np.float32)
    landmarks[[0, 2, 5, 9, 10]] = [SIZE / 2, SIZE / 2 - 20, 0]
    flipped = BodyMesh(mesh.vertices, mesh.faces[:, ::-1]) if _inward(mesh) else mesh
    return LookSample(srgb_from_linear(picture), hit, flipped, landmarks)


def _inward(mesh: BodyMesh) -> bool:
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return bool((normals * (mesh.vertices - [0, 0, 4.0])).sum(axis=1).mean() < 0)


SKIN, BLUE, BLACK = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.5]), np.array([0.003, 0.003, 0.003])


@pytest.mark.parametrize("direction", [(-0.7, -0.5, -0.5), (0.7, -0.5, -0.5), (0.1, -0.9, -0.4)])
def test_the_direction_of_the_light_is_found_on_a_person_of_two_colours(direction: tuple[float, ...]) -> None:
    light = np.array(direction) / np.linalg.norm(direction)
    found = estimate_shot_look([sample(light, SKIN, BLUE)], INTRINSICS)
    angle = np.degrees(np.arccos(np.clip(found.look.light_direction @ light, -1, 1)))
    assert angle < 30
    assert np.linalg.norm(found.look.light_direction) == pytest.approx(1, abs=1e-4)


def test_a_brighter_shot_gets_more_exposure() -> None:
    light = np.array([0.0, -0.8, -0.6])
    dim, bright = (
        estimate_shot_look([sample(light, SKIN * s, BLUE * s)], INTRINSICS).look.exposure for s in (0.35, 1.0)
    )
    assert bright > 1.3 * dim


def test_dark_clothes_give_a_soft_default_and_a_note() -> None:
    found = estimate_shot_look([sample(np.array([-1.0, 0, 0]), BLACK, BLACK)], INTRINSICS)
    assert found.look.softness > 0.7 and found.look.light_direction[1] < -0.5
    assert len(found.notes) >= 1 and all(note.endswith(".") for note in found.notes)


def test_nothing_to_learn_from_still_gives_a_usable_look() -> None:
    found = estimate_shot_look([], INTRINSICS, grain=2.0, blur=0.7)
    assert found.notes
    assert (found.look.grain, found.look.blur) == (2.0, 0.7)
    assert 0.2 < found.look.exposure < 1.3
    assert all(np.isfinite(v).all() for v in (found.look.light, found.look.sky, found.look.ground, found.look.haze))


def test_the_same_pictures_give_the_same_look() -> None:
    light = np.array([0.5, -0.7, -0.5])
    first, second = (estimate_shot_look([sample(light, SKIN, BLUE)], INTRINSICS).look for _ in range(2))
    np.testing.assert_array_equal(first.light_direction, second.light_direction)
    assert first.exposure == second.exposure


def test_the_cast_of_the_camera_is_read_off_the_skin() -> None:
    """A shot with a warm cast lights the avatar warmly, a cold one coldly: its clothes keep their colours under it."""
    light = np.array([0.0, -0.8, -0.6])
    warm, cold = (
        estimate_shot_look([sample(light, SKIN * cast, BLUE * cast)], INTRINSICS).look
        for cast in (np.array([1.2, 1.0, 0.75]), np.array([0.85, 1.0, 1.25]))
    )
    assert warm.light[0] / warm.light[2] > 1.3 * cold.light[0] / cold.light[2]


def test_a_lifted_black_is_haze() -> None:
    light = np.array([0.0, -0.8, -0.6])
    clear = sample(light, SKIN, BLACK)
    misty = LookSample(np.maximum(clear.rgb, 60), clear.mask, clear.mesh, clear.landmarks)
    assert estimate_shot_look([misty], INTRINSICS).look.haze.min() > 0.02
    assert estimate_shot_look([clear], INTRINSICS).look.haze.max() < 0.02


SUN = Sun(np.array([0.6, -0.5, 0.62], np.float32), 0.5, np.array([1.1, 1.0, 0.9], np.float32), 0.07, 0.6)


def test_the_sun_casts_the_shadow_and_the_person_tells_its_own_light() -> None:
    person = [sample(np.array([-0.7, -0.5, -0.5]), SKIN, BLUE)]
    alone, found = (estimate_shot_look(person, INTRINSICS, sun=sun).look for sun in (None, SUN))
    assert alone.cast_direction is None and found.cast_direction is not None
    np.testing.assert_allclose(found.cast_direction, SUN.direction, atol=1e-6)
    assert (found.cast, found.cast_slope) == (pytest.approx(0.5), pytest.approx(0.07))
    np.testing.assert_allclose(found.cast_tint, SUN.tint)
    np.testing.assert_array_equal(found.light_direction, alone.light_direction)
    np.testing.assert_array_equal(found.light, alone.light)


def test_where_the_person_tells_nothing_the_light_is_the_suns() -> None:
    found = estimate_shot_look([], INTRINSICS, sun=SUN)
    np.testing.assert_allclose(found.look.light_direction, SUN.direction / np.linalg.norm(SUN.direction), atol=1e-6)
    assert found.notes
