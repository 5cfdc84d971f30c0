"""Baking: shape parameters and a model file in, a rest body out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.errors import InputError, ModelUnavailable
from models.body.articulation import rest_change, rotation_matrices, scales_of
from models.body.base import Progress
from models.body.character import MAX_BONES_PER_VERTEX
from models.body.joint_tables import JOINT_BONES, SMPL_FAMILY
from models.body.smplx_body.landmarks import landmark_table, point_weights
from models.body.smplx_body.model_file import ModelFile, read_model
from models.body.smplx_body.posed import R_model_file, SmplxRestBody
from models.weights import require

#: Largest shape parameter, in standard deviations of the people that the model was made from.
BETA_LIMIT = 10.0
#: Shape parameters that a body always names; most tools of the family expect these.
FEWEST_BETAS = 10
#: How well the joints' places are known when proportions are turned into shape parameters, metres.
_JOINT_SIGMA = 0.005

#: What a user should know of models other than SMPL-X.
WARNINGS = {
    "smplh": "The body is SMPL-H, not SMPL-X: it has no landmarks on the face, so the head is fitted less accurately.",
    "smpl": "The body is SMPL, not SMPL-X: it has neither fingers nor landmarks on the face, so head and hands are fitted "
    "less accurately.",
}


class SmplxBody:
    """Bakes shapes of the SMPL family.

    Parameters
    ----------
    file:
        The model file; the weights table's ``SMPLX_NEUTRAL.npz`` if ``None``.
    cache:
        Folder of all weights, where it is not the usual one.
    """

    name = "smplx"

    def __init__(self, file: Path | None = None, cache: Path | None = None) -> None:
        self._file, self._cache = file, cache
        self._model: ModelFile | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the model that was loaded; empty for SMPL-X and before :meth:`rest`."""
        text = WARNINGS.get(self._model.family) if self._model is not None else None
        return () if text is None else (text,)

    def rest(self, shape: Mapping[str, float], progress: Progress | None = None) -> SmplxRestBody:
        """The body of one shape: ``beta_0``, ``beta_1``, ... in standard deviations; those not given are 0.

        Proportions of a fit (``scale_*``) are no part of the baking. Expressions are left at rest.

        Raises
        ------
        core.errors.InputError
            Unknown shape parameter, a value out of range, or a model file that cannot be used.
        core.errors.ModelUnavailable
            The model file or the package ``smplx`` is missing.
        """
        report = progress or (lambda _fraction, _text: None)
        model = self._load(report)
        betas = _betas(model, shape)
        report(0.8, "shaping the body")
        body = _bake(model, betas)
        report(1.0, "body ready")
        return body

    def shape_like(self, shape: Mapping[str, float]) -> dict[str, float]:
        """Shape parameters that give the skeleton the proportions of a fit.

        A fit stretches the body by factors (``scale_*``), which no tool of the SMPL family knows. Joints are linear in the
        shape parameters, so the closest ones follow from a ridge regression: whoever wants a pure SMPL-X body fits once,
        takes the shape from here, and fits again with ``proportions=False``.

        Parameters
        ----------
        shape:
            ``BodyParams.shape`` of the first fit; its ``beta_*`` are where the search begins.
        """
        model = self._load(lambda _fraction, _text: None)
        rest = _bake(model, _betas(model, shape))
        start = np.array(list(rest.shape.values()))
        stretched = rest_change(rest, scales_of(shape)).joint_heads
        change = stretched - rest.bone_heads[rest.joint_bones]
        regressor = model.joint_regressor[rest.joint_bones]
        slopes = np.einsum("jv,vin->jin", regressor, model.shape_directions[..., : len(start)], optimize=True)
        slopes = np.einsum("ik,jkn->jin", R_model_file, slopes)
        # Only places against the root count: where the whole body lies is no matter of its shape.
        system = (slopes - slopes[:1]).reshape(-1, len(start)) / _JOINT_SIGMA
        target = (change - change[:1]).ravel() / _JOINT_SIGMA
        # The ridge draws the parameters to the mean body, not to where the search began.
        normal = system.T @ system + np.eye(len(start))
        betas = np.clip(np.linalg.solve(normal, system.T @ (target + system @ start)), -BETA_LIMIT, BETA_LIMIT)
        return _named(betas)

    def fingers(self, components: np.ndarray) -> np.ndarray | None:
        """(T, 2, 15, 3) rotation vectors in the file's axes of both hands' fingers, the mean hand contained.

        ``components`` (T, 2, N): weights of each hand's first N main movements. ``None`` where the file has none.
        """
        model = self._load(lambda _fraction, _text: None)
        if model.hand_components is None or model.hand_components.shape[1] < components.shape[2]:
            return None
        used = model.hand_components[:, : components.shape[2]]
        poses = np.einsum("thn,hnk->thk", components, used) + model.hand_means
        return poses.reshape(len(components), 2, 15, 3)

    def _load(self, report: Progress) -> ModelFile:
        if self._model is None:
            report(0.1, "reading the body model")
            path = self._file or require("smplx", self._cache) / "SMPLX_NEUTRAL.npz"
            self._model = read_model(path)
        return self._model


