"""The mesh pipeline's own decisions: points in space become a body of the right size, figures say what is true, and what
cannot be done is said before anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest

from core.errors import Cancelled, InputError, ModelUnavailable, SettingError
from core.presets import load_preset, preset_names
from core.progress import Progress
from core.runs import RunFolder
from core.settings import GROUPS, MeshSettings, make_settings
from core.settings_form import form_fields
from core.types import LANDMARK_NAMES, BodyParams, CameraPath, FootContacts, PersonTrack, PoseTrack, VideoInfo
from models.body import fit_windows
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, landmark_positions, params_transforms
from models.body.base import JOINT_NAMES
from models.body.fit_size import height_of
from models.body.pose_init import limbs_of
from models.body.smplx_body import SmplxBody
from pipelines.mesh import stages, views
from pipelines.mesh.lens import described, find_lens
from pipelines.mesh.measures import Evidence, cuts, jitter, mended, upside_down
from pipelines.mesh.processor import mesh_clips
from pipelines.mesh.quality import advice, measure, warnings_of
from pipelines.mesh.quality_page import render_page
from pipelines.mesh.shot import MeshShot, View, ViewFolder
from pipelines.survey.findings import Survey
from tests import clips
from tests.smplx_file import write_npz
from tests.utils.camera_rig import SIZE, ring
from utils.video_io import VideoReader
from utils.video_probe import probe
from utils.video_writer import VideoWriter

FRAMES, RATE = 40, Fraction(30)
TALL = 1.1
SCORED = [
    LANDMARK_NAMES.index(f"{side}_{part}")
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
]


# -- several views -------------------------------------------------------------------------------------------------


def walker() -> np.ndarray:
    """(T, 33, 3) metres, world axes, z up: a body a tenth larger than the one that is fitted, on the move."""
    rest = AnnyBody().rest({})
    time = np.arange(FRAMES) / float(RATE)
    rotations = np.zeros((FRAMES, len(JOINT_NAMES), 3))
    rotations[:, 0, 2] = 0.5 * np.sin(2 * time)
    for limb in limbs_of(rest):
        phase = 0 if JOINT_NAMES[limb.hinge.joint].startswith("left") else np.pi
        rotations[:, limb.hinge.joint] = (0.6 + 0.4 * np.sin(4 * time + phase))[:, None] * limb.hinge.axis
        rotations[:, limb.upper, 0] = -0.4 * np.sin(4 * time + phase)
    place = np.stack([0.3 * np.sin(time), 0.2 * time, np.full(FRAMES, 0.9)], 1)
    return TALL * landmark_positions(rest, bone_transforms(rest, rotations, place)).astype(float)


def info_of(name: str, frames: int = FRAMES, rate: Fraction = RATE) -> VideoInfo:
    return VideoInfo(Path(name), *SIZE, rate, frames, 1 / rate, np.arange(frames))


def seen_in(pixels: np.ndarray, noise: float = 1.0, seed: int = 0) -> tuple[PersonTrack, PoseTrack]:
    """What one view tells of (T, 33, 2) pixels; of depth it knows nothing."""
    count = len(pixels)
    pixels = pixels + noise * np.random.default_rng(seed).standard_normal(pixels.shape)
    landmarks = np.concatenate([pixels, np.zeros((count, 33, 1)), np.ones((count, 33, 1))], -1).astype(np.float32)
    flat = np.concatenate([pixels - pixels[:, [23, 24]].mean(1, keepdims=True), np.zeros((count, 33, 1))], -1) / 400
    boxes = np.concatenate([pixels.min(1), pixels.max(1)], 1).astype(np.float32)
    masks = np.zeros((count, SIZE[1], SIZE[0] // 8), np.uint8)
    state = np.full(count, "detected")
    track = PersonTrack(boxes, np.ones(count, np.float32), landmarks, flat.astype(np.float32), state, masks, SIZE[0])
    weight = np.ones((count, 33), np.float32)
    pose = PoseTrack(landmarks[..., :3].copy(), flat.astype(np.float32), weight, np.ones(count, bool))
    return track, pose


@pytest.fixture
def take(tmp_path) -> tuple[MeshShot, np.ndarray]:
    """Three calibrated views of the walker, and where it really is."""
    world = walker()
    run = RunFolder.create(tmp_path, kind="mesh", source=Path("cam01.mp4"), settings={})
    settings = MeshSettings(fit="quick")
    found = []
    for index, camera in enumerate(ring(3)):
        folder = ViewFolder(run, index, camera.name)
        survey = Survey(info_of(f"{camera.name}.mp4"), settings, folder, Progress())
        survey.track, survey.pose = seen_in(camera.project(world), seed=index)
        found.append(View(camera, survey, folder.folder))
    shot = MeshShot(info_of("cam01.mp4"), settings, run, Progress(), model=AnnyBody(), views=tuple(found))
    shot.track, shot.pose = found[0].survey.track, found[0].survey.pose
    still = np.tile(np.eye(3), (FRAMES, 1, 1))
    shot.camera = CameraPath(still[1:], still, np.ones(FRAMES - 1, np.float32))
    return shot, world


def fitted(shot: MeshShot) -> BodyParams:
    stages.triangulate(shot)
    stages.contacts(shot)
    stages.body(shot)
    assert shot.body is not None
    return shot.body


def test_views_give_the_bodys_true_size_and_place(take) -> None:
    shot, world = take
    body = fitted(shot)
    assert body.valid.all()
    assert body.scale == pytest.approx(TALL, rel=0.06), "one view could not have told"
    truth = shot.views[0].camera.to_camera(world)
    error = np.linalg.norm(body.keypoints - truth, axis=-1)[:, SCORED]
    assert error.mean() < 0.035, f"{1000 * error.mean():.0f} mm"
    # The stored landmarks are those of the body as it is drawn and exported.
    posed = landmark_positions(shot.rest, params_transforms(shot.rest, body))
    assert np.abs(posed - body.keypoints).max() < 2e-3
    errors = views.clip_errors(shot, body.keypoints)
    assert list(errors) == ["cam01", "cam02", "cam03"]
    assert max(errors.values()) < 15


def test_a_view_that_lost_the_person_does_not_stop_the_others(take) -> None:
    shot, world = take
    lost = shot.views[1].survey
    assert lost.pose is not None
    weight = lost.pose.weight.copy()
    weight[10:25] = 0
    landmarks = lost.pose.landmarks.copy()
    landmarks[10:25] = 50.0
    lost.pose = replace(lost.pose, landmarks=landmarks, weight=weight)
    body = fitted(shot)
    truth = shot.views[0].camera.to_camera(world)
    error = np.linalg.norm(body.keypoints - truth, axis=-1)[10:25][:, SCORED]
    assert error.mean() < 0.05


def test_frames_that_not_all_views_cover_hold_no_body(take) -> None:
    shot, _ = take
    short = shot.views[2].survey
    assert short.pose is not None
    keep = slice(0, 30)
    short.info = info_of("cam03.mp4", 30)
    pose = short.pose
    short.pose = PoseTrack(pose.landmarks[keep], pose.world[keep], pose.weight[keep], pose.present[keep])
    body = fitted(shot)
    assert body.valid[:30].all() and not body.valid[30:].any()
    assert any("left out" in text and "cam01.mp4 10" in text for text in shot.run.record["warnings"])


def test_views_of_other_rates_keep_the_pace_of_the_slowest(take) -> None:
    shot, world = take
    fast = shot.views[1].survey
    camera = shot.views[1].camera
    twice = np.stack(
        [np.interp(np.arange(2 * FRAMES - 1) / 2, np.arange(FRAMES), w) for w in world.reshape(FRAMES, -1).T]
    )
    fast.track, fast.pose = seen_in(camera.project(twice.T.reshape(-1, 33, 3)))
    fast.info = info_of("cam02.mp4", 2 * FRAMES - 1, 2 * RATE)
    body = fitted(shot)
    assert len(body) == FRAMES and body.valid.all()
    assert any("different frame rates" in text for text in shot.run.record["warnings"])


def test_clips_that_begin_at_different_moments_are_brought_together(take) -> None:
    shot, world = take
    late = shot.views[1]
    late.survey.track, late.survey.pose = seen_in(late.camera.project(world[4:]))
    late.survey.info = info_of("cam02.mp4", FRAMES - 4)
    shot.settings = shot.settings.model_copy(update={"find_offsets": True})
    body = fitted(shot)
    offsets = shot.run.load_arrays("points.npz")["offsets"]
    assert offsets == pytest.approx([0, 4 / 30, 0], abs=0.01)
    assert not body.valid[:4].any() and body.valid[5:].all()
    truth = shot.views[0].camera.to_camera(world)
    error = np.linalg.norm(body.keypoints - truth, axis=-1)[5:][:, SCORED]
    assert error.mean() < 0.035


def test_views_that_agree_on_nothing_are_refused(take) -> None:
    shot, _ = take
    for view, shift in zip(shot.views, (0, 400, -400), strict=True):
        assert view.survey.pose is not None
        pose = view.survey.pose
        view.survey.pose = replace(pose, landmarks=pose.landmarks + np.array([0, shift, 0], np.float32))
    with pytest.raises(InputError, match="agree on no point"):
        stages.triangulate(shot)


def test_a_view_that_follows_somebody_else_is_named(take) -> None:
    shot, world = take
    other = shot.views[2]
    passer_by = world[::-1] + np.array([0.9, 0.6, 0.0])
    other.survey.track, other.survey.pose = seen_in(other.camera.project(passer_by))
    stages.triangulate(shot)
    assert any("The view cam03 agrees with the others on" in text for text in shot.run.record["warnings"])


# -- what is refused -----------------------------------------------------------------------------------------------


def test_several_clips_need_a_calibration(tmp_path) -> None:
    two = [clips.plain(tmp_path, name=name, frames=n) for name, n in (("cam01.mp4", 20), ("cam02.mp4", 21))]
    with pytest.raises(InputError, match="--calibration"):
        mesh_clips(two, MeshSettings(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_without_a_row_in_the_calibration_is_named(tmp_path) -> None:
    two = [clips.plain(tmp_path, name=name, frames=n) for name, n in (("left.mp4", 20), ("middle.mp4", 21))]
    rows = "\n".join(
        f'[{n}]\nname = "{n}"\nsize = [96.0, 64.0]\nmatrix = [[90.0, 0.0, 48.0], [0.0, 90.0, 32.0], [0.0, 0.0, 1.0]]\n'
        f"distortions = [0.0, 0.0, 0.0, 0.0]\nrotation = [0.0, 0.0, 0.0]\ntranslation = [{x}, 0.0, 4.0]\n"
        for n, x in (("left", 0.0), ("right", 1.0))
    )
    file = tmp_path / "calibration.toml"
    file.write_text(rows)
    with pytest.raises(InputError, match=r"no camera for the clip middle\.mp4"):
        mesh_clips(two, MeshSettings(calibration=file), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [({"formats": "glb,fbx"}, "no export format 'fbx'"), ({"calibration": "nothing.toml"}, "there is one")],
)
def test_settings_that_make_no_sense_leave_nothing(tmp_path, change, what) -> None:
    clip = clips.plain(tmp_path)
    with pytest.raises(SettingError, match=what):
        mesh_clips([clip], MeshSettings(**change), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_licensed_body_that_is_not_there_is_told_before_the_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(ModelUnavailable, match="smplx"):
        mesh_clips([clips.plain(tmp_path)], MeshSettings(body="smplx"), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lists_of_names_are_settings_as_text() -> None:
    assert make_settings(MeshSettings, {"formats": ["glb", "obj", "glb"]}).formats == "glb,obj"
    assert make_settings(MeshSettings, {"videos": ""}).videos == ""
    with pytest.raises(SettingError, match="no video 'portrait'"):
        make_settings(MeshSettings, {"videos": "overlay,portrait"})


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_a_mesh(name) -> None:
    settings = make_settings(MeshSettings, load_preset(name, "mesh"))
    assert settings.videos and settings.formats


def test_every_setting_has_a_place_and_an_explanation() -> None:
    for field in form_fields(MeshSettings):
        assert field.group in GROUPS
        assert field.help.endswith(".")


# -- figures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def evidence() -> Evidence:
    """A body that lies on the person, in one view."""
    camera = ring(1, lens=np.zeros(5))[0]
    points = camera.to_camera(walker()).astype(np.float32)
    pixels = points @ camera.K.T
    track, pose = seen_in(pixels[..., :2] / pixels[..., 2:], noise=0.0)
    body = BodyParams(
        "anny", {}, JOINT_NAMES, np.zeros((FRAMES, len(JOINT_NAMES), 3)), points[:, 0], camera.K, points, track.present
    )
    still = np.tile(np.eye(3), (FRAMES, 1, 1))
    path = CameraPath(still[1:], still, np.ones(FRAMES - 1, np.float32))
    contacts = FootContacts(np.ones((FRAMES, 2), bool), np.zeros((FRAMES, 2), np.float32))
    return Evidence(track, pose, body, path, contacts, float(RATE), points.astype(float))


def test_figures_of_a_body_that_lies_on_the_person(evidence) -> None:
    figures, series = measure(evidence)
    assert figures["frames"]["coverage"] == 1.0
    assert figures["converged"] == 1.0
    assert figures["reprojection"]["median_px"] == pytest.approx(0, abs=0.01)
    assert figures["outliers"]["frames"] == []
    assert figures["jitter"]["reduction"] == pytest.approx(0, abs=1e-3)
    assert figures["limb_lengths_m"]["left thigh"]["read_spread"] < 5e-3
    assert warnings_of(figures, evidence) == []
    assert all(len(values) == FRAMES for lines in series.values() for values in lines.values())


def test_jitter_is_the_mean_acceleration_in_millimetres() -> None:
    points = np.zeros((6, 33, 3))
    points[:, SCORED[0]] = [0, 0, 1]
    points[3, SCORED[0], 0] = 0.012
    here = np.ones(6, bool)
    shaken = jitter(points, here)
    # One limb of twelve: half as much at the neighbours as at the frame itself.
    assert shaken[[2, 3, 4]] == pytest.approx([1.0, 2.0, 1.0])
    assert np.isnan(shaken[[0, 5]]).all()
    here[4] = False
    assert np.isnan(jitter(points, here)[3:]).all()


def test_mended_frames_are_listed_with_what_was_wrong(evidence) -> None:
    wrist = LANDMARK_NAMES.index("left_wrist")
    evidence.pose.weight[7, wrist] = 0
    read = evidence.track.landmarks
    knees = [LANDMARK_NAMES.index("left_knee"), LANDMARK_NAMES.index("right_knee")]
    apart = np.linalg.norm(read[:, knees[0], :2] - read[:, knees[1], :2], axis=-1)
    frame = int(apart.argmax())
    read[frame, knees] = read[frame, knees[::-1]].copy()
    frames = {entry["frame"]: entry for entry in mended(evidence)}
    assert frames[7]["replaced"] == ["left_wrist"]
    assert "knee" in frames[frame]["exchanged"]
    assert set(frames) == {7, frame}


def test_a_cut_is_told_and_a_lost_camera_alone_is_not(evidence) -> None:
    evidence.camera.inliers[[9, 24]] = 0
    evidence.track.landmarks[25:, :, 0] += 300
    assert cuts(evidence) == [25]
    figures, _ = measure(evidence)
    assert any("before frame 25" in text for text in warnings_of(figures, evidence))
    assert "Cut the clip into single shots." in advice(figures, evidence)


def test_half_a_person_and_one_upside_down_are_told(evidence) -> None:
    legs = [k for k, name in enumerate(LANDMARK_NAMES) if "knee" in name or "ankle" in name]
    evidence.pose.weight[:, legs] = 0.1
    evidence.pose.landmarks[..., 1] = SIZE[1] - evidence.pose.landmarks[..., 1]
    assert upside_down(evidence) == 1.0
    figures, _ = measure(evidence)
    texts = warnings_of(figures, evidence)
    assert any("Hardly seen: left leg, right leg" in text for text in texts)
    assert any("upside down" in text for text in texts)
    assert any("do not lie" in text or "does not lie on the person" in text for text in texts)
    assert any("whole person" in text for text in advice(figures, evidence))


class _Balanced(HTMLParser):
    """Counts open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def handle_starttag(self, tag, attrs) -> None:
        self.depth += tag not in ("meta", "img", "rect", "line")

    def handle_endtag(self, tag) -> None:
        self.depth -= tag not in ("meta", "img", "rect", "line")


