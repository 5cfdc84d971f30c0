"""The vocabulary of the whole project. Every other module speaks in these types.

Conventions (stated once, here; the names carry them everywhere else):

* Arrays are time first, ``(T, ...)``. Images are ``(H, W, 3)`` uint8 **RGB**, masks bool, alpha float32 in 0..1.
* Pixels are ``(x, y)`` with the origin at the **centre** of the top-left pixel; boxes are ``xyxy``, end exclusive.
* Transforms are named by what they map: ``H_stable_source`` takes source pixels to stabilised pixels.
* Camera axes: x right, y down, z forward (OpenCV). Metres, radians, seconds.
* Rates are :class:`fractions.Fraction`; time stamps are the source's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from core.masks import MaskArchive

#: COCO-17 keypoints, in the order of ``PersonTrack.keypoints``.
COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip

#: The 33 landmarks of MediaPipe Pose (BlazePose GHUM), in the order of ``PersonTrack.landmarks``.
LANDMARK_NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
    "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip

#: Index into the 33 landmarks for each COCO keypoint.
COCO_FROM_LANDMARKS = np.array([LANDMARK_NAMES.index(name) for name in COCO_NAMES])

FrameState = Literal["detected", "predicted", "absent"]
DETECTED, PREDICTED, ABSENT = "detected", "predicted", "absent"


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _shape(name: str, array: np.ndarray | MaskArchive, *want: int | None) -> None:
    """Check an array's shape; ``None`` stands for any length."""
    fits = array.ndim == len(want) and all(w is None or w == have for w, have in zip(want, array.shape, strict=True))
    _check(fits, f"{name}: shape {array.shape} does not fit {tuple('*' if w is None else w for w in want)}")


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a clip without looking at its pixels."""

    path: Path
    """The file. It is only ever read."""
    width: int
    """Displayed width in pixels, after rotation."""
    height: int
    """Displayed height in pixels, after rotation."""
    rate: Fraction
    """Average frames per second."""
    frame_count: int
    """Number of frames that decode."""
    time_base: Fraction
    """Unit of ``pts`` in seconds."""
    pts: np.ndarray
    """(T,) int64, presentation time stamps in ``time_base``, strictly increasing."""
    rotation: int = 0
    """Clockwise rotation in degrees (0, 90, 180, 270) that the decoder applies for display."""
    constant_rate: bool = True
    """Whether all frames last equally long."""
    audio_streams: int = 0
    """Number of audio streams."""
    codec: str = ""
    """Name of the video codec, for messages and reports."""
    pixel_format: str = ""
    """Pixel format of the stream, e.g. ``yuv420p10le``."""
    color: dict[str, int] = field(default_factory=dict)
    """The stream's colour tags as FFmpeg numbers: ``space``, ``range``, ``primaries``, ``transfer`` (2 = unspecified)."""

    def __post_init__(self) -> None:
        _check(self.width > 0 and self.height > 0, f"size {self.width}x{self.height} is not a picture")
        _check(self.rate > 0, f"rate {self.rate} must be positive")
        _shape("pts", self.pts, self.frame_count)

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels, the order that OpenCV takes."""
        return self.width, self.height

    @property
    def duration(self) -> float:
        """Length in seconds, the last frame included."""
        return float(self.frame_count / self.rate)


@dataclass(frozen=True)
class Segment:
    """A stretch of the clip that is drawn in one go and checkpointed when it is done."""

    role: str
    """``approach``, ``hold``, ``exit`` (or a numbered form of these)."""
    start: int
    """First frame."""
    end: int
    """One past the last frame."""
    overlap: int = 0
    """Frames at the start that the previous segment draws too; they are blended linearly."""

    def __post_init__(self) -> None:
        _check(0 <= self.start < self.end, f"segment {self.start}..{self.end} is empty")
        _check(0 <= self.overlap <= self.end - self.start, f"overlap {self.overlap} is longer than the segment")

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Detection:
    """One person in one frame."""

    xyxy: np.ndarray
    """(4,) float32, box around the person, pixels."""
    score: float
    """Confidence, 0..1."""
    landmarks: np.ndarray
    """(33, 4) float32: x, y in pixels, z in pixels (smaller is nearer, hips at 0), visibility 0..1."""
    world: np.ndarray
    """(33, 3) float32, metres, camera axes, origin between the hips."""
    mask: np.ndarray
    """(H, W) bool, the person's pixels in the whole frame."""

    def __post_init__(self) -> None:
        _shape("xyxy", self.xyxy, 4)
        _shape("landmarks", self.landmarks, 33, 4)
        _shape("world", self.world, 33, 3)
        _shape("mask", self.mask, None, None)
        _check(self.mask.dtype == bool, "mask must be bool")

    @property
    def keypoints(self) -> np.ndarray:
        """(17, 3) float32, COCO keypoints x, y, score."""
        return self.landmarks[COCO_FROM_LANDMARKS][:, [0, 1, 3]]


