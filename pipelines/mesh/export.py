"""Writes a fitted body in the formats that other programs read. docs/mesh-exports.md describes them.

Every file, and every folder of frames, appears whole or not at all. The clip is posed in pieces, so that memory does not
grow with its length.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError, ResourceError
from core.runs import write_atomically
from core.types import BodyParams
from models.body.articulation import Skin, joint_rotations, params_transforms
from models.body.base import JOINT_NAMES, Progress, RestBody
from models.body.smplx_body import SmplxRestBody, final_vertices
from pipelines.mesh.export_axes import R_FILE_CAMERA
from pipelines.mesh.export_skeleton import BoneSpace, JointSpace, chunks_of, skinned_mesh
from pipelines.mesh.export_smplx import amass_arrays
from pipelines.mesh.joint_angles import ANGLE_NAMES, joint_angles, segment_axes
from utils.mesh_files.bvh import write_bvh
from utils.mesh_files.csv import write_csv
from utils.mesh_files.glb import Animation, write_glb
from utils.mesh_files.json import write_json_list
from utils.mesh_files.npz import write_npz
from utils.mesh_files.obj import ObjWriter
from utils.mesh_files.ply import PlyWriter

AXES = "x right, y up, z towards the viewer; metres; the camera at the origin"


@dataclass(frozen=True)
class _Job:
    """What a format is written from."""

    rest: RestBody
    params: BodyParams
    rate: Fraction
    tick: Callable[[int], None]
    """Called with the number of frames that are written."""
    up: np.ndarray | None = None
    """(3,) against gravity, camera axes, where it is known."""

    def chunks(self) -> Iterator[tuple[int, BodyParams]]:
        """The clip in pieces with the number of each piece's first frame; ticks when a piece is done."""
        done = 0
        for part in chunks_of(self.params):
            yield done, part
            done += len(part)
            self.tick(done)


@dataclass(frozen=True)
class Format:
    """A way to write a body."""

    name: str
    """As the user asks for it."""
    target: str
    """Name of the file, or of the folder of frames, in the folder of the export."""
    label: str
    """What it is, for lists and messages."""
    write: Callable[[_Job, Path], None] | None
    """Fills the path; for a folder of frames the folder is there. ``None`` for what is written from the clips and not from
    the body (:mod:`pipelines.mesh.easymocap_take`)."""
    cost: float
    """Time that it takes against the others, for the progress."""
    is_folder: bool = False
    """Whether it is a folder."""


def _surface_writer(kind: str, rest: RestBody) -> ObjWriter | PlyWriter:
    if kind == "ply":
        return PlyWriter(rest.faces)
    # A body without texture coordinates of its own has one point for all.
    if rest.uv_faces.any():
        return ObjWriter(rest.faces, rest.uv, rest.uv_faces)
    return ObjWriter(rest.faces)


def _posing(rest: RestBody) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Gives the surface (V, 3) in the axes of the files for one frame's transforms (B, 4, 4) and rotations (J, 3)."""
    if isinstance(rest, SmplxRestBody):
        # Its skin bulges with the pose, which skinning alone does not know.
        return lambda transforms, rotations: final_vertices(rest, transforms, rotations) @ R_FILE_CAMERA.T
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    return lambda transforms, _rotations: skin(transforms) @ R_FILE_CAMERA.T


def _frames(kind: str) -> Callable[[_Job, Path], None]:
    """Writes every fitted frame as a file of its own."""

    def write(job: _Job, folder: Path) -> None:
        pose, writer = _posing(job.rest), _surface_writer(kind, job.rest)
        done = 0
        for part in chunks_of(job.params):
            transforms = params_transforms(job.rest, part)
            for row in range(len(part)):
                if part.valid[row]:
                    writer.write(folder / f"frame_{done:06d}.{kind}", pose(transforms[row], part.rotations[row]))
                done += 1
                job.tick(done)

    return write


