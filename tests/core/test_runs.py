"""The run folder: complete files or none, states, errors."""

from __future__ import annotations

import json
import multiprocessing
import os

import numpy as np
import pytest

from core.errors import InputError
from core.masks import MaskArchive
from core.runs import RunFolder, list_runs, read_mask_archive, write_atomically


@pytest.fixture
def run(tmp_path):
    source = tmp_path / "My Clip!.mp4"
    source.write_bytes(b"x")
    return RunFolder.create(tmp_path / "outputs", kind="replace", source=source, settings={"seed": 1})


def test_created_run_can_be_opened(run) -> None:
    again = RunFolder.open(run.path)
    assert again.record["state"] == "queued"
    assert again.record["settings"] == {"seed": 1}
    assert "my-clip" in run.path.name
    assert [r.path for r in list_runs(run.path.parent)] == [run.path]


def test_unwritable_output_is_an_input_error(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder.create(tmp_path / "file", kind="replace", source=tmp_path / "a.mp4", settings={})


def test_not_a_run_folder(tmp_path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        RunFolder.open(tmp_path)


def test_failed_write_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(part) -> None:
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_masks_go_through_npz_as_the_documented_array(run) -> None:
    random = np.random.default_rng(0)
    masks = random.random((5, 13, 21)) > 0.7
    run.save_arrays("person.npz", mask=MaskArchive.from_masks(13, 21, masks), state=np.array(["detected"] * 5))
    with np.load(run.file("person.npz"), allow_pickle=False) as data:
        assert np.array_equal(data["mask"], np.packbits(masks, axis=-1))
    archive = read_mask_archive(run.file("person.npz"), "mask", 21)
    assert archive.shape == (5, 13, 3)
    assert all(np.array_equal(archive.mask(t), masks[t]) for t in range(5))


def test_warnings_are_noted_once(run) -> None:
    run.warn("careful")
    run.warn("careful")
    assert json.loads(run.file("run.json").read_text())["warnings"] == ["careful"]


def _try_lock(path, queue) -> None:
    try:
        with RunFolder.open(path).lock():
            queue.put("free")
    except InputError as error:
        queue.put(str(error))


def test_second_process_is_refused(run) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with run.lock():
        other = context.Process(target=_try_lock, args=(run.path, queue))
        other.start()
        assert "another process" in queue.get(timeout=60)
        other.join()


def test_a_staged_run_appears_whole_or_not_at_all(tmp_path) -> None:
    clip = tmp_path / "a.mp4"
    with RunFolder.staged(tmp_path / "outputs", kind="replace", source=clip, settings={}) as run:
        run.save_text("note.txt", "x")
        assert list_runs(tmp_path / "outputs") == []
    assert [r.path for r in list_runs(tmp_path / "outputs")] == [run.path]
    assert run.has("note.txt")
    with pytest.raises(KeyError), RunFolder.staged(tmp_path / "outputs", kind="replace", source=clip, settings={}):
        raise KeyError
    assert len(list_runs(tmp_path / "outputs")) == 1
    assert not any((tmp_path / "outputs" / ".staging").iterdir())


def test_a_run_that_owns_its_clip_can_be_moved(tmp_path) -> None:
    with RunFolder.staged(tmp_path, kind="replace", source=tmp_path / "a.mp4", settings={}) as run:
        run.save_bytes("source.mp4", b"x")
        run.update(source="source.mp4")
    run.path.rename(tmp_path / "elsewhere")
    assert RunFolder.open(tmp_path / "elsewhere").source == tmp_path / "elsewhere" / "source.mp4"
