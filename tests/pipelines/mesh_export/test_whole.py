"""The export as a whole: stopping, replacing, wrong wishes, memory."""

import tracemalloc

import numpy as np
import pytest

from core.errors import Cancelled, InputError, ResourceError
from pipelines.mesh.export import BODY_FORMATS, FORMATS, export_body
from tests.pipelines.mesh_export.clips import RATE, lively


def test_a_stopped_export_leaves_no_half_files(rest, params, tmp_path) -> None:
    def stop(_fraction: float, text: str) -> None:
        if text.startswith(FORMATS["ply"].label):
            raise Cancelled("The run was cancelled.")

    with pytest.raises(Cancelled):
        export_body(rest, params, RATE, tmp_path, ["csv", "ply", "bvh"], stop)
    assert [path.name for path in tmp_path.iterdir()] == ["joint_angles.csv"]


@pytest.mark.parametrize("name", [name for name in BODY_FORMATS if name != "npz"])
def test_a_file_under_way_vanishes_when_the_export_is_stopped(name, rest, params, tmp_path) -> None:
    def stop(fraction: float, _text: str) -> None:
        if fraction > 0.5:
            raise Cancelled("The run was cancelled.")

    with pytest.raises(Cancelled):
        export_body(rest, params, RATE, tmp_path, [name], stop)
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_an_earlier_one_but_nobody_elses_files(rest, params, tmp_path) -> None:
    export_body(rest, params.window(2, 8), RATE, tmp_path, ["ply"])
    folder = export_body(rest, params.window(2, 4), RATE, tmp_path, ["ply"])["ply"]
    assert len(list(folder.iterdir())) == 2
    (folder / "thesis.ply").write_text("dear to me")
    with pytest.raises(InputError, match=r"thesis\.ply"):
        export_body(rest, params.window(2, 4), RATE, tmp_path, ["ply"])
    assert (folder / "thesis.ply").read_text() == "dear to me"


def test_progress_runs_from_start_to_end(rest, params, tmp_path) -> None:
    seen: list[float] = []
    export_body(
        rest, params.window(2, 20), RATE, tmp_path, list(BODY_FORMATS), lambda fraction, _text: seen.append(fraction)
    )
    assert seen == sorted(seen) and 0 < seen[0] < 0.5 and seen[-1] == pytest.approx(1)


def test_wrong_wishes_are_named(rest, params, tmp_path) -> None:
    with pytest.raises(InputError, match="'fbx'"):
        export_body(rest, params, RATE, tmp_path, ["glb", "fbx"])
    with pytest.raises(InputError, match="No frame"):
        export_body(rest, params.window(0, 2), RATE, tmp_path, ["csv"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file"):
        export_body(rest, params, RATE, tmp_path / "file", ["csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_memory_does_not_grow_with_the_clip(rest, tmp_path) -> None:
    """Five hundred frames more take a hundred bytes each, less than a pose has (the input itself is not counted)."""
    single = [name for name in BODY_FORMATS if not FORMATS[name].is_folder]

    def peak(count: int) -> int:
        clip = lively(200).at(np.arange(count) % 198 + 2)
        tracemalloc.start()
        export_body(rest, clip, RATE, tmp_path, single)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(130)
    few, many = peak(300), peak(800)
    assert many - few < 500 * 100
