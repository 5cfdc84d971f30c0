"""The table of engines and what engines declare."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import InputError
from models.generators.base import Capabilities, EngineOptions, FrameRule, Generator
from models.registry import ENGINES, create_engine


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_can_be_made_and_answers_to_its_name(name: str) -> None:
    engine = create_engine(name)
    assert isinstance(engine, Generator)
    assert engine.name == name
    assert isinstance(engine.capabilities, Capabilities)
    assert ENGINES[name].description


def test_an_unknown_engine_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError) as error:
        create_engine("wan")
    assert "'wan'" in error.value.message
    assert all(name in error.value.hint for name in ENGINES)


def test_the_table_loads_no_heavy_library() -> None:
    code = "import sys, models.registry; print([m for m in ('torch', 'anny', 'cv2', 'embreex') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (2, 5), (5, 5), (77, 77), (78, 81)])
def test_wan_frame_rule_rounds_up_to_4n_plus_1(asked: int, given: int) -> None:
    assert FrameRule(4, 1).round_up(asked) == given


def test_capabilities_must_fit_their_own_frame_rule() -> None:
    with pytest.raises(ValueError, match="frame rule"):
        Capabilities(frames_per_call=80, frame_rule=FrameRule(4, 1))


@pytest.mark.parametrize("field", ["edge_samples", "shadow_rays", "occlusion_rays"])
def test_ray_counts_out_of_range_are_refused_by_name(field: str) -> None:
    with pytest.raises(InputError, match=field):
        EngineOptions(**{field: 1000})  # type: ignore[arg-type]
