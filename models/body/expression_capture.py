"""From the points of a face through a clip to facial actions and the direction of gaze.

The head's own motion is taken out first: every frame is laid onto one face by the points that no expression moves. What is
left is measured against the person's own neutral face, found in the clip: lids by how far they are open against their usual
opening, mouth and brows as displacements that the actions of the body's face have to explain (bounded least squares).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from models.body.base import RestBody
from models.body.expression_actions import (
    BROW_ACTIONS,
    MOUTH_ACTIONS,
    FacialActions,
    facial_actions,
)
from models.body.expression_points import (
    CHEEKS,
    CHIN,
    COUNTERPARTS,
    IRISES,
    LEFT_BROW,
    LID_PAIRS,
    LIPS_INNER,
    LIPS_OUTER,
    RIGHT_BROW,
    STEADY,
)

#: Angle between the face and the line of sight from which an expression is trusted less, and from which not at all, radians.
#: The network makes faces in profile look less turned than they are.
TURNED, AWAY = np.radians(35.0), np.radians(55.0)
#: Fewer frames with the face than this do not tell what is neutral in it.
LEAST_FRAMES = 8
#: Longest time over which an expression is carried when the face is not read, and time to fade to neutral then, seconds.
CARRIED, FADE = 0.2, 0.25
#: Weight in the smoothing of what was not read.
LEAST_WEIGHT = 0.02
#: Size of the face, in pixels, at which the strengths of smoothing hold; smaller faces are noisier.
PLAIN_SIZE = 150.0
#: Strength of smoothing of the mouth and brows, of the gaze, and of the lids, which are quick (a blink lasts 3 to 6 frames).
CALM, GAZE_CALM, LID_CALM = 1.0, 0.6, 0.15
#: Opening of the lids when closed, as the network reads it, in parts of the usual opening; measured on renders of blinks.
CLOSED = 0.27
#: Share of the frames in which the lids are open less than usual: people blink, squint and look down.
USUAL_OPENING = 70
#: Radii on which an iris moves sideways and upwards, in parts of the width of the eye's opening, as the network reads it: it
#: shows less than there is, most of all upwards.
IRIS_RADII = (0.34, 0.26)
#: Furthest gaze, radians: sideways, and up or down.
MOST_YAW, MOST_PITCH = 0.7, 0.45
#: Least squares of the mouth: cost of an action, weights of the inner rims of the lips, of chin and cheeks (which the network
#: hardly moves), and of depth, which it guesses. Actions that do what others do together cost more.
RIDGE, INNER_WEIGHT, AROUND_WEIGHT, DEPTH_WEIGHT = 0.3, 1.5, 0.25, 0.25
DEAR_ACTIONS = {"mouthClose": 3.0, "mouthPressLeft": 5.0, "mouthPressRight": 5.0} | dict.fromkeys(
    ("mouthLeft", "mouthRight", "mouthRollUpper", "mouthRollLower", "jawLeft", "jawRight"), 2.0
)
#: Strengths of a smile from which on, and up to which, lips that part do it without the jaw; how far apart the jaw brings the
#: lips, and how far a lip moves by itself, metres.
GRIN, JAW_GAP = (0.3, 0.7), 0.034
LIP_REACHES = {"mouthLowerDown": 0.005, "mouthUpperUp": 0.006}
#: Brows: cost of an action, what the network reads into brows that rest, and how much of a real move it shows.
BROW_RIDGE, BROW_NOISE, BROW_GAIN = 0.7, 0.12, 1.6
#: Mouths that are open by this part of their width more than the clip's least are as good as shut; one that is open by so much
#: at its least never shuts.
SHUT, NEVER_SHUT = 0.03, 0.08
#: Pairs of points on the inner rims of upper and lower lip.
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
#: Corners of the left and the right eye: outer, inner.
CORNERS = ((263, 362), (33, 133))


@dataclass(frozen=True)
class FaceMotion:
    """What a face does through a clip."""

    expression: np.ndarray
    """(T, A) float32, 0..1, in the order of ``DRIVEN_ACTIONS``; 0 where the face was not followed."""
    gaze: np.ndarray
    """(T, 2, 2) float32 radians: left and right eye, to the subject's left and up, against straight ahead of the head."""
    trust: np.ndarray
    """(T,) float32, 0..1: 0 where the face was not followed."""
    turn: np.ndarray
    """(T, 3, 3) float64: rotation of the face against one that looks along the line of sight, camera axes; 1 where not read."""
    centre: np.ndarray
    """(T, 2) float64 pixels: middle of the face; NaN where not read."""

    @property
    def followed(self) -> int:
        """Number of frames in which the face was followed."""
        return int((self.trust > 0.5).sum())


