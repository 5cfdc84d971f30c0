"""Devices, free memory, offloading of a real (tiny) pipeline, and batches that shrink until they fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from core.errors import InputError, ModelUnavailable, ResourceError
from models import memory
from models.memory import Batches, batch_size, is_out_of_memory, offload_level

ROOT = Path(__file__).resolve().parents[2]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card, which is not here")


# -- devices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "best"),
    [
        ({"cuda", "xpu", "mps"}, "cuda"),
        ({"xpu", "mps"}, "xpu"),
        ({"mps"}, "mps"),
        (set(), "cpu"),
    ],
)
def test_the_best_device_is_taken(monkeypatch, there: set[str], best: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: "xpu" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    assert memory.best_device() == best
    assert memory.choose_device() == best


def test_devices_that_are_not_there_are_named(monkeypatch) -> None:
    assert memory.choose_device("cpu") == "cpu"
    for name in ("tpu", "cuda:x", "gpu 1"):
        with pytest.raises(InputError, match="is no device"):
            memory.choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelUnavailable, match="no device cuda:1"):
        memory.choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert memory.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(ModelUnavailable, match="no device cuda:2"):
        memory.choose_device("cuda:2")


def test_number_formats() -> None:
    assert memory.compute_dtype("cpu") == torch.float32
    assert memory.compute_dtype("mps") == torch.float16
    assert memory.compute_dtype("xpu") == torch.bfloat16


@needs_cuda
def test_number_format_of_this_card() -> None:
    ampere = torch.cuda.get_device_capability() >= (8, 0)
    assert memory.compute_dtype("cuda") == (torch.bfloat16 if ampere else torch.float16)


# -- free and used -------------------------------------------------------------------------------------------------


def test_free_memory_of_the_machine() -> None:
    assert memory.free_gb("cpu") == pytest.approx(psutil.virtual_memory().available / 2**30, rel=0.2)


@needs_cuda
def test_memory_that_torch_keeps_in_reserve_is_free() -> None:
    block = torch.zeros(2**28, dtype=torch.uint8, device="cuda")
    before = memory.free_gb("cuda")
    del block
    assert memory.free_gb("cuda") == pytest.approx(before + 0.25, abs=0.05)


@needs_cuda
def test_a_limit_makes_a_card_smaller() -> None:
    memory.limit_vram("cuda", 2.0)
    try:
        assert memory.free_gb("cuda") <= 2.0
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(3 * 2**30, dtype=torch.uint8, device="cuda")
    finally:
        memory.limit_vram("cuda", None)


def test_a_limit_for_graphics_memory_leaves_the_cpu_alone() -> None:
    memory.limit_vram("cpu", 1e-6)
    assert memory.free_gb("cpu") > 0.01


@needs_cuda
def test_peaks_are_measured_stage_by_stage() -> None:
    memory.reset_peak()
    torch.zeros(2**28, dtype=torch.uint8, device="cuda")
    high = memory.peak_vram_mb()
    memory.reset_peak()
    low = memory.peak_vram_mb()
    assert high is not None and low is not None and high - low > 200


def test_asking_starts_neither_torch_nor_cuda() -> None:
    code = (
        "import sys\nfrom models import memory\n"
        "assert memory.peak_vram_mb() is None and not memory.release_cuda_cache()\n"
        "memory.reset_peak()\nassert memory.device_name() == 'cpu'\n"
        "assert not memory.is_out_of_memory(ValueError('x'))\n"
        "assert memory.Batches(0, 1).run(list, [1, 2]) == ([1, 2], [])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


# -- offloading ----------------------------------------------------------------------------------------------------


def test_offload_goes_only_as_far_as_it_must() -> None:
    levels = [offload_level(free, 40) for free in (48, 45, 44, 34, 33, 16, 15, 0)]
    assert levels == ["none", "none", "model", "model", "group", "group", "sequential", "sequential"]
    assert offload_level(0, 0) == "none"


def tiny_pipeline() -> object:
    """Stable Diffusion's inpainting pipeline with one ControlNet, a few channels wide."""
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionControlNetInpaintPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    shape = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 2,
        "in_channels": 4,
    }
    unet = UNet2DConditionModel(
        **shape, out_channels=4, sample_size=8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")
    )
    control = ControlNetModel(**shape, conditioning_embedding_out_channels=(4, 8))
    vae = AutoencoderKL(block_out_channels=(4, 4), norm_num_groups=2, latent_channels=4, sample_size=16,
                        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    text = CLIPTextModel(CLIPTextConfig(vocab_size=100, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                        num_attention_heads=2, max_position_embeddings=77))  # fmt: skip
    pipe = StableDiffusionControlNetInpaintPipeline(
        vae=vae, text_encoder=text, tokenizer=None, unet=unet, controlnet=control, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: object, count: int = 2) -> np.ndarray:
    picture = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32).repeat(count, 1, 1, 1)
    words = torch.zeros(count, 77, 16)
    result = pipe(  # type: ignore[operator]
        image=picture, mask_image=torch.ones(count, 1, 32, 32), control_image=picture, prompt_embeds=words,
        negative_prompt_embeds=words, num_inference_steps=2, output_type="np",
        generator=[torch.Generator().manual_seed(i) for i in range(count)],
    )  # fmt: skip
    return result.images


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """What the pipeline draws with nothing offloaded and the VAE left as it is."""
    return draw(tiny_pipeline())


