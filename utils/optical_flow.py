"""Dense optical flow, how far it can be trusted, and results held steady along it.

A flow is (H, W, 2) float32 in pixels: the point at ``(x, y)`` of the first picture is at ``(x, y) + flow[y, x]`` in the
second. The method is DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) as in OpenCV.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from utils import transforms

Quality = Literal["fast", "balanced", "high"]

_DIS_PRESET = {
    "fast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "balanced": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "high": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
#: Below this side length DIS has too few pyramid levels to work.
_MIN_SIDE = 16
#: A change of the layer of this many levels (0..255) between frames is taken for drawing, not for flicker.
_FLICKER_LEVELS = 28.0
#: A change of the footage along the flow of this many levels means that the flow is wrong there.
_FOOTAGE_LEVELS = 24.0


def flow(a_rgb: np.ndarray, b_rgb: np.ndarray, quality: Quality = "balanced") -> np.ndarray:
    """Motion from picture ``a`` to picture ``b``.

    Parameters
    ----------
    a_rgb, b_rgb:
        (H, W, 3) uint8 RGB, or (H, W) uint8 grey, of the same size.
    quality:
        Preset of the DIS method; "fast" takes about a third of the time of "balanced".

    Returns
    -------
    (H, W, 2) float32, pixels.
    """
    if a_rgb.shape != b_rgb.shape:
        raise ValueError(f"pictures differ in size: {a_rgb.shape} and {b_rgb.shape}")
    a, b = _grey(a_rgb), _grey(b_rgb)
    height, width = a.shape
    pad_y, pad_x = max(_MIN_SIDE - height, 0), max(_MIN_SIDE - width, 0)
    if pad_y or pad_x:
        a, b = (cv2.copyMakeBorder(grey, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE) for grey in (a, b))
    found = cv2.DISOpticalFlow.create(_DIS_PRESET[quality]).calc(a, b, None)
    return found[:height, :width]


def warp(
    image: np.ndarray,
    flow_target_image: np.ndarray,
    interpolation: int = cv2.INTER_LINEAR,
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Fetch a picture along a flow: result(p) = image(p + flow(p)).

    Parameters
    ----------
    image:
        (H, W) or (H, W, C), uint8 or float32.
    flow_target_image:
        (H, W, 2) float32, flow from the wanted picture to ``image``. Points outside the picture take its edge.
    origin:
        x, y of the flow's first pixel in ``image``, where only a part of the picture is wanted.
    """
    grid_x, grid_y = _grid(flow_target_image.shape[1], flow_target_image.shape[0])
    map_x = grid_x + (flow_target_image[..., 0] + np.float32(origin[0]))
    map_y = grid_y + (flow_target_image[..., 1] + np.float32(origin[1]))
    return cv2.remap(image, map_x, map_y, interpolation, borderMode=cv2.BORDER_REPLICATE)


