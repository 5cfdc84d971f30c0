#!/usr/bin/env python3
"""Time the drawing of a fitted body: rasterisers beside each other, single pictures, and a whole overlay video.

    python benchmarks/mesh_raster.py [--size 256] [--repeats 5] [--frame-size 1024] [--frames 150]

The same body, camera and size for PyTorch3D's rasteriser on the CPU and for Embree, and on CUDA where there is some. One call
of each is not counted. Prints Markdown tables: median and interquartile range of the wall-clock time, and the median of the
process's CPU time, in milliseconds. PyTorch3D's rasteriser takes seconds a picture on the CPU; its time grows with the area.

The video is drawn as a run draws it: decoded, drawn and encoded at once. Its frames a second by the clock are what a user
waits for; by the processor they are what one core could do, and do not suffer from other work on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from core.progress import Progress  # noqa: E402
from core.runs import RunFolder  # noqa: E402
from core.settings import MeshSettings, make_settings  # noqa: E402
from core.types import BodyParams, ShotLook  # noqa: E402
from models.body.anny_body import AnnyBody  # noqa: E402
from models.body.articulation import bone_transforms, landmark_positions  # noqa: E402
from models.body.base import JOINT_NAMES, RestBody  # noqa: E402
from models.body.embree import RayScene  # noqa: E402
from models.body.mesh.ground import find_ground  # noqa: E402
from models.body.mesh.rasterization import EmbreeRasterizer, TorchRasterizer  # noqa: E402
from models.body.mesh.turntable import Turntable  # noqa: E402
from models.body.mesh_rendering import MeshRenderer  # noqa: E402
from models.body.pose_init import rotation_vectors  # noqa: E402
from pipelines.mesh.shot import MeshShot  # noqa: E402
from pipelines.mesh.videos import render  # noqa: E402
from utils.video_probe import probe  # noqa: E402
from utils.video_writer import VideoWriter  # noqa: E402

#: Distance of the body, metres, and the share of the picture's height that it fills.
DISTANCE, FILL = 4.0, 0.9
#: Model axes to camera axes, turned a little from the camera.
FACING = np.array([[0.88, -0.47, 0], [0, 0, -1], [0.47, 0.88, 0]])
LOOK = ShotLook(
    light_direction=np.array([-0.60, -0.64, -0.48], np.float32),
    light=np.array([0.9, 0.85, 0.8], np.float32),
    sky=np.array([0.4, 0.42, 0.48], np.float32),
    ground=np.array([0.2, 0.19, 0.17], np.float32),
    haze=np.zeros(3, np.float32),
    exposure=0.8,
    softness=0.4,
    grain=0.0,
    blur=0.0,
)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of repeated calls."""

    wall: list[float]
    cpu: list[float]

    @property
    def cells(self) -> str:
        """Median, interquartile range and median CPU time as cells of a table."""
        low, _, high = statistics.quantiles(self.wall, n=4, method="inclusive")
        return f"{statistics.median(self.wall):.1f} | {low:.1f} to {high:.1f} | {statistics.median(self.cpu):.1f}"


def timed(call: Callable[[], object], repeats: int) -> Timing:
    """Call once to warm up, then ``repeats`` times with the clock running."""
    call()
    wall, cpu = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - used))
    return Timing(wall, cpu)


def body(rest: RestBody, size: int) -> BodyParams:
    """A standing body that fills a square picture."""
    rotations = np.zeros((1, len(JOINT_NAMES), 3), np.float32)
    rotations[:, 0] = rotation_vectors(FACING[None])[0]
    place = np.array([[0.0, 0.1, DISTANCE]], np.float32)
    points = landmark_positions(rest, bone_transforms(rest, rotations, place))
    focal = FILL * size * DISTANCE / rest.height
    root = rest.bone_heads[rest.joint_bones[0], 2] - rest.vertices[:, 2].min()
    middle = place[0, 1] + float(root) - rest.height / 2
    K = np.array([[focal, 0, size / 2 - 0.5], [0, focal, size / 2 - 0.5 - focal * middle / DISTANCE], [0, 0, 1.0]])
    return BodyParams(rest.model, {}, JOINT_NAMES, rotations, place, K, points, np.ones(1, bool))


