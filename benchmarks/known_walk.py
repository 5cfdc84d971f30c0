#!/usr/bin/env python3
"""A walk whose every joint is known: Anny, walking in front of a photo, and the score of a fit against it.

    python benchmarks/known_walk.py BACKGROUND_IMAGE OUT_DIR          makes clip.mp4 and truth.npz
    python benchmarks/known_walk.py --score RUN_FOLDER OUT_DIR        mean joint error after Procrustes, millimetres

The body is not the one that is fitted: another sex, build and height, filmed with a focal length that the fit is not
told. Its gait follows the joint angles of normal walking (D. A. Winter, The Biomechanics and Motor Control of Human
Gait, 1991), with the root placed so that the standing foot stays where it is.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from core.types import LANDMARK_NAMES, BodyParams
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, bone_transforms, landmark_positions, rotation_matrices
from models.body.base import JOINT_NAMES, RestBody
from models.body.embree import RayScene, camera_rays, project
from models.body.pose_init import limbs_of, rotation_vectors
from utils.video_writer import VideoWriter

#: The walker: a sturdy young man, unlike the neutral body that is fitted.
WALKER = {"gender": 0.0, "age": 0.7, "muscle": 0.6, "weight": 0.55, "height": 0.6}

#: Sagittal angles in degrees at every tenth of the gait cycle from heel strike: flexion of hip and knee, dorsiflexion
#: of the ankle (read off Winter's tables for natural cadence).
HIP = (22, 20, 13, 4, -5, -11, -10, 2, 15, 22)
KNEE = (4, 15, 19, 17, 11, 9, 19, 52, 63, 37)
ANKLE = (0, -3, 2, 6, 9, 9, -12, -14, -2, 2)
CYCLE_SECONDS = 1.1

#: Joints that are scored: limbs and nose.
SCORED = tuple(
    LANDMARK_NAMES.index(name)
    for name in ["nose"]
    + [f"{s}_{p}" for s in ("left", "right") for p in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
)

SIZE = (960, 540)
FRAMES = 90
RATE = Fraction(30)
FOCAL = 1.15
"""Parts of the width."""
SAMPLES = 2
"""Rays across a pixel."""


@dataclass(frozen=True)
class Walk:
    """The truth."""

    landmarks: np.ndarray
    """(T, 33, 3) metres, camera axes."""
    rotations: np.ndarray
    """(T, J, 3)."""
    translation: np.ndarray
    """(T, 3) metres."""
    intrinsics: np.ndarray
    """(3, 3)."""


def _cycle(values: tuple[int, ...], phase: np.ndarray) -> np.ndarray:
    """Radians at the phases (0..1) of a periodic curve through ten values: the first three harmonics."""
    spectrum = np.fft.rfft(np.radians(values))[:4] / len(values)
    harmonics = np.arange(len(spectrum))
    factor = np.where(harmonics == 0, 1.0, 2.0)
    return (factor * spectrum * np.exp(2j * np.pi * phase[:, None] * harmonics)).real.sum(1)


def _gait(rest: RestBody, phase: np.ndarray) -> np.ndarray:
    """(T, J, 3) rotation vectors in rest axes; the root faces along -y and is turned later."""
    vectors = np.zeros((len(phase), len(JOINT_NAMES), 3))
    left = np.array([1.0, 0, 0])

    def joint(name: str) -> int:
        return JOINT_NAMES.index(name)

    for side, sign, shift in (("left", 1, 0.0), ("right", -1, 0.5)):
        own = (phase + shift) % 1.0
        # Flexion lifts the thigh forward: about the body's right, which is -x.
        vectors[:, joint(f"{side}_hip")] = -_cycle(HIP, own)[:, None] * left + [0, 0.05 * sign, 0]
        vectors[:, joint(f"{side}_knee")] = _cycle(KNEE, own)[:, None] * left
        vectors[:, joint(f"{side}_foot")] = -_cycle(ANKLE, own)[:, None] * left
        # The arms hang from the A-pose and swing against the legs.
        swing = 0.02 - 0.36 * np.cos(2 * np.pi * own)
        down = rotation_matrices(np.array([0, 0.6 * sign, 0]))
        forward = rotation_matrices(-swing[:, None] * left)
        vectors[:, joint(f"{side}_shoulder")] = rotation_vectors(forward @ down)
        hinge = next(limb.hinge for limb in limbs_of(rest) if limb.hinge.joint == joint(f"{side}_elbow"))
        vectors[:, hinge.joint] = (hinge.low + 0.3 + 0.5 * np.clip(swing, 0, 1))[:, None] * hinge.axis
    turn = np.cos(2 * np.pi * phase)
    vectors[:, joint("spine_upper"), 2] = 0.10 * turn
    vectors[:, joint("spine_lower"), 0] = -0.04
    vectors[:, 0, 2] = -0.07 * turn
    return vectors


def _place(rest: RestBody, vectors: np.ndarray) -> np.ndarray:
    """(T, 3) model axes: a path of the root that keeps the lower foot where it stands."""
    transforms = bone_transforms(rest, vectors, np.zeros((len(vectors), 3)))
    points = landmark_positions(rest, transforms).astype(float)
    feet = points[
        :, [LANDMARK_NAMES.index(n) for n in ("left_heel", "left_foot_index", "right_heel", "right_foot_index")]
    ]
    standing = feet[..., 2].argmin(1)
    place = np.zeros((len(vectors), 3))
    for t in range(1, len(vectors)):
        place[t] = place[t - 1] + feet[t - 1, standing[t - 1]] - feet[t, standing[t - 1]]
    place[:, 2] = -feet[..., 2].min(1)
    return place


def walk_of(rest: RestBody, size: tuple[int, int] = SIZE, frames: int = FRAMES, rate: Fraction = RATE) -> Walk:
    """A body that walks past the camera at an angle, a little below eye height."""
    phase = np.arange(frames) / float(rate) / CYCLE_SECONDS % 1.0
    vectors = _gait(rest, phase)
    path = _place(rest, vectors)
    # Camera axes: x right, y down, z forward. Model axes turned about the vertical: walks to the left, coming nearer.
    heading = np.radians(-62.0)
    to_camera = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ rotation_matrices(np.array([0, 0, heading]))
    placed = (path - path.mean(0) * [1, 1, 0]) @ to_camera.T + [0.0, 1.1, 5.5]
    rotations = vectors.copy()
    rotations[:, 0] = rotation_vectors(to_camera @ rotation_matrices(vectors[:, 0]))
    width, height = size
    intrinsics = np.array([[FOCAL * width, 0, (width - 1) / 2], [0, FOCAL * width, (height - 1) / 2], [0, 0, 1]])
    landmarks = landmark_positions(rest, bone_transforms(rest, rotations, placed))
    return Walk(landmarks, rotations, placed, intrinsics)


def _colours(rest: RestBody) -> np.ndarray:
    """(V, 3) linear RGB: skin, hair, a shirt and trousers painted on, by the bones that move each vertex."""
    strongest = [
        rest.bone_names[bone] for bone in rest.bone_indices[np.arange(len(rest.vertices)), rest.bone_weights.argmax(1)]
    ]
    parts = {
        (0.08, 0.12, 0.30): ("spine", "clavicle", "shoulder", "upperarm"),
        (0.03, 0.03, 0.035): ("root", "pelvis", "upperleg", "lowerleg"),
        (0.30, 0.28, 0.26): ("foot", "toe"),
    }
    colours = np.tile([0.45, 0.26, 0.18], (len(rest.vertices), 1))
    for colour, names in parts.items():
        colours[[name.startswith(names) for name in strongest]] = colour
    head = np.array([name in ("head", "neck03") for name in strongest])
    nose = rest.landmarks[LANDMARK_NAMES.index("nose")].sum(0)
    eyes = rest.landmarks[LANDMARK_NAMES.index("left_eye")].sum(0)
    back = (rest.vertices[:, 1] - nose[1]) * 0.55 + (rest.vertices[:, 2] - eyes[2]) > 0.085
    colours[head & back] = (0.03, 0.02, 0.015)
    for side in ("left", "right"):
        eye = rest.landmarks[LANDMARK_NAMES.index(f"{side}_eye")].sum(0)[:3]
        colours[np.linalg.norm(rest.vertices - eye, axis=1) < 0.012] = (0.03, 0.03, 0.03)
    return colours


def _draw(
    rest: RestBody, vertices: np.ndarray, colours: np.ndarray, intrinsics: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """One frame: sun and sky on a matt body, over the photo; only the body's box is drawn."""
    pixels = project(intrinsics, np.eye(3), vertices)
    x0, y0 = np.maximum(np.floor(pixels.min(0)).astype(int) - 1, 0)
    x1, y1 = np.minimum(np.ceil(pixels.max(0)).astype(int) + 2, background.shape[1::-1])
    result, background = background.copy(), background[y0:y1, x0:x1]
    height, width = background.shape[:2]
    scale = np.diag([SAMPLES, SAMPLES, 1.0])
    scale[:2, 2] = (SAMPLES - 1) / 2 - SAMPLES * np.array([x0, y0])
    xs, ys = np.meshgrid(np.arange(width * SAMPLES), np.arange(height * SAMPLES))
    rays = camera_rays(intrinsics, scale, np.stack([xs.ravel(), ys.ravel()], 1))
    found = RayScene(vertices, rest.faces).intersect(np.zeros_like(rays), rays)
    corners = rest.faces[np.maximum(found.pix_to_face, 0)]
    triangle = vertices[rest.faces]
    face_normals = np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, rest.faces[:, corner], face_normals)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    normal = np.einsum("nc,nci->ni", found.bary_coords, normals[corners])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    albedo = np.einsum("nc,nci->ni", found.bary_coords, colours[corners])
    sun = np.array([-0.5, -0.7, -0.5]) / np.linalg.norm([0.5, 0.7, 0.5])
    light = 1.3 * np.clip(normal @ sun, 0, 1) + 0.45 - 0.2 * normal[:, 1]
    layer = np.clip(albedo * light[:, None], 0, 1) ** (1 / 2.2) * 255
    hit = found.hit.astype(np.float32)
    shape = (height, SAMPLES, width, SAMPLES)
    alpha = hit.reshape(shape).mean((1, 3))[..., None]
    colour = (layer * hit[:, None]).reshape(*shape, 3).mean((1, 3))
    result[y0:y1, x0:x1] = np.clip(colour + (1 - alpha) * background + 0.5, 0, 255).astype(np.uint8)
    return result


