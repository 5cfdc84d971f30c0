"""The wan-animate engine on the true networks at toy size, on the CPU."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import Cancelled, InputError, ModelUnavailable, StageError
from core.types import ControlMaps, GenerationRequest
from models.generators.base import EngineOptions, Generator
from models.generators.wan import conditioning, faces
from models.generators.wan.conditioning import Conditioning, call_length, drawing_size, holes, soft_edge
from models.generators.wan.lora import apply_lora, read_lora
from models.generators.wan.prompts import PROMPT, encode_prompts
from models.generators.wan.reference import fitted
from models.generators.wan_animate import WanAnimateGenerator
from models.weights import WEIGHTS
from tests.models import tiny_wan

SIZE = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    tiny_wan.write_weights(folder)
    return folder


@pytest.fixture(autouse=True)
def weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(root))
    for name in ("wan-few-step", "wan-relight"):
        if name not in WEIGHTS:
            monkeypatch.setitem(WEIGHTS, name, tiny_wan.lora_row(name))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "person.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (80, 40, 3), np.uint8)).save(path)
    return path


def options(picture: Path, **changes: object) -> EngineOptions:
    values: dict[str, object] = {"reference": picture, "generation_size": SIZE, "steps": 2, "device": "cpu"}
    return EngineOptions(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def loaded(root: Path, picture: Path) -> WanAnimateGenerator:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_WEIGHTS", str(root))
        engine = WanAnimateGenerator(options(picture))
        engine.load()
    return engine


@pytest.fixture
def engine(loaded: WanAnimateGenerator) -> WanAnimateGenerator:
    """Loaded, and remembering nothing; batches as at first."""
    loaded.load()
    assert loaded._networks is not None
    loaded.adopt(loaded._networks)
    return loaded


def landmarks(count: int, x: float = 20.0, y: float = 16.0) -> np.ndarray:
    """A face of 12 pixels that looks at the camera."""
    points = np.zeros((count, 33, 4), np.float32)
    points[..., 3] = 1
    # Nose, six points of the eyes, ears, mouth.
    points[:, :11, :2] = np.array(
        [[0, 0], [1, -3], [2, -3], [3, -3], [-1, -3], [-2, -3], [-3, -3], [6, -2], [-6, -2], [2, 3], [-2, 3]]
    )
    points[:, :11, :2] += (x, y)
    points[:, 0, 2] = -5
    return points


def request(
    count: int, start: int = 0, size: tuple[int, int] = (48, SIZE), carried: np.ndarray | None = None, seed: int = 7
) -> GenerationRequest:
    """The frames ``start`` .. of one fixed clip."""
    width, height = size
    clip = np.random.default_rng(1).integers(0, 256, (90, height, width, 3), np.uint8)[start : start + count]
    masks = np.zeros((count, height, width), bool)
    masks[:, height // 3 : height * 2 // 3, width // 3 : width // 2] = True
    return GenerationRequest(
        start,
        clip,
        masks,
        np.tile(np.eye(3), (count, 1, 1)),
        seed,
        controls=ControlMaps({"pose": clip // 2}),
        carried=carried,
        landmarks=landmarks(count),
    )


# -- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 9, 12, 13])
def test_as_many_frames_come_back_as_went_in(engine: WanAnimateGenerator, count: int) -> None:
    asked = request(count)
    result = engine.generate(asked)
    assert result.frames.shape == asked.frames.shape and result.frames.dtype == np.uint8
    assert result.alpha.shape == asked.masks.shape and result.engine == "wan-animate" and result.seed == 7
    assert not result.warnings
    assert isinstance(engine, Generator)


def test_a_request_that_is_longer_than_a_call_is_drawn_in_several(engine: WanAnimateGenerator) -> None:
    assert engine._batches is not None
    engine._batches.most = 8
    lengths = calls(engine, request(19))
    # 8 frames padded to 9; then five carried over and 8; then five and the last 3, padded.
    assert lengths == [9, 13, 9]


def calls(engine: WanAnimateGenerator, asked: GenerationRequest) -> list[int]:
    """Lengths of the pipeline's calls for a request."""
    lengths = []
    real = engine.run_pipeline

    def counted(shown: Conditioning, seed: int, on_step: object) -> np.ndarray:
        lengths.append(len(shown))
        return real(shown, seed, on_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "run_pipeline", counted)
        assert len(engine.generate(asked).frames) == len(asked)
    return lengths


