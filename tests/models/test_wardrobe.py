"""Avatars: their files, the clothes they are dressed in, and what a viewer would notice of both."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputError
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.character import Character, Material
from models.body.embree import RayScene
from models.body.figure import Figure as PosableFigure
from models.body.wardrobe import AVATAR_FOLDER, AvatarSpec, dress, list_avatars, load_avatar
from models.body.wardrobe.mesh import boundary_edges, cut_along, grid_faces, refine

NAMES = tuple(sorted(path.stem for path in AVATAR_FOLDER.glob("*.yaml")))
MAX_TRIANGLES = 70_000

POSES = {
    "rest": {},
    "knee up": {
        "left_hip": (-1.4, 0, 0),
        "left_knee": (1.5, 0, 0),
        "right_shoulder": (0, 1.5, 0),
        "spine_lower": (0.25, 0, 0),
    },
    "stride": {
        "left_hip": (-0.5, 0, 0),
        "right_hip": (0.45, 0, 0),
        "right_knee": (0.9, 0, 0),
        "spine_upper": (0, 0, 0.3),
    },
}


@cache
def bodies() -> AnnyBody:
    return AnnyBody()


@cache
def dressed(name: str) -> tuple[AvatarSpec, RestBody, Character]:
    spec = load_avatar(name)
    rest = bodies().rest(spec.phenotype.model_dump())
    return spec, rest, dress(spec, rest)


def posed(name: str, pose: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the dressed avatar and the bone transforms, in model axes."""
    _, rest, character = dressed(name)
    rotations = np.zeros((1, len(JOINT_NAMES), 3))
    for joint, turn in POSES[pose].items():
        rotations[0, JOINT_NAMES.index(joint)] = turn
    transforms = bone_transforms(rest, rotations, np.zeros((1, 3)))[0]
    return PosableFigure(character, len(rest.bone_names)).skin(transforms), transforms


