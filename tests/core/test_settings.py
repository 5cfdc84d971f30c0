"""Settings, presets and their errors."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.presets import load_preset, preset_names
from core.settings import ReplaceSettings, make_settings, parse_assignments


def test_every_preset_makes_settings_and_they_differ() -> None:
    made = {name: make_settings(ReplaceSettings, load_preset(name, "replace")) for name in preset_names()}
    assert list(made)[:3] == ["fast", "balanced", "high"]
    for field in ("detector_complexity", "fit", "edge_samples", "plate_samples"):
        assert len({getattr(settings, field) for settings in made.values()}) == 3, field


def test_unknown_preset_names_the_presets() -> None:
    with pytest.raises(InputError, match=r"no preset 'turbo'.*fast, balanced, high"):
        load_preset("turbo", "replace")


def test_broken_preset_file(tmp_path) -> None:
    (tmp_path / "odd.yaml").write_text("replace: [1, 2\n")
    with pytest.raises(InputError, match=r"odd\.yaml is not valid YAML"):
        load_preset("odd", "replace", tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"segmets": 3}, "no setting 'segmets'"),
        ({"segments": 4}, "segments=4"),
        ({"temporal_strength": 1.5}, "temporal_strength=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"person": "12"}, "person=12: give the point as x,y"),
        ({"person": "nan,3"}, "two numbers"),
        ({"plate": "maybe"}, "plate=maybe"),
    ],
)
def test_bad_values_name_the_setting(values, message) -> None:
    with pytest.raises(InputError, match=message):
        make_settings(ReplaceSettings, values)


def test_assignments_are_json_or_text() -> None:
    pairs = ["segments=3", "grain=false", "prompt=a man, 30", "person=10,20", "checkpoint="]
    values = parse_assignments(pairs)
    assert values == {"segments": 3, "grain": False, "prompt": "a man, 30", "person": "10,20", "checkpoint": None}
    assert make_settings(ReplaceSettings, values).person == (10.0, 20.0)
    with pytest.raises(InputError, match="key=value"):
        parse_assignments(["segments"])


def test_settings_survive_json() -> None:
    settings = ReplaceSettings(person=(3, 4), reference="a.jpg", segments=5)
    assert ReplaceSettings(**settings.model_dump(mode="json")) == settings


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ReplaceSettings.model_fields.values())