def rasterisers(rest: RestBody, size: int, repeats: int) -> None:
    """Print the table of the rasterisers."""
    params = body(rest, size)
    vertices = MeshRenderer(rest, (size, size), params.intrinsics, LOOK, device="cpu").vertices(params, 0)
    scene = RayScene(vertices, rest.faces)
    embree = EmbreeRasterizer(scene, rest.faces)

    def by_embree() -> object:
        scene.move(vertices)
        return embree.centers(vertices, params.intrinsics, (size, size))

    work: dict[str, Callable[[], object]] = {"Embree, one thread": by_embree}
    for name in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        torch_rasterizer = TorchRasterizer(rest.faces, name)
        work[f"PyTorch3D, {name}"] = lambda by=torch_rasterizer: by.centers(  # type: ignore[misc]
            vertices, params.intrinsics, (size, size)
        )
    print(f"\nOne sample a pixel, {size} x {size}, {len(rest.faces)} faces, {repeats} calls:\n")
    print("| rasteriser | ms, median | interquartile range | CPU ms |\n|---|---|---|---|")
    for name, call in work.items():
        print(f"| {name} | {timed(call, repeats).cells} |", flush=True)


def frames(rest: RestBody, size: int, repeats: int) -> None:
    """Print the table of whole pictures."""
    params = body(rest, size)
    background = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    ground = find_ground(rest, params, 30.0)
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    print(f"\nWhole pictures, {size} x {size}, {repeats} calls:\n")
    print("| picture | ms, median | interquartile range | CPU ms |\n|---|---|---|---|")
    for device in devices:
        renderer = MeshRenderer(rest, (size, size), params.intrinsics, LOOK, device=device)
        table = Turntable(rest, params, (size, size), LOOK, 30.0, device=device)
        work: dict[str, Callable[[], object]] = {
            "overlay": lambda by=renderer: by.frame(params, 0).over(background),  # type: ignore[misc]
            "overlay with shadow": lambda by=renderer: by.frame(params, 0, ground).over(background),  # type: ignore[misc]
            "turntable": lambda by=table: by.frame(0, 0.7),  # type: ignore[misc]
        }
        for name, call in work.items():
            print(f"| {name}, {device} | {timed(call, repeats).cells} |", flush=True)


def video(rest: RestBody, size: int, count: int) -> None:
    """Print how fast an overlay video is made of a square clip in which the body turns."""
    still = body(rest, size)
    turns = np.linspace(0, 2 * np.pi, count)
    facing = Rotation.from_rotvec(np.outer(turns, [0, 1, 0])) * Rotation.from_rotvec(still.rotations[0, 0])
    rotations = np.repeat(still.rotations, count, axis=0)
    rotations[:, 0] = facing.as_rotvec()
    places = np.repeat(still.translation, count, axis=0)
    points = landmark_positions(rest, bone_transforms(rest, rotations, places))
    valid = np.ones(count, bool)
    params = BodyParams(rest.model, {}, JOINT_NAMES, rotations, places, still.intrinsics, points, valid)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        noise = np.random.default_rng(0).integers(0, 256, (size // 16 + 1, size // 16 + 1, 3), dtype=np.uint8)
        background = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        with VideoWriter(clip, (size, size), Fraction(30)) as writer:
            for t in range(count):
                writer.write(np.roll(background, t, axis=1))
        settings = make_settings(MeshSettings, {"videos": "overlay"})
        run = RunFolder.create(Path(folder), kind="mesh", source=clip, settings=settings.model_dump(mode="json"))
        shot = MeshShot(probe(clip), settings, run, Progress(), model=AnnyBody())
        shot.body, shot.look = params, LOOK
        started, used = time.perf_counter(), time.process_time()
        render(shot)
        seconds, busy = time.perf_counter() - started, time.process_time() - used
    print(f"\nAn overlay video, {size} x {size}, {count} frames, with decoding and encoding:\n")
    print("| frames/s by the clock | frames/s by the processor | cores in use |\n|---|---|---|")
    print(f"| {count / seconds:.1f} | {count / busy:.1f} | {busy / seconds:.2f} |")


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the rasterisers' picture, pixels (default: 256)")
    parser.add_argument("--frame-size", type=int, default=1024, help="side of whole pictures, pixels (default: 1024)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed calls of each rasteriser, at least 2 (default: 5)"
    )
    parser.add_argument("--frames", type=int, default=150, help="frames of the video, 0 for none (default: 150)")
    given = parser.parse_args()
    if given.repeats < 2 or min(given.size, given.frame_size) < 16:
        parser.error("--repeats starts at 2, sizes at 16")
    rest = AnnyBody().rest({})
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the start")
    rasterisers(rest, given.size, given.repeats)
    frames(rest, given.frame_size, 4 * given.repeats)
    if given.frames > 0:
        video(rest, given.frame_size // 2 * 2, given.frames)
    return 0


if __name__ == "__main__":
    sys.exit(main())
