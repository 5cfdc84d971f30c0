"""What every engine in the table promises, whatever it draws. The diffusion engines run on their true networks at toy size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import Cancelled, ModelUnavailable
from core.types import ControlMaps, GenerationRequest, GenerationResult
from models.body.anny_body import AnnyBody
from models.body.base import RestBody
from models.generators.base import EngineOptions, Generator
from models.registry import ENGINES, create_engine
from tests.models import test_avatar
from tests.models.test_wan_animate import landmarks

#: Small networks, few steps, few rays.
OPTIONS = EngineOptions(
    avatar="mannequin", prompt="a man", negative_prompt="bad", steps=2, generation_size=64, edge_samples=1,
    shadow_rays=0, occlusion_rays=0, device="cpu",
)  # fmt: skip
#: No multiple of anything.
WIDTH, HEIGHT = 121, 203


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


@pytest.fixture(params=sorted(ENGINES))
def name(request: pytest.FixtureRequest, toy_weights: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(toy_weights))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return str(request.param)


@pytest.fixture
def engine(name: str) -> Generator:
    made = create_engine(name, OPTIONS)
    made.load()
    return made


def ask(rest: RestBody, count: int, start: int = 0, seed: int = 4) -> GenerationRequest:
    """Everything that any engine may ask for."""
    params = test_avatar.body(rest, start + count, (0.02, 0, 0))
    plain = test_avatar.request(params, start, start + count, size=(WIDTH, HEIGHT))
    noise = np.random.default_rng(1).integers(0, 256, (20, HEIGHT, WIDTH, 3), np.uint8)[start : start + count]
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    masks[:, 40:170, 45:75] = True
    maps = {kind: noise // (index + 2) for index, kind in enumerate(("pose", "depth", "canny", "normal"))}
    return replace(
        plain,
        frames=noise,
        masks=masks,
        plate=noise[:, ::-1],
        controls=ControlMaps(maps),
        landmarks=landmarks(count, 60, 50),
        seed=seed,
    )


def same(a: GenerationResult, b: GenerationResult) -> bool:
    return np.array_equal(a.frames, b.frames) and np.array_equal(a.alpha, b.alpha)


@pytest.mark.parametrize("count", [1, 3])
def test_a_layer_of_the_size_and_length_that_was_asked_for(engine: Generator, rest: RestBody, count: int) -> None:
    result = engine.generate(ask(rest, count))
    assert result.frames.shape == (count, HEIGHT, WIDTH, 3) and result.frames.dtype == np.uint8
    assert result.alpha.shape == (count, HEIGHT, WIDTH) and result.alpha.dtype == np.float32
    assert result.alpha.min() == 0 and 0.9 < result.alpha.max() <= 1
    assert np.isfinite(result.alpha).all()
    assert result.engine == engine.name and result.seed == 4 and result.warnings == ()
    assert (result.motion is not None) == engine.capabilities.gives_motion
    assert (result.shadow is not None) == engine.capabilities.casts_shadow
    # The corners are far from the person.
    assert not result.alpha[:, :8, :8].any() and not result.alpha[:, -8:, -8:].any()


def test_the_request_is_not_changed(engine: Generator, rest: RestBody) -> None:
    asked = ask(rest, 2)
    before = asked.frames.copy(), asked.masks.copy(), asked.H_crop_source.copy()
    engine.generate(asked)
    for array, copy in zip((asked.frames, asked.masks, asked.H_crop_source), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_same_seed_repeats_after_loading_again_and_after_unloading(engine: Generator, rest: RestBody) -> None:
    first = engine.generate(ask(rest, 2))
    engine.generate(ask(rest, 2, start=2))
    engine.load()
    assert same(engine.generate(ask(rest, 2)), first), "load forgets the frames before"
    engine.unload()
    engine.load()
    assert same(engine.generate(ask(rest, 2)), first)


def test_another_seed_shows_in_engines_that_draw_from_noise(engine: Generator, rest: RestBody) -> None:
    first = engine.generate(ask(rest, 1))
    engine.load()
    other = engine.generate(ask(rest, 1, seed=5))
    draws_from_noise = ENGINES[engine.name].cost.frame_tflop(OPTIONS) > 0
    assert np.array_equal(first.frames, other.frames) != draws_from_noise


def test_progress_goes_up_to_the_end_and_may_stop_it(engine: Generator, rest: RestBody) -> None:
    seen: list[float] = []
    engine.generate(ask(rest, 2), lambda share, _text: seen.append(share))
    assert seen == sorted(seen) and all(0 <= share <= 1 for share in seen)
    if not seen:
        assert ENGINES[engine.name].cost.frame_tflop(OPTIONS) == 0, "only quick engines may keep silent"
        return
    assert seen[-1] == 1 and len(seen) >= int(OPTIONS.steps * OPTIONS.denoising_strength)

    def stop(_share: float, _text: str) -> None:
        raise Cancelled("stopped")

    engine.load()
    with pytest.raises(Cancelled):
        engine.generate(ask(rest, 2), stop)
    engine.load()
    assert len(engine.generate(ask(rest, 2)).frames) == 2


def test_it_declares_what_the_table_says(engine: Generator) -> None:
    assert engine.capabilities == ENGINES[engine.name].capabilities(OPTIONS)
    assert engine.capabilities.weights == () or ENGINES[engine.name].missing() is None


def test_weights_that_are_not_there_are_said_before_anything_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = ENGINES[name].capabilities(OPTIONS).weights
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "empty"))
    lacking = ENGINES[name].missing()
    if not needs:
        assert lacking is None
        create_engine(name, OPTIONS)
        return
    assert lacking is not None and lacking.command == f"python app.py weights pull {needs[0]}"
    with pytest.raises(ModelUnavailable) as caught:
        create_engine(name, OPTIONS)
    assert lacking.command in caught.value.hint
