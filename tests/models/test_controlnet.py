"""The controlnet engine with the true diffusers classes at toy size, loaded from disk as the real ones are."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    LCMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image
from safetensors.torch import load_file

from core.errors import Cancelled, InputError, ModelUnavailable, ResourceError, StageError
from core.types import ControlMaps, GenerationRequest, GenerationResult
from models.body.anny_body import AnnyBody
from models.generators.base import EngineOptions, Generator
from models.generators.controlnet import ControlNetGenerator
from models.generators.diffusion.canvas import FEATHER, REACH, Canvas
from models.generators.diffusion.plan import FEW_STEPS, FULL_GUIDANCE, FULL_STEPS, make_plan
from tests.models import tiny_diffusion
from tests.models.test_avatar import body, look

#: A crop that is no multiple of 8, and not of the generation size either.
WIDTH, HEIGHT = 90, 150


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All weight sets at toy size; only read."""
    root = tmp_path_factory.mktemp("weights")
    tiny_diffusion.save_all(root)
    return root


@pytest.fixture(autouse=True)
def offline(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets in place, and no server to ask."""
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(sets))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def own_sets(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sets that a test may break."""
    root = tmp_path / "weights"
    shutil.copytree(sets, root)
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(root))
    return root


def options(**changes: object) -> EngineOptions:
    values: dict[str, object] = {
        "prompt": "a man",
        "negative_prompt": "bad",
        "steps": 4,
        "generation_size": 96,
        "start_from": "source",
        "depth_weight": 0.0,
        "device": "cpu",
    }
    return EngineOptions(**(values | changes))  # type: ignore[arg-type]


def engine(**changes: object) -> ControlNetGenerator:
    return ControlNetGenerator(options(**changes))