def test_alpha_covers_the_person_and_ends_at_the_hole(engine: WanAnimateGenerator) -> None:
    asked = request(2, size=(150, 200))
    alpha = engine.generate(asked).alpha
    hole = holes(asked.masks)
    assert alpha.dtype == np.float32 and alpha.min() == 0 and alpha.max() == 1
    assert (alpha[asked.masks] == 1).all() and (alpha[~hole] == 0).all()
    assert 0 < hole.mean() < 0.5
    edge = alpha[0][asked.masks[0].any(axis=1).argmax() + 10]
    assert np.abs(np.diff(edge)).max() < 0.5, "no step at the edge"


@pytest.mark.parametrize("size", [(50, 91), (91, 50), (33, 33), (8, 120)])
def test_a_size_that_is_no_multiple(engine: WanAnimateGenerator, size: tuple[int, int]) -> None:
    width, height = size
    assert engine.generate(request(2, size=size)).frames.shape == (2, height, width, 3)
    drawn = drawing_size(size, SIZE)
    assert max(drawn) == SIZE and all(side % 16 == 0 and side > 0 for side in drawn)


def test_the_same_seed_gives_the_same_and_another_does_not(engine: WanAnimateGenerator) -> None:
    first = engine.generate(request(3))
    engine.load()
    again = engine.generate(request(3))
    np.testing.assert_array_equal(first.frames, again.frames)
    engine.load()
    other = engine.generate(request(3, seed=8))
    assert not np.array_equal(first.frames, other.frames)
    np.testing.assert_array_equal(first.alpha, other.alpha)


def test_what_is_missing_in_a_request_is_named(engine: WanAnimateGenerator) -> None:
    for lacking in (replace(request(2), controls=None), replace(request(2), landmarks=None)):
        with pytest.raises(InputError, match="pose maps and landmarks"):
            engine.generate(lacking)


# -- going on from the last call -------------------------------------------------------------------------------------


