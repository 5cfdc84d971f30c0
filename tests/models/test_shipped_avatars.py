"""The avatars that come with the program: who they are, and that no skin shows where cloth is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.character import Character, Material
from models.body.embree import RayScene
from models.body.figure import Figure as PosableFigure
from models.body.wardrobe import AVATAR_FOLDER, AvatarSpec, dress, list_avatars, load_avatar
from models.body.wardrobe.cloth import Figure
from models.body.wardrobe.dressing import MAKERS, anatomy_of
from models.body.wardrobe.mesh import unit
from models.body.wardrobe.spec import Shoes

NAMES = tuple(sorted(path.stem for path in AVATAR_FOLDER.glob("*.yaml")))
#: Metres inside a garment's edge from which skin may not be seen; nearer, one may look into a sleeve or under a hem.
DEEP = 0.03
#: Rays that may graze the inner side of skin at a silhouette, and skin at the edge of a gap between two triangles.
MOST_HOLES, MOST_GRAZES = 2, 2
#: Metres over skin within which the cloth lies that covers it.
OVER = 0.08
#: Metres between the rays.
STEP = 0.008

ARMS: dict[str, tuple[float, ...]] = {"left_shoulder": (0, 0.5, 0), "right_shoulder": (0, -0.5, 0)}
POSES: dict[str, dict[str, tuple[float, ...]]] = {
    "standing": ARMS,
    "heel strike": {
        "left_shoulder": (0.45, 0.5, 0),
        "right_shoulder": (-0.45, -0.5, 0),
        "left_hip": (-0.5, 0, 0),
        "left_knee": (0.1, 0, 0),
        "right_hip": (0.4, 0, 0),
        "right_knee": (0.35, 0, 0),
        "spine_upper": (0, 0, 0.15),
    },
    "passing": {**ARMS, "right_hip": (-0.25, 0, 0), "right_knee": (1.0, 0, 0)},
    "running": {
        "left_shoulder": (0.7, 0.5, 0),
        "right_shoulder": (-0.5, -0.5, 0),
        "left_hip": (-1.0, 0, 0),
        "left_knee": (1.5, 0, 0),
        "right_hip": (0.35, 0, 0),
        "right_knee": (0.7, 0, 0),
        "spine_lower": (0.15, 0, 0),
        "spine_upper": (0, 0, 0.25),
    },
}


#: Poses of people in real clips, chosen to be extreme (stride, knee and hip bent most, arm up, lunge, bent over): joint
#: rotations of bodies that the mesh and avatar pipelines fitted to runner, tennis, demo and walk, root upright. ``names`` (P,)
#: clip, frame and what is extreme in it; ``rotations`` (P, J, 3) in the order of ``JOINT_NAMES``.
FITTED = Path(__file__).parent / "fitted_poses.npz"


def all_poses() -> dict[str, np.ndarray]:
    """(J, 3) rotations by the name of the pose."""
    poses = {}
    for pose, turns in POSES.items():
        poses[pose] = np.zeros((len(JOINT_NAMES), 3))
        for joint, turn in turns.items():
            poses[pose][JOINT_NAMES.index(joint)] = turn
    with np.load(FITTED) as fitted:
        poses.update(zip(fitted["names"].tolist(), fitted["rotations"].astype(float), strict=True))
    return poses


@cache
def bodies() -> AnnyBody:
    return AnnyBody()


@cache
def dressed(name: str) -> tuple[AvatarSpec, RestBody, Character]:
    spec = load_avatar(name)
    rest = bodies().rest(spec.phenotype.model_dump())
    return spec, rest, dress(spec, rest)


@cache
def depth_under_cloth(name: str) -> np.ndarray:
    """(N,) metres by which each body vertex lies inside the edges of any garment but shoes, which are open at the instep."""
    spec, rest, _ = dressed(name)
    figure = Figure.of(anatomy_of(rest))
    for garment in spec.outfit:
        if isinstance(garment, Shoes):
            continue
        next(maker for kind, maker in MAKERS.items() if isinstance(garment, kind))(figure, garment)
    return np.max([np.full(len(rest.vertices), -1.0), *(depth for _, depth in figure.layers)], axis=0)


def seen_from(angle: float, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(M,) faces that parallel rays from one side meet first."""
    toward = -np.array([np.cos(angle), np.sin(angle), 0.0])
    across = np.array([-toward[1], toward[0], 0.0])
    low, high = (vertices @ across).min(), (vertices @ across).max()
    x, z = np.meshgrid(np.arange(low, high, STEP), np.arange(vertices[:, 2].min(), vertices[:, 2].max(), STEP))
    origins = x.reshape(-1, 1) * across + z.reshape(-1, 1) * [0, 0, 1] - 3.0 * toward
    found = RayScene(vertices, faces).intersect(
        origins.astype(np.float32), np.tile(toward, (len(origins), 1)).astype(np.float32)
    )
    return found.pix_to_face[found.pix_to_face >= 0]


