"""``python app.py avatars list|show|new``."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import yaml

from models.body.wardrobe import AVATAR_FOLDER, load_avatar


def test_list_names_every_avatar_with_what_it_is(app) -> None:
    for arguments in (("avatars",), ("avatars", "list")):
        done = app(*arguments)
        assert done.returncode == 0
        lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
        assert {name.strip() for name in lines} == {path.stem for path in AVATAR_FOLDER.glob("*.yaml")}
        assert all(len(text.strip()) > 20 for text in lines.values())


def test_show_draws_the_avatar_from_a_file_of_the_users_own(app, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nskin: {kind: mannequin, color: '#ff0000'}\n")
    picture = tmp_path / "mine.jpg"
    done = app("avatars", "show", str(mine), "--output", str(picture))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(picture)
    pixels = cv2.imread(str(picture)).astype(int)
    red = (pixels[..., 2] > pixels[..., 1] + 60) & (pixels[..., 2] > pixels[..., 0] + 60)
    # Front, side and back, and the close-ups beside them.
    thirds = np.array_split(red[:, :900], 3, axis=1)
    assert all(0.03 < third.mean() < 0.6 for third in thirds)
    assert red[:, 900:].mean() > 0.1


def test_show_leaves_a_picture_that_is_there(app, tmp_path: Path) -> None:
    picture = tmp_path / "old.jpg"
    picture.write_bytes(b"old")
    done = app("avatars", "show", "mannequin", "--output", str(picture))
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert picture.read_bytes() == b"old"


def test_show_of_nobody_names_those_that_there_are(app) -> None:
    done = app("avatars", "show", "bob")
    assert done.returncode == 2
    assert "no avatar named 'bob'" in done.stderr and "alex" in done.stderr


def test_new_makes_the_same_person_from_the_same_seed(app, tmp_path: Path) -> None:
    files = [tmp_path / folder / "me.yaml" for folder in "abc"]
    for file, seed in zip(files, ("7", "7", "8"), strict=True):
        file.parent.mkdir()
        done = app("avatars", "new", str(file), "--seed", seed)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(file)
    assert files[0].read_text() == files[1].read_text()
    assert load_avatar(files[0]) != load_avatar(files[2])
    assert yaml.safe_load(files[0].read_text())["name"] == "me"


def test_new_refuses_what_cannot_be_a_file_or_a_name(app, tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    there.write_text("mine")
    for arguments, complaint in (
        ([str(there)], "is there already"),
        ([str(tmp_path / "none" / "x.yaml")], "does not exist"),
        ([str(tmp_path / "x.png")], "does not end in .yaml"),
        ([str(tmp_path / "My Self.yaml")], "cannot be an avatar's name"),
        ([str(tmp_path / "x.yaml"), "--seed", "-1"], "is negative"),
    ):
        done = app("avatars", "new", *arguments)
        assert done.returncode == 2, arguments
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert there.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.yaml"]
    done = app("avatars", "new", str(there), "--force")
    assert done.returncode == 0
    assert load_avatar(there).name == "there"


def test_garments_from_files_are_listed(app, tmp_path: Path) -> None:
    empty = {**os.environ, "UNDERSTUDY_WEIGHTS": str(tmp_path / "weights"), "UNDERSTUDY_WARDROBE": ""}
    done = app("avatars", "garments", env=empty)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "weights pull wardrobe" in done.stderr

    (tmp_path / "mine" / "hats").mkdir(parents=True)
    (tmp_path / "mine" / "hats" / "bowler.mhclo").touch()
    (tmp_path / "mine" / "cape.mhclo").touch()
    done = app("avatars", "garments", env={**empty, "UNDERSTUDY_WARDROBE": str(tmp_path / "mine")})
    assert done.stdout.split() == ["bowler", "cape"]

    done = app("avatars", "garments", env={**empty, "UNDERSTUDY_WARDROBE": str(tmp_path / "absent")})
    assert done.returncode == 2
    assert "which is no folder" in done.stderr
