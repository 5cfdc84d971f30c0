from __future__ import annotations

import cv2
import numpy as np
import pytest

from utils.quality import QualityMeter, worst_jump


def clip(frames: int = 30) -> list[tuple[np.ndarray, np.ndarray]]:
    """A striped disc that crosses a textured scene: frames (180, 320, 3) and masks."""
    scene = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (180, 320, 3)).astype(np.uint8), (0, 0), 3)
    out = []
    for t in range(frames):
        mask = np.zeros((180, 320), np.uint8)
        cv2.circle(mask, (70 + 5 * t, 90), 40, 1, -1)
        frame = scene.copy()
        frame[mask > 0] = (180, 90, 60)
        frame[80:90][mask[80:90] > 0] = (90, 40, 160)
        out.append((frame, mask.astype(bool)))
    return out


def measure(paint: dict[str, float] | None = None) -> dict[str, float | None]:
    options = {"shift": 0, "dim": 0, "noise": 0, "jump": 0, "missing": 0} | (paint or {})
    random = np.random.default_rng(1)
    meter = QualityMeter(work_height=180, flow_every=2)
    for t, (source, mask) in enumerate(clip()):
        alpha = np.roll(mask, int(options["shift"]), axis=1).astype(np.float32)
        result = source.copy()
        result[mask] = (40, 160, 200)
        result[mask] = np.clip(result[mask] + random.normal(0, options["noise"], result[mask].shape), 0, 255)
        result[:30] = cv2.add(result[:30], np.full_like(result[:30], int(options["dim"])))
        if t >= 15:
            result = cv2.add(result, np.full_like(result, int(options["jump"])))
        drawn = None if t < options["missing"] else alpha
        meter.feed(source, result, mask, drawn)
    return meter.figures()


def test_a_clean_replacement_gets_clean_figures() -> None:
    figures = measure()
    assert figures["background_psnr_db"] == 99
    assert figures["background_changed"] == 0
    assert figures["replaced"] == 1
    assert figures["coverage"] == 1
    assert figures["iou"] == pytest.approx(1, abs=0.01)
    assert figures["seam"] == pytest.approx(0, abs=0.1)


def test_each_fault_shows_in_its_own_figure() -> None:
    assert (measure({"dim": 40})["background_psnr_db"] or 99) < 30
    assert (measure({"dim": 40})["background_changed"] or 0) > 0.1
    assert (measure({"shift": 30})["iou"] or 1) < 0.6
    assert measure({"missing": 15})["coverage"] == pytest.approx(0.5)
    assert (measure({"jump": 60})["seam"] or 0) > 1
    assert (measure({"noise": 25})["flicker"] or 0) > 2 * (measure()["flicker"] or 0)


def test_an_unchanged_person_is_not_replaced() -> None:
    meter = QualityMeter()
    for source, mask in clip(5):
        meter.feed(source, source, mask, mask.astype(np.float32))
    assert meter.figures()["replaced"] == 0


def test_nothing_measured_is_none_and_not_a_number() -> None:
    assert set(QualityMeter().figures().values()) == {None}


def test_series_hold_a_number_a_frame() -> None:
    meter = QualityMeter()
    for source, mask in clip(6):
        meter.feed(source, source, mask, None)
    series = meter.series()
    assert len(series["iou"]) == 6
    assert len(series["change_result"]) == 5


def test_worst_jump_sees_a_jump_and_ignores_steady_motion() -> None:
    assert worst_jump([3.0] * 20) == pytest.approx(1)
    assert worst_jump([3.0] * 10 + [12.0] + [3.0] * 10) == pytest.approx(4)
    assert worst_jump([1.0] * 3) == 0