def test_there_is_an_avatar_for_each_kind_of_shot() -> None:
    specs = {spec.name: spec for spec in list_avatars()}
    assert len(specs) >= 12
    worn = {name: {garment.kind for garment in spec.outfit} for name, spec in specs.items()}
    assert worn["victor"] >= {"shirt", "jacket", "trousers"}, "office"
    assert worn["omar"] >= {"hoodie", "shorts"}, "street"
    assert worn["maya"] >= {"leggings", "t-shirt"}, "sport"
    assert worn["lena"] >= {"skirt"}, "summer dress"
    assert worn["bruno"] >= {"overall"}, "work overall"
    assert worn["ingrid"] >= {"coat"}, "winter coat"
    assert worn["mannequin"] == set() and specs["mannequin"].skin.kind == "mannequin"
    assert worn["mocap"] >= {"markers"}, "motion-capture suit"
    people = [spec for spec in specs.values() if spec.skin.kind == "natural"]
    assert np.ptp([spec.phenotype.weight for spec in people]) > 0.4
    assert np.ptp([spec.phenotype.age for spec in people]) > 0.25
    assert np.ptp([spec.phenotype.height for spec in people]) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "mannequin"])
def test_no_skin_shows_inside_a_garment_from_eight_directions(name: str) -> None:
    _, rest, character = dressed(name)
    covered = depth_under_cloth(name) > DEEP
    # Skin vertices are body vertices: find which.
    order = {tuple(point): index for index, point in enumerate(rest.vertices.tolist())}
    body_vertex = np.array([order.get(tuple(point), -1) for point in character.vertices.tolist()])
    skin = character.material == Material.SKIN
    forbidden_vertex = skin & (body_vertex >= 0) & covered[body_vertex]
    forbidden = forbidden_vertex[character.faces].all(axis=1)
    chin = rest.bone_heads[rest.bone("head")][2] - 0.03
    below_chin = skin[character.faces[:, 0]] & (character.vertices[character.faces, 2].max(axis=1) < chin)
    posable = PosableFigure(character, len(rest.bone_names))
    for pose, rotations in all_poses().items():
        vertices = posable.skin(bone_transforms(rest, rotations[None], np.zeros((1, 3)))[0])
        for eighth in range(8):
            angle = eighth * np.pi / 4
            seen = seen_from(angle, vertices, character.faces)
            assert len(seen) > 3000
            a, b, c = vertices[character.faces[seen]].transpose(1, 0, 2)
            away = np.cross(b - a, c - a) @ [np.cos(angle), np.sin(angle), 0.0] < 0
            hole = np.flatnonzero(away & below_chin[seen])
            assert len(hole) <= MOST_HOLES, f"{pose}, {45 * eighth} degrees: into the body near {a[hole[:3]].round(2)}"
            bare = np.flatnonzero(np.isin(seen, np.flatnonzero(forbidden)))
            where = vertices[character.faces[seen[bare]]].mean(axis=1)
            # One may look up a wide sleeve or leg: there cloth lies straight over the skin.
            outward = unit(np.cross(b - a, c - a)[bare])
            over = RayScene(vertices, character.faces).intersect(
                (where + 0.0005 * outward).astype(np.float32), outward.astype(np.float32)
            )
            where = where[(over.pix_to_face < 0) | (over.zbuf > OVER)]
            assert len(where) <= MOST_GRAZES, (
                f"{pose}, {45 * eighth} degrees: {len(where)} rays meet skin, near {where[:3].round(2)}"
            )


@pytest.mark.slow
def test_markers_stand_on_the_suit() -> None:
    """From eight directions some balls are seen, small and bright, before the dark cloth."""
    spec, _, character = dressed("mocap")
    layer = 1 + [garment.kind for garment in spec.outfit].index("markers")
    balls = np.flatnonzero(character.layer == layer)
    for eighth in range(8):
        seen = seen_from(eighth * np.pi / 4, character.vertices, character.faces)
        share = np.isin(seen, balls).mean()
        assert 0.001 < share < 0.03
    assert character.albedo[character.faces[balls]].min() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lena", "grace", "ingrid"])