def capture_face(points: np.ndarray, rest: RestBody, rate: float, actions: FacialActions | None = None) -> FaceMotion:
    """Facial actions and gaze of a whole clip.

    Parameters
    ----------
    points:
        (T, 478, 3), pixels with z in pixels; NaN where the face was not read.
    rest:
        The body whose face explains the points: one on MakeHuman's base mesh, best the neutral one.
    rate:
        Frames per second.
    """
    actions = facial_actions() if actions is None else actions
    count = len(points)
    read = np.isfinite(points).all(axis=(1, 2))
    motion = FaceMotion(
        np.zeros((count, len(actions.names)), np.float32),
        np.zeros((count, 2, 2), np.float32),
        np.zeros(count, np.float32),
        np.tile(np.eye(3), (count, 1, 1)),
        np.full((count, 2), np.nan),
    )
    if not read.any():
        return motion
    seen = points[read].astype(np.float64)
    size = float(np.median(np.linalg.norm(seen[:, 10] - seen[:, 152], axis=1)))
    face, turn = _laid_onto(seen, _model_points(rest.base_vertices))
    motion.turn[read], motion.centre[read] = turn, seen[:, STEADY, :2].mean(axis=1)
    off_axis = np.arccos(np.clip(turn[:, 2, 2], -1, 1))
    trust = np.clip((AWAY - off_axis) / (AWAY - TURNED), 0.0, 1.0)
    if (trust > 0.5).sum() < LEAST_FRAMES:
        return motion
    values = np.zeros((len(seen), len(actions.names)))
    values[:, actions.index(*MOUTH_ACTIONS)] = _mouth(face, trust, rest, actions)
    values[:, actions.index(*BROW_ACTIONS)] = _brows(face, trust, rest, actions)
    gaze = _gaze(face, trust)
    lids, closed = _lids(face, trust, gaze, actions)
    values[:, lids] = closed
    noise = (rate / 30.0) ** 4 * float(np.clip((PLAIN_SIZE / size) ** 2, 0.4, 12.0))
    weight = np.zeros(count)
    weight[read] = trust
    strength = np.full(len(actions.names), CALM * noise)
    strength[lids] = LID_CALM * noise
    steady = smoothed(_spread(values, read), weight, strength)
    # Behind closed lids nothing is seen of the irises.
    open_eyes = np.zeros(count)
    open_eyes[read] = trust * (1.0 - closed[:, [0, 4]].max(axis=1)) ** 2
    sight = smoothed(_spread(gaze.reshape(len(seen), 4), read), open_eyes, np.full(4, GAZE_CALM * noise))
    fade = fading(weight, rate)[:, None]
    motion.expression[:] = np.clip(steady, 0, 1) * fade
    motion.gaze[:] = (np.clip(sight, [-MOST_YAW, -MOST_PITCH] * 2, [MOST_YAW, MOST_PITCH] * 2) * fade).reshape(-1, 2, 2)
    motion.trust[:] = fade[:, 0]
    return motion


def _face_axes(vectors: np.ndarray) -> np.ndarray:
    """Model axes (left, back, up) -> the camera's axes for a face that looks into it (right, down, away)."""
    return np.stack([vectors[..., 0], -vectors[..., 2], vectors[..., 1]], axis=-1)


