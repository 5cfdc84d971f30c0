"""Depth and normal maps: the fitted body by rays, and what is not the body by a depth network where there is one.

Both speak the language that their ControlNets were trained in. *Depth* is MiDaS': inverse depth, near is bright, black is
infinitely far. *Normals* are Bae's (ScanNet): red is left, green is up, blue is towards the camera.

**Steady grey levels.** MiDaS maps are stretched between the least and greatest value of each picture, which makes all of
a clip flicker when a hand comes forward. Here white is a fixed distance in front of the body's root: as far as any part of
the body reaches anywhere in the clip, and a margin for its flesh. So the range moves only when the whole body comes or
goes, as smoothly as it does, and no part of it is ever cut off. What is nearer than that is white too.

**Agreement.** The network's values mean nothing by themselves: they are inverse depth up to a scale and a shift. Both are
found by least squares over the body's pixels, where the truth is known. Each frame has a scale of its own, which takes
the network's flicker away; the shift, which the body's little relief hardly tells, is found once for all frames of the
group, and held near nought as far as the relief leaves it open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from core.errors import InputError
from core.types import BodyParams
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, params_transforms
from models.body.base import RestBody
from models.body.embree import EMPTY, Fragments, RayScene, project, rasterize, window_of
from models.body.figure import unit, vertex_normals
from models.controls.source import ControlSource

#: How far flesh, hair and shoes stand out in front of the 33 landmarks, metres.
FLESH = 0.15
#: Nothing is nearer to the camera than this, metres.
NEAREST = 0.2
#: Rim of the body at which the network is not compared with it, as a share of the crop's height.
RIM = 0.006
#: Pixels at which the network is compared with the body: at least this many.
LEAST_PIXELS = 64
#: Relative error of a depth network over a body, which the relief must exceed to say anything about the shift.
NETWORK_ERROR = 0.01
#: The shift is at most this share of the body's inverse depth, either way: more would turn near and far around.
MOST_SHIFT = 0.5
#: Standard deviation of the blur before normals are taken from a network's depth, as a share of the crop's height.
SMOOTHING = 0.006
#: Inverse depth that is added before normals are taken, 1/m: what is far away faces the camera.
FAR = 0.01


@dataclass(frozen=True)
class Scene:
    """What stands where in N crops."""

    body: tuple[Fragments, ...]
    """The body's surface in each crop."""
    vertices: tuple[np.ndarray, ...]
    """(V, 3) float32 for each crop, metres, camera axes."""
    faces: np.ndarray
    """(F, 3) int32."""
    inverse: np.ndarray
    """(N, H, W) float32, inverse depth in 1/m; 0 where nothing is known."""
    guess: np.ndarray | None
    """(N, H, W) float32, 1/m: the depth network's, brought to the body's; ``None`` without a network."""


@dataclass(frozen=True)
class _Surface:
    """A body that can be posed and shot at."""

    rest: RestBody
    skin: Skin
    rays: RayScene


@lru_cache(maxsize=2)
def _surface(phenotype: tuple[tuple[str, float], ...]) -> _Surface:
    rest = AnnyBody().rest(dict(phenotype))
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    return _Surface(rest, skin, RayScene(rest.vertices, rest.faces))


def _fitted(source: ControlSource) -> tuple[BodyParams, np.ndarray]:
    body, H_crop_source = source.body, source.H_crop_source
    if body is None or H_crop_source is None:
        raise InputError("Depth and normal maps need the fitted body.", "Run the survey with an engine that needs it.")
    if body.model != AnnyBody.name:
        raise InputError(
            f"Depth and normals of a {body.model!r} body cannot be drawn.", f"Fit the {AnnyBody.name} body."
        )
    if not len(body) == len(H_crop_source) == len(source.frames):
        raise ValueError(f"{len(source.frames)} frames, {len(body)} bodies and {len(H_crop_source)} transforms")
    return body, H_crop_source


