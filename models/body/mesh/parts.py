"""Colours of the body's surface: one for all of it, or one for each part."""

from __future__ import annotations

import colorsys

import numpy as np

from models.body.articulation import rig_of
from models.body.base import JOINT_NAMES, RestBody
from utils.photometry import linear_from_srgb

#: Albedo of neutral clay, linear RGB.
CLAY = (0.38, 0.35, 0.325)

#: Exponent on the shares of the joints that meet at a vertex: the higher, the narrower the band in which colours blend.
SHARPNESS = 4

#: Hue in degrees of the part that each joint carries: cool on the subject's left, warm on its right, green between.
PART_HUES = {
    "root": 100, "spine_lower": 130, "spine_upper": 85, "neck": 140, "head": 70,
    "left_clavicle": 170, "left_shoulder": 190, "left_elbow": 212, "left_wrist": 182,
    "right_clavicle": 48, "right_shoulder": 30, "right_elbow": 10, "right_wrist": 40,
    "left_hip": 235, "left_knee": 258, "left_foot": 280, "right_hip": 22, "right_knee": 352, "right_foot": 330,
}  # fmt: skip


def clay_colors(rest: RestBody) -> np.ndarray:
    """(V, 3) float32, linear RGB: the same neutral colour everywhere."""
    return np.tile(np.array(CLAY, np.float32), (len(rest.vertices), 1))


def part_colors(rest: RestBody) -> np.ndarray:
    """(V, 3) float32, linear RGB: a colour for each part of the body, see ``PART_HUES``. Parts blend where they meet."""
    palette = [colorsys.hsv_to_rgb(PART_HUES[name] / 360, 0.5, 0.8) for name in JOINT_NAMES]
    levels = np.rint(255 * np.array(palette)).astype(np.uint8)
    share = np.zeros((len(rest.vertices), len(JOINT_NAMES)), np.float32)
    rows = np.broadcast_to(np.arange(len(rest.vertices))[:, None], rest.bone_indices.shape)
    np.add.at(share, (rows, rig_of(rest).carrier[rest.bone_indices]), rest.bone_weights)
    share = share**SHARPNESS
    return (share / share.sum(axis=1, keepdims=True)) @ linear_from_srgb(levels)
