"""Reading a model file of the SMPL family: its arrays, and nothing that runs.

The files come as ``.npz`` (SMPL-X, SMPL-H) and as Python pickles (``.pkl``, SMPL). An archive is read array by array; parts
that are not needed, such as the dictionaries ``part2num`` and ``joint2num``, are never looked at. Where an array that is
needed is pickled, it is read by :class:`_PlainUnpickler`, which knows arrays, sparse matrices, chumpy's arrays and plain
containers. Each of these is rebuilt by code of this module: beyond builtin containers, no class and no function that a
file names is ever called.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from models.body.joint_tables import SMPL_FAMILY

#: Vertices of each model of the family, and the shape directions that it has when its file also holds expressions: SMPL-X
#: comes with 300 + 100, and in its first release with 10 + 10.
VERTICES = {"smplx": 10475, "smplh": 6890, "smpl": 6890}
_SHAPES_BEFORE_EXPRESSIONS = {400: 300, 20: 10}
#: Arrays that every file must have, and those that some have.
_NEEDED = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
_HANDS = ("hands_meanl", "hands_meanr", "hands_componentsl", "hands_componentsr")
_OPTIONAL = (*_HANDS, "lmk_faces_idx", "lmk_bary_coords", "vt", "ft")
#: Most entries of a sparse matrix: the largest that any of the models has is joints by vertices.
_LARGEST_SPARSE = 55 * 10475
#: Landmarks on the face in SMPL-X's file: the 68 usual ones without the jaw line.
FACE_LANDMARKS = 51


@dataclass(frozen=True)
class ModelFile:
    """The arrays of one file, in the file's own axes (y up, the face looks along +z, +x is the subject's left)."""

    family: str
    """``smplx``, ``smplh`` or ``smpl``."""
    template: np.ndarray
    """(V, 3) float32, metres: the mean body in its T-pose."""
    faces: np.ndarray
    """(F, 3) int32."""
    shape_directions: np.ndarray
    """(V, 3, N) float32, metres per unit of each shape parameter; expressions are left out."""
    pose_directions: np.ndarray
    """(P, V * 3) float32, metres per unit of each entry of ``R - I`` of the joints but the root; P = 9 (B - 1)."""
    joint_regressor: np.ndarray
    """(B, V) float32: joints as blends of vertices."""
    parents: np.ndarray
    """(B,) int32, -1 for the root."""
    weights: np.ndarray
    """(V, B) float32, rows sum to 1."""
    hand_means: np.ndarray
    """(2, 45) float32, rotation vectors of the relaxed left and right hand; zero where the file has none."""
    hand_components: np.ndarray | None
    """(2, N, 45) float32: the N main ways in which the left and the right hand move, or ``None``."""
    uv: np.ndarray | None
    """(U, 2) float32, or ``None``."""
    uv_faces: np.ndarray | None
    """(F, 3) int32, or ``None``."""
    face_landmarks: tuple[np.ndarray, np.ndarray] | None
    """(51,) faces and (51, 3) barycentric weights of the landmarks on the face, or ``None``."""


def read_model(path: Path) -> ModelFile:
    """Read a file of SMPL-X, SMPL-H or SMPL.

    Raises
    ------
    InputError
        It cannot be read, is no such file, is damaged, or wants to run code.
    """
    try:
        arrays = _read_arrays(path)
    except _WantsToRun as error:
        raise InputError(
            f"{path} wants to run code ({error}): it is not loaded.", "Take the file from the model's own site."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}).", "Check the path.") from error
    except MemoryError as error:
        raise _damaged(path, "it asks for more memory than there is") from error
    except Exception as error:
        # Bytes that are neither an archive nor a pickle end their readers in any way they like.
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    lacking = [name for name in _NEEDED if name not in arrays]
    if lacking:
        raise _damaged(path, f"it has no {lacking[0]}")
    try:
        return _model_of(arrays)
    except (ValueError, TypeError, IndexError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is damaged or no SMPL-X, SMPL-H or SMPL file ({reason}).", "Download it from the model's site again."
    )


# -- what the arrays mean --------------------------------------------------------------------------------------------


def _model_of(arrays: Mapping[str, np.ndarray]) -> ModelFile:
    vertices, bones = arrays["weights"].shape
    family = next((name for name, joints in SMPL_FAMILY.items() if len(joints) == bones), None)
    if family is None or vertices != VERTICES[family]:
        raise ValueError(f"{vertices} vertices and {bones} joints are those of no model")
    shapes = arrays["shapedirs"]
    count = (
        _SHAPES_BEFORE_EXPRESSIONS.get(shapes.shape[-1], shapes.shape[-1]) if family == "smplx" else shapes.shape[-1]
    )
    pose = arrays["posedirs"]
    faces = _indices(arrays["f"], vertices, "f")
    parents = arrays["kintree_table"][0].astype(np.int64)
    parents[0] = -1
    hands = np.zeros((2, 45), np.float32)
    if family != "smpl" and {"hands_meanl", "hands_meanr"} <= set(arrays):
        hands = np.stack([arrays["hands_meanl"].ravel(), arrays["hands_meanr"].ravel()])
    model = ModelFile(
        family=family,
        template=_floats(arrays["v_template"], (vertices, 3), "v_template"),
        faces=faces,
        shape_directions=_floats(shapes[..., :count], (vertices, 3, count), "shapedirs"),
        pose_directions=_floats(pose.reshape(vertices * 3, -1).T, (9 * (bones - 1), vertices * 3), "posedirs"),
        joint_regressor=_floats(arrays["J_regressor"], (bones, vertices), "J_regressor"),
        parents=parents.astype(np.int32),
        weights=_floats(arrays["weights"], (vertices, bones), "weights"),
        hand_means=_floats(hands, (2, 45), "hands_meanl"),
        hand_components=None,
        uv=None,
        uv_faces=None,
        face_landmarks=None,
    )
    if not (parents < np.arange(bones)).all() or (parents[1:] < 0).any():
        raise ValueError("kintree_table: a joint comes before its parent")
    if np.abs(model.weights.sum(1) - 1).max() > 1e-3:
        raise ValueError("weights: they do not sum to 1")
    return _with_extras(model, arrays)


def _with_extras(model: ModelFile, arrays: Mapping[str, np.ndarray]) -> ModelFile:
    """Add the hands' main movements, texture coordinates and landmarks on the face, where the file has them."""
    extras: dict[str, Any] = {}
    if model.family != "smpl" and {"hands_componentsl", "hands_componentsr"} <= set(arrays):
        shape = (len(arrays["hands_componentsl"]), 45)
        both = [_floats(arrays[f"hands_components{mark}"], shape, f"hands_components{mark}") for mark in "lr"]
        extras["hand_components"] = np.stack(both)
    if {"vt", "ft"} <= set(arrays):
        extras["uv"] = _floats(arrays["vt"], (len(arrays["vt"]), 2), "vt")
        extras["uv_faces"] = _indices(arrays["ft"], len(arrays["vt"]), "ft")
        if len(extras["uv_faces"]) != len(model.faces):
            raise ValueError("ft: it has another number of faces than f")
    if model.family == "smplx":
        if not {"lmk_faces_idx", "lmk_bary_coords"} <= set(arrays):
            raise ValueError("it has no lmk_faces_idx")
        at = arrays["lmk_faces_idx"].astype(np.int64).ravel()
        if len(at) != FACE_LANDMARKS or at.min() < 0 or at.max() >= len(model.faces):
            raise ValueError("lmk_faces_idx: it does not name 51 faces")
        extras["face_landmarks"] = at, _floats(arrays["lmk_bary_coords"], (FACE_LANDMARKS, 3), "lmk_bary_coords")
    return replace(model, **extras)


