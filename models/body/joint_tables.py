"""What each body model calls the joints that a fit turns, and where each of the 33 landmarks lies on it.

All bodies stand here side by side: Anny and the SMPL family (SMPL-X, SMPL-H, SMPL). Names of the SMPL family are those of
the ``smplx`` library; left and right are the subject's.

Beware of one false friend: a fit's ``left_foot`` is the ankle, where the foot turns. SMPL-X's ``left_foot`` is the ball of
the foot, where the toes turn; its ankle is ``left_ankle``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.types import LANDMARK_NAMES
from models.body.anny_body import JOINT_BONES as ANNY_JOINT_BONES
from models.body.base import JOINT_NAMES
from models.body.landmark_regression import FROM_BONES, FROM_POINTS

# -- the SMPL family's skeletons -------------------------------------------------------------------------------------

#: The joints that the whole family shares, parents before children.
BODY_JOINTS = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
#: Fingers in the order of the files, three joints each.
FINGERS = ("index", "middle", "pinky", "ring", "thumb")


def _hand(side: str) -> tuple[str, ...]:
    return tuple(f"{side}_{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3))


#: Joints of each model of the family in the order of its files.
SMPL_FAMILY: dict[str, tuple[str, ...]] = {
    "smplx": (*BODY_JOINTS, "jaw", "left_eye", "right_eye", *_hand("left"), *_hand("right")),
    "smplh": (*BODY_JOINTS, *_hand("left"), *_hand("right")),
    "smpl": (*BODY_JOINTS, "left_hand", "right_hand"),
}

#: What these models are called in messages.
SMPL_TITLES = {"smplx": "SMPL-X", "smplh": "SMPL-H", "smpl": "SMPL"}

# -- the joints that a fit turns -------------------------------------------------------------------------------------

_SMPL_JOINT_BONES = (
    "pelvis", "spine1", "spine2", "neck", "head",
    "left_collar", "left_shoulder", "left_elbow", "left_wrist",
    "right_collar", "right_shoulder", "right_elbow", "right_wrist",
    "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
)  # fmt: skip

#: The bone behind each of ``JOINT_NAMES``, by body model. SMPL-X's ``spine3`` lies a hand's breadth above ``spine2`` and
#: moves with it, as does the top of Anny's spine with ``spine02``.
JOINT_BONES: dict[str, tuple[str, ...]] = {"anny": ANNY_JOINT_BONES, **dict.fromkeys(SMPL_FAMILY, _SMPL_JOINT_BONES)}


def joint_indices(model: str) -> tuple[int, ...]:
    """For each of ``JOINT_NAMES`` its place in the pose vector of a model of the SMPL family (``KeyError`` for others)."""
    return tuple(SMPL_FAMILY[model].index(bone) for bone in JOINT_BONES[model])


def _counterparts() -> dict[str, str]:
    """Anny's rig is finer than SMPL-X's: several of its bones may have the same counterpart."""
    table = {
        "root": "pelvis", "spine05": "spine1", "spine04": "spine1", "spine03": "spine2", "spine02": "spine2",
        "spine01": "spine3", "neck01": "neck", "neck02": "neck", "neck03": "neck", "head": "head",
    }  # fmt: skip
    sided = {
        "pelvis": "pelvis", "upperleg01": "hip", "upperleg02": "hip", "lowerleg01": "knee", "lowerleg02": "knee",
        "foot": "ankle", "toe2-1": "foot", "clavicle": "collar", "shoulder01": "collar", "upperarm01": "shoulder",
        "upperarm02": "shoulder", "lowerarm01": "elbow", "lowerarm02": "elbow", "wrist": "wrist", "eye": "eye",
    }  # fmt: skip
    sided |= {
        f"finger{number}-{joint}": f"{finger}{joint}"
        for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1)
        for joint in (1, 2, 3)
    }
    for mark, side in (("L", "left"), ("R", "right")):
        for anny, smpl in sided.items():
            table[f"{anny}.{mark}"] = smpl if smpl == "pelvis" else f"{side}_{smpl}"
    return table


#: SMPL-X's bone for each bone of Anny's rig that posing, proportions and limbs are written in.
COUNTERPARTS: dict[str, str] = _counterparts()


def is_fine(bone: str) -> bool:
    """Whether a bone moves something finer than a mask shows: fingers, toes, eyes."""
    if bone.startswith(("finger", "toe", "eye")):
        return True
    name = bone.removeprefix("left_").removeprefix("right_")
    return name.rstrip("123") in FINGERS or name in ("foot", "eye")


# -- the 33 landmarks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LandmarkSource:
    """A landmark is a blend of places: where bones turn, and named points on the skin. The weights sum to 1."""

    bones: Mapping[str, float] = field(default_factory=dict)
    """Share of each bone's head."""
    points: Mapping[str, float] = field(default_factory=dict)
    """Share of each point on the skin; the model's baker knows where they are."""


