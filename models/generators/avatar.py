"""The avatar engine: draws the fitted body as a dressed figure in the light of the shot. No downloads, no GPU needed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.errors import InputError
from core.types import BodyParams, GenerationRequest, GenerationResult, ShotLook
from models.generators.base import Capabilities, EngineOptions, LoadProgress
from utils.photometry import srgb_from_linear

if TYPE_CHECKING:
    from models.body.base import RestBody
    from models.body.character import Character
    from models.body.figure import PosedFigure
    from models.body.ground_shadow import Footing

#: How far the shadow reaches from the feet, metres, in soft and in hard light; and that of a foot on other ground.
SOFT_REACH, HARD_REACH, FOOT_REACH = 1.0, 2.0, 0.25
#: A foot less than this above the other one may stand on ground of its own (the camera looks down, the ground slopes).
FOOT_STEP = 0.14
#: How fast the ground follows the feet when they come down, and when they leave it (per frame).
GROUND_ATTACK, GROUND_RELEASE = 0.5, 0.03
#: Rays into the sky from each point of the ground; neighbouring points have different ones.
GROUND_RAYS = 8
#: How far colours are drawn out past the edge of the figure, pixels.
BLEED = 12


@dataclass
class _Ground:
    """Where the ground under the figure was last seen, carried from call to call."""

    next_frame: int
    """The frame that would continue it."""
    height: float
    """Its y in camera axes, metres."""


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
        from models.body.wardrobe import load_avatar

        self._spec = load_avatar(options.avatar)
        self._avatar: Any = None
        self._renderer: Any = None
        self._fitted: tuple[tuple[tuple[str, float], ...], Any] | None = None
        self._feet: tuple[np.ndarray, ...] = ()
        self._ground: _Ground | None = None

    def load(self, progress: LoadProgress | None = None) -> None:
        """Build the avatar's body and clothes, and forget where the ground was.

        Raises
        ------
        core.errors.ModelUnavailable
            The body model is missing.
        """
        from models.body.anny_body import AnnyBody, cache_folder
        from models.body.renderer import FigureRenderer
        from models.body.wardrobe import dress

        self._ground = None
        if self._renderer is not None:
            return
        report = progress or (lambda _share, _text: None)
        spec = self._spec
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
        self._feet = _foot_vertices(character, self._avatar)
        report(1.0, "avatar ready")

    def unload(self) -> None:
        """Forget the avatar."""
        self._avatar = self._renderer = self._fitted = self._ground = None

    def generate(self, request: GenerationRequest, progress: LoadProgress | None = None) -> GenerationResult:
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
            raise InputError(
                "The avatar engine needs the fitted body and the look of the shot.", "Run the survey first."
            )
        moving = request.motion_body if request.motion_body is not None else _repeat_ends(body)
        transforms = self._transforms(moving)
        skin = self._renderer.figure.skin
        surfaces = deque((skin(transforms[0]), skin(transforms[1])), maxlen=3)
        drawn = []
        for index in range(len(request)):
            surfaces.append(skin(transforms[index + 2]))
            posed = self._renderer.figure.posed(surfaces[1], transforms[index + 1])
            drawn.append(self._draw(request, look, posed, (surfaces[0], surfaces[2]), index))
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

    def _footings(self, frame: int, posed: PosedFigure, look: ShotLook) -> list[Footing]:
        """The ground under the figure: level with its lower sole, without jumps, and a patch under the other foot."""
        from models.body.ground_shadow import Footing

        soles = np.stack([_sole(posed.vertices[index]) for index in self._feet])
        low, high = soles[np.argsort(-soles[:, 1])]
        state = self._ground
        height = float(low[1])
        if state is not None and state.next_frame == frame:
            rate = GROUND_ATTACK if height > state.height else GROUND_RELEASE
            height = state.height + rate * (height - state.height)
        self._ground = _Ground(frame + 1, height)
        middle = np.array([soles[:, 0].mean(), height, soles[:, 2].mean()], np.float32)
        footings = [Footing(middle, SOFT_REACH if look.softness > 0.9 else HARD_REACH)]
        # A finer patch at each foot that stands: the dark line under a sole is a few pixels wide.
        return footings + [Footing(sole, FOOT_REACH) for sole in (low, high) if height - sole[1] < FOOT_STEP]

    def _draw(
        self,
        request: GenerationRequest,
        look: ShotLook,
        posed: PosedFigure,
        around: tuple[np.ndarray, np.ndarray],
        index: int,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Frame ``index``: colour, alpha, shadow, motion. ``around`` has the vertices of the frames before and after."""
        from models.body.embree import project
        from models.body.ground_shadow import ground_shadow
        from models.body.renderer import View

        height, width = request.masks.shape[1:]
        body = request.body
        assert body is not None
        if not body.valid[index] or not np.isfinite(posed.vertices).all():
            empty = np.zeros((height, width), np.float32)
            return request.frames[index], empty, empty + 1, np.zeros((height, width, 2), np.float32)
        view = View(body.intrinsics, request.H_crop_source[index], (width, height))
        before, after = (project(view.intrinsics, view.H_crop_source, vertices) for vertices in around)
        layer = self._renderer.render(posed, 0.5 * (after - before), view, look)
        footings = self._footings(request.start + index, posed, look)
        shadow = ground_shadow(self._renderer.scene, view, look, footings, GROUND_RAYS)
        color = srgb_from_linear(_bleed(layer.color, layer.alpha))
        return color, layer.alpha, shadow, layer.motion * (layer.alpha > 0)[..., None]


def _repeat_ends(body: BodyParams) -> BodyParams:
    """The body with its first and last frame once more at each end."""
    return body.at(np.clip(np.arange(-1, len(body) + 1), 0, len(body) - 1))


def _foot_vertices(character: Character, rest: RestBody) -> tuple[np.ndarray, ...]:
    """Indices of the vertices of the left and of the right foot, shoes included."""
    heaviest = np.take_along_axis(character.bone_indices, character.bone_weights.argmax(axis=1)[:, None], axis=1)[:, 0]
    feet = []
    for side in "LR":
        bones = [
            i for i, name in enumerate(rest.bone_names) if name.startswith(("foot", "toe")) and name.endswith(side)
        ]
        feet.append(np.flatnonzero(np.isin(heaviest, bones)))
    return tuple(feet)


def _sole(foot: np.ndarray) -> np.ndarray:
    """(3,) the middle of what touches the ground of a foot's (M, 3) vertices, at the height of its lowest point."""
    lowest = float(foot[:, 1].max())
    touching = foot[foot[:, 1] > lowest - 0.02]
    return np.array([touching[:, 0].mean(), lowest, touching[:, 2].mean()], np.float32)


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
