"""The person of a photo as a character: a body of its own, and one texture over it. Kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.types import BodyMesh, ShotLook
from models.body.anny_body import AnnyBody, cache_folder
from models.body.articulation import skin as skinned
from models.body.base import Progress, RestBody
from models.body.character import Character, Material, Surface, Texture
from models.body.lighting import LookSample, estimate_shot_look
from models.body.photo.drape import drape
from models.body.photo.fit import Sitting, fit_sitter
from models.body.photo.paint import paint
from models.body.photo.sight import Sight
from models.body.photo.sitter import Sitter, find_sitter
from models.body.photo.surface import Surface as PhotoSurface
from models.body.photo.surface import face_shift, hands, limbs
from models.body.renderer import FigureRenderer, View
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.cloth import Figure
from models.body.wardrobe.dressing import anatomy_of, joined, under
from models.body.wardrobe.makehuman.covering import Cover
from models.body.wardrobe.mesh import take_faces
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.part import Part, separate
from models.body.wardrobe.shoes import make_shoes
from models.body.wardrobe.skin import make_skin
from models.body.wardrobe.spec import Shoes, Skin
from utils.photometry import linear_from_srgb, luminance, srgb_levels_from_linear

#: Surfaces of a person from a photo, by their index: skin, cloth, hair.
SURFACES = (
    Surface(Material.SKIN, 0.55, specular=0.028, subsurface=0.6, texture=0),
    Surface(Material.CLOTH, 0.9, sheen=0.15, wrinkles=0.5, texture=0),
    Surface(Material.CLOTH, 0.8, specular=0.03, texture=0),
)
#: Brightness that a grey figure is drawn with, to see the photo's light.
GREY = 0.4
#: Blur of the light that is taken out, parts of the person's height: folds and features of the face stay.
LIGHT_BLUR = 0.02
#: The light is taken out between these factors of its mean over the person.
LEAST_LIGHT, MOST_LIGHT = 0.6, 1.6
#: Heights over the ground between which a foot shows its shoe's upper, not the sole and not the sock, metres.
SOLE, INSTEP = 0.025, 0.075
#: How much of the light's estimated colour is taken out of the photo, as an exponent.
TINT = 0.7
#: Colour of shoes that the photo does not show.
DARK_SHOES = "#34343a"
#: Albedo that skin is taken to have where the photo tells none: the middle of human skin.
MIDDLE_SKIN = np.array([0.42, 0.25, 0.17])
#: What is kept of a person: arrays, the texture as sRGB bytes (h, w, 3), and the rest.
Made = tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]
_CODE = Path(__file__).parent


@dataclass(frozen=True)
class PhotoPerson:
    """A person from a photo, ready to be drawn."""

    rest: RestBody
    """The body, with the person's limbs and girths."""
    character: Character
    """Its looks, on ``rest``."""
    notes: tuple[str, ...]
    """What the photo does not show, and what stands in for it."""


def person_from_photo(photo: Path, progress: Progress | None = None, sitter: Sitter | None = None) -> PhotoPerson:
    """Make the person of a photo, or read it from the cache.

    Parameters
    ----------
    photo:
        A picture of one person.
    progress:
        Called with the share done and what is being done.
    sitter:
        What :func:`find_sitter` said of the photo, where it was asked before.

    Raises
    ------
    core.errors.InputError
        The picture cannot be read, or does not show one person well enough; see :func:`find_sitter`.
    core.errors.ModelUnavailable
        The detector or the body model is missing.
    """
    report = progress or (lambda _share, _text: None)
    plain = AnnyBody().rest({}, lambda share, text: report(0.1 * share, text))
    folder = cache_folder() / "photos" / _key(photo, plain)
    kept = _read(folder)
    if kept is None:
        kept = _made(sitter or find_sitter(photo), plain, report)
        _write(folder, *kept)
    report(0.9, "dressing the person of the photo")
    arrays, _, header = kept
    rest = replace(
        plain,
        vertices=arrays["vertices"],
        base_vertices=arrays["base_vertices"],
        bone_heads=arrays["bone_heads"],
        landmarks=arrays["landmarks"],
    )
    character = _character(anatomy_of(rest), arrays, header, folder / "texture.png")
    person = PhotoPerson(rest, character, tuple(header["notes"]))
    report(1.0, "person ready")
    return person