@pytest.fixture(scope="module")
def plain(sets: Path) -> ControlNetGenerator:
    """One engine for all tests that change nothing about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_WEIGHTS", str(sets))
        made = engine()
        made.load()
    return made


def request(
    count: int = 3, start: int = 0, seed: int = 1, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> GenerationRequest:
    """A blob that walks to the right over a smooth scene."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    scene = np.dstack([x * 255 / width, y * 255 / height, (x + y) % 64 * 3]).astype(np.uint8)
    frames, masks = [], []
    for t in range(start, start + count):
        mask = np.hypot((x - 30 - 2 * t) / 14, (y - 75) / 30) < 1
        person = np.dstack([np.full_like(x, 200), 90 + (x - 2 * t) % 16 * 4, np.full_like(x, 60)])
        frames.append(np.where(mask[..., None], person, scene).astype(np.uint8))
        masks.append(mask)
    maps = {
        name: np.stack([frame // (index + 2) for frame in frames])
        for index, name in enumerate(("pose", "depth", "canny"))
    }
    return GenerationRequest(
        start, np.stack(frames), np.stack(masks), np.tile(np.eye(3), (count, 1, 1)), seed, controls=ControlMaps(maps)
    )


def draw(made: Generator, asked: GenerationRequest, fresh: bool = True) -> GenerationResult:
    if fresh:
        made.load()
    return made.generate(asked)


def unet_calls(made: ControlNetGenerator, most: int | None = None) -> list[int]:
    """Record the pictures in each pass through the UNet; above ``most`` the allocator gives up."""
    calls: list[int] = []
    unet = made._drawer.pipe.unet  # type: ignore[union-attr]
    forward = unet.forward

    def counted(sample: torch.Tensor, *arguments: object, **named: object) -> object:
        calls.append(len(sample))
        if most is not None and len(sample) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(sample, *arguments, **named)

    unet.forward = counted
    return calls


# -- what comes out ------------------------------------------------------------------------------------------------


def test_it_draws_inside_the_grown_mask_and_nowhere_else(plain: ControlNetGenerator) -> None:
    asked = request(3)
    result = draw(plain, asked)
    assert result.frames.shape == asked.frames.shape and result.engine == "controlnet" and result.seed == 1
    assert isinstance(plain, Generator)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for alpha, mask in zip(result.alpha, asked.masks, strict=True):
        points = np.argwhere(mask)
        away = np.sqrt(((points[:, None, None] - np.stack([y, x], axis=-1)) ** 2).sum(axis=-1)).min(axis=0)
        assert (alpha[mask] == 1).all() and alpha.min() == 0 and alpha.max() == 1
        assert (alpha[away > (REACH + FEATHER) * HEIGHT * 1.1] == 0).all()
    changed = np.abs(result.frames.astype(int) - asked.frames)[asked.masks]
    assert changed.mean() > 5


def test_a_seed_repeats_and_another_differs(plain: ControlNetGenerator) -> None:
    first, again, other = draw(plain, request()), draw(plain, request()), draw(plain, request(seed=2))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert np.abs(first.frames.astype(int) - other.frames)[request().masks].mean() > 1


@pytest.mark.parametrize("count", [1, 11])
def test_fewer_and_more_frames_than_a_batch(plain: ControlNetGenerator, count: int) -> None:
    assert len(draw(plain, request(count)).frames) == count


def test_equal_frames_come_out_equal(plain: ControlNetGenerator) -> None:
    """What stands still does not flicker: same noise, no sampling in the VAE."""
    one = request(1)
    still = GenerationRequest(
        0, one.frames.repeat(3, 0), one.masks.repeat(3, 0), one.H_crop_source.repeat(3, 0), 1,
        controls=ControlMaps({k: v.repeat(3, 0) for k, v in one.controls.maps.items()}),  # type: ignore[union-attr]
    )  # fmt: skip
    result = draw(plain, still)
    assert np.abs(result.frames[0].astype(int) - result.frames[1:]).max() <= 1


def test_the_noise_goes_on_from_call_to_call_and_starts_anew_elsewhere(plain: ControlNetGenerator) -> None:
    together = draw(plain, request(4)).frames.astype(int)
    first, second = draw(plain, request(2)), draw(plain, request(2, start=2), fresh=False)
    assert np.abs(np.concatenate([first.frames, second.frames]) - together).max() <= 1
    draw(plain, request(2))
    jumped = draw(plain, request(2, start=7), fresh=False)
    np.testing.assert_array_equal(jumped.frames, draw(plain, request(2, start=7)).frames)


def test_the_plate_is_what_shows_around_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the network is given: the plate outside the mask, the source inside, where it starts from the source."""
    made = engine()
    made.load()
    seen: list[torch.Tensor] = []
    vae = made._drawer.pipe.vae  # type: ignore[union-attr]
    encode = vae.encode
    monkeypatch.setattr(vae, "encode", lambda pictures: seen.append(pictures) or encode(pictures))
    made.generate(replace(request(1), plate=np.full((1, HEIGHT, WIDTH, 3), 255, np.uint8)))
    picture = seen[0][0]
    assert (picture[:, :, -8:] == 1).all()
    middle = picture[:, 46:50, 18:22].mean(dim=(1, 2))
    assert middle[0] == pytest.approx(200 / 127.5 - 1, abs=0.1) and middle[2] < 0


@pytest.mark.parametrize("strength", [0.75, 1.0])
def test_given_noise_does_what_diffusers_does_with_its_own(plain: ControlNetGenerator, strength: float) -> None:
    """Our pipeline, given the noise that the original draws, gives the original's picture, whatever the strength."""
    ours = plain._drawer.pipe  # type: ignore[union-attr]
    original = StableDiffusionControlNetInpaintPipeline(**ours.components, requires_safety_checker=False)
    # The original samples the VAE, which would use up random numbers; this is about the rest.
    original._encode_vae_image = ours._encode_vae_image
    original.set_progress_bar_config(disable=True)
    pictures = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 96, 64)
    mask[:, :, 24:64, 16:48] = 1
    arguments = dict(
        image=pictures, mask_image=mask, control_image=[pictures.flip(0)], height=96, width=64, strength=strength,
        num_inference_steps=4, controlnet_conditioning_scale=[1.0], output_type="pt",
        **plain._drawer.conditioning.for_batch(2),  # type: ignore[union-attr]
    )  # fmt: skip
    expected = original(**arguments, generator=torch.Generator().manual_seed(7)).images
    noise = torch.randn(2, 4, 12, 8, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(ours(**arguments, latents=noise).images, expected)


def test_the_avatar_is_where_it_starts_and_widens_the_mask() -> None:
    made = engine(start_from="avatar", avatar="mannequin", depth_weight=0.5)
    assert made.capabilities.needs_body and made.capabilities.controls == ("pose", "depth")
    params = body(AnnyBody().rest({}), 2)
    asked = request(2, size=(120, 200))
    asked = replace(
        asked, masks=np.zeros_like(asked.masks), body=params, motion_body=params.at(np.array([0, 0, 1, 1])), shot=look()
    )
    result = draw(made, asked)
    assert 0.1 < (result.alpha[0] == 1).mean() < 0.7
    with pytest.raises(InputError, match="fitted body"):
        made.generate(replace(asked, body=None))


def test_starting_from_the_previous_result_carries_it_on() -> None:
    made = engine(start_from="previous", avatar="mannequin", denoising_strength=0.3)
    params = body(AnnyBody().rest({}), 4)
    whole = replace(
        request(4, size=(120, 200)), body=params, motion_body=params.at(np.array([0, 0, 1, 2, 3, 3])), shot=look()
    )
    made.load()
    calls = unet_calls(made)
    result = made.generate(whole)
    assert set(calls) == {2}  # one frame at a time, with and without the prompt
    assert len(result.frames) == 4
    np.testing.assert_array_equal(result.frames, draw(made, whole).frames)
    # The second frame depends on what the first became.
    first = replace(
        request(1, size=(120, 200)), body=params.window(0, 1), motion_body=params.at(np.array([0, 0, 1])), shot=look()
    )
    alone = replace(
        request(1, 1, size=(120, 200)),
        body=params.window(1, 2),
        motion_body=params.at(np.array([0, 1, 2])),
        shot=look(),
    )
    draw(made, first)
    carried = draw(made, alone, fresh=False)
    assert np.abs(carried.frames[0].astype(int) - draw(made, alone).frames[0]).mean() > 0.5
    assert np.abs(carried.frames[0].astype(int) - result.frames[1]).max() <= 1


# -- ways of drawing -----------------------------------------------------------------------------------------------


def test_full_and_few_steps_and_windows_have_their_schedulers() -> None:
    full, few, window = engine(steps=0), engine(few_step=True, steps=0), engine(motion_window=True, steps=0)
    for made, kind in ((full, UniPCMultistepScheduler), (few, LCMScheduler), (window, DDIMScheduler)):
        made.load()
        assert isinstance(made._drawer.pipe.scheduler, kind)  # type: ignore[union-attr]
    assert (full.plan.steps, full.plan.guidance) == (FULL_STEPS, FULL_GUIDANCE)
    assert few.plan.steps == FEW_STEPS and 1 <= few.plan.guidance <= 2
    calls = unet_calls(few)
    few.generate(request(2))
    assert len(calls) == few.plan.drawn_steps == int(FEW_STEPS * 0.75)
    assert window._drawer.pipe.scheduler.config.beta_schedule == "linear"  # type: ignore[union-attr]


def test_few_steps_repeat_and_do_not_flicker() -> None:
    made = engine(few_step=True)
    one = request(1)
    still = GenerationRequest(
        0, one.frames.repeat(2, 0), one.masks.repeat(2, 0), one.H_crop_source.repeat(2, 0), 1,
        controls=ControlMaps({k: v.repeat(2, 0) for k, v in one.controls.maps.items()}),  # type: ignore[union-attr]
    )  # fmt: skip
    result = draw(made, still)
    assert np.abs(result.frames[0].astype(int) - result.frames[1]).max() <= 1
    np.testing.assert_array_equal(result.frames, draw(made, still).frames)
    assert np.abs(result.frames[0].astype(int) - draw(made, replace(still, seed=5)).frames[0])[one.masks[0]].mean() > 1


def test_the_few_step_weights_are_merged(sets: Path) -> None:
    made = engine(few_step=True)
    made.load()
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    before = load_file(sets / "controlnet-sd15/checkpoint/unet/diffusion_pytorch_model.safetensors")[name + ".weight"]
    lora = load_file(sets / "lcm-lora" / "pytorch_lora_weights.safetensors")
    key = "lora_unet_" + name.replace(".", "_")
    rank = len(lora[key + ".lora_down.weight"])
    update = lora[key + ".lora_up.weight"] @ lora[key + ".lora_down.weight"] * lora[key + ".alpha"] / rank
    merged = made._drawer.pipe.unet.get_submodule(name).weight  # type: ignore[union-attr]
    torch.testing.assert_close(merged, before + update)


def test_windows_go_on_from_the_frames_before() -> None:
    made = engine(motion_window=True)
    assert made.capabilities.frames_per_call == 12
    made.load()
    calls = unet_calls(made)
    first, second = made.generate(request(6)), made.generate(request(6, start=6))
    # Pairs (with and without prompt) of 1 video; the second window holds four known frames more.
    assert set(calls) == {2} and len(first.frames) == len(second.frames) == 6
    alone = draw(made, request(6, start=6))
    assert np.abs(second.frames[0].astype(int) - alone.frames[0]).mean() > 0.1
    again = [draw(made, request(6)), draw(made, request(6, start=6), fresh=False)]
    for a, b in zip((first, second), again, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)


def test_a_window_keeps_what_lies_outside_the_mask() -> None:
    made = engine(motion_window=True)
    asked = request(4)
    far = np.s_[:, :, 75:]  # beyond the mask, the VAE's reach included
    plain_frames = draw(made, asked).frames[far].astype(int)
    other = draw(made, replace(asked, seed=9)).frames[far].astype(int)
    inside = asked.masks
    assert (
        np.abs(plain_frames - other).mean()
        < 0.5 * np.abs(draw(made, asked).frames.astype(int) - draw(made, replace(asked, seed=9)).frames)[inside].mean()
    )


def test_a_reference_changes_what_is_drawn(tmp_path: Path) -> None:
    results = []
    for name, colour in (("red", (220, 20, 20)), ("blue", (10, 40, 230))):
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (50, 70), colour).save(path)
        made = engine(reference=path)
        made.load()
        assert made._drawer.pipe.image_encoder is None  # type: ignore[union-attr]
        results.append(made.generate(request(1)).frames.astype(int))
    assert np.abs(results[0] - results[1]).max() > 0
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(InputError, match="cannot be read"):
        engine(reference=text).load()
    with pytest.raises(InputError, match="cannot be read"):
        engine(reference=tmp_path / "nobody.png")


def test_the_prompt_changes_what_is_drawn(plain: ControlNetGenerator) -> None:
    other = draw(engine(prompt="a red robot"), request(1)).frames.astype(int)
    assert np.abs(other - draw(plain, request(1)).frames)[request(1).masks].max() > 0
    made = engine(prompt="long " * 40)
    warnings = draw(made, request(1)).warnings
    assert any("77 tokens" in warning for warning in warnings)
    assert not made.generate(request(1, start=1)).warnings


@pytest.mark.parametrize("names", [("pose",), ("depth",), ("canny",), ("pose", "canny"), ("pose", "depth", "canny")])
def test_only_the_weighed_controls_are_loaded(names: tuple[str, ...]) -> None:
    made = engine(**{f"{name}_weight": 0.5 if name in names else 0.0 for name in ("pose", "depth", "canny")})
    assert made.capabilities.controls == names and made.capabilities.needs_body == ("depth" in names)
    result = draw(made, request(2))
    assert len(made._drawer.pipe.controlnet.nets) == len(names)  # type: ignore[union-attr]
    assert len(result.frames) == 2
    asked = request(2)
    blank = ControlMaps({name: np.zeros_like(maps) for name, maps in asked.controls.maps.items()})  # type: ignore[union-attr]
    assert np.abs(draw(made, replace(asked, controls=blank)).frames.astype(int) - result.frames).max() > 0


# -- stopping, memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [False, True])
def test_cancelling_stops_between_two_steps(window: bool) -> None:
    made = engine(motion_window=window, denoising_strength=1.0)
    made.load()
    calls = unet_calls(made)
    told: list[float] = []

    def progress(share: float, text: str) -> None:
        told.append(share)
        if len(told) == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        made.generate(request(3), progress)
    assert len(calls) == 2 and told == sorted(told) and told[-1] < 1
    # And drawing anew gives what it gives without the interruption.
    np.testing.assert_array_equal(made.generate(request(3)).frames, draw(made, request(3)).frames)


def test_progress_is_told_after_every_step(plain: ControlNetGenerator) -> None:
    told: list[tuple[float, str]] = []
    plain.load()
    plain.generate(request(11), lambda share, text: told.append((share, text)))
    assert len(told) == 2 * plain.plan.drawn_steps and told[-1][0] == 1.0
    assert [share for share, _ in told] == sorted(share for share, _ in told) and "step 3 of 3" in told[-1][1]


@pytest.mark.parametrize("window", [False, True])
def test_running_out_of_memory_makes_the_batches_smaller(window: bool) -> None:
    made = engine(motion_window=window, guidance=1.0)
    made.load()
    if window:
        # A window is one sample of several frames: the ControlNets see the frames.
        net = made._drawer.pipe.controlnet  # type: ignore[union-attr]
        forward = net.forward
        net.forward = lambda sample, *a, **k: _limited(forward, 7, sample, *a, **k)
    else:
        unet_calls(made, most=3)
    result = made.generate(request(8))
    assert len(result.frames) == 8 and any("Memory ran out with 8 frames" in text for text in result.warnings)
    assert not made.generate(request(2, start=8)).warnings


def _limited(forward, most: int, sample: torch.Tensor, *arguments, **named):
    if len(sample) > most:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return forward(sample, *arguments, **named)


def test_a_frame_that_never_fits_says_so() -> None:
    made = engine()
    made.load()
    unet_calls(made, most=1)
    with pytest.raises(ResourceError, match="One frame does not fit"):
        made.generate(request(2))


def test_smaller_batches_draw_the_same(plain: ControlNetGenerator) -> None:
    made = engine()
    made.load()
    unet_calls(made, most=4)
    apart = made.generate(request(8)).frames.astype(int)
    assert np.abs(apart - draw(plain, request(8)).frames).max() <= 2


def test_loading_twice_keeps_the_weights_and_unloading_frees_them() -> None:
    made = engine()
    made.load()
    unet = made._drawer.pipe.unet  # type: ignore[union-attr]
    first = made.generate(request(2)).frames
    made.load()
    assert made._drawer.pipe.unet is unet  # type: ignore[union-attr]
    np.testing.assert_array_equal(made.generate(request(2)).frames, first)
    made.unload()
    assert made._drawer is None
    np.testing.assert_array_equal(made.generate(request(2)).frames, first)


# -- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("controlnet-sd15", {}),
        ("lcm-lora", {"few_step": True}),
        ("animatediff", {"motion_window": True}),
        ("ip-adapter", {"reference": Path(__file__)}),
    ],
)
def test_missing_weights_name_the_command(own_sets: Path, name: str, changes: dict[str, object]) -> None:
    shutil.rmtree(own_sets / name)
    with pytest.raises(ModelUnavailable) as caught:
        engine(**changes)
    assert f"python app.py weights pull {name}" in str(caught.value)
    if changes:
        assert name not in engine().capabilities.weights


