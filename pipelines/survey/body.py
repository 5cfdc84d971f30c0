"""Fit a body to the person."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np

from core.runs import RunFolder
from core.types import BodyMesh, BodyParams
from models.body.articulation import Skin, params_transforms
from models.body.base import BodyModel, RestBody
from models.body.fit_terms import FitWeights, SpacePoints
from models.body.fitting import default_intrinsics, fit_body, fit_proportions
from pipelines.survey.findings import Survey
from utils.quality import foot_slide

#: What this stage leaves in the run folder.
FILES = ("body.npz",)
#: Shoulders, elbows, wrists, hips, knees, ankles.
LIMBS = np.array([11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
#: Left and right ankle.
ANKLES = np.array([27, 28])
#: Median reprojection error in percent of the person's height above which the fit is called poor.
POOR_FIT = 3.0


def fit(
    shot: Survey,
    model: BodyModel,
    *,
    weights: FitWeights | None = None,
    points: SpacePoints | None = None,
    shape_like: Callable[[dict[str, float]], dict[str, float]] | None = None,
    settle: Callable[[BodyParams], BodyParams] | None = None,
    resumable: bool = False,
) -> None:
    """Fit a body to the clip, and note how well it lies on the person.

    Parameters
    ----------
    model:
        The body.
    weights:
        Weights of the fit's terms, where they are not the usual ones.
    points:
        The person's landmarks in space, in the size of the model's own body, where several views tell them.
    shape_like:
        Gives the model's own shape parameters that come nearest to proportions; the body then has these, and no factors.
    settle:
        Brings the fitted body to its final size and place, where more is known than one view tells.
    resumable:
        Whether the finished windows of a long clip are kept in the run folder until the fit is done.
    """
    store = FinishedWindows(shot.run) if resumable else None
    if not shot.run.has("body.npz"):
        track, pose, camera = shot.found
        rest = model.rest({}, lambda fraction, text: shot.progress.report("body", 0.0, text))
        if shape_like is not None:
            found = fit_proportions(
                pose,
                shot.info.size,
                rest,
                fps=float(shot.info.rate),
                intrinsics=intrinsics(shot),
                quality=shot.settings.fit,
                weights=weights,
                points=points,
            )
            rest = model.rest(shape_like(found))
        fitted = fit_body(
            pose,
            track.mask,
            shot.info.size,
            rest,
            intrinsics=intrinsics(shot),
            quality=shot.settings.fit,
            camera=camera,
            contacts=shot.contacts if shot.settings.foot_lock else None,
            fps=float(shot.info.rate),
            proportions=shape_like is None,
            weights=weights,
            points=points,
            cuts=shot.cuts,
            store=store,
            progress=lambda fraction, text: shot.progress.report("body", fraction, text),
        )
        save_body(shot, fitted if settle is None else settle(fitted))
    if store is not None:
        store.clear()
    shot.body = load_body(shot.run)
    judge_fit(shot)


class FinishedWindows:
    """The part of a long fit that is done, as files in the run folder."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._folder = run, run.file("fit")

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was kept under a name; ``None`` where nothing was."""
        return self._run.load_arrays(f"fit/{name}.npz") if self._run.has(f"fit/{name}.npz") else None

    def save(self, name: str, **arrays: np.ndarray) -> None:
        """Keep arrays under a name."""
        self._folder.mkdir(exist_ok=True)
        self._run.save_arrays(f"fit/{name}.npz", **arrays)

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)


def intrinsics(shot: Survey) -> np.ndarray:
    """(3, 3) K of the source camera: as it is known, or as usual with the user's focal length where one is given."""
    if shot.K is not None:
        return shot.K.copy()
    matrix = default_intrinsics(shot.info.size)
    if shot.settings.focal_length is not None:
        matrix[0, 0] = matrix[1, 1] = shot.settings.focal_length
    return matrix


def save_body(shot: Survey, fitted: BodyParams) -> None:
    """Write ``body.npz``."""
    shot.run.save_arrays(
        "body.npz",
        model=np.array(fitted.model),
        shape_names=np.array(list(fitted.shape)),
        shape_values=np.array(list(fitted.shape.values()), np.float64),
        joint_names=np.array(fitted.joint_names),
        rotations=fitted.rotations,
        translation=fitted.translation,
        intrinsics=fitted.intrinsics,
        joints=fitted.keypoints,
        valid=fitted.valid,
        scale=np.array(fitted.scale),
    )


def load_body(run: RunFolder) -> BodyParams:
    """The body from ``body.npz``."""
    data = run.load_arrays("body.npz")
    return BodyParams(
        model=str(data["model"]),
        shape=dict(zip(data["shape_names"].tolist(), data["shape_values"].tolist(), strict=True)),
        joint_names=tuple(data["joint_names"].tolist()),
        rotations=data["rotations"],
        translation=data["translation"],
        intrinsics=data["intrinsics"],
        keypoints=data["joints"],
        valid=data["valid"],
        scale=float(data["scale"]),
    )


def body_meshes(rest: RestBody, fitted: BodyParams) -> list[BodyMesh]:
    """The surface of a fitted body in each of its frames."""
    skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
    return [BodyMesh(skin(transforms), rest.faces) for transforms in params_transforms(rest, fitted)]


def projected_landmarks(fitted: BodyParams) -> np.ndarray:
    """(T, 33, 2) float64, pixels: where the body's landmarks are in the picture."""
    points = fitted.keypoints @ fitted.intrinsics.T
    return points[..., :2] / np.maximum(points[..., 2:], 1e-3)


def judge_fit(shot: Survey) -> None:
    """Note how well the body lies on the person."""
    assert shot.body is not None
    track, pose, _ = shot.found
    pixels = projected_landmarks(shot.body)
    if shot.contacts is not None:
        ankles = np.where(shot.body.valid[:, None, None], pixels[:, ANKLES], np.nan)
        shot.figures["slide_px"] = foot_slide(ankles, shot.contacts, shot.found[2], shot.info.height)
    error = np.linalg.norm(pixels - pose.landmarks[..., :2], axis=-1)[:, LIMBS]
    trusted = (pose.weight[:, LIMBS] > 0.3) & shot.body.valid[:, None]
    if not trusted.any() or not track.height_px:
        return
    median = float(np.median(error[trusted]))
    percent = 100 * median / track.height_px
    shot.figures.update(reprojection_px=round(median, 2), reprojection_pct=round(percent, 3))
    if percent > POOR_FIT:
        shot.run.warn(f"The body lies {percent:.1f} % of the person's height off the person: a poor fit.")