def test_the_page_shows_figures_plots_and_advice(evidence) -> None:
    evidence.pose.weight[7, SCORED] = 0
    figures, series = measure(evidence)
    figures["advice"] = ["Film closer <please>."]
    figures["lens"] = {"focal_px": 864.0, "from": "usual"}
    figures["size"] = {"height_m": 1.695, "from": "landmarks"}
    record = {
        "id": "20260101-000000-clip-abcd", "fps": "30", "warnings": ["One <b>."], "stages": {"detect": 1.25},
        "settings": {"body": "anny"}, "sources": [{"path": "/clips/my <clip>.mp4"}],
    }  # fmt: skip
    text = render_page(record, figures, series)
    for wanted in (
        "my &lt;clip&gt;.mp4",
        "One &lt;b&gt;.",
        "Film closer &lt;please&gt;.",
        "frame 7",
        "left thigh",
        "1.695 m",
    ):
        assert wanted in text
    assert text.count("<path") == sum(len(lines) for lines in series.values())
    assert "http://" not in text and "https://" not in text
    parser = _Balanced()
    parser.feed(text)
    assert parser.depth == 0


# -- size, lens, cuts ----------------------------------------------------------------------------------------------


def test_what_the_reference_view_does_not_see_the_others_tell(take) -> None:
    shot, world = take
    reference = shot.views[0].survey
    assert reference.pose is not None and reference.track is not None
    gone = slice(10, 25)
    for array in (reference.pose.landmarks, reference.pose.world):
        array[gone] = np.nan
    reference.pose.weight[gone] = 0.0
    reference.pose.present[gone] = False
    reference.track.state[gone] = "absent"
    # A hand that nobody sees on top of it has no place of its own there.
    for view in shot.views[1:]:
        assert view.survey.pose is not None
        view.survey.pose.weight[gone, LANDMARK_NAMES.index("left_thumb")] = 0.0
    shot.settings = shot.settings.model_copy(update={"max_gap": 3})
    body = fitted(shot)
    assert body.valid.all()
    truth = shot.views[0].camera.to_camera(world)
    error = np.linalg.norm(body.keypoints - truth, axis=-1)[gone][:, SCORED]
    assert error.mean() < 0.05, f"{1000 * error.mean():.0f} mm"
    figures, _ = measure(
        Evidence(shot.track, shot.pose, body, shot.camera, shot.contacts, float(RATE), shot.space.points)
    )
    assert figures["frames"]["coverage"] == 1.0
    assert figures["frames"]["absent"] == []


