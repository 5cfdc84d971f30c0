"""The avatar engine on a real body in real clothes, at small size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.types import BodyParams, GenerationRequest, ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.wardrobe import list_avatars
from models.generators.avatar import AvatarGenerator
from models.generators.base import EngineOptions, Generator
from tests.makehuman_files import vest

WIDTH, HEIGHT = 120, 200
INTRINSICS = np.array([[300.0, 0, 59.5], [0, 300.0, 99.5], [0, 0, 1]])
#: Facing the camera: model left, back, up in camera axes are +x, +z, -y.
FACING = np.array([np.pi / 2, 0.0, 0.0], np.float32)


@pytest.fixture(scope="module")
def engine() -> AvatarGenerator:
    made = AvatarGenerator(EngineOptions(avatar="mannequin"))
    made.load()
    return made


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def body(rest: RestBody, count: int, step: tuple[float, float, float] = (0, 0, 0)) -> BodyParams:
    """A standing body that moves by ``step`` metres a frame."""
    rotations = np.zeros((count, len(JOINT_NAMES), 3), np.float32)
    rotations[:, 0] = FACING
    place = np.array([0, 0, 3.2], np.float32) + np.arange(count)[:, None] * np.array(step, np.float32)
    bare = BodyParams(
        "anny", dict(rest.shape), JOINT_NAMES, rotations, place.astype(np.float32), INTRINSICS,
        np.zeros((count, 33, 3), np.float32), np.ones(count, bool),
    )  # fmt: skip
    return replace(bare, keypoints=landmark_positions(rest, params_transforms(rest, bare)))


def look(**changes: object) -> ShotLook:
    values: dict[str, object] = {
        "light_direction": np.array([-0.6, -0.7, -0.39], np.float32),
        "light": np.full(3, 0.8, np.float32),
        "sky": np.full(3, 0.5, np.float32),
        "ground": np.full(3, 0.25, np.float32),
        "haze": np.zeros(3, np.float32),
        "exposure": 0.8,
        "softness": 1.0,
        "grain": 0.0,
        "blur": 0.0,
    }
    return ShotLook(**(values | changes))  # type: ignore[arg-type]


def request(
    params: BodyParams, start: int = 0, end: int | None = None, H: np.ndarray | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT), shot: ShotLook | None = None,
) -> GenerationRequest:  # fmt: skip
    end = len(params) if end is None else end
    count = end - start
    frames = np.full((count, size[1], size[0], 3), 90, np.uint8)
    around = np.clip(np.arange(start - 1, end + 1), 0, len(params) - 1)
    return GenerationRequest(
        start, frames, np.zeros(frames.shape[:3], bool), np.tile(np.eye(3) if H is None else H, (count, 1, 1)), seed=4,
        body=params.window(start, end), motion_body=params.at(around), shot=shot or look(),
    )  # fmt: skip


def pixels(params: BodyParams, frame: int, landmarks: list[int]) -> np.ndarray:
    points = params.keypoints[frame, landmarks] @ INTRINSICS.T
    return np.rint(points[:, :2] / points[:, 2:]).astype(int)


def test_it_draws_a_figure_where_the_body_was_fitted(engine: AvatarGenerator, rest: RestBody) -> None:
    params = body(rest, 1)
    result = engine.generate(request(params))
    alpha = result.alpha[0]
    for x, y in pixels(params, 0, [0, 11, 12, 13, 14, 23, 24, 25, 26]):
        assert alpha[y, x] == pytest.approx(1.0, abs=1e-3)
    assert alpha[:10].max() == 0 and alpha[150:, :20].max() == 0 and alpha[:60, 100:].max() == 0
    assert 0.1 < alpha.mean() < 0.4
    assert isinstance(engine, Generator) and result.engine == "avatar" and result.seed == 4


@pytest.mark.parametrize("name", [spec.name for spec in list_avatars()])
def test_every_avatar_that_ships_is_drawn(name: str, rest: RestBody) -> None:
    params = body(rest, 1)
    alpha = AvatarGenerator(EngineOptions(avatar=name)).generate(request(params)).alpha[0]
    for x, y in pixels(params, 0, [0, 11, 12, 23, 24]):
        assert alpha[y, x] == pytest.approx(1.0, abs=1e-3)


def test_its_edges_are_smooth_and_its_inside_is_solid(engine: AvatarGenerator, rest: RestBody) -> None:
    alpha = engine.generate(request(body(rest, 1))).alpha[0]
    partial = (alpha > 0.01) & (alpha < 0.99)
    assert 0.02 < partial.sum() / (alpha > 0.5).sum() < 0.25
    assert alpha.min() >= 0 and alpha.max() <= 1


def test_a_crop_is_a_window_on_the_same_picture(engine: AvatarGenerator, rest: RestBody) -> None:
    params = body(rest, 1)
    whole = engine.generate(request(params))
    H = np.array([[1.0, 0, -20], [0, 1, -12], [0, 0, 1]])
    cut = engine.generate(request(params, H=H, size=(80, 150)))
    np.testing.assert_allclose(cut.alpha[0], whole.alpha[0, 12:162, 20:100], atol=0.01)
    solid = cut.alpha[0] > 0.9
    difference = np.abs(cut.frames[0].astype(int) - whole.frames[0, 12:162, 20:100])[solid]
    assert np.percentile(difference, 99) <= 2


def test_a_scaled_crop_moves_the_camera_rays(engine: AvatarGenerator, rest: RestBody) -> None:
    params = body(rest, 1)
    once = engine.generate(request(params)).alpha[0]
    # Pixel centres are whole numbers: two small pixels lie at -1/4 and +1/4 of a large one.
    H = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
    twice = engine.generate(request(params, H=H, size=(2 * WIDTH, 2 * HEIGHT))).alpha[0]
    halved = twice.reshape(HEIGHT, 2, WIDTH, 2).mean(axis=(1, 3))
    assert np.abs(halved - once).mean() < 0.01


def test_motion_is_that_of_the_body_and_zero_elsewhere(engine: AvatarGenerator, rest: RestBody) -> None:
    params = body(rest, 3, step=(0.02, -0.01, 0.0))
    result = engine.generate(request(params, 1, 2))
    assert result.motion is not None
    x, y = pixels(params, 1, [11, 12, 23, 24]).mean(axis=0).astype(int)
    depth = params.keypoints[1, [11, 12, 23, 24], 2].mean()
    np.testing.assert_allclose(result.motion[0, y, x], np.array([0.02, -0.01]) * 300 / depth, rtol=0.1)
    assert not result.motion[0][result.alpha[0] == 0].any()


def test_light_from_the_left_brightens_the_left(engine: AvatarGenerator, rest: RestBody) -> None:
    params = body(rest, 1)
    middle = int(pixels(params, 0, [11, 12])[:, 0].mean())

    def sides(x: float) -> float:
        light = np.array([x, -0.3, -0.2], np.float32)
        shot = look(light_direction=light / np.linalg.norm(light), softness=0.3)
        result = engine.generate(request(params, shot=shot))
        solid = np.where(result.alpha[0] > 0.99, 1.0, np.nan)[..., None] * result.frames[0]
        return float(np.nanmean(solid[:, :middle]) - np.nanmean(solid[:, middle:]))

    assert sides(-1.0) > 8 and sides(1.0) < -8


def test_a_standing_figure_does_not_flicker(engine: AvatarGenerator, rest: RestBody) -> None:
    """Moving by a fraction of a pixel changes the shading of the inside by hardly anything."""
    params = body(rest, 4, step=(0.001, 0.0, 0.0))
    result = engine.generate(request(params))
    inside = (result.alpha > 0.999).all(axis=0)
    change = np.abs(np.diff(result.frames.astype(np.int16), axis=0))[:, inside]
    assert change.mean() < 1.0


def test_the_shadow_lies_at_the_feet_and_nowhere_else(engine: AvatarGenerator, rest: RestBody) -> None:
    params = body(rest, 1)
    result = engine.generate(request(params))
    assert result.shadow is not None
    shadow = result.shadow[0]
    feet = pixels(params, 0, [29, 30, 31, 32])
    under = shadow[feet[:, 1].max() - 4 : feet[:, 1].max() + 5, feet[:, 0].min() : feet[:, 0].max() + 1]
    assert under.min() < 0.8
    assert (shadow[: HEIGHT // 2] == 1).all() and shadow.min() >= 0.2 and shadow.max() <= 1


def test_colours_go_on_past_the_edge(engine: AvatarGenerator, rest: RestBody) -> None:
    """Just outside the figure the colour is that of the figure, not black, so that blurring makes no dark rim."""
    result = engine.generate(request(body(rest, 1)))
    alpha, color = result.alpha[0], result.frames[0].astype(float).mean(axis=-1)
    row = int(pixels(body(rest, 1), 0, [23, 24])[:, 1].mean())
    inside = np.flatnonzero(alpha[row] > 0.99)
    for edge, direction in ((inside[0], -1), (inside[-1], 1)):
        assert abs(color[row, edge + 4 * direction] - color[row, edge]) < 40


def test_calls_follow_on_from_each_other(engine: AvatarGenerator, rest: RestBody) -> None:
    """Four frames in one call or in two: the same pictures, the ground's height is carried over."""
    params = body(rest, 4, step=(0.0, -0.03, 0.0))
    engine.load()
    together = engine.generate(request(params))
    engine.load()
    parts = [engine.generate(request(params, 0, 2)), engine.generate(request(params, 2, 4))]
    for name in ("frames", "alpha", "shadow"):
        np.testing.assert_array_equal(getattr(together, name), np.concatenate([getattr(p, name) for p in parts]))