def scene_of(source: ControlSource) -> Scene:
    """Shoot the body's rays, and ask the depth network for the rest where there is one.

    Raises
    ------
    InputError
        There is no fitted body, or one of a model that is not known here.
    """
    body, H_crop_source = _fitted(source)
    surface = _surface(tuple(sorted((k, v) for k, v in body.shape.items() if not k.startswith("scale_"))))
    width, height = source.size
    blank = np.full((height, width, 3), EMPTY, np.float32)
    nothing = Fragments(blank[..., 0].astype(np.int32), blank[..., 0], blank)
    seen, poses = [], []
    for index, bones in enumerate(params_transforms(surface.rest, body)):
        vertices = surface.skin(bones)
        poses.append(vertices)
        if not body.valid[index] or not np.isfinite(vertices).all():
            seen.append(nothing)
            continue
        surface.rays.move(vertices)
        window = None
        if vertices[:, 2].min() > NEAREST:
            window = window_of(project(body.intrinsics, H_crop_source[index], vertices), source.size)
        seen.append(rasterize(surface.rays, body.intrinsics, H_crop_source[index], source.size, window))
    inverse = np.zeros(source.frames.shape[:3], np.float32)
    for row, fragments in zip(inverse, seen, strict=True):
        row[fragments.hit] = 1.0 / np.maximum(fragments.zbuf[fragments.hit], NEAREST)
    network = source.find_network()
    guess = None
    if network is not None:
        guess = aligned(np.stack([network(frame) for frame in source.frames]), inverse, source.masks)
        inverse = np.where(inverse > 0, inverse, guess)
    return Scene(tuple(seen), tuple(poses), surface.rest.faces, inverse, guess)


# -- a network's depth in metres -----------------------------------------------------------------------------------


