"""What the page and the lists offer: engines that tell the truth about themselves, avatars with pictures."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from core.errors import InputError
from core.presets import load_preset, preset_names
from core.settings import ReplaceSettings, make_settings
from models import registry, weights
from models.body.wardrobe import load_avatar
from pipelines.avatars import picture as picture_of
from pipelines.catalogue import add_checkpoint, avatars, engines, lacking, unread_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of weights."""
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def checkpoint(path: Path) -> Path:
    """A small safetensors file."""
    save_file({"weight": np.zeros(4, np.float32)}, path)
    return path


def test_the_embedded_default_comes_first_and_is_ready() -> None:
    first = engines()[0]
    assert first.name == ReplaceSettings().engine == "avatar"
    assert first.ready
    assert "avatar" in first.takes


def test_every_engine_says_what_it_is_what_it_reads_and_what_it_lacks() -> None:
    for card in engines():
        assert card.description.endswith(".")
        assert {*card.takes, *card.settings} <= set(ReplaceSettings.model_fields)
        assert not set(card.takes) & set(card.settings)
        assert ("checkpoint" in card.takes) or not card.checkpoints
        assert card.ready == (card.missing == "") == (card.command == "")


def test_an_engine_that_lacks_something_names_it_and_the_command(monkeypatch) -> None:
    lacking = replace(
        registry.ENGINES["passthrough"],
        name="needs-weights",
        missing=lambda: registry.Missing("its weights (4 GB)", "python app.py weights pull needs-weights"),
        note=lambda: "Never shown while it is not ready.",
        takes=("prompt", "checkpoint"),
        checkpoints=lambda: ("small", "large"),
    )
    monkeypatch.setitem(registry.ENGINES, "needs-weights", lacking)
    card = engines()[-1]
    assert (card.name, card.ready) == ("needs-weights", False)
    assert (card.missing, card.command) == ("its weights (4 GB)", "python app.py weights pull needs-weights")
    assert card.takes == ("prompt", "checkpoint")
    assert card.checkpoints == ("small", "large")
    assert "Never" not in card.description


def test_diffusion_engines_are_ready_once_their_weights_are_there(folder, toy_weights) -> None:
    before = {card.name: card for card in engines()}
    for name, pulled in (("controlnet", "controlnet-sd15"), ("wan-animate", "wan-animate")):
        assert not before[name].ready
        assert pulled in before[name].missing
        assert before[name].command == f"python app.py weights pull {pulled}"
        folder.mkdir(exist_ok=True)
        (folder / pulled).symlink_to(toy_weights / pulled)
    assert all(card.ready for card in engines())


def test_settings_that_an_engine_does_not_read() -> None:
    assert {"steps", "canny_weight"} <= unread_settings("avatar")
    assert {"edge_samples"} == unread_settings("controlnet") & {"edge_samples", "steps", "canny_weight", "grain"}
    assert {"canny_weight"} == unread_settings("wan-animate") & {"canny_weight", "steps", "grain"}
    # What the pipeline reads concerns every engine.
    assert not any({"grain", "plate", "seed"} & unread_settings(card.name) for card in engines())
    with pytest.raises(InputError, match="no engine named 'nobody'"):
        unread_settings("nobody")


def test_what_the_options_of_a_run_need_is_named_too(folder, toy_weights) -> None:
    assert lacking(ReplaceSettings()) is None
    wanted = ReplaceSettings(engine="controlnet", few_step=True)
    assert lacking(wanted) == registry.Missing(
        "the weights controlnet-sd15 (6.4 GB)", "python app.py weights pull controlnet-sd15"
    )
    folder.mkdir()
    (folder / "controlnet-sd15").symlink_to(toy_weights / "controlnet-sd15")
    assert lacking(ReplaceSettings(engine="controlnet")) is None
    for option, name in ("few_step", "lcm-lora"), ("motion_window", "animatediff"):
        found = lacking(ReplaceSettings(**{"engine": "controlnet", option: True}))
        assert found is not None
        assert found.command == f"python app.py weights pull {name}"


def test_a_checkpoint_that_is_brought_is_offered_by_its_name(folder, tmp_path) -> None:
    file = checkpoint(tmp_path / "upload.safetensors")
    assert add_checkpoint(file, "../My model (v2).safetensors") == "My_model_v2"
    file.unlink()
    card = next(card for card in engines() if card.name == "controlnet")
    assert card.own_checkpoints
    assert card.checkpoints == ("realistic-vision-v5.1", "My_model_v2")
    assert weights.checkpoint("My_model_v2").path == folder / "checkpoints" / "My_model_v2.safetensors"
    assert not next(card for card in engines() if card.name == "wan-animate").own_checkpoints


def test_a_checkpoint_that_could_run_code_or_takes_a_name_is_refused(folder, tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    bad = tmp_path / "upload"
    bad.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"^style\.safetensors is a pickle") as error:
        add_checkpoint(bad, "style.safetensors")
    assert "safetensors" in error.value.hint
    bad.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match=r"style\.safetensors"):
        add_checkpoint(bad, "style.safetensors")
    assert not (folder / "checkpoints").exists()

    good = checkpoint(tmp_path / "good.safetensors")
    add_checkpoint(good, "style.safetensors")
    for taken in ("style.safetensors", "realistic-vision-v5.1.safetensors"):
        with pytest.raises(InputError, match="already"):
            add_checkpoint(shutil.copy(good, tmp_path / "second.safetensors"), taken)


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
        file = picture_of(card.name)
        picture = cv2.imread(str(file))
        assert picture is not None, f"{file} is missing or no picture: make thumbnails"
        assert min(picture.shape[:2]) >= 200


def test_the_catalogue_loads_no_network() -> None:
    code = (
        "import sys; from pipelines.catalogue import avatars, engines; engines(); avatars()\n"
        "from core.settings import ReplaceSettings; from pipelines.catalogue import lacking\n"
        "lacking(ReplaceSettings(engine='wan-animate'))\n"
        "print([m for m in ('torch', 'diffusers', 'mediapipe', 'anny') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