@pytest.mark.parametrize("carried", [1, 5])
def test_two_calls_are_the_pipelines_own_long_mode(
    engine: WanAnimateGenerator, monkeypatch: pytest.MonkeyPatch, carried: int
) -> None:
    """The network is shown the same in our second call as in the second segment of the pipeline's own long mode."""
    monkeypatch.setattr("models.generators.wan_animate.CARRIED", carried)
    monkeypatch.setattr(engine, "_batches", None)
    segment, total = 13, 13 + 13 - carried
    networks = engine._networks
    assert networks is not None and engine._picture is not None
    engine.adopt(networks)
    pipe = networks.pipe
    ours, theirs = [], []
    noise = [torch.randn((1, 16, 5, 8, 6), generator=torch.Generator().manual_seed(i)) for i in range(2)]

    def watched(seen: list[dict[str, torch.Tensor]]) -> None:
        """Note what each call or segment is shown, and give it its noise."""
        monkeypatch.undo()
        monkeypatch.setattr("models.generators.wan_animate.CARRIED", carried)
        monkeypatch.setattr(pipe, "prepare_latents", lambda *_a, **_k: noise[len(seen)].clone())
        scene, forward = pipe.prepare_prev_segment_cond_latents, pipe.transformer.forward
        encode = pipe.vae.encode
        now: dict[str, torch.Tensor] = {}

        def prepare(*args: object, **kwargs: object) -> torch.Tensor:
            monkeypatch.setattr(pipe.vae, "encode", lambda x: (now.update(scene=x.clone()), encode(x))[1])
            latents = scene(*args, **kwargs)
            monkeypatch.setattr(pipe.vae, "encode", encode)
            now["kept"] = latents[:, :4]
            return latents

        def once(**kwargs: torch.Tensor) -> object:
            if "kept" in now:
                seen.append({**now, "pose": kwargs["pose_hidden_states"], "face": kwargs["face_pixel_values"]})
                now.clear()
            return forward(**kwargs)

        monkeypatch.setattr(pipe, "prepare_prev_segment_cond_latents", prepare)
        monkeypatch.setattr(pipe.transformer, "forward", once)

    watched(ours)
    first = engine.generate(request(segment))
    second = engine.generate(request(total - segment, start=segment, carried=first.frames[-carried:]))

    watched(theirs)
    # Frames between our calls are 8 bits a channel, so its are too; nothing else may differ.
    decode = pipe.vae.decode
    monkeypatch.setattr(
        pipe.vae, "decode", lambda *a, **k: (torch.round((decode(*a, **k)[0] + 1) * 127.5) / 127.5 - 1,)
    )
    asked = request(total)
    shown, _ = engine._shown(asked, holes(asked.masks), None)
    whole = pipe(
        image=Image.fromarray(fitted(engine._picture, (48, SIZE))),
        pose_video=[Image.fromarray(p) for p in shown.pose],
        face_video=[Image.fromarray(p) for p in shown.face],
        background_video=[Image.fromarray(p) for p in shown.scene],
        mask_video=[Image.fromarray(p) for p in shown.hole],
        prompt_embeds=networks.prompt,
        height=SIZE,
        width=48,
        segment_frame_length=segment,
        prev_segment_conditioning_frames=carried,
        num_inference_steps=2,
        mode="replace",
        guidance_scale=1.0,
    ).frames[0]

    assert len(ours) == len(theirs) == 2
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine["kept"], its["kept"], rtol=0, atol=0)
        torch.testing.assert_close(mine["pose"], its["pose"])
        torch.testing.assert_close(mine["face"], its["face"])
        torch.testing.assert_close(mine["scene"], its["scene"])
    np.testing.assert_allclose(np.concatenate([first.frames, second.frames]), 255 * whole, atol=1.01)


def test_only_its_own_last_results_are_gone_on_from(engine: WanAnimateGenerator) -> None:
    first = engine.generate(request(5))
    last = first.frames[-5:]
    assert calls(engine, request(4, start=5, carried=last)) == [9], "five carried over and four new"
    engine.generate(request(5))
    assert calls(engine, request(4, start=6, carried=last)) == [5], "a frame is missing in between"
    engine.generate(request(5))
    assert calls(engine, request(4, start=5, carried=255 - last)) == [5], "somebody else's frames"
    engine.generate(request(5))
    engine.load()
    assert calls(engine, request(4, start=5, carried=last)) == [5], "load forgets"


# -- stopping, memory ------------------------------------------------------------------------------------------------


