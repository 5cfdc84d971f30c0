"""Fingers: angles that are put on a hand come back out of its points, on any build and on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from core.types import BodyParams
from models.body.anny_body import AnnyBody
from models.body.articulation import bone_transforms, params_transforms
from models.body.base import JOINT_NAMES, RestBody
from models.body.expression_head import line_of_sight
from models.body.fingers import (
    LIMITS,
    THUMB_LIMITS,
    TIP_SHARE,
    capture_hands,
    finger_angles,
    hand_rig,
    palm_axes,
    with_fingers,
)
from models.body.fingers_wrist import with_wrists

LOW, HIGH = (np.stack([THUMB_LIMITS[k]] + [LIMITS[k]] * 4) for k in (0, 1))
STRAIGHT = np.zeros((1, 2, 5, 4))


def standing(rest: RestBody, frames: int) -> np.ndarray:
    """(T, B, 4, 4) a body with arms and wrists turned somehow."""
    rotations = np.random.default_rng(1).normal(0, 0.3, (1, len(JOINT_NAMES), 3)).repeat(frames, axis=0)
    return bone_transforms(rest, rotations, np.tile([0.0, 0.0, 3.0], (frames, 1)))


def hand_points(rest: RestBody, transforms: np.ndarray) -> np.ndarray:
    """(T, 2, 21, 3) where the hand landmarks of a posed body are."""
    rig = hand_rig(rest)
    assert rig is not None
    points = np.zeros((len(transforms), 2, 21, 3))

    def placed(bone: int, place: np.ndarray) -> np.ndarray:
        return transforms[:, bone, :3, :3] @ place + transforms[:, bone, :3, 3]

    for side, letter in enumerate("LR"):
        wrist = rest.bone(f"wrist.{letter}")
        points[:, side, 0] = placed(wrist, rest.bone_heads[wrist])
        for finger, bones in enumerate(rig.bones[side]):
            heads = rest.bone_heads[bones].astype(float)
            tip = heads[2] + TIP_SHARE * (heads[2] - heads[1])
            for k, place in enumerate((*heads, tip)):
                points[:, side, 1 + 4 * finger + k] = placed(bones[min(k, 2)], place)
    return points


def some_angles(rest: RestBody, frames: int, share: float = 0.8) -> np.ndarray:
    """(T, 2, 5, 4) random poses well within what joints allow."""
    rig = hand_rig(rest)
    assert rig is not None
    change = np.random.default_rng(2).uniform(share * LOW, share * HIGH, (frames, 2, 5, 4))
    return rig.rest[None] + change


@pytest.mark.parametrize("shape", [{}, {"gender": 0.0, "muscle": 0.9}, {"age": 0.3, "gender": 1.0}])
def test_angles_put_on_a_hand_are_read_from_its_points(shape: dict[str, float]) -> None:
    rest = AnnyBody().rest(shape)
    wanted = some_angles(rest, 20)
    posed = with_fingers(rest, standing(rest, 20), wanted, np.ones((20, 2)))
    points = hand_points(rest, posed)
    for side in (0, 1):
        found = finger_angles(points[:, side], side)
        assert np.degrees(np.abs(found - wanted[:, side])[:, 1:]).max() < 2.0
        assert np.degrees(np.abs(found - wanted[:, side])[:, 0]).max() < 6.0


def test_hands_that_are_not_followed_stay_relaxed() -> None:
    rest = AnnyBody().rest({})
    relaxed = standing(rest, 4)
    trust = np.tile([1.0, 0.0], (4, 1))
    posed = with_fingers(rest, relaxed, some_angles(rest, 4), trust)
    right = [i for i, name in enumerate(rest.bone_names) if name.startswith("finger") and name.endswith("R")]
    left = [i for i, name in enumerate(rest.bone_names) if name.startswith("finger") and name.endswith("L")]
    assert np.allclose(posed[:, right], relaxed[:, right], atol=1e-5)
    assert np.abs(posed[:, left] - relaxed[:, left]).max() > 0.05
    others = [i for i in range(len(rest.bone_names)) if i not in right + left]
    assert np.array_equal(posed[:, others], relaxed[:, others])


def test_no_finger_bends_further_than_a_joint_allows() -> None:
    rest = AnnyBody().rest({})
    rig = hand_rig(rest)
    assert rig is not None
    backwards = rig.rest[None].repeat(2, axis=0).copy()
    backwards[..., :3] -= 2.0
    points = hand_points(rest, with_fingers(rest, standing(rest, 2), backwards, np.ones((2, 2))))
    for side in (0, 1):
        change = finger_angles(points[:, side], side) - rig.rest[side]
        assert np.degrees(change[:, 1:, 0]).min() > np.degrees(LIMITS[0, 0]) - 1
        assert np.degrees(change[:, 1:, 1:3]).min() > -7


def test_noise_is_smoothed_and_a_hand_that_flips_for_two_frames_is_ignored() -> None:
    rest = AnnyBody().rest({})
    angles = np.repeat(some_angles(rest, 1, 0.5), 60, axis=0)
    points = hand_points(rest, with_fingers(rest, standing(rest, 60), angles, np.ones((60, 2))))
    noisy = points + np.random.default_rng(3).normal(0, 0.003, points.shape)
    noisy[30:32, 0] = noisy[30:32, 0] * [-1, 1, -1]
    motion = capture_hands(noisy, np.full((60, 2), 90.0), 30.0)
    raw = np.stack([finger_angles(noisy[:, side], side) for side in (0, 1)], axis=1)
    jitter = np.abs(np.diff(motion.angles[5:25, :, 1:, 1], axis=0)).mean()
    assert jitter < 0.25 * np.abs(np.diff(raw[5:25, :, 1:, 1], axis=0)).mean()
    error = np.degrees(np.abs(motion.angles[26:36, 0, 1:, :2] - angles[26:36, 0, 1:, :2]))
    assert error.mean() < 8
    assert motion.followed == 60


def test_a_hand_that_is_seen_for_a_while_only_returns_to_the_relaxed_one() -> None:
    rest = AnnyBody().rest({})
    points = hand_points(rest, with_fingers(rest, standing(rest, 60), some_angles(rest, 60, 0.1), np.ones((60, 2))))
    size = np.full((60, 2), 60.0)
    points[25:, 1], size[25:, 1] = np.nan, np.nan
    motion = capture_hands(points, size, 30.0)
    assert motion.trust[10:20].min() > 0.95
    assert motion.trust[45:, 1].max() == 0 and motion.trust[45:, 0].min() > 0.95
    assert np.abs(np.diff(motion.trust[:, 1])).max() < 0.3
    assert not capture_hands(np.full((5, 2, 21, 3), np.nan), np.full((5, 2), np.nan), 30.0).trust.any()


def test_a_wrist_that_the_fit_got_wrong_is_turned_to_the_hand_that_is_seen() -> None:
    rest = AnnyBody().rest({})
    frames = 40
    truth = np.zeros((frames, len(JOINT_NAMES), 3), np.float32)
    truth[:, 0, 0] = np.pi / 2
    truth[:, JOINT_NAMES.index("left_wrist")] = (0.3, -0.3, 0.2)
    fitted = truth.copy()
    fitted[:, JOINT_NAMES.index("left_wrist")] = (0.0, 0.0, -0.2)
    intrinsics = np.array([[900.0, 0, 320], [0, 900.0, 240], [0, 0, 1]])
    place = np.tile(np.array([0.2, 0.0, 4.0], np.float32), (frames, 1))

    def body(rotations: np.ndarray) -> BodyParams:
        nothing = np.zeros((frames, 33, 3), np.float32)
        return BodyParams(
            "anny", dict(rest.shape), JOINT_NAMES, rotations, place, intrinsics, nothing, np.ones(frames, bool)
        )

    seen = hand_points(rest, params_transforms(rest, body(truth)))
    pixels = seen @ intrinsics.T
    pixels = pixels / pixels[..., 2:]
    # The network gives a hand's points as if it stood in the middle of the picture.
    world = np.full_like(seen, np.nan)
    turn = line_of_sight(intrinsics, pixels[:, 0, 9, :2])
    world[:, 0] = np.einsum("tji,tkj->tki", turn, seen[:, 0])
    trust = np.tile([1.0, 0.0], (frames, 1))
    mended = with_wrists(body(fitted), rest, world, pixels, trust, 30.0)
    assert np.abs(mended.rotations - truth).max() < 0.03
    assert np.array_equal(with_wrists(body(fitted), rest, world, pixels, 0 * trust, 30.0).rotations, fitted)


@pytest.mark.parametrize("shape", [{}, {"gender": 1.0, "weight": 0.7}, {"gender": 0.0, "muscle": 0.8}])
def test_a_relaxed_hand_has_its_fingers_together_and_its_thumb_beside_them(shape: dict[str, float]) -> None:
    rest = AnnyBody().rest(shape)
    transforms = bone_transforms(rest, np.zeros((1, len(JOINT_NAMES), 3)), np.zeros((1, 3)))
    for side, hand in enumerate(hand_points(rest, transforms)[0]):
        length = np.linalg.norm(hand[9] - hand[0])
        angles = finger_angles(hand, side)
        # The four fingers bend alike, the little one most; neighbouring tips are a finger's width apart.
        assert (np.diff(angles[1:, 0]) > 0).all()
        assert (np.linalg.norm(np.diff(hand[[8, 12, 16, 20]], axis=0), axis=1) < 0.34 * length).all()
        # The thumb points along the hand, its tip near the index finger, not across the palm.
        forward = palm_axes(hand, side)[0]
        thumb = (hand[4] - hand[2]) / np.linalg.norm(hand[4] - hand[2])
        assert thumb @ forward > 0.7
        assert np.linalg.norm(hand[4] - hand[5:8], axis=1).min() < 0.5 * length
