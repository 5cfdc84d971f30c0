"""A dressed figure whose face moves: skin, brows, lashes and lids follow the facial actions; a mouth to look into.

A character knows nothing of the base mesh any more, so each vertex near the face is laid onto the rest body once: it follows
the point of the skin that it lies on, or is nearest to and turned alike. Eyeballs turn with their bones instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.base import RestBody
from models.body.character import Character, Material, Surface
from models.body.expression_actions import DRIVEN_ACTIONS, FacialActions, base_faces, facial_actions
from models.body.expression_points import COUNTERPARTS, LID_PAIRS
from models.body.figure import face_normals, unit, vertex_normals
from models.body.wardrobe.dressing import anatomy_of

#: Bones that carry the face.
FACE_BONES = ("head", "eye.", "neck")
#: A displacement smaller than this moves nothing, metres.
STILL = 5e-5
#: How far from the skin a vertex still follows it wholly, and from where on not at all, metres: brows and lashes stand off
#: it a little, hair that hangs over the forehead does not follow the brows.
NEAR, FAR = 0.008, 0.02
#: What it counts to be turned away from the skin, metres for a right angle: keeps upper and lower lip apart.
TURNED_AWAY = 0.01
#: Room between eyeball and lid, metres.
LID_ROOM = 0.0007
#: How far a blink goes, in parts of what brings the middles of the lids together.
CLOSING = 1.0
#: Faces of the rest body that are tried for each vertex, by each of two measures.
CANDIDATES = 12

TEETH = Surface(Material.NAIL, 0.25, specular=0.045, subsurface=0.3)
MOUTH = Surface(Material.LIP, 0.35, specular=0.03, subsurface=0.4)
#: Linear RGB of teeth, tongue and the inside of the cheeks.
TOOTH_COLOR, TONGUE_COLOR, CHEEK_COLOR = (0.72, 0.67, 0.57), (0.30, 0.075, 0.07), (0.16, 0.03, 0.028)
#: Share of the sky that is open at the teeth and at the lips, and how fast it falls off into the mouth, metres.
OPEN_AT_TEETH, OPEN_AT_LIPS, DARKENING = 0.75, 0.55, 0.012
#: How far to the side light falls on the teeth, metres.
TEETH_LIT = 0.016
#: Vertices of the base mesh that are the tongue and the teeth.
TONGUE, LOWER_TEETH, UPPER_TEETH = (np.arange(*ends) for ends in ((13380, 13606), (14992, 15060), (15060, 15128)))
LASHES = Surface(Material.NAIL, 0.8, specular=0.01)
LASH_COLOR = (0.012, 0.009, 0.008)
#: Vertices of the base mesh along the front edge of the left upper lid, from the nose outwards; those of the right eye come
#: so many later.
LID_EDGE = np.array([14750, 14785, 14771, 14764, 14775, 14794, 14795, 14791, 14790, 14789, 14788, 14787, 14786])
RIGHT_EYE = 125
#: How far lashes reach forwards and downwards from there, metres, and which share of it at the corner next to the nose. They
#: are the line that is left of an eye that is shut; skin that is painted dark folds away between the lids.
LASH, INNER_LASH = (0.0015, 0.0016), 0.4
#: Lips that rest do not close exactly, and teeth would flash between them: they wait this far above and below, metres, and come
#: as the lips part: metres by action, and where they are in place.
TEETH_HIDDEN, PARTED = 0.008, 0.006
PARTING = {"jawOpen": 0.034, "mouthClose": -0.034, "mouthFunnel": 0.008} | dict.fromkeys(
    ("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"), 0.003
)


class MovingFace:
    """Moves the face of a posed character.

    Parameters
    ----------
    character:
        The dressed figure.
    rest:
        The body that it was dressed on.
    base:
        (V,) int: which vertex of the base mesh each vertex is, -1 where that is not known and to be found; all of them where
        nothing is given. See :func:`with_mouth`.
    actions:
        The facial actions; the driven ones of the package where none are given.
    """

    def __init__(
        self, character: Character, rest: RestBody, base: np.ndarray | None = None, actions: FacialActions | None = None
    ) -> None:
        actions = facial_actions(DRIVEN_ACTIONS) if actions is None else actions
        offsets = closing_lids(actions, rest)
        self.names = actions.names
        known = np.full(len(character.vertices), -1) if base is None else base
        body = offsets[:, rest.base_indices]
        vertices, weights = _followed(character, rest, np.abs(body).max(axis=(0, 2)) > STILL, known < 0)
        exact = np.flatnonzero(known >= 0)
        moved = np.concatenate([np.stack([weights @ offset for offset in body]), offsets[:, known[exact]]], axis=1)
        vertices = np.concatenate([vertices, exact])
        teeth = np.select([np.isin(known[vertices], group) for group in (UPPER_TEETH, LOWER_TEETH)], [1.0, -1.0], 0.0)
        kept = (np.abs(moved).max(axis=(0, 2)) > STILL) | (teeth != 0)
        self.vertices = vertices[kept]
        """(F,) int: the character's vertices that move."""
        self._teeth = -TEETH_HIDDEN * teeth[kept].astype(np.float32)
        self._parting = np.array([PARTING.get(name, 0.0) for name in actions.names])
        self._offsets = moved[:, kept].reshape(len(moved), -1).astype(np.float32)
        self._rest = character.vertices[self.vertices]
        self._eyes, self._reach = _lid_limits(character, rest, self._rest)
        self._lids = [np.flatnonzero(reach) for reach in self._reach]
        rows = np.repeat(np.arange(len(self.vertices)), character.bone_indices.shape[1])
        columns = character.bone_indices[self.vertices].ravel()
        values = character.bone_weights[self.vertices].ravel()
        shape = (len(self.vertices), len(rest.bone_names))
        self._bones = sparse.csr_matrix((values, (rows, columns)), shape=shape)

    def shift(self, expression: np.ndarray) -> np.ndarray:
        """(F, 3) float32 metres: how far the vertices move at rest under the (A,) actions, 0..1 each."""
        shift = (expression.astype(np.float32) @ self._offsets).reshape(-1, 3)
        shift[:, 2] += float(np.clip(expression @ self._parting / PARTED, 0.0, 1.0)) * self._teeth
        # Lids slide over the eyeballs: a straight way from open to closed would lead through them.
        for eye, reach, near in zip(self._eyes, self._reach, self._lids, strict=True):
            from_eye = self._rest[near] + shift[near] - eye
            distance = np.linalg.norm(from_eye, axis=1)
            short = np.maximum(reach[near] / np.maximum(distance, 1e-6), 1.0) - 1.0
            shift[near] += from_eye * short[:, None]
        return shift

    def __call__(self, vertices: np.ndarray, transforms: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """(V, 3) float32: a skinned character's vertices with its face moved.

        Parameters
        ----------
        vertices:
            (V, 3) metres, the character under ``transforms`` with its face at rest.
        transforms:
            (B, 4, 4), rest coordinates -> camera coordinates for each bone.
        expression:
            (A,) the actions, 0..1.
        """
        if not expression.any():
            return vertices
        shift = self.shift(expression)
        turn = (self._bones @ transforms[:, :3, :3].reshape(len(transforms), 9)).reshape(-1, 3, 3)
        result = vertices.copy()
        result[self.vertices] += np.einsum("vij,vj->vi", turn, shift)
        return result


def with_moving_face(character: Character, rest: RestBody) -> tuple[Character, MovingFace | None]:
    """The character made ready for a face that moves; ``None`` instead of a face where it has no eyes, as a mannequin."""
    if not (character.material == Material.EYE).any():
        return character, None
    character, base = with_mouth(character, rest)
    character, lashes = with_lashes(character, rest)
    return character, MovingFace(character, rest, np.concatenate([base, lashes]))


def closing_lids(actions: FacialActions, rest: RestBody) -> np.ndarray:
    """(A, 19158, 3) the actions' displacements, with blinks of such a length that 1 closes the eyes of this body.

    The package's blink is made for wide eyes: on most builds its upper lid ends far below the lower one.
    """
    offsets = actions.offsets
    for side, pairs in (("Left", LID_PAIRS[0]), ("Right", LID_PAIRS[1])):
        name = f"eyeBlink{side}"
        if name not in actions.names:
            continue
        row = actions.names.index(name)
        shares = []
        for pair in pairs:
            upper, lower = (COUNTERPARTS[point] for point in pair)
            gap = float(rest.base_vertices[upper, 2] - rest.base_vertices[lower, 2])
            shares.append(gap / max(float(offsets[row, lower, 2] - offsets[row, upper, 2]), 1e-6))
        offsets = offsets.copy() if offsets is actions.offsets else offsets
        offsets[row] *= float(np.clip(CLOSING * np.mean(shares), 0.2, 1.0))
    return offsets


def _followed(
    character: Character, rest: RestBody, moves: np.ndarray, unknown: np.ndarray
) -> tuple[np.ndarray, sparse.csr_matrix]:
    """The character's vertices that follow the face, and (F, V) weights of the rest body's vertices for each.

    ``moves`` (V,) bool tells which vertices of the rest body any action moves; of the character's vertices only the
    ``unknown`` ones are looked at.
    """
    carried = np.isin(character.bone_indices, _bones(rest, FACE_BONES)) * character.bone_weights
    low, high = rest.vertices[moves].min(axis=0) - FAR, rest.vertices[moves].max(axis=0) + FAR
    inside = ((character.vertices > low) & (character.vertices < high)).all(axis=1)
    eyeball = character.material == Material.EYE
    vertices = np.flatnonzero((carried.sum(axis=1) > 0.3) & inside & ~eyeball & unknown)
    # Eyeballs turn with their bones: nothing lies on them.
    of_eye = np.isin(rest.bone_indices, _bones(rest, ("eye.",))) * rest.bone_weights
    usable = (of_eye.sum(axis=1) < 0.5)[rest.faces].all(axis=1)
    usable &= ((rest.vertices > low - FAR) & (rest.vertices < high + FAR)).all(axis=1)[rest.faces].any(axis=1)
    faces = rest.faces[usable]
    normals = vertex_normals(character.vertices, character.faces)[vertices]
    face, bary, away = _lain_on(character.vertices[vertices], normals, rest.vertices, faces)
    fade = np.clip((FAR - away) / (FAR - NEAR), 0.0, 1.0)
    # A garment at the throat is no skin: it stays.
    fade *= np.isin(
        character.material[vertices], (Material.SKIN, Material.LIP, Material.HAIR, Material.MANNEQUIN, Material.NAIL)
    )
    rows = np.repeat(np.arange(len(vertices)), 3)
    values = (bary * fade[:, None]).ravel()
    return vertices, sparse.csr_matrix((values, (rows, faces[face].ravel())), shape=(len(vertices), len(rest.vertices)))


def _bones(rest: RestBody, prefixes: tuple[str, ...]) -> list[int]:
    return [index for index, name in enumerate(rest.bone_names) if name.startswith(prefixes)]


def _lain_on(
    points: np.ndarray, normals: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay points on a surface: the face (M,), where on it (M, 3) barycentric, and how far away (M,) each one is.

    Among the faces near a point the nearest one counts, with an allowance for being turned as the point's ``normals`` are.
    """
    corners = vertices[faces]
    turned = unit(face_normals(vertices, faces))
    count = min(CANDIDATES, len(faces))
    # Twice over, because a face is not near its middle only: once by place, once by place and direction.
    middle = corners.mean(axis=1)
    by_place = cKDTree(middle).query(points, count)[1]
    directed = np.concatenate([middle, TURNED_AWAY * turned], axis=1)
    by_both = cKDTree(directed).query(np.concatenate([points, TURNED_AWAY * normals], axis=1), count)[1]
    tried = np.concatenate([by_place.reshape(len(points), -1), by_both.reshape(len(points), -1)], axis=1)
    bary = _barycentric(points[:, None], corners[tried])
    nearest = np.einsum("mkc,mkci->mki", bary, corners[tried])
    away = np.linalg.norm(nearest - points[:, None], axis=2)
    cost = away + TURNED_AWAY * (1.0 - np.einsum("mki,mi->mk", turned[tried], normals))
    best = cost.argmin(axis=1)
    each = np.arange(len(points))
    return tried[each, best], bary[each, best], away[each, best]


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(..., 3) weights of the corners (..., 3, 3) for the triangle's point that is nearest to ``points`` (..., 3).

    Outside, the nearest of the three edges decides.
    """
    a, b, c = (corners[..., k, :] for k in range(3))
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = ((x * y).sum(-1) for x, y in ((ab, ab), (ab, ac), (ac, ac)))
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-18)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inner = np.stack([1 - v - w, v, w], axis=-1)
    best, least = inner, np.where((inner >= 0).all(-1), -1.0, np.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        start, along = corners[..., first, :], corners[..., second, :] - corners[..., first, :]
        share = np.clip(((points - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-18), 0, 1)
        away = ((start + share[..., None] * along - points) ** 2).sum(-1)
        weights = np.zeros_like(inner)
        weights[..., first], weights[..., second] = 1 - share, share
        nearer = away < least
        best = np.where(nearer[..., None], weights, best)
        least = np.where(nearer, away, least)
    return best


def _lid_limits(character: Character, rest: RestBody, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2, 3) centres of the eyes and (2, F) least distances of the moving vertices from them, 0 where there is none."""
    eyes = np.stack([rest.bone_heads[rest.bone(f"eye.{side}")] for side in "LR"])
    ball = character.vertices[character.material == Material.EYE]
    reach = np.zeros((2, len(points)), np.float32)
    for row, eye in zip(reach, eyes, strict=True):
        own = ball[np.abs(ball[:, 0] - eye[0]) < 0.5 * abs(eyes[0, 0] - eyes[1, 0])] if len(ball) else ball
        if len(own) == 0:
            continue
        radius = float(np.linalg.norm(own - eye, axis=1).max())
        distance = np.linalg.norm(points - eye, axis=1)
        near = (distance < 2.0 * radius) & (points[:, 1] < eye[1])
        # What already lies nearer (the inner rim of a lid) is only kept from coming nearer still.
        row[near] = np.minimum(distance, radius + LID_ROOM)[near]
    return eyes, reach


def mouth_cavity(rest: RestBody) -> np.ndarray:
    """(F,) bool: faces of the rest body that are the inside of the mouth, tongue included."""
    inside = anatomy_of(rest).parts["inside"]
    of_eye = np.isin(rest.bone_indices, _bones(rest, ("eye.",))) * rest.bone_weights
    return inside & (of_eye.sum(axis=1) < 0.5)[rest.faces].all(axis=1)


def with_mouth(character: Character, rest: RestBody) -> tuple[Character, np.ndarray]:
    """The character with teeth, a tongue and the inside of its cheeks, which are seen where the mouth opens.

    Returns it with, for each of its vertices, the vertex of the base mesh that it is; -1 for those that it had before.
    """
    cavity = mouth_cavity(rest)
    tongue = np.isin(rest.base_indices, TONGUE)[rest.faces].all(axis=1)
    teeth = base_faces("helper-upper-teeth", "helper-lower-teeth")
    pieces = (
        (rest.base_indices[rest.faces[cavity & ~tongue]], CHEEK_COLOR, MOUTH),
        (rest.base_indices[rest.faces[tongue]], TONGUE_COLOR, MOUTH),
        (teeth, TOOTH_COLOR, TEETH),
    )
    base = [np.full(len(character.vertices), -1)]
    lips = float(rest.base_vertices[pieces[0][0], 1].min())
    for faces, color, surface in pieces:
        used, compact = np.unique(faces, return_inverse=True)
        base.append(used)
        depth = np.maximum(rest.base_vertices[used, 1] - lips, 0.0)
        openness = OPEN_AT_LIPS * np.exp(-depth / DARKENING)
        if surface is TEETH:
            # They stand right behind the lips and catch what light comes in, but not behind the corners of the mouth.
            openness = OPEN_AT_TEETH * np.exp(-((rest.base_vertices[used, 0] / TEETH_LIT) ** 2))
        points = rest.base_vertices[used].copy()
        points[np.isin(used, UPPER_TEETH), 2] += TEETH_HIDDEN
        points[np.isin(used, LOWER_TEETH), 2] -= TEETH_HIDDEN
        part = {
            "vertices": points, "faces": compact.reshape(-1, 3),
            "bone_indices": rest.base_bone_indices[used], "bone_weights": rest.base_bone_weights[used],
            "albedo": np.tile(np.array(color, np.float32), (len(used), 1)), "surface": surface,
            "occlusion": openness,
        }  # fmt: skip
        character = _added(character, part)
    return character, np.concatenate(base)


def with_lashes(character: Character, rest: RestBody) -> tuple[Character, np.ndarray]:
    """The character with a line of lashes along each upper lid.

    Returns it with, for each of the new vertices, the vertex of the base mesh that it follows.
    """
    reach = np.linspace(INNER_LASH, 1.0, len(LID_EDGE))[:, None] * np.array([0.0, -LASH[0], -LASH[1]])
    followed = []
    for edge in (LID_EDGE, LID_EDGE + RIGHT_EYE):
        used, count = np.concatenate([edge, edge]), len(edge)
        first = np.arange(count - 1)
        faces = np.concatenate(
            [np.stack([first, first + 1, first + count], 1), np.stack([first + 1, first + count + 1, first + count], 1)]
        )
        points = rest.base_vertices[used].copy()
        points[count:] += reach
        part = {
            "vertices": points, "faces": faces,
            "bone_indices": rest.base_bone_indices[used], "bone_weights": rest.base_bone_weights[used],
            "albedo": np.tile(np.array(LASH_COLOR, np.float32), (len(used), 1)), "surface": LASHES,
            "occlusion": np.full(len(used), 0.7, np.float32),
        }  # fmt: skip
        character = _added(character, part)
        followed.append(used)
    return character, np.concatenate(followed)


def _added(character: Character, part: dict[str, Any]) -> Character:
    """The character with one more piece, in the layer of the skin."""
    count, bones = len(part["vertices"]), character.bone_indices.shape[1]
    order = np.argsort(-part["bone_weights"], axis=1, kind="stable")[:, :bones]
    weights = np.take_along_axis(part["bone_weights"], order, axis=1)
    indices = np.take_along_axis(part["bone_indices"], order, axis=1)
    missing = ((0, 0), (0, bones - weights.shape[1]))
    weights, indices = np.pad(weights, missing), np.pad(indices, missing)
    weights = weights / weights.sum(axis=1, keepdims=True)
    surfaces = character.surfaces if part["surface"] in character.surfaces else (*character.surfaces, part["surface"])
    nothing, faces = np.zeros(count, np.float32), part["faces"] + len(character.vertices)

    def joined(name: str, more: np.ndarray) -> np.ndarray:
        have = getattr(character, name)
        return np.concatenate([have, more.astype(have.dtype)])

    uv = character.uv
    if character.textures:
        uv = np.concatenate([uv, np.zeros((len(faces), 3, 2), uv.dtype)])
    return replace(
        character,
        vertices=joined("vertices", part["vertices"]),
        faces=joined("faces", faces),
        bone_indices=joined("bone_indices", indices),
        bone_weights=joined("bone_weights", weights),
        albedo=joined("albedo", part["albedo"]),
        surface=joined("surface", np.full(count, surfaces.index(part["surface"]))),
        surfaces=surfaces,
        layer=joined("layer", np.zeros(len(faces))),
        strand=joined("strand", np.zeros((count, 3))),
        fold=joined("fold", nothing),
        softness=joined("softness", nothing),
        occlusion=joined("occlusion", part["occlusion"]),
        uv=uv,
        # Nothing of a face hangs on a skirt.
        drape_of=joined("drape_of", np.full(count, -1)) if len(character.drape_of) else character.drape_of,
    )