def _made(sitter: Sitter, plain: RestBody, report: Progress) -> Made:
    """Arrays, texture (sRGB bytes) and header of a person."""
    sitting = fit_sitter(sitter, plain, lambda share, text: report(0.1 + 0.4 * share, text))
    body = anatomy_of(sitting.rest)
    posed = _posed(sitting, sitting.rest.vertices)
    report(0.5, "fitting clothes to the outline")
    offset = drape(sitting, posed, sitter.mask, body)
    clothed = (sitting.rest.vertices + offset[:, None] * body.normals).astype(np.float32)
    posed = _posed(sitting, clothed)
    report(0.6, "taking the light out of the photo")
    albedo = _without_light(sitter, sitting, body, clothed, posed)
    shift = face_shift(sitting, posed, body, sitter.face_points)
    surface = PhotoSurface(sitting, body, posed, sitter.mask, sitter.sure, albedo, shift)
    sight = Sight.of(surface)
    tone = _skin_tone(sight, sitter.face)
    plain_face = None if sitter.face else _face_area(body)
    report(0.7, "laying the photo onto the body")
    painted = paint(sight, tone, plain_face)
    kinds = _kinds(body, painted.vertices, tone)
    header = {
        "tone": _hex(tone),
        "shoes": _shoes(sight, tone, sitter.feet),
        "notes": sitter.notes,
        "seen": painted.seen,
    }
    arrays = {
        "vertices": sitting.rest.vertices, "base_vertices": sitting.rest.base_vertices,
        "bone_heads": sitting.rest.bone_heads, "landmarks": sitting.rest.landmarks, "clothed": clothed, "kinds": kinds,
        "colors": painted.vertices,
    }  # fmt: skip
    return arrays, srgb_levels_from_linear(painted.texture).clip(0, 255).astype(np.uint8), header


def _posed(sitting: Sitting, vertices: np.ndarray) -> np.ndarray:
    rest = sitting.rest
    return skinned(vertices, rest.bone_weights, rest.bone_indices, sitting.transforms)


def _without_light(
    sitter: Sitter, sitting: Sitting, body: Anatomy, clothed: np.ndarray, posed: np.ndarray
) -> np.ndarray:
    """(H, W, 3) float32 albedo: the photo over a grey figure in the same place and light."""
    mesh = BodyMesh(posed, sitting.rest.faces)
    look: ShotLook = estimate_shot_look(
        [LookSample(sitter.rgb, sitter.mask, mesh, sitter.pose.landmarks[0])], sitting.intrinsics
    ).look
    source = np.arange(len(clothed))
    grey = joined("grey", [[_part(body, clothed, np.full((len(source), 3), GREY), (Surface(Material.CLOTH, 0.9),))]])
    renderer = FigureRenderer(grey, len(sitting.rest.bone_names), edge_samples=1, shadow_rays=2, occlusion_rays=16)
    height, width = sitter.mask.shape
    figure = renderer.figure.pose(sitting.transforms)
    layer = renderer.render(
        figure,
        np.zeros((len(grey.vertices), 2), np.float32),
        View(sitting.intrinsics, np.eye(3), (width, height)),
        replace(look, haze=np.zeros(3, np.float32)),
    )
    tall = float(np.ptp(np.flatnonzero(sitter.mask.any(axis=1)))) + 1
    weight = (layer.alpha > 0.99).astype(np.float32)
    sigma = max(LIGHT_BLUR * tall, 1.0)
    shade = cv2.GaussianBlur(layer.color * weight[..., None], (0, 0), sigma)
    shade /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-4)[..., None]
    on_person = (weight > 0) & sitter.mask
    mean = shade[on_person].mean(axis=0) if on_person.any() else np.full(3, GREY, np.float32)
    shade = np.clip(shade, LEAST_LIGHT * mean, MOST_LIGHT * mean)
    # The camera's white balance has taken a part of the light's colour out.
    light = luminance(shade)[..., None]
    shade = light * (shade / light) ** TINT
    photo = np.maximum(linear_from_srgb(sitter.rgb) - look.haze, 0)
    return np.clip(GREY * photo / shade, 0.004, 0.95).astype(np.float32)


def _part(body: Anatomy, points: np.ndarray, albedo: np.ndarray, surfaces: tuple[Surface, ...]) -> Part:
    """The outside of the body as a part, all of one surface."""
    faces, pick = take_faces(body.faces, _outside(body), len(body))
    count = pick.shape[0]
    return Part(
        pick @ points, faces, (pick @ body.weights).tocsr(), pick @ albedo, surfaces, np.zeros(count, int), source=pick
    )


def _outside(body: Anatomy) -> np.ndarray:
    """(F,) bool: faces that are seen; eyeballs are parts of their own, and the depth of their sockets is left out."""
    frame = body.face_frame
    behind = body.points[:, 1] - frame.eyes[:, 1].mean()
    deep = body.parts["socket"] & (behind[body.faces] > 0.004).any(axis=1)
    return np.asarray(~(body.parts["inside"] | body.parts["eye"] | deep))


def _face_area(body: Anatomy) -> np.ndarray:
    """(V,) 0..1: the face."""
    return smoothstep(body.painted("face"), 0.2, 0.6)