def _floats(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if array.shape != shape:
        raise ValueError(f"{name}: shape {array.shape} instead of {shape}")
    result = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: it holds numbers that are not finite")
    return result


def _indices(array: np.ndarray, count: int, name: str) -> np.ndarray:
    result = array.astype(np.int64)
    if result.ndim != 2 or result.shape[1] != 3 or result.min() < 0 or result.max() >= count:
        raise ValueError(f"{name}: it does not index {count} points by threes")
    return result.astype(np.int32)


# -- reading ---------------------------------------------------------------------------------------------------------


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that are used, by name. What the file is, its first bytes say."""
    wanted = (*_NEEDED, *_OPTIONAL)
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(0)
        if head != b"PK":
            content = _plain(_PlainUnpickler(file, encoding="latin1").load())
            if not isinstance(content, dict):
                raise ValueError("it holds no arrays by name")
            return {name: np.asarray(content[name]) for name in wanted if name in content}
        with zipfile.ZipFile(file) as archive:
            members = {name.removesuffix(".npy") for name in archive.namelist()}
            return {name: _member(archive.read(f"{name}.npy")) for name in wanted if name in members}


def _member(data: bytes) -> np.ndarray:
    """One array of an archive; a pickled one through the reader that runs nothing."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _fortran, dtype = reader(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    content = np.asarray(_plain(_PlainUnpickler(file, encoding="latin1").load()), np.float64)
    return content.reshape(*shape, *content.shape[1:])


class _WantsToRun(Exception):
    """A pickle names something that is not plain data."""


class _Kind:
    """A number format, as ``numpy.dtype`` is pickled: of booleans, integers, floats, text, or of objects."""

    def __init__(self, text: str, _align: Any = 0, _copy: Any = 0) -> None:
        if not isinstance(text, str) or text[:1] not in "biufSUO" or not text[1:].isdigit():
            raise ValueError(f"arrays of {text!r} are not read")
        self.text, self.order = text, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError("an unknown byte order")
        self.order = state[1]

    def values(self, raw: Any) -> np.ndarray:
        """The numbers in raw bytes (in text, if Python 2 wrote them)."""
        return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, np.dtype(self.order + self.text))