def test_no_leg_comes_through_a_skirt(name: str) -> None:
    """In poses of real clips the upper third of what a skirt or coat hangs over is never seen from the side."""
    spec, rest, character = dressed(name)
    layer = 1 + [garment.kind in ("skirt", "coat") for garment in spec.outfit].index(True)
    hem = character.vertices[character.faces[character.layer == layer], 2].min()
    hip = rest.bone_heads[rest.bone("upperleg01.L")][2]
    legs = np.array([bone.startswith(("upperleg", "lowerleg")) for bone in rest.bone_names])
    on_leg = (character.bone_weights * legs[character.bone_indices]).sum(axis=1) > 0.6
    under = on_leg & (character.vertices[:, 2] > (2 * hip + hem) / 3)
    hidden = under[character.faces].all(axis=1) & (character.layer < layer)
    assert hidden.sum() > 20
    posable = PosableFigure(character, len(rest.bone_names))
    for pose, rotations in all_poses().items():
        vertices = posable.skin(bone_transforms(rest, rotations[None], np.zeros((1, 3)))[0])
        for eighth in range(8):
            seen = seen_from(eighth * np.pi / 4, vertices, character.faces)
            through = np.isin(seen, np.flatnonzero(hidden)).sum()
            assert through <= MOST_GRAZES, f"{pose}, {45 * eighth} degrees: {through} rays meet a leg"


def test_a_suit_jacket_opens_over_shirt_and_tie_and_closes_below() -> None:
    """Down the middle of the front: shirt, tie, jacket, trousers; beside it on the chest: the jacket, doubled by a lapel."""
    spec, rest, character = dressed("victor")
    kinds = [garment.kind for garment in spec.outfit]
    hip, neck = (rest.bone_heads[rest.bone(bone)][2] for bone in ("upperleg01.L", "neck01"))

    ahead = np.array([[0, 1, 0]], np.float32)

    def front(x: float, level: float) -> tuple[int, np.ndarray]:
        origin = np.array([[x, -1.0, hip + level * (neck - hip)]], np.float32)
        face = RayScene(character.vertices, character.faces).intersect(origin, ahead).pix_to_face[0]
        return int(character.layer[face]), character.albedo[character.faces[face, 0]]

    layer, tie = front(0.0, 0.6)
    assert layer == 1 + kinds.index("shirt")
    assert tie[0] > 2 * tie[1], "the tie is dark red"
    layer, shirt = front(0.032, 0.8)
    assert layer == 1 + kinds.index("shirt") and shirt.min() > 0.6, "the shirt is white"
    for place in ((0.1, 0.7), (-0.1, 0.7), (0.0, 0.26)):
        assert front(*place)[0] == 1 + kinds.index("jacket")
    assert front(0.0, -0.07)[0] == 1 + kinds.index("trousers")
    # A ray through the lapel meets cloth of the jacket twice, a finger's breadth apart at most.
    scene = RayScene(character.vertices, character.faces)
    origin = np.array([[0.09, -1.0, hip + 0.7 * (neck - hip)]], np.float32)
    first = scene.intersect(origin, ahead).zbuf[0]
    second = scene.intersect(origin + (first + 0.0005) * ahead, ahead)
    assert character.layer[second.pix_to_face[0]] == 1 + kinds.index("jacket")
    assert second.zbuf[0] < 0.015


def test_stripes_have_straight_edges() -> None:
    """On the trunk the colour of a striped sweater changes along level lines, to a millimetre."""
    spec, rest, character = dressed("grace")
    layer = 1 + [garment.kind for garment in spec.outfit].index("sweater")
    arm = np.array([bone.startswith(("upperarm", "lowerarm", "wrist")) for bone in rest.bone_names])
    on_arm = (character.bone_weights * arm[character.bone_indices]).sum(axis=1)
    faces = character.faces[(character.layer == layer) & (on_arm[character.faces].max(axis=1) < 0.05)]
    dark = character.albedo[faces[:, 0], 0] < 0.3
    hem = character.vertices[faces, 2].min()
    trunk = character.vertices[faces, 2].min(axis=1) > hem + 0.07
    corners = [
        set(map(tuple, character.vertices[np.unique(faces[part & trunk])].round(5).tolist())) for part in (dark, ~dark)
    ]
    shared = np.array(sorted(corners[0] & corners[1]))
    heights = np.sort(shared[:, 2])
    lines = np.split(heights, np.flatnonzero(np.diff(heights) > 0.01) + 1)
    lines = [line for line in lines if len(line) > 20]
    assert len(lines) >= 6
    assert max(np.ptp(line) for line in lines) < 0.002


@pytest.mark.parametrize("sleeve", [0.2, 0.35])
def test_short_sleeves_cover_the_armpit(sleeve: float) -> None:
    spec, rest, _ = dressed("alex")
    changed = spec.model_dump()
    changed["outfit"] = [{"kind": "t-shirt", "sleeve": sleeve, "fit": 0.2}]
    character = dress(AvatarSpec.model_validate(changed), rest)
    cloth = character.vertices[np.unique(character.faces[character.layer == 1])]
    body = anatomy_of(rest)
    armpit = (np.abs(body.arm_weight - 0.6) < 0.3) & (body.normals[:, 2] < -0.3) & (np.abs(body.arm - 0.2) < 0.12)
    assert armpit.sum() > 20
    gap = np.linalg.norm(body.points[armpit, None] - cloth[None], axis=-1).min(axis=1)
    assert gap.max() < 0.03
