"""Landmarks of a whole sequence and how they move with every parameter, without touching a vertex.

A landmark is an affine function of the joint motions (``RestBody.landmarks``), so its derivatives have a closed form:
turning joint j by a small rotation ``w`` about its place moves landmark k by ``w x (S - m * place_j)``, where ``S`` and
``m`` sum the landmark's parts on j and all below it. Nothing is differentiated automatically; a fit of hundreds of frames
needs milliseconds for its full Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.body.articulation import rest_change, rig_of, rotation_matrices
from models.body.base import JOINT_NAMES, JOINT_PARENTS, SCALE_NAMES, RestBody

#: Parameters of a frame: the root's place (3), the root's turn in camera axes (3), rotation vectors of the other joints.
PARAMETERS = 3 + 3 * len(JOINT_NAMES)


@dataclass
class PoseState:
    """The parameters of T frames, as the fit moves them."""

    root: np.ndarray
    """(T, 3, 3) rotation of the root, model axes -> camera axes."""
    vectors: np.ndarray
    """(T, J, 3) rotation vectors of the joints; the root's row is unused."""
    place: np.ndarray
    """(T, 3) metres: the root joint in the camera."""
    scales: np.ndarray
    """(S,) factors in the order of ``SCALE_NAMES``."""

    def moved(self, step: np.ndarray, scale_step: np.ndarray | None = None) -> PoseState:
        """The state after a step (T, PARAMETERS); the root is turned from the left, in camera axes."""
        vectors = self.vectors.copy()
        vectors[:, 1:] += step[:, 6:].reshape(len(step), -1, 3)
        scales = self.scales if scale_step is None else self.scales + scale_step
        return PoseState(rotation_matrices(step[:, 3:6]) @ self.root, vectors, self.place + step[:, :3], scales)

    def cut(self, frames: slice | np.ndarray) -> PoseState:
        """Some of the frames."""
        return PoseState(self.root[frames], self.vectors[frames], self.place[frames], self.scales)

    def __len__(self) -> int:
        return len(self.place)


@dataclass(frozen=True)
class Posed:
    """Landmarks of T frames and their derivatives."""

    points: np.ndarray
    """(T, K, 3) metres, camera axes."""
    jacobian: np.ndarray
    """(T, K, 3, PARAMETERS) metres per unit."""
    scale_jacobian: np.ndarray | None
    """(T, K, 3, S), or ``None`` where it was not asked for."""


def _cross_matrices(vectors: np.ndarray) -> np.ndarray:
    """``(..., 3)`` to ``(..., 3, 3)`` with ``M @ x = v x x``."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)


def left_jacobians(vectors: np.ndarray) -> np.ndarray:
    """(..., 3, 3): how a change of a rotation vector turns the rotation, in the axes of the parent (left Jacobian)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    safe = np.maximum(angle, 1e-6)
    cross = _cross_matrices(vectors)
    first = np.where(angle > 1e-4, (1 - np.cos(safe)) / safe**2, 0.5)
    second = np.where(angle > 1e-4, (safe - np.sin(safe)) / safe**3, 1 / 6)
    return np.eye(3) + first * cross + second * (cross @ cross)


