#!/usr/bin/env python3
"""Our fit beside that of ``keypoints2body`` (PyPI): the same walk, the same noise, the same body file; time and error.

    python benchmarks/mesh_keypoints2body.py [--frames 30] [--noise 0,15] [--site FOLDER]

``keypoints2body`` 0.1.0 fits SMPL to joints in space, frame by frame: first the shape, then L-BFGS on the pose from the
pose before. It names no licence, and its pose prior bears that of the Max Planck Society (research only). So it is no
requirement of this project: it is installed for this comparison, with h5py, into a temporary folder that goes with it, and
nothing of the project's environment changes. ``--site`` takes a folder in which it is installed already.

What it needs and does not bring is made here, since the real files may not be passed on: ``SMPL_NEUTRAL.pkl`` from Anny
in SMPL's layout (as the tests make it), a mean pose of zeros, and a pose prior of one broad Gaussian instead of the
mixture that was learned from motion capture. With the real prior its poses may come out better.

A man of other proportions than the body file's walks past the camera. ``keypoints2body`` gets SMPL's first 22 joints in
metres, turned so that he faces it in the first frame. Our fit gets the 33 landmarks of the same body as a detector gives
them, in the picture and against the hips, with the lens known. Noise is normal and independent, of the same size in
space for both. The error is that of the 22 joints, in mm: with the pelvis put in place, and after Procrustes, in the mean
over all frames; jitter is the mean acceleration in mm per frame squared. Frames a second are given by the clock and by the
processor's time: the latter is what counts while other work shares the cores.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.known_walk import FRAMES, RATE, SIZE, WALKER, procrustes_errors, walk_of  # noqa: E402
from core.types import PoseTrack  # noqa: E402
from models.body.anny_body import AnnyBody  # noqa: E402
from models.body.articulation import bone_transforms, params_transforms  # noqa: E402
from models.body.base import RestBody  # noqa: E402
from models.body.fit_size import resized, size_in_space  # noqa: E402
from models.body.fitting import fit_body  # noqa: E402
from models.body.joint_tables import SMPL_FAMILY  # noqa: E402
from models.body.pose_init import view_rotations  # noqa: E402
from models.body.smplx_body import R_model_file, SmplxBody  # noqa: E402

PACKAGES = ("keypoints2body==0.1.0", "h5py==3.16.0")
#: Joints that both are scored on: SMPL's without the hands.
JOINTS = 22
#: Standard deviation of the prior's one Gaussian, radians.
PRIOR_SIGMA = 0.6
#: Anny's bone behind each of those joints.
SOURCES = {
    "pelvis": "root", "spine1": "spine04", "spine2": "spine02", "spine3": "spine01", "neck": "neck01", "head": "head",
} | {
    f"{side}_{joint}": f"{bone}.{mark}"
    for side, mark in (("left", "L"), ("right", "R"))
    for joint, bone in (
        ("hip", "upperleg01"), ("knee", "lowerleg01"), ("ankle", "foot"), ("foot", "toe2-1"), ("collar", "clavicle"),
        ("shoulder", "upperarm01"), ("elbow", "lowerarm01"), ("wrist", "wrist"),
    )
}  # fmt: skip
#: Runs in a process of its own, in a folder with ``data/models`` as the package expects it.
THEIRS = """
import sys, time
import numpy as np
from keypoints2body import optimize_params_sequence
given = np.load("given.npz")
results, seconds = [], []
for joints in given["joints"]:
    started = time.perf_counter(), time.process_time()
    fitted = optimize_params_sequence(joints, body_model="smpl", joint_layout="AMASS")
    seconds.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    results.append(np.concatenate([frame.joints[:, :22].numpy() for frame in fitted]))
np.savez("found.npz", joints=np.stack(results), seconds=np.array(seconds))
"""


@dataclass(frozen=True)
class Walker:
    """The truth."""

    joints: np.ndarray
    """(T, 22, 3) metres, camera axes."""
    landmarks: np.ndarray
    """(T, 33, 3) metres, camera axes."""
    intrinsics: np.ndarray
    """(3, 3) pixels."""
    R_camera_file: np.ndarray
    """(3, 3): axes of SMPL's files, as the man stands in them in the first frame, to camera axes."""


def heads(rest: RestBody, transforms: np.ndarray, bones: list[int]) -> np.ndarray:
    """(T, B, 3) metres, camera axes: where some bones turn."""
    chosen = transforms[:, bones].astype(np.float64)
    return np.einsum("tbij,bj->tbi", chosen[..., :3, :3], rest.bone_heads[bones]) + chosen[..., :3, 3]


def walker(frames: int) -> Walker:
    """The walk of a body that neither fit has."""
    rest = AnnyBody().rest(WALKER)
    walk = walk_of(rest, frames=frames)
    transforms = bone_transforms(rest, walk.rotations, walk.translation)
    joints = heads(rest, transforms, [rest.bone(SOURCES[name]) for name in SMPL_FAMILY["smpl"][:JOINTS]])
    R_camera_file = transforms[0, rest.bone("root"), :3, :3].astype(np.float64) @ R_model_file
    return Walker(joints, walk.landmarks.astype(np.float64), walk.intrinsics, R_camera_file)