def _glb(job: _Job, path: Path) -> None:
    space = BoneSpace(job.rest, job.params)
    times = np.flatnonzero(job.params.valid) * float(1 / job.rate)

    def keyframes() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _, part in job.chunks():
            if part.valid.any():
                yield space.keyframes(part.at(np.flatnonzero(part.valid)))

    animation = Animation("motion", times, space.turning, space.moving, keyframes())
    extras = {"frame_rate": str(job.rate), "frames": len(job.params), "fitted_frames": len(times), "axes": AXES}
    if job.up is not None:
        extras["up"] = _rounded(R_FILE_CAMERA @ job.up, 6)
    write_glb(path, skinned_mesh(job.rest), space.skeleton(), animation, extras)


def _bvh(job: _Job, path: Path) -> None:
    space = JointSpace.of(job.rest, job.params)
    pieces = (space.motion(job.rest, part) for _, part in job.chunks())
    write_bvh(path, space.skeleton, job.rate, len(job.params), pieces)


def _npz(job: _Job, path: Path) -> None:
    write_npz(path, amass_arrays(job.rest, job.params, job.rate))


def _csv(job: _Job, path: Path) -> None:
    axes = segment_axes(job.rest)

    def rows() -> Iterator[list[object]]:
        for start, part in job.chunks():
            for offset, angles in enumerate(joint_angles(axes, joint_rotations(job.rest, part))):
                frame, valid = start + offset, bool(part.valid[offset])
                cells: list[object] = [f"{value:.3f}" for value in angles] if valid else [None] * len(angles)
                yield [frame, f"{float(frame / job.rate):.6f}", int(valid), *cells]

    write_csv(path, ("frame", "time", "valid", *ANGLE_NAMES), rows())


def _rounded(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def _json(job: _Job, path: Path) -> None:
    rest, params = job.rest, job.params
    axes = segment_axes(rest)
    heads = rest.bone_heads[rest.joint_bones].astype(np.float64)

    def entries() -> Iterator[dict[str, Any]]:
        for start, part in job.chunks():
            transforms = params_transforms(rest, part)[:, rest.joint_bones]
            places = np.einsum("tjab,jb->tja", transforms[..., :3, :3], heads) + transforms[..., :3, 3]
            places, rotations = places @ R_FILE_CAMERA.T, joint_rotations(rest, part)
            angles = joint_angles(axes, rotations)
            for row in range(len(part)):
                entry: dict[str, Any] = {"frame": start + row, "time": round(float((start + row) / job.rate), 6)}
                if not part.valid[row]:
                    yield {**entry, "joints": None, "angles": None}
                    continue
                joints = {
                    name: {"position": _rounded(place, 5), "rotation": _rounded(turn, 6)}
                    for name, place, turn in zip(JOINT_NAMES, places[row], rotations[row], strict=True)
                }
                yield {
                    **entry,
                    "joints": joints,
                    "angles": dict(zip(ANGLE_NAMES, _rounded(angles[row], 3), strict=True)),
                }

    head = {
        "format": "understudy-motion",
        "version": 1,
        "model": params.model,
        "shape": {name: float(value) for name, value in params.shape.items()},
        "scale": float(params.scale),
        "frame_rate": str(job.rate),
        "frame_count": len(params),
        "axes": AXES,
        "positions": "metres, in the axes above",
        "rotations": "rotation vectors in radians, model axes (z up, the face along -y, x to the subject's left): the "
        "root's takes model axes to the camera's (x right, y down, z forward), the others turn against the rest pose",
        "angles": "degrees; defined in docs/mesh-exports.md",
        "joint_names": list(JOINT_NAMES),
        "intrinsics": np.asarray(params.intrinsics, np.float64).tolist(),
    }
    write_json_list(path, head, "frames", entries())


#: All formats, by name.
FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("glb", "body.glb", "animated glTF with skeleton and skin", _glb, 2.0),
        Format("bvh", "motion.bvh", "skeleton and motion as BVH", _bvh, 0.5),
        Format("npz", "motion_smplx.npz", "poses in the layout of AMASS", _npz, 1.0),
        Format("json", "motion.json", "joints and angles by name", _json, 1.0),
        Format("csv", "joint_angles.csv", "joint angles in degrees", _csv, 0.5),
        Format("obj", "obj", "one OBJ a frame", _frames("obj"), 20.0, is_folder=True),
        Format("ply", "ply", "one binary PLY a frame", _frames("ply"), 5.0, is_folder=True),
        Format("easymocap", "easymocap", "the clips as a dataset for EasyMoCap", None, 50.0, is_folder=True),
    )
}
#: Those that are written from the body.
BODY_FORMATS = tuple(name for name, entry in FORMATS.items() if entry.write is not None)


