"""The table of engines and what engines declare."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.settings import ReplaceSettings
from models.generators.base import Capabilities, EngineOptions, FrameRule
from models.registry import ENGINES, Missing, create_engine, engine_entry


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_reads_settings_that_there_are_and_has_a_cost(name: str) -> None:
    entry = engine_entry(name)
    assert entry.description
    assert {*entry.takes, *entry.settings} <= set(ReplaceSettings.model_fields) & set(
        EngineOptions.__dataclass_fields__
    )
    assert ("checkpoint" in entry.takes) == bool(entry.checkpoints())
    cheap = EngineOptions(edge_samples=1, shadow_rays=0, occlusion_rays=0, few_step=True, generation_size=512)
    dear = EngineOptions(edge_samples=16, shadow_rays=16, occlusion_rays=64)
    assert 0 <= entry.cost.megapixel_s(cheap) <= entry.cost.megapixel_s(dear)
    assert 0 <= entry.cost.frame_tflop(cheap) <= entry.cost.frame_tflop(dear)
    assert entry.cost.frame_s + entry.cost.megapixel_s(dear) > 0


def test_every_setting_of_the_performance_is_read_by_some_engine() -> None:
    read = {name for entry in ENGINES.values() for name in (*entry.takes, *entry.settings)}
    assert set(EngineOptions.__dataclass_fields__) - read == {"device"}


def test_the_engines_that_download_nothing_lack_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path))
    lacking = {name: entry.missing() for name, entry in ENGINES.items()}
    assert [name for name, what in lacking.items() if what is None] == ["avatar", "passthrough"]
    assert lacking["wan-animate"] == Missing(
        "the weights wan-animate (82.3 GB)", "python app.py weights pull wan-animate"
    )


@pytest.mark.parametrize(
    ("changes", "most"),
    [({"few_step": True, "generation_size": 512}, 0.2), ({}, 2.0), ({"motion_window": True}, 4.0)],
)
def test_what_controlnet_computes_grows_with_what_is_asked(changes: dict[str, Any], most: float) -> None:
    """Against the counted figures for one step of the whole networks at 768x768: UNet 2.15, each ControlNet 0.77."""
    options = EngineOptions(**changes)
    needed = engine_entry("controlnet").cost.frame_tflop(options)
    assert 0 < needed < most * 2 * 25 * (2.15 + 2 * 0.77)


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