def test_frames_without_a_body_stay_empty(engine: AvatarGenerator, rest: RestBody) -> None:
    params = replace(body(rest, 2), valid=np.array([True, False]))
    result = engine.generate(request(params))
    assert result.alpha[0].max() == 1 and result.alpha[1].max() == 0
    assert result.shadow is not None and (result.shadow[1] == 1).all()


def test_an_avatar_keeps_the_joints_of_another_build(rest: RestBody) -> None:
    """A tall or a small avatar has its shoulders, hips and feet where the fitted body has them."""
    from models.body.retarget import retargeted_transforms

    params = body(rest, 2)
    tall = AnnyBody().rest({"height": 0.9, "gender": 0.0, "weight": 0.7})
    landmarks = landmark_positions(tall, retargeted_transforms(tall, rest, params))
    error = np.linalg.norm(landmarks - params.keypoints, axis=-1)[:, [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]]
    assert error.mean() < 0.03 and error.max() < 0.08
    lowest = np.abs(landmarks[:, 29:33, 1].max() - params.keypoints[:, 29:33, 1].max())
    assert lowest < 0.02


def test_what_is_missing_is_named(engine: AvatarGenerator, rest: RestBody) -> None:
    complete = request(body(rest, 1))
    with pytest.raises(InputError, match="body"):
        engine.generate(replace(complete, body=None))
    with pytest.raises(InputError, match="smplx"):
        engine.generate(request(replace(body(rest, 1), model="smplx")))
    with pytest.raises(InputError, match="nobody"):
        AvatarGenerator(EngineOptions(avatar="nobody")).load()


def test_a_picture_that_a_garment_lacks_is_told_with_the_result(tmp_path: Path, rest: RestBody) -> None:
    vest(tmp_path / "clothes", rest, material="diffuseTexture gone.png\n")
    avatar = tmp_path / "me.yaml"
    avatar.write_text("name: me\noutfit:\n  - {kind: garment, file: clothes/vest.mhclo}\n")
    result = AvatarGenerator(EngineOptions(avatar=str(avatar))).generate(request(body(rest, 1)))
    assert any("gone.png" in warning for warning in result.warnings)
