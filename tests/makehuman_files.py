"""Small garments in MakeHuman's format, made for tests: a vest from the body's own skin, and a sheet of hair."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from models.body.base import RestBody

#: Head's width, depth and height, as the community's garments measure them.
SCALES = {"x": (5399, 11998), "z": (962, 5320), "y": (791, 881)}
#: Decimetres by which the vest stands off the skin.
VEST_OFFSET = 0.06


def _measured(rest: RestBody) -> str:
    lines = []
    for axis, (first, second) in SCALES.items():
        ours = {"x": 0, "y": 2, "z": 1}[axis]
        distance = abs(rest.base_vertices[first, ours] - rest.base_vertices[second, ours]) * 10
        lines.append(f"{axis}_scale {first} {second} {distance:.6f}")
    return "\n".join(lines)


def trunk_faces(rest: RestBody) -> np.ndarray:
    """(F, 3) faces of the skin between the hips and the arm pits, arms left out."""
    low, high = rest.bone_heads[rest.bone("upperleg01.L")][2] + 0.05, rest.bone_heads[rest.bone("clavicle.L")][2] - 0.12
    arm = [
        index
        for index, name in enumerate(rest.bone_names)
        if name.startswith(("upperarm", "lowerarm", "wrist", "finger"))
    ]
    of_arm = (np.isin(rest.bone_indices, arm) * rest.bone_weights).sum(axis=1) > 0.3
    inside = (rest.vertices[:, 2] > low) & (rest.vertices[:, 2] < high) & ~of_arm
    return rest.faces[inside[rest.faces].all(axis=1)]


def vest(
    folder: Path,
    rest: RestBody,
    name: str = "vest",
    offset: float = VEST_OFFSET,
    material: str = "",
    header: str = "",
    hide: bool = True,
) -> Path:
    """Write a vest that stands ``offset`` decimetres off the skin of ``rest``. Returns its ``.mhclo``."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = trunk_faces(rest)
    used, compact = np.unique(faces, return_inverse=True)
    compact = compact.reshape(faces.shape)
    a, b, c = rest.vertices[rest.faces].transpose(1, 0, 2)
    normals = np.zeros_like(rest.vertices)
    for corner in range(3):
        np.add.at(normals, rest.faces[:, corner], np.cross(b - a, c - a))
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True))[used]
    base = rest.base_indices[used]
    points = rest.vertices[used] * 10 + offset * normals
    # MakeHuman: x left, y up, z forward.
    rows = [
        f"{i} {i} {i} 1.0 0.0 0.0 {n[0] * offset:.6f} {n[2] * offset:.6f} {-n[1] * offset:.6f}"
        for i, n in zip(base, normals, strict=True)
    ]
    hidden = "delete_verts\n" + "\n".join(" ".join(map(str, part)) for part in np.array_split(base, 40)) if hide else ""
    (folder / f"{name}.mhclo").write_text(
        f"# made for a test\nbasemesh hm08\nname {name}\nobj_file {name}.obj\nmaterial {name}.mhmat\n"
        f"{_measured(rest)}\n{header}\nverts 0\n" + "\n".join(rows) + f"\n\n{hidden}\n"
    )
    span = points[:, 2].max() - points[:, 2].min()
    uv = np.stack([0.5 + points[:, 0] / (2 * span), (points[:, 2] - points[:, 2].min()) / span], axis=1)
    lines = [f"v {x:.6f} {z:.6f} {-y:.6f}" for x, y, z in points]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv]
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in compact]
    (folder / f"{name}.obj").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.mhmat").write_text(material or f"name {name}\ndiffuseColor 0.8 0.1 0.1\n")
    return folder / f"{name}.mhclo"


def picture(path: Path, rgba: np.ndarray) -> None:
    """Write (H, W, 3 or 4) uint8 RGB(A) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = cv2.COLOR_RGBA2BGRA if rgba.shape[2] == 4 else cv2.COLOR_RGB2BGR
    assert cv2.imwrite(str(path), cv2.cvtColor(rgba, flags))
