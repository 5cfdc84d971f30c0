"""The benchmark of the diffusion engines: networks of the published sizes, and a whole run of it at toy size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, ControlNetModel, MotionAdapter, UNet2DConditionModel
from diffusers import WanAnimateTransformer3DModel as WanTransformer
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from benchmarks.gpu import networks
from benchmarks.gpu.common import Bench, spread, timed_parts
from benchmarks.gpu.networks import FULL_DIFFUSION, FULL_WAN, TINY_DIFFUSION, TINY_WAN, empty, filled, parameter_count
from benchmarks.gpu_bench import SECTIONS, sections
from tests import clips

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "benchmarks/gpu_bench.py"
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without an NVIDIA card")


# -- the networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (lambda: UNet2DConditionModel(**FULL_DIFFUSION.unet), 859.5),
        (lambda: ControlNetModel(**FULL_DIFFUSION.controlnet), 361.3),
        (lambda: AutoencoderKL(**FULL_DIFFUSION.vae), 83.7),
        (lambda: CLIPTextModel(networks.text_config(FULL_DIFFUSION)), 123.1),
        (lambda: MotionAdapter(**FULL_DIFFUSION.motion), 417.1),
        (lambda: networks.wan_transformer(FULL_WAN), 17_275),
        (lambda: AutoencoderKLWan(**FULL_WAN.vae), 126.9),
        (lambda: CLIPVisionModel(CLIPVisionConfig(**FULL_WAN.image_encoder)), 630.8),
    ],
)
def test_full_networks_have_the_published_number_of_weights(make, millions: float) -> None:
    network = empty(make)
    assert all(parameter.is_meta for parameter in network.parameters())
    assert parameter_count(network) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_random_networks_have_the_number_formats_of_loaded_ones(tmp_path: Path) -> None:
    networks.wan_transformer(TINY_WAN).save_pretrained(tmp_path)
    loaded = WanTransformer.from_pretrained(tmp_path, dtype=torch.bfloat16)
    random = filled(lambda: networks.wan_transformer(TINY_WAN), torch.bfloat16, "cpu")

    def formats(network) -> dict[str, torch.dtype]:
        return {name: value.dtype for name, value in [*network.named_parameters(), *network.named_buffers()]}

    assert formats(random) == formats(loaded)
    assert {torch.bfloat16, torch.float32} <= set(formats(random).values())


def test_random_weights_do_not_overflow_in_half_precision() -> None:
    made = filled(lambda: UNet2DConditionModel(**TINY_DIFFUSION.unet), torch.float16, "cpu")
    width = TINY_DIFFUSION.unet["cross_attention_dim"]
    with torch.no_grad():
        noise = made(torch.randn(1, 4, 8, 8).half(), 500, torch.randn(1, 77, width).half()).sample
    assert torch.isfinite(noise).all()
    assert 0.01 < noise.float().std() < 10


# -- figures -------------------------------------------------------------------------------------------------------


def test_a_spread_says_what_it_rests_on() -> None:
    assert spread([2.0]) == "2.000 (one)"
    assert spread([1.0, 4.0, 2.0]) == "2.000 (1.000 to 4.000)"
    assert spread([0.0, 1.0, 2.0, 3.0, 100.0], 0) == "2 (1 to 3)"


def test_a_full_memory_is_a_reason_and_anything_else_an_error() -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def broken() -> None:
        raise RuntimeError("shapes do not match\nat line 3")

    bench = Bench("cpu", tiny=True, repeats=1)
    assert bench.attempt("a", lambda: 3) == (3, "")
    assert bench.attempt("b", full) == (None, "not enough memory")
    assert not bench.unforeseen
    assert bench.attempt("c", broken) == (None, "shapes do not match")
    assert bench.unforeseen == ["c: shapes do not match"]
    assert Bench("cpu", tiny=False, repeats=1, blocked="no CUDA").attempt("d", broken) == (None, "no CUDA")


def test_parts_are_timed_only_while_they_are_watched() -> None:
    inner, other = torch.nn.Linear(64, 64), torch.nn.Linear(4, 4)
    with timed_parts({"inner": [inner], "other": [other]}, on_card=False) as parts:
        inner(torch.zeros(1, 64))
        seen = parts.seconds()
        parts.clear()
        assert parts.seconds() == {"inner": 0, "other": 0}
        inner(torch.zeros(1, 64))
        with pytest.raises(RuntimeError):
            inner(torch.zeros(1, 3))
        inner(torch.zeros(1, 64))
    assert seen["inner"] > 0 and seen["other"] == 0
    assert not inner._forward_hooks and not inner._forward_pre_hooks


def test_sections_by_name() -> None:
    assert sections("controlnet,wan") == SECTIONS
    assert sections("wan, clip") == ("clip", "wan")


# -- the script ----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, **options)


def environment() -> dict[str, str]:
    """One thread: toy networks are slower with two. No weights are there."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "UNDERSTUDY_WEIGHTS": str(ROOT / "no" / "such" / "folder")}