@pytest.mark.parametrize("part", ["vae", "openpose", "checkpoint/unet", "checkpoint/text_encoder"])
def test_a_damaged_file_is_named(own_sets: Path, part: str) -> None:
    file = next((own_sets / "controlnet-sd15" / part).glob("*.safetensors"))
    data = file.read_bytes()
    file.write_bytes(b"\xff" * 64 + data[64:])
    with pytest.raises((InputError, ModelUnavailable), match=file.name):
        engine().load()


def test_weights_of_another_network_are_refused(own_sets: Path) -> None:
    folder = own_sets / "controlnet-sd15" / "canny"
    (folder / "config.json").write_text((own_sets / "controlnet-sd15" / "vae" / "config.json").read_text())
    with pytest.raises(ModelUnavailable, match="canny"):
        engine(canny_weight=1.0).load()


def test_pickles_are_refused(own_sets: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (witness,))

    checkpoint = tmp_path / "model.ckpt"
    checkpoint.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(InputError, match="pickle"):
        engine(checkpoint=str(checkpoint))
    folder = own_sets / "controlnet-sd15" / "vae"
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Harmful()))
    tiny_diffusion.write_manifest(own_sets / "controlnet-sd15")
    with pytest.raises(ModelUnavailable, match="pickle"):
        engine().load()
    assert not witness.exists()