def consistency(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """How well going there and back ends where it began.

    The tolerance grows with the motion, as in Sundaram, Brox and Keutzer (ECCV 2010).

    Parameters
    ----------
    forward, backward:
        (H, W, 2) float32: flow from picture a to b, and from b to a.

    Returns
    -------
    (H, W) float32, 0..1: trust in ``forward`` at each pixel of a; 0 where it leaves the picture.
    """
    height, width = forward.shape[:2]
    returned = warp(backward, forward)
    error = np.sum(np.square(forward + returned), axis=-1)
    tolerance = 0.01 * (np.sum(np.square(forward), axis=-1) + np.sum(np.square(returned), axis=-1)) + 0.5
    trust = np.exp(-error / tolerance)
    grid_x, grid_y = _grid(width, height)
    x, y = grid_x + forward[..., 0], grid_y + forward[..., 1]
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return np.where(inside, trust, 0.0).astype(np.float32)


def steady(
    layer_rgb: np.ndarray,
    layer_alpha: np.ndarray,
    previous_rgb: np.ndarray,
    previous_alpha: np.ndarray,
    flow_this_previous: np.ndarray,
    trust: np.ndarray,
    strength: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mix the previous result, carried along the flow, into this one.

    The previous result counts only where the flow is trusted, and only where it looks like this one up to flicker:
    a hand that moves in front of the body is new, not noise.

    Parameters
    ----------
    layer_rgb, previous_rgb:
        (H, W, 3) uint8, not multiplied by alpha, in the same crop pixels.
    layer_alpha, previous_alpha:
        (H, W) float32, 0..1.
    flow_this_previous:
        (H, W, 2) float32, from this frame to the previous one.
    trust:
        (H, W) float32, 0..1, from :func:`consistency`.
    strength:
        0..1, share of the previous result where all agrees.

    Returns
    -------
    rgb (H, W, 3) uint8 and alpha (H, W) float32.
    """
    x0, y0, width, height = cv2.boundingRect(((layer_alpha > 0) | (previous_alpha > 0)).view(np.uint8))
    rgb, alpha = layer_rgb.copy(), layer_alpha.astype(np.float32)
    if width and height:
        # Elsewhere both layers are empty, and stay as they are.
        box = np.s_[y0 : y0 + height, x0 : x0 + width]
        carried = warp(_premultiplied(previous_rgb, previous_alpha), flow_this_previous[box], origin=(x0, y0))
        rgb[box], alpha[box] = _mixed(layer_rgb[box], layer_alpha[box], carried, strength * trust[box])
    return rgb, alpha


def _premultiplied(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 4) float32: colour times alpha, and alpha."""
    flat = alpha.astype(np.float32)
    red, green, blue = cv2.split(rgb.astype(np.float32))
    return cv2.merge([red * flat, green * flat, blue * flat, flat])


def _mixed(rgb: np.ndarray, alpha: np.ndarray, carried: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A layer with up to ``most`` (h, w) of the carried one, (h, w, 4) float32 premultiplied, where both look alike."""
    this = _premultiplied(rgb, alpha)
    difference = carried - this
    change = np.abs(difference)
    change[..., 3] *= 255.0
    largest = cv2.max(cv2.max(change[..., 0], change[..., 1]), cv2.max(change[..., 2], change[..., 3]))
    weight = most * np.exp(-np.square(largest / _FLICKER_LEVELS))
    mixed = this + weight[..., None] * difference
    new_alpha = np.clip(mixed[..., 3], 0.0, 1.0)
    straight = mixed[..., :3] / np.maximum(new_alpha, 1e-3)[..., None]
    # Where nothing was mixed in, the layer's own colour stays exactly (also under an alpha of 0, for later filters).
    changed = (weight * new_alpha)[..., None] > 1e-4
    return np.where(changed, np.clip(straight + 0.5, 0, 255), rgb).astype(np.uint8), new_alpha


class TemporalSteadier:
    """Holds a drawn layer steady through time. One instance a segment; :meth:`reset` at every segment start.

    The motion is taken from the source footage, because the new person moves as the source person does and the
    footage, unlike a generated layer, does not flicker.

    Parameters
    ----------
    strength:
        0..1, share of the previous result where it is trusted fully; 0 changes nothing at all.
    quality:
        Preset of the optical flow.
    """

    def __init__(self, strength: float, quality: Quality = "fast") -> None:
        if not 0.0 <= strength <= 1.0:
            raise ValueError(f"strength {strength} must be in 0..1")
        self._strength = strength
        self._quality: Quality = quality
        self._source: np.ndarray | None = None
        self._rgb: np.ndarray | None = None
        self._alpha: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the past: the next frame comes out as it goes in."""
        self._source = self._rgb = self._alpha = None

    def update(
        self,
        source_rgb_crop: np.ndarray,
        layer_rgb: np.ndarray,
        layer_alpha: np.ndarray,
        H_this_previous: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steady the next frame.

        Parameters
        ----------
        source_rgb_crop:
            (H, W, 3) uint8, the footage in crop pixels.
        layer_rgb, layer_alpha:
            (H, W, 3) uint8 and (H, W) float32, the drawn layer in the same crop pixels.
        H_this_previous:
            (3, 3), crop pixels of the previous call -> crop pixels of this call.

        Returns
        -------
        rgb (H, W, 3) uint8 and alpha (H, W) float32.
        """
        if self._strength == 0.0:
            return layer_rgb, layer_alpha
        grey = _grey(source_rgb_crop)
        rgb, alpha = layer_rgb, layer_alpha
        if self._source is not None and self._rgb is not None and self._alpha is not None:
            size = (grey.shape[1], grey.shape[0])
            previous = transforms.warp(self._source, H_this_previous, size, border=cv2.BORDER_REPLICATE)
            flow_this_previous = flow(grey, previous, self._quality)
            trust = consistency(flow_this_previous, flow(previous, grey, self._quality))
            # Two flows can agree on a wrong answer; the footage itself must look the same along them.
            change = cv2.absdiff(grey, warp(previous, flow_this_previous)).astype(np.float32)
            trust *= np.exp(-np.square(change / _FOOTAGE_LEVELS))
            rgb, alpha = steady(
                layer_rgb,
                layer_alpha,
                transforms.warp(self._rgb, H_this_previous, size, border=cv2.BORDER_REPLICATE),
                transforms.warp(self._alpha, H_this_previous, size),
                flow_this_previous,
                trust,
                self._strength,
            )
        self._source, self._rgb, self._alpha = grey, rgb, alpha
        return rgb, alpha


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


@lru_cache(maxsize=8)
def _grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel: x and y, each (H, W) float32."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x.flags.writeable = y.flags.writeable = False
    return x, y