def test_cancelling_between_steps_computes_nothing_more(
    engine: WanAnimateGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._networks is not None
    network = engine._networks.pipe.transformer
    real, ran, told = network.forward, [], []
    monkeypatch.setattr(network, "forward", lambda **given: (ran.append(1), real(**given))[1])

    def progress(share: float, text: str) -> None:
        told.append((share, text))
        if len(told) == 2:
            raise Cancelled("Stopped.")

    monkeypatch.setattr(engine, "options", replace(engine.options, steps=5))
    with pytest.raises(Cancelled):
        engine.generate(request(3), progress)
    assert len(ran) == 2 and told == [(pytest.approx(0.2), "step 1 of 5"), (pytest.approx(0.4), "step 2 of 5")]
    monkeypatch.undo()
    assert len(engine.generate(request(3)).frames) == 3, "it goes on working"


def test_out_of_memory_makes_calls_shorter_and_says_so(
    engine: WanAnimateGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._networks is not None
    network = engine._networks.pipe.transformer
    real = network.forward

    def small(**given: torch.Tensor) -> object:
        if given["hidden_states"].shape[2] > 4:  # the reference and three groups of four frames
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return real(**given)

    monkeypatch.setattr(network, "forward", small)
    result = engine.generate(request(12))
    assert len(result.frames) == 12
    assert len(result.warnings) >= 1 and "12 frames at once" in result.warnings[0]
    assert engine.generate(request(4)).warnings == (), "it remembers what fits"


def test_loading_twice_keeps_the_networks_and_unloading_gives_them_back(root: Path, picture: Path) -> None:
    engine = WanAnimateGenerator(options(picture))
    engine.load()
    networks = engine._networks
    engine.load()
    assert networks is not None and engine._networks is networks
    engine.unload()
    assert engine._networks is None
    assert len(engine.generate(request(1)).frames) == 1, "and it can be loaded again"


# -- weights ---------------------------------------------------------------------------------------------------------


def test_missing_weights_name_the_command(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelUnavailable) as error:
        WanAnimateGenerator(options(picture)).load()
    assert "python app.py weights pull wan-animate" in error.value.hint


def test_a_damaged_file_is_named(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path))
    file = tiny_wan.write_weights(tmp_path) / "vae" / "diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    for bad, said in ((b"{", "damaged"), (pickle.dumps({"weight": [0.0]}), "pickle")):
        # Of the right size, or it would count as not fetched yet.
        file.write_bytes(bad.ljust(len(whole), b"\xff"))
        with pytest.raises(InputError, match=said) as error:
            WanAnimateGenerator(options(picture)).load()
        assert str(file) in error.value.message


def test_few_steps_need_their_lora_and_use_it(picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = options(picture, few_step=True, steps=0)
    with pytest.raises(ModelUnavailable) as error:
        WanAnimateGenerator(few).load()
    assert "python app.py weights pull wan-few-step" in error.value.hint
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path))
    tiny_wan.write_weights(tmp_path)
    plain = WanAnimateGenerator(options(picture, steps=6)).generate(request(1))
    tiny_wan.write_lora(tmp_path, "wan-few-step", tiny_wan.lora())
    engine = WanAnimateGenerator(few)
    told: list[str] = []
    result = engine.generate(request(1), lambda _share, text: told.append(text))
    assert told[-1] == "step 6 of 6"
    assert not np.array_equal(plain.frames, result.frames)


@pytest.mark.parametrize("layout", ["original", "peft"])
def test_a_lora_adds_its_product_to_the_weights(tmp_path: Path, layout: str) -> None:
    tensors = tiny_wan.lora(layout=layout)
    path = tiny_wan.write_lora(tmp_path, "wan-few-step", tensors)
    network = tiny_wan.transformer()
    before = network.blocks[0].attn1.to_q.weight.detach().clone()
    assert apply_lora(network, read_lora(path), path) == 2
    key = next(k for k in tensors if "blocks.0" in k and "lora_A" in k)
    product = tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
    torch.testing.assert_close(network.blocks[0].attn1.to_q.weight, before + product)


def test_a_lora_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tiny_wan.write_lora(tmp_path, "wan-relight", tiny_wan.lora())
    with pytest.raises(InputError, match="does not fit"):
        apply_lora(tiny_wan.transformer(heads=4), read_lora(path), path)


def test_the_prompt_is_encoded_as_the_pipeline_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.pipelines.wan import pipeline_wan_animate

    monkeypatch.setattr(pipeline_wan_animate, "ftfy", SimpleNamespace(fix_text=lambda text: text), raising=False)
    pipe = tiny_wan.pipeline()
    pipe.text_encoder.eval()
    theirs, _ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False, max_sequence_length=512)
    (ours,) = encode_prompts(root / "wan-animate", [PROMPT], "cpu", torch.float32)
    torch.testing.assert_close(ours, theirs)


# -- options ---------------------------------------------------------------------------------------------------------


def test_options_are_checked_when_the_engine_is_made(tmp_path: Path, picture: Path) -> None:
    with pytest.raises(InputError, match="--reference"):
        WanAnimateGenerator(options(tmp_path / "none.png"))
    with pytest.raises(InputError, match="nobody"):
        WanAnimateGenerator(EngineOptions(avatar="nobody"))
    with pytest.raises(InputError, match="'fp4'"):
        WanAnimateGenerator(options(picture, checkpoint="fp4"))
    with pytest.raises(InputError, match="does not exist"):
        WanAnimateGenerator(options(picture, checkpoint="gguf:none.gguf"))


