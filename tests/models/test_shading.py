"""Light on surfaces: brightness where it can be known, order where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from core.types import ShotLook
from models.body.character import Material
from models.body.detail import noise
from models.body.shading import Samples, SurfaceTable, expose, shade, wrapped

UP, TOWARDS_CAMERA = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, -1.0])


def look(**changes: object) -> ShotLook:
    values: dict[str, object] = {
        "light_direction": np.array([0.0, -1.0, 0.0], np.float32),
        "light": np.full(3, 0.6, np.float32),
        "sky": np.full(3, 0.5, np.float32),
        "ground": np.full(3, 0.2, np.float32),
        "haze": np.zeros(3, np.float32),
        "exposure": 1.0,
        "softness": 0.0,
        "grain": 0.0,
        "blur": 0.0,
    }
    return ShotLook(**(values | changes))  # type: ignore[arg-type]


def table(material: Material = Material.CLOTH, **changes: float) -> SurfaceTable:
    values = {"roughness": 1.0, "specular": 0.0, "sheen": 0.0, "subsurface": 0.0} | changes
    return SurfaceTable(np.array([material]), *(np.array([values[n]], np.float32) for n in values))


def samples(normals: np.ndarray, view: np.ndarray = TOWARDS_CAMERA, albedo: float = 0.5, **changes: object) -> Samples:
    normals = np.atleast_2d(np.asarray(normals, np.float32))
    count = len(normals)
    rise = -normals[:, 1]
    openness = np.stack([np.clip(rise, 0, 1), 0.5 + 0.5 * rise, 0.5 - 0.5 * rise], axis=1)
    values: dict[str, object] = {
        "normal": normals,
        "smooth_normal": normals,
        "view": np.tile(view, (count, 1)).astype(np.float32),
        "strand": np.zeros((count, 3), np.float32),
        "albedo": np.full((count, 3), albedo, np.float32),
        "surface": np.zeros(count, int),
        "openness": openness.astype(np.float32),
        "sunlit": np.ones(count, np.float32),
        "cavity": np.zeros(count, np.float32),
    }
    return Samples(**(values | changes))  # type: ignore[arg-type]


def test_an_open_matte_surface_has_the_brightness_of_its_light() -> None:
    """Facing the sun and the sky: albedo times light plus sky, by the meaning of ``ShotLook``."""
    result = shade(samples(UP), table(), look())
    np.testing.assert_allclose(result[0], 0.5 * (0.6 + 0.5), rtol=0.03)


def test_a_surface_that_faces_down_gets_the_ground_only() -> None:
    result = shade(samples(-UP), table(), look())
    np.testing.assert_allclose(result[0], 0.5 * 0.2, rtol=0.03)


def test_shadow_takes_the_sun_and_leaves_the_sky() -> None:
    result = shade(samples(UP, sunlit=np.zeros(1, np.float32)), table(), look())
    np.testing.assert_allclose(result[0], 0.5 * 0.5, rtol=0.03)


def test_closed_places_are_darker_but_not_black() -> None:
    closed = samples(UP, openness=np.zeros((1, 3), np.float32), sunlit=np.zeros(1, np.float32))
    dark, lit = shade(closed, table(), look())[0, 0], shade(samples(UP), table(), look())[0, 0]
    assert 0.02 * lit < dark < 0.35 * lit


def test_skin_has_a_soft_red_terminator() -> None:
    """Just behind the terminator cloth is dark and skin still glows, most in red."""
    behind = np.array([[1.0, 0.1, 0.0]]) / np.sqrt(1.01)
    only_sun = look(sky=np.zeros(3, np.float32), ground=np.zeros(3, np.float32))
    cloth = shade(samples(behind), table(), only_sun)[0]
    skin = shade(samples(behind), table(Material.SKIN, subsurface=0.6), only_sun)[0]
    assert cloth.max() < 1e-6
    assert skin[0] > skin[1] > 0 and skin[0] > 1.2 * skin[2]


def test_wrapping_light_keeps_its_energy() -> None:
    """Summed over all directions, a wrapped surface sends back no more light than a plain one."""
    cosine = np.linspace(-1, 1, 20001)
    for wrap in (0.0, 0.3, 0.8):
        total = wrapped(cosine, np.full((1, 3), wrap))[:, 0].mean()
        assert total == pytest.approx(0.25, rel=0.01)


def test_a_smooth_surface_shines_where_it_mirrors_the_light_and_a_rough_one_does_not() -> None:
    halfway = (UP + TOWARDS_CAMERA) / np.sqrt(2)
    shiny = shade(samples(halfway, albedo=0.0), table(roughness=0.15, specular=0.04), look())[0, 0]
    matte = shade(samples(halfway, albedo=0.0), table(roughness=1.0, specular=0.04), look())[0, 0]
    assert shiny > 5 * matte > 0


def test_hair_shines_across_its_strands() -> None:
    normal = (UP + TOWARDS_CAMERA) / np.sqrt(2)
    across, along = (np.array([s], np.float32) for s in ((1.0, 0, 0), tuple(normal)))
    hair = table(Material.HAIR, specular=0.05)
    bright, dull = (shade(samples(normal, strand=s), hair, look())[0, 0] for s in (across, along))
    assert bright > 1.1 * dull


def test_exposure_haze_and_highlights() -> None:
    hazy = look(haze=np.array([0.05, 0.06, 0.08], np.float32), exposure=1.5)
    np.testing.assert_allclose(expose(np.zeros((1, 3), np.float32), hazy)[0], hazy.haze)
    ramp = np.linspace(0, 20, 400, dtype=np.float32)[:, None].repeat(3, axis=1)
    seen = expose(ramp, hazy)
    assert (np.diff(seen, axis=0) > 0).all() and seen.max() < 1.0
    plain = expose(np.full((1, 3), 0.3, np.float32), look(exposure=2.0))
    np.testing.assert_allclose(plain, 0.6, rtol=1e-5)


def test_noise_is_smooth_periodic_and_its_gradient_is_true() -> None:
    points = np.random.default_rng(1).uniform(-20, 20, (500, 3)).astype(np.float32)
    value, slope = noise(points)
    again, _ = noise(points + 8.0)
    np.testing.assert_allclose(again, value, atol=2e-3)
    assert abs(value.mean()) < 0.15 and 0.8 < value.std() < 1.2
    step = 0.05
    for axis in range(3):
        shift = np.zeros(3, np.float32)
        shift[axis] = step
        difference = (noise(points + shift)[0] - noise(points - shift)[0]) / (2 * step)
        assert np.corrcoef(difference, slope[:, axis])[0, 1] > 0.98
