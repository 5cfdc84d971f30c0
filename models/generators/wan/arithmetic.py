"""How much the networks of Wan-Animate compute, for the estimate of a run's time."""

from __future__ import annotations

from models.generators.base import EngineOptions
from models.generators.wan_animate import CARRIED, FRAMES_PER_CALL, guidance_scale, step_count

#: 10^12 operations of one denoising step, counted with torch's FlopCounterMode at two sizes: for each token, and for each
#: pair of tokens (attention).
TOKEN_TFLOP, PAIR_TFLOP = 0.0264, 7.9e-7
#: The VAE, there and back, for each frame and megapixel. Decoding was counted; encoding is taken to be as much.
VAE_TFLOP = 11.0
#: Pixels of a token's side, and frames of the reference picture and of four frames of the shot, in latent frames.
TOKEN, LATENT_FRAMES = 16, 2 + (FRAMES_PER_CALL - 1) // 4
#: Shorter side of a person's crop by its longer side, typically.
CROP_ASPECT = 0.6


def frame_tflop(options: EngineOptions) -> float:
    """Arithmetic for a frame of the usual shape in a full call, 10^12 operations."""
    pixels = CROP_ASPECT * options.generation_size**2
    tokens = LATENT_FRAMES * pixels / TOKEN**2
    step = TOKEN_TFLOP * tokens + PAIR_TFLOP * tokens**2
    passes = step_count(options) * (2 if guidance_scale(options) > 1 else 1)
    return passes * step / (FRAMES_PER_CALL - CARRIED) + VAE_TFLOP * pixels / 1e6
