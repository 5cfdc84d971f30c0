"""The ground that the person walks on: how it looks without the person's shadow, and which light falls on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from core.types import BodyParams, ShotLook
from models.body.anny_body import AnnyBody
from models.body.articulation import Skin, params_transforms
from models.body.cast_shadow import (
    DEEPEST,
    ShadowSample,
    Sun,
    find_sun,
    ground_points,
    shadow_matte,
    shadow_window,
)
from models.body.embree import RayScene, project
from pipelines.replace.shot import Shot
from pipelines.survey.frames import spread
from pipelines.survey.look import Observed
from utils.photometry import linear_from_srgb, luminance
from utils.removal_mask import dilation_px
from utils.scene_samples import Box, SceneSamples
from utils.shutter import ShutterEstimate
from utils.transforms import translation
from utils.video_io import VideoReader

#: Seconds between the pictures that the ground is known from, and the fewest pictures of a short clip.
EVERY_S, LEAST_PICTURES = 0.4, 24
#: Frames in which the sun's shadow is looked for.
SHADOW_FRAMES = 14
#: How far around the feet it is looked for, parts of the person's height: to the sides, above, below.
ASIDE, ABOVE, BELOW = 1.2, 0.35, 0.6
#: Seconds before and after over which the ground's height is taken, for a figure and for the shadow of somebody who is
#: seen; and which percentile of the lower sole is the ground: feet leave it.
GROUND_S, SHADOW_GROUND_S, GROUND_PERCENTILE = 0.25, 0.1, 85
#: Pictures are compared on means of this many work pixels (standard deviation): grass moves, codecs blur.
SMOOTH_PX = 0.9
#: Missing light that is taken for noise, and from which on it is a shadow.
QUIET, SURE = 0.03, 0.08
#: Light given back that is too little to be seen: such pixels stay the source's own.
LEAST_GAIN = 1.01
#: How far beside the predicted shadow darkness still belongs to it, and over what distance the share of the sun is taken,
#: parts of the person's height.
BESIDE, SPREAD = 0.07, 0.10
#: How far from the feet a shadow is followed, parts of the person's height.
REACH = 1.8
#: Every so many vertices tell where the shadow lies.
THINNING = 16


class PersonOnGround:
    """The fitted body as something that stands on the ground and casts a shadow."""

    def __init__(self, shot: Shot) -> None:
        assert shot.body is not None
        rest = AnnyBody().rest(shot.body.shape)
        self._transforms = params_transforms(rest, shot.body)
        self._skin = Skin(rest.vertices, rest.bone_indices, rest.bone_weights, len(rest.bone_names))
        few = np.arange(0, len(rest.vertices), THINNING)
        self._outline = Skin(rest.vertices[few], rest.bone_indices[few], rest.bone_weights[few], len(rest.bone_names))
        self.faces = rest.faces
        self._soles = shot.body.keypoints[:, 29:33, 1].max(axis=1)
        self.valid = shot.body.valid & shot.found[0].present
        self.intrinsics = shot.body.intrinsics
        self.ground = ground_heights(shot.body, float(shot.info.rate), SHADOW_GROUND_S) + self._below()
        heels = shot.body.keypoints[:, 29:33].mean(axis=1)
        self.feet = np.where(self.valid[:, None], project(self.intrinsics, np.eye(3), heels), np.nan)

    def vertices(self, t: int) -> np.ndarray:
        """(V, 3) float32, the surface in frame ``t``, metres, camera axes."""
        return self._skin(self._transforms[t])

    def outline(self, t: int) -> np.ndarray:
        """(K, 3) float32, a few points spread over the surface in frame ``t``."""
        return self._outline(self._transforms[t])

    def _below(self) -> float:
        """How far the soles lie below the heel and toe landmarks, metres; a few frames tell."""
        usable = np.flatnonzero(self.valid)
        if len(usable) == 0:
            return 0.0
        few = usable[spread(len(usable), 8)]
        return float(np.median([self.vertices(int(t))[:, 1].max() - self._soles[t] for t in few]))


def ground_heights(body: BodyParams, rate: float, seconds: float = GROUND_S) -> np.ndarray:
    """(T,) float32 y of the ground in each frame, metres, camera axes: where heels and toes are lowest over a while.

    Parameters
    ----------
    rate:
        Frames a second.
    seconds:
        How far before and after a frame feet are looked at: somebody who runs is in the air for a quarter of a second.
    """
    soles = body.keypoints[:, 29:33, 1].max(axis=1).astype(np.float64)
    usable = np.flatnonzero(body.valid)
    reach = max(1, round(seconds * rate))
    ground = soles.copy()
    for t in range(len(soles)):
        near = usable[np.searchsorted(usable, t - reach) : np.searchsorted(usable, t + reach, side="right")]
        if len(near):
            ground[t] = np.percentile(soles[near], GROUND_PERCENTILE)
    return ground.astype(np.float32)


@dataclass(frozen=True)
class GroundFrame:
    """The light on the ground in one frame, in a box of source pixels."""

    box: Box
    gain: np.ndarray
    """(h, w) float32, at least 1: factor on the source's linear light that takes the old person's shadow off."""
    sunlit: np.ndarray
    """(h, w) float32, 0..1: share of the ground's light that a new shadow takes away."""


