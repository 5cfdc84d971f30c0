"""Readers of the exported files. They share nothing with the writers."""

import csv
import json
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.spatial.transform import Rotation


class Glb:
    """A reader of binary glTF as the specification describes it: accessors, the node tree, keyframes and skinning."""

    TYPES: ClassVar = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
    COMPONENTS: ClassVar = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.document = json.loads(data[20 : 20 + size])
        self.binary = data[20 + size + 8 :]

    def array(self, accessor: int) -> np.ndarray:
        entry = self.document["accessors"][accessor]
        start = self.document["bufferViews"][entry["bufferView"]]["byteOffset"]
        width = self.TYPES[entry["type"]]
        flat = np.frombuffer(self.binary, self.COMPONENTS[entry["componentType"]], entry["count"] * width, start)
        return flat.reshape(entry["count"], width) if width > 1 else flat

    def channels(self) -> list[tuple[int, str, np.ndarray, np.ndarray]]:
        """Node, path, times and values."""
        animation = self.document["animations"][0]
        found = []
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            target = channel["target"]
            found.append((target["node"], target["path"], self.array(sampler["input"]), self.array(sampler["output"])))
        return found

    def world(self, time: float | None) -> dict[int, np.ndarray]:
        """The global transform of every node at a keyframe, or as the file stands for ``None``."""
        nodes = [dict(node) for node in self.document["nodes"]]
        for node, path, times, values in self.channels() if time is not None else ():
            nodes[node][path] = values[np.abs(times - time).argmin()]
        result: dict[int, np.ndarray] = {}

        def visit(node: int, above: np.ndarray) -> None:
            own = np.eye(4)
            turn = Rotation.from_quat(nodes[node].get("rotation", [0, 0, 0, 1])).as_matrix()
            own[:3, :3] = turn * np.array(nodes[node].get("scale", [1, 1, 1]))
            own[:3, 3] = nodes[node].get("translation", [0, 0, 0])
            result[node] = above @ own
            for child in nodes[node].get("children", []):
                visit(child, result[node])

        for node in self.document["scenes"][0]["nodes"]:
            visit(node, np.eye(4))
        return result

    def skinned(self, time: float | None, sets: int = 9) -> np.ndarray:
        """(V, 3) the surface at a keyframe, by at most so many sets of weights."""
        skin = self.document["skins"][0]
        primitive = self.document["meshes"][0]["primitives"][0]["attributes"]
        bind = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        world = self.world(time)
        matrices = np.stack([world[node] for node in skin["joints"]]) @ bind
        rest = np.c_[self.array(primitive["POSITION"]), np.ones(len(self.array(primitive["POSITION"])))]
        result, total = np.zeros((len(rest), 3)), np.zeros((len(rest), 1))
        for number in range(min(sets, sum(name.startswith("JOINTS_") for name in primitive))):
            joints, weights = self.array(primitive[f"JOINTS_{number}"]), self.array(primitive[f"WEIGHTS_{number}"])
            for slot in range(4):
                moved = np.einsum("vij,vj->vi", matrices[joints[:, slot]], rest)[:, :3]
                result += weights[:, slot, None] * moved
                total += weights[:, slot, None]
        return result / total


class Bvh:
    """A reader of BVH: the hierarchy and where its joints are in each frame."""

    def __init__(self, path: Path) -> None:
        head, motion = path.read_text().split("MOTION\n")
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.channels: list[list[str]] = []
        stack: list[int] = []
        for words in map(str.split, head.splitlines()):
            match words:
                case ["ROOT" | "JOINT", name]:
                    self._joint(name, stack)
                case ["End", "Site"]:
                    self._joint(f"{self.names[stack[-1]]}_end", stack)
                    self.channels.append([])
                case ["OFFSET", *numbers]:
                    self.offsets.append([float(number) for number in numbers])
                case ["CHANNELS", count, *names]:
                    assert int(count) == len(names)
                    self.channels.append(names)
                case ["}"]:
                    stack.pop()
        assert not stack
        frames, time, *rows = motion.splitlines()
        self.frame_time = float(time.removeprefix("Frame Time: "))
        self.rows = np.array([row.split() for row in rows], float)
        assert int(frames.removeprefix("Frames: ")) == len(self.rows)

    def _joint(self, name: str, stack: list[int]) -> None:
        self.parents.append(stack[-1] if stack else -1)
        self.names.append(name)
        stack.append(len(self.names) - 1)

    def places(self, frame: int) -> np.ndarray:
        """(joints, 3)."""
        values = iter(self.rows[frame])
        turns, places = [], []
        for number, parent in enumerate(self.parents):
            place, turn = np.array(self.offsets[number]), np.eye(3)
            for channel in self.channels[number]:
                value, axis = next(values), "XYZ".index(channel[0])
                if channel.endswith("position"):
                    place = place + np.eye(3)[axis] * value
                else:
                    turn = turn @ Rotation.from_euler("xyz"[axis], value, degrees=True).as_matrix()
            if parent >= 0:
                place, turn = places[parent] + turns[parent] @ place, turns[parent] @ turn
            places.append(place)
            turns.append(turn)
        return np.array(places)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
