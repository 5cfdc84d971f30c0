"""What a landmark network adds to the truth: measured on scenes that are known, and made anew from the measurements."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.truth.detections import world_as_seen
from benchmarks.truth.scenes import Truth
from benchmarks.truth.scores import body_axes
from core.types import LANDMARK_NAMES, PoseTrack


@dataclass(frozen=True)
class LandmarkNoise:
    """Per landmark, in per cent of the person's height: a constant shift in the axes of the body (left, back, up), and a
    first-order autoregressive process on top."""

    image_bias: np.ndarray
    """(33, 3) of the landmarks in the picture, found from where they project to."""
    image_sigma: np.ndarray
    """(33, 2) standard deviations, x and y."""
    image_memory: np.ndarray
    """(33, 2) autocorrelation from a frame to the next."""
    world_bias: np.ndarray
    """(33, 3) of the world landmarks."""
    world_sigma: np.ndarray
    """(33, 3), in the axes of a camera that looks straight at the person."""
    world_memory: np.ndarray
    """(33, 3)."""

    def as_dict(self) -> dict[str, dict[str, list[float]]]:
        """For JSON, by landmark."""
        table = asdict(self)
        return {
            landmark: {name: np.round(values[k], 3).tolist() for name, values in table.items()}
            for k, landmark in enumerate(LANDMARK_NAMES)
        }


def _axes_as_seen(truth: Truth) -> np.ndarray:
    """(T, 3, 3): axes of the body in those of a camera that looks straight at it."""
    return body_axes(world_as_seen(truth))


def _flat_metres(pixels: np.ndarray, truth: Truth) -> np.ndarray:
    """(T, 33, 2): shifts in the picture, as metres at the person's distance."""
    depth = truth.landmarks[..., 2:].mean(1, keepdims=True)
    return pixels * depth / truth.intrinsics[0, 0]


def _memory(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products with the frame before and squares, summed over time: (33, D) each."""
    return (values[1:] * values[:-1]).sum(0), (values**2).sum(0)


def measure(scenes: list[tuple[Truth, PoseTrack]]) -> LandmarkNoise:
    """The noise of the cleaned landmarks, over all scenes together; only frames and landmarks that are trusted count."""
    image, world = _Sum(2), _Sum(3)
    for truth, pose in scenes:
        unit = 100.0 / truth.rest.height
        axes, trust = _axes_as_seen(truth), (pose.weight > 0).astype(float)
        flat = unit * _flat_metres(pose.landmarks[..., :2] - truth.pixels, truth)
        image.add(flat, axes[:, :2], trust)
        seen, true = np.nan_to_num(pose.world.astype(np.float64)), world_as_seen(truth)
        own = trust[..., None]
        scale = (own * seen * true).sum() / (own * seen * seen).sum()
        world.add(unit * (scale * seen - true), axes, trust)
    return LandmarkNoise(*image.result(), *world.result())


class _Sum:
    """Gathers residuals (T, 33, D) with the (T, D, 3) matrices that take a shift in body axes to them."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, residual: np.ndarray, from_body: np.ndarray, trust: np.ndarray) -> None:
        self._rows.append((residual, from_body, trust))

    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bias (33, 3), standard deviation (33, D), autocorrelation (33, D)."""
        bias = np.zeros((len(LANDMARK_NAMES), 3))
        for k in range(len(bias)):
            normal, right = 1e-3 * np.eye(3), np.zeros(3)
            for residual, from_body, trust in self._rows:
                normal += np.einsum("t,tdi,tdj->ij", trust[:, k], from_body, from_body)
                right += np.einsum("t,tdi,td->i", trust[:, k], from_body, residual[:, k])
            bias[k] = np.linalg.solve(normal, right)
        products, squares = np.zeros((2, len(bias), self._parts))
        weight = np.zeros(len(bias))
        for residual, from_body, trust in self._rows:
            rest = (residual - np.einsum("tdi,ki->tkd", from_body, bias)) * trust[..., None]
            product, square = _memory(rest)
            products, squares, weight = products + product, squares + square, weight + trust.sum(0)
        sigma = np.sqrt(squares / np.maximum(weight, 1.0)[:, None])
        return bias, sigma, np.clip(products / np.maximum(squares, 1e-9), 0.0, 0.995)


def _wander(sigma: np.ndarray, memory: np.ndarray, frames: int, random: np.random.Generator) -> np.ndarray:
    """(T, 33, D): an autoregressive process of given standard deviation and memory, both (33, D)."""
    values = np.empty((frames, *sigma.shape))
    values[0] = random.normal(size=sigma.shape)
    for t in range(1, frames):
        values[t] = memory * values[t - 1] + np.sqrt(1 - memory**2) * random.normal(size=sigma.shape)
    return sigma * values


def make(noise: LandmarkNoise, truth: Truth, seed: int, bias: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Noise for a scene: (T, 33, 2) pixels and (T, 33, 3) metres. Landmarks and axes are independent of each other."""
    random = np.random.default_rng(seed)
    axes, unit = _axes_as_seen(truth), truth.rest.height / 100.0
    image = _wander(noise.image_sigma, noise.image_memory, len(truth), random)
    world = _wander(noise.world_sigma, noise.world_memory, len(truth), random)
    if bias:
        image = image + np.einsum("tdi,ki->tkd", axes[:, :2], noise.image_bias)
        world = world + np.einsum("tdi,ki->tkd", axes, noise.world_bias)
    depth = truth.landmarks[..., 2:].mean(1, keepdims=True)
    return unit * image * truth.intrinsics[0, 0] / depth, unit * world