def _betas(model: ModelFile, shape: Mapping[str, float]) -> np.ndarray:
    """(N,) float64: the shape parameters by number, checked."""
    count = model.shape_directions.shape[-1]
    known = {f"beta_{index}": index for index in range(count)}
    betas = np.zeros(count)
    for name, value in shape.items():
        if name.startswith("scale_"):
            continue
        if name not in known:
            raise InputError(
                f"The {model.family} body has no shape parameter {name!r}.",
                f"Choose among: beta_0 to beta_{count - 1}.",
            )
        if not abs(float(value)) <= BETA_LIMIT:
            raise InputError(
                f"The shape parameter {name} = {value} is outside -{BETA_LIMIT:g}..{BETA_LIMIT:g}.",
                "Give a number of standard deviations, most people lie within -3..3.",
            )
        betas[known[name]] = float(value)
    return betas


def _named(betas: np.ndarray) -> dict[str, float]:
    """Shape parameters by name: the first ten, and those after them up to the last that is not 0."""
    count = max(min(FEWEST_BETAS, len(betas)), int(np.flatnonzero(betas).max(initial=-1)) + 1)
    return {f"beta_{index}": float(value) for index, value in enumerate(betas[:count])}


def _shaped(model: ModelFile, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and joints (B, 3) of one shape in the file's axes, float64, by the library's own functions."""
    try:
        import torch
        from smplx.lbs import blend_shapes, vertices2joints
    except ImportError as error:
        raise ModelUnavailable(f"The package smplx cannot be loaded: {error}.", "Run: make setup") from error
    used = np.flatnonzero(betas)
    with torch.no_grad():
        directions = torch.from_numpy(model.shape_directions[..., used]).double()
        offsets = blend_shapes(torch.from_numpy(betas[None, used]), directions)
        vertices = torch.from_numpy(model.template).double()[None] + offsets
        joints = vertices2joints(torch.from_numpy(model.joint_regressor).double(), vertices)
    return vertices[0].numpy(), joints[0].numpy()


def _few_bones(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bones (V, K) int32 and weights (V, K) float32 of each vertex: the heaviest, their weights sum to 1 again."""
    most = int(np.clip((weights > 0).sum(1).max(), 1, MAX_BONES_PER_VERTEX))
    order = np.argsort(-weights, axis=1, kind="stable")[:, :most]
    kept = np.take_along_axis(weights, order, 1)
    return order.astype(np.int32), (kept / kept.sum(1, keepdims=True)).astype(np.float32)


def _bake(model: ModelFile, betas: np.ndarray) -> SmplxRestBody:
    vertices, heads = (points @ R_model_file.T for points in _shaped(model, betas))
    names = SMPL_FAMILY[model.family]
    indices, weights = _few_bones(model.weights)
    dense = np.zeros(model.weights.shape)
    np.put_along_axis(dense, indices, weights, 1)
    points = point_weights(model.family, vertices, model.faces, names, heads, dense, model.face_landmarks)
    count = len(vertices)
    skin = vertices.astype(np.float32)
    # Where the file has no texture coordinates, all corners share one: a texture paints the body in one colour.
    uv = np.full((1, 2), 0.5, np.float32) if model.uv is None else model.uv
    uv_faces = np.zeros(model.faces.shape, np.int32) if model.uv_faces is None else model.uv_faces
    return SmplxRestBody(
        model=model.family,
        shape=_named(betas),
        vertices=skin,
        faces=model.faces,
        uv=uv,
        uv_faces=uv_faces,
        bone_indices=indices,
        bone_weights=weights,
        base_indices=np.arange(count, dtype=np.int32),
        base_vertices=skin,
        base_bone_indices=indices,
        base_bone_weights=weights,
        bone_names=names,
        bone_parents=model.parents,
        bone_heads=heads.astype(np.float32),
        bone_curl=_curl(model, names),
        joint_bones=np.array([names.index(bone) for bone in JOINT_BONES[model.family]], np.int32),
        landmarks=landmark_table(model.family, vertices, dense, names, heads, points),
        pose_directions=model.pose_directions,
    )


def _curl(model: ModelFile, names: tuple[str, ...]) -> np.ndarray:
    """(B, 3, 3) float32: the file's relaxed hands; identity elsewhere."""
    curl = np.zeros((len(names), 3))
    for side, mean in zip(("left", "right"), model.hand_means, strict=True):
        if f"{side}_index1" in names:
            first = names.index(f"{side}_index1")
            curl[first : first + 15] = mean.reshape(15, 3) @ R_model_file.T
    return rotation_matrices(curl).astype(np.float32)