def make_walk(background: Path, folder: Path, frames: int = FRAMES) -> None:
    """Write ``clip.mp4`` and ``truth.npz`` (landmarks, rotations, translation, intrinsics) into ``folder``.

    ``background`` is any picture; it is cut to the clip's shape.
    """
    picture = cv2.imread(str(background))
    if picture is None:
        raise SystemExit(f"{background} is not a picture")
    factor = max(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
    picture = cv2.resize(picture, None, fx=factor + 1e-3, fy=factor + 1e-3, interpolation=cv2.INTER_AREA)
    photo = cv2.cvtColor(picture[: SIZE[1], : SIZE[0]], cv2.COLOR_BGR2RGB)
    rest = AnnyBody().rest(WALKER)
    walk = walk_of(rest, frames=frames)
    transforms = bone_transforms(rest, walk.rotations, walk.translation)
    skin, colours = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names)), _colours(rest)
    noise = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with VideoWriter(folder / "clip.mp4", SIZE, RATE) as video:
        for transform in transforms:
            frame = _draw(rest, skin(transform), colours, walk.intrinsics, photo)
            grain = noise.normal(0, 1.5, frame.shape)
            video.write(np.clip(frame + grain, 0, 255).astype(np.uint8))
    np.savez(
        folder / "truth.npz",
        landmarks=walk.landmarks,
        rotations=walk.rotations,
        translation=walk.translation,
        intrinsics=walk.intrinsics,
    )


