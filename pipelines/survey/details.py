"""Face and hands, read again from close by where they are large enough: expression, gaze and fingers of the body."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np

from core.types import BodyDetails, BodyParams, PersonTrack
from models.body.articulation import landmark_positions, params_transforms
from models.body.base import BodyModel, RestBody
from models.body.expression_actions import DRIVEN_ACTIONS
from models.body.expression_capture import FaceMotion, capture_face
from models.body.expression_head import with_head
from models.body.fingers import HandMotion, capture_hands
from models.body.fingers_wrist import with_wrists
from models.detectors import faces, hands
from pipelines.survey.findings import Survey
from utils.video_io import VideoReader, prefetch

#: What this stage leaves in the run folder.
FILES = ("details.npz",)
#: Least size of a face from hairline to chin, and of a stretched hand, pixels.
LEAST_FACE, LEAST_HAND = 40.0, 30.0
#: Landmarks of the face and of the hips, and the weight under which hips are not in the picture.
FACE, HIPS, UNSEEN = slice(0, 11), slice(23, 25), 0.2


class DetailSettings(Protocol):
    """The settings that this stage reads besides the survey's."""

    @property
    def face(self) -> Literal["auto", "off"]:
        """Whether the face is followed."""

    @property
    def hands(self) -> Literal["auto", "off"]:
        """Whether the hands are followed."""


def read_details(shot: Survey, settings: DetailSettings) -> None:
    """Read face and hands through the clip and leave what was seen in ``details.npz``.

    Nothing is decoded where the person is too small in all frames, or where both are switched off.
    """
    if shot.run.has(FILES[0]):
        return
    track = shot.track
    assert track is not None, "stages out of order"
    wanted = settings.face != "off", settings.hands != "off"
    frames = _worth_reading(track, *wanted)
    face = np.full((len(track), faces.FACE_POINTS, 3), np.nan, np.float32)
    hand = np.full((len(track), 2, hands.HAND_POINTS, 3), np.nan, np.float32)
    hand_world, hand_size = hand.copy(), np.full((len(track), 2), np.nan, np.float32)
    if frames.any():
        with ExitStack() as stack:
            face_reader = stack.enter_context(closing(faces.FaceReader(LEAST_FACE))) if wanted[0] else None
            hand_reader = stack.enter_context(closing(hands.HandReader(LEAST_HAND))) if wanted[1] else None
            reader = stack.enter_context(VideoReader(shot.info))
            beside = stack.enter_context(ThreadPoolExecutor(1))
            pictures = stack.enter_context(closing(prefetch(reader.frames())))
            for t, rgb in enumerate(shot.progress.track(pictures, "details", len(track))):
                if not frames[t]:
                    continue
                # The face is read on the second core while the hands are.
                pending = beside.submit(face_reader.read, rgb, track.landmarks[t]) if face_reader is not None else None
                both = hand_reader.read(rgb, track.landmarks[t], track.world[t]) if hand_reader is not None else {}
                for side, found in both.items():
                    place = t, hands.SIDES.index(side)
                    hand[place], hand_world[place], hand_size[place] = found.points, found.world, found.size
                seen = pending.result() if pending is not None else None
                if seen is not None:
                    face[t] = seen.points
    shot.run.save_arrays(FILES[0], face=face, hands=hand, hands_world=hand_world, hand_size=hand_size)


def _worth_reading(track: PersonTrack, face: bool, hand: bool) -> np.ndarray:
    """(T,) bool: frames in which the pose says that a face or a hand may be large enough."""
    frames = np.zeros(len(track), bool)
    for t in np.flatnonzero(track.present):
        region = faces.region_from_pose(track.landmarks[t]) if face else None
        frames[t] = region is not None and region.side / faces.FACE_SCALE >= faces.LOOK_FROM * LEAST_FACE
        if hand and not frames[t]:
            frames[t] = hands.expected_length(track.landmarks[t], track.world[t]) >= hands.LOOK_FROM * LEAST_HAND
    return frames


def follow_details(shot: Survey, model: BodyModel) -> None:
    """Give the fitted body what ``details.npz`` tells of its face and hands, and note in how many frames."""
    assert shot.body is not None
    data = shot.run.load_arrays(FILES[0])
    rate, rest = float(shot.info.rate), model.rest({})
    face = capture_face(data["face"], rest, rate)
    both = capture_hands(data["hands_world"], data["hand_size"], rate)
    shot.figures.update(face_frames=float(face.followed), hand_frames=float(both.followed))
    fitted = shot.body.valid
    body = with_head(shot.body, face.turn, face.centre, face.trust * fitted, rate)
    body = _face_kept_in_place(shot, rest, body)
    body = with_wrists(body, rest, data["hands_world"], data["hands"], both.trust * fitted[:, None], rate)
    if body is not shot.body:
        body = replace(body, keypoints=landmark_positions(rest, params_transforms(rest, body)))
    shot.body = replace(body, details=body_details(face, both))


def _face_kept_in_place(shot: Survey, rest: RestBody, turned: BodyParams) -> BodyParams:
    """A body whose head was turned, moved so that its face is where it was; only in shots that show no hips, because where
    they are seen the feet stand where they stand."""
    assert shot.body is not None
    hips = shot.found[1].weight[:, HIPS].max(axis=1)
    if turned is shot.body or np.median(hips[shot.body.valid]) > UNSEEN:
        return turned
    before, after = (
        landmark_positions(rest, params_transforms(rest, body))[:, FACE].mean(axis=1) for body in (shot.body, turned)
    )
    return replace(turned, translation=turned.translation + before - after)


def body_details(face: FaceMotion, both: HandMotion) -> BodyDetails:
    """What was captured of face and hands, as a part of the body."""
    return BodyDetails(
        expression=face.expression,
        action_names=DRIVEN_ACTIONS,
        gaze=face.gaze,
        fingers=both.angles,
        face_trust=face.trust,
        hand_trust=both.trust,
    )
