"""Pictures on surfaces: where they lie, what they look like from afar, and what is seen through them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.types import ShotLook
from models.body.character import Character, Material, Pattern, Surface, Texture
from models.body.detail import THREADS, combed
from models.body.figure import Figure
from models.body.renderer import FigureRenderer, Layer, View
from models.body.texture import MipMap
from tests.makehuman_files import picture

SIZE = (64, 64)
#: A metre at one metre's distance fills the picture.
INTRINSICS = np.array([[64.0, 0, 31.5], [0, 64.0, 31.5], [0, 0, 1]])


def look(**changes: object) -> ShotLook:
    values: dict[str, object] = {
        "light_direction": np.array([0.0, 0.0, -1.0], np.float32),
        "light": np.full(3, 0.5, np.float32),
        "sky": np.full(3, 0.5, np.float32),
        "ground": np.full(3, 0.5, np.float32),
        "haze": np.zeros(3, np.float32),
        # Dark enough that no highlight is rolled off.
        "exposure": 0.3,
        "softness": 1.0,
        "grain": 0.0,
        "blur": 0.0,
    }
    return ShotLook(**(values | changes))  # type: ignore[arg-type]


def sheets(depths: tuple[float, ...], surfaces: tuple[Surface, ...], textures: tuple[Texture, ...]) -> Character:
    """Square sheets before the camera, a metre wide at one metre, u to the right and v up, each of its own surface."""
    corners = np.array([[-0.5, 0.5, 0], [0.5, 0.5, 0], [0.5, -0.5, 0], [-0.5, -0.5, 0]])
    points = np.concatenate([corners * depth + [0, 0, depth] for depth in depths]).astype(np.float32)
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * number for number in range(len(depths))])
    where = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    count = len(points)
    return Character(
        name="sheets",
        vertices=points,
        faces=faces.astype(np.int32),
        bone_indices=np.zeros((count, 1), np.int32),
        bone_weights=np.ones((count, 1), np.float32),
        albedo=np.repeat(np.linspace(0.8, 0.4, len(depths)), 4)[:, None].repeat(3, axis=1).astype(np.float32),
        surface=np.repeat(np.arange(len(depths)), 4).astype(np.uint8),
        surfaces=surfaces,
        layer=np.repeat(np.arange(len(depths)), 2).astype(np.uint8),
        strand=np.zeros((count, 3), np.float32),
        fold=np.zeros(count, np.float32),
        softness=np.zeros(count, np.float32),
        occlusion=np.ones(count, np.float32),
        textures=textures,
        uv=np.tile(where[faces[:2]], (len(depths), 1, 1)) if textures else np.zeros((0, 3, 2), np.float32),
    )


def draw(character: Character, light: ShotLook, shift: float = 0.0, samples: int = 8) -> Layer:
    renderer = FigureRenderer(character, 1, edge_samples=samples, shadow_rays=0, occlusion_rays=0)
    transform = np.eye(4)[None].copy()
    transform[0, 0, 3] = shift
    posed = renderer.figure.pose(transform)
    return renderer.render(
        posed, np.zeros((len(posed.vertices), 2), np.float32), View(INTRINSICS, np.eye(3), SIZE), light
    )


CLOTH = Surface(Material.CLOTH, 1.0, specular=0.0, texture=0)


# -- sampling ------------------------------------------------------------------------------------------------------------


def made(path: Path, rgba: np.ndarray, **kind: object) -> MipMap:
    picture(path, rgba)
    return MipMap(Texture(path, **({"kind": "color"} | kind)))  # type: ignore[arg-type]


def test_v_runs_upwards_and_the_picture_repeats(tmp_path) -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[0, 0], rgb[3, 3] = (255, 0, 0), (0, 255, 0)  # red at the top left, green at the bottom right
    texture = made(tmp_path / "a.png", rgb)
    places = np.array([[0.125, 0.875], [0.875, 0.125], [1.125, -0.125], [-0.125, 2.125], [0.375, 0.375]], np.float32)
    colors = texture.sample(places, np.full(5, 0.01, np.float32))[:, :3]
    np.testing.assert_allclose(colors, [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)


def test_a_fine_pattern_becomes_its_mean_in_linear_light(tmp_path) -> None:
    checker = np.indices((64, 64)).sum(axis=0) % 2 * 255
    texture = made(tmp_path / "a.png", np.repeat(checker[..., None], 3, axis=2).astype(np.uint8))
    places = np.random.default_rng(1).random((500, 2)).astype(np.float32)
    near, far = (texture.sample(places, np.full(500, width, np.float32))[:, 0] for width in (1 / 128, 1 / 8))
    assert np.ptp(near) > 0.8
    np.testing.assert_allclose(far, 0.5, atol=0.01)


def test_a_wider_footprint_changes_the_colour_without_jumps(tmp_path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    texture = made(tmp_path / "a.png", noise)
    widths = np.geomspace(1 / 200, 1, 400).astype(np.float32)
    colors = texture.sample(np.full((400, 2), 0.37, np.float32), widths)[:, :3]
    assert np.abs(np.diff(colors, axis=0)).max() < 0.03


def test_what_is_clear_bleeds_no_colour(tmp_path) -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 1] = 255  # clear green
    rgba[:, ::8] = (255, 0, 0, 255)
    texture = made(tmp_path / "a.png", rgba, alpha=True)
    result = texture.sample(np.random.default_rng(3).random((200, 2)).astype(np.float32), np.full(200, 0.3, np.float32))
    np.testing.assert_allclose(result, [[1, 0, 0, 0.125]] * 200, atol=0.02)
    assert texture.is_open
    assert not made(tmp_path / "a.png", rgba).is_open, "transparency counts only where the material says so"


def test_what_lies_between_the_islands_does_not_bleed_into_them_from_afar(tmp_path) -> None:
    rgb = np.full((256, 256, 3), (255, 0, 255), np.uint8)
    rgb[96:160, 96:160] = (0, 128, 0)
    corners = np.array(
        [[[0.375, 0.375], [0.625, 0.375], [0.625, 0.625]], [[0.375, 0.375], [0.625, 0.625], [0.375, 0.625]]]
    )
    picture(tmp_path / "a.png", rgb)
    kept = MipMap(Texture(tmp_path / "a.png", "color"), corners.astype(np.float32))
    plain = MipMap(Texture(tmp_path / "a.png", "color"))
    edge, wide = np.array([[0.38, 0.5]], np.float32), np.array([0.1], np.float32)
    assert kept.sample(edge, wide)[0, 0] < 0.02 < 0.2 < plain.sample(edge, wide)[0, 0]
    assert kept.sample(edge, wide)[0, 3] == 1
    np.testing.assert_allclose(
        kept.mean_color, kept.sample(np.full((1, 2), 0.5, np.float32), np.zeros(1))[0, :3], atol=0.02
    )


def test_the_brightness_of_another_picture_may_be_the_opacity(tmp_path) -> None:
    picture(tmp_path / "mask.png", np.full((16, 16, 3), 64, np.uint8))
    texture = made(tmp_path / "a.png", np.full((8, 8, 3), 255, np.uint8), opacity=tmp_path / "mask.png")
    assert texture.opacity(np.zeros((1, 2), np.float32), np.zeros(1, np.float32))[0] == pytest.approx(0.25, abs=0.01)


def test_a_tint_keeps_light_and_dark_and_is_one_on_average(tmp_path) -> None:
    rgb = np.full((32, 32, 3), (200, 40, 40), np.uint8)
    rgb[:, 16:] //= 2
    texture = made(tmp_path / "a.png", rgb, kind="tint")
    colors = texture.sample(np.array([[0.25, 0.5], [0.75, 0.5]], np.float32), np.full(2, 0.01, np.float32))[:, :3]
    assert np.ptp(colors, axis=1).max() < 1e-6
    assert colors.mean() == pytest.approx(1, abs=0.02) and colors[0, 0] > 3 * colors[1, 0]


def test_sides_that_are_no_powers_of_two_and_sixteen_bits_are_taken(tmp_path) -> None:
    texture = made(tmp_path / "a.png", np.full((30, 100, 3), 255, np.uint8))
    assert texture.size[0].tolist() == [128, 32]
    assert texture.sample(np.full((1, 2), 0.5, np.float32), np.zeros(1, np.float32))[0, 0] == pytest.approx(1)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_what_is_no_picture_is_named(tmp_path, content) -> None:
    path = tmp_path / "cloth.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"cloth\.png"):
        MipMap(Texture(path, "color"))


# -- drawing -------------------------------------------------------------------------------------------------------------


def test_a_picture_lies_upright_and_unmirrored_on_the_sheet(tmp_path) -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:4, :4], rgb[:4, 4:] = (255, 0, 0), (0, 255, 0)
    rgb[4:, :4] = (0, 0, 255)
    picture(tmp_path / "a.png", rgb)
    layer = draw(sheets((1.0,), (CLOTH,), (Texture(tmp_path / "a.png", "color"),)), look())
    assert layer.alpha[8:-8, 8:-8].min() == 1
    quarters = [layer.color[y, x].argmax() for y, x in ((12, 12), (12, 52), (52, 12))]
    assert quarters == [0, 1, 2]
    assert layer.color[52, 52].max() < 0.02


@pytest.mark.parametrize("opacity", [0.25, 0.5, 0.8])
def test_half_clear_cards_let_through_what_is_behind(tmp_path, opacity: float) -> None:
    """Two cards of the same opacity before a wall: the wall keeps (1 - opacity) squared of its share."""
    picture(tmp_path / "card.png", np.full((8, 8, 4), (255, 0, 0, round(255 * opacity)), np.uint8))
    picture(tmp_path / "wall.png", np.full((8, 8, 3), (0, 0, 255), np.uint8))
    card, wall = CLOTH, Surface(Material.CLOTH, 1.0, specular=0.0, texture=1)
    textures = (Texture(tmp_path / "card.png", "color", alpha=True), Texture(tmp_path / "wall.png", "color"))
    one = draw(sheets((1.0, 2.0), (card, wall), textures), look(), samples=16)
    two = draw(sheets((1.0, 1.5, 2.0), (card, card, wall), textures), look(), samples=16)
    bare = draw(sheets((2.0,), (Surface(Material.CLOTH, 1.0, specular=0.0, texture=0),), textures[1:]), look())
    inside = np.s_[16:48, 16:48]
    assert one.alpha[inside].min() > 0.99
    full = bare.color[inside][..., 2].mean() * 0.5  # the last of several sheets is half as bright
    assert one.color[inside][..., 2].mean() / full == pytest.approx(1 - opacity, abs=0.03)
    assert two.color[inside][..., 2].mean() / full == pytest.approx((1 - opacity) ** 2, abs=0.05)


def test_the_edge_of_a_cut_out_is_smooth_and_free_cards_leave_the_picture_open(tmp_path) -> None:
    y, x = np.mgrid[:256, :256] - 127.5
    rgba = np.full((256, 256, 4), 255, np.uint8)
    rgba[..., 3] = np.where(np.hypot(x, y) < 80, 255, 0)
    picture(tmp_path / "disc.png", rgba)
    layer = draw(sheets((1.0,), (CLOTH,), (Texture(tmp_path / "disc.png", "color", alpha=True),)), look())
    assert layer.alpha.sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    assert layer.alpha[2, 2] == 0 and layer.alpha[32, 32] == 1
    assert ((layer.alpha > 0.1) & (layer.alpha < 0.9)).sum() > 60, "the rim is anti-aliased"


def test_a_fine_pattern_does_not_shimmer_when_it_moves(tmp_path) -> None:
    checker = np.indices((512, 512)).sum(axis=0) % 2 * 255
    picture(tmp_path / "a.png", np.repeat(checker[..., None], 3, axis=2).astype(np.uint8))
    character = sheets((1.0,), (CLOTH,), (Texture(tmp_path / "a.png", "color"),))
    frames = [draw(character, look(), shift).color[16:48, 16:48] for shift in np.linspace(0, 0.02, 5)]
    assert np.ptp(np.stack(frames), axis=0).max() < 0.02


def test_a_normal_map_leans_the_surface_the_way_it_says(tmp_path) -> None:
    """Red beyond the middle leans the surface towards +u: light from the right makes it brighter; green: from above."""
    for channel, light in ((0, (0.7, 0.0, -0.7)), (1, (0.0, -0.7, -0.7))):
        rgb = np.full((8, 8, 3), (128, 128, 255), np.uint8)
        rgb[..., channel] = 190
        path = tmp_path / f"{channel}.png"
        picture(path, rgb)
        flat = Surface(Material.CLOTH, 1.0, specular=0.0)
        tilted = Surface(Material.CLOTH, 1.0, specular=0.0, normal_map=0)
        lit, away = (
            look(
                light_direction=np.float32(light) * np.float32([side, side, 1]),
                softness=0.0,
                sky=np.zeros(3),
                ground=np.zeros(3),
            )
            for side in (1, -1)
        )
        texture = (Texture(path, "normal"),)
        plain, towards, against = (
            draw(sheets((1.0,), (surface,), maps), at).color[32, 32, 0]
            for surface, maps, at in ((flat, (), lit), (tilted, texture, lit), (tilted, texture, away))
        )
        assert towards > 1.2 * plain > 1.2 * 1.2 * against


def test_textures_change_nothing_for_a_figure_that_has_none() -> None:
    character = sheets((1.0,), (Surface(Material.CLOTH, 1.0, specular=0.0),), ())
    figure = Figure(character, 1)
    assert figure.pose(np.eye(4)[None]).vertices.shape == (4, 3)
    assert draw(character, look()).alpha[32, 32] == 1


@pytest.mark.parametrize("pattern", THREADS)
def test_threads_lean_the_way_they_rise_and_repeat(pattern: Pattern) -> None:
    points = np.random.default_rng(5).random((400, 3)).astype(np.float32) * 3 + 0.01
    height, slope = THREADS[pattern](points)
    assert abs(height.mean()) < 0.25 and 0.4 < height.std() < 1.1
    step = 1e-3
    rise = np.stack(
        [(THREADS[pattern](points + step * axis)[0] - height) / step for axis in np.eye(3, dtype=np.float32)], axis=1
    )
    scale = (rise * slope).sum() / (slope**2).sum()
    # Single points lie on the fold of a stitch.
    assert np.quantile(np.abs(rise - scale * slope).max(axis=1), 0.95) < 0.1 * np.abs(rise).max()
    np.testing.assert_allclose(THREADS[pattern](points + np.float32([1, 0, 0]))[0], height, atol=2e-3)


def test_denim_is_diagonal_and_knitting_has_columns() -> None:
    y, x = np.mgrid[0:4:64j, 0:4:64j].astype(np.float32)
    flat = np.stack([x.ravel(), np.zeros(x.size, np.float32), y.ravel()], axis=1)
    denim = THREADS[Pattern.DENIM](flat)[0].reshape(64, 64)
    np.testing.assert_allclose(denim[1:, :-1], denim[:-1, 1:], atol=1e-3)
    knit = THREADS[Pattern.KNIT](flat)[0].reshape(64, 64)
    assert knit.mean(axis=0).std() > 0.2, "grooves between the columns"
    assert denim.mean(axis=0).std() < 0.1


def test_combed_noise_runs_along_the_strands_on_a_round_head() -> None:
    """Along a meridian of a ball the noise stays itself far longer than across it."""
    generator = np.random.default_rng(6)
    radial = generator.standard_normal((4000, 3)).astype(np.float32)
    radial /= np.linalg.norm(radial, axis=1, keepdims=True)
    along = np.cross(np.cross(radial, np.float32([0, 0, 1])), radial)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(radial, along)
    ball = 20 * radial  # wavelengths
    value, slope = combed(ball, along)
    assert value.std() == pytest.approx(1, abs=0.1)
    assert np.abs((slope * along).sum(axis=1)).max() < 1e-4
    same = [np.corrcoef(value, combed(ball + step, along)[0])[0, 1] for step in (0.5 * along, 0.5 * across)]
    assert same[0] > 0.8 and same[1] < 0.3