def test_frames_that_too_few_views_see_hold_no_body_and_are_named(take) -> None:
    shot, _ = take
    for view in shot.views:
        pose = view.survey.pose
        assert pose is not None
        pose.weight[20:32] = 0.0
        pose.landmarks[20:32], pose.world[20:32], pose.present[20:32] = np.nan, np.nan, False
    shot.settings = shot.settings.model_copy(update={"max_gap": 3})
    body = fitted(shot)
    assert not body.valid[20:32].any() and body.valid[:20].all() and body.valid[32:].all()
    assert any("Too few views see the person in frames 20-31" in text for text in shot.run.record["warnings"])


def one_view(tmp_path: Path, **settings: object) -> MeshShot:
    """The walker as a single view, whose landmarks in space are those of somebody smaller than the model's body."""
    points = ring(1, lens=np.zeros(5))[0].to_camera(walker()).astype(np.float32)
    K = ring(1, lens=np.zeros(5))[0].K
    run = RunFolder.create(tmp_path, kind="mesh", source=Path("clip.mp4"), settings={})
    shot = MeshShot(info_of("clip.mp4"), MeshSettings(fit="quick", **settings), run, Progress(), model=AnnyBody())
    pixels = points @ K.T
    shot.track, shot.pose = seen_in(pixels[..., :2] / pixels[..., 2:])
    local = 0.8 / TALL * (points - points[:, [23, 24]].mean(1, keepdims=True))
    shot.pose = replace(shot.pose, world=local)
    still = np.tile(np.eye(3), (FRAMES, 1, 1))
    shot.camera = CameraPath(still[1:], still, np.ones(FRAMES - 1, np.float32))
    shot.K = K
    return shot


