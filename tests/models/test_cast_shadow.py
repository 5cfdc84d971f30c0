"""The sun, read off shadows whose sun is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.types import ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.cast_shadow import (
    ShadowSample,
    direction_of,
    find_sun,
    ground_points,
    shadow_matte,
    shadow_points,
    shadow_window,
    soft_matte,
)
from models.body.embree import RayScene, rasterize
from models.body.ground_shadow import Footing, Sunlight, ground_shadow
from models.body.occlusion import frames_around, hemisphere
from models.body.renderer import View

SIZE = (200, 120)
INTRINSICS = np.array([[150.0, 0, 99.5], [0, 150.0, 20.0], [0, 0, 1]])
HEIGHT_PX = 60.0


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def posed(rest: RestBody, frame: int) -> tuple[np.ndarray, float]:
    """Vertices of a body that strides past, and the ground that it stands on."""
    rotations = np.zeros((1, len(JOINT_NAMES), 3))
    rotations[0, 0] = [np.pi / 2, 0.0, 0.0]
    swing = 0.5 * np.sin(1.3 * frame)
    for side, sign in (("left", 1), ("right", -1)):
        rotations[0, JOINT_NAMES.index(f"{side}_hip")] = [sign * swing, 0, 0]
    place = np.array([[-1.0 + 0.22 * frame, 0.6, 4.2 + 0.05 * frame]])
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    vertices = skin(bone_transforms(rest, rotations, place)[0])
    return vertices, float(vertices[:, 1].max())


def darkness_of(vertices: np.ndarray, faces: np.ndarray, ground: float, direction: np.ndarray | None) -> np.ndarray:
    """(h, w) share of the light that is missing: half of it in the sun's shadow, or a fifth at most under a grey sky."""
    scene = RayScene(vertices, faces)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    pixels = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)
    points = ground_points(INTRINSICS, pixels, ground)
    if direction is not None:
        return 0.5 * soft_matte(scene, points, direction, 0.02).reshape(SIZE[::-1])
    known = np.isfinite(points[:, 0])
    up = np.broadcast_to(np.array([0, -1, 0], np.float32), points[known].shape)
    frames = frames_around(up, np.zeros(len(up), np.float32))
    hidden = np.zeros(len(points), np.float32)
    for ray in hemisphere(32):
        hidden[known] += scene.occluded(points[known] + 0.004 * up, np.einsum("mij,j->mi", frames, ray)) / 32
    return 0.9 * hidden.reshape(SIZE[::-1])


