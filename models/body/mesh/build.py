"""How stout a person is: the girth of trunk and limbs, measured against the person's silhouette.

Joints tell how long limbs are and nothing of how thick. Here a layer is laid round each part of the fitted body, as thick as
makes the drawn body cover the person's pixels best. Joints and landmarks stay where they are, so the pose is kept. Clothes
count as body, and so do hair and shoes as far as a slightly larger head and slightly larger feet go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from core.types import BodyParams
from models.body.articulation import params_transforms, rig_of, skin
from models.body.base import JOINT_NAMES, RestBody
from models.body.embree import RayScene, camera_rays, project, window_of


@dataclass(frozen=True)
class Part:
    """A part of the body that has a girth of its own."""

    joints: tuple[str, ...]
    """The joints that carry it; ``*`` is either side."""
    axis: tuple[str, ...]
    """The joints between which its axis runs; a single one where the part grows evenly about that joint; none where it does
    not grow but lies further back by ``BACK`` times the factor less 1."""
    limits: tuple[float, float] = (0.85, 1.4)
    """Least and largest factor."""


#: The parts by the names that their factors have in ``BodyParams.shape``; left and right alike.
GIRTHS: dict[str, Part] = {
    "scale_girth_chest": Part(("spine_upper",), ("spine_upper", "neck")),
    "scale_girth_waist": Part(("root", "spine_lower"), ("root", "spine_upper")),
    "scale_girth_upper_arm": Part(("*_shoulder",), ("*_shoulder", "*_elbow")),
    "scale_girth_forearm": Part(("*_elbow",), ("*_elbow", "*_wrist")),
    "scale_girth_thigh": Part(("*_hip",), ("*_hip", "*_knee")),
    "scale_girth_shin": Part(("*_knee",), ("*_knee", "*_foot")),
    "scale_girth_head": Part(("head",), ("head",), (0.95, 1.15)),
    "scale_girth_foot": Part(("*_foot",), ("*_foot",), (0.95, 1.25)),
    # Joints are marked by people and networks at other depths in the body than where the model has them.
    "scale_girth_back": Part(("root", "spine_lower", "spine_upper", "*_hip", "*_knee"), (), (0.7, 1.3)),
}
#: See ``Part.axis``; metres, model axes (the face looks along -y).
BACK = np.array([0.0, 0.1, 0.0])
#: How much a squared deviation from 1 costs, in units of overlap.
COST = 0.01
#: Frames that are looked at, and the share of them that counts: in the others something may stand before the person.
FRAMES, COUNTED = 16, 0.75
#: Height of the person in the pictures that are compared, pixels; room around the body, parts of its height.
HEIGHT_PX, MARGIN = 128, 0.12
#: Where the search begins, and the steps by which the factors are tried, one after the other.
START, STEPS = 1.1, (0.1, 0.05)


def girths_of(shape: Mapping[str, float]) -> np.ndarray:
    """(P,) float64: the factors of ``GIRTHS`` in a shape; 1 where it names none."""
    return np.array([float(shape.get(name, 1.0)) for name in GIRTHS])


def with_girth(rest: RestBody, shape: Mapping[str, float]) -> RestBody:
    """The body with the girths that a shape names; ``rest`` itself where it names none.

    Only the skin changes. The base mesh stays as it was: garments for it are made for the plain body.
    """
    girths = girths_of(shape)
    if (girths == 1).all():
        return rest
    change = np.tensordot(girths - 1, outward(rest), 1)
    return replace(rest, vertices=(rest.vertices + change).astype(np.float32))


def outward(rest: RestBody) -> np.ndarray:
    """(P, V, 3) float64, metres: how each vertex at rest moves as each factor of ``GIRTHS`` grows by 1.

    Limbs and trunk grow by a layer of the same thickness all around: what stands out already does not stand out more.
    """
    carrier = rig_of(rest).carrier[rest.bone_indices]
    vertices = rest.vertices.astype(np.float64)
    heads = rest.bone_heads[rest.joint_bones].astype(np.float64)
    result = np.zeros((len(GIRTHS), *vertices.shape))
    for row, part in zip(result, GIRTHS.values(), strict=True):
        for side in ("left", "right") if any("*" in name for name in part.axis) else ("",):
            ends = [heads[JOINT_NAMES.index(name.replace("*", side))] for name in part.axis]
            moved = [JOINT_NAMES.index(name) for joint in part.joints for name in _both_sides(joint, side)]
            share = (rest.bone_weights * np.isin(carrier, moved)).sum(axis=1)
            away = vertices - ends[0] if ends else BACK
            if len(ends) == 2:
                axis = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
                away -= (away @ axis)[:, None] * axis
                radius = np.maximum(np.linalg.norm(away, axis=1), 1e-9)
                usual = np.median(radius[share > 0.5])
                away *= (np.minimum(radius, usual) / radius)[:, None]
            row += share[:, None] * away
    return result


def _both_sides(joint: str, side: str) -> list[str]:
    """Names of a joint: on one side where that is given, else on both."""
    return [joint.replace("*", name) for name in ((side,) if side else ("left", "right") if "*" in joint else ("",))]


@dataclass(frozen=True)
class _Sight:
    """The body and the person in one frame."""

    vertices: np.ndarray
    """(V, 3) the posed body, metres, camera axes."""
    slopes: np.ndarray
    """(P, V, 3) how they move as each factor grows by 1."""
    rays: np.ndarray
    """(M, 3) float32 through the picture's points."""
    person: np.ndarray
    """(M,) float32, share of the person in the pixels around them."""

    def overlap(self, scene: RayScene, vertices: np.ndarray) -> float:
        """Intersection over union of person and body, which is given in another build."""
        scene.move(vertices)
        body = scene.occluded(np.broadcast_to(np.zeros(3, np.float32), self.rays.shape), self.rays)
        both = float(self.person[body].sum())
        return both / max(float(self.person.sum()) + float(body.sum()) - both, 1e-6)