def test_one_view_has_the_size_of_the_landmarks_or_the_height_that_is_told(tmp_path) -> None:
    model = AnnyBody().rest({})
    for folder, settings, height in (("seen", {}, 0.8 * model.height), ("told", {"height": 1.5}, 1.5)):
        shot = one_view(tmp_path / folder, **settings)
        stages.contacts(shot)
        stages.body(shot)
        assert shot.body is not None and shot.pose is not None
        assert height_of(shot.rest, shot.body) == pytest.approx(height, rel=0.03)
        pixels = shot.body.keypoints @ shot.body.intrinsics.T
        away = np.linalg.norm(pixels[..., :2] / pixels[..., 2:] - shot.pose.landmarks[..., :2], axis=-1)[:, SCORED]
        assert np.median(away) < 5, "pixels"
    assert not shot.run.file("fit").exists()


@pytest.mark.parametrize(
    ("settings", "told", "source", "focal"),
    [
        ({"focal_length": 700.0}, 26.0, "setting", 700.0),
        ({}, 26.0, "metadata", 26.0 / 43.2666 * np.hypot(*SIZE)),
        ({}, None, "usual", 0.9 * SIZE[0]),
    ],
)
def test_the_lens_is_told_or_usual_and_says_which(tmp_path, settings, told, source, focal) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w", options={"movflags": "use_metadata_tags"}) as container:
        if told is not None:
            container.metadata["com.apple.quicktime.camera.focal_length.35mm_equivalent"] = str(told)
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    shot = one_view(tmp_path, **settings)
    shot.info = replace(shot.info, path=clip)
    find_lens(shot)
    assert shot.K is not None
    assert shot.K[0, 0] == shot.K[1, 1] == pytest.approx(focal, rel=1e-3)
    assert described(shot)["from"] == source
    again = one_view(tmp_path / "again")
    again.run = shot.run
    find_lens(again)
    assert again.K is not None and again.K[0, 0] == shot.K[0, 0], "a resumed run keeps the lens that it began with"


