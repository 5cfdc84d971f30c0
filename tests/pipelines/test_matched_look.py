"""The new person matches the shot that it is put into: as sharp, and of the same colour cast."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.surveyed import SurveyedClip
from utils.photometry import linear_from_srgb, srgb_from_linear
from utils.video_io import VideoReader
from utils.video_probe import probe
from utils.video_writer import VideoWriter

FRAMES, SHOWN = 40, 20
#: Warm evening light: factors on linear red, green, blue.
WARM = np.array([1.0, 0.8, 0.55], np.float32)


def soft(rgb: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(rgb, (0, 0), 2.5)


def warm(rgb: np.ndarray) -> np.ndarray:
    return srgb_from_linear(linear_from_srgb(rgb) * WARM)


def as_it_is(rgb: np.ndarray) -> np.ndarray:
    return rgb


def drawn_figure(demo: Path, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A frame of the bundled clip, changed, with the mannequin in it: (H, W, 3) uint8, and (H, W) bool what is new."""
    info = probe(demo)
    clip = folder / f"{change.__name__}.mp4"
    with VideoReader(info) as reader, VideoWriter(clip, info.size, info.rate, crf=6) as writer:
        for rgb in itertools.islice(reader.frames(), FRAMES):
            writer.write(change(rgb))
    ((source, drawn),) = SurveyedClip(clip, folder / f"{change.__name__}-survey", "fast").frames("mannequin", [SHOWN])
    return drawn, np.abs(drawn.astype(np.int16) - source).max(axis=2) > 30


def outline_sharpness(rgb: np.ndarray, new: np.ndarray) -> float:
    """Steepest differences from pixel to pixel on and around what is new: levels."""
    near = cv2.dilate(new.astype(np.uint8), np.ones((5, 5))) > 0
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    steps = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 4, cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 4)
    return float(np.percentile(steps[near], 97))


@pytest.fixture(scope="module")
def plain(demo_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    return drawn_figure(demo_clip, tmp_path_factory.mktemp("plain"), as_it_is)


def test_soft_footage_gets_a_soft_person(plain: tuple[np.ndarray, np.ndarray], demo_clip: Path, tmp_path: Path) -> None:
    blurred = drawn_figure(demo_clip, tmp_path, soft)
    crisp = outline_sharpness(*plain)
    # What the sharp figure would look like through the same lens.
    expected = outline_sharpness(soft(plain[0]), plain[1])
    assert expected < 0.6 * crisp
    assert outline_sharpness(*blurred) == pytest.approx(expected, rel=0.3)


def test_warm_footage_gets_a_warm_person(plain: tuple[np.ndarray, np.ndarray], demo_clip: Path, tmp_path: Path) -> None:
    tinted = drawn_figure(demo_clip, tmp_path, warm)

    def red_over_blue(rgb: np.ndarray, new: np.ndarray) -> float:
        mean = linear_from_srgb(rgb)[cv2.erode(new.astype(np.uint8), np.ones((5, 5))) > 0].mean(axis=0)
        return float(mean[0] / mean[2])

    # The mannequin is grey: its cast is the light's.
    gain = red_over_blue(*tinted) / red_over_blue(*plain)
    assert gain == pytest.approx(WARM[0] / WARM[2], rel=0.3)
