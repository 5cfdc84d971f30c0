"""The engine that changes nothing."""

from __future__ import annotations

import numpy as np

from core.types import GenerationRequest
from models.generators.base import Generator
from models.generators.passthrough import PassthroughGenerator


def request(count: int = 3, size: int = 48) -> GenerationRequest:
    random = np.random.default_rng(5)
    masks = np.zeros((count, size, size), bool)
    masks[:, 16:32, 18:30] = True
    frames = random.integers(0, 256, (count, size, size, 3), np.uint8)
    return GenerationRequest(0, frames, masks, np.tile(np.eye(3), (count, 1, 1)), seed=11)


def test_it_gives_back_the_source_person_whole() -> None:
    asked = request()
    engine = PassthroughGenerator()
    engine.load()
    result = engine.generate(asked)
    np.testing.assert_array_equal(result.frames, asked.frames)
    assert (result.alpha[asked.masks] == 1).all()
    assert result.seed == 11 and result.engine == "passthrough"
    engine.unload()


def test_its_edge_is_soft_and_ends() -> None:
    alpha = PassthroughGenerator().generate(request(1)).alpha[0]
    row = alpha[24, :18][::-1]
    assert (np.diff(row) <= 1e-6).all(), "alpha must fall outwards"
    assert np.abs(np.diff(row)).max() < 0.35, "no step at the edge"
    assert alpha[0, 0] == 0 and alpha[24, 0] == 0


def test_two_calls_give_the_same() -> None:
    first, second = (PassthroughGenerator().generate(request()) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.alpha, second.alpha)


def test_it_is_a_generator_that_needs_nothing() -> None:
    engine = PassthroughGenerator()
    assert isinstance(engine, Generator)
    can = engine.capabilities
    assert (can.draws_in, can.steady, can.holds_feet, can.matches_shot) == ("stable", True, True, True)
    assert not (can.controls or can.needs_plate or can.needs_body or can.weights)