class _Array:
    """An array, as numpy pickles it."""

    value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, kind, fortran, raw = state
        if isinstance(raw, list):
            self.value = raw
        else:
            self.value = kind.values(raw).reshape(shape, order="F" if fortran else "C")


class _Sparse:
    """A matrix of ``scipy.sparse``, by columns or by rows."""

    by_columns = True

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    def dense(self) -> np.ndarray:
        """The matrix in full. Checked and filled in by numpy: scipy's own code trusts what it is given, and crashes."""
        shape = _plain(self.state.get("_shape", self.state.get("shape")))
        data, indices, starts = (np.asarray(_plain(self.state[name])) for name in ("data", "indices", "indptr"))
        lines, length = (int(shape[1]), int(shape[0])) if self.by_columns else (int(shape[0]), int(shape[1]))
        if not (0 < lines * length <= _LARGEST_SPARSE and starts.shape == (lines + 1,) and data.shape == indices.shape):
            raise ValueError("a sparse matrix of impossible size")
        counts = np.diff(starts.astype(np.int64))
        within = len(indices) == 0 or (indices.min() >= 0 and indices.max() < length)
        if not (within and starts[0] == 0 and (counts >= 0).all() and counts.sum() == len(indices)):
            raise ValueError("a sparse matrix whose indices lie outside it")
        table = np.zeros((lines, length))
        np.add.at(table, (np.repeat(np.arange(lines), counts), indices), data)
        return table.T if self.by_columns else table


class _SparseByRows(_Sparse):
    by_columns = False


class _Chumpy:
    """An array of chumpy, in which SMPL's own files wrap theirs: the array is the entry ``x`` of its state."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)

    def value(self) -> Any:
        if "x" not in self.state:
            raise ValueError("a chumpy array that is not a plain one")
        return _plain(self.state["x"])


def _rebuild_array(_kind: Any, _shape: Any, _type: Any) -> _Array:
    return _Array()


def _rebuild_object(kind: Any, _base: Any = None, _state: Any = None) -> Any:
    if kind not in (_Sparse, _SparseByRows, _Chumpy):
        raise _WantsToRun("copyreg._reconstructor")
    return kind()


def _rebuild_scalar(kind: _Kind, raw: Any) -> Any:
    return kind.values(raw)[0]


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _WantsToRun(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _latin1,
    ("copyreg", "_reconstructor"): _rebuild_object,
    ("copy_reg", "_reconstructor"): _rebuild_object,
    ("builtins", "object"): None,
    ("__builtin__", "object"): None,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("collections", "OrderedDict"): dict,
}
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _KNOWN[_core, "_reconstruct"] = _rebuild_array
    _KNOWN[_core, "scalar"] = _rebuild_scalar


class _PlainUnpickler(pickle._Unpickler):
    """Reads arrays and plain containers; anything else that a pickle names is refused.

    It is the reader in Python: the one in C takes gigabytes where a damaged file numbers its objects wrongly.
    """

    def find_class(self, module: str, name: str) -> Callable[..., Any] | None:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csr_matrix"):
            return _Sparse if name == "csc_matrix" else _SparseByRows
        if module.startswith("chumpy"):
            return _Chumpy
        raise _WantsToRun(f"{module}.{name}")


def _plain(value: Any) -> Any:
    """Stand-ins by what they stand for, containers included."""
    if isinstance(value, _Array):
        return _plain(value.value)
    if isinstance(value, _Sparse):
        return value.dense()
    if isinstance(value, _Chumpy):
        return value.value()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(entry) for entry in value)
    return value
