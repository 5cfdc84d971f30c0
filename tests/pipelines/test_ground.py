"""The ground of a clip whose sun, shadows and shutter are known: a body that walks over a textured field."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.known_walk import WALKER, walk_of
from core.masks import MaskArchive
from core.progress import Progress
from core.runs import RunFolder
from core.settings import ReplaceSettings
from core.types import BodyParams, CameraPath, PersonTrack, PoseTrack, ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, bone_transforms
from models.body.base import JOINT_NAMES
from models.body.cast_shadow import direction_of, ground_points, soft_matte
from models.body.embree import RayScene, project, rasterize
from pipelines.replace.engine import make_engine
from pipelines.replace.ground import Ground, observe, without_old_shadow
from pipelines.replace.shot import Shot
from utils.photometry import linear_from_srgb, srgb_from_linear
from utils.video_probe import probe
from utils.video_writer import VideoWriter

SIZE, FRAMES, RATE = (480, 270), 45, Fraction(30)
SUN, SHARE = direction_of(130.0, 32.0), 0.5


def field(size: tuple[int, int]) -> np.ndarray:
    """Linear light of an uneven field under a bright wall."""
    noise = np.random.default_rng(2).normal(0, 1, (size[1], size[0], 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 1.2)
    scene = 0.22 + 0.03 * soft / soft.std()
    scene[: size[1] // 2] += 0.25
    return np.clip(scene, 0.02, 1.0).astype(np.float32)


class Scene:
    """A clip in ``folder``, and the truth."""

    def __init__(self, folder: Path, sunny: bool, pan: int = 0) -> None:
        rest = AnnyBody().rest(WALKER)
        walk = walk_of(rest, SIZE, FRAMES, RATE)
        self.K = walk.intrinsics
        skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
        transforms = bone_transforms(rest, walk.rotations, walk.translation)
        surfaces = [skin(one) for one in transforms]
        ground = float(np.median([v[:, 1].max() for v in surfaces]))
        world = field((SIZE[0] + abs(pan) * FRAMES, SIZE[1]))
        masks = MaskArchive(SIZE[1], SIZE[0])
        rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
        points = ground_points(self.K, np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32), ground)
        self.clean, self.matte, self.source = [], [], []
        scene = RayScene(surfaces[0], rest.faces)
        file = folder / "clip.mp4"
        with VideoWriter(file, SIZE, RATE, crf=6) as writer:
            for t, vertices in enumerate(surfaces):
                scene.move(vertices)
                person = rasterize(scene, self.K, np.eye(3), SIZE).hit
                matte = soft_matte(scene, points, SUN, 0.01).reshape(SIZE[::-1]) * sunny
                # The camera turns against the person's way: the world moves to the right by ``pan`` pixels a frame.
                left = pan * (FRAMES - t)
                light = world[:, left : left + SIZE[0]].copy()
                self.clean.append(srgb_from_linear(light))
                light *= 1.0 - SHARE * matte[..., None]
                light[person] = (0.05, 0.08, 0.20)
                grain = np.random.default_rng(t).normal(0, 1.0, light.shape)
                rgb = np.clip(srgb_from_linear(light) + grain, 0, 255).astype(np.uint8)
                writer.write(rgb)
                masks.append(person)
                self.matte.append(matte)
                self.source.append(rgb)
        self.shot = self._shot(folder, file, walk, rest, masks, pan)

    def _shot(self, folder, file, walk, rest, masks, pan) -> Shot:
        settings = ReplaceSettings()
        run = RunFolder.create(folder / "runs", kind="replace", source=file, settings={})
        landmarks = np.zeros((FRAMES, 33, 4), np.float32)
        pixels = np.stack([project(self.K, np.eye(3), one) for one in walk.landmarks])
        landmarks[..., :2], landmarks[..., 3] = pixels, 1.0
        boxes = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1).astype(np.float32)
        state = np.full(FRAMES, "detected")
        shot = Shot(probe(file), settings, run, Progress(), engine=make_engine(settings))
        shot.track = PersonTrack(
            boxes, np.ones(FRAMES, np.float32), landmarks, walk.landmarks.astype(np.float32), state, masks, SIZE[0]
        )
        H = np.tile(np.eye(3), (FRAMES - 1, 1, 1))
        H[:, 0, 2] = pan
        shot.camera = CameraPath(H, np.tile(np.eye(3), (FRAMES, 1, 1)), np.ones(FRAMES - 1, np.float32))
        shot.pose = PoseTrack(
            landmarks[..., :3].copy(), walk.landmarks.astype(np.float32), np.ones((FRAMES, 33), np.float32), state != ""
        )
        shot.body = BodyParams(
            "anny", dict(rest.shape), JOINT_NAMES, walk.rotations.astype(np.float32),
            walk.translation.astype(np.float32), self.K, walk.landmarks.astype(np.float32), np.ones(FRAMES, bool),
        )  # fmt: skip
        return shot


@pytest.fixture(scope="module", params=[0, 2], ids=["still", "panning"])
def sunny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("sunny"), True, request.param)


def look(direction: np.ndarray) -> ShotLook:
    plain = np.full(3, 0.5, np.float32)
    dark = np.zeros(3, np.float32)
    return ShotLook(-direction, plain, plain, plain, dark, 0.8, 0.3, 0.0, 0.5, cast=SHARE, cast_direction=direction)


def test_the_sun_is_found_in_the_footage(sunny: Scene) -> None:
    observed = observe(sunny.shot)
    sun, shutter = observed.sun, observed.shutter
    assert sun is not None and sunny.shot.ground is not None
    assert np.degrees(np.arccos(np.clip(sun.direction @ SUN, -1, 1))) < 15
    # Every frame is a moment: nothing is smeared.
    assert shutter is None or shutter < 0.15


def test_the_old_shadow_goes_and_nothing_else_changes(sunny: Scene) -> None:
    ground = Ground(sunny.shot)
    ground.hide_shadows(SUN)
    before, after, touched = [], [], []
    for t in (10, 22, 34):
        source, matte = sunny.source[t], sunny.matte[t]
        person = sunny.shot.found[0].mask(t)
        found = ground.frame(t, source, look(SUN))
        assert found is not None
        gain = without_old_shadow(np.ones(SIZE[::-1], np.float32), (0, 0, *SIZE), found, np.zeros(SIZE[::-1], bool))
        assert gain.min() >= 1
        beside = (matte > 0.9) & (cv2.dilate(person.astype(np.uint8), np.ones((13, 13))) == 0)
        linear, clean = linear_from_srgb(source), linear_from_srgb(sunny.clean[t])
        before.append(1 - (linear[beside] / clean[beside]).mean())
        after.append(1 - (linear[beside] * gain[beside][:, None] / clean[beside]).mean())
        away = cv2.dilate((matte > 0.02).astype(np.uint8), np.ones((41, 41))) == 0
        touched.append(float(np.abs(gain[away] - 1).max()))
        # The share of the sun is known where the shadow falls.
        x0, y0, x1, y1 = found.box
        share = np.zeros(SIZE[::-1], np.float32)
        share[y0:y1, x0:x1] = found.sunlit[: SIZE[1] - y0, : SIZE[0] - x0]
        assert np.median(share[beside]) == pytest.approx(SHARE, abs=0.12)
    assert np.mean(before) == pytest.approx(SHARE, abs=0.06)
    # The shadow of a leg is four pixels wide here: its edges are smoothed over, its middle goes.
    assert abs(np.mean(after)) < 0.18
    assert max(touched) == 0


def test_the_plate_keeps_its_light(sunny: Scene) -> None:
    """Where the plate is shown there is no old shadow to take off."""
    found = Ground(sunny.shot).frame(22, sunny.source[22], look(SUN))
    assert found is not None
    box, nothing = (100, 40, 500, 270), np.zeros(SIZE[::-1], bool)
    everywhere = without_old_shadow(np.ones((230, 400), np.float32), box, found, nothing)
    assert everywhere.shape == (230, 400) and everywhere.max() > 1.5
    middle = int(np.median(np.nonzero(everywhere > 1.2)[1]))
    removal = nothing.copy()
    removal[:, box[0] + middle :] = True
    half = without_old_shadow(np.ones((230, 400), np.float32), box, found, removal)
    assert (half[:, middle:] == 1).all()
    np.testing.assert_array_equal(half[:, :middle], everywhere[:, :middle])
    shaded = without_old_shadow(np.full((230, 400), 0.5, np.float32), box, found, removal)
    np.testing.assert_allclose(shaded, 0.5 * half)


def test_a_grey_day_has_no_sun(tmp_path: Path) -> None:
    grey = Scene(tmp_path, False)
    assert observe(grey.shot).sun is None and grey.shot.ground is None


def test_frames_without_a_body_have_no_shadow(sunny: Scene) -> None:
    shot = replace(sunny.shot, ground=None)
    assert shot.body is not None
    valid = np.ones(FRAMES, bool)
    valid[5] = False
    shot.body = replace(shot.body, valid=valid)
    assert Ground(shot).frame(5, sunny.source[5], look(SUN)) is None