def procrustes_errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(T, K) metres: distances of points (T, K, 3) after the best similarity in each frame."""
    a, b = found - found.mean(1, keepdims=True), truth - truth.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(a.transpose(0, 2, 1) @ b)
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(1) / (a**2).sum((1, 2))
    return np.linalg.norm(scale[:, None, None] * a @ rotation - b, axis=-1)


def score_keypoints(keypoints: np.ndarray, valid: np.ndarray, truth: np.ndarray) -> float:
    """Mean error in millimetres of (T, 33, 3) keypoints against the truth, over the fitted frames and ``SCORED`` joints."""
    if not valid.any():
        return float("inf")
    return float(
        1000
        * procrustes_errors(keypoints[valid][:, SCORED].astype(float), truth[valid][:, SCORED].astype(float)).mean()
    )


def score_params(params: BodyParams, folder: Path) -> float:
    """Mean joint error of a fit in millimetres, after Procrustes."""
    return score_keypoints(params.keypoints, params.valid, np.load(folder / "truth.npz")["landmarks"])


def score_run(run: Path, folder: Path) -> float:
    """The same for a run folder with ``body.npz``."""
    with np.load(run / "body.npz") as body:
        return score_keypoints(body["joints"], body["valid"], np.load(folder / "truth.npz")["landmarks"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="background picture, or with --score the run folder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--score", action="store_true")
    args = parser.parse_args()
    if args.score:
        print(f"{score_run(args.source, args.folder):.1f}")
    else:
        make_walk(args.source, args.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