def first_hits(character: Character, vertices: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of (M, 3) targets and 8 directions round the vertical: the face seen, and its distance from the target."""
    angles = np.arange(8) * np.pi / 4
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(8)], axis=1)
    origins = (targets[:, None] + 2.0 * directions[None]).reshape(-1, 3)
    rays = np.tile(-directions, (len(targets), 1))
    found = RayScene(vertices, character.faces).intersect(origins.astype(np.float32), rays.astype(np.float32))
    return found.pix_to_face, found.zbuf - 2.0


def moved_by(rest: RestBody, character: Character, *prefixes: str) -> np.ndarray:
    """(V,) share of the bones whose names start with ``prefixes``."""
    mine = np.array([name.startswith(prefixes) for name in rest.bone_names])
    return (character.bone_weights * mine[character.bone_indices]).sum(axis=1)


def test_shipped_avatars_are_many_and_different() -> None:
    specs = list_avatars()
    assert {"alex", "mannequin"} <= {spec.name for spec in specs}
    assert len(specs) >= 5
    assert tuple(spec.name for spec in specs) == NAMES
    people = [spec for spec in specs if spec.name != "mannequin"]
    assert {spec.phenotype.gender for spec in people} == {0.0, 1.0}
    assert len({spec.skin.tone for spec in people}) == len(people)
    assert len({spec.hair.kind for spec in people}) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_thumbnail_shows_two_views_and_is_small(name: str) -> None:
    file = AVATAR_FOLDER / f"{name}.png"
    assert file.stat().st_size <= 60_000
    picture = cv2.imread(str(file)).astype(float)
    left, right = np.hsplit(picture, 2)
    for view in (left, right):
        assert np.abs(view - np.median(view, axis=1, keepdims=True)).max() > 60


def test_unknown_avatar_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"no avatar named 'bob'.*alex.*mannequin"):
        load_avatar("bob")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: x\n\tcolor: 1", "not valid YAML, line 2"),
        ("- 1\n- 2", "holds no fields"),
        ("name: x\nheight: 3", "height"),
        ("name: x\nphenotype: {age: 3}", "phenotype.age"),
        ("name: x\noutfit: [{kind: toga}]", "outfit.0"),
        ("name: x\noutfit: [{kind: t-shirt, color: red}]", "outfit.0.t-shirt.color"),
        ("name: x\nhair: {kind: short, length: 2}", "hair.short.length"),
    ],
)
def test_wrong_file_names_the_file_and_the_field(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_avatar(file)
    assert "mine.yaml" in caught.value.message
    assert complaint in caught.value.message


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_avatar(tmp_path / "nobody.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_dressed_avatar_is_sound(name: str) -> None:
    spec, rest, character = dressed(name)
    assert character.name == spec.name
    assert len(character.faces) <= MAX_TRIANGLES
    assert np.isfinite(character.vertices).all()
    np.testing.assert_allclose(character.bone_weights.sum(axis=1), 1, atol=1e-5)
    assert character.bone_weights.min() >= 0
    assert character.bone_indices.max() < len(rest.bone_names)
    assert character.albedo.min() >= 0 and character.albedo.max() <= 1
    assert len(np.unique(character.layer)) == 1 + len(spec.outfit) + (spec.hair is not None)
    length = np.linalg.norm(character.strand, axis=1)
    hair = character.material == Material.HAIR
    np.testing.assert_allclose(length[hair], 1, atol=1e-3)
    assert not length[~hair].any()
    assert (rest.vertices.min(axis=0) - 0.12 < character.vertices.min(axis=0)).all()
    assert (rest.vertices.max(axis=0) + 0.15 > character.vertices.max(axis=0)).all()
    edges = np.concatenate([character.faces[:, [0, 1]], character.faces[:, [1, 2]]])
    assert np.linalg.norm(np.diff(character.vertices[edges], axis=1), axis=-1).max() < 0.09, "a spike"
    corners = character.surface[character.faces]
    assert (corners == corners[:, :1]).all(), "a face spans two surfaces"


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ["alex", "kenji", "maya", "nora", "grace"])
def test_no_skin_and_no_hole_in_the_trunk(name: str, pose: str) -> None:
    _, rest, character = dressed(name)
    vertices, transforms = posed(name, pose)
    spine = np.stack([rest.bone_heads[rest.bone(bone)] for bone in ("spine04", "spine01")])
    targets = np.concatenate(
        [spine[:1] + t * (spine[1:] - spine[:1]) + [[x, 0, 0]] for t in np.linspace(0, 1, 9) for x in (-0.05, 0, 0.05)]
    )
    bone = transforms[rest.bone("spine03")]
    seen, distance = first_hits(character, vertices, targets @ bone[:3, :3].T + bone[:3, 3])
    assert (seen >= 0).all(), "the trunk has a hole"
    limb = moved_by(rest, character, "upperarm", "lowerarm", "wrist", "finger", "metacarpal", "upperleg", "lowerleg")
    trunk = (limb[character.faces].max(axis=1)[seen] < 0.5) & (np.abs(distance) < 0.4)
    skin = character.material[character.faces[seen, 0]] == Material.SKIN
    assert trunk.mean() > 0.5
    assert not (trunk & skin).any(), "skin shows through the top"


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("name", ["alex", "kenji", "nora"])
def test_no_skin_and_no_hole_in_the_trousers(name: str, pose: str) -> None:
    _, rest, character = dressed(name)
    vertices, transforms = posed(name, pose)
    targets = []
    for side in "LR":
        for start, end in (("upperleg01", "lowerleg01"), ("lowerleg01", "foot")):
            a, b = (rest.bone_heads[rest.bone(f"{bone}.{side}")] for bone in (start, end))
            bone = transforms[rest.bone(f"{start}.{side}")]
            targets.append((a + np.linspace(0.25, 0.8, 7)[:, None] * (b - a)) @ bone[:3, :3].T + bone[:3, 3])
    seen, distance = first_hits(character, vertices, np.concatenate(targets))
    arm = moved_by(rest, character, "upperarm", "lowerarm", "wrist", "finger", "metacarpal")
    leg = (arm[character.faces].max(axis=1)[seen] < 0.5) & (np.abs(distance) < 0.15)
    skin = character.material[character.faces[seen, 0]] == Material.SKIN
    assert (seen >= 0).all(), "a trouser leg has a hole"
    assert not (leg & skin).any(), "skin shows through the trousers"


def test_sleeves_and_hems_have_an_inside() -> None:
    """Looking up under a shirt or a trouser leg shows cloth or skin, never the outside of the far cloth."""
    _, _, character = dressed("alex")
    shirt = character.faces[(character.layer == 3)]
    edges, _ = boundary_edges(
        np.unique(np.round(character.vertices, 6), axis=0, return_inverse=True)[1].reshape(-1)[shirt]
    )
    assert len(edges) > 0
    scene = RayScene(character.vertices, character.faces)
    hem = character.vertices[np.unique(shirt)]
    ring = hem[hem[:, 2] < hem[:, 2].min() + 0.01]
    center = ring.mean(axis=0)
    origins = (center + 0.97 * (ring - center)) - [0, 0, 0.3]
    found = scene.intersect(origins.astype(np.float32), np.tile(np.float32([0, 0, 1]), (len(origins), 1)))
    assert (found.pix_to_face >= 0).all()


def test_layers_keep_their_order() -> None:
    """From 8 directions at the waist the shirt is seen, not the trousers under it."""
    _, rest, character = dressed("alex")
    hip = rest.bone_heads[rest.bone("upperleg01.L")][2]
    targets = np.array([[x, rest.bone_heads[rest.bone("root")][1], hip + 0.06] for x in (-0.04, 0.0, 0.04)])
    seen, distance = first_hits(character, character.vertices, targets)
    near = np.abs(distance) < 0.3
    assert (character.layer[seen][near] == 3).all()


@pytest.mark.parametrize(
    "change",
    [
        {"hair": {"kind": "long", "reach": 0.3, "fringe": True, "curl": 0.8}},
        {"hair": {"kind": "afro", "length": 0.09}},
        {"hair": {"kind": "tied", "style": "bun", "height": 0.1}},
        {"hair": None, "outfit": []},
        {
            "outfit": [
                {"kind": "skirt", "flare": 1, "stripes": "#ffffff"},
                {"kind": "hoodie", "front": "zip", "hem": 0.2},
            ]
        },
        {"outfit": [{"kind": "shorts", "fit": 1}, {"kind": "sweater", "neck": "turtle", "block": "#223344"}]},
        {"outfit": [{"kind": "jeans"}, {"kind": "t-shirt", "neck": "v"}, {"kind": "jacket", "front": "zip"}]},
        {"outfit": [{"kind": "shirt", "tie": "#203a60"}, {"kind": "jacket", "lapels": True, "hem": -0.1}]},
        {"outfit": [{"kind": "shirt"}, {"kind": "trousers", "belt": "#332211"}, {"kind": "shoes", "collar": 1}]},
    ],
    ids=[
        "fringe",
        "big afro",
        "low bun",
        "bare",
        "skirt",
        "turtle neck",
        "zipped jacket",
        "suit and tie",
        "tucked shirt",
    ],
)
def test_every_kind_can_be_worn(change: dict) -> None:
    spec, rest, _ = dressed("alex")
    other = AvatarSpec.model_validate(spec.model_dump() | change)
    character = dress(other, rest)
    assert np.isfinite(character.vertices).all()
    assert len(np.unique(character.layer)) == 1 + len(other.outfit) + (other.hair is not None)
    edges = np.concatenate([character.faces[:, [0, 1]], character.faces[:, [1, 2]]])
    assert np.linalg.norm(np.diff(character.vertices[edges], axis=1), axis=-1).max() < 0.09, "a spike"


def test_mannequin_is_one_grey_thing() -> None:
    _, _, character = dressed("mannequin")
    assert set(np.unique(character.material)) == {int(Material.MANNEQUIN)}
    assert np.ptp(character.albedo, axis=0).max() == 0


def test_dressing_is_remembered_and_a_damaged_memory_is_made_anew(tmp_path: Path) -> None:
    spec, rest, _ = dressed("mannequin")
    first = dress(spec, rest, tmp_path)
    (file,) = tmp_path.iterdir()
    again = dress(spec, rest, tmp_path)
    file.write_bytes(file.read_bytes()[:1000])
    anew = dress(spec, rest, tmp_path)
    for other in (again, anew):
        assert other.surfaces == first.surfaces
        np.testing.assert_array_equal(other.vertices, first.vertices)
        np.testing.assert_array_equal(other.bone_weights, first.bone_weights)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_colour_is_another_character(tmp_path: Path) -> None:
    spec, rest, _ = dressed("mannequin")
    red = spec.model_copy(update={"skin": spec.skin.model_copy(update={"color": "#ff0000"})})
    dress(spec, rest, tmp_path)
    albedo = dress(red, rest, tmp_path).albedo
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_allclose(albedo[0], [1, 0, 0], atol=1e-6)


def test_cutting_is_exact_and_loses_no_cloth() -> None:
    points = np.stack([*np.meshgrid(np.arange(9.0), np.arange(9.0)), np.zeros((9, 9))], axis=-1).reshape(-1, 3)
    faces = grid_faces(9, 9, False)
    values = points @ [0.7, 0.4, 0] - 4.1
    cut, matrix, positive = cut_along(faces, values)
    moved, level = matrix @ points, matrix @ values
    corners = level[cut]
    assert ((corners >= -1e-9).all(axis=1) == positive).all()
    assert ((corners <= 1e-9).all(axis=1) == ~positive).all()
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), 1)
    a, b, c = moved[cut].transpose(1, 0, 2)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(64, abs=1.5)
    assert len(boundary_edges(cut)[0]) < len(boundary_edges(faces)[0]) + 8


def test_refining_halves_long_edges_without_cracks() -> None:
    points = np.stack([*np.meshgrid(np.arange(4.0), np.arange(4.0)), np.zeros((4, 4))], axis=-1).reshape(-1, 3)
    faces, matrix = refine(grid_faces(4, 4, False), points, 0.8)
    fine = matrix @ points
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert np.linalg.norm(fine[edges[:, 0]] - fine[edges[:, 1]], axis=1).max() <= 0.8
    rim = fine[boundary_edges(faces)[0]].reshape(-1, 3)
    assert (np.isin(rim[:, 0], [0, 3]) | np.isin(rim[:, 1], [0, 3])).all()