def test_a_checkpoint_in_one_file_draws_as_its_folder_does(
    own_sets: Path, plain: ControlNetGenerator, tmp_path: Path
) -> None:
    base = own_sets / "controlnet-sd15" / "checkpoint"
    tiny_diffusion.save_single_file(base, own_sets / "checkpoints" / "mine.safetensors")
    expected = draw(plain, request(1)).frames
    np.testing.assert_array_equal(draw(engine(checkpoint="mine"), request(1)).frames, expected)
    shutil.copytree(base, tmp_path / "folder")
    np.testing.assert_array_equal(draw(engine(checkpoint=str(tmp_path / "folder")), request(1)).frames, expected)


def test_an_inpainting_checkpoint_works_too(tmp_path: Path) -> None:
    tiny_diffusion.save_checkpoint(tmp_path / "inpainting", in_channels=9)
    result = draw(engine(checkpoint=str(tmp_path / "inpainting")), request(2))
    assert len(result.frames) == 2


def test_a_checkpoint_that_does_not_fit_is_refused(own_sets: Path, tmp_path: Path) -> None:
    tiny_diffusion.save_checkpoint(tmp_path / "wide", width=48)
    with pytest.raises(InputError, match=r"no Stable Diffusion 1\.5"):
        engine(checkpoint=str(tmp_path / "wide")).load()
    lora = own_sets / "lcm-lora" / "pytorch_lora_weights.safetensors"
    with pytest.raises(InputError, match=lora.name):
        engine(checkpoint=str(lora)).load()
    with pytest.raises(InputError, match="nowhere"):
        engine(checkpoint="nowhere")


