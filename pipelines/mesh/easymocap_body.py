"""A body that EasyMoCap fitted, in place of one of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from core.errors import InputError
from core.types import BodyParams
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import JOINT_NAMES
from models.body.joint_tables import SMPL_FAMILY, SMPL_TITLES
from models.body.smplx_body import R_model_file, SmplxBody
from pipelines.mesh.easymocap_results import FittedBody, read_results
from pipelines.mesh.shot import MeshShot
from pipelines.survey.body import LIMBS, intrinsics, judge_fit, load_body, projected_landmarks, save_body
from pipelines.survey.frames import ranges

#: Frames that are posed at a time.
_CHUNK = 256
#: Joints of a hand.
_HAND_JOINTS = 15
#: Shape parameters that differ by less between frames are the same, standard deviations.
_SAME_SHAPE = 0.05


def read_checked(folder: Path, model: SmplxBody, frame_count: int) -> list[FittedBody]:
    """The people of EasyMoCap's results, checked against the body model and the clip.

    Parameters
    ----------
    folder:
        See :func:`pipelines.mesh.easymocap_results.read_results`.
    model:
        The body that they are to be shown with.
    frame_count:
        Frames of the clip (of the reference clip, where there are several).

    Raises
    ------
    InputError
        There are no results, they are damaged, of another body model than the user's file, or of another clip.
    """
    rest = model.rest({})
    people = read_results(folder)
    for person in people:
        if person.model != rest.model:
            theirs, ours = SMPL_TITLES[person.model], SMPL_TITLES[rest.model]
            raise InputError(
                f"{folder} holds bodies of {theirs}, and the model file is one of {ours}.",
                f"Let EasyMoCap fit that model (--model {rest.model}), or put the other model file in place.",
            )
        if person.frames[-1] >= frame_count:
            raise InputError(
                f"{folder} has a body in frame {person.frames[-1]}, and the clip has {frame_count} frames.",
                "Give the results of this clip.",
            )
        model.rest(person.shape)
    return people


def take_over(shot: MeshShot, folder: Path) -> None:
    """Put EasyMoCap's body in the place of a fit: that of the person who is followed, in the axes of the (reference) clip's
    camera.

    Frames without results hold no body; a warning names them.
    """
    if not shot.run.has("body.npz"):
        assert isinstance(shot.model, SmplxBody)
        save_body(shot, _chosen(shot, shot.model, read_checked(folder, shot.model, shot.info.frame_count)))
    shot.body = load_body(shot.run)
    judge_fit(shot)


def _chosen(shot: MeshShot, model: SmplxBody, people: Sequence[FittedBody]) -> BodyParams:
    T_camera_world = np.eye(4) if not shot.views else shot.views[shot.reference].camera.T_camera_world
    count = shot.info.frame_count
    bodies = [body_of(person, model, T_camera_world, intrinsics(shot), count) for person in people]
    distances = [_distance(shot, body) for body in bodies]
    best = int(np.argmin(distances))
    chosen = people[best]
    if len(people) > 1:
        shot.run.warn(
            f"EasyMoCap's results hold {len(people)} people; number {chosen.person} is shown, who lies closest to the "
            "person that is followed."
        )
    missing = ~bodies[best].valid
    if missing.any():
        shot.run.warn(f"EasyMoCap's results have no body in frames {ranges(missing)}; nothing is drawn there.")
    if np.ptp(chosen.shapes, axis=0).max(initial=0.0) > _SAME_SHAPE:
        shot.run.warn("The shape of EasyMoCap's body changes from frame to frame; its mean is shown in all of them.")
    if chosen.expression is not None and np.abs(chosen.expression).max(initial=0.0) > 0:
        shot.run.warn("The facial expression of EasyMoCap's body is left out; the face is at rest.")
    if chosen.hand_components is not None and model.fingers(chosen.hand_components) is None:
        shot.run.warn("The model file does not say how hands move: the fingers of EasyMoCap's body are at rest.")
    return bodies[best]


def _distance(shot: MeshShot, body: BodyParams) -> float:
    """Median distance in pixels of the body's limbs from the followed person's; infinite where they never meet."""
    _, pose, _ = shot.found
    error = np.linalg.norm(projected_landmarks(body) - pose.landmarks[..., :2], axis=-1)[:, LIMBS]
    known = error[np.isfinite(error) & (pose.weight[:, LIMBS] > 0) & body.valid[:, None]]
    return float(np.median(known)) if len(known) else np.inf


def body_of(
    person: FittedBody, model: SmplxBody, T_camera_world: np.ndarray, intrinsics: np.ndarray, frame_count: int
) -> BodyParams:
    """One of EasyMoCap's bodies as we have bodies: all bones turned, in camera axes.

    Parameters
    ----------
    person:
        The body; metres, world axes.
    model:
        The model that it is of.
    T_camera_world:
        (4, 4) world to camera.
    intrinsics:
        (3, 3), K of the camera in pixels.
    frame_count:
        Frames of the clip. Those without the person are not ``valid`` and repeat the nearest pose.
    """
    rest = model.rest(person.shape)
    names = SMPL_FAMILY[rest.model]
    R_camera_world, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    relaxed = Rotation.from_matrix(rest.bone_curl.astype(np.float64)).as_rotvec() @ R_model_file
    local = np.tile(relaxed, (len(person), 1, 1))
    joints = person.body_pose.shape[1]
    local[:, :joints] = person.body_pose
    if person.head_pose is not None:
        local[:, joints : joints + 3] = person.head_pose
    fingers = person.hand_pose
    if fingers is None and person.hand_components is not None:
        fingers = model.fingers(person.hand_components)
    if fingers is not None:
        first = len(names) - 2 * _HAND_JOINTS
        local[:, first:] = fingers.reshape(len(person), -1, 3)
    # EasyMoCap's own turn of the whole body comes after that of its root joint.
    whole = Rotation.from_matrix(R_camera_world) * Rotation.from_rotvec(person.rotation)
    root = whole * Rotation.from_rotvec(local[:, 0]) * Rotation.from_matrix(R_model_file.T)
    rotations = local @ R_model_file.T
    rotations[:, 0] = root.as_rotvec()
    pelvis = rest.bone_heads[rest.joint_bones[0]].astype(np.float64) @ R_model_file
    place = (person.smplx_translation(pelvis) + pelvis) @ R_camera_world.T + t
    order = np.concatenate([rest.joint_bones, rest.free_bones])
    nearest = np.abs(np.arange(frame_count)[:, None] - person.frames).argmin(1)
    body = BodyParams(
        model=rest.model,
        shape=rest.shape,
        joint_names=(*JOINT_NAMES, *(names[bone] for bone in rest.free_bones)),
        rotations=rotations[nearest][:, order].astype(np.float32),
        translation=place[nearest].astype(np.float32),
        intrinsics=intrinsics,
        keypoints=np.zeros((frame_count, 33, 3), np.float32),
        valid=np.isin(np.arange(frame_count), person.frames),
    )
    parts = (body.window(start, min(start + _CHUNK, frame_count)) for start in range(0, frame_count, _CHUNK))
    keypoints = [landmark_positions(rest, params_transforms(rest, part)) for part in parts]
    return replace(body, keypoints=np.concatenate(keypoints))
