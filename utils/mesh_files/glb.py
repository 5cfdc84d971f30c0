"""Binary glTF 2.0: one skinned mesh, its skeleton and one animation in a single file.

The layout of the file is fixed before the first frame is known, so frames are written where they belong as they come and
memory does not grow with the clip. Axes are glTF's: y up, z towards the viewer; metres; quaternions x, y, z, w.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_FLOAT, _UINT8, _UINT16, _UINT32 = 5126, 5121, 5123, 5125
_COMPONENT_BYTES = {_FLOAT: 4, _UINT8: 1, _UINT16: 2, _UINT32: 4}
_COMPONENTS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_LINEAR = "LINEAR"


@dataclass(frozen=True)
class SkinnedMesh:
    """A surface at rest and the joints that move it."""

    vertices: np.ndarray
    """(V, 3) metres."""
    normals: np.ndarray
    """(V, 3) unit, outwards."""
    faces: np.ndarray
    """(F, 3) int, counter-clockwise seen from outside."""
    joints: np.ndarray
    """(V, K) int, joints that move each vertex."""
    weights: np.ndarray
    """(V, K), not negative, rows sum to 1. No joint has weight in a row twice."""
    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    """Linear RGB of the whole surface, 0..1."""


@dataclass(frozen=True)
class Skeleton:
    """The joints at rest, each against its parent."""

    names: Sequence[str]
    """Names of the J joints."""
    parents: Sequence[int]
    """(J,) index of each joint's parent, parents first, -1 for the only root."""
    translations: np.ndarray
    """(J, 3) metres."""
    rotations: np.ndarray
    """(J, 4) unit quaternions."""
    inverse_bind: np.ndarray
    """(J, 4, 4): rest coordinates of the mesh -> coordinates of each joint."""
    scale: float = 1.0
    """Even scale of the root and with it of everything below."""


@dataclass(frozen=True)
class Animation:
    """The motion: which joints turn and which are moved against their parents, and their keyframes."""

    name: str
    """Name in the file."""
    times: np.ndarray
    """(N,) seconds, increasing."""
    turning: Sequence[int]
    """The R joints whose rotation is animated."""
    moving: Sequence[int]
    """The M joints whose translation is animated."""
    chunks: Iterable[tuple[np.ndarray, np.ndarray]]
    """Pieces of the motion in order: (n, R, 4) unit quaternions and (n, M, 3) metres. Signs of quaternions are chosen
    here so that neighbours interpolate the short way."""


def _weight_sets(mesh: SkinnedMesh) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Joints (V, 4) int and weights (V, 4) float32 in sets of four, the heaviest first: some viewers read only one set."""
    order = np.argsort(-mesh.weights, axis=1, kind="stable")
    weights = np.take_along_axis(mesh.weights, order, 1).astype(np.float32)
    joints = np.where(weights > 0, np.take_along_axis(mesh.joints, order, 1), 0)
    width = -(-int((weights > 0).any(0).sum()) // 4) * 4
    pad = [(0, 0), (0, max(width - weights.shape[1], 0))]
    weights, joints = (np.pad(array, pad)[:, :width] for array in (weights, joints))
    weights /= weights.sum(1, keepdims=True)
    for first in range(0, width, 4):
        yield joints[:, first : first + 4], weights[:, first : first + 4]


class _Layout:
    """Collects accessors one behind the other in the binary part."""

    def __init__(self) -> None:
        self.accessors: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self.content: dict[int, bytes] = {}
        self.size = 0

    def reserve(self, count: int, kind: str, component: int = _FLOAT, target: int | None = None, **more: Any) -> int:
        """Room for ``count`` elements; returns the accessor. Its place in the binary part is ``start(accessor)``."""
        length = count * _COMPONENTS[kind] * _COMPONENT_BYTES[component]
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.size, "byteLength": length}
        if target is not None:
            view["target"] = target
        accessor = {"bufferView": len(self.views), "componentType": component, "count": count, "type": kind, **more}
        self.views.append(view)
        self.accessors.append(accessor)
        self.size += -(-length // 4) * 4
        return len(self.accessors) - 1

    def add(
        self, array: np.ndarray, kind: str, component: int = _FLOAT, target: int | None = None, bounds: bool = False
    ) -> int:
        """Reserve room for an array and remember its bytes."""
        dtype = {_FLOAT: "<f4", _UINT8: "u1", _UINT16: "<u2", _UINT32: "<u4"}[component]
        stored = np.ascontiguousarray(array, dtype)
        more = {}
        if bounds:
            table = stored.reshape(len(stored), -1)
            more = {"min": table.min(0).tolist(), "max": table.max(0).tolist()}
        accessor = self.reserve(stored.size // _COMPONENTS[kind], kind, component, target, **more)
        self.content[accessor] = stored.tobytes()
        return accessor

    def start(self, accessor: int) -> int:
        """Byte offset of an accessor in the binary part."""
        return int(self.views[self.accessors[accessor]["bufferView"]]["byteOffset"])


def _mesh(layout: _Layout, mesh: SkinnedMesh, joint_count: int) -> dict[str, Any]:
    attributes = {
        "POSITION": layout.add(mesh.vertices, "VEC3", target=_VERTEX_BUFFER, bounds=True),
        "NORMAL": layout.add(mesh.normals, "VEC3", target=_VERTEX_BUFFER),
    }
    index_type = _UINT8 if joint_count <= 256 else _UINT16
    for number, (joints, weights) in enumerate(_weight_sets(mesh)):
        attributes[f"JOINTS_{number}"] = layout.add(joints, "VEC4", index_type, _VERTEX_BUFFER)
        attributes[f"WEIGHTS_{number}"] = layout.add(weights, "VEC4", target=_VERTEX_BUFFER)
    # 65535 is kept for restarting a strip and may not be used as an index.
    corner_type = _UINT16 if len(mesh.vertices) < 65535 else _UINT32
    corners = layout.add(mesh.faces.ravel(), "SCALAR", corner_type, _INDEX_BUFFER)
    return {"name": "body", "primitives": [{"attributes": attributes, "indices": corners, "material": 0}]}


def _joint_nodes(skeleton: Skeleton, first: int) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    for joint, parent in enumerate(skeleton.parents):
        node: dict[str, Any] = {
            "name": skeleton.names[joint],
            "translation": [float(value) for value in skeleton.translations[joint]],
            "rotation": [float(value) for value in skeleton.rotations[joint]],
        }
        if parent < 0:
            node["scale"] = [skeleton.scale] * 3
        else:
            nodes[parent].setdefault("children", []).append(first + joint)
        nodes.append(node)
    return nodes


def _animation(layout: _Layout, animation: Animation, first: int) -> tuple[dict[str, Any], list[int], list[int]]:
    """The animation's entry, and the accessors of its rotations and translations."""
    count = len(animation.times)
    times = layout.add(animation.times, "SCALAR", bounds=True)
    rotations = [layout.reserve(count, "VEC4") for _ in animation.turning]
    translations = [layout.reserve(count, "VEC3") for _ in animation.moving]
    channels = [
        *((joint, "rotation", output) for joint, output in zip(animation.turning, rotations, strict=True)),
        *((joint, "translation", output) for joint, output in zip(animation.moving, translations, strict=True)),
    ]
    entry = {
        "name": animation.name,
        "samplers": [{"input": times, "output": output, "interpolation": _LINEAR} for _, _, output in channels],
        "channels": [
            {"sampler": number, "target": {"node": first + joint, "path": path}}
            for number, (joint, path, _) in enumerate(channels)
        ],
    }
    return entry, rotations, translations


