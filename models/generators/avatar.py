"""The avatar engine: draws the fitted body as a dressed figure in the light of the shot. No downloads, no GPU needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from core.errors import InputError
from core.types import BodyParams, GenerationRequest, GenerationResult, ShotLook
from models.generators.base import Capabilities, EngineOptions, LoadProgress
from utils.photometry import srgb_from_linear

#: Landmarks of the feet: ankles, heels, toes.
FOOT_LANDMARKS = (27, 28, 29, 30, 31, 32)
#: How fast the ground follows the feet when they come down, and when they leave it (per frame).
GROUND_ATTACK, GROUND_RELEASE = 0.5, 0.03
#: How far colours are drawn out past the edge of the figure, pixels.
BLEED = 12


@dataclass
class _Ground:
    """Where the ground under the figure was last seen, carried from call to call."""

    next_frame: int
    """The frame that would continue it."""
    foot: np.ndarray
    """(3,) metres, camera axes."""


class AvatarGenerator:
    """Draws ``request.body`` as the avatar of ``options.avatar``. Deterministic; the seed changes nothing.

    Calls with consecutive frames share the height of the ground; a call that does not continue the last one starts
    afresh, and so does every ``load``.
    """

    name = "avatar"
    capabilities = Capabilities(
        needs_plate=True,
        needs_body=True,
        draws_in="source",
        frames_per_call=8,
        holds_feet=True,
        steady=True,
        matches_shot=False,
        gives_motion=True,
    )

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self._avatar: Any = None
        self._renderer: Any = None
        self._fitted: tuple[tuple[tuple[str, float], ...], Any] | None = None
        self._ground: _Ground | None = None

    def load(self, progress: LoadProgress | None = None) -> None:
        """Build the avatar's body and clothes.

        Raises
        ------
        core.errors.InputError
            There is no such avatar, or its file is wrong.
        core.errors.ModelUnavailable
            The body model is missing.
        """
        from models.body.anny_body import AnnyBody, cache_folder
        from models.body.renderer import FigureRenderer
        from models.body.wardrobe import dress, load_avatar

        self._ground = None
        if self._renderer is not None:
            return
        report = progress or (lambda _share, _text: None)
        spec = load_avatar(self.options.avatar)
        self._avatar = AnnyBody().rest(spec.phenotype.model_dump(), lambda share, text: report(0.5 * share, text))
        report(0.5, f"dressing {spec.name}")
        character = dress(spec, self._avatar, cache_folder() / "characters")
        report(0.8, "preparing the light")
        self._renderer = FigureRenderer(
            character,
            len(self._avatar.bone_names),
            self.options.edge_samples,
            self.options.shadow_rays,
            self.options.occlusion_rays,
        )
        report(1.0, "avatar ready")

    def unload(self) -> None:
        """Forget the avatar."""
        self._avatar = self._renderer = self._fitted = self._ground = None

    def generate(self, request: GenerationRequest) -> GenerationResult:
        """Draw the frames of ``request``. Frames whose body is not valid come back empty (alpha 0).

        Raises
        ------
        core.errors.InputError
            The request has no body or no look, or its body is of an unknown model.
        """
        if self._renderer is None:
            self.load()
        body, look = request.body, request.shot
        if body is None or look is None:
            raise InputError("The avatar engine needs the fitted body and the look of the shot.", "Run the survey first.")
        moving = request.motion_body if request.motion_body is not None else _repeat_ends(body)
        transforms = self._transforms(moving)
        feet = moving.keypoints[1:-1, FOOT_LANDMARKS]
        ground = self._ground_under(request.start, feet, body.valid)
        drawn = [self._draw(request, look, transforms[i : i + 3], ground[i], i) for i in range(len(request))]
        frames, alpha, shadow, motion = (np.stack(part) for part in zip(*drawn, strict=True))
        return GenerationResult(frames, alpha, request.seed, self.name, shadow, motion)

    def _transforms(self, body: BodyParams) -> np.ndarray:
        """(N + 2, B, 4, 4): the avatar's bones in the fitted pose."""
        from models.body.anny_body import AnnyBody
        from models.body.retarget import retargeted_transforms

        if body.model != AnnyBody.name:
            raise InputError(f"The avatar engine cannot move a {body.model!r} body.", f"Fit the {AnnyBody.name} body.")
        phenotype = {name: value for name, value in body.shape.items() if not name.startswith("scale_")}
        key = tuple(sorted(phenotype.items()))
        if self._fitted is None or self._fitted[0] != key:
            self._fitted = (key, AnnyBody().rest(phenotype))
        return retargeted_transforms(self._avatar, self._fitted[1], body)

    def _ground_under(self, start: int, feet: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(N, 3) point on the ground for each frame: below the feet, at the height of the lowest one, without jumps."""
        state = self._ground if self._ground is not None and self._ground.next_frame == start else None
        foot = None if state is None else state.foot
        result = np.zeros((len(feet), 3), np.float32)
        for index, points in enumerate(feet):
            if valid[index] and np.isfinite(points).all():
                lowest = points[np.argmax(points[:, 1])]
                seen = np.array([points[:, 0].mean(), lowest[1] + 0.02, points[:, 2].mean()], np.float32)
                if foot is None:
                    foot = seen
                rate = GROUND_ATTACK if seen[1] > foot[1] else GROUND_RELEASE
                foot = np.array([seen[0], foot[1] + rate * (seen[1] - foot[1]), seen[2]], np.float32)
            result[index] = 0.0 if foot is None else foot
        self._ground = None if foot is None else _Ground(start + len(feet), foot)
        return result

    def _draw(
        self, request: GenerationRequest, look: ShotLook, transforms: np.ndarray, foot: np.ndarray, index: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Frame ``index``: colour, alpha, shadow, motion. ``transforms`` are those before, now and after."""
        from models.body.embree import RayScene, project
        from models.body.ground_shadow import ground_shadow
        from models.body.renderer import View

        height, width = request.masks.shape[1:]
        body = request.body
        assert body is not None
        if not body.valid[index] or not np.isfinite(transforms).all():
            return (
                request.frames[index],
                np.zeros((height, width), np.float32),
                np.ones((height, width), np.float32),
                np.zeros((height, width, 2), np.float32),
            )
        view = View(body.intrinsics, request.H_crop_source[index], (width, height))
        figure = self._renderer.figure
        posed = figure.pose(transforms[1])
        before, after = (figure.skin(transforms[i]) for i in (0, 2))
        displacement = 0.5 * (
            project(view.intrinsics, view.H_crop_source, after) - project(view.intrinsics, view.H_crop_source, before)
        )
        scene = RayScene(posed.vertices, figure.character.faces)
        layer = self._renderer.render(scene, posed, displacement, view, look)
        rays = max(8, self.options.occlusion_rays)
        shadow = ground_shadow(scene, view, look, foot, rays)
        color = srgb_from_linear(_bleed(layer.color, layer.alpha))
        return color, layer.alpha, shadow, layer.motion * (layer.alpha > 0)[..., None]


def _repeat_ends(body: BodyParams) -> BodyParams:
    """The body with its first and last frame once more at each end."""
    return body.at(np.clip(np.arange(-1, len(body) + 1), 0, len(body) - 1))


def _bleed(color: np.ndarray, alpha: np.ndarray, reach: int = BLEED) -> np.ndarray:
    """Draw colours out past the edge, so that blurring or moving the layer never mixes in the colour of nothing.

    Parameters
    ----------
    color:
        (H, W, 3) float32; read only where alpha > 0.
    alpha:
        (H, W) float32.
    """
    x, y, width, height = cv2.boundingRect((alpha > 0.02).astype(np.uint8))
    if width == 0:
        return color
    box = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
    solid = (alpha[box] > 0.02).astype(np.float32)
    weight = alpha[box] * solid
    result = color.copy()
    near_color = result[box]
    spread = cv2.multiply(near_color, cv2.merge([weight] * 3))
    for size in (3, 2 * reach + 1):
        near = cv2.blur(weight, (size, size))
        empty = (solid < 0.5) & (near > 1e-5)
        near_color[empty] = cv2.blur(spread, (size, size))[empty] / near[empty][:, None]
        solid[empty] = 1.0
    return result
