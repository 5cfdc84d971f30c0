"""A motion in the layout of AMASS, for SMPL-X.

A body of the SMPL family is written as it is. Any other is carried over to SMPL-X's 55 joints: joints with a counterpart
turn as theirs do, all others stay at rest. SMPL-X rests with the arms held out and the palms down, other bodies otherwise:
arms and legs are rewritten against SMPL-X's rest, so that they point where the fitted ones do. Trunk, feet and head of both
are taken to rest alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from scipy.spatial.transform import Rotation

from core.types import BodyParams
from models.body.base import JOINT_NAMES, JOINT_PARENTS, RestBody
from models.body.joint_tables import JOINT_BONES, SMPL_FAMILY, joint_indices
from models.body.smplx_body import file_pose
from pipelines.mesh.export_axes import R_UPRIGHT_MODEL, R_ZUP_CAMERA
from pipelines.mesh.export_skeleton import chunks_of
from pipelines.mesh.joint_angles import axes_along, joint_turns, segment_axes
from utils.mesh_files.npz import Pieces

#: Where SMPL-X's neutral body has its pelvis at rest with all betas 0, metres, y up.
NEUTRAL_PELVIS = np.array([0.0031, -0.3514, 0.0120])

#: Which way the left limb below each joint points in SMPL-X's rest pose, model axes, to about four degrees: the upper arm
#: sags by 12 degrees and lies 8 behind straight out, thighs spread by 8, shins come back in by 4.
_REST_LIMBS = {
    "shoulder": (0.97, 0.13, -0.20),
    "elbow": (1.0, 0.03, 0.04),
    "wrist": (1.0, 0.03, 0.04),
    "hip": (0.13, 0.03, -0.99),
    "knee": (-0.07, 0.06, -1.0),
}

#: Least number of shape coefficients in the file, as AMASS has it.
BETAS = 16

#: Columns of ``poses`` that AMASS also gives by themselves. SMPL-H has no jaw and no eyes, SMPL no fingers either.
_PARTS = {
    "smplx": {"root_orient": 3, "pose_body": 63, "pose_jaw": 3, "pose_eye": 6, "pose_hand": 90},
    "smplh": {"root_orient": 3, "pose_body": 63, "pose_hand": 90},
    "smpl": {"root_orient": 3, "pose_body": 69},
}


def _smplx_axes(side: str) -> dict[str, np.ndarray]:
    """Axes of SMPL-X's limbs at rest, columns forward, along, right in model axes, as ``segment_axes`` has them."""
    out = 1.0 if side == "left" else -1.0
    mirror = np.array([out, 1, 1])
    along = {part: -np.array(direction) * mirror for part, direction in _REST_LIMBS.items()}
    # Elbows bend forwards, palms look down, knees bend about the body's right.
    lateral = {
        "shoulder": [0, 0, -out],
        "elbow": [0, 0, -out],
        "wrist": [0, out, 0],
        "hip": [-1, 0, 0],
        "knee": [-1, 0, 0],
    }
    return {part: axes_along(along[part], np.array(right, float)) for part, right in lateral.items()}


def _rest_turns(rest: RestBody) -> np.ndarray:
    """(J, 3, 3): SMPL-X's segment at rest -> the body's segment at rest, model axes."""
    turns = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
    axes = segment_axes(rest)
    for side in ("left", "right"):
        for part, theirs in _smplx_axes(side).items():
            name = f"{side}_{part}"
            turns[JOINT_NAMES.index(name)] = axes[name] @ theirs.T
    return turns


def _carried_over(rest: RestBody, rotations: np.ndarray) -> np.ndarray:
    """(T, 55, 3) rotation vectors of SMPL-X's joints; the root's takes its axes (y up) to camera axes."""
    turns = joint_turns(rotations) @ _rest_turns(rest)
    poses = np.zeros((len(rotations), len(SMPL_FAMILY["smplx"]), 3))
    for joint, place in enumerate(joint_indices("smplx")):
        parent = JOINT_PARENTS[joint]
        above = turns[:, parent] @ R_UPRIGHT_MODEL.T if parent >= 0 else np.eye(3)[None]
        local = np.swapaxes(above, 1, 2) @ turns[:, joint] @ R_UPRIGHT_MODEL.T
        poses[:, place] = Rotation.from_matrix(local).as_rotvec()
    return poses


