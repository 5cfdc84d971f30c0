"""Small pictures of a clip, kept so that any frame can be compared with the ground as it is without the person.

The plate shows the ground under the person only. A shadow lies beside the person, where the frame itself stays; what the
ground looks like without it is asked of frames in which the person stands somewhere else.
"""

from __future__ import annotations

from collections import OrderedDict

import cv2
import numpy as np

from core.types import CameraPath
from utils import transforms
from utils.aligned_median import stack_statistics
from utils.transforms import compose, invert, translation

#: Height of the person in the small pictures, pixels.
PERSON_PX = 150.0
#: Pictures that one reference is the median of, and decoded pictures that are kept.
_PICTURES, _DECODED = 11, 24
#: How much a second of distance counts against a picture, in heights that the person has moved away; and the moves
#: beyond which more is no better.
_SECOND, _FAR = 0.12, 1.2
#: Frames that share one ground, and the room around it for the others, parts of the person's height.
_SHARED, _ROOM = 8, 0.25
#: A pixel that fewer pictures show is not known.
_LEAST = 3
#: Pixels that exposures are compared on, about and at least.
_EXPOSURE_PIXELS, _LEAST_EXPOSURE_PIXELS = 400, 40

Box = tuple[int, int, int, int]


class SceneSamples:
    """Pictures of the scene in *work pixels*: source pixels reduced so that the person is about 150 pixels tall.

    Memory: about 20 kB a picture (JPEG), and 24 decoded ones.

    Parameters
    ----------
    camera:
        Motion of the camera over the whole clip.
    size:
        Width and height of the frames, pixels.
    height_px:
        Height of the person, pixels.
    feet:
        (T, 2) where the person stands in each frame, source pixels; NaN where there is nobody.
    rate:
        Frames a second.
    """

    def __init__(
        self, camera: CameraPath, size: tuple[int, int], height_px: float, feet: np.ndarray, rate: float
    ) -> None:
        self.scale = min(1.0, PERSON_PX / max(height_px, 1.0))
        self.size = (max(2, round(size[0] * self.scale)), max(2, round(size[1] * self.scale)))
        self.H_work_source = transforms.scaling(self.size[0] / size[0], self.size[1] / size[1])
        self._H_frame_first = transforms.chain(camera.H_next_source)
        self._feet, self._height, self._rate = feet, max(height_px, 1.0), rate
        self._pictures: dict[int, tuple[bytes, bytes]] = {}
        self._ground: tuple[Box, int, np.ndarray, np.ndarray] | None = None
        self._decoded: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def reduced(self, image: np.ndarray) -> np.ndarray:
        """A full picture or mask in work pixels."""
        return cv2.resize(image, self.size, interpolation=cv2.INTER_AREA) if self.scale < 1 else image

    def add(self, t: int, rgb: np.ndarray, hole: np.ndarray) -> None:
        """Keep frame ``t``: (H, W, 3) uint8, and (H, W) bool where it shows the person."""
        _, picture = cv2.imencode(".jpg", self.reduced(rgb), [cv2.IMWRITE_JPEG_QUALITY, 95])
        _, mask = cv2.imencode(".png", (self.reduced(hole.view(np.uint8) * np.uint8(255)) > 0).view(np.uint8))
        self._pictures[t] = picture.tobytes(), mask.tobytes()

    def hide(self, t: int, box: Box, mask: np.ndarray) -> None:
        """Hide more of frame ``t``: (h, w) bool in a box, where it does not show the scene as it is without the person."""
        picture, hole = self._read(t)
        x0, y0, x1, y1 = box
        hole = hole.copy()
        hole[y0:y1, x0:x1] |= mask.astype(np.uint8)
        _, packed = cv2.imencode(".png", hole)
        self._pictures[t] = self._pictures[t][0], packed.tobytes()
        self._decoded[t] = picture, hole
        self._ground = None

    def picture(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """A frame that was added: (h, w, 3) uint8, and (h, w) uint8 where it shows the person, 0 or 1."""
        return self._read(t)

    def between(self, source: int, target: int) -> np.ndarray:
        """(3, 3) work pixels of frame ``source`` -> work pixels of frame ``target``."""
        H_target_source = compose(self._H_frame_first[target], invert(self._H_frame_first[source]))
        return compose(self.H_work_source, H_target_source, invert(self.H_work_source))

    def ground(self, t: int, box: Box, shown: np.ndarray, differs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What frame ``t`` would show without the person and its shadow, from frames in which both are elsewhere.

        Parameters
        ----------
        box:
            x0, y0, x1, y1 in work pixels, inside the frame.
        shown:
            (h, w, 3) uint8, the frame itself in the box: the exposure is matched to it.
        differs:
            (h, w) bool, the person, and its shadow where that is known: there nothing is compared.

        Returns
        -------
        (h, w, 3) uint8 and (h, w) bool where it is known.
        """
        # Neighbouring frames share the ground of the one in their middle.
        middle = min(t // _SHARED * _SHARED + _SHARED // 2, len(self._H_frame_first) - 1)
        H_here_middle = self.between(middle, t)
        needed = _bounds(box, invert(H_here_middle), self.size)
        known_box = self._ground[0] if self._ground is not None and self._ground[1] == middle else None
        if known_box is None or not _inside(needed, known_box):
            self._make_ground(middle, needed)
        assert self._ground is not None
        (left, top, _, _), _, picture, known = self._ground
        x0, y0, x1, y1 = box
        H = compose(translation(-x0, -y0), H_here_middle, translation(left, top))
        size = (x1 - x0, y1 - y0)
        free = transforms.warp(known, H, size, cv2.INTER_NEAREST) > 0
        return _matched(transforms.warp(picture, H, size), shown, free & ~differs), free

    def _make_ground(self, t: int, box: Box) -> None:
        """Put together the ground around a box of frame ``t``, with some room for its neighbours."""
        room = int(_ROOM * PERSON_PX)
        x0, y0 = max(box[0] - room, 0), max(box[1] - room, 0)
        x1, y1 = min(box[2] + room, self.size[0]), min(box[3] + room, self.size[1])
        size = (x1 - x0, y1 - y0)
        chosen = self._chosen(t)
        nearest = min(self._pictures, key=lambda s: abs(s - t))
        patches, frees = [], []
        for s in dict.fromkeys([nearest, *chosen]):
            picture, mask = self._read(s)
            H = translation(-x0, -y0) @ self.between(s, t)
            patches.append(transforms.warp(picture, H, size))
            frees.append(transforms.warp(1 - mask, H, size, cv2.INTER_NEAREST) > 0)
        # All with the exposure of the nearest, which need not be one of them.
        reference, free = patches[0], frees[0]
        used = [i for i, s in enumerate(dict.fromkeys([nearest, *chosen])) if s in chosen]
        matched = np.stack([_matched(patches[i], reference, frees[i] & free) for i in used])
        found = stack_statistics(
            matched.reshape(len(used), -1, 3), np.stack([frees[i] for i in used]).reshape(len(used), -1)
        )
        picture = np.rint(found.median).astype(np.uint8).reshape(size[1], size[0], 3)
        known = (found.count >= _LEAST).astype(np.uint8).reshape(size[1], size[0])
        self._ground = ((x0, y0, x1, y1), t, picture, known)

    def _chosen(self, t: int) -> list[int]:
        """The pictures in which the person stands farthest from where it stands in frame ``t``, near ones first."""
        times = np.array(sorted(self._pictures))
        moved = np.full(len(times), _FAR)
        if np.isfinite(self._feet[t]).all():
            for i, s in enumerate(times):
                if np.isfinite(self._feet[s]).all():
                    H = compose(self._H_frame_first[t], invert(self._H_frame_first[s]))
                    step = transforms.apply(H, self._feet[s][None])[0] - self._feet[t]
                    moved[i] = min(float(np.hypot(*step)) / self._height, _FAR)
        score = moved - _SECOND * np.abs(times - t) / self._rate
        return times[np.argsort(-score, kind="stable")[:_PICTURES]].tolist()

    def _read(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        if t not in self._decoded:
            picture, mask = self._pictures[t]
            decoded = (
                cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR),
                cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_GRAYSCALE),
            )
            self._decoded[t] = decoded
            while len(self._decoded) > _DECODED:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(t)
        return self._decoded[t]


def _bounds(box: Box, H: np.ndarray, size: tuple[int, int]) -> Box:
    """Whole pixels around a box after a transform, inside a picture of ``size``; never empty."""
    x0, y0, x1, y1 = box
    corners = transforms.apply(H, np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], np.float64))
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    left, top = (int(np.clip(low[i], 0, size[i] - 1)) for i in (0, 1))
    return left, top, int(np.clip(high[0], left + 1, size[0])), int(np.clip(high[1], top + 1, size[1]))


def _inside(inner: Box, outer: Box) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def _matched(patch: np.ndarray, shown: np.ndarray, both: np.ndarray) -> np.ndarray:
    """The patch with the exposure of the frame, from the median ratio where both show the scene."""
    step = max(1, int(np.count_nonzero(both)) // _EXPOSURE_PIXELS)
    here, there = shown[both][::step].astype(np.float32), patch[both][::step].astype(np.float32)
    usable = (
        (there.min(axis=1, initial=255) > 12) & (there.max(axis=1, initial=0) < 240)
        if len(there)
        else np.zeros(0, bool)
    )
    if np.count_nonzero(usable) < 40:
        return patch
    # One factor on the levels: exposures that differ by a few per cent are meant, not another light.
    gain = float(np.median(here[usable] / there[usable]))
    return patch if abs(gain - 1) < 0.004 else cv2.convertScaleAbs(patch, alpha=float(np.clip(gain, 0.8, 1.25)))
