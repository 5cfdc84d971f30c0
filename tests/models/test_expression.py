"""Faces: actions that are put on come back out of the points, and an avatar's face really moves."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelUnavailable
from core.types import BodyParams
from models.body import expression_actions
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, landmark_positions, params_transforms, rotation_matrices
from models.body.base import JOINT_NAMES
from models.body.character import Character, Material
from models.body.expression_actions import BASE_VERTICES, DRIVEN_ACTIONS, facial_actions
from models.body.expression_capture import FaceMotion, capture_face
from models.body.expression_eyes import with_gaze
from models.body.expression_figure import MovingFace, closing_lids, with_moving_face
from models.body.expression_head import FACE_MODEL, towards, with_head
from models.body.expression_points import COUNTERPARTS, IRISES, LID_PAIRS
from models.body.renderer import FigureRenderer, View
from models.body.wardrobe import load_avatar
from models.body.wardrobe.dressing import assemble
from models.detectors.faces import FaceReader
from tests.models.test_avatar import look
from utils.photometry import srgb_from_linear

RATE = 30.0


def actions(**strengths: float) -> np.ndarray:
    """(A,) the given actions; a name without a side stands for both."""
    values = np.zeros(len(DRIVEN_ACTIONS))
    for name, strength in strengths.items():
        for own in (name,) if name in DRIVEN_ACTIONS else (f"{name}Left", f"{name}Right"):
            values[DRIVEN_ACTIONS.index(own)] = strength
    return values


def strength(motion: FaceMotion, frame: int, *names: str) -> float:
    """The mean strength of some actions in a frame."""
    return float(motion.expression[frame, [DRIVEN_ACTIONS.index(name) for name in names]].mean())


# -- from points to actions ----------------------------------------------------------------------------------------


def seen_points(expression: np.ndarray, *, size: float = 200.0, noise: float = 0.0, yaw: float = 0.3) -> np.ndarray:
    """(T, 478, 3) what the camera would see of the neutral body's face with (T, A) actions, its head turning meanwhile."""
    rest = AnnyBody().rest({})
    offsets = closing_lids(facial_actions(), rest)
    moved = rest.base_vertices[None] + np.einsum("ta,avi->tvi", expression, offsets)
    count = len(expression)
    points = np.zeros((count, 478, 3))
    vertices = moved[:, list(COUNTERPARTS.values())]
    points[:, list(COUNTERPARTS)] = np.stack([vertices[..., 0], -vertices[..., 2], vertices[..., 1]], axis=-1)
    for iris, ((outer, inner), _) in zip(IRISES, zip(((263, 362), (33, 133)), LID_PAIRS, strict=True), strict=True):
        points[:, iris] = (points[:, outer] + points[:, inner]) / 2
    time = np.arange(count) / RATE
    turn = rotation_matrices(np.stack([0.1 * np.sin(2 * time), yaw * np.sin(3 * time), 0.1 * np.sin(time)], axis=1))
    centred = points - points[:, [168]]
    pixels = np.einsum("tij,tkj->tki", turn, centred) * size / 0.19 + [300, 200, 0]
    return pixels + np.random.default_rng(0).normal(0, noise, pixels.shape) if noise else pixels


def in_turn(*poses: np.ndarray, frames: int = 15) -> np.ndarray:
    """(T, A): neutral and each pose in turn, and neutral at the end."""
    rest = np.zeros((2 * frames, len(DRIVEN_ACTIONS)))
    return np.concatenate([part for pose in poses for part in (rest, np.tile(pose, (frames, 1)))] + [rest])