class Ground:
    """Pictures of the ground, the body on it, and the sun where there is one.

    Parameters
    ----------
    shot:
        Track, camera and body must be filled in.
    person:
        Its body, where it is made already.
    also:
        Called with each frame that is read on the way (index, (H, W, 3) uint8).
    """

    def __init__(
        self,
        shot: Shot,
        person: PersonOnGround | None = None,
        also: Callable[[int, np.ndarray], None] | None = None,
    ) -> None:
        self._track, _, camera = shot.found
        self.person = person or PersonOnGround(shot)
        rate, count = float(shot.info.rate), shot.info.frame_count
        self.samples = SceneSamples(camera, shot.info.size, self._track.height_px, self.person.feet, rate)
        self._radius = dilation_px(self._track, 0.02)
        self._tall = self._track.height_px * self.samples.scale
        self._K = self.samples.H_work_source @ self.person.intrinsics
        self._scene: RayScene | None = None
        self._indices = spread(count, min(count, max(LEAST_PICTURES, round(count / (EVERY_S * rate)))))
        with VideoReader(shot.info) as reader:
            for t, rgb in reader.at(self._indices):
                self.samples.add(t, rgb, self._grown_mask(t))
                if also is not None:
                    also(t, rgb)

    def _grown_mask(self, t: int) -> np.ndarray:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * self._radius + 1, 2 * self._radius + 1))
        return cv2.dilate(self._track.mask(t).view(np.uint8), disc) > 0

    # --- the sun ----------------------------------------------------------------------------------------------------

    def find_sun(self) -> Sun | None:
        """The light that casts the person's shadow, or ``None`` where none is seen."""
        usable = [t for t in self._indices if self.person.valid[t]]
        chosen = [usable[i] for i in spread(len(usable), SHADOW_FRAMES)]
        return find_sun([sample for t in chosen if (sample := self._shadow_sample(t)) is not None])

    def _shadow_sample(self, t: int) -> ShadowSample | None:
        x, y = self.person.feet[t] * self.samples.scale
        x0, y0 = max(int(x - ASIDE * self._tall), 0), max(int(y - ABOVE * self._tall), 0)
        x1 = min(int(x + ASIDE * self._tall) + 1, self.samples.size[0])
        y1 = min(int(y + BELOW * self._tall) + 1, self.samples.size[1])
        if x1 - x0 < 16 or y1 - y0 < 8:
            return None
        picture, hole = self.samples.picture(t)
        box = (x0, y0, x1, y1)
        darkness, known = self._missing(t, box, picture[y0:y1, x0:x1], hole[y0:y1, x0:x1] > 0)
        K = translation(-x0, -y0) @ self._K
        vertices, ground = self.person.vertices(t), float(self.person.ground[t])
        return ShadowSample(darkness, known, vertices, self.person.faces, ground, K, self._tall)

    def _missing(
        self, t: int, box: Box, shown: np.ndarray, hole: np.ndarray, shadow: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(h, w, 3) float32 share of the light that a frame lacks against its ground, and (h, w) bool where that is known.

        ``shadow`` (h, w) bool says where it is expected to: the exposure is compared elsewhere.
        """
        ground, known = self.samples.ground(t, box, shown, hole if shadow is None else hole | shadow)
        known &= ~hole
        here = _means(linear_from_srgb(np.ascontiguousarray(shown)), known)
        there = _means(linear_from_srgb(ground), known)
        return (1.0 - (here + 0.004) / (there + 0.004)).astype(np.float32), known

    def hide_shadows(self, direction: np.ndarray) -> None:
        """Leave out of the ground's pictures what lies in the person's shadow under a sun of ``direction``, (3,)."""
        for t in self._indices:
            if not self.person.valid[t]:
                continue
            vertices, ground = self.person.vertices(t), float(self.person.ground[t])
            box = self._window(t, vertices[::THINNING], ground, direction)
            if box is not None:
                matte = self._matte(vertices, ground, box, direction)
                self.samples.hide(t, box, self._beside(matte))

    def _beside(self, matte: np.ndarray) -> np.ndarray:
        """(h, w) bool: a shadow and what lies right beside it."""
        reach = 2 * max(1, round(BESIDE * self._tall)) + 1
        return cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0.2

    def with_shadow(self, t: int, box: np.ndarray, look: ShotLook) -> np.ndarray:
        """(4,) xyxy box in source pixels around a person's box and its shadow."""
        if not self.person.valid[t] or look.cast_direction is None:
            return box
        found = self._window(t, self.person.outline(t), float(self.person.ground[t]), look.cast_direction)
        if found is None:
            return box
        low, high = np.array(found[:2]) / self.samples.scale, np.array(found[2:]) / self.samples.scale
        return np.concatenate([np.minimum(box[:2], low), np.maximum(box[2:], high)])

    # --- frame by frame ---------------------------------------------------------------------------------------------

    def frame(self, t: int, source: np.ndarray, look: ShotLook) -> GroundFrame | None:
        """Light on the ground beside the person in one frame.

        Parameters
        ----------
        source:
            (H, W, 3) uint8.
        look:
            Has the sun's direction, and ``cast`` > 0.

        Returns
        -------
        ``None`` where the shadow falls outside of the picture.
        """
        if not self.person.valid[t] or look.cast_direction is None:
            return None
        vertices, ground = self.person.vertices(t), float(self.person.ground[t])
        box = self._window(t, vertices[::THINNING], ground, look.cast_direction)
        if box is None:
            return None
        x0, y0, x1, y1 = box
        shown = self.samples.reduced(source)[y0:y1, x0:x1]
        hole = self.samples.reduced(self._grown_mask(t).view(np.uint8) * np.uint8(255))[y0:y1, x0:x1] > 0
        matte = self._matte(vertices, ground, box, look.cast_direction)
        missing, known = self._missing(t, box, shown, hole, self._beside(matte))
        dark = np.clip(luminance(missing), 0.0, DEEPEST)
        dark *= np.clip((dark - QUIET) / (SURE - QUIET), 0.0, 1.0) * known
        open_sides = (x0 > 0, y0 > 0, x1 < self.samples.size[0], y1 < self.samples.size[1])
        gain, sunlit = _light(dark, known, matte, self._tall, open_sides)
        return self._in_source(box, gain, sunlit)

    def _window(self, t: int, vertices: np.ndarray, ground: float, direction: np.ndarray) -> Box | None:
        """The old shadow's box with some room, work pixels."""
        found = shadow_window(vertices, direction, ground, self._K, self.samples.size)
        if found is None:
            return None
        room, reach = int(0.2 * self._tall), REACH * self._tall
        x, y = self.person.feet[t] * self.samples.scale
        x0, y0 = max(found[0] - room, int(x - reach), 0), max(found[1] - room, int(y - 0.5 * reach), 0)
        x1 = min(found[2] + room, int(x + reach), self.samples.size[0])
        y1 = min(found[3] + room, int(y + 0.5 * reach), self.samples.size[1])
        return (x0, y0, x1, y1) if x1 - x0 >= 8 and y1 - y0 >= 8 else None

    def _matte(self, vertices: np.ndarray, ground: float, box: Box, direction: np.ndarray) -> np.ndarray:
        """(h, w) float32 the old person's shadow, from rays through every second work pixel."""
        x0, y0, x1, y1 = box
        if self._scene is None:
            self._scene = RayScene(vertices, self.person.faces)
        else:
            self._scene.move(vertices)
        columns, rows = np.arange(x0, x1, 2), np.arange(y0, y1, 2)
        grid = np.stack(np.meshgrid(columns + 0.5, rows + 0.5), axis=-1).reshape(-1, 2).astype(np.float32)
        matte = shadow_matte(self._scene, ground_points(self._K, grid, ground), direction)
        large = cv2.resize(matte.reshape(len(rows), len(columns)), (2 * len(columns), 2 * len(rows)))
        return large[: y1 - y0, : x1 - x0]

    def _in_source(self, box: Box, gain: np.ndarray, sunlit: np.ndarray) -> GroundFrame:
        scale = self.samples.scale
        x0, y0 = round(box[0] / scale), round(box[1] / scale)
        size = round((box[2] - box[0]) / scale), round((box[3] - box[1]) / scale)
        large = [cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (gain, sunlit)]
        return GroundFrame((x0, y0, x0 + size[0], y0 + size[1]), *large)


def _light(
    dark: np.ndarray, known: np.ndarray, matte: np.ndarray, tall: float, open_sides: tuple[bool, bool, bool, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """Gain that takes the old shadow off, and the share of the sun in the ground's light.

    Parameters
    ----------
    dark:
        (h, w) float32 missing light, 0 where it is not known.
    known:
        (h, w) bool.
    matte:
        (h, w) float32 the old person's shadow as the body predicts it.
    tall:
        Height of the person in these pixels.
    open_sides:
        Whether the picture goes on to the left, above, to the right, below.
    """
    beside = 2 * max(1, round(BESIDE * tall)) + 1
    wide = cv2.dilate(matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (beside, beside)))
    window = cv2.GaussianBlur(wide, (0, 0), max(0.25 * beside, 0.6))
    # A shadow ends softly, and never at the border of the window in which it is looked for.
    window *= _inside_ramp(dark.shape, max(2, round(0.08 * tall)), open_sides)
    gain = 1.0 + window * (1.0 / (1.0 - dark) - 1.0)
    gain[gain < LEAST_GAIN] = 1.0
    # How much sun the ground has nearby: the deepest of the shadow around, carried on to places that nobody shadowed.
    deepest = cv2.dilate(dark * (window > 0.2), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (beside, beside)))
    weight = (known & (matte > 0.3)).astype(np.float32)
    sigma = SPREAD * tall
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    sunlit = cv2.GaussianBlur(deepest * weight, (0, 0), sigma) / np.maximum(total, 1e-3)
    # Far from all evidence there is none.
    sunlit *= np.clip(total / 0.02, 0.0, 1.0)
    return gain.astype(np.float32), np.clip(sunlit, 0.0, DEEPEST).astype(np.float32)


def _inside_ramp(shape: tuple[int, ...], reach: int, open_sides: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """(h, w) float32: 0 at the border, 1 ``reach`` pixels further in; 1 to the very end where the picture ends too."""
    height, width = shape
    left, above, right, below = open_sides
    columns, rows = np.full(width, np.inf), np.full(height, np.inf)
    for ends, low, high in ((columns, left, right), (rows, above, below)):
        steps = np.arange(len(ends), dtype=np.float64)
        if low:
            np.minimum(ends, steps, out=ends)
        if high:
            np.minimum(ends, steps[::-1], out=ends)
    return (np.clip(rows / reach, 0, 1)[:, None] * np.clip(columns / reach, 0, 1)[None]).astype(np.float32)


def _means(linear: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Local means of known pixels."""
    weight = known.astype(np.float32)
    total = cv2.GaussianBlur(linear * weight[..., None], (0, 0), SMOOTH_PX)
    return total / np.maximum(cv2.GaussianBlur(weight, (0, 0), SMOOTH_PX), 0.05)[..., None]


def observe(shot: Shot) -> Observed:
    """Look for the sun, the shutter and the sharpness in a surveyed clip. Fills ``shot.ground`` where there is a sun."""
    track = shot.found[0]
    person = PersonOnGround(shot)
    shutter = ShutterEstimate()

    def watch(t: int, rgb: np.ndarray) -> None:
        if 0 < t < len(track) - 1 and person.valid[t - 1 : t + 2].all():
            points, motion = _moving_points(person, t)
            shutter.add(rgb, track.mask(t), points, motion)

    ground = Ground(shot, person, watch)
    sun = ground.find_sun()
    if sun is not None:
        ground.hide_shadows(sun.direction)
        shot.ground = ground
    return Observed(sun, shutter.shutter(), shutter.still_blur())


def _moving_points(person: PersonOnGround, t: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) pixels of points of the body in frame ``t``, and (N, 2) their motion in the picture, px/frame."""
    before, now, after = (project(person.intrinsics, np.eye(3), person.outline(i)) for i in (t - 1, t, t + 1))
    return now, 0.5 * (after - before)


def without_old_shadow(shadow: np.ndarray, box: Box, ground: GroundFrame, removal: np.ndarray) -> np.ndarray:
    """A layer's shadow with the light given back that the old person's shadow took.

    Parameters
    ----------
    shadow:
        (h, w) float32 of the layer.
    box:
        The layer's, source pixels; it may reach past the frame.
    ground:
        The frame's light.
    removal:
        (H, W) bool: where the plate is shown, which has no shadow of the old person.

    Returns
    -------
    (h, w) float32 factor on the linear light of what is behind, more than 1 where light is given back.
    """
    x0, y0, x1, y1 = box
    result = shadow.copy()
    left, top = max(x0, ground.box[0]), max(y0, ground.box[1])
    right, bottom = min(x1, ground.box[2], removal.shape[1]), min(y1, ground.box[3], removal.shape[0])
    if left >= right or top >= bottom:
        return result
    gain = ground.gain[top - ground.box[1] : bottom - ground.box[1], left - ground.box[0] : right - ground.box[0]]
    gain = np.where(removal[top:bottom, left:right], np.float32(1), gain)
    result[top - y0 : bottom - y0, left - x0 : right - x0] *= gain
    return result
