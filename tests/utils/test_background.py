"""The plate of made-up shots whose empty scene is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import pytest

from core.types import CameraPath, PersonTrack
from utils import transforms
from utils.aligned_median import stack_statistics
from utils.background import PlateBuilder, PlateFrame, plate_frames
from utils.removal_mask import grow_by_residual
from utils.scene_light import membrane, seam_difference

SIZE = (240, 160)
PERSON = (24, 60)


def scene_picture(seed: int = 0, size: tuple[int, int] = (400, 240)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), np.float32)
    for cell in (5, 16, 50):
        coarse = rng.uniform(20, 230, (size[1] // cell + 2, size[0] // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(total / 3, 0, 255).astype(np.uint8)


@dataclass
class Shot:
    frames: list[np.ndarray]
    empty: list[np.ndarray]
    track: PersonTrack
    camera: CameraPath

    def plates(self, **settings: object) -> list[PlateFrame]:
        builder = PlateBuilder(SIZE, self.camera, self.track, **settings)  # type: ignore[arg-type]
        grid = ((int(i), self.frames[i]) for i in builder.grid)
        return list(plate_frames(enumerate(self.frames), grid, builder))


def make_shot(
    count: int = 40, walk: float = 4.0, pan: float = 0.0, absent: tuple[int, ...] = (), gain: float = 0.0, halo: int = 0
) -> Shot:
    """A red square walks over a textured scene; ``halo`` pixels of it are missing in the mask."""
    scene = scene_picture()
    frames, empty, masks, boxes, H = [], [], [], [], []
    for t in range(count):
        H.append(transforms.translation(-60 - pan * t, -40))
        back = transforms.warp(scene, H[-1], SIZE, cv2.INTER_CUBIC, cv2.BORDER_REFLECT)
        back = np.clip(back * (1 + gain * np.sin(t / 6)), 0, 255).astype(np.uint8)
        left, top = round(20 + walk * t), 70
        mask, frame = np.zeros((SIZE[1], SIZE[0]), bool), back.copy()
        if t not in absent:
            frame[top : top + PERSON[1], left : left + PERSON[0]] = (220, 20, 30)
            mask[top + halo : top + PERSON[1] - halo, left + halo : left + PERSON[0] - halo] = True
        found = mask.any()
        boxes.append([left, top, left + PERSON[0], top + PERSON[1]] if found else [np.nan] * 4)
        frames.append(frame)
        empty.append(back)
        masks.append(np.packbits(mask, axis=-1))
    state = np.where(np.isfinite(np.array(boxes)[:, 0]), "detected", "absent")
    track = PersonTrack(
        np.array(boxes, np.float32),
        np.ones(count, np.float32),
        np.zeros((count, 33, 4), np.float32),
        np.zeros((count, 33, 3), np.float32),
        state,
        np.stack(masks),
        SIZE[0],
    )
    steps = [transforms.compose(b, transforms.invert(a)) for a, b in pairwise(H)]
    camera = CameraPath(np.array(steps).reshape(-1, 3, 3), np.stack([np.eye(3)] * count), np.ones(len(steps)))
    return Shot(frames, empty, track, camera)


def psnr(plates: list[PlateFrame], shot: Shot) -> float:
    """Against the empty scene, over the replaced pixels."""
    errors = [
        np.square(plate.rgb[plate.removed].astype(float) - shot.empty[plate.index][plate.removed])
        for plate in plates
        if plate.removed.any()
    ]
    return float(10 * np.log10(255**2 / max(np.concatenate(errors).mean(), 1e-9)))


def test_the_plate_of_a_static_shot_is_the_scene() -> None:
    shot = make_shot()
    plates = shot.plates()
    assert [plate.index for plate in plates] == list(range(40))
    assert psnr(plates, shot) > 45
    assert min(plate.seen for plate in plates) > 0.99


def test_nothing_changes_outside_the_replaced_pixels() -> None:
    shot = make_shot(pan=1.3)
    for plate in shot.plates():
        np.testing.assert_array_equal(plate.rgb[~plate.removed], shot.frames[plate.index][~plate.removed])
        person = shot.track.mask(plate.index)
        assert plate.removed[person].all()


def test_a_panning_camera_is_followed_to_fractions_of_a_pixel() -> None:
    shot = make_shot(walk=2.5, pan=1.3)
    assert psnr(shot.plates(), shot) > 34


def test_long_shots_go_window_by_window_and_look_only_so_far() -> None:
    shot = make_shot(count=50, walk=3.5)
    builder = PlateBuilder(SIZE, shot.camera, shot.track, window=16, fade=4, reach=20)
    assert [window.start for window in builder.windows] == [0, 12, 25, 37]
    asked: list[int] = []

    def ahead() -> Iterator[tuple[int, np.ndarray]]:
        for i in builder.grid:
            asked.append(int(i))
            yield int(i), shot.frames[i]

    first = next(plate_frames(enumerate(shot.frames), ahead(), builder))
    assert max(asked) < 12 + 4 + 20
    assert first.index == 0
    assert psnr(shot.plates(window=16, fade=4, reach=20), shot) > 40


def test_changing_exposure_is_matched() -> None:
    shot = make_shot(gain=0.12)
    assert psnr(shot.plates(), shot) > 34


def test_a_mask_that_is_too_small_leaves_no_halo() -> None:
    shot = make_shot(halo=2)
    worst = max(
        float(
            (plate.rgb[..., 0].astype(int) - plate.rgb[..., 1])[65:135].max()
            - (shot.empty[plate.index][..., 0].astype(int) - shot.empty[plate.index][..., 1])[65:135].max()
        )
        for plate in shot.plates()
    )
    assert worst < 25


@pytest.mark.parametrize("inpaint", ["telea", "ns"])
def test_what_no_frame_shows_is_inpainted_and_counted(inpaint: str) -> None:
    shot = make_shot(count=12, walk=0.0)
    plates = shot.plates(inpaint=inpaint)
    assert max(plate.seen for plate in plates) < 0.4, "only the rim around the person is seen"
    for plate in plates:
        red = (plate.rgb[..., 0] > 200) & (plate.rgb[..., 1] < 40)
        assert not red[plate.removed].any()


def test_frames_without_the_person_come_back_as_they_are() -> None:
    shot = make_shot(absent=(0, 1, 2, 20))
    plates = shot.plates()
    for t in (0, 1, 2, 20):
        assert plates[t].rgb is shot.frames[t]
        assert not plates[t].removed.any()
    gone = make_shot(count=5, absent=tuple(range(5)))
    assert all(not plate.removed.any() for plate in gone.plates())


def test_one_frame_is_inpainted() -> None:
    (plate,) = make_shot(count=1).plates()
    assert plate.removed.any()
    assert plate.seen < 0.1


def test_what_hangs_on_the_person_goes_and_what_stands_apart_stays() -> None:
    scene = scene_picture(3, (200, 160))
    picture, hole = scene.copy(), np.zeros((160, 200), bool)
    hole[40:140, 80:110] = True
    picture[40:140, 80:110] = 0
    picture[70:76, 108:140] = (255, 255, 255)
    picture[60:90, 175:190] = (255, 255, 255)
    everywhere = np.ones_like(hole)
    grown = grow_by_residual(picture, hole, scene, np.zeros(hole.shape, np.float32), everywhere, 60)
    assert grown[hole].all()
    assert grown[71:75, 112:138].mean() > 0.95
    assert not grown[60:90, 172:193].any()
    assert np.count_nonzero(grown & ~hole) < 800


def test_statistics_of_a_stack_with_gaps() -> None:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (13, 500, 3), dtype=np.uint8)
    valid = rng.uniform(size=(13, 500)) < 0.6
    valid[:, 7] = False
    found = stack_statistics(samples, valid)
    gaps = np.where(valid[..., None], samples.astype(float), np.nan)
    seen = valid.any(axis=0)
    np.testing.assert_allclose(found.median[seen], np.nanmedian(gaps[:, seen], axis=0))
    np.testing.assert_array_equal(found.count, valid.sum(axis=0))
    assert (found.median[7] == 0).all()


def test_a_membrane_keeps_what_is_known_and_bridges_the_rest() -> None:
    known = np.zeros((40, 60), np.float32)
    known[:, :5] = known[:, -5:] = 1
    ramp = np.tile(np.linspace(0, 30, 60, dtype=np.float32), (40, 1))
    filled = membrane(ramp[..., None], known)[..., 0]
    np.testing.assert_allclose(filled[known > 0], ramp[known > 0], atol=1e-4)
    assert filled.min() >= -0.5
    assert filled.max() <= 30.5
    assert 8 < filled[20, 30] < 22


def test_a_contact_shadow_that_the_hole_cuts_does_not_end_there() -> None:
    scene = scene_picture()
    hole = np.zeros(scene.shape[:2], bool)
    hole[20:200, 150:200] = True
    # A foot's shadow reaches out of the hole to the right, deepest at the foot.
    rows, columns = np.mgrid[: scene.shape[0], : scene.shape[1]]
    shadow = 1 - 0.5 * np.exp(-(((columns - 195) / 20) ** 2) - ((rows - 190) / 12) ** 2)
    source = (scene * shadow[..., None]).astype(np.uint8)

    found = seam_difference(source, scene, hole, np.ones_like(hole))

    edge = np.s_[184:196, 199]
    before = (scene[edge].astype(float) - source[184:196, 200]).mean()
    after = (scene[edge] + found[edge] - source[184:196, 200]).mean()
    assert before > 20
    assert abs(after) < 0.35 * before
    assert not found[~hole].any()
    assert not found[:130].any(), "the correction is for the ground"
    assert np.abs(found[185:195, 150:175]).max() < 5, "the other side of the hole has no shadow"
