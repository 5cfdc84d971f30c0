from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils.compositing import Finish, Layer, composite
from utils.photometry import linear_from_srgb, srgb_from_linear

HEIGHT, WIDTH = 120, 160


@pytest.fixture
def shot() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source with a red person in it, the scene without it, and a mask that is larger than the person."""
    scene = np.random.default_rng(5).integers(80, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    scene = cv2.GaussianBlur(scene, (0, 0), 1.0)
    source = scene.copy()
    source[40:90, 60:90] = (220, 20, 20)
    removal = np.zeros((HEIGHT, WIDTH), bool)
    removal[32:98, 52:98] = True
    return source, scene, removal


def disc_layer(box: tuple[int, int, int, int] = (50, 30, 110, 100), shadow: bool = False) -> Layer:
    x0, y0, x1, y1 = box
    alpha = np.zeros((y1 - y0, x1 - x0), np.float32)
    cv2.circle(alpha, (30, 35), 20, 1.0, -1, cv2.LINE_8)
    rgb = np.zeros((*alpha.shape, 3), np.uint8)
    rgb[alpha > 0] = (30, 200, 60)
    shade = None
    if shadow:
        shade = np.ones_like(alpha)
        shade[55:65, 10:50] = 0.5
    return Layer(rgb, alpha, box, shade)


@pytest.mark.parametrize("finish", [Finish(), Finish(grain=3, blur=1.2, feather=6, seed=4)])
def test_pixels_outside_are_the_sources_own(shot: tuple[np.ndarray, np.ndarray, np.ndarray], finish: Finish) -> None:
    source, scene, removal = shot
    layer = disc_layer(shadow=True)
    result = composite(source, scene, layer, removal_mask=removal, frame=3, finish=finish)
    may_change = removal.copy()
    x0, y0, x1, y1 = layer.box
    assert layer.shadow is not None
    may_change[y0:y1, x0:x1] |= cv2.dilate(layer.alpha, np.ones((9, 9))) > 0
    may_change[y0:y1, x0:x1] |= layer.shadow < 1
    assert np.array_equal(result[~may_change], source[~may_change])
    assert not np.array_equal(result[removal], source[removal])


def test_without_anything_to_draw_the_source_comes_back(shot: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    source, scene, _ = shot
    result = composite(source, scene, None, removal_mask=np.zeros((HEIGHT, WIDTH), bool), frame=0)
    assert np.array_equal(result, source)
    assert result is not source


def test_the_old_person_is_gone(shot: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    source, scene, removal = shot
    result = composite(source, scene, None, removal_mask=removal, frame=0, finish=Finish(feather=8))
    assert np.abs(result[40:90, 60:90].astype(int) - scene[40:90, 60:90]).max() <= 1


def test_the_ramp_never_lets_the_old_person_shine_through(shot: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    source, scene, removal = shot
    tight = np.zeros_like(removal)
    tight[38:92, 58:92] = True  # two pixels of room only, far less than the ramp
    result = composite(source, scene, None, removal_mask=tight, frame=0, finish=Finish(feather=10))
    assert np.abs(result[40:90, 60:90].astype(int) - scene[40:90, 60:90]).max() <= 6


def test_a_plate_of_other_exposure_fades_in(shot: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, scene, removal = shot
    brighter = cv2.add(scene, np.full_like(scene, 4))
    result = composite(scene, brighter, None, removal_mask=removal, frame=0, finish=Finish(feather=6))
    step = result[65, 52:70].astype(int) - scene[65, 52:70]
    assert step[0].max() <= 1
    assert step[-1].min() >= 3
    assert (np.diff(step.mean(axis=1)) >= -0.5).all()


def test_the_layer_covers_and_its_edges_have_no_rim() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    layer = disc_layer()
    same = Layer(np.where(layer.rgb > 0, np.uint8(128), np.uint8(0)), layer.alpha, layer.box)
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    result = composite(grey, grey, same, removal_mask=nothing, frame=0, finish=Finish(blur=1.5))
    assert np.abs(result.astype(int) - 128).max() <= 1  # grey on grey stays grey, however soft the edge
    coloured = composite(grey, grey, layer, removal_mask=nothing, frame=0)
    assert tuple(coloured[65, 80]) == (30, 200, 60)


def test_shadow_darkens_in_linear_light() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 150, np.uint8)
    layer = disc_layer(shadow=True)
    result = composite(grey, grey, layer, removal_mask=np.zeros((HEIGHT, WIDTH), bool), frame=0)
    expected = srgb_from_linear(linear_from_srgb(grey) * np.float32(0.5))[0, 0, 0]
    assert abs(int(result[30 + 60, 50 + 45, 0]) - int(expected)) <= 1


def test_an_occluder_hides_layer_and_shadow(shot: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    source, scene, removal = shot
    occluder = np.zeros((HEIGHT, WIDTH), np.float32)
    occluder[:, 100:] = 1
    removal = removal & (occluder == 0)
    result = composite(source, scene, disc_layer(shadow=True), removal_mask=removal, frame=0, occluder=occluder)
    assert np.array_equal(result[:, 100:], source[:, 100:])
    assert tuple(result[65, 80]) == (30, 200, 60)


def test_grain_lies_on_new_pixels_only_with_the_strength_of_the_footage() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    removal = np.zeros((HEIGHT, WIDTH), bool)
    removal[10:110, 10:110] = True
    finish = Finish(grain=4, feather=0)
    first = composite(grey, grey, None, removal_mask=removal, frame=1, finish=finish)
    again = composite(grey, grey, None, removal_mask=removal, frame=1, finish=finish)
    other = composite(grey, grey, None, removal_mask=removal, frame=2, finish=finish)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first[~removal], grey[~removal])
    assert first[removal].astype(float).std() == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("box", [(-30, -20, 30, 50), (130, 90, 190, 160), (300, 300, 360, 370)])
def test_a_layer_may_reach_past_the_frame(box: tuple[int, int, int, int]) -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    result = composite(grey, grey, disc_layer(box), removal_mask=np.zeros((HEIGHT, WIDTH), bool), frame=0)
    assert result.shape == grey.shape
    assert (result != grey).any() == (box[0] < 200)


def test_sizes_that_do_not_match_are_refused(shot: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    source, scene, removal = shot
    with pytest.raises(ValueError, match="plate"):
        composite(source, scene[:-1], None, removal_mask=removal, frame=0)
    with pytest.raises(ValueError, match="removal_mask"):
        composite(source, scene, None, removal_mask=removal[:-1], frame=0)
    with pytest.raises(ValueError, match="box"):
        Layer(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), (0, 0, 5, 4))


def test_a_shadow_above_one_gives_light_back_by_channel() -> None:
    dark = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    layer = disc_layer()
    lit = np.ones_like(layer.alpha)
    lit[55:65, 10:50] = 2.0
    layer = Layer(layer.rgb, np.zeros_like(layer.alpha), layer.box, lit)
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    plain = composite(dark, dark, layer, removal_mask=nothing, frame=0)
    expected = srgb_from_linear(linear_from_srgb(dark) * np.float32(2))[0, 0]
    assert np.abs(plain[30 + 60, 50 + 30].astype(int) - expected).max() <= 1
    changed = (plain != dark).any(axis=2)
    assert changed.sum() == 10 * 40
    tinted = composite(dark, dark, layer, removal_mask=nothing, frame=0, finish=Finish(shadow_tint=(1.5, 1.0, 0.5)))
    red, green, blue = tinted[30 + 60, 50 + 30].astype(int)
    assert red > green == plain[30 + 60, 50 + 30, 1] > blue > 90
