"""The mesh pipeline's own decisions: points in space become a body of the right size, figures say what is true, and what
cannot be done is said before anything is written."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError, ModelUnavailable, SettingError
from core.presets import load_preset, preset_names
from core.progress import Progress
from core.runs import RunFolder
from core.settings import GROUPS, MeshSettings, make_settings
from core.settings_form import form_fields
from core.types import LANDMARK_NAMES, BodyParams, CameraPath, FootContacts, PersonTrack, PoseTrack, VideoInfo
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, landmark_positions, params_transforms
from models.body.base import JOINT_NAMES
from models.body.pose_init import limbs_of
from pipelines.mesh import stages, views
from pipelines.mesh.measures import Evidence, cuts, jitter, mended, upside_down
from pipelines.mesh.processor import mesh_clips
from pipelines.mesh.quality import advice, measure, warnings_of
from pipelines.mesh.quality_page import render_page
from pipelines.mesh.shot import MeshShot, View, ViewFolder
from pipelines.survey.findings import Survey
from tests import clips
from tests.utils.camera_rig import SIZE, ring

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
    two = [clips.plain(tmp_path, name=name) for name in ("cam01.mp4", "cam02.mp4")]
    with pytest.raises(InputError, match="--calibration"):
        mesh_clips(two, MeshSettings(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_without_a_row_in_the_calibration_is_named(tmp_path) -> None:
    two = [clips.plain(tmp_path, name=name) for name in ("left.mp4", "middle.mp4")]
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
    record = {
        "id": "20260101-000000-clip-abcd", "fps": "30", "warnings": ["One <b>."], "stages": {"detect": 1.25},
        "settings": {"body": "anny"}, "sources": [{"path": "/clips/my <clip>.mp4"}],
    }  # fmt: skip
    text = render_page(record, figures, series)
    for wanted in ("my &lt;clip&gt;.mp4", "One &lt;b&gt;.", "Film closer &lt;please&gt;.", "frame 7", "left thigh"):
        assert wanted in text
    assert text.count("<path") == sum(len(lines) for lines in series.values())
    assert "http://" not in text and "https://" not in text
    parser = _Balanced()
    parser.feed(text)
    assert parser.depth == 0