def aligned(guess: np.ndarray, body: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """A network's inverse depth brought to that of the body by scale and shift; see the module's text.

    Parameters
    ----------
    guess:
        (N, H, W) inverse depth up to scale and shift.
    body:
        (N, H, W) inverse depth in 1/m of the body, 0 where it is not.
    masks:
        (N, H, W) bool: where the person is seen.

    Returns
    -------
    (N, H, W) float32, 1/m, not negative. Frames without the body take the scale of their neighbours. Where no frame has
    it, the greatest value is 1.
    """
    known = _inner(body > 0)
    if masks is not None:
        known &= masks
    mean_guess, mean_body = (_means(values, known) for values in (guess, body))
    usable = (known.sum(axis=(1, 2)) >= LEAST_PIXELS) & (mean_guess > 1e-6 * np.abs(guess).max(initial=0.0))
    if not usable.any():
        return np.clip(guess / max(float(guess.max(initial=0.0)), 1e-12), 0.0, 1.0).astype(np.float32)
    share = _shift_share(guess, body, known, mean_guess, mean_body, np.flatnonzero(usable))
    index = np.arange(len(guess))
    scale = (1.0 - share) * mean_body[usable] / mean_guess[usable]
    scales = np.interp(index, index[usable], scale)
    shifts = np.interp(index, index[usable], share * mean_body[usable])
    return np.maximum(guess * scales[:, None, None] + shifts[:, None, None], 0.0).astype(np.float32)


def _inner(where: np.ndarray) -> np.ndarray:
    """(N, H, W) bool without its rim, where a network's depth runs over into what is behind."""
    side = 2 * round(RIM * where.shape[1]) + 1
    kernel = np.ones((side, side), np.uint8)
    return np.stack([cv2.erode(row.astype(np.uint8), kernel, borderValue=1) for row in where]).astype(bool)


def _means(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(N,) float64 mean of each frame over the pixels ``where``; 0 where there are none."""
    total = np.where(where, values, 0.0).sum(axis=(1, 2), dtype=np.float64)
    return total / np.maximum(where.sum(axis=(1, 2)), 1)


def _shift_share(
    guess: np.ndarray,
    body: np.ndarray,
    known: np.ndarray,
    mean_guess: np.ndarray,
    mean_body: np.ndarray,
    frames: np.ndarray,
) -> float:
    """The shift as a share of the body's mean inverse depth, by regularised least squares over all frames."""
    top = bottom = 0.0
    for t in frames:
        relief_guess = guess[t][known[t]] / mean_guess[t] - 1.0
        relief_body = body[t][known[t]] / mean_body[t] - 1.0
        # body = (1 - share) * guess + share * 1, both divided by their means.
        top += float(((relief_guess - relief_body) * relief_guess).sum())
        bottom += float((relief_guess**2).sum()) + NETWORK_ERROR**2 * len(relief_guess)
    return float(np.clip(top / bottom, -MOST_SHIFT, MOST_SHIFT))


# -- depth ---------------------------------------------------------------------------------------------------------


def depth_reach(body: BodyParams) -> float:
    """How far a body reaches in front of its root in any frame, metres, with a margin for flesh; see the module's text."""
    if not body.valid.any():
        return FLESH
    forward = body.translation[body.valid, 2] - body.keypoints[body.valid, :, 2].min(axis=1)
    return max(float(forward.max()), 0.0) + FLESH


def depth_maps(source: ControlSource) -> np.ndarray:
    """(N, H, W, 3) uint8: inverse depth, white at the distance of the module's text, black where nothing is known."""
    scene = source.scene
    body, _ = _fitted(source)
    valid = np.flatnonzero(body.valid)
    if len(valid):
        reach = depth_reach(body) if source.reach is None else source.reach
        root = np.interp(np.arange(len(body)), valid, body.translation[valid, 2])
        white = 1.0 / np.maximum(root - reach, NEAREST)
    else:
        white = np.full(len(body), max(float(scene.inverse.max(initial=0.0)), 1e-12))
    levels = np.clip(scene.inverse / white[:, None, None].astype(np.float32), 0.0, 1.0)
    return np.repeat(np.rint(levels * 255).astype(np.uint8)[..., None], 3, axis=-1)


# -- normals -------------------------------------------------------------------------------------------------------


def normal_maps(source: ControlSource) -> np.ndarray:
    """(N, H, W, 3) uint8: red is left, green is up, blue is towards the camera.

    Where nothing is known stands a wall that faces the camera: the network has never seen a pixel without a normal.
    """
    scene = source.scene
    body, H_crop_source = _fitted(source)
    maps = []
    for index, fragments in enumerate(scene.body):
        matrix = H_crop_source[index] @ body.intrinsics
        away = np.zeros((*fragments.pix_to_face.shape, 3), np.float32)
        away[..., 2] = 1.0
        if scene.guess is not None:
            away = _away_from_depth(scene.guess[index], matrix)
        hit = fragments.hit
        if hit.any():
            corners = scene.faces[fragments.pix_to_face[hit]]
            of_vertices = vertex_normals(scene.vertices[index], scene.faces)
            away[hit] = -unit(np.einsum("mk,mkc->mc", fragments.bary_coords[hit], of_vertices[corners]))
        # The picture is turned against the camera where the crop follows a stabilised path.
        linear = H_crop_source[index][:2, :2]
        turn = (linear / np.sqrt(abs(np.linalg.det(linear)))).astype(np.float32)
        away[..., :2] = away[..., :2] @ turn.T
        # Away from the surface's back: with x right and y down, left, up and near are its positive directions.
        maps.append(np.clip((away + 1.0) * 127.5, 0, 255).astype(np.uint8))
    return np.stack(maps)


def _away_from_depth(inverse: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Unit normals, camera axes, away from the camera, of a picture of inverse depth.

    On a plane, inverse depth is linear in the picture: ``1/z = n . ray / distance``. So its slope is the normal.

    Parameters
    ----------
    inverse:
        (H, W) float32, 1/m.
    matrix:
        (3, 3) camera coordinates -> crop pixels.

    Returns
    -------
    (H, W, 3) float32.
    """
    height, width = inverse.shape
    soft = cv2.GaussianBlur(inverse, (0, 0), max(1.0, SMOOTHING * height)) + np.float32(FAR)
    down, right = np.gradient(soft)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    plane = np.stack([right, down, soft - x * right - y * down], axis=-1)
    return unit(plane @ matrix.astype(np.float32)).astype(np.float32)
