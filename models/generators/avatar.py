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
from models.generators.reference_picture import check_reference
from utils.photometry import srgb_from_linear

if TYPE_CHECKING:
    from models.body.base import RestBody
    from models.body.character import Character
    from models.body.expression_figure import MovingFace
    from models.body.figure import PosedFigure
    from models.body.ground_shadow import Footing
    from models.body.photo import Sitter
    from models.body.renderer import FigureRenderer
    from models.body.soft_ground import Foot

#: How far the shadow reaches from the feet, metres, in soft and in hard light; and that of a foot on other ground.
SOFT_REACH, HARD_REACH, FOOT_REACH = 1.0, 2.0, 0.25
#: A foot less than this above the other one may stand on ground of its own (the camera looks down, the ground slopes).
FOOT_STEP = 0.14
#: How fast the ground follows the feet when they come down, and when they leave it (per frame).
GROUND_ATTACK, GROUND_RELEASE = 0.5, 0.03
#: Heels and toes among the landmarks.
_SOLES = slice(29, 33)
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
    """Draws ``request.body`` as the avatar of ``options.avatar``, or as the person of ``options.reference`` where there is
    one. Deterministic; the seed changes nothing.

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
        casts_shadow=True,
    )

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        from models.body.wardrobe import load_avatar

        self._spec = load_avatar(options.avatar)
        if options.reference is not None:
            check_reference(options.reference)
        self._sitter: Sitter | None = None
        self._notes: tuple[str, ...] = ()
        self._avatar: Any = None
        self._renderer: Any = None
        self._face: MovingFace | None = None
        self._fitted: tuple[tuple[tuple[str, float], ...], Any] | None = None
        self._feet: tuple[np.ndarray, ...] = ()
        self._warnings: tuple[str, ...] = ()
        self._ground: _Ground | None = None

    def load(self, progress: LoadProgress | None = None) -> None:
        """Build the avatar's body and clothes, and forget where the ground was.

        Raises
        ------
        core.errors.InputError
            The reference picture does not show one person well enough.
        core.errors.ModelUnavailable
            The body model is missing.
        """
        from models.body.expression_figure import with_moving_face
        from models.body.renderer import FigureRenderer

        self._ground = None
        if self._renderer is not None:
            return
        report = progress or (lambda _share, _text: None)
        character, self._avatar, self._notes = self._dressed(report)
        self._warnings = character.warnings
        report(0.8, "preparing face and light")
        character, self._face = with_moving_face(character, self._avatar)
        self._renderer = FigureRenderer(
            character,
            len(self._avatar.bone_names),
            self.options.edge_samples,
            self.options.shadow_rays,
            self.options.occlusion_rays,
        )
        self._feet = _foot_vertices(character, self._avatar)
        report(1.0, "avatar ready")

    def check_reference(self) -> None:
        """See that the reference picture shows one person, where there is one. Takes a second or two.

        Raises
        ------
        core.errors.InputError
            It does not.
        """
        from models.body.photo import find_sitter

        if self.options.reference is not None and self._sitter is None:
            self._sitter = find_sitter(self.options.reference)

    @property
    def reference_notes(self) -> tuple[str, ...]:
        """What the reference picture does not show, a sentence each; known after :meth:`load`."""
        return self._notes

    def sitter_close_up(self) -> np.ndarray:
        """(H, W, 3) uint8: the person in the reference picture; known after :meth:`check_reference`."""
        if self._sitter is None:
            raise RuntimeError("check_reference() comes first")
        return self._sitter.close_up()

    def figure(self) -> tuple[FigureRenderer, RestBody]:
        """What draws the figure, and the body that it was dressed on; known after :meth:`load`."""
        if self._renderer is None:
            raise RuntimeError("load() comes first")
        return self._renderer, self._avatar

    def _dressed(self, report: LoadProgress) -> tuple[Character, RestBody, tuple[str, ...]]:
        """The figure on its body, and what is to be said of it."""
        if self.options.reference is not None:
            from models.body.photo import person_from_photo

            person = person_from_photo(
                self.options.reference, lambda share, text: report(0.8 * share, text), self._sitter
            )
            return person.character, person.rest, person.notes
        from models.body.anny_body import AnnyBody, cache_folder
        from models.body.wardrobe import dress

        spec = self._spec
        rest = AnnyBody().rest(spec.phenotype.model_dump(), lambda share, text: report(0.5 * share, text))
        report(0.5, f"dressing {spec.name}")
        return dress(spec, rest, cache_folder() / "characters"), rest, ()

    def unload(self) -> None:
        """Forget the avatar."""
        self._avatar = self._renderer = self._face = self._fitted = self._ground = None

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
        surfaces = deque((self._surface(moving, transforms, index) for index in (0, 1)), maxlen=3)
        drawn = []
        for index in range(len(request)):
            surfaces.append(self._surface(moving, transforms, index + 2))
            posed = self._renderer.figure.posed(surfaces[1], transforms[index + 1])
            drawn.append(self._draw(request, look, posed, (surfaces[0], surfaces[2]), index))
        frames, alpha, shadow, motion = (np.stack(part) for part in zip(*drawn, strict=True))
        return GenerationResult(frames, alpha, request.seed, self.name, shadow, motion, warnings=self._warnings)

    def _surface(self, body: BodyParams, transforms: np.ndarray, index: int) -> np.ndarray:
        """(V, 3) float32: the avatar's vertices in one frame, its face moved as the person's."""
        vertices: np.ndarray = self._renderer.figure.skin(transforms[index])
        if self._face is None or body.details is None:
            return vertices
        return self._face(vertices, transforms[index], body.details.expression[index])

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

    def _stand(self, request: GenerationRequest, posed: PosedFigure, index: int) -> list[Foot]:
        """The feet, the lower one first, and the ground under them: where the fitted body stands, else level with the lower
        sole, without jumps."""
        from models.body.soft_ground import Foot

        feet = [posed.vertices[index] for index in self._feet]
        soles = np.stack([_sole(foot) for foot in feet])
        order = np.argsort(-soles[:, 1])
        state, frame = self._ground, request.start + index
        height = float(soles[order[0], 1])
        if request.ground is not None and request.body is not None:
            # The avatar's soles lie below the heels and toes that the body is known by.
            touching = float(request.body.keypoints[index, _SOLES, 1].max())
            height = max(height, height + float(request.ground[index]) - touching)
        elif state is not None and state.next_frame == frame:
            rate = GROUND_ATTACK if height > state.height else GROUND_RELEASE
            height = state.height + rate * (height - state.height)
        self._ground = _Ground(frame + 1, height)
        return [Foot(feet[i], soles[i], height) for i in order]

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
        from models.body.ground_shadow import Sunlight, ground_shadow
        from models.body.renderer import View
        from models.body.soft_ground import LIT_BLADES, blades_in_front

        height, width = request.masks.shape[1:]
        body = request.body
        assert body is not None
        if not body.valid[index] or not np.isfinite(posed.vertices).all():
            empty = np.zeros((height, width), np.float32)
            return request.frames[index], empty, empty + 1, np.zeros((height, width, 2), np.float32)
        view = View(body.intrinsics, request.H_crop_source[index], (width, height))
        before, after = (project(view.intrinsics, view.H_crop_source, vertices) for vertices in around)
        layer = self._renderer.render(posed, 0.5 * (after - before), view, look)
        feet = self._stand(request, posed, index)
        sun = None if request.sunlit is None else Sunlight(request.sunlit[index], posed.vertices, _level(feet))
        shadow = ground_shadow(self._renderer.scene, view, look, _footings(feet, look), GROUND_RAYS, sun)
        alpha = layer.alpha
        blades = None
        if request.plate is not None:
            blades = blades_in_front(self._renderer.scene, view, request.plate[index], feet)
        if blades is not None:
            # What stands in front of the shoe is out of its shadow, mostly.
            shadow += (1 - shadow) * (LIT_BLADES * blades)
            alpha = alpha * (1 - blades)
        return _encoded(layer.color, layer.alpha), alpha, shadow, layer.motion * (layer.alpha > 0)[..., None]


def _footings(feet: list[Foot], look: ShotLook) -> list[Footing]:
    """The ground under the figure, and a finer patch at each foot that stands: the dark line under a sole is a few pixels
    wide."""
    from models.body.ground_shadow import Footing

    height = feet[0].ground
    middle = np.mean([foot.sole for foot in feet], axis=0)
    under = np.array([middle[0], height, middle[2]], np.float32)
    footings = [Footing(under, SOFT_REACH if look.softness > 0.9 or look.cast > 0 else HARD_REACH)]
    return footings + [Footing(foot.sole, FOOT_REACH) for foot in feet if height - foot.sole[1] < FOOT_STEP]


def _level(feet: list[Foot]) -> float:
    """y of the ground that the shadow falls on: under the lower sole, as long as that is no step or jump above the rest."""
    lift = feet[0].ground - float(feet[0].sole[1])
    return feet[0].ground - lift * float(np.clip(2.0 - 2.0 * lift / FOOT_STEP, 0.0, 1.0))


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


def _encoded(color: np.ndarray, alpha: np.ndarray, reach: int = BLEED) -> np.ndarray:
    """The figure's linear colours as (H, W, 3) uint8 sRGB, drawn out ``reach`` pixels past its edge; black further away.

    Parameters
    ----------
    color:
        (H, W, 3) float32; read only where alpha > 0.
    alpha:
        (H, W) float32.
    """
    result = np.zeros(color.shape, np.uint8)
    # The crop is as large as the shadow, and the figure fills little of it.
    x, y, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    if width:
        box = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
        result[box] = srgb_from_linear(_bleed(color[box], alpha[box], reach))
    return result


def _bleed(color: np.ndarray, alpha: np.ndarray, reach: int) -> np.ndarray:
    """Draw colours out past the edge, so that blurring or moving the layer never mixes in the colour of nothing.

    Parameters as for :func:`_encoded`.
    """
    solid = (alpha > 0.02).astype(np.float32)
    weight = alpha * solid
    near_color = color.copy()
    spread = cv2.multiply(near_color, cv2.merge([weight] * 3))
    for size in (3, 2 * reach + 1):
        near = cv2.blur(weight, (size, size))
        empty = (solid < 0.5) & (near > 1e-5)
        near_color[empty] = cv2.blur(spread, (size, size))[empty] / near[empty][:, None]
        solid[empty] = 1.0
    return near_color