def export_body(
    rest: RestBody,
    params: BodyParams,
    rate: Fraction,
    folder: Path,
    formats: Sequence[str],
    progress: Progress | None = None,
    *,
    up: np.ndarray | None = None,
) -> dict[str, Path]:
    """Write a body in some formats; a file that is there already is replaced.

    Parameters
    ----------
    rest:
        The body that was fitted.
    params:
        The fit. Frames that are not ``valid`` have no meshes, no keyframes and no angles; formats that need a row for
        every frame repeat the nearest pose there.
    rate:
        Frames per second of the clip.
    folder:
        Where to write; made where it is missing.
    formats:
        Names from ``BODY_FORMATS``.
    progress:
        Called as the work goes on. What it raises stops the export; the file under way is then left out.
    up:
        (3,) unit vector against gravity, camera axes, where it is known; the GLB tells it.

    Returns
    -------
    dict[str, Path]
        The file, or the folder of frames, of each format.

    Raises
    ------
    InputError
        A format is unknown, no frame was fitted, the body is not the one that was fitted, or other files stand where a
        folder of frames would be replaced.
    ResourceError
        The folder cannot be written.
    """
    chosen = _checked_formats(formats)
    _check_body(rest, params)
    total, begun = sum(entry.cost for entry in chosen), 0.0
    written = {}
    for entry in chosen:

        def tick(frames: int, entry: Format = entry, begun: float = begun) -> None:
            if progress is not None:
                share = frames / len(params)
                progress((begun + entry.cost * share) / total, f"{entry.label}: frame {frames} of {len(params)}")

        path = folder / entry.target
        with told_as_resource(path):
            folder.mkdir(parents=True, exist_ok=True)
            _write(entry, _Job(rest, params, rate, tick, up), path)
        tick(len(params))
        written[entry.name] = path
        begun += entry.cost
    return written


def _checked_formats(names: Sequence[str]) -> list[Format]:
    unknown = [name for name in names if name not in BODY_FORMATS]
    if unknown:
        raise InputError(f"A body cannot be exported as {unknown[0]!r}.", f"Choose among: {', '.join(BODY_FORMATS)}.")
    return [FORMATS[name] for name in dict.fromkeys(names)]


def _check_body(rest: RestBody, params: BodyParams) -> None:
    if params.joint_names[: len(JOINT_NAMES)] != JOINT_NAMES or params.model != rest.model:
        raise InputError(
            f"The fit is of the body model {params.model!r}, the body given is {rest.model!r}.",
            "Give the body that the fit was made with.",
        )
    if not params.valid.any():
        raise InputError(
            "No frame of the clip has a fitted body.", "Choose a clip, or a part of it, that shows a person."
        )


def _write(entry: Format, job: _Job, path: Path) -> None:
    write = entry.write
    assert write is not None
    if not entry.is_folder:
        write_atomically(path, lambda part: write(job, part))
        return
    _check_replaceable(entry, path)
    with whole_folder(path) as part:
        write(job, part)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to be filled; it is put in place, instead of what was there, when the block is done."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_replaceable(entry: Format, path: Path) -> None:
    """Refuse to remove a folder that holds anything but frames of an earlier export."""
    if not path.exists():
        return
    frames = re.compile(rf"frame_\d+\.{entry.name}")
    others = [path.name] if not path.is_dir() else [p.name for p in path.iterdir() if not frames.fullmatch(p.name)]
    if others:
        raise InputError(
            f"{path} is not a folder of frames of an earlier export: it has {min(others)!r}.",
            "Move it away or choose another folder.",
        )


@contextmanager
def told_as_resource(path: Path) -> Iterator[None]:
    """Say in words what the file system refused."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path} cannot be written: {error.strerror or error}.", "Free some space or choose another folder."
        ) from error
