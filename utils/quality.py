"""Quality figures of a run, measured while it runs, for ``run.json`` and the report.

They are taken before encoding, on a reduced picture, and tell at a glance whether a run went well: was the scene left
alone, is the old person gone, does the new one fill its place, is it steady. Comparing the two video files with an
independent pose estimator is another, slower matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from core.types import CameraPath, FootContacts
from utils import transforms

#: Differences in levels (0..255): what counts as changed outside the person, and as replaced inside.
_CHANGED, _REPLACED = 24, 16
#: Frames in which the flow cannot explain the source within this many levels do not count for flicker.
_FLOW_TRUST = 20
#: Best background PSNR that is reported, dB: nothing changed at all.
_PSNR_CEILING = 99.0


@dataclass
class _Series:
    """What is kept of each frame: a handful of numbers."""

    background_mse: list[float] = field(default_factory=list)
    background_changed: list[float] = field(default_factory=list)
    replaced: list[float] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    warp_source: list[float] = field(default_factory=list)
    warp_result: list[float] = field(default_factory=list)
    change_source: list[float] = field(default_factory=list)
    change_result: list[float] = field(default_factory=list)


class QualityMeter:
    """Takes the frames in order and keeps only numbers.

    Parameters
    ----------
    work_height:
        Frames are measured at this height in pixels (never enlarged).
    flow_every:
        Flicker needs optical flow; it is measured on every ``flow_every``-th frame.
    """

    def __init__(self, work_height: int = 272, flow_every: int = 5) -> None:
        self._height = work_height
        self._every = flow_every
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._series = _Series()
        self._previous: tuple[np.ndarray, np.ndarray] | None = None
        self._index = 0

    def feed(self, source: np.ndarray, result: np.ndarray, mask: np.ndarray, alpha: np.ndarray | None) -> None:
        """Measure one frame.

        Parameters
        ----------
        source, result:
            (H, W, 3) uint8.
        mask:
            (H, W) bool, the old person; all false where there is none.
        alpha:
            (H, W) float32, the new person as drawn; ``None`` where nothing was drawn.
        """
        size = self._size(source.shape[1], source.shape[0])
        old = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        new = cv2.resize(result, size, interpolation=cv2.INTER_AREA)
        person = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        drawn = np.zeros_like(person)
        if alpha is not None:
            drawn = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) > 0.5
        difference = cv2.absdiff(old, new)
        core = cv2.erode(person.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
        self._outside(difference, person | drawn)
        self._inside(difference, person, core, drawn)
        self._over_time(old, new, core)
        self._previous = (old, new)
        self._index += 1

    def _size(self, width: int, height: int) -> tuple[int, int]:
        scale = min(1.0, self._height / height)
        return max(2, round(width * scale)), max(2, round(height * scale))

    def _outside(self, difference: np.ndarray, person: np.ndarray) -> None:
        reach = max(3, self._height // 16) | 1
        outside = 1 - cv2.dilate(person.view(np.uint8), np.ones((reach, reach), np.uint8))
        if outside.any():
            area = 3.0 * cv2.countNonZero(outside)
            changed = (_strongest(difference) > _CHANGED).view(np.uint8) & outside
            self._series.background_mse.append(cv2.norm(difference, cv2.NORM_L2SQR, outside) / area)
            self._series.background_changed.append(3.0 * cv2.countNonZero(changed) / area)

    def _inside(self, difference: np.ndarray, person: np.ndarray, core: np.ndarray, drawn: np.ndarray) -> None:
        area = int(person.sum())
        if not area:
            return
        self._series.covered.append(bool(drawn.sum() > 0.25 * area))
        self._series.iou.append(float((person & drawn).sum() / (person | drawn).sum()))
        if core.any():
            self._series.replaced.append(float((_strongest(difference)[core] > _REPLACED).mean()))

    def _over_time(self, old: np.ndarray, new: np.ndarray, core: np.ndarray) -> None:
        if self._previous is None:
            return
        old_before, new_before = self._previous
        self._series.change_source.append(cv2.norm(old, old_before, cv2.NORM_L1) / old.size)
        self._series.change_result.append(cv2.norm(new, new_before, cv2.NORM_L1) / new.size)
        if self._index % self._every or not core.any():
            return
        grey, grey_before = cv2.cvtColor(old, cv2.COLOR_RGB2GRAY), cv2.cvtColor(old_before, cv2.COLOR_RGB2GRAY)
        flow = self._flow.calc(grey, grey_before, None)
        columns, rows = np.meshgrid(np.arange(old.shape[1]), np.arange(old.shape[0]))
        x, y = (columns + flow[..., 0]).astype(np.float32), (rows + flow[..., 1]).astype(np.float32)
        error_old = cv2.absdiff(old, cv2.remap(old_before, x, y, cv2.INTER_LINEAR))
        error_new = cv2.absdiff(new, cv2.remap(new_before, x, y, cv2.INTER_LINEAR))
        valid = core & (_strongest(error_old) < _FLOW_TRUST)
        if valid.sum() > 25:
            self._series.warp_source.append(float(error_old[valid].mean()))
            self._series.warp_result.append(float(error_new[valid].mean()))

    def figures(self) -> dict[str, float | None]:
        """What was measured so far; ``None`` for what could not be.

        ``background_psnr_db`` and ``background_changed`` (share of pixels off by more than 24 levels) outside the
        persons; ``replaced``: share of the old person's inner pixels that changed visibly; ``coverage``: share of
        frames with an old person that have a new one; ``iou``: median overlap of new and old outline; ``flicker``:
        change against the motion of the source, 1 = as steady as the footage; ``seam``: largest jump between frames
        over its surroundings, less the source's own.
        """
        data = self._series
        mse = _mean(data.background_mse)
        flicker = None
        if data.warp_result:
            flicker = float(np.mean(data.warp_result) / max(float(np.mean(data.warp_source)), 1e-6))
        figures = {
            "background_psnr_db": None if mse is None else min(_PSNR_CEILING, 10 * np.log10(255**2 / max(mse, 1e-9))),
            "background_changed": _mean(data.background_changed),
            "replaced": _mean(data.replaced),
            "coverage": _mean(data.covered),
            "iou": float(np.median(data.iou)) if data.iou else None,
            "flicker": flicker,
            "seam": worst_jump(data.change_result) - worst_jump(data.change_source) if data.change_result else None,
        }
        return {name: None if value is None else round(float(value), 4) for name, value in figures.items()}

    def series(self) -> dict[str, list[float]]:
        """Frame by frame, for plots: ``iou`` and ``replaced`` (with a person), ``change_source``, ``change_result``."""
        data = self._series
        named = {
            "iou": data.iou,
            "replaced": data.replaced,
            "change_source": data.change_source,
            "change_result": data.change_result,
        }
        return {name: [round(value, 4) for value in values] for name, values in named.items()}


def _strongest(difference: np.ndarray) -> np.ndarray:
    """(H, W) the largest of three channels."""
    first, second, third = cv2.split(difference)
    return cv2.max(cv2.max(first, second), third)


def _mean(values: list[float] | list[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def worst_jump(changes: list[float], reach: int = 4) -> float:
    """Largest change between frames over the median of its surroundings (``reach`` each way); 0 for too few frames."""
    values = np.asarray(changes, np.float64)
    if len(values) < 2 * reach + 1:
        return 0.0
    local = np.array([np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))])
    return float((values / np.maximum(local, 0.25)).max())


def foot_slide(ankles: np.ndarray, contacts: FootContacts, camera: CameraPath, frame_height: int) -> float | None:
    """How far standing feet slide over the ground.

    Parameters
    ----------
    ankles:
        (T, 2, 2) float, left and right ankle of the drawn body, x and y in source pixels; NaN where it is absent.
    contacts:
        When the feet stand.
    camera:
        Motion of the camera, which is taken out.
    frame_height:
        Height of the frame in pixels.

    Returns
    -------
    Mean displacement against the scene in px/frame at 720p, over frames in which a foot stands before and after;
    ``None`` where no foot ever does.
    """
    slides = []
    for t in range(len(ankles) - 1):
        standing = contacts.contact[t] & contacts.contact[t + 1]
        step = np.linalg.norm(ankles[t + 1] - transforms.apply(camera.H_next_source[t], ankles[t]), axis=1)
        slides.extend(step[standing & np.isfinite(step)].tolist())
    return round(float(np.mean(slides)) * 720 / frame_height, 4) if slides else None