def smpl_poses(rest: RestBody, params: BodyParams) -> np.ndarray:
    """(T, 3 B) float32: rotation vectors in radians for the B joints of the file's model, the root's in a world with z up.

    B is 55, or the body's own number of joints where it is of the SMPL family.
    """
    own = rest.model in SMPL_FAMILY
    poses = file_pose(rest, params.rotations) if own else _carried_over(rest, params.rotations)
    poses[:, 0] = (Rotation.from_matrix(R_ZUP_CAMERA) * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return poses.reshape(len(params), -1).astype(np.float32)


def _betas(rest: RestBody) -> np.ndarray:
    """(16 or more,) float64; zeros for a body that is not of the SMPL family."""
    given = {int(name.removeprefix("beta_")): value for name, value in rest.shape.items() if name.startswith("beta_")}
    betas = np.zeros(max(BETAS, *(index + 1 for index in given), 0))
    betas[list(given)] = list(given.values())
    return betas


def _notes(rest: RestBody, params: BodyParams, model: str) -> dict[str, np.ndarray]:
    """What the file says about itself, each a plain array."""
    if rest.model in SMPL_FAMILY:
        how = "The body's own joints. The fingers' mean pose is contained, and no tool should add it again."
    else:
        how = (
            f"Carried over from the {rest.model} body: the joints in joint_map turn as theirs do, all others have no "
            "rotation. Arms and legs are rewritten against SMPL-X's rest pose. betas are 0: the shape is not carried over."
        )
    return {
        "joint_names": np.array(SMPL_FAMILY[model]),
        "joint_map": np.array(json.dumps(dict(zip(JOINT_NAMES, JOINT_BONES[model], strict=True)))),
        "source_model": np.array(params.model),
        "source_shape": np.array(json.dumps(params.shape)),
        "source_scale": np.array(float(params.scale)),
        "conversion": np.array(how),
        "axes": np.array("x right, y away from the camera, z up; metres; the camera at the origin"),
    }


def amass_arrays(rest: RestBody, params: BodyParams, rate: Fraction) -> dict[str, np.ndarray | Pieces]:
    """All entries of the file, the long ones in pieces. Frames that were not fitted repeat the nearest that was."""
    own = rest.model in SMPL_FAMILY
    model = rest.model if own else "smplx"
    pelvis = R_UPRIGHT_MODEL @ rest.bone_heads[rest.joint_bones[0]] if own else NEUTRAL_PELVIS
    betas = _betas(rest)
    width = 3 * len(SMPL_FAMILY[model])

    def pieces(columns: int, make: Callable[[BodyParams], np.ndarray]) -> Pieces:
        return Pieces((len(params), columns), np.dtype(np.float32), lambda: (make(part) for part in chunks_of(params)))

    def columns(first: int, end: int) -> Pieces:
        return pieces(end - first, lambda part: smpl_poses(rest, part)[:, first:end])

    arrays: dict[str, np.ndarray | Pieces] = {
        "gender": np.array("neutral"),
        "surface_model_type": np.array(model),
        "mocap_frame_rate": np.array(float(rate)),
        "mocap_time_length": np.array(float(len(params) / rate)),
        "betas": betas,
        "num_betas": np.array(len(betas)),
        "trans": pieces(3, lambda part: part.translation @ R_ZUP_CAMERA.T - pelvis),
        "poses": columns(0, width),
    }
    begin = 0
    for name, size in _PARTS[model].items():
        arrays[name] = columns(begin, begin + size)
        begin += size
    return {**arrays, "valid": params.valid, **_notes(rest, params, model)}