class _Search:
    """Looks for the factors that make body and person overlap most."""

    def __init__(self, rest: RestBody, sights: list[_Sight]) -> None:
        self._scene = RayScene(rest.vertices, rest.faces)
        # Frames in which even the plain body lies badly tell of something else than the build.
        order = np.argsort([-sight.overlap(self._scene, sight.vertices) for sight in sights], kind="stable")
        self._sights = [sights[index] for index in sorted(order[: max(round(COUNTED * len(sights)), 1)])]
        self._limits = np.array([part.limits for part in GIRTHS.values()])
        self.girths = np.clip(np.full(len(GIRTHS), START), *self._limits.T)
        self._built = [
            sight.vertices + np.tensordot((self.girths - 1).astype(np.float32), sight.slopes, 1)
            for sight in self._sights
        ]
        self._best = self._worth(self.girths, self._built)

    def climb(self, step: float) -> None:
        """Go up by single steps of one factor at a time, as long as a round over all of them helps."""
        improved = True
        while improved:
            improved = False
            for part in range(len(GIRTHS)):
                improved |= self._tried(part, step) or self._tried(part, -step)

    def _tried(self, part: int, step: float) -> bool:
        """Change one factor, if that helps."""
        girths = self.girths.copy()
        girths[part] = np.clip(girths[part] + step, *self._limits[part])
        change = np.float32(girths[part] - self.girths[part])
        if change == 0:
            return False
        built = [
            vertices + change * sight.slopes[part] for vertices, sight in zip(self._built, self._sights, strict=True)
        ]
        value = self._worth(girths, built)
        if value <= self._best:
            return False
        self.girths, self._built, self._best = girths, built, value
        return True

    def _worth(self, girths: np.ndarray, built: list[np.ndarray]) -> float:
        overlaps = [sight.overlap(self._scene, vertices) for vertices, sight in zip(built, self._sights, strict=True)]
        return float(np.mean(overlaps)) - COST * float(((girths - 1) ** 2).sum())


def fit_build(
    rest: RestBody,
    params: BodyParams,
    mask: Callable[[int], np.ndarray],
    frames: Sequence[int] | np.ndarray,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, float]:
    """Find the girths with which a fitted body covers the person best.

    Parameters
    ----------
    rest, params:
        The fitted body, without girths.
    mask:
        ``mask(t)`` gives the person's pixels (H, W) bool.
    frames:
        Frames in which the person was seen; a sample of those with a body is looked at.
    progress:
        Called with the fraction done.

    Returns
    -------
    The factors of ``GIRTHS`` by name; empty where no frame shows enough of the person.
    """
    usable = np.asarray([t for t in frames if params.valid[t]], int)
    chosen = usable[np.linspace(0, len(usable) - 1, min(FRAMES, len(usable))).round().astype(int)]
    slopes = outward(rest)
    sights = [sight for t in chosen if (sight := _sight(rest, params, int(t), mask(int(t)), slopes)) is not None]
    if not sights:
        return {}
    search = _Search(rest, sights)
    for number, step in enumerate(STEPS):
        if progress is not None:
            progress(number / len(STEPS), "measuring the build")
        search.climb(step)
    return dict(zip(GIRTHS, search.girths.round(4).tolist(), strict=True))


def _sight(rest: RestBody, params: BodyParams, t: int, person: np.ndarray, slopes: np.ndarray) -> _Sight | None:
    """One frame at a small size; ``None`` where body or person are not in the picture."""
    transforms = params_transforms(rest, params.window(t, t + 1))[0]
    vertices = skin(rest.vertices, rest.bone_weights, rest.bone_indices, transforms)
    if vertices[:, 2].min() <= 0.1 or not person.any():
        return None
    size = (person.shape[1], person.shape[0])
    pixels = project(params.intrinsics, np.eye(3), vertices)
    tall = float(np.ptp(pixels[:, 1]))
    x0, y0, x1, y1 = window_of(pixels, size, margin=max(round(MARGIN * tall), 2))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    shrink = max(tall / HEIGHT_PX, 1.0)
    small = (max(round((x1 - x0) / shrink), 1), max(round((y1 - y0) / shrink), 1))
    share = cv2.resize(person[y0:y1, x0:x1].astype(np.float32), small, interpolation=cv2.INTER_AREA)
    columns = x0 - 0.5 + (np.arange(small[0]) + 0.5) * (x1 - x0) / small[0]
    rows = y0 - 0.5 + (np.arange(small[1]) + 0.5) * (y1 - y0) / small[1]
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2).astype(np.float32)
    turned = np.stack(
        [
            skin((rest.vertices + slope).astype(np.float32), rest.bone_weights, rest.bone_indices, transforms)
            - vertices
            for slope in slopes
        ]
    )
    return _Sight(vertices, turned, camera_rays(params.intrinsics, np.eye(3), points), share.ravel())
