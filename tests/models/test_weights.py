"""Weights on disk: what counts as ready, which checkpoints are taken, and that nothing in a file is ever run."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError, ModelUnavailable
from models import weights
from models.weights.table import CHECKPOINTS, WEIGHTS


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


class Runs:
    """Creates a file when it is unpickled by a reader that runs code."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self):
        return (open, (str(self._trace), "w"))


def _tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


# -- the table -------------------------------------------------------------------------------------------------------


def test_every_row_says_where_it_comes_from_and_under_which_licence() -> None:
    for row in WEIGHTS.values():
        assert row.licence and row.purpose
        assert [bool(row.repositories), row.github is not None, bool(row.by_hand and row.page)].count(True) == 1
        folders = [repository.folder for repository in row.repositories]
        assert len(set(folders)) == len(folders)
        for repository in row.repositories:
            for path, digest in repository.sha256.items():
                assert re.fullmatch(r"[0-9a-f]{64}", digest), path
            pickles = [f for f in repository.files if f.endswith((".pt", ".bin", ".ckpt", ".pth"))]
            # A pickle has to be the one that its page states.
            assert all(path in repository.sha256 for path in pickles)
    assert {name for name, _ in CHECKPOINTS.values()} <= set(WEIGHTS)


def test_the_documentation_has_every_set_and_checkpoint() -> None:
    text = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    assert [name for name in [*WEIGHTS, *CHECKPOINTS] if f"`{name}`" not in text] == []
    assert [r.name for row in WEIGHTS.values() for r in row.repositories if r.name not in text] == []
    assert [row.name for row in WEIGHTS.values() if row.github is not None and row.github.name not in text] == []


# -- what is there ---------------------------------------------------------------------------------------------------


def test_missing_weights_name_the_command_that_gets_them(cache) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        weights.require("controlnet-sd15")
    assert caught.value.exit_code == 3
    assert "python app.py weights pull controlnet-sd15" in caught.value.hint
    what, command = weights.missing("controlnet-sd15", "depth") or ("", "")
    assert "6.4 GB" in what and command == "python app.py weights pull controlnet-sd15"
    with pytest.raises(InputError, match="no weight set"):
        weights.require("controlnet")
    assert not cache.exists()


def test_a_set_is_ready_when_every_file_has_its_size(cache) -> None:
    folder = cache / "depth"
    folder.mkdir(parents=True)
    files = [{"path": "a.json", "size": 3, "repository": "r/r", "commit": "c", "source": "a.json", "git": "0"}]
    manifest = {"request": WEIGHTS["depth"].request, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelUnavailable, match=r"not complete \(a.json"):
        weights.require("depth")
    (folder / "a.json").write_bytes(b"ab")
    assert weights.missing("depth") is not None
    (folder / "a.json").write_bytes(b"abc")
    assert weights.require("depth") == folder
    assert weights.missing("depth") is None
    # A manifest of another version of the table does not say what is needed now.
    (folder / "manifest.json").write_text(json.dumps(manifest | {"request": "older"}))
    with pytest.raises(ModelUnavailable, match="not complete"):
        weights.require("depth")


def test_licensed_weights_are_ready_once_the_user_put_them_there(cache) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        weights.require("smplx")
    assert "https://smpl-x.is.tue.mpg.de" in caught.value.hint and str(cache / "smplx") in caught.value.hint
    (cache / "smplx").mkdir(parents=True)
    (cache / "smplx" / "SMPLX_NEUTRAL.npz").write_bytes(b"licensed")
    assert weights.require("smplx") == cache / "smplx"


def test_the_variant_is_read_from_the_file_names(tmp_path) -> None:
    assert weights.variant_of(tmp_path) is None
    (tmp_path / "diffusion_pytorch_model.fp16.safetensors").touch()
    assert weights.variant_of(tmp_path) == "fp16"


# -- checkpoints -----------------------------------------------------------------------------------------------------


def test_own_checkpoints_are_offered_by_name(cache) -> None:
    assert weights.checkpoint_names() == tuple(CHECKPOINTS)
    (cache / "checkpoints" / "people").mkdir(parents=True)
    save_file(_tensors(), cache / "checkpoints" / "dream.v8.safetensors")
    save_file(_tensors(), cache / "checkpoints" / "people" / "ann.safetensors")
    assert list(weights.local_checkpoints()) == ["dream.v8", "people/ann"]
    assert weights.checkpoint_names() == (*CHECKPOINTS, "dream.v8", "people/ann")
    found = weights.checkpoint("dream.v8")
    assert (found.path, found.kind) == (cache / "checkpoints" / "dream.v8.safetensors", "file")