class LandmarkChain:
    """The joints-only view of a rest body: landmarks folded onto the 19 joints."""

    def __init__(self, rest: RestBody, table: np.ndarray | None = None) -> None:
        """``table`` (K, B, 4) may replace ``rest.landmarks`` to follow other points of the body."""
        rig = rig_of(rest)
        self._rest = rest
        table = rest.landmarks if table is None else table
        self._carried = np.zeros((len(JOINT_NAMES), len(rig.carrier)))
        self._carried[rig.carrier, np.arange(len(rig.carrier))] = 1.0
        self._table = table.astype(np.float64)
        self._below = _descendants()
        slopes = [np.einsum("bij,kbj->kbi", slope.bones, self._table) for slope in rig.change_by_scale]
        self._fold_by_scale = np.stack([np.einsum("jb,kbi->kji", self._carried, slope) for slope in slopes])
        self._heads_by_scale = np.stack([slope.joint_heads for slope in rig.change_by_scale])

    def _folded(self, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(K, J, 4) landmark parts by joint in changed rest coordinates, and the joints' places (J, 3)."""
        change = rest_change(self._rest, scales)
        moved = np.einsum("bij,kbj->kbi", change.bones, self._table)
        return np.einsum("jb,kbi->kji", self._carried, moved), change.joint_heads

    def _motion(self, state: PoseState, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (T, J, 3, 3) and place (T, J, 3) of every joint in the camera."""
        count, joints = len(state), len(JOINT_NAMES)
        local = rotation_matrices(state.vectors)
        turn, place = np.empty((count, joints, 3, 3)), np.empty((count, joints, 3))
        turn[:, 0], place[:, 0] = state.root, state.place
        for joint in range(1, joints):
            parent = JOINT_PARENTS[joint]
            turn[:, joint] = turn[:, parent] @ local[:, joint]
            place[:, joint] = place[:, parent] + turn[:, parent] @ (heads[joint] - heads[parent])
        return turn, place

    def points(self, state: PoseState) -> np.ndarray:
        """(T, K, 3): the landmarks alone."""
        fold, heads = self._folded(state.scales)
        turn, place = self._motion(state, heads)
        return self._parts(fold, heads, turn, place).sum(2)

    @staticmethod
    def _parts(fold: np.ndarray, heads: np.ndarray, turn: np.ndarray, place: np.ndarray) -> np.ndarray:
        """(T, K, J, 3): each joint's share of each landmark."""
        local = fold[..., :3] - fold[..., 3:] * heads
        turned = np.einsum("tjab,kjb->tkja", turn, local, optimize=True)
        return turned + fold[None, ..., 3:] * place[:, None]

    def pose(self, state: PoseState, with_scales: bool = False) -> Posed:
        """Landmarks and derivatives of all frames."""
        fold, heads = self._folded(state.scales)
        turn, place = self._motion(state, heads)
        parts = self._parts(fold, heads, turn, place)
        below = np.einsum("ji,tkia->tkja", self._below, parts, optimize=True)
        mass = fold[..., 3] @ self._below.T
        lever = below - mass[None, ..., None] * place[:, None]
        parents = np.array(JOINT_PARENTS[1:])
        basis = np.empty_like(turn)
        basis[:, 0] = np.eye(3)
        basis[:, 1:] = turn[:, parents] @ left_jacobians(state.vectors[:, 1:])
        count, landmarks = parts.shape[:2]
        jacobian = np.zeros((count, landmarks, 3, PARAMETERS))
        jacobian[..., :3] = fold[..., 3].sum(1)[:, None, None] * np.eye(3)
        # w x lever = -[lever]x w, and w = basis @ d(vector)
        turned = -_cross_matrices(lever) @ basis[:, None]
        jacobian[..., 3:] = turned.transpose(0, 1, 3, 2, 4).reshape(count, landmarks, 3, -1)
        scale = self._scale_jacobian(fold, turn) if with_scales else None
        return Posed(parts.sum(2), jacobian, scale)

    def _scale_jacobian(self, fold: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """(T, K, 3, S): a factor moves the landmark's parts on their joints, and the joints against their parents."""
        count, factors = len(turn), len(SCALE_NAMES)
        shift = np.zeros((count, len(JOINT_NAMES), 3, factors))
        for joint in range(1, len(JOINT_NAMES)):
            parent = JOINT_PARENTS[joint]
            apart = (self._heads_by_scale[:, joint] - self._heads_by_scale[:, parent]).T
            shift[:, joint] = shift[:, parent] + turn[:, parent] @ apart
        local = self._fold_by_scale[..., :3] - fold[None, ..., 3:] * self._heads_by_scale[:, None]
        own = np.einsum("tjab,skjb->tkas", turn, local, optimize=True)
        return own + np.einsum("kj,tjas->tkas", fold[..., 3], shift, optimize=True)


def _descendants() -> np.ndarray:
    """(J, J) with 1 where the second joint is the first or hangs on it."""
    below = np.eye(len(JOINT_NAMES))
    for joint in reversed(range(1, len(JOINT_NAMES))):
        below[JOINT_PARENTS[joint]] += below[joint]
    return below