def test_figures_do_not_reach_over_a_cut(evidence) -> None:
    moved = evidence.body.keypoints.copy()
    moved[20:] += np.array([0.5, 0, 0], np.float32)
    moved[20:, 15] += np.array([0, 0.3, 0], np.float32)
    body = replace(evidence.body, keypoints=moved)
    whole, _ = measure(replace(evidence, body=body))
    apart, _ = measure(replace(evidence, body=body, cuts=(20,)))
    assert whole["jitter"]["after_mm"] > 1.05 * apart["jitter"]["after_mm"]
    assert whole["foot_slide"]["mm_per_frame"] > 1.5 * apart["foot_slide"]["mm_per_frame"]
    assert apart["frames"]["cuts"] == [20] and apart["frames"]["suspected_cuts"] == []


def test_a_clip_with_a_cut_is_followed_shot_by_shot(demo_clip, tmp_path) -> None:
    info = probe(demo_clip)
    with VideoReader(info) as reader:
        frames = list(reader.frames(0, 24))
        # Another shot of the same person, from the other side.
        later = [rgb[:, ::-1] for rgb in reader.frames(80, 104)]
    clip = tmp_path / "cut.mp4"
    with VideoWriter(clip, info.size, info.rate) as video:
        for rgb in [*frames, *later]:
            video.write(np.ascontiguousarray(rgb))
    settings = MeshSettings(detector_complexity=0, fit="quick", videos="", formats="json")
    folder = mesh_clips([clip], settings, output=tmp_path / "out")
    record = RunFolder.open(folder).record
    assert any("cut before frame 24" in text for text in record["warnings"])
    assert not any("smoothed across" in text for text in record["warnings"])
    figures = json.loads((folder / "quality.json").read_text())
    assert figures["frames"]["cuts"] == [24]
    assert figures["frames"]["coverage"] == 1.0 and figures["converged"] == 1.0
    shape = np.load(folder / "body.npz")["shape_values"]
    assert shape.ndim == 1, "one shape for both shots"


