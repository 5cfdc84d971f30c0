"""What the survey's stages typically take: seconds on two x86-64 cores, fitted to runs of :mod:`pipelines.replace`."""

from __future__ import annotations

#: Seconds to look for people at the start; for each frame; for each frame and megapixel: by ``detector_complexity``.
DETECT = ((1.3, 0.020, 0.016), (2.6, 0.036, 0.003), (3.8, 0.046, 0.002))
#: Seconds for each frame to read a face, and two hands, and to decode a megapixel of it once more.
FACE_S, HANDS_S, READ_S_MEGAPIXEL = 0.006, 0.018, 0.003
#: Seconds for the fit: once, and for each frame.
FIT = {"quick": (0.08, 0.0071), "thorough": (0.09, 0.0086), "best": (0.30, 0.0145)}


def probe_seconds(frames: int, size: tuple[int, int]) -> float:
    """Reading the clip's packets and its digest. ``size`` is (width, height) in pixels."""
    return 0.1 + frames * 0.0014 * _megapixels(size)


def detect_seconds(frames: int, size: tuple[int, int], complexity: int) -> float:
    """Following the person and the camera."""
    start, frame, megapixel = DETECT[complexity]
    return start + frames * (frame + megapixel * _megapixels(size))


def details_seconds(frames: int, size: tuple[int, int], person_share: float, face: bool, hands: bool) -> float:
    """Reading face and hands again. ``person_share`` is the share of the picture that the person's box covers."""
    # A standing person's box is three times as high as wide, its face an eighth and a hand a tenth of that height.
    height = (3.0 * person_share * size[0] * size[1]) ** 0.5
    networks = FACE_S * (face and height / 8 > 40) + HANDS_S * (hands and height / 10 > 30)
    return 0.05 + (0.1 + frames * (networks + READ_S_MEGAPIXEL * _megapixels(size)) if networks else 0.0)


def fit_seconds(frames: int, quality: str) -> float:
    """Fitting the body."""
    start, frame = FIT[quality]
    return start + frames * frame


def look_seconds(frames: int, size: tuple[int, int]) -> float:
    """Measuring light, grain and blur."""
    return 0.3 + 0.28 * _megapixels(size) + frames * (0.0005 + 0.0022 * _megapixels(size))


def _megapixels(size: tuple[int, int]) -> float:
    return size[0] * size[1] / 1e6
