"""The table of engines and what engines declare."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import InputError
from core.settings import ReplaceSettings
from models.generators.base import Capabilities, EngineOptions, FrameRule, Generator
from models.registry import ENGINES, create_engine, engine_entry


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_can_be_made_and_answers_to_its_name(name: str) -> None:
    engine = create_engine(name)
    assert isinstance(engine, Generator)
    assert engine.name == name
    assert isinstance(engine.capabilities, Capabilities)
    assert ENGINES[name].description
    assert ENGINES[name].capabilities() == engine.capabilities


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_reads_settings_that_there_are_and_has_a_cost(name: str) -> None:
    entry = engine_entry(name)
    assert set(entry.takes) <= set(ReplaceSettings.model_fields) & set(EngineOptions.__dataclass_fields__)
    assert ("checkpoint" in entry.takes) == bool(entry.checkpoints)
    cheap = EngineOptions(edge_samples=1, shadow_rays=0, occlusion_rays=0)
    dear = EngineOptions(edge_samples=16, shadow_rays=16, occlusion_rays=64)
    assert 0 <= entry.cost.megapixel_s(cheap) <= entry.cost.megapixel_s(dear)
    assert entry.cost.frame_s + entry.cost.megapixel_s(dear) > 0


def test_the_engines_of_this_installation_lack_nothing() -> None:
    assert [name for name, entry in ENGINES.items() if entry.missing() is not None] == []


def test_a_package_that_is_not_installed_is_named_with_the_command_that_gets_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "embreex", None)  # as if it had never been installed
    lacking = engine_entry("avatar").missing()
    assert lacking is not None
    assert lacking.what == "the package embreex"
    assert lacking.command == "pip install -r requirements.txt"


def test_an_unknown_engine_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError) as error:
        create_engine("wan")
    with pytest.raises(InputError):
        engine_entry("wan")
    assert "'wan'" in error.value.message
    assert all(name in error.value.hint for name in ENGINES)


def test_the_table_loads_no_heavy_library() -> None:
    code = (
        "import sys; from models.registry import ENGINES; [entry.missing() for entry in ENGINES.values()]\n"
        "print([m for m in ('torch', 'anny', 'cv2', 'embreex') if m in sys.modules])"
    )
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
