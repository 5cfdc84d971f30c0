"""Settings as a form: everything that a widget needs comes from the settings classes."""

from __future__ import annotations

import pytest

from core.errors import SettingError
from core.settings import GROUPS, ReplaceSettings, ServerSettings, make_settings
from core.settings_form import form_fields


def test_every_setting_has_a_place_a_name_and_an_explanation() -> None:
    fields = form_fields(ReplaceSettings)
    assert [field.name for field in fields] == list(ReplaceSettings.model_fields)
    for field in fields:
        assert field.group in GROUPS
        assert field.label[0].isupper()
        assert field.help.endswith((".", "..."))


def test_ranges_and_defaults_are_those_that_are_enforced() -> None:
    for field in form_fields(ReplaceSettings):
        assert getattr(make_settings(ReplaceSettings, {}), field.name) == field.default
        if field.kind in ("integer", "number") and field.maximum is not None:
            assert field.step and field.minimum is not None
            for inside in (field.minimum, field.maximum):
                make_settings(ReplaceSettings, {field.name: inside})
            with pytest.raises(SettingError):
                make_settings(ReplaceSettings, {field.name: field.maximum + 1})
        for choice in field.choices:
            make_settings(ReplaceSettings, {field.name: choice})


def test_kinds() -> None:
    kinds = {field.name: (field.kind, field.optional) for field in form_fields(ReplaceSettings)}
    assert kinds["foot_lock"] == ("switch", False)
    assert kinds["segments"] == ("choice", False)
    assert kinds["overlap"] == ("integer", False)
    assert kinds["shutter"] == ("number", True)
    assert kinds["focal_length"] == ("number", True)
    assert kinds["reference"] == ("file", True)
    assert kinds["person"] == ("point", True)


def test_an_error_names_the_field() -> None:
    with pytest.raises(SettingError, match="overlap=99") as error:
        make_settings(ReplaceSettings, {"overlap": 99})
    assert error.value.field == "overlap"
    with pytest.raises(SettingError, match="no setting 'colour'") as error:
        make_settings(ReplaceSettings, {"colour": 1})
    assert error.value.field == "colour"


@pytest.mark.parametrize("auth", ["secret", ":secret", "user:"])
def test_a_bad_password_setting_is_refused_without_showing_it(auth) -> None:
    with pytest.raises(SettingError, match="user:password") as error:
        make_settings(ServerSettings, {"auth": auth})
    assert "secret" not in str(error.value)
    assert "secret" not in repr(ServerSettings(auth="user:secret"))