#: How far out the hips lie that a person sees, in parts of the way from the middle of the pelvis to its side. SMPL's hip
#: joints lie much closer together (about 12 cm) than the hips that landmark networks learn to show (about 20 cm), so they
#: are taken from the skin. Measured on Anny, whose hips are regressed to what annotators mark.
HIP_REACH = 0.55
#: Eyes' corners and mouth of a model without landmarks on the face: outwards from the middle in parts of the distance
#: between the eyes; the mouth lies on from the eyes past the nose, and back towards the joint of the head.
_EYE_CORNERS = {"eye_inner": 0.27, "eye_outer": 0.73}
_MOUTH_OUT, _MOUTH_PAST_NOSE, _MOUTH_BACK = 0.40, 1.75, 0.30
#: Knuckles of a model without fingers, as parts of the way from the wrist to the fingertip.
_KNUCKLES = {"thumb": 0.6, "index": 0.5, "pinky": 0.5}


def _anny_landmarks() -> dict[str, LandmarkSource]:
    table = {}
    for name in LANDMARK_NAMES:
        if name in FROM_BONES:
            table[name] = LandmarkSource(bones={FROM_BONES[name]: 1.0})
        else:
            table[name] = LandmarkSource(points=FROM_POINTS.get(name, {name: 1.0}))
    return table


def _smpl_face(model: str, side: str, other: str) -> dict[str, LandmarkSource]:
    """Eye corners and mouth of one side. SMPL-X's file marks them; elsewhere they are blends of eyes, nose and head."""
    marked = (f"{side}_eye_inner", f"{side}_eye_outer", f"mouth_{side}")
    if model == "smplx":
        return {name: LandmarkSource(points={name: 1.0}) for name in marked}
    eye, far_eye = f"{side}_eye", f"{other}_eye"
    table = {
        f"{side}_{part}": LandmarkSource(points={eye: 0.5 + out, far_eye: 0.5 - out})
        for part, out in _EYE_CORNERS.items()
    }
    middle = (1 - _MOUTH_PAST_NOSE - _MOUTH_BACK) / 2
    table[f"mouth_{side}"] = LandmarkSource(
        bones={"head": _MOUTH_BACK},
        points={eye: middle + _MOUTH_OUT, far_eye: middle - _MOUTH_OUT, "nose": _MOUTH_PAST_NOSE},
    )
    return table


def _smpl_landmarks(model: str) -> dict[str, LandmarkSource]:
    table = {"nose": LandmarkSource(points={"nose": 1.0})}
    for side, other in (("left", "right"), ("right", "left")):
        table |= _smpl_face(model, side, other)
        for part in ("shoulder", "elbow", "wrist", "knee", "ankle"):
            table[f"{side}_{part}"] = LandmarkSource(bones={f"{side}_{part}": 1.0})
        hips = {f"{side}_hip_side": (1 + HIP_REACH) / 2, f"{other}_hip_side": (1 - HIP_REACH) / 2}
        table[f"{side}_hip"] = LandmarkSource(points=hips)
        for part in ("eye", "ear", "heel"):
            table[f"{side}_{part}"] = LandmarkSource(points={f"{side}_{part}": 1.0})
        # MediaPipe's foot index lies between the toes, nearer to the big one.
        toes = {f"{side}_big_toe": 0.6, f"{side}_small_toe": 0.4}
        table[f"{side}_foot_index"] = LandmarkSource(points=toes)
        for finger, reach in _KNUCKLES.items():
            joint = f"{side}_{finger}{2 if finger == 'thumb' else 1}"
            towards_tip = LandmarkSource({f"{side}_wrist": 1 - reach}, {f"{side}_{finger}_tip": reach})
            table[f"{side}_{finger}"] = towards_tip if model == "smpl" else LandmarkSource(bones={joint: 1.0})
    return {name: table[name] for name in LANDMARK_NAMES}


#: Where each of ``LANDMARK_NAMES`` lies, by body model, in their order.
LANDMARKS: dict[str, dict[str, LandmarkSource]] = {"anny": _anny_landmarks()} | {
    model: _smpl_landmarks(model) for model in SMPL_FAMILY
}

if any(len(bones) != len(JOINT_NAMES) for bones in JOINT_BONES.values()):
    raise ValueError("JOINT_BONES: a model does not name a bone for every joint")