@dataclass(frozen=True)
class PersonTrack:
    """One person through the whole clip, a row for every frame."""

    xyxy: np.ndarray
    """(T, 4) float32, pixels; NaN where absent."""
    score: np.ndarray
    """(T,) float32, 0..1."""
    landmarks: np.ndarray
    """(T, 33, 4) float32: x, y, z pixels, visibility; NaN where absent."""
    world: np.ndarray
    """(T, 33, 3) float32, metres, origin between the hips; NaN where absent."""
    state: np.ndarray
    """(T,) str: ``detected``, ``predicted`` (from the neighbours) or ``absent``."""
    packed_masks: MaskArchive | np.ndarray
    """(T, H, ceil(W/8)) uint8: ``np.packbits(mask, axis=-1)``; an archive where the clip may be long."""
    width: int
    """Frame width in pixels (the packed masks are padded to whole bytes)."""

    def __post_init__(self) -> None:
        count = len(self.state)
        _shape("xyxy", self.xyxy, count, 4)
        _shape("score", self.score, count)
        _shape("landmarks", self.landmarks, count, 33, 4)
        _shape("world", self.world, count, 33, 3)
        _shape("packed_masks", self.packed_masks, count, None, (self.width + 7) // 8)

    def __len__(self) -> int:
        return len(self.state)

    @property
    def present(self) -> np.ndarray:
        """(T,) bool, frames in which the person is detected or predicted."""
        return self.state != ABSENT

    @property
    def keypoints(self) -> np.ndarray:
        """(T, 17, 3) float32, COCO keypoints x, y, score."""
        return self.landmarks[:, COCO_FROM_LANDMARKS][..., [0, 1, 3]]

    @property
    def height_px(self) -> float:
        """Median height of the person's box in pixels, over the frames with the person."""
        boxes = self.xyxy[self.present]
        return float(np.median(boxes[:, 3] - boxes[:, 1])) if len(boxes) else 0.0

    def mask(self, frame: int) -> np.ndarray:
        """(H, W) bool, the person's pixels in one frame."""
        return np.unpackbits(self.packed_masks[frame], axis=-1, count=self.width).astype(bool)


@dataclass(frozen=True)
class PoseTrack:
    """The landmarks after cleaning: swaps undone, strays down-weighted, gaps filled, smoothed."""

    landmarks: np.ndarray
    """(T, 33, 3) float32: x, y, z in pixels; finite wherever the person is present."""
    world: np.ndarray
    """(T, 33, 3) float32, metres, origin between the hips."""
    weight: np.ndarray
    """(T, 33) float32, trust in each landmark, 0..1; 0 where it was interpolated or the person is absent."""
    present: np.ndarray
    """(T,) bool."""
    repaired: dict[str, int] = field(default_factory=dict)
    """What was mended, by kind: ``swaps``, ``strays``, ``interpolated`` (landmark counts)."""

    def __post_init__(self) -> None:
        count = len(self.present)
        _shape("landmarks", self.landmarks, count, 33, 3)
        _shape("world", self.world, count, 33, 3)
        _shape("weight", self.weight, count, 33)

    def __len__(self) -> int:
        return len(self.present)


@dataclass(frozen=True)
class CameraPath:
    """How the camera moved."""

    H_next_source: np.ndarray
    """(T-1, 3, 3) float64: pixels of frame t -> pixels of frame t+1, original frames."""
    H_stable_source: np.ndarray
    """(T, 3, 3) float64: pixels of frame t -> stabilised pixels."""
    inliers: np.ndarray
    """(T-1,) float32: share of the tracked points that agree with the transform, 0..1."""

    def __post_init__(self) -> None:
        count = len(self.H_stable_source)
        _shape("H_next_source", self.H_next_source, max(count - 1, 0), 3, 3)
        _shape("H_stable_source", self.H_stable_source, count, 3, 3)
        _shape("inliers", self.inliers, max(count - 1, 0))

    @property
    def is_static(self) -> bool:
        """Whether the camera never moves by more than a tenth of a pixel between two frames (shift part only)."""
        return bool(np.abs(self.H_next_source - np.eye(3)).max(initial=0.0) < 0.1)


@dataclass(frozen=True)
class FootContacts:
    """When each foot stands on the ground."""

    contact: np.ndarray
    """(T, 2) bool: left, right."""
    speed: np.ndarray
    """(T, 2) float32: ankle speed against the scene, px/frame at 720p."""

    def __post_init__(self) -> None:
        _shape("contact", self.contact, None, 2)
        _shape("speed", self.speed, len(self.contact), 2)


@dataclass(frozen=True)
class BodyDetails:
    """What the face and the hands of a body do through the clip. Trust is 0 where they were not followed."""

    expression: np.ndarray
    """(T, A) float32, 0..1: how strong each facial action is; 0 is the neutral face."""
    action_names: tuple[str, ...]
    """Names of the A facial actions."""
    gaze: np.ndarray
    """(T, 2, 2) float32, radians: left and right eye, to the subject's left and up, against straight ahead of the head."""
    fingers: np.ndarray
    """(T, 2, 5, 4) float32, radians: left and right hand, thumb first; bend of three joints and spread of the first."""
    face_trust: np.ndarray
    """(T,) float32, 0..1."""
    hand_trust: np.ndarray
    """(T, 2) float32, 0..1: left and right."""

    def __post_init__(self) -> None:
        count = len(self.face_trust)
        _shape("expression", self.expression, count, len(self.action_names))
        _shape("gaze", self.gaze, count, 2, 2)
        _shape("fingers", self.fingers, count, 2, 5, 4)
        _shape("hand_trust", self.hand_trust, count, 2)

    def __len__(self) -> int:
        return len(self.face_trust)

    def at(self, frames: np.ndarray) -> BodyDetails:
        """The details of the given frames, (N,) int."""
        rows = ("expression", "gaze", "fingers", "face_trust", "hand_trust")
        return replace(self, **{name: getattr(self, name)[frames] for name in rows})


@dataclass(frozen=True)
class BodyParams:
    """A fitted body through the clip. Vertices are made from these on demand."""

    model: str
    """Name of the body model: ``anny``, or ``smplx``, ``smplh``, ``smpl`` by the user's file."""
    shape: dict[str, float]
    """Shape parameters by name (phenotype for Anny, ``beta_0``.. for SMPL-X)."""
    joint_names: tuple[str, ...]
    """Names of the J articulated joints, root first; a body from elsewhere may go on with all other bones of its rig."""
    rotations: np.ndarray
    """(T, J, 3) float32, rotation vectors in radians: the root's takes model axes to camera axes, the others are deltas
    from the rest pose in rest axes (bones that follow the joints: against their parent, the relaxed hand's curl contained)."""
    translation: np.ndarray
    """(T, 3) float32, metres: position of the root joint in the camera."""
    intrinsics: np.ndarray
    """(3, 3) float64, pixels: K of the source camera."""
    keypoints: np.ndarray
    """(T, 33, 3) float32, metres, camera axes: the body's counterparts of the 33 landmarks."""
    valid: np.ndarray
    """(T,) bool: frames that were fitted."""
    scale: float = 1.0
    """Uniform scale of the body; depth and scale trade off in one view, so this is 1 unless the user says otherwise."""
    details: BodyDetails | None = None
    """What face and hands do, where they were followed."""

    def __post_init__(self) -> None:
        count, joints = len(self.valid), len(self.joint_names)
        _check(self.details is None or len(self.details) == count, "details: not as many frames as the body has")
        _shape("rotations", self.rotations, count, joints, 3)
        _shape("translation", self.translation, count, 3)
        _shape("intrinsics", self.intrinsics, 3, 3)
        _shape("keypoints", self.keypoints, count, 33, 3)

    def __len__(self) -> int:
        return len(self.valid)

    def window(self, start: int, end: int) -> BodyParams:
        """The frames ``start`` to ``end`` (exclusive) as a body of their own."""
        return self.at(np.arange(start, end))

    def at(self, frames: np.ndarray) -> BodyParams:
        """The given frames, (N,) int, as a body of their own; a frame may be given more than once."""
        return replace(
            self,
            rotations=self.rotations[frames],
            translation=self.translation[frames],
            keypoints=self.keypoints[frames],
            valid=self.valid[frames],
            details=None if self.details is None else self.details.at(frames),
        )


@dataclass(frozen=True)
class BodyMesh:
    """The body's surface in one frame."""

    vertices: np.ndarray
    """(V, 3) float32, metres, camera axes."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise seen from outside."""

    def __post_init__(self) -> None:
        _shape("vertices", self.vertices, None, 3)
        _shape("faces", self.faces, None, 3)


@dataclass(frozen=True)
class ShotLook:
    """What the footage looks like: the light on the person and the camera's own marks. Colours are linear RGB, 0..1."""

    light_direction: np.ndarray
    """(3,) float32, unit vector in camera axes, from the person towards the light."""
    light: np.ndarray
    """(3,) float32, radiance of the directional light on a white surface that faces it."""
    sky: np.ndarray
    """(3,) float32, ambient light from above on a white surface."""
    ground: np.ndarray
    """(3,) float32, ambient light from below on a white surface."""
    haze: np.ndarray
    """(3,) float32, black level: what a black surface at the person's distance looks like."""
    exposure: float
    """Factor from lit albedo to the footage's linear values, found on the person."""
    softness: float
    """0 = hard sun with sharp shadows, 1 = overcast, no shadow."""
    grain: float
    """Standard deviation of the footage's noise, sRGB levels (0..255)."""
    blur: float
    """Standard deviation of the footage's edge blur in pixels."""
    shutter: float | None = None
    """Share of the frame time that the shutter is open, 0..1, where the footage shows it."""
    cast: float = 0.0
    """Share of the ground's light that the person's cast shadow takes in full sun; 0 where no cast shadow was seen."""
    cast_direction: np.ndarray | None = None
    """(3,) float32, unit vector in camera axes towards the sun that casts it; ``None`` where no cast shadow was seen. The
    light on the person is fitted by itself: leaves and walls give it other light than the ground."""
    cast_slope: float = 0.05
    """Radius of the sun as a slope: how far the shadow's edge spreads for each metre from its caster."""
    cast_tint: np.ndarray = field(default_factory=lambda: np.ones(3, np.float32))
    """(3,) float32 exponents of the loss of light in the cast shadow by channel, mean 1."""

    def __post_init__(self) -> None:
        for name in ("light_direction", "light", "sky", "ground", "haze", "cast_tint"):
            _shape(name, getattr(self, name), 3)
        _check(self.cast <= 0 or self.cast_direction is not None, "cast: no direction of the sun that casts the shadow")


@dataclass(frozen=True)
class ControlMaps:
    """Pictures that steer a diffusion engine. Only the maps that the engine asks for are made."""

    maps: dict[str, np.ndarray]
    """By name (``pose``, ``depth``, ``canny``, ``normal``): (N, H, W, 3) uint8 in crop pixels."""


@dataclass(frozen=True)
class GenerationRequest:
    """One call of an engine: N consecutive frames in one crop size."""

    start: int
    """Index in the clip of the first of the N frames."""
    frames: np.ndarray
    """(N, H, W, 3) uint8, the source in crop pixels."""
    masks: np.ndarray
    """(N, H, W) bool, the source person in crop pixels."""
    H_crop_source: np.ndarray
    """(N, 3, 3) float64: source pixels -> crop pixels."""
    seed: int
    """Seed of all randomness in this call."""
    plate: np.ndarray | None = None
    """(N, H, W, 3) uint8, the scene without the person, for engines that need it."""
    body: BodyParams | None = None
    """The fitted body; ``body.window(i, i + 1)`` is the i-th of the N frames."""
    motion_body: BodyParams | None = None
    """The fitted body with one more frame at each end (repeated at the ends of the clip): N + 2 frames, for motion."""
    shot: ShotLook | None = None
    """The look of the shot."""
    controls: ControlMaps | None = None
    """Control maps, for engines that ask for them."""
    carried: np.ndarray | None = None
    """(C, H, W, 3) uint8, the last results of the previous call, for engines that continue from them."""
    given: np.ndarray | None = None
    """(K, H, W, 3) uint8, K <= N: results for the first K frames, finished in the segment before. Engines that carry frames
    give them back as they are and continue from them; others get none."""
    landmarks: np.ndarray | None = None
    """(N, 33, 4) float32, the person's landmarks in crop pixels: x, y, z, visibility."""
    ground: np.ndarray | None = None
    """(N,) float32: y of the ground, metres, camera axes, as the heels and toes of ``body`` touch it over half a second."""
    sunlit: np.ndarray | None = None
    """(N, H, W) float32, 0..1: share of the ground's light that a cast shadow takes away, where the shot has a sun."""

    def __post_init__(self) -> None:
        count, height, width = self.masks.shape
        if self.sunlit is not None:
            _shape("sunlit", self.sunlit, count, height, width)
        if self.given is not None:
            _check(0 < len(self.given) <= count, f"{len(self.given)} frames are given of {count}")
            _shape("given", self.given, len(self.given), height, width, 3)
        _shape("frames", self.frames, count, height, width, 3)
        _shape("H_crop_source", self.H_crop_source, count, 3, 3)

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True)
class GenerationResult:
    """What an engine gives back: a new layer, in the crop pixels of its request."""

    frames: np.ndarray
    """(N, H, W, 3) uint8, colour, not multiplied by alpha."""
    alpha: np.ndarray
    """(N, H, W) float32, 0..1: how much of each pixel is the new person."""
    seed: int
    """The seed that was used."""
    engine: str
    """Name of the engine."""
    shadow: np.ndarray | None = None
    """(N, H, W) float32: factor on the linear light of what is behind, 1 = no shadow."""
    motion: np.ndarray | None = None
    """(N, H, W, 2) float32: motion of the drawn surface in px/frame at each pixel, 0 where alpha is 0."""
    warnings: tuple[str, ...] = ()
    """What did not go the plain way, for the run's warnings: a smaller batch after running out of memory."""

    def __post_init__(self) -> None:
        count, height, width = self.alpha.shape
        _shape("frames", self.frames, count, height, width, 3)
        _check(self.frames.dtype == np.uint8, "frames must be uint8")
        _check(self.alpha.dtype == np.float32, "alpha must be float32")
        if self.shadow is not None:
            _shape("shadow", self.shadow, count, height, width)
        if self.motion is not None:
            _shape("motion", self.motion, count, height, width, 2)