def _model_points(vertices: np.ndarray) -> np.ndarray:
    """(478, 3) the counterparts on a base mesh, metres, face axes; NaN for points that have none."""
    points = np.full((478, 3), np.nan)
    points[list(COUNTERPARTS)] = _face_axes(vertices[list(COUNTERPARTS.values())].astype(np.float64))
    return points


def _laid_onto(points: np.ndarray, model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take head motion and size out: (T, 478, 3) metres in face axes, and the (T, 3, 3) rotations that were taken out.

    Frames are laid onto the model by the steady points, then onto the mean of all, which is the person's own face.
    """
    steady = list(STEADY)
    target = model[steady]
    for _ in range(3):
        turn, scale, middle = _similarity(points[:, steady], target)
        laid = scale[:, None, None] * np.einsum("tij,tkj->tki", turn, points - middle[:, None]) + target.mean(axis=0)
        mean = np.median(laid[:, steady], axis=0)
        # The mean keeps the model's size and attitude.
        again, size, centre = _similarity(mean[None], model[steady])
        target = size[0] * (mean - centre[0]) @ again[0].T + model[steady].mean(axis=0)
    return laid, turn.transpose(0, 2, 1)


def _similarity(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations (T, 3, 3), scales (T,) and middles (T, 3) that bring (T, K, 3) points onto (K, 3), least squares."""
    middle = points.mean(axis=1)
    centred, wanted = points - middle[:, None], target - target.mean(axis=0)
    u, s, vt = np.linalg.svd(np.einsum("ki,tkj->tij", wanted, centred))
    sign = np.sign(np.linalg.det(u @ vt))
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    return u @ vt, s.sum(axis=1) / (centred**2).sum(axis=(1, 2)), middle


def _mouth(face: np.ndarray, trust: np.ndarray, rest: RestBody, actions: FacialActions) -> np.ndarray:
    """(T, M) what jaw and lips do."""
    used = list(dict.fromkeys(LIPS_OUTER + LIPS_INNER + CHIN + CHEEKS))
    weight = np.where(np.isin(used, LIPS_INNER), INNER_WEIGHT, np.where(np.isin(used, LIPS_OUTER), 1.0, AROUND_WEIGHT))
    displacement = face[:, used] - _closed_mouth(face, trust)[used]
    basis = _basis(actions, MOUTH_ACTIONS, used)
    cost = np.array([RIDGE * DEAR_ACTIONS.get(name, 1.0) for name in MOUTH_ACTIONS])
    return _grinning(_bounded(basis, displacement, weight, cost))


def _grinning(values: np.ndarray) -> np.ndarray:
    """(T, M) with the teeth shown in a grin: lips that part while the corners go up do so themselves, not by the jaw.

    From the points alone the two look alike, since the network hardly moves the chin.
    """
    column = {name: place for place, name in enumerate(MOUTH_ACTIONS)}
    smile = values[:, [column["mouthSmileLeft"], column["mouthSmileRight"]]].mean(axis=1)
    share = np.clip((smile - GRIN[0]) / (GRIN[1] - GRIN[0]), 0.0, 1.0)
    gap = share * values[:, column["jawOpen"]] * JAW_GAP
    result = values.copy()
    for lip, reach in LIP_REACHES.items():
        for side in ("Left", "Right"):
            place = column[f"{lip}{side}"]
            moved = np.minimum(1.0 - result[:, place], 0.5 * gap / reach)
            result[:, place] += moved
            result[:, column["jawOpen"]] -= 0.5 * moved * reach / JAW_GAP
    return np.clip(result, 0.0, 1.0)


def _closed_mouth(face: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """(478, 3) the person's face with its mouth closed and at rest."""
    good = np.flatnonzero(trust > 0.5)
    upper, lower = (list(side) for side in zip(*LIP_PAIRS, strict=True))
    width = np.linalg.norm(face[good, 61] - face[good, 291], axis=1)
    gap = np.linalg.norm(face[good][:, upper] - face[good][:, lower], axis=2).mean(axis=1) / np.median(width)
    shut = gap <= float(np.percentile(gap, 10)) + SHUT
    # Of the closed mouths the ones of usual width, not a smile's.
    usual = np.percentile(width[shut], 30)
    chosen = good[shut][np.argsort(np.abs(width[shut] - usual))[: max(3, int(0.3 * shut.sum()))]]
    neutral = np.median(face[chosen], axis=0)
    # A mouth that is never shut: its lower lip and chin are raised until it is.
    open_by = float((neutral[lower, 1] - neutral[upper, 1]).mean())
    if open_by > NEVER_SHUT * float(np.median(width)):
        moved = list(LIPS_OUTER[11:]) + list(LIPS_INNER[11:]) + list(CHIN)
        neutral[moved, 1] -= open_by
    return neutral


def _brows(face: np.ndarray, trust: np.ndarray, rest: RestBody, actions: FacialActions) -> np.ndarray:
    """(T, 5) what the brows do, against their median."""
    used = list(LEFT_BROW + RIGHT_BROW)
    displacement = face[:, used] - np.median(face[trust > 0.5][:, used], axis=0)
    basis = _basis(actions, BROW_ACTIONS, used)
    found = _bounded(basis, displacement, np.ones(len(used)), np.full(len(BROW_ACTIONS), BROW_RIDGE))
    return np.clip(BROW_GAIN * (found - BROW_NOISE), 0.0, 1.0)


def _basis(actions: FacialActions, names: tuple[str, ...], used: list[int]) -> np.ndarray:
    """(A, K, 3) displacements of points by action, face axes, metres."""
    vertices = [COUNTERPARTS[point] for point in used]
    return _face_axes(actions.offsets[actions.index(*names)][:, vertices].astype(np.float64))


def _bounded(basis: np.ndarray, displacement: np.ndarray, weight: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(T, A) weights in 0..1 that explain displacements (T, K, 3) by a basis (A, K, 3), by coordinate descent.

    ``weight`` (K,) counts the points; ``cost`` (A,) holds each action down, in parts of the mean strength of the actions.
    """
    root = np.sqrt(weight)[:, None] * np.array([1.0, 1.0, DEPTH_WEIGHT])
    columns = (basis * root).reshape(len(basis), -1)
    wanted = (displacement * root).reshape(len(displacement), -1)
    normal = columns @ columns.T
    normal += np.diag(0.1 * cost * np.trace(normal) / len(normal))
    right = wanted @ columns.T
    values = np.zeros((len(displacement), len(basis)))
    for _ in range(200):
        before = values.copy()
        for a in range(len(basis)):
            step = (right[:, a] - values @ normal[:, a]) / normal[a, a]
            values[:, a] = np.clip(values[:, a] + step, 0.0, 1.0)
        if np.abs(values - before).max(initial=0.0) < 1e-4:
            break
    return values


def _gaze(face: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """(T, 2, 2) radians to the subject's left and up, left eye and right eye.

    Sideways the middle between the corners is straight ahead, on the mean of both eyes; up and down the usual height is.
    """
    angles = np.zeros((len(face), 2, 2))
    good = trust > 0.5
    for eye, ((outer, inner), iris) in enumerate(zip(CORNERS, IRISES, strict=True)):
        width = np.median(np.linalg.norm(face[good, outer] - face[good, inner], axis=1))
        offset = (face[:, iris] - 0.5 * (face[:, outer] + face[:, inner]))[:, :2] / width / IRIS_RADII
        # +x in face axes is the subject's left.
        angles[:, eye, 0] = np.arcsin(np.clip(offset[:, 0], -0.9, 0.9))
        angles[:, eye, 1] = -np.arcsin(np.clip(offset[:, 1], -0.9, 0.9))
    # Irises sit nearer to the nose than the middle of the corners: what the two eyes do not share is anatomy.
    apart = np.median(angles[good, 0, 0] - angles[good, 1, 0])
    angles[:, 0, 0] -= apart / 2
    angles[:, 1, 0] += apart / 2
    angles[:, :, 1] = angles[:, :, 1].mean(axis=1, keepdims=True)
    angles[:, :, 1] -= np.median(angles[good, :, 1])
    return angles


def _lids(
    face: np.ndarray, trust: np.ndarray, gaze: np.ndarray, actions: FacialActions
) -> tuple[list[int], np.ndarray]:
    """Columns of the lids' actions and their (T, C) values.

    Opening against the usual one. Lids that follow the eye downwards, or up, are no blink: that share goes to ``eyeLook``.
    """
    names, columns = [], []
    good = trust > 0.5
    for eye, (side, pairs) in enumerate(zip(("Left", "Right"), LID_PAIRS, strict=True)):
        upper, lower = (list(rim) for rim in zip(*pairs, strict=True))
        opening = np.linalg.norm(face[:, upper] - face[:, lower], axis=2).mean(axis=1)
        usual = np.percentile(opening[good], USUAL_OPENING)
        closed = (1.0 - opening / usual) / (1.0 - CLOSED)
        down = np.clip(-gaze[:, eye, 1] / MOST_PITCH, 0, 1)
        up = np.clip(gaze[:, eye, 1] / MOST_PITCH, 0, 1)
        follows = np.minimum(np.clip(closed, 0, 1), 0.5 * down)
        names += [f"eyeBlink{side}", f"eyeWide{side}", f"eyeLookDown{side}", f"eyeLookUp{side}"]
        blink = np.clip((closed - follows - 0.05) / 0.85, 0, 1)
        columns += [blink, np.clip(-1.5 * closed - 0.1, 0, 1), 2.0 * follows, up]
    return actions.index(*names), np.stack(columns, axis=1)


def _spread(values: np.ndarray, read: np.ndarray) -> np.ndarray:
    """(T, C): values of the frames that were read, 0 elsewhere."""
    result = np.zeros((len(read), values.shape[1]))
    result[read] = values
    return result


def smoothed(values: np.ndarray, weight: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """(T, C): the smoothest curves near (T, C) values (Whittaker: second differences against weighted squares).

    ``weight`` (T,) 0..1 bridges what was not read; ``strength`` (C,) is the weight of the second differences.
    """
    count = len(values)
    known = np.flatnonzero(weight > LEAST_WEIGHT)
    if count < 4 or len(known) == 0:
        return values
    # Where nothing was read the neighbours count a little: a bridge bends, but it does not run on.
    frames, weight = np.arange(count), np.maximum(weight, LEAST_WEIGHT)
    filled = np.stack([np.interp(frames, known, column[known]) for column in values.T], axis=1)
    result = np.empty_like(filled)
    difference = (1.0, -2.0, 1.0)
    for level in np.unique(strength):
        band = np.zeros((3, count))
        band[2] = weight
        for first in range(3):
            for second in range(first, 3):
                product = level * difference[first] * difference[second]
                band[2 - (second - first), second : count - 2 + second] += product
        columns = np.flatnonzero(strength == level)
        result[:, columns] = solveh_banded(band, weight[:, None] * filled[:, columns])
    return result


def fading(weight: np.ndarray, rate: float) -> np.ndarray:
    """(T,) how much of an expression is shown: the trust, carried over short gaps, then faded, without steps."""
    good = np.flatnonzero(weight > 0.05)
    frames = np.arange(len(weight))
    after = np.clip(np.searchsorted(good, frames), 0, len(good) - 1)
    nearest = np.minimum(np.abs(good[after] - frames), np.abs(good[np.maximum(after - 1, 0)] - frames))
    shown = np.clip(1.0 - (nearest - CARRIED * rate) / (FADE * rate), 0.0, 1.0)
    carried = np.interp(frames, good, weight[good]) * shown
    reach = max(1, round(0.08 * rate))
    kernel = np.ones(2 * reach + 1) / (2 * reach + 1)
    return np.convolve(np.pad(carried, reach, mode="edge"), kernel, mode="valid")