def test_a_number_format_without_its_package_names_the_command(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    file = tmp_path / "wan.gguf"
    file.write_bytes(b"GGUF")
    for checkpoint, command in (("int8", "pip install bitsandbytes"), (f"gguf:{file}", "pip install gguf")):
        with pytest.raises(ModelUnavailable) as error:
            WanAnimateGenerator(options(picture, checkpoint=checkpoint))
        assert command in error.value.hint


# -- what the network is shown ---------------------------------------------------------------------------------------


def test_nothing_of_the_old_person_is_shown(engine: WanAnimateGenerator) -> None:
    asked = request(2, size=(50, 91))
    frames = np.repeat(np.where(asked.masks[..., None], 255, 0).astype(np.uint8), 3, axis=3)
    shown = conditioning.conditioning(frames, frames, np.zeros((2, 16, 16, 3), np.uint8), holes(asked.masks), SIZE)
    assert shown.scene.max() == 0 and shown.hole.max() == 255 and shown.hole.min() == 0
    assert shown.pose.max() > 200


@pytest.mark.parametrize(("count", "length"), [(1, 5), (5, 5), (6, 9), (73, 73), (77, 77), (78, 81)])
def test_calls_have_4n_plus_1_frames(count: int, length: int) -> None:
    assert call_length(count) == length
    marks = np.arange(count, dtype=np.uint8)[:, None, None]
    shown = Conditioning(
        *(np.broadcast_to(marks[..., None], (count, 2, 2, 3)),) * 3, np.broadcast_to(marks, (count, 2, 2))
    )
    padded = shown.padded()
    assert len(padded) == length
    np.testing.assert_array_equal(padded.hole[:count, 0, 0], np.arange(count))


def test_soft_edge_is_smooth() -> None:
    hole = np.zeros((1, 200, 100), bool)
    hole[:, 60:140, 30:70] = True
    alpha = soft_edge(holes(hole)[0])
    assert (np.diff(alpha[100, :50]) >= 0).all() and np.abs(np.diff(alpha[100])).max() < 0.4


def test_the_face_is_cut_where_it_is_and_black_where_it_is_not_seen() -> None:
    frames = np.zeros((3, 60, 60, 3), np.uint8)
    frames[:, 10:22, 14:27] = 200
    points = landmarks(3)
    points[1, 0, 2] = 30  # the nose is behind the ears: seen from behind
    points[2, :7, 3] = 0.1
    boxes = faces.face_boxes(points)
    assert np.isfinite(boxes[0]).all() and np.isnan(boxes[1:]).all()
    x, y, side = boxes[0]
    assert abs(x - 20) < 0.5 and abs(y - 16) < 3 and 12 < side < 20
    cut = faces.cut_faces(frames, faces.steady_boxes(boxes), 32)
    assert cut[0].mean() > 100 and cut[1:].max() == 0


def test_the_faces_box_does_not_jump() -> None:
    jitter = np.random.default_rng(0).normal(0, 2, 40)
    points = np.concatenate([landmarks(1, x=20 + j) for j in jitter])
    boxes = faces.face_boxes(points)
    steady = faces.steady_boxes(boxes)
    assert np.abs(np.diff(steady[:, 0])).max() < 0.4 * np.abs(np.diff(boxes[:, 0])).max()
    halves = np.concatenate([faces.steady_boxes(boxes[:20]), faces.steady_boxes(boxes[20:], boxes[:20])])
    assert np.abs(np.diff(halves[:, 0]))[19] < 2


def test_a_network_that_breaks_down_is_said_and_not_drawn_black(root: Path, picture: Path) -> None:
    engine = WanAnimateGenerator(options(picture))
    engine.load()
    assert engine._networks is not None
    with torch.no_grad():
        engine._networks.pipe.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(StageError, match="no numbers"):
        engine.generate(request(1))