# Sequential offloading to "cpu:0" makes accelerate lose the parameters' class, so it draws on real cards only (below).
@pytest.mark.parametrize("level", ["none", "model", "group"])
def test_a_pipeline_draws_the_same_at_every_level(drawn, level: memory.OffloadLevel) -> None:
    pipe = tiny_pipeline()
    memory.apply_offload(pipe, level, "cpu")
    assert pipe.vae.use_slicing  # type: ignore[attr-defined]
    assert pipe.vae.use_tiling == (level != "none")  # type: ignore[attr-defined]
    pipe.vae.disable_tiling()  # type: ignore[attr-defined]  # its seams are the one thing that may differ
    for _ in range(2):
        assert np.abs(draw(pipe) - drawn).max() < 1e-4


def test_offloading_leaves_the_networks_off_the_device() -> None:
    sequential = tiny_pipeline()
    memory.apply_offload(sequential, "sequential", "cpu")
    assert {p.device.type for p in sequential.unet.parameters()} == {"meta"}  # type: ignore[attr-defined]
    model = tiny_pipeline()
    memory.apply_offload(model, "model", "cpu")
    assert all(hasattr(part, "_hf_hook") for part in (model.unet, model.vae, model.controlnet))  # type: ignore[attr-defined]
    group = tiny_pipeline()
    memory.apply_offload(group, "group", "cpu")
    assert hasattr(group.unet.down_blocks[0], "_diffusers_hook")  # type: ignore[attr-defined]
    assert not hasattr(group.vae, "_diffusers_hook")  # type: ignore[attr-defined]


@needs_cuda
@pytest.mark.parametrize("level", ["none", "model", "group", "sequential"])
def test_a_pipeline_draws_on_this_card_at_every_level(drawn, level: memory.OffloadLevel) -> None:
    pipe = tiny_pipeline()
    memory.apply_offload(pipe, level, "cuda")
    pipe.vae.disable_tiling()  # type: ignore[attr-defined]
    assert np.abs(draw(pipe) - drawn).max() < 0.02
    if level in ("model", "sequential"):
        assert pipe.unet.device.type != "cuda"  # type: ignore[attr-defined]


# -- batches -------------------------------------------------------------------------------------------------------


class Card:
    """A function that draws squares and runs out of memory above ``room`` frames."""

    def __init__(
        self, room: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "CUDA out of memory"
    ) -> None:
        self.room, self.error, self.text = room, error, text
        self.asked: list[int] = []

    def __call__(self, frames: Sequence[int]) -> list[int]:
        self.asked.append(len(frames))
        if len(frames) > self.room:
            raise self.error(self.text)
        return [frame**2 for frame in frames]


