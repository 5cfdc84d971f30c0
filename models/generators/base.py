"""What an engine is: it declares what it needs, and draws a new layer for a few frames at a time.

The pipeline pads, chunks and carries frames over from :class:`Capabilities` alone; it never asks an engine for its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from core.errors import InputError
from core.types import GenerationRequest, GenerationResult

#: Called while an engine loads or draws: a share done, 0..1, and what is being done. Raises ``Cancelled`` to stop it.
LoadProgress = Callable[[float, str], None]


@dataclass(frozen=True)
class FrameRule:
    """Which numbers of frames one call may have: ``step * n + offset`` (Wan: 4n + 1)."""

    step: int = 1
    offset: int = 0

    def __post_init__(self) -> None:
        if self.step < 1 or not 0 <= self.offset < self.step + 1:
            raise ValueError(f"frame rule {self.step}n + {self.offset} makes no sense")

    def round_up(self, count: int) -> int:
        """The smallest allowed number of frames that is at least ``count`` (and at least 1)."""
        count = max(count, 1, self.offset)
        return count + (self.offset - count) % self.step


@dataclass(frozen=True)
class Capabilities:
    """What an engine needs and what it promises."""

    controls: tuple[str, ...] = ()
    """Control maps that it asks for: ``pose``, ``depth``, ``canny``, ``normal``."""
    needs_plate: bool = False
    """Whether the scene without the person is made and put behind the layer: for engines whose new person need not
    cover the old one. ``GenerationRequest.plate`` is filled too."""
    needs_body: bool = False
    """Whether ``GenerationRequest.body`` and ``shot`` must be filled."""
    size_multiple: int = 1
    """Crop width and height must be multiples of this."""
    leaves_cpu: bool = False
    """Its work is a graphics card's. Such an engine calls ``progress`` while it draws."""
    crop_margin: float = 0.3
    """Space around the person in the crop, as a share of the person's larger side: hair, loose clothes, shadow."""
    frames_per_call: int = 8
    """Most frames in one call."""
    frame_rule: FrameRule = FrameRule()
    """Which numbers of frames one call may have."""
    carried_frames: int = 0
    """How many of its last results the next call wants back in ``GenerationRequest.carried``."""
    minimum_vram_gb: float = 0.0
    """Graphics memory below which it cannot run; 0 for engines that need no GPU."""
    weights: tuple[str, ...] = ()
    """Names in the weights table that must be on disk before ``load``."""
    draws_in: Literal["source", "stable"] = "stable"
    """``source``: crops are cut from source pixels at whole-pixel offsets, nothing is resampled. ``stable``: crops are cut
    from stabilised pixels."""
    holds_feet: bool = False
    """Its feet already stand still on the ground; the image-space foot lock leaves them alone."""
    steady: bool = False
    """It does not flicker; the temporal stage has nothing to add."""
    matches_shot: bool = False
    """Its pixels already carry the footage's grain and blur."""
    gives_motion: bool = False
    """``GenerationResult.motion`` is filled, so the pipeline can blur the layer along its motion."""
    casts_shadow: bool = False
    """``GenerationResult.shadow`` is filled: the old person's cast shadow is taken off the ground, since a new one falls."""

    def __post_init__(self) -> None:
        if self.size_multiple < 1 or self.frames_per_call < 1 or self.carried_frames < 0:
            raise ValueError("size_multiple and frames_per_call start at 1, carried_frames at 0")
        if self.frame_rule.round_up(self.frames_per_call) != self.frames_per_call:
            raise ValueError(f"{self.frames_per_call} frames a call do not fit the engine's own frame rule")


@dataclass(frozen=True)
class EngineOptions:
    """What the user may choose; each engine reads the fields that concern it."""

    avatar: str = "alex"
    """Name of the avatar, for the avatar engine."""
    reference: Path | None = None
    """Picture of the person to become, for engines that take one."""
    checkpoint: str = ""
    """Checkpoint of a diffusion engine: a name, a folder or a file."""
    prompt: str = ""
    """What to draw, for engines that take words."""
    negative_prompt: str = ""
    """What not to draw."""
    edge_samples: int = 4
    """Rays through each pixel at an edge, 1..16, for engines that trace rays. Other pixels take one."""
    shadow_rays: int = 1
    """Rays towards the light's disc for each sample, 0..16; 0 leaves out sharp shadows on the figure. Sixteen points of the
    disc are shared out over neighbouring pixels, so one ray is good and four are smooth."""
    occlusion_rays: int = 16
    """Rays into the sky for each occlusion sample, 0..64; 0 uses the rest pose's occlusion alone."""
    vram_gb: float | None = None
    """Most graphics memory that it may take, GB; ``None`` takes what is free."""
    generation_size: int = 640
    """Longer side of the picture that a diffusion engine draws, pixels."""
    steps: int = 0
    """Denoising steps; 0 takes what the engine is made for."""
    few_step: bool = False
    """Few denoising steps, with weights made for it."""
    guidance: float | None = None
    """Classifier-free guidance scale; ``None`` takes what the engine is made for."""
    denoising_strength: float = 0.75
    """How much a diffusion engine may change what it starts from, 0..1; 1 starts from noise."""
    start_from: Literal["previous", "avatar", "source"] = "avatar"
    """What a diffusion engine starts from."""
    pose_weight: float = 1.0
    """Conditioning scale of the pose ControlNet; 0 leaves it out."""
    depth_weight: float = 0.6
    """Conditioning scale of the depth ControlNet; 0 leaves it out."""
    canny_weight: float = 0.0
    """Conditioning scale of the edge ControlNet; 0 leaves it out."""
    motion_window: bool = False
    """Draw several frames together with a motion network."""
    device: str = ""
    """``cpu``, ``cuda``, ``cuda:1``, ...; empty takes the best there is."""

    def __post_init__(self) -> None:
        limits = {"edge_samples": (1, 16), "shadow_rays": (0, 16), "occlusion_rays": (0, 64)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}.", f"Choose a number from {low} to {high}.")


@runtime_checkable
class Generator(Protocol):
    """An engine: ``generate`` for each group of frames in order, ``unload`` at the end.

    Making one checks the options (``InputError``, ``ModelUnavailable``), cheaply, so that a mistake shows before a clip is
    looked at. ``load`` comes before the first frame of every segment: the first time it does the work, after that it only
    forgets what was carried over from frame to frame.
    """

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it needs and promises; known before ``load``."""
        ...

    def load(self, progress: LoadProgress | None = None) -> None:
        """Make ready to draw. Raises ``ModelUnavailable`` where something that is needed is missing."""
        ...

    def generate(self, request: GenerationRequest, progress: LoadProgress | None = None) -> GenerationResult:
        """Draw the frames of ``request``: same number, same size. Raises ``InputError`` where a needed field is empty.

        ``progress`` is called after every denoising step, or not at all by engines that draw in less than a second.
        """
        ...

    def unload(self) -> None:
        """Give back memory. ``load`` may follow again."""
        ...