def tables(text: str) -> list[list[dict[str, str]]]:
    """The rows of each Markdown table."""
    found: list[list[dict[str, str]]] = []
    for block in text.split("\n\n"):
        lines = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
        if len(lines) > 2:
            names = [cell.strip() for cell in lines[0]]
            found.append([dict(zip(names, line, strict=False)) for line in lines[2:]])
    return found


def number(cell: str) -> float:
    return float(cell.split()[0].strip("*"))


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One run over all sections, on a clip of a few frames."""
    folder = tmp_path_factory.mktemp("bench")
    clip = clips.demo_cut(ROOT / "assets" / "demo" / "walk.mp4", folder, frames=10, size=(320, 180))
    done = run("--tiny", "--repeats", 1, "--clip", clip)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_head_names_machine_and_versions(output: str) -> None:
    head = output.partition("###")[0]
    assert f"torch {torch.__version__.partition('+')[0]}" in head and "diffusers" in head and "cores" in head
    assert "toy networks" in head


def test_each_preset_has_its_time_and_shares(output: str) -> None:
    presets = tables(output)[0]
    assert [row["preset"] for row in presets] == ["fast", "balanced", "high"]
    for row in presets:
        assert number(row["s a frame"]) > 0
        shares = [number(row[name]) for name in ("UNet", "ControlNets", "VAE", "ours")]
        assert min(shares) > 0 and sum(shares) == pytest.approx(100, abs=0.3)
        assert row["peak VRAM, GB"] == "not measured (no CUDA)"
    assert [row["steps drawn"] for row in presets] == ["4 of 6", "15 of 20", "22 of 30"]
    assert [row["budget, GB"] for row in presets] == ["12", "24", "48"]


def test_the_plain_pipeline_stands_beside_it(output: str) -> None:
    for row in tables(output)[1]:
        ours = number(row["s a frame"])
        plain = number(row["plain, 50 steps, s a frame"])
        assert number(row["times faster"]) == pytest.approx(plain / ours, rel=0.1)


def test_the_parts_of_a_clip_add_up_to_its_time(output: str) -> None:
    rows = {row["part"]: number(row["s"]) for row in tables(output)[2]}
    whole, around = rows.pop("**the whole run**"), rows.pop("**everything around the networks**")
    assert sum(rows.values()) == pytest.approx(whole, abs=0.2)
    assert {"UNet", "ControlNets", "VAE", "detect", "plate", "composite", "encode"} <= rows.keys()
    networks_s = rows["UNet"] + rows["ControlNets"] + rows["VAE"]
    assert networks_s > 0 and around == pytest.approx(whole - networks_s, abs=0.1)
    assert "10 frames, 10 with the person, 2 ControlNets." in output
    reach = {row["what"]: row["measured"] for row in tables(output)[3]}
    assert number(reach["share around the networks"]) == pytest.approx(100 * around / whole, abs=0.5)
    assert number(reach["seconds, preset fast"]) > 0 and number(reach["times faster than that"]) > 0


def test_batches_and_layouts_are_compared_and_compilation_needs_a_card(output: str) -> None:
    batches, compilation = tables(output)[4:6]
    assert [row["frames at once"] for row in batches] == ["1", "2", "4", "8"] * 2
    assert all(number(row["s a frame"]) > 0 for row in batches)
    assert [row["s a frame"] for row in compilation] == ["not measured (no CUDA)"] * 2


def test_a_call_of_wan_animate_is_put_together_from_its_steps(output: str) -> None:
    first, *others = tables(output)[6]
    assert first["offload"] == "none" and [row["offload"] for row in others] == ["model", "group", "sequential"]
    assert number(first["s a step"]) > 0
    expected = number(first["everything else, s"]) + 20 * number(first["s a step"])
    assert number(first["s a call, 20 steps"]) == pytest.approx(expected, abs=0.1)
    assert all("not measured (no CUDA)" in row.values() for row in others)


def test_a_run_that_is_killed_leaves_the_rows_that_it_had() -> None:
    command = [sys.executable, SCRIPT, "--tiny", "--repeats", "1", "--only", "batches"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        row = next(line for line in process.stdout if line.startswith("| 1 |"))
        assert process.poll() is None
        process.kill()
    assert number(row.split(" | ")[2]) > 0


@needs_no_cuda
def test_without_a_card_every_row_says_so() -> None:
    done = run()
    assert done.returncode == 3
    assert "no NVIDIA card" in done.stderr and "--tiny" in done.stderr
    found = tables(done.stdout)
    assert len(found) == 7
    assert all(any("not measured (no CUDA)" in cell for cell in row.values()) for table in found for row in table)


def test_an_unknown_section_is_bad_usage() -> None:
    done = run("--only", "everything")
    assert done.returncode == 2 and "choose from controlnet, presets" in done.stderr
