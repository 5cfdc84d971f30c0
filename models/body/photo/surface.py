"""The figure's surface in the photo, and the parts of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from models.body.embree import project
from models.body.expression_points import COUNTERPARTS
from models.body.photo.fit import Sitting
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.hair import scalp_field
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.spec import Hair

#: How far from the face's landmarks their place in the photo still moves the pixels, metres.
FACE_REACH = 0.08


@dataclass(frozen=True)
class Surface:
    """The figure's surface in the photo."""

    sitting: Sitting
    body: Anatomy
    """The body at rest, without clothes."""
    posed: np.ndarray
    """(V, 3) float32 surface in the photo, clothes and hair included, metres, camera axes."""
    mask: np.ndarray
    """(H, W) bool, the person's pixels."""
    sure: np.ndarray
    """(H, W) float32, 0..1: how surely a pixel shows the person and nothing else."""
    albedo: np.ndarray
    """(H, W, 3) float32, linear: the photo without its light."""
    shift: np.ndarray
    """(V, 2) pixels by which what is seen of the surface lies off where the body has it; see :func:`face_shift`."""

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) faces of the body."""
        return self.sitting.rest.faces


@dataclass(frozen=True)
class Points:
    """Places on the surface."""

    rest: np.ndarray
    """(M, 3) metres, model axes, without clothes."""
    posed: np.ndarray
    """(M, 3) float32, camera axes."""
    normals: np.ndarray
    """(M, 3) unit, camera axes."""
    part: np.ndarray
    """(M,) limb that the place belongs to; see :func:`limbs`."""
    shift: np.ndarray
    """(M, 2) pixels; see ``Surface.shift``."""


def limbs(body: Anatomy) -> np.ndarray:
    """(V,) int: 0 trunk, 1 and 2 arms, 3 and 4 legs, 5 face, neck and hands (bare as a rule), 6 scalp."""
    left = body.points[:, 0] > 0
    part = np.zeros(len(body), int)
    part[body.arm_weight > 0.5] = 1
    part[body.leg_weight > 0.5] = 3
    part[(part > 0) & ~left] += 1
    part[body.bone_weight("wrist", "finger", "metacarpal") > 0.6] = 5
    # The head's own bones and the neck's: what hangs on them is bare or hair.
    head = body.bone_weight("head", "neck", "eye", "jaw", "tongue", "oris", "special", "levator", "risorius", "temporalis",
                            "orbicularis", "oculi")  # fmt: skip
    part[head > 0.6] = 5
    part[(head > 0.6) & (scalp_field(body, Hair.model_validate({})) > 0.004)] = 6
    return part


#: Numbers of the arms from the middle of the upper arm, and of the hands, in :func:`pieces`: they lie in front of whatever
#: they border on.
FOREARMS, HANDS = 7, 8


def pieces(body: Anatomy) -> np.ndarray:
    """(V,) int: as :func:`limbs`, with the lower part of the arms and the hands apart."""
    piece = limbs(body)
    piece[body.bone_weight("lowerarm", "upperarm02") > 0.5] = FOREARMS
    piece[hands(body)] = HANDS
    return piece


def hands(body: Anatomy) -> np.ndarray:
    """(V,) bool: the hands."""
    return np.asarray(body.bone_weight("wrist", "finger", "metacarpal") > 0.6)


def perceived(color: np.ndarray) -> np.ndarray:
    """CIE Lab of linear colours (..., 3), float32: distances are as large as they look."""
    row = np.ascontiguousarray(color, np.float32).reshape(-1, 1, 3)
    return np.asarray(cv2.cvtColor(row, cv2.COLOR_LRGB2Lab).reshape(color.shape))


def face_shift(sitting: Sitting, posed: np.ndarray, body: Anatomy, face_points: np.ndarray | None) -> np.ndarray:
    """(V, 2) pixels from where the posed body has the features of its face to where the photo has them, dying away towards
    the rest of the head; 0 where no face was read.

    Parameters
    ----------
    face_points:
        (478, 2) landmarks of the face, pixels.
    """
    result = np.zeros((len(posed), 2))
    if face_points is None:
        return result
    rest = sitting.rest
    place = np.full(len(rest.base_vertices), -1)
    place[rest.base_indices] = np.arange(len(rest.base_indices))
    found = [(point, place[vertex]) for point, vertex in COUNTERPARTS.items() if place[vertex] >= 0]
    _, first = np.unique([vertex for _, vertex in found], return_index=True)
    point, vertex = np.array(found)[first].T
    lack = face_points[point] - project(sitting.intrinsics, np.eye(3), posed[vertex])
    distance, _ = cKDTree(body.points[vertex]).query(body.points)
    near = np.flatnonzero(distance < FACE_REACH)
    field = RBFInterpolator(body.points[vertex], lack, smoothing=1e-3, kernel="linear")
    fade = smoothstep(distance[near], FACE_REACH, 0.25 * FACE_REACH)
    result[near] = fade[:, None] * field(body.points[near])
    return result