def _skin_tone(sight: Sight, face: bool) -> np.ndarray:
    """(3,) linear albedo of the skin: the middle of the cheeks and the forehead; of neck and hands where no face can be
    read."""
    body = sight.surface.body
    place = body.points[:, 2] < body.face_frame.eyes[:, 2].max() + 0.04
    wanted = (limbs(body) == 5) & place & (_face_area(body) > 0.5 if face else _face_area(body) < 0.5)
    color, trust = sight.colors(sight.corners)
    good = color[wanted & (trust > 0.4)]
    return np.median(good, axis=0) if len(good) >= 8 else MIDDLE_SKIN


def _likeness(colors: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """(V,) 0..1: how much colours are like the skin's, in hue most of all."""
    log = np.log(np.maximum(colors, 0.01)) - np.log(np.maximum(tone, 0.01))
    light = log.mean(axis=1)
    hue = np.linalg.norm(log - light[:, None], axis=1)
    return smoothstep(hue, 0.45, 0.2) * smoothstep(np.abs(light), 1.0, 0.6)


def _kinds(body: Anatomy, colors: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """(F,) int: index into ``SURFACES`` of each face of the body."""
    part = limbs(body)[body.faces]
    bare = _likeness(colors, tone)[body.faces].mean(axis=1) > 0.5
    kind = np.where(bare, 0, 1)
    kind[(part == 5).any(axis=1)] = 0
    kind[(part == 6).all(axis=1)] = 2
    return kind.astype(np.int32)


def _shoes(sight: Sight, tone: np.ndarray, shown: bool) -> str:
    """``#rrggbb`` of the shoes; empty for bare feet."""
    if not shown:
        return DARK_SHOES
    body = sight.surface.body
    height = body.points[:, 2] - body.ground
    upper = (body.bone_weight("foot", "toe") > 0.6) & (height > SOLE) & (height < INSTEP)
    color = sight.color_of(upper)
    if color is None:
        return DARK_SHOES
    bare = sight.color_of(hands(body))
    # The hands tell better than the face how light skin is down there, unless they wear gloves.
    skins = [tone] if bare is None or _likeness(bare[None], tone)[0] < 0.2 else [tone, bare]
    # Below a trouser leg what is skin-coloured is a brown shoe, more likely.
    shin = sight.color_of(body.bone_weight("lowerleg02") > 0.6)
    seen = [color] if shin is None else [color, shin]
    barefoot = all(max(_likeness(one[None], skin)[0] for skin in skins) > 0.5 for one in seen)
    return "" if barefoot else _hex(color)


def _hex(color: np.ndarray) -> str:
    levels = srgb_levels_from_linear(np.asarray(color, np.float32).reshape(1, 1, 3)).ravel()
    return "#" + "".join(f"{int(np.clip(round(float(level)), 0, 255)):02x}" for level in levels)


def _write(folder: Path, arrays: dict[str, np.ndarray], texture: np.ndarray, header: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", texture[..., ::-1])
    if not done:
        raise RuntimeError("the texture cannot be encoded")
    _put(folder / "texture.png", data.tobytes())
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
    with os.fdopen(handle, "wb") as stream:
        np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    os.replace(temporary, folder / "person.npz")


def _put(file: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    os.replace(temporary, file)


def _read(folder: Path) -> Made | None:
    """A person from the cache; ``None`` where there is none or a file is damaged (it is then made anew)."""
    texture = cv2.imread(str(folder / "texture.png")) if (folder / "texture.png").is_file() else None
    if texture is None or not (folder / "person.npz").is_file():
        return None
    try:
        with np.load(folder / "person.npz", allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
        return data, texture[..., ::-1], json.loads(data.pop("header").tobytes())
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _character(body: Anatomy, data: dict[str, np.ndarray], header: dict[str, Any], texture: Path) -> Character:
    seen = _outside(body)
    faces, pick = take_faces(body.faces, seen, len(body))
    faces, split, label = separate(faces, data["kinds"][seen], pick.shape[0])
    pick = (split @ pick).tocsr()
    part = Part(
        pick @ data["clothed"].astype(np.float64), faces, (pick @ body.weights).tocsr(), np.ones((pick.shape[0], 3)),
        SURFACES, label.astype(int), source=pick, fold=0.5 * (label == 1),
        textures=(Texture(texture, "color"),), uv=body.uv[body.uv_faces[seen]],
    )  # fmt: skip
    skin = Skin.model_validate({"tone": header["tone"]})
    eyes = make_skin(body, skin)[1]
    figure = Figure.of(body)
    if header["shoes"]:
        make_shoes(figure, Shoes.model_validate({"kind": "shoes", "color": header["shoes"], "laces": None}))
    layers = [under([part, eyes], body, [Cover(depth, None) for _, depth in figure.layers])]
    return joined("photo", [*layers, *(parts for parts, _ in figure.layers)])


def _key(photo: Path, plain: RestBody) -> str:
    """Changes with the photo, the body and the code that makes persons."""
    digest = hashlib.sha256(photo.read_bytes() if photo.is_file() else b"")
    digest.update(np.ascontiguousarray(plain.vertices).tobytes())
    for source in sorted(_CODE.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:20]