def samples(rest: RestBody, direction: np.ndarray | None) -> list[ShadowSample]:
    made = []
    for frame in range(9):
        vertices, ground = posed(rest, frame)
        seen = rasterize(RayScene(vertices, rest.faces), INTRINSICS, np.eye(3), SIZE).hit
        dark = darkness_of(vertices, rest.faces, ground, direction)
        noise = np.random.default_rng(frame).normal(0, 0.04, dark.shape)
        dark = cv2.GaussianBlur((dark + noise).astype(np.float32), (0, 0), 0.8)
        valid = cv2.dilate(seen.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        valid[:40] = False
        colour = np.repeat(dark[..., None], 3, axis=2).astype(np.float32)
        made.append(ShadowSample(colour, valid, vertices, rest.faces, ground, INTRINSICS, HEIGHT_PX))
    return made


@pytest.mark.parametrize("angles", [(60.0, 30.0), (150.0, 22.0), (250.0, 40.0), (0.0, 35.0)])
def test_the_sun_is_found_by_its_shadow(rest: RestBody, angles: tuple[float, float]) -> None:
    direction = direction_of(*angles)
    sun = find_sun(samples(rest, direction))
    assert sun is not None
    assert np.degrees(np.arccos(np.clip(sun.direction @ direction, -1, 1))) < 10
    # Thin limbs far from the ground make it look less deep than it is.
    assert 0.3 < sun.depth < 0.6
    assert sun.fit > 0.5


def test_a_grey_sky_has_no_sun(rest: RestBody) -> None:
    assert find_sun(samples(rest, None)) is None


def test_noise_has_no_sun(rest: RestBody) -> None:
    made = [replace(sample, darkness=sample.darkness * 0) for sample in samples(rest, None)]
    random = np.random.default_rng(1)
    noisy = [replace(s, darkness=random.normal(0, 0.1, s.darkness.shape).astype(np.float32)) for s in made]
    assert find_sun(made) is None
    assert find_sun(noisy) is None


def test_nothing_to_look_at_has_no_sun() -> None:
    assert find_sun([]) is None


def test_shadows_lie_on_the_ground_away_from_the_light() -> None:
    direction = direction_of(0.0, 45.0)  # from the right
    points = shadow_points(np.array([[0.0, -1.0, 5.0], [0.0, 1.0, 5.0]], np.float32), direction, 1.0)
    np.testing.assert_allclose(points, [[-2.0, 1.0, 5.0], [0.0, 1.0, 5.0]], atol=1e-5)


def test_the_window_holds_the_shadow_even_where_it_runs_under_the_camera(rest: RestBody) -> None:
    vertices, ground = posed(rest, 4)
    for azimuth, rise in ((90.0, 8.0), (90.0, 30.0), (200.0, 25.0)):
        direction = direction_of(azimuth, rise)
        window = shadow_window(vertices, direction, ground, INTRINSICS, SIZE)
        assert window is not None
        x0, y0, x1, y1 = window
        matte = darkness_of(vertices, rest.faces, ground, direction)
        seen = rasterize(RayScene(vertices, rest.faces), INTRINSICS, np.eye(3), SIZE).hit
        inside = np.zeros(matte.shape, bool)
        inside[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = True
        # Above the ground's horizon nothing is asked; the body itself hides what is behind it.
        assert not ((matte > 0.3) & ~inside & ~seen)[40:].any()


def look(**changes: object) -> ShotLook:
    values: dict[str, object] = {
        "light_direction": direction_of(30.0, 30.0),
        "light": np.full(3, 0.8, np.float32),
        "sky": np.full(3, 0.5, np.float32),
        "ground": np.full(3, 0.25, np.float32),
        "haze": np.zeros(3, np.float32),
        "exposure": 0.8,
        "softness": 0.5,
        "grain": 0.0,
        "blur": 0.0,
        "cast": 0.5,
        "cast_direction": direction_of(30.0, 30.0),
    }
    return ShotLook(**(values | changes))  # type: ignore[arg-type]


def test_the_new_shadow_lies_where_the_sun_reaches_the_ground(rest: RestBody) -> None:
    vertices, ground = posed(rest, 4)
    scene = RayScene(vertices, rest.faces)
    view = View(INTRINSICS, np.eye(3), SIZE)
    share = np.full(SIZE[::-1], 0.5, np.float32)
    share[:, 120:] = 0.0
    here = look(light_direction=direction_of(-120.0, 60.0))
    assert here.cast_direction is not None
    shadow = ground_shadow(scene, view, here, [], 8, Sunlight(share, vertices, ground))
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    pixels = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)
    hidden = shadow_matte(scene, ground_points(INTRINSICS, pixels, ground), here.cast_direction).reshape(SIZE[::-1])
    core = cv2.erode(hidden, np.ones((5, 5))) > 0
    core[:, :14] = core[:, -14:] = core[-14:] = False  # the border of the crop is faded
    assert core[:, :118].any()
    assert shadow[:, :118][core[:, :118]].mean() == pytest.approx(0.5, abs=0.06)
    assert (shadow[:, 122:] == 1).all()
    far = cv2.dilate(hidden, np.ones((13, 13))) == 0
    assert (shadow[far] == 1).all()


def test_without_a_sun_the_ground_shadow_stays_soft(rest: RestBody) -> None:
    vertices, ground = posed(rest, 4)
    scene = RayScene(vertices, rest.faces)
    view = View(INTRINSICS, np.eye(3), SIZE)
    middle = vertices[vertices[:, 1] > ground - 0.03].mean(axis=0)
    footing = Footing(np.array([middle[0], ground, middle[2]], np.float32), 1.0)
    shadow = ground_shadow(scene, view, look(cast=0.0, softness=1.0), [footing], 8)
    assert 0.3 < shadow.min() < 0.9
    steps = np.abs(np.diff(shadow, axis=1))
    assert steps.max() < 0.2
