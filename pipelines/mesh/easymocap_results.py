"""The bodies that EasyMoCap fitted: its ``smpl`` and ``smplfull`` folders as arrays.

EasyMoCap moves the whole body after posing it, ``V = R(Rh) X(poses, shapes) + Th``: it turns about the world's origin,
not about the pelvis as SMPL-X does. :meth:`FittedBody.smplx_translation` converts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from pipelines.mesh.easymocap_json import identity_of, numbered_files, numbers_in, people_in
from utils.cameras.camera import pose

#: The layouts of ``poses`` by their length: model, joints of the body (root first), and how the hands are written.
_LAYOUTS = {
    72: ("smpl", 24, None),
    69: ("smpl", 24, None),
    78: ("smplh", 22, "components"),
    87: ("smplx", 22, "components"),
    156: ("smplh", 22, "rotations"),
    165: ("smplx", 22, "rotations"),
}
#: Principal components of each hand in ``smpl``, joints of each hand in ``smplfull``.
_COMPONENTS, _HAND_JOINTS = 6, 15
_HEAD_JOINTS = 3
#: Where results are, the fullest first; its versions spell the first one either way.
_FOLDERS = ("smplfull", "smpl_full", "smpl")


@dataclass(frozen=True)
class FittedBody:
    """One person's parameters through a take. T frames; rotation vectors in radians, lengths in metres, world axes."""

    model: str
    """``smpl``, ``smplh`` or ``smplx``, told by the number of pose values."""
    person: int
    """EasyMoCap's id."""
    frames: np.ndarray
    """(T,) int64, the frames' numbers in increasing order; EasyMoCap leaves out those without the person."""
    rotation: np.ndarray
    """(T, 3) float64, ``Rh``: turn of the whole body, about the origin."""
    translation: np.ndarray
    """(T, 3) float64, ``Th``: added after the turn."""
    body_pose: np.ndarray
    """(T, 22, 3) float64 (24 for ``smpl``): the body's joints in the model's order, the root (as a rule 0) first."""
    hand_components: np.ndarray | None
    """(T, 2, 6) float64, left and right: weights of the hand's first principal components, to which the
    model's mean hand is added (``smpl`` folders)."""
    hand_pose: np.ndarray | None
    """(T, 2, 15, 3) float64, left and right: the fingers' joints, the mean hand included (``smplfull`` folders)."""
    head_pose: np.ndarray | None
    """(T, 3, 3) float64: jaw, left eye, right eye; SMPL-X only."""
    expression: np.ndarray | None
    """(T, E) float64, or ``None`` where the files have none."""
    shapes: np.ndarray
    """(T, S) float64: the betas, which as a rule are the same in all frames."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def shape(self) -> dict[str, float]:
        """The mean betas, by the names that ``BodyParams.shape`` has: ``beta_0``, ``beta_1``, ..."""
        return {f"beta_{index}": float(value) for index, value in enumerate(self.shapes.mean(axis=0))}

    def smplx_translation(self, pelvis: np.ndarray) -> np.ndarray:
        """(T, 3) float64, metres: ``transl`` as the SMPL family takes it, with ``Rh`` as ``global_orient``.

        ``pelvis`` (3,) is the root joint of the body of these betas at rest, about which ``global_orient`` turns.
        """
        turned = np.stack([pose(vector, np.zeros(3))[:3, :3] @ pelvis for vector in self.rotation])
        return self.translation + turned - pelvis


def read_results(folder: Path) -> list[FittedBody]:
    """Read what EasyMoCap fitted.

    Parameters
    ----------
    folder:
        EasyMoCap's output, in which ``smplfull`` is preferred to ``smpl`` where it is there, or one of these two. Files in
        the folder of a single camera, as its programs for one view write them, are found too.

    Returns
    -------
    The people, by id.

    Raises
    ------
    core.errors.InputError
        There are no results, or a file or an entry is wrong (it is named).
    """
    inside = next((folder / name for name in _FOLDERS if (folder / name).is_dir()), folder)
    files = numbered_files(inside)
    cameras = [path for path in sorted(inside.iterdir()) if path.is_dir()]
    if not files and len(cameras) == 1:
        files = numbered_files(cameras[0])
    seen: dict[int, list[tuple[int, Path, dict[str, Any]]]] = {}
    for frame, file in sorted(files.items()):
        for entry in people_in(file):
            seen.setdefault(identity_of(file, entry), []).append((frame, file, entry))
    if not seen:
        raise InputError(f"{inside} holds no fitted body.", "Give the folder that EasyMoCap wrote with --out.")
    return [_body(person, rows) for person, rows in sorted(seen.items())]


def _body(person: int, rows: list[tuple[int, Path, dict[str, Any]]]) -> FittedBody:
    poses = _column(rows, "poses", *_LAYOUTS)
    model, joints, hands = _LAYOUTS[poses.shape[1]]
    if poses.shape[1] == 69:  # newer versions leave the root out
        poses = np.concatenate([np.zeros((len(poses), 3)), poses], axis=1)
    count = len(poses)
    body, rest = poses[:, : 3 * joints].reshape(count, joints, 3), poses[:, 3 * joints :]
    components = rotations = head = None
    if hands == "components":
        components, rest = rest[:, : 2 * _COMPONENTS].reshape(count, 2, _COMPONENTS), rest[:, 2 * _COMPONENTS :]
        head = rest.reshape(count, _HEAD_JOINTS, 3) if model == "smplx" else None
    elif hands == "rotations":
        # The full pose has SMPL-X's own order, in which the head comes before the hands.
        split = 3 * _HEAD_JOINTS if model == "smplx" else 0
        head = rest[:, :split].reshape(count, _HEAD_JOINTS, 3) if split else None
        rotations = rest[:, split:].reshape(count, 2, _HAND_JOINTS, 3)
    has_expression = all("expression" in entry for _, _, entry in rows)
    return FittedBody(
        model=model,
        person=person,
        frames=np.array([frame for frame, _, _ in rows], np.int64),
        rotation=_column(rows, "Rh", 3),
        translation=_column(rows, "Th", 3),
        body_pose=body,
        hand_components=components,
        hand_pose=rotations,
        head_pose=head,
        expression=_column(rows, "expression") if has_expression else None,
        shapes=_column(rows, "shapes"),
    )


def _column(rows: list[tuple[int, Path, dict[str, Any]]], key: str, *sizes: int) -> np.ndarray:
    """(T, columns) of one key, which holds one row in every file."""
    values = []
    for _, file, entry in rows:
        array = numbers_in(file, entry, key, *sizes)
        if array.size != array.shape[-1]:
            raise InputError(f"{file}: {key} has shape {array.shape}, not one row.", "Write it again with EasyMoCap.")
        values.append(array.reshape(-1))
        if values[0].shape != values[-1].shape:
            raise InputError(
                f"{file}: {key} has {array.size} numbers where the frames before have {values[0].size}.",
                "Give the results of one run of EasyMoCap.",
            )
    return np.stack(values)
