"""What makes a face a face and hair hair: round eyes with a spot of light, dark nostrils and lashes, brows of single hairs,
a broken outline and a hairline that thins out, strands that keep their shade in hard light."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from core.types import ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.character import Character, Material, Surface
from models.body.embree import RayScene
from models.body.renderer import FigureRenderer, View
from models.body.shading import Samples, SurfaceTable, shade
from models.body.wardrobe import dress, load_avatar
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.brows import BROW_HAIR
from models.body.wardrobe.cloth import Figure
from models.body.wardrobe.dressing import anatomy_of
from models.body.wardrobe.eyes import make_eyes
from models.body.wardrobe.hair import make_hair
from models.body.wardrobe.hair_cap import CURLS, HAIR
from models.body.wardrobe.lashes import LASH
from models.body.wardrobe.mesh import join
from models.body.wardrobe.part import Part
from models.body.wardrobe.skin import SKIN
from models.body.wardrobe.spec import AvatarSpec, Hair, Skin
from utils.photometry import srgb_from_linear

TOWARDS = np.array([0.0, 0.0, -1.0], np.float32)
LOOK = ShotLook(
    light_direction=TOWARDS,
    light=np.ones(3, np.float32),
    sky=np.full(3, 0.3, np.float32),
    ground=np.full(3, 0.2, np.float32),
    haze=np.zeros(3, np.float32),
    exposure=1.0,
    softness=0.0,
    grain=0.0,
    blur=0.0,
)


#: Above, from the left, and from all around, as in most footage.
DAYLIGHT = replace(LOOK, light_direction=np.array([-0.45, -0.62, -0.64], np.float32), softness=0.6)
#: Pixels a metre of the head's pictures: a head is 300 pixels high.
CLOSE = 1100


def naked(name: str) -> AvatarSpec:
    """The avatar without its clothes: what is looked at here is above them."""
    return load_avatar(name).model_copy(update={"outfit": ()})


@cache
def person(name: str) -> tuple[RestBody, Anatomy, Character]:
    spec = naked(name)
    rest = AnnyBody().rest(spec.phenotype.model_dump())
    return rest, anatomy_of(rest), dress(spec, rest)


@cache
def portrait(name: str) -> np.ndarray:
    """(400, 400, 3) the head from the front on grey, sRGB 0..255; see :func:`pixel`."""
    rest, body, character = person(name)
    facing = np.zeros((1, len(JOINT_NAMES), 3))
    facing[0, 0, 0] = np.pi / 2
    transforms = bone_transforms(rest, facing, np.zeros((1, 3)))[0]
    renderer = FigureRenderer(character, len(rest.bone_names), 8, 2, 8)
    root = transforms[0] @ np.r_[body.face_frame.nose, 1]
    transforms[:, :3, 3] += np.array([0, 0, 3.0]) - root[:3]
    view = View(np.array([[3.0 * CLOSE, 0, 200], [0, 3.0 * CLOSE, 200], [0, 0, 1]]), np.eye(3), (400, 400))
    still = np.zeros((len(character.vertices), 2), np.float32)
    layer = renderer.render(renderer.figure.pose(transforms.astype(np.float32)), still, view, DAYLIGHT)
    return srgb_from_linear(layer.color * layer.alpha[..., None] + 0.3 * (1 - layer.alpha[..., None])).astype(float)


def pixel(name: str, places: np.ndarray) -> np.ndarray:
    """(M, 2) int: column and row of (M, 3) places of the rest body in its :func:`portrait`."""
    away = places - person(name)[1].face_frame.nose
    scale = 3.0 * CLOSE / (3.0 + away[:, 1:2])
    return (200 + scale * away[:, [0, 2]] * [1, -1]).round().astype(int)


def mask(points: np.ndarray, faces: np.ndarray, turn: float) -> np.ndarray:
    """(H, W) uint8: what rays from one side meet of a mesh, a pixel every millimetre and a half."""
    c, s = np.cos(turn), np.sin(turn)
    turned = points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    low, high = turned.min(axis=0) - 0.01, turned.max(axis=0) + 0.01
    x, z = np.meshgrid(np.arange(low[0], high[0], 0.0015), np.arange(high[2], low[2], -0.0015))
    origins = np.stack([x, np.full(x.shape, low[1]), z], axis=-1).reshape(-1, 3).astype(np.float32)
    hit = RayScene(turned.astype(np.float32), faces.astype(np.int32)).intersect(
        origins, np.tile(np.array([0, 1, 0], np.float32), (len(origins), 1))
    )
    return np.asarray(hit.hit.reshape(x.shape).astype(np.uint8))


def outline(picture: np.ndarray) -> float:
    """Length of the outer contour against that of its convex hull: 1 for a smooth ball."""
    contours, _ = cv2.findContours(picture, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    return cv2.arcLength(largest, True) / cv2.arcLength(cv2.convexHull(largest), True)


def hair_of(name: str, body: Anatomy) -> list[Part]:
    hair = load_avatar(name).hair
    assert isinstance(hair, Hair)
    return make_hair(Figure.of(body), hair)


def eyes_of(name: str, body: Anatomy) -> Part:
    skin = load_avatar(name).skin
    assert isinstance(skin, Skin)
    return make_eyes(body, skin)


def unit(*vector: float) -> np.ndarray:
    return np.asarray(np.array(vector, np.float32) / np.float32(np.linalg.norm(vector)))


def radiance(surface: Surface, normals: np.ndarray, look: ShotLook, **change: np.ndarray) -> np.ndarray:
    """(S, 3) what the camera sees of a surface with these normals."""
    count = len(normals)
    table = SurfaceTable(
        np.array([surface.material], np.int64),
        *(np.array([getattr(surface, name)], np.float32) for name in ("roughness", "specular", "sheen", "subsurface")),
    )
    samples = Samples(
        normal=normals,
        smooth_normal=normals,
        view=np.tile(TOWARDS, (count, 1)),
        strand=np.tile(np.array([0, 1, 0], np.float32), (count, 1)),
        albedo=np.full((count, 3), 0.2, np.float32),
        surface=np.zeros(count, np.int64),
        openness=np.full((count, 3), 0.5, np.float32),
        sunlit=np.ones(count, np.float32),
        cavity=np.zeros(count, np.float32),
    )
    return shade(replace(samples, **change), table, look)


@pytest.mark.parametrize("name", ["alex", "grace"])
def test_pupils_are_round_and_look_ahead(name: str) -> None:
    _, body, _ = person(name)
    eyes = eyes_of(name, body)
    for eye in body.face_frame.eyes:
        mine = np.linalg.norm(eyes.points - eye, axis=1) < 1.5 * body.face_frame.eye_radius
        black = mine & (eyes.albedo.max(axis=1) < 0.0065)
        rim = eyes.points[black][:, [0, 2]]
        wide, high = np.ptp(rim, axis=0)
        assert wide == pytest.approx(high, rel=0.05)
        assert 0.002 < wide / 2 < 0.004
        np.testing.assert_allclose((rim.min(axis=0) + rim.max(axis=0)) / 2, eye[[0, 2]], atol=0.0008)


@pytest.mark.parametrize("name", ["alex", "omar"])
def test_eyeballs_face_outwards_and_turn_with_their_bones(name: str) -> None:
    rest, body, _ = person(name)
    eyes = eyes_of(name, body)
    a, b, c = eyes.points[eyes.faces].transpose(1, 0, 2)
    normal, middle = np.cross(b - a, c - a), (a + b + c) / 3
    left = middle[:, 0] > 0
    centre = np.where(left[:, None], *body.face_frame.eyes)
    assert ((normal * (middle - centre)).sum(axis=1) > 0).all()
    bone = np.asarray(eyes.weights.argmax(axis=1)).ravel()
    assert (bone == np.where(eyes.points[:, 0] > 0, rest.bone("eye.L"), rest.bone("eye.R"))).all()


@pytest.mark.parametrize("name", ["alex", "maya", "omar", "nora"])
def test_nostrils_and_upper_lids_are_darker_than_the_cheek(name: str) -> None:
    _, body, character = person(name)
    face, u = body.face_frame, body.face_frame.unit
    skin = character.material == Material.SKIN
    brightness = character.albedo.mean(axis=1)

    def darkest(place: np.ndarray, within: float) -> float:
        near = skin & (np.linalg.norm(character.vertices - place, axis=1) < within * u)
        return float(brightness[near].min())

    cheek = face.eyes[0] + np.array([0.1 * u, -0.25 * u, -0.6 * u])
    pale = float(np.median(brightness[skin & (np.linalg.norm(character.vertices - cheek, axis=1) < 0.25 * u)]))
    for side in (1, -1):
        assert darkest(face.nose + np.array([0.15 * side, 0.185, -0.065]) * u, 0.06) < 0.4 * pale
    for eye in face.eyes:
        assert darkest(eye + np.array([0.0, -1.0, 0.35]) * face.eye_radius, 0.12) < 0.5 * pale


def test_a_soft_light_leaves_a_small_bright_spot_on_an_eye() -> None:
    eye = Surface(Material.EYE, 0.08, specular=0.04)
    turned = np.stack([unit(np.sin(a), 0, -np.cos(a)) for a in (0.0, 0.35)])
    for softness in (0.0, 0.6, 0.9):
        seen = radiance(eye, turned, replace(LOOK, softness=softness)).mean(axis=1)
        assert seen[0] > 1.5 * seen[1]


def test_hair_keeps_its_colour_where_the_relief_turns_from_the_light() -> None:
    away, facing = unit(1.0, 0.0, 0.1)[None], unit(0.7, 0.0, -0.7)[None]
    seen = {
        surface.material: radiance(surface, away, LOOK, smooth_normal=facing) / radiance(surface, facing, LOOK)
        for surface in (HAIR, Surface(Material.CLOTH, 0.8))
    }
    assert seen[Material.HAIR].mean() > 1.3 * seen[Material.CLOTH].mean()


@pytest.mark.parametrize(
    ("name", "rougher"), [("alex", 1.02), ("bruno", 1.005), ("omar", 1.02), ("maya", 1.01), ("grace", 1.005)]
)
def test_the_outline_of_hair_is_broken_by_locks(name: str, rougher: float) -> None:
    """Combed-back and cropped hair has flyaways only, longer hair and curls are rough all round."""
    _, body, _ = person(name)
    cap, *others = [part for part in hair_of(name, body) if part.surfaces[0].material == Material.HAIR]
    locks = [part for part in others if (part.strand != 0).any() and part.surfaces == cap.surfaces]
    head = body.points, body.faces[body.parts["head"]]
    for turn in (0.0, 0.8, np.pi):
        smooth, broken = (
            mask(*join([head, *((part.points, part.faces) for part in parts)]), turn)
            for parts in ([cap], [cap, *locks])
        )
        top = np.flatnonzero(smooth.any(axis=1))[0] + 65  # ten centimetres from the crown down
        assert outline(broken[:top]) > rougher * outline(smooth[:top])


@pytest.mark.parametrize("name", ["alex", "omar", "maya", "ingrid"])
def test_locks_keep_off_the_face_and_the_ears(name: str) -> None:
    _, body, _ = person(name)
    face, u = body.face_frame, body.face_frame.unit
    for part in hair_of(name, body):
        before = part.points[(np.abs(part.points[:, 0]) < 0.75 * u) & (part.points[:, 1] < face.skull[1])]
        assert len(before) == 0 or before[:, 2].min() > face.eyes[0, 2] + 0.7 * u
        for ear in face.ears:
            assert np.linalg.norm(part.points - ear, axis=1).min() > 0.012


@pytest.mark.parametrize("name", ["alex", "kenji", "maya", "grace"])
def test_the_hairline_thins_out_over_half_a_centimetre(name: str) -> None:
    _, body, character = person(name)
    face = body.face_frame
    hair = (character.material == Material.HAIR) & (character.softness > 0.9)
    at_forehead = hair & (np.abs(character.vertices[:, 0]) < 0.03) & (character.vertices[:, 1] < face.skull[1])
    edge = float(np.median(character.vertices[at_forehead, 2]))
    columns, rows = pixel(
        name, np.array([[x, face.nose[1] + 0.03, edge + z] for x in (-0.025, 0.025) for z in (0.03, -0.02)])
    ).T
    strip = portrait(name)[rows.min() : rows.max(), columns.min() : columns.max()].mean(axis=2)
    profile = cv2.blur(strip.mean(axis=1)[:, None], (1, 3)).ravel()
    dark, light = np.percentile(profile, [5, 95])
    between = (profile > dark + 0.15 * (light - dark)) & (profile < dark + 0.85 * (light - dark))
    assert between.sum() / CLOSE > 0.005


@pytest.mark.parametrize("name", ["alex", "maya", "omar"])
def test_a_spot_of_light_is_seen_in_each_eye(name: str) -> None:
    _, body, _ = person(name)
    face = body.face_frame
    for (x, y), eye in zip(pixel(name, face.eyes - [0, face.eye_radius, 0]), face.eyes, strict=True):
        reach = round(0.38 * face.eye_radius * CLOSE)
        iris = portrait(name)[y - reach : y + reach, x - reach : x + reach].mean(axis=2)
        assert iris.max() > np.median(iris) + 45, eye


@pytest.mark.parametrize("name", ["alex", "maya", "nora"])
def test_brows_are_single_hairs_that_lie_on_the_skin(name: str) -> None:
    _, body, character = person(name)
    number = character.surfaces.index(BROW_HAIR)
    mine = character.surface[character.faces[:, 0]] == number
    assert mine.sum() >= 150
    a, b, c = character.vertices[character.faces[mine]].astype(float).transpose(1, 0, 2)
    assert (np.cross(b - a, c - a)[:, 1] < 0).mean() > 0.99  # seen from the front
    skin = character.material == Material.SKIN
    scene = RayScene(character.vertices, character.faces[skin[character.faces].all(axis=1)])
    tips = c.astype(np.float32)
    start = tips - np.array([0, 0.03, 0], np.float32)
    below = scene.intersect(start, np.tile(np.array([0, 1, 0], np.float32), (len(tips), 1))).zbuf - 0.03
    assert (below > -0.0003).mean() > 0.97 and np.percentile(below, 97) < 0.004
    height = (c[:, 2] - body.face_frame.eyes[0, 2]) / body.face_frame.unit
    assert height.min() > 0.1
    assert height.max() < 0.6


@pytest.mark.parametrize("name", ["maya", "grace", "omar"])
def test_lashes_stand_on_the_edge_of_the_upper_lid(name: str) -> None:
    _, body, character = person(name)
    number = character.surfaces.index(LASH)
    points = character.vertices[character.surface == number].astype(float)
    for eye in body.face_frame.eyes:
        away = points[np.abs(points[:, 0] - eye[0]) < 1.2 * body.face_frame.eye_radius] - eye
        distance = np.linalg.norm(away, axis=1) / body.face_frame.eye_radius
        assert len(away) > 50
        assert distance.min() > 1.0 and distance.max() < 1.6
        assert np.ptp(away[:, 0]) > 1.2 * body.face_frame.eye_radius


def test_curls_shine_less_than_combed_hair() -> None:
    front = unit(0.0, 0.0, -1.0)[None]
    assert radiance(CURLS, front, LOOK).mean() < 0.9 * radiance(HAIR, front, LOOK).mean()


def test_skin_beyond_the_terminator_is_no_brighter_than_in_shadow() -> None:
    """No shadow is tested there: what is turned away from the light must not glow."""
    for degrees in (100, 105, 110, 120):
        angle = np.radians(degrees)
        normal = unit(np.sin(angle), 0, -np.cos(angle))[None]
        lit, shadowed = (radiance(SKIN, normal, LOOK, sunlit=np.full(1, sunlit, np.float32)) for sunlit in (1.0, 0.0))
        np.testing.assert_allclose(lit, shadowed, atol=1e-4)