@pytest.mark.parametrize(
    ("put_on", "names"),
    [
        ({"jawOpen": 0.5}, ("jawOpen",)),
        ({"mouthSmile": 0.8}, ("mouthSmileLeft", "mouthSmileRight")),
        ({"mouthPucker": 0.8}, ("mouthPucker",)),
        ({"mouthFrown": 0.9}, ("mouthFrownLeft", "mouthFrownRight")),
        ({"mouthLeft": 0.8}, ("mouthLeft",)),
        ({"browInnerUp": 0.9, "browOuterUp": 0.9}, ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")),
        ({"browDown": 0.9}, ("browDownLeft", "browDownRight")),
        ({"eyeBlink": 1.0}, ("eyeBlinkLeft", "eyeBlinkRight")),
        ({"eyeWide": 1.0}, ("eyeWideLeft", "eyeWideRight")),
    ],
)
def test_an_action_that_is_put_on_is_found_and_gone_again(put_on: dict[str, float], names: tuple[str, ...]) -> None:
    motion = capture_face(seen_points(in_turn(actions(**put_on)), noise=0.3), AnnyBody().rest({}), RATE)
    wanted = float(np.mean(list(put_on.values())))
    # Slight moves are shown a little slighter rather than noise as moves.
    assert 0.5 * wanted < strength(motion, 37, *names) < 1.25 * wanted
    assert strength(motion, 8, *names) < 0.12
    assert strength(motion, 68, *names) < 0.12


def test_one_eye_winks() -> None:
    motion = capture_face(seen_points(in_turn(actions(eyeBlinkLeft=1.0))), AnnyBody().rest({}), RATE)
    assert strength(motion, 37, "eyeBlinkLeft") > 0.9
    assert strength(motion, 37, "eyeBlinkRight") < 0.15


def test_a_blink_of_four_frames_closes_the_eyes_through_the_noise_of_a_small_face() -> None:
    expression = np.zeros((60, len(DRIVEN_ACTIONS)))
    expression[30:34] = actions(eyeBlink=1.0)
    motion = capture_face(seen_points(expression, size=120, noise=0.4), AnnyBody().rest({}), RATE)
    blink = motion.expression[:, DRIVEN_ACTIONS.index("eyeBlinkLeft")]
    assert blink[30:34].max() > 0.85
    assert np.abs(np.delete(blink, range(27, 37))).max() < 0.25


def test_gaze_is_found_and_its_signs_are_the_subjects() -> None:
    points = seen_points(in_turn(actions()), yaw=0.0)
    width = np.linalg.norm(points[0, 263] - points[0, 362])
    points[20:35, list(IRISES), 0] += 0.1 * width
    points[36:44, list(IRISES), 1] -= 0.1 * width
    motion = capture_face(points, AnnyBody().rest({}), RATE)
    assert (motion.gaze[27, :, 0] > 0.2).all()  # to the right in the picture is the subject's left
    assert (np.abs(motion.gaze[5]) < 0.05).all()
    assert (motion.gaze[40, :, 1] > 0.2).all()


def test_a_mouth_that_never_shuts_is_open_all_the_time() -> None:
    expression = np.tile(actions(jawOpen=0.4), (60, 1))
    expression[20:40] = actions(jawOpen=0.7)
    motion = capture_face(seen_points(expression), AnnyBody().rest({}), RATE)
    open_by = motion.expression[:, DRIVEN_ACTIONS.index("jawOpen")]
    assert open_by[5] > 0.2
    assert open_by[30] > open_by[5] + 0.1


def test_a_face_that_turns_away_fades_to_neutral_without_a_step() -> None:
    points = seen_points(np.tile(actions(mouthSmile=0.0), (80, 1)), yaw=0.0)
    smiling = seen_points(np.tile(actions(mouthSmile=1.0), (80, 1)), yaw=0.0)
    points[20:50] = smiling[20:50]
    points[50:] = np.nan
    motion = capture_face(points, AnnyBody().rest({}), RATE)
    smile = motion.expression[:, DRIVEN_ACTIONS.index("mouthSmileLeft")]
    assert smile[40] > 0.5
    assert smile[70:].max() == 0
    assert motion.trust[70:].max() == 0 and motion.followed < 65
    assert np.abs(np.diff(smile[45:])).max() < 0.25


def test_a_clip_without_a_face_moves_nothing() -> None:
    motion = capture_face(np.full((12, 478, 3), np.nan), AnnyBody().rest({}), RATE)
    assert motion.followed == 0 and not motion.expression.any() and not motion.gaze.any()


def test_a_damaged_action_names_its_file(tmp_path: Path) -> None:
    bad = tmp_path / "jawOpen.target"
    bad.write_text("12 0.1 0.2\n")
    with pytest.raises(ModelUnavailable, match=r"jawOpen\.target"):
        expression_actions._read_target(bad)
    bad.write_text(f"{BASE_VERTICES} 0 0 1\n")
    with pytest.raises(ModelUnavailable, match=r"jawOpen\.target"):
        expression_actions._read_target(bad)


def test_the_head_turns_as_the_face_does_and_the_face_stays_about_where_it_was() -> None:
    rest = AnnyBody().rest({})
    points = seen_points(np.zeros((60, len(DRIVEN_ACTIONS))), yaw=0.0)
    unseen = points.copy()
    unseen[20:24] = np.nan
    whole, motion = (capture_face(seen, rest, RATE) for seen in (points, unseen))
    rotations = np.zeros((60, len(JOINT_NAMES), 3), np.float32)
    rotations[:, 0, 0] = np.pi / 2
    rotations[:, JOINT_NAMES.index("head"), 0] = 0.3  # the fit looks down; the face looks about straight ahead
    intrinsics = np.array([[2000.0, 0, 300], [0, 2000.0, 200], [0, 0, 1]])
    place = np.tile(np.float32([0, 0.7, 4.0]), (60, 1))
    nothing = np.zeros((60, 33, 3), np.float32)
    fitted = BodyParams("anny", dict(rest.shape), JOINT_NAMES, rotations, place, intrinsics, nothing, np.ones(60, bool))
    turned = with_head(fitted, motion.turn, motion.centre, motion.trust, RATE)
    head = towards(turned.rotations, JOINT_NAMES.index("head")) @ FACE_MODEL.T
    assert np.abs(head - whole.turn)[10:50].max() < 0.05
    before, after = (
        landmark_positions(rest, params_transforms(rest, body))[:, :11].mean(1) for body in (fitted, turned)
    )
    assert np.abs(after - before).max() < 0.03


def test_a_face_that_is_read_in_part_of_the_clip_leaves_the_head_as_fitted_in_the_rest() -> None:
    """As of a player who turns his back: no reading, then some, one of them alone, then none."""
    points = seen_points(np.zeros((90, len(DRIVEN_ACTIONS))), yaw=0.0)
    points[:25] = points[60:84] = points[85:] = np.nan
    motion = capture_face(points, AnnyBody().rest({}), RATE)
    rotations = np.zeros((90, len(JOINT_NAMES), 3), np.float32)
    rotations[:, 0, 0] = np.pi / 2
    rotations[:, JOINT_NAMES.index("head"), 0] = 0.3
    intrinsics = np.array([[2000.0, 0, 300], [0, 2000.0, 200], [0, 0, 1]])
    place, nothing = np.tile(np.float32([0, 0.7, 4.0]), (90, 1)), np.zeros((90, 33, 3), np.float32)
    valid = np.arange(90) < 40  # the body is lost while the face is still read
    fitted = BodyParams("anny", {}, JOINT_NAMES, rotations, place, intrinsics, nothing, valid)
    turned = with_head(fitted, motion.turn, motion.centre, motion.trust * valid, RATE)
    assert np.isfinite(turned.rotations).all()
    assert np.abs(turned.rotations - rotations)[30:38].max() > 0.1
    assert np.abs(turned.rotations - rotations)[[0, 5, 50, 70, 89]].max() < 1e-5


# -- the avatar's face ---------------------------------------------------------------------------------------------


@cache
def avatar(name: str) -> tuple[Character, Character, MovingFace]:
    """The avatar as it is dressed, ready to move, and its face."""
    spec = load_avatar(name)
    rest = AnnyBody().rest(spec.phenotype.model_dump())
    dressed = assemble(spec, rest)
    character, face = with_moving_face(dressed, rest)
    assert face is not None
    return dressed, character, face


@pytest.mark.parametrize("name", ["alex", "grace"])
def test_only_the_face_moves_and_the_lips_part(name: str) -> None:
    dressed, character, face = avatar(name)
    assert len(character.vertices) > len(dressed.vertices)  # teeth, tongue, cheeks
    still = np.tile(np.eye(4, dtype=np.float32), (len(AnnyBody().rest({}).bone_names), 1, 1))
    neutral = face(character.vertices, still, actions())
    assert np.array_equal(neutral, character.vertices)
    moved = face(character.vertices, still, actions(jawOpen=1.0)) - character.vertices
    far = np.linalg.norm(moved, axis=1)
    assert far.max() > 0.025
    assert far[character.material == Material.CLOTH].max() == 0
    assert far[character.material == Material.EYE].max() == 0
    lips = np.flatnonzero(dressed.material == Material.LIP)
    drop = -moved[lips, 2]
    assert drop.max() > 0.02 and drop.min() < 0.004  # the lower lip goes, the upper one stays


@pytest.mark.parametrize("name", ["alex", "grace", "omar"])
@pytest.mark.parametrize("blink", [0.3, 0.6, 1.0])
def test_lids_slide_over_the_eyeballs_and_never_through_them(name: str, blink: float) -> None:
    _, character, face = avatar(name)
    rest = AnnyBody().rest(load_avatar(name).phenotype.model_dump())
    still = np.tile(np.eye(4, dtype=np.float32), (len(rest.bone_names), 1, 1))
    moved = face(character.vertices, still, actions(eyeBlink=blink))
    for side in "LR":
        eye = rest.bone_heads[rest.bone(f"eye.{side}")]
        ball = character.vertices[character.material == Material.EYE]
        radius = np.linalg.norm(ball[np.abs(ball[:, 0] - eye[0]) < 0.02] - eye, axis=1).max()
        was = np.linalg.norm(character.vertices[face.vertices] - eye, axis=1)
        now = np.linalg.norm(moved[face.vertices] - eye, axis=1)
        outside = (was > radius + 0.001) & (character.vertices[face.vertices, 1] < eye[1])
        assert now[outside].min() > radius


@pytest.mark.parametrize("name", ["alex", "grace", "omar"])
def test_an_eye_that_is_shut_shows_a_line_of_lashes_and_no_eyeball(name: str) -> None:
    opened, shut = portrait(name, [actions(), actions(eyeBlink=1.0)], size=480)
    spec = load_avatar(name)
    rest = AnnyBody().rest(spec.phenotype.model_dump())
    heads = rest.bone_heads
    middle = 0.5 * (heads[rest.bone("eye.L")] + heads[rest.bone("eye.R")])
    apart = heads[rest.bone("eye.L")] - middle
    centre = middle - heads[rest.bone("head")] - [0, -0.05, 0.04]
    for side in (-1, 1):
        # The camera is a metre away, with a focal length of 3.6 pictures.
        x, y = (240 + 3.6 * 480 * np.array([centre[0] + side * apart[0], -centre[2]])).round().astype(int)
        eye = np.s_[y - 22 : y + 30, x - 14 : x + 14]
        before, after = opened[eye].astype(float).mean(axis=2), shut[eye].astype(float).mean(axis=2)
        skin = np.median(after)
        # One dark line from side to side, and skin above and below it instead of iris, pupil and the shade of the lid.
        assert (after.min(axis=0) < 0.75 * skin).all()
        assert 0.01 < (after < 0.6 * skin).mean() < 0.5 * (before < 0.6 * skin).mean()


def test_a_mannequin_has_no_face_that_could_move() -> None:
    spec = load_avatar("mannequin")
    rest = AnnyBody().rest(spec.phenotype.model_dump())
    dressed = assemble(spec, rest)
    character, face = with_moving_face(dressed, rest)
    assert character is dressed and face is None


def test_eyes_look_where_they_are_told() -> None:
    rest = AnnyBody().rest({})
    transforms = bone_transforms(rest, np.zeros((1, 19, 3)), np.zeros((1, 3)))
    turned = with_gaze(rest, transforms, np.array([[[0.4, 0.0], [0.4, 0.3]]], np.float32))
    for eye, (side, up) in enumerate((("L", 0.0), ("R", 0.3))):
        bone = rest.bone(f"eye.{side}")
        ahead = turned[0, bone, :3, :3] @ np.array([0.0, -1.0, 0.0])
        assert ahead[0] == pytest.approx(np.sin(0.4) * np.cos(up), abs=1e-3), eye
        assert ahead[2] == pytest.approx(np.sin(up), abs=1e-3)
        place = turned[0, bone] @ np.r_[rest.bone_heads[bone], 1]
        before = transforms[0, bone] @ np.r_[rest.bone_heads[bone], 1]
        assert np.allclose(place, before, atol=1e-5)


# -- through the network -------------------------------------------------------------------------------------------


def portrait(name: str, expressions: list[np.ndarray], size: int = 240) -> list[np.ndarray]:
    """Pictures of an avatar's head from the front, with the given expressions."""
    _, character, face = avatar(name)
    rest = AnnyBody().rest(load_avatar(name).phenotype.model_dump())
    renderer = FigureRenderer(character, len(rest.bone_names), 4, 0, 0)
    facing = np.zeros((1, 19, 3))
    facing[0, 0, 0] = np.pi / 2
    transforms = bone_transforms(rest, facing, np.zeros((1, 3)))[0]
    head = transforms[rest.bone("head")] @ np.r_[rest.bone_heads[rest.bone("head")] + [0, -0.05, 0.04], 1]
    transforms[:, :3, 3] += np.array([0, 0, 1.0], np.float32) - head[:3]
    view = View(np.array([[3.6 * size, 0, size / 2], [0, 3.6 * size, size / 2], [0, 0, 1.0]]), np.eye(3), (size, size))
    pictures = []
    for expression in expressions:
        vertices = face(renderer.figure.skin(transforms), transforms, expression)
        posed = renderer.figure.posed(vertices, transforms)
        layer = renderer.render(posed, np.zeros((len(vertices), 2), np.float32), view, look())
        pictures.append(srgb_from_linear(layer.color + 0.25 * (1 - layer.alpha[..., None])))
    return pictures


def test_the_network_reads_back_what_an_avatars_face_does() -> None:
    poses = [actions(), actions(jawOpen=0.6), actions(mouthSmile=1.0), actions(eyeBlink=1.0)]
    landmarks = np.full((33, 4), np.nan)
    # Nose, eyes, ears and mouth of the head in the picture, roughly, as a pose network gives them.
    landmarks[:11, :2] = np.array(
        [(120, 135), (130, 112), (140, 112), (148, 112), (110, 112), (100, 112), (92, 112), (170, 120), (70, 120),
         (135, 165), (105, 165)]
    )  # fmt: skip
    reader = FaceReader()
    try:
        readings = [reader.read(rgb, landmarks) for rgb in portrait("alex", poses)]
        small = reader.read(portrait("alex", poses[:1], size=60)[0], 0.25 * landmarks)
    finally:
        reader.close()
    assert all(reading is not None for reading in readings)
    assert small is None
    points = np.stack([reading.points for reading in readings if reading is not None])
    shown = np.concatenate([np.repeat(points[[0, k]], 10, axis=0) for k in (1, 2, 3)])
    motion = capture_face(shown, AnnyBody().rest({}), RATE)
    assert strength(motion, 15, "jawOpen") == pytest.approx(0.6, abs=0.25)
    assert strength(motion, 35, "mouthSmileLeft", "mouthSmileRight") > 0.5
    assert strength(motion, 55, "eyeBlinkLeft", "eyeBlinkRight") > 0.75
    assert strength(motion, 5, "jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight") < 0.1
