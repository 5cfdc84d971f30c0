"""What the controlnet engine is going to do, worked out from the options. No network is touched here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from models.generators.base import Capabilities, EngineOptions

#: Drawn where the user writes no prompt; with the avatar as the start, the picture itself says the rest.
DEFAULT_PROMPT = "photo of a person, full body, natural skin, detailed clothes, natural light, sharp focus"
DEFAULT_NEGATIVE_PROMPT = (
    "blurry, low quality, deformed, extra limbs, missing limbs, bad hands, bad anatomy, cartoon, painting, text"
)

#: Steps and guidance scale with full steps, with few steps, and with the motion network.
FULL_STEPS, FULL_GUIDANCE = 20, 6.5
FEW_STEPS, FEW_GUIDANCE = 6, 1.5
#: What the few-step weights are made for.
FEW_STEP_RANGE = (4, 8)
#: Frames that the motion network sees together, and how many of them were drawn in the call before.
WINDOW, WINDOW_OVERLAP = 16, 4
#: Frames in one call without the motion network.
FRAMES_PER_CALL = 8
#: Graphics memory with everything offloaded that can be, GB. Worked out from the sizes of the weights, not measured.
MINIMUM_VRAM_GB = 4.0
#: Space around the person, as a share of its larger side: the network draws no shadow, and every pixel costs.
CROP_MARGIN = 0.2
#: Longer side of the picture, pixels.
SIZE_RANGE = (64, 2048)

CONTROL_NAMES = ("pose", "depth", "canny")

#: 10^12 operations at 512x512, counted with torch's FlopCounterMode: convolutions and the like, which grow with the pixels;
#: attention, which grows with their square.
UNET_TFLOP, CONTROLNET_TFLOP, VAE_TFLOP = (0.68, 0.12), (0.235, 0.048), (3.4, 0.23)
#: What the motion network adds to the UNet, a share. Not counted: about that of its weights.
MOTION_SHARE = 0.4
#: Shorter side of a person's crop by its longer side, typically.
CROP_ASPECT = 0.6


@dataclass(frozen=True)
class Plan:
    """Everything about a run of the engine that does not change from frame to frame."""

    controls: tuple[str, ...]
    """Names of the ControlNets in use, at least one."""
    scales: tuple[float, ...]
    """Conditioning scale of each."""
    steps: int
    """Denoising steps of the whole schedule."""
    guidance: float
    """Classifier-free guidance scale; at 1 or below there is none."""
    strength: float
    """Share of the schedule that is run, above 0."""
    start_from: Literal["previous", "avatar", "source"]
    size: int
    """Longer side of the picture, pixels."""
    few_step: bool
    window: bool
    """Whether several frames are drawn together with a motion network."""
    reference: bool
    """Whether a picture of the person is given."""
    prompt: str
    negative_prompt: str

    @property
    def drawn_steps(self) -> int:
        """Denoising steps that are run: the strength's share of the schedule, as diffusers counts them."""
        return min(int(self.steps * self.strength), self.steps)

    @property
    def noise_sets(self) -> int:
        """Independent noises that a frame needs: the few-step scheduler adds a new one in every step."""
        return self.steps if self.few_step else 1

    @property
    def guided(self) -> bool:
        """Whether every step runs the networks twice, with and without the prompt."""
        return self.guidance > 1

    @property
    def frame_tflop(self) -> float:
        """Arithmetic of the networks for a frame of the usual shape, 10^12 operations."""
        pixels = CROP_ASPECT * (self.size / 512) ** 2

        def at_size(figures: tuple[float, float]) -> float:
            return figures[0] * pixels + figures[1] * pixels**2

        unet = at_size(UNET_TFLOP) * (1 + MOTION_SHARE if self.window else 1)
        # The frames that a window is shown again are drawn along.
        again = WINDOW / (WINDOW - WINDOW_OVERLAP) if self.window else 1
        step = (unet + len(self.controls) * at_size(CONTROLNET_TFLOP)) * (2 if self.guided else 1)
        return again * self.drawn_steps * step + at_size(VAE_TFLOP)

    @property
    def needs_avatar(self) -> bool:
        """Whether the avatar's picture is needed: as the start, or before there is a previous result."""
        return self.start_from != "source"

    @property
    def capabilities(self) -> Capabilities:
        """What the engine declares."""
        return Capabilities(
            controls=self.controls,
            needs_plate=True,
            needs_body=self.needs_avatar or "depth" in self.controls,
            size_multiple=8,
            leaves_cpu=True,
            crop_margin=CROP_MARGIN,
            frames_per_call=WINDOW - WINDOW_OVERLAP if self.window else FRAMES_PER_CALL,
            minimum_vram_gb=MINIMUM_VRAM_GB,
            weights=self.weights,
            draws_in="stable",
        )

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weight sets that must be on disk."""
        optional = (("lcm-lora", self.few_step), ("ip-adapter", self.reference), ("animatediff", self.window))
        return ("controlnet-sd15", *(name for name, used in optional if used))


def make_plan(options: EngineOptions) -> Plan:
    """The plan for some options.

    Raises
    ------
    InputError
        Options that contradict each other or are out of range.
    """
    weighed = [(name, getattr(options, f"{name}_weight")) for name in CONTROL_NAMES]
    used = [(name, float(weight)) for name, weight in weighed if weight > 0]
    if any(weight < 0 for _, weight in weighed):
        raise InputError(
            "A control's weight is below 0.", "Choose pose_weight, depth_weight and canny_weight from 0 to 2."
        )
    if not used:
        raise InputError(
            "All three control weights are 0, so nothing would tell the engine where the person is.",
            "Set pose_weight, depth_weight or canny_weight above 0.",
        )
    low, high = SIZE_RANGE
    if not low <= options.generation_size <= high:
        raise InputError(f"generation_size is {options.generation_size}.", f"Choose a number from {low} to {high}.")
    if options.motion_window and options.start_from == "previous":
        raise InputError(
            "start_from previous and motion_window exclude each other: a window's frames are drawn together.",
            "Choose start_from avatar or source, or turn motion_window off.",
        )
    plan = Plan(
        controls=tuple(name for name, _ in used),
        scales=tuple(weight for _, weight in used),
        steps=_steps(options),
        guidance=_guidance(options),
        strength=options.denoising_strength,
        start_from=options.start_from,
        size=options.generation_size,
        few_step=options.few_step,
        window=options.motion_window,
        reference=options.reference is not None,
        prompt=options.prompt.strip() or DEFAULT_PROMPT,
        negative_prompt=options.negative_prompt.strip() or DEFAULT_NEGATIVE_PROMPT,
    )
    if not 0 < plan.strength <= 1 or plan.drawn_steps < 1:
        raise InputError(
            f"denoising_strength {plan.strength:g} of {plan.steps} steps leaves no step to draw with.",
            f"Choose a strength from {1 / plan.steps:.2g} to 1, or more steps.",
        )
    return plan


def _steps(options: EngineOptions) -> int:
    if options.steps < 0:
        raise InputError(
            f"steps is {options.steps}.", "Choose 0 for what the engine is made for, or a positive number."
        )
    if not options.few_step:
        return options.steps or FULL_STEPS
    low, high = FEW_STEP_RANGE
    if options.steps and not low <= options.steps <= high:
        raise InputError(
            f"steps is {options.steps}, but the few-step weights are made for {low} to {high}.",
            f"Choose steps from {low} to {high}, or turn few_step off.",
        )
    return options.steps or FEW_STEPS


def _guidance(options: EngineOptions) -> float:
    if options.guidance is not None:
        return options.guidance
    return FEW_GUIDANCE if options.few_step else FULL_GUIDANCE