def test_batches_shrink_until_they_fit_and_stay_small() -> None:
    card = Card(room=3)
    results, warnings = Batches(0, 16).run(card, range(20))
    assert results == [n**2 for n in range(20)]
    assert card.asked == [16, 8, 4] + [2] * 10
    assert warnings == [
        "Memory ran out with 16 frames at once; went on with 8.",
        "Memory ran out with 8 frames at once; went on with 4.",
        "Memory ran out with 4 frames at once; went on with 2.",
    ]


def test_the_size_is_remembered_from_call_to_call() -> None:
    card = Card(room=4)
    batches = Batches(frame_gb=0, most=8)
    assert batches.run(card, range(8))[1] == ["Memory ran out with 8 frames at once; went on with 4."]
    card.asked.clear()
    assert batches.run(card, range(8)) == ([n**2 for n in range(8)], [])
    assert card.asked == [4, 4]


def test_a_short_rest_that_does_not_fit_shrinks_too() -> None:
    results, warnings = Batches(0, 8).run(Card(room=2), range(3))
    assert results == [0, 1, 4] and warnings == ["Memory ran out with 3 frames at once; went on with 1."]


def test_the_first_batch_is_sized_to_the_free_memory() -> None:
    assert batch_size(free_gb=10, frame_gb=2, most=8) == 4
    assert batch_size(free_gb=100, frame_gb=2, most=8) == 8
    assert batch_size(free_gb=0.5, frame_gb=2, most=8) == 1
    assert batch_size(free_gb=0.5, frame_gb=0, most=8) == 8
    card = Card(room=100)
    Batches(memory.free_gb("cpu"), 4).run(card, range(6))
    assert card.asked == [1] * 6


def test_one_frame_that_does_not_fit_is_an_error_with_sizes() -> None:
    card = Card(room=0, text="CUDA out of memory. Tried to allocate 3.00 GiB.\nmore")
    with pytest.raises(
        ResourceError, match=r"One frame does not fit in the memory of cpu: [\d.]+ GB free, about 0.1 GB"
    ) as e:
        Batches(0.1, 4).run(card, range(5))
    assert "Tried to allocate 3.00 GiB" in e.value.message and "smaller generation size" in e.value.hint
    assert card.asked == [4, 2, 1]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError, ""),
        (MemoryError, ""),
        (RuntimeError, "MPS backend out of memory (MPS allocated: 8.00 GB)"),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
        (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        (RuntimeError, "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
    ],
)
def test_every_way_to_run_out_of_memory_is_known(error: type[Exception], text: str) -> None:
    assert is_out_of_memory(error(text))
    assert Batches(0, 4).run(Card(2, error, text), range(4))[0] == [0, 1, 4, 9]


def test_a_real_allocation_that_cannot_be_met_counts() -> None:
    def greedy(frames: Sequence[int]) -> list[int]:
        if len(frames) > 1:
            torch.empty(2**55, dtype=torch.uint8)
        return list(frames)

    results, warnings = Batches(0, 2).run(greedy, range(2))
    assert results == [0, 1] and len(warnings) == 1


def test_other_errors_pass_through() -> None:
    for error in (RuntimeError("sizes of tensors must match"), ValueError("out of memory")):
        assert not is_out_of_memory(error)
    with pytest.raises(RuntimeError, match="must match"):
        Batches(0, 4).run(Card(0, RuntimeError, "sizes of tensors must match"), range(4))
    with pytest.raises(ValueError, match="1 results for 2 frames"):
        Batches(0, 2).run(lambda frames: [0], range(2))


def test_what_filled_the_memory_is_let_go_before_the_next_try() -> None:
    """The error's traceback holds the frames' tensors; while it lives, nothing can be freed."""
    import weakref

    alive: list[weakref.ref[torch.Tensor]] = []

    def fill(frames: Sequence[int]) -> list[int]:
        assert all(old() is None for old in alive)
        block = torch.zeros(1000)
        alive.append(weakref.ref(block))
        if len(frames) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(frames)

    assert Batches(0, 2).run(fill, range(2))[0] == [0, 1]