def write_glb(
    path: Path, mesh: SkinnedMesh, skeleton: Skeleton, animation: Animation, extras: Mapping[str, Any] | None = None
) -> None:
    """Write the file.

    ``extras`` are notes of the application, stored with the scene; they must be JSON.

    Raises
    ------
    ValueError
        The motion's pieces do not add up to its time stamps, or there are none.
    """
    if not len(animation.times):
        raise ValueError("an animation needs at least one keyframe")
    layout, first = _Layout(), 1
    mesh_entry = _mesh(layout, mesh, len(skeleton.names))
    # Matrices are stored column by column.
    bind = layout.add(np.swapaxes(skeleton.inverse_bind, -1, -2), "MAT4")
    animated, rotations, translations = _animation(layout, animation, first)
    root = first + list(skeleton.parents).index(-1)
    joints = [first + joint for joint in range(len(skeleton.names))]
    document = {
        "asset": {"version": "2.0", "generator": "Understudy"},
        "scene": 0,
        "scenes": [{"nodes": [0, root], **({"extras": dict(extras)} if extras else {})}],
        "nodes": [{"name": "body", "mesh": 0, "skin": 0}, *_joint_nodes(skeleton, first)],
        "meshes": [mesh_entry],
        "skins": [{"name": "skeleton", "joints": joints, "skeleton": root, "inverseBindMatrices": bind}],
        "materials": [
            {
                "name": "body",
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*mesh.color, 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.8,
                },
            }
        ],
        "animations": [animated],
        "accessors": layout.accessors,
        "bufferViews": layout.views,
        "buffers": [{"byteLength": layout.size}],
    }
    with path.open("wb") as file:
        begin = _write_head(file, document, layout.size)
        for accessor, content in layout.content.items():
            file.seek(begin + layout.start(accessor))
            file.write(content)
        _write_motion(
            file, animation, *([begin + layout.start(a) for a in group] for group in (rotations, translations))
        )
        # The last section may end short of a whole word.
        file.truncate(begin + layout.size)


def _write_head(file: BinaryIO, document: Mapping[str, Any], size: int) -> int:
    """Write everything up to the binary part; returns where that begins."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + size
    file.write(struct.pack("<4sII", b"glTF", 2, total))
    file.write(struct.pack("<I4s", len(text), b"JSON") + text)
    file.write(struct.pack("<I4s", size, b"BIN\0"))
    return file.tell()


def _write_motion(file: BinaryIO, animation: Animation, rotations: list[int], translations: list[int]) -> None:
    """Put each piece of the motion where its joints' sections, given by their byte offsets, go on."""
    done, last = 0, None
    for turns, places in animation.chunks:
        turns = _short_way(turns, last)
        for column, start in enumerate(rotations):
            file.seek(start + done * 16)
            file.write(np.ascontiguousarray(turns[:, column], "<f4").tobytes())
        for column, start in enumerate(translations):
            file.seek(start + done * 12)
            file.write(np.ascontiguousarray(places[:, column], "<f4").tobytes())
        done += len(turns)
        last = turns[-1]
        if done > len(animation.times):
            break
    if done != len(animation.times):
        raise ValueError(f"{done} keyframes were given, {len(animation.times)} announced")


def _short_way(turns: np.ndarray, last: np.ndarray | None) -> np.ndarray:
    """(n, R, 4): each quaternion on the same side as the one before; q and -q are the same rotation."""
    chain = turns if last is None else np.concatenate([last[None], turns])
    flips = np.cumprod(np.where((chain[1:] * chain[:-1]).sum(-1) < 0, -1.0, 1.0), axis=0)
    if last is None:
        return np.concatenate([turns[:1], turns[1:] * flips[..., None]])
    return turns * flips[..., None]
