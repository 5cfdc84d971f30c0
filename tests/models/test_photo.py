"""A person from a photo: a frame of the bundled clip in, a figure in that person's clothes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputError
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, skin
from models.body.base import JOINT_NAMES, RestBody
from models.body.photo import PhotoPerson, find_sitter, person_from_photo
from models.body.photo.fill import spread
from models.body.photo.fit import with_proportions
from models.body.photo.matte import refine
from models.body.photo.paint import TEXELS
from models.body.photo.surface import face_shift, limbs, perceived
from models.body.renderer import View
from models.body.texture import MipMap
from models.body.wardrobe.dressing import anatomy_of
from models.generators.avatar import AvatarGenerator
from models.generators.base import EngineOptions
from pipelines.avatars_studio import STUDIO, facing_camera, stance
from pipelines.replace.reference import HEIGHT, WIDTH, portrait
from utils.photometry import srgb_from_linear
from utils.video_io import VideoReader
from utils.video_probe import probe

CLIP = Path(__file__).parents[2] / "assets" / "demo" / "walk.mp4"


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    with VideoReader(probe(CLIP)) as reader:
        return reader.frame(10)


@pytest.fixture(scope="module")
def photo(frame: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(frame, tmp_path_factory.mktemp("photo") / "walk.png")


@pytest.fixture(scope="module")
def person(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> PhotoPerson:
    return person_from_photo(photo)


@pytest.fixture(scope="module")
def rest() -> RestBody:
    return AnnyBody().rest({})


def written(rgb: np.ndarray, path: Path) -> Path:
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def test_an_empty_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Nobody is found in the reference picture room\.png"):
        find_sitter(written(np.full((300, 400, 3), 128, np.uint8), tmp_path / "room.png"))


def test_two_people_are_refused(frame: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shows 2 people"):
        find_sitter(written(np.hstack([frame, frame]), tmp_path / "two.png"))


def test_half_a_person_is_refused(frame: np.ndarray, photo: Path, tmp_path: Path) -> None:
    mask = find_sitter(photo).mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    waist = rows[0] + (rows[-1] - rows[0]) // 2
    bust = frame[max(rows[0] - 60, 0) : waist, max(columns[0] - 60, 0) : columns[-1] + 60]
    bust = cv2.resize(bust, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    with pytest.raises(InputError, match="only half a person"):
        find_sitter(written(bust, tmp_path / "bust.png"))


def test_a_person_of_few_pixels_is_refused(frame: np.ndarray, tmp_path: Path) -> None:
    small = cv2.resize(frame, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    with pytest.raises(InputError, match="pixels tall"):
        find_sitter(written(small, tmp_path / "small.png"))


def test_a_small_face_is_said_to_be_plain(frame: np.ndarray, photo: Path, tmp_path: Path) -> None:
    seen = find_sitter(photo)
    head = seen.pose.landmarks[0, :11, :2]
    (x0, y0), (x1, y1) = (head.min(axis=0) - 25).astype(int), (head.max(axis=0) + 25).astype(int)
    hidden = frame.copy()
    hidden[y0:y1, x0:x1] = cv2.blur(hidden, (61, 61))[y0:y1, x0:x1]
    sitter = find_sitter(written(hidden, tmp_path / "blurred.png"))
    assert not sitter.face
    assert any("plain face" in note for note in sitter.notes)


def test_the_figure_wears_the_clothes_of_the_photo(person: PhotoPerson) -> None:
    character, body = person.character, anatomy_of(person.rest)
    texture = MipMap(character.textures[0])
    textured = np.array([surface.texture == 0 for surface in character.surfaces])[
        character.surface[character.faces[:, 0]]
    ]
    uv = character.uv[textured].mean(axis=1).astype(np.float32)
    color = texture.sample(uv, np.full(len(uv), 1 / 256, np.float32))[:, :3]
    height = character.vertices[character.faces[textured]].mean(axis=1)[:, 2]
    hip, knee = body.joints["upperleg01.L"][2], body.joints["lowerleg01.L"][2]
    thighs = np.median(color[(height < hip - 0.1) & (height > knee)], axis=0)
    # The trousers are violet, the shins bare.
    assert thighs[2] > 1.15 * thighs[1]
    shins = np.median(color[(height < knee - 0.25) & (height > body.ground + 0.12)], axis=0)
    assert shins[0] > shins[2]


def test_nothing_is_left_unpainted(person: PhotoPerson) -> None:
    picture = cv2.imread(str(person.character.textures[0].path))
    assert picture.shape == (TEXELS, TEXELS, 3)
    assert (picture.max(axis=2) > 8).mean() > 0.99


def test_clothes_lie_close_to_the_body(person: PhotoPerson) -> None:
    skin_points = person.rest.vertices
    cloth = person.character.vertices
    low, high = skin_points.min(axis=0) - 0.11, skin_points.max(axis=0) + 0.11
    assert (cloth > low).all() and (cloth < high).all()
    assert np.isfinite(cloth).all()


def test_it_is_read_back_from_the_cache(person: PhotoPerson, photo: Path) -> None:
    again = person_from_photo(photo)
    assert np.array_equal(again.character.vertices, person.character.vertices)
    assert again.notes == person.notes


def test_a_damaged_cache_is_made_anew(person: PhotoPerson, photo: Path) -> None:
    texture = person.character.textures[0].path
    before = texture.read_bytes()
    texture.write_bytes(before[:1000])
    person_from_photo(photo)
    assert texture.read_bytes() == before


def test_limb_lengths_become_the_bodys_own(rest: RestBody) -> None:
    shape = {"scale_thigh": 1.2, "scale_head": 0.9, "scale_upper_arm": 0.85, "scale_hips": 1.1}
    rotations = np.zeros((1, len(JOINT_NAMES), 3))
    rotations[0, 0] = [np.pi / 2, 0, 0]
    rotations[0, JOINT_NAMES.index("left_knee")] = [0.6, 0, 0]
    place = np.array([[0.0, 0.0, 3.0]])
    wanted = bone_transforms(rest, rotations, place, shape)[0]
    own = with_proportions(rest, shape)
    got = bone_transforms(own, rotations, place)[0]
    expected = skin(rest.vertices, rest.bone_weights, rest.bone_indices, wanted)
    found = skin(own.vertices, own.bone_weights, own.bone_indices, got)
    # Blending twice is not blending once, but nearly.
    assert np.linalg.norm(expected - found, axis=1).max() < 0.02
    assert np.linalg.norm(expected - found, axis=1).mean() < 0.002


def test_the_portrait_shows_photo_front_and_back(photo: Path, frame: np.ndarray) -> None:
    engine = AvatarGenerator(EngineOptions(reference=photo))
    engine.check_reference()
    engine.load()
    picture = portrait(frame, *engine.figure())
    width = round(frame.shape[1] * HEIGHT / frame.shape[0])
    assert picture.shape == (HEIGHT, width + 3 * WIDTH, 3) and picture.dtype == np.uint8
    front, back = picture[:, width : width + WIDTH].astype(int), picture[:, width + 2 * WIDTH :].astype(int)
    for view in (front, back):
        assert np.abs(view - view[0, 0]).max(axis=2).max() > 60
    assert np.abs(front - back).mean() > 1
    assert any("pixels tall" in note for note in engine.reference_notes)


def test_a_picture_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    broken = tmp_path / "me.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read"):
        AvatarGenerator(EngineOptions(reference=broken))


def test_where_no_face_was_read_nothing_is_shifted(rest: RestBody) -> None:
    from core.types import BodyParams
    from models.body.photo.fit import Sitting

    bare = BodyParams(
        "anny", {}, JOINT_NAMES, np.zeros((1, len(JOINT_NAMES), 3), np.float32), np.zeros((1, 3), np.float32),
        np.eye(3), np.zeros((1, 33, 3), np.float32), np.ones(1, bool),
    )  # fmt: skip
    sitting = Sitting(rest, replace(bare), np.tile(np.eye(4, dtype=np.float32), (len(rest.bone_names), 1, 1)))
    assert not face_shift(sitting, rest.vertices, anatomy_of(rest), None).any()


# -- a photo whose truth is known: a drawn avatar on a loud background ------------------------------------------------

LOUD = np.array([0.80, 0.02, 0.60], np.float32)


def drawn(engine: AvatarGenerator, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """(640, 420, 3) linear colour and (640, 420) coverage of a figure that stands and is turned."""
    renderer, rest = engine.figure()
    rotations = stance()[None]
    rotations[0, 0] = facing_camera(degrees)
    transforms = bone_transforms(rest, rotations, np.zeros((1, 3)))[0]
    vertices = renderer.figure.skin(transforms)
    # Of one height in the picture, whoever it is: a photo tells no height.
    focal = 6 / (1.15 * float(np.ptp(vertices[:, 1]))) * 640
    transforms[:, :3, 3] += np.array([0, 0, 6.0]) - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    intrinsics = np.array([[focal, 0, 209.5], [0, focal, 319.5], [0, 0, 1.0]])
    still = np.zeros((len(vertices), 2), np.float32)
    layer = renderer.render(renderer.figure.pose(transforms), still, View(intrinsics, np.eye(3), (420, 640)), STUDIO)
    return layer.color, layer.alpha


@pytest.fixture(scope="module")
def truth() -> AvatarGenerator:
    engine = AvatarGenerator(EngineOptions(avatar="alex"))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def copy(truth: AvatarGenerator, tmp_path_factory: pytest.TempPathFactory) -> AvatarGenerator:
    """The person of a photo of the avatar, from the front."""
    color, alpha = drawn(truth, 0)
    picture = srgb_from_linear(alpha[..., None] * color + (1 - alpha[..., None]) * LOUD)
    engine = AvatarGenerator(EngineOptions(reference=written(picture, tmp_path_factory.mktemp("truth") / "alex.png")))
    engine.load()
    return engine


@pytest.mark.parametrize(("degrees", "overlap", "off"), [(0, 0.90, 8), (90, 0.80, 12), (180, 0.90, 8)])
def test_the_figure_has_the_shape_and_colours_of_whom_it_was_made_from(
    truth: AvatarGenerator, copy: AvatarGenerator, degrees: float, overlap: float, off: float
) -> None:
    (color, alpha), (own_color, own_alpha) = drawn(truth, degrees), drawn(copy, degrees)
    there, here = alpha > 0.5, own_alpha > 0.5
    assert (there & here).sum() / (there | here).sum() >= overlap
    both = cv2.erode((there & here).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    # Sides and back are not in the photo.
    assert np.median(np.linalg.norm(perceived(color) - perceived(own_color), axis=-1)[both]) < off


def test_nothing_of_the_background_is_on_the_clothes(copy: AvatarGenerator) -> None:
    loud = perceived(LOUD[None])[0]
    for degrees in (0, 45, 90, 180, 270):
        color, alpha = drawn(copy, degrees)
        shown = perceived(color)[alpha > 0.99]
        # Within half of the way from the jeans, whose colour is the nearest, to the background's.
        assert (np.linalg.norm(shown[:, 1:] - loud[1:], axis=1) < 40).mean() < 0.0005


def test_a_coarse_outline_is_drawn_along_the_edges(frame: np.ndarray) -> None:
    y, x = np.mgrid[0:400, 0:300]
    person = ((x - 150) / 60) ** 2 + ((y - 200) / 170) ** 2 < 1
    picture = np.where(person[..., None], [60, 80, 140], frame[:390, :300].mean(axis=(0, 1))).astype(np.uint8)
    coarse = np.roll(cv2.dilate(person.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0, 2, axis=1)
    refined, sure = refine(picture, coarse)

    def overlap(mask: np.ndarray) -> float:
        return float((mask & person).sum() / (mask | person).sum())

    assert overlap(coarse) < 0.92
    assert overlap(refined) > 0.97
    assert (sure[~person] > 0.5).mean() < 0.001
    assert (sure[person] > 0.5).mean() > 0.95


def test_a_sleeve_ends_all_round_at_one_place(rest: RestBody) -> None:
    body = anatomy_of(rest)
    part = limbs(body)
    along = body.joints["wrist.L"] - body.joints["upperarm01.L"]
    share = (body.points - body.joints["upperarm01.L"]) @ along / (along @ along)
    color = np.where((share < 0.4)[:, None], [0.05, 0.1, 0.5], [0.4, 0.25, 0.17])
    front = body.normals[:, 1] < -0.3
    fields = spread(rest.faces, body, part, color, np.where(front, 1.0, 0.0))
    got = fields.vertices()
    behind = (part == 1) & ~front
    sleeve, bare = behind & (share > 0.1) & (share < 0.32), behind & (share > 0.48) & (share < 0.9)
    assert sleeve.sum() > 20 and bare.sum() > 20
    assert (got[sleeve, 2] > got[sleeve, 0]).mean() > 0.95
    assert (got[bare, 0] > got[bare, 2]).mean() > 0.95


def test_a_portrait_is_told_what_is_wanted(frame: np.ndarray, tmp_path: Path) -> None:
    face = cv2.resize(frame[55:120, 760:840], None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    with pytest.raises(InputError) as refused:
        find_sitter(written(face, tmp_path / "face.png"))
    assert "head to feet" in refused.value.hint