def body_file(folder: Path) -> Path:
    """Write what ``keypoints2body`` expects under ``data/models``; returns the body file."""
    import h5py

    from tests.smplx_file import write_pickle

    models = folder / "data" / "models"
    file = write_pickle(models / "smpl", "smpl")
    with h5py.File(models / "neutral_smpl_mean_params.h5", "w") as mean:
        mean["pose"], mean["shape"] = np.zeros(72, np.float32), np.zeros(10, np.float32)
    wide = {"means": np.zeros((8, 69)), "covars": np.tile(PRIOR_SIGMA**2 * np.eye(69), (8, 1, 1))}
    (models / "gmm_08.pkl").write_bytes(pickle.dumps({**wide, "weights": np.full(8, 1 / 8)}))
    return file


def theirs(folder: Path, site: Path, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, T, 22, 3) that ``keypoints2body`` fits to (N, T, 22, 3), and the seconds by the clock and by the
    processor (N, 2) that it takes."""
    np.savez(folder / "given.npz", joints=given.astype(np.float32))
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", THEIRS],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"keypoints2body failed:\n{done.stderr[-2000:]}")
    with np.load(folder / "found.npz") as found:
        return found["joints"].astype(np.float64), found["seconds"]


def ours(truth: Walker, rest: RestBody, noise: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Joints (T, 22, 3) of our fit to landmarks with noise (T, 33, 3) metres, and its seconds by clock and processor."""
    seen = truth.landmarks + noise
    pixels = seen @ truth.intrinsics.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    world = (seen - seen[:, [23, 24]].mean(1, keepdims=True)) @ view_rotations(pixels, truth.intrinsics)
    landmarks = np.concatenate([pixels, np.zeros((*pixels.shape[:2], 1))], -1).astype(np.float32)
    count = len(seen)
    pose = PoseTrack(landmarks, world.astype(np.float32), np.ones((count, 33), np.float32), np.ones(count, bool))
    started = time.perf_counter(), time.process_time()
    fitted = fit_body(pose, None, SIZE, rest, fps=float(RATE), intrinsics=truth.intrinsics)
    fitted = resized(fitted, size_in_space(fitted, pose) or 1.0)
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    bones = [rest.bone_names.index(name) for name in SMPL_FAMILY["smpl"][:JOINTS]]
    return heads(rest, params_transforms(rest, fitted), bones), seconds


def scores(found: np.ndarray, truth: np.ndarray) -> str:
    """Cells of the table: root-aligned and Procrustes error, mm, and jitter, mm per frame squared."""
    rooted = (found - found[:, :1]) - (truth - truth[:, :1])
    jitter = np.linalg.norm(np.diff(found - found[:, :1], 2, axis=0), axis=-1).mean()
    errors = (np.linalg.norm(rooted, axis=-1).mean(), procrustes_errors(found, truth).mean(), jitter)
    return " | ".join(f"{1000 * value:.1f}" for value in errors)


def compare(folder: Path, site: Path, frames: int, levels: list[float]) -> None:
    """Print the table."""
    sys.path.insert(0, str(site))
    truth, file = walker(frames), body_file(folder)
    rest = SmplxBody(file).rest({})
    rng = np.random.default_rng(0)
    in_file = (truth.joints - truth.joints[:1, :1]) @ truth.R_camera_file
    noisy = [in_file + rng.normal(0, level / 1000, in_file.shape) for level in levels]
    found, seconds = theirs(folder, site, np.stack(noisy))
    columns = ("fit", "noise, mm", "root-aligned, mm", "Procrustes, mm", "jitter", "frames/s", "by the processor")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    still = " | ".join(["0.0", "0.0", f"{1000 * _jitter(truth.joints):.1f}"])
    print(f"| the walk itself | | {still} | | |")
    for level, joints, took in zip(levels, found, seconds, strict=True):
        print(f"| keypoints2body | {level:g} | {scores(joints, in_file)} | {_rates(frames, took)} |")
    for level in levels:
        joints, took = ours(truth, rest, rng.normal(0, level / 1000, truth.landmarks.shape))
        print(f"| ours | {level:g} | {scores(joints, truth.joints)} | {_rates(frames, took)} |")


def _rates(frames: int, seconds: Sequence[float]) -> str:
    return " | ".join(f"{frames / value:.3g}" for value in seconds)


def _jitter(joints: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(joints - joints[:, :1], 2, axis=0), axis=-1).mean())


def main() -> int:
    """Install where needed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=30, help=f"frames of the walk, 3 to {FRAMES} (default: 30)")
    parser.add_argument("--noise", default="0,15", help="standard deviations in mm, separated by commas")
    parser.add_argument("--site", type=Path, help="folder in which keypoints2body is installed already")
    given = parser.parse_args()
    if not 3 <= given.frames <= FRAMES:
        parser.error(f"--frames must be 3 to {FRAMES}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start, {given.frames} frames\n")
    with tempfile.TemporaryDirectory() as temporary:
        site = given.site
        if site is None:
            site = Path(temporary) / "site"
            install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), *PACKAGES]
            if subprocess.run(install).returncode:
                raise SystemExit("keypoints2body could not be installed. Give a folder that holds it with --site.")
        compare(Path(temporary), site.resolve(), given.frames, [float(level) for level in given.noise.split(",")])
    return 0


if __name__ == "__main__":
    sys.exit(main())