def test_a_body_of_the_smpl_family_has_its_own_shape_parameters_alone(tmp_path) -> None:
    shot = one_view(tmp_path)
    shot.model = SmplxBody(write_npz(tmp_path / "model"))
    stages.contacts(shot)
    stages.body(shot)
    assert shot.body is not None
    assert not any(name.startswith("scale_") for name in shot.body.shape), "no other tool knows these"
    assert max(abs(value) for value in shot.body.shape.values()) > 0.2
    assert height_of(shot.rest, shot.body) == pytest.approx(0.8 * AnnyBody().rest({}).height, rel=0.08)


def test_a_view_in_which_the_body_lies_elsewhere_is_named(evidence) -> None:
    figures, _ = measure(evidence)
    height = evidence.track.height_px
    figures["reprojection"]["views"] = {"left": 0.01 * height, "right": 0.05 * height, "back": None}
    (text,) = warnings_of(figures, evidence)
    assert text.startswith("In the view right the body lies")


def test_a_body_that_turns_round_at_once_is_told(evidence) -> None:
    assert measure(evidence)[0]["frames"]["flips"] == []
    other = [
        LANDMARK_NAMES.index(name.replace("left", "RIGHT").replace("right", "left").lower()) for name in LANDMARK_NAMES
    ]
    turned = evidence.body.keypoints.copy()
    turned[20:] = turned[20:, other]
    wrong = replace(evidence, body=replace(evidence.body, keypoints=turned))
    figures, _ = measure(wrong)
    assert len(figures["frames"]["flips"]) == 1
    assert abs(figures["frames"]["flips"][0] - 20) <= 2
    assert any("left and right were read the wrong way" in text for text in warnings_of(figures, wrong))
    assert measure(replace(wrong, cuts=(20,)))[0]["frames"]["flips"] == [], "another shot may show the other side"


def test_a_cancelled_fit_of_a_long_clip_goes_on_from_its_last_window(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fit_windows, "WINDOW", 20)
    monkeypatch.setattr(fit_windows, "OVERLAP", 6)

    class Stops(Progress):
        def report(self, stage: str, stage_fraction: float, detail: str = "", *, force: bool = False) -> None:
            super().report(stage, stage_fraction, detail, force=force)
            if stage_fraction > 0.3:
                raise Cancelled("The run was cancelled.")

    shot = one_view(tmp_path / "cancelled")
    stages.contacts(shot)
    shot.progress = Stops()
    with pytest.raises(Cancelled):
        stages.body(shot)
    kept = {file.name: file.stat().st_mtime_ns for file in shot.run.file("fit").iterdir()}
    assert set(kept) == {"proportions.npz", "0000000.npz"} and not shot.run.has("body.npz")
    shot.progress = Progress()
    stages.body(shot)
    assert not shot.run.file("fit").exists()
    whole = one_view(tmp_path / "whole")
    stages.contacts(whole)
    stages.body(whole)
    assert shot.body is not None and whole.body is not None
    np.testing.assert_array_equal(shot.body.keypoints, whole.body.keypoints)