# -- options, geometry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pose_weight": 0.0}, "control weights"),
        ({"denoising_strength": 0.1}, "no step"),
        ({"denoising_strength": 0.0}, "no step"),
        ({"few_step": True, "steps": 25}, "4 to 8"),
        ({"motion_window": True, "start_from": "previous"}, "exclude"),
        ({"generation_size": 10}, "generation_size"),
        ({"start_from": "avatar", "avatar": "nobody"}, "nobody"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        engine(**changes)


def test_a_missing_map_is_named(plain: ControlNetGenerator) -> None:
    with pytest.raises(InputError, match="pose map"):
        plain.generate(replace(request(1), controls=None))


def test_the_defaults_of_the_settings_make_a_plan() -> None:
    plan = make_plan(EngineOptions())
    assert plan.controls == ("pose", "depth") and plan.start_from == "avatar" and plan.weights == ("controlnet-sd15",)
    assert plan.prompt and plan.negative_prompt
    names = {field.name for field in fields(EngineOptions)}
    assert {"generation_size", "few_step", "motion_window"} <= names


@pytest.mark.parametrize(("crop", "size"), [((90, 150), (56, 96)), ((150, 90), (96, 56)), ((17, 400), (8, 96))])
def test_the_canvas_has_whole_cells(crop: tuple[int, int], size: tuple[int, int]) -> None:
    canvas = Canvas.fit(crop, 96)
    assert canvas.size == size
    corner = canvas.H_canvas_crop @ np.array([crop[0] - 0.5, crop[1] - 0.5, 1])
    np.testing.assert_allclose(corner[:2], np.array(size) - 0.5)


def test_a_network_that_breaks_down_is_said_and_not_drawn_black(sets: Path) -> None:
    made = engine()
    made.load()
    with torch.no_grad():
        made.pipe.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(StageError, match="no numbers"):
        draw(made, request(1))