def test_the_default_checkpoint_needs_its_set(cache) -> None:
    with pytest.raises(ModelUnavailable, match="controlnet-sd15"):
        weights.checkpoint("")


def test_a_checkpoint_that_is_none_lists_those_there_are(cache) -> None:
    with pytest.raises(InputError) as caught:
        weights.checkpoint("dream")
    assert "realistic-vision-v5.1" in caught.value.hint and str(cache / "checkpoints") in caught.value.hint


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.safetensors"])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_pickle_is_refused_whatever_its_name(cache, tmp_path, name: str, how: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / name
    if how == "pickle":
        path.write_bytes(pickle.dumps(Runs(trace)))
    else:
        torch.save({"a": Runs(trace)}, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(InputError, match="pickle") as caught:
        weights.checkpoint(str(path))
    assert "run code" in caught.value.message and "safetensors" in caught.value.hint
    assert not trace.exists()


def test_a_checkpoint_that_is_cut_off_is_refused(cache, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(_tensors(), path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="damaged"):
        weights.checkpoint(str(path))
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        weights.checkpoint(str(path))


def _model_folder(folder: Path, library: str = "diffusers") -> Path:
    (folder / "unet").mkdir(parents=True)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": [library, "UNet2DConditionModel"],
        "checker": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    save_file(_tensors(), folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


def test_a_model_folder_is_taken_unless_it_holds_pickles_or_code(cache, tmp_path) -> None:
    good = _model_folder(tmp_path / "good")
    assert weights.checkpoint(str(good)) == weights.Checkpoint(good, "folder")
    with pytest.raises(InputError, match="code of its own"):
        weights.checkpoint(str(_model_folder(tmp_path / "code", "my_module")))
    pickled = _model_folder(tmp_path / "pickled")
    (pickled / "unet" / "diffusion_pytorch_model.safetensors").rename(pickled / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match="pickles only"):
        weights.checkpoint(str(pickled))
    with pytest.raises(InputError, match="no diffusers folder"):
        weights.checkpoint(str(tmp_path))


# -- reading ---------------------------------------------------------------------------------------------------------


def test_tensors_come_back_as_they_were_saved(tmp_path) -> None:
    save_file(_tensors(), tmp_path / "a.safetensors")
    torch.save(_tensors(), tmp_path / "a.pt")
    torch.save({"state_dict": _tensors()}, tmp_path / "a.ckpt")
    for name in ("a.safetensors", "a.pt", "a.ckpt"):
        loaded = weights.load_tensors(tmp_path / name)
        assert loaded.keys() == _tensors().keys()
        assert all(torch.equal(loaded[key], value) for key, value in _tensors().items())


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_file_that_wants_to_run_code_is_named_and_not_run(tmp_path, how: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Runs(trace)))
    else:
        torch.save({"a": torch.ones(2), "b": Runs(trace)}, path, _use_new_zipfile_serialization=how == "zip")
    for load in (weights.load_tensors, weights.load_yolo):
        with pytest.raises(InputError) as caught:
            load(path)
        assert not trace.exists()
        assert "open" in caught.value.message and "run code" in caught.value.message
    # The trap is a real one: a reader that runs code springs it.
    if how == "zip":
        torch.load(path, weights_only=False)
        assert trace.exists()


def test_damaged_files_are_named(tmp_path) -> None:
    path = tmp_path / "model.pt"
    torch.save(_tensors(), path)
    whole = path.read_bytes()
    for content in (b"", b"\x80", whole[: len(whole) // 2], b"no weights at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=re.escape(str(path))):
            weights.load_tensors(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="no tensors"):
        weights.load_tensors(path)
    with pytest.raises(InputError, match="cannot be read"):
        weights.load_tensors(tmp_path / "nowhere.pt")


def test_a_yolo_network_is_rebuilt_without_running_the_file(tmp_path) -> None:
    from ultralytics.nn.tasks import PoseModel

    network = PoseModel("yolo11n-pose.yaml", verbose=False).eval()
    torch.save({"model": network.half(), "ema": None, "train_args": {"imgsz": 640}}, tmp_path / "net.pt")
    loaded = weights.load_yolo(tmp_path / "net.pt")
    assert type(loaded) is PoseModel
    same = dict(network.float().named_parameters())
    assert all(torch.equal(value, same[key]) for key, value in loaded.named_parameters())
