"""What the page and the lists offer: engines that tell the truth about themselves, avatars with pictures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import cv2

from core.presets import load_preset, preset_names
from core.settings import ReplaceSettings, make_settings
from models import registry
from models.body.wardrobe import load_avatar
from pipelines.catalogue import avatars, engines


def test_the_embedded_default_comes_first_and_is_ready() -> None:
    first = engines()[0]
    assert first.name == ReplaceSettings().engine == "avatar"
    assert first.ready
    assert "avatar" in first.takes


def test_every_engine_says_what_it_is_what_it_reads_and_what_it_lacks() -> None:
    for card in engines():
        assert card.description.endswith(".")
        assert set(card.takes) <= set(ReplaceSettings.model_fields)
        assert ("checkpoint" in card.takes) or not card.checkpoints
        assert card.ready == (card.missing == "") == (card.command == "")


def test_an_engine_that_lacks_something_names_it_and_the_command(monkeypatch) -> None:
    lacking = replace(
        registry.ENGINES["passthrough"],
        name="needs-weights",
        missing=lambda: registry.Missing("its weights (4 GB)", "python app.py weights pull needs-weights"),
        note=lambda: "Never shown while it is not ready.",
        takes=("prompt", "checkpoint"),
        checkpoints=("small", "large"),
    )
    monkeypatch.setitem(registry.ENGINES, "needs-weights", lacking)
    card = engines()[-1]
    assert (card.name, card.ready) == ("needs-weights", False)
    assert (card.missing, card.command) == ("its weights (4 GB)", "python app.py weights pull needs-weights")
    assert card.takes == ("prompt", "checkpoint")
    assert card.checkpoints == ("small", "large")
    assert "Never" not in card.description


def test_the_first_run_is_announced_where_the_body_is_not_built_yet(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    first = engines()[0]
    assert first.ready
    assert "about a minute" in first.description


def test_presets_use_engines_and_avatars_that_there_are() -> None:
    for name in preset_names():
        settings = make_settings(ReplaceSettings, load_preset(name, "replace"))
        assert settings.engine in {card.name for card in engines()}
        assert settings.avatar in {card.name for card in avatars()}


def test_every_avatar_can_be_chosen_and_has_words_and_a_picture() -> None:
    cards = avatars()
    assert ReplaceSettings().avatar in {card.name for card in cards}
    for card in cards:
        assert load_avatar(card.name).name == card.name
        assert card.title
        assert card.description, f"{card.name} has no description"
        picture = cv2.imread(str(card.thumbnail))
        assert picture is not None, f"{card.thumbnail} is missing or no picture: make thumbnails"
        assert min(picture.shape[:2]) >= 200


def test_the_catalogue_loads_no_network() -> None:
    code = (
        "import sys; from pipelines.catalogue import avatars, engines; engines(); avatars()\n"
        "print([m for m in ('torch', 'mediapipe', 'anny') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
