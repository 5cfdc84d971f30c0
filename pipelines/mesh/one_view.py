"""What one view needs besides the fit itself: weights for measuring a person's motion, and the person's size."""

from __future__ import annotations

from core.types import BodyParams
from models.body.fit_size import height_of, resized, size_in_space
from models.body.fit_terms import FitWeights
from pipelines.mesh.shot import MeshShot

#: Found on clips with known bodies (``docs/mesh-accuracy.md``). Against the usual weights the body moves more like the
#: person, and lies a little further from it in the picture, which matters more where a person is replaced.
WEIGHTS = FitWeights(contact=6.0, contact_depth=4.0, acceleration=1.0, turning=8.0, prior=1.3, forearm_direction=0.4)


def settle(shot: MeshShot, fitted: BodyParams) -> BodyParams:
    """Bring a body to the given height, or to the size of the landmarks in space; in the picture nothing changes."""
    assert shot.pose is not None, "stages out of order"
    if shot.settings.height is not None:
        return resized(fitted, shot.settings.height / height_of(shot.model.rest(fitted.shape), fitted))
    factor = size_in_space(fitted, shot.pose)
    if factor is None:
        shot.run.warn(
            "Too little of the person is seen to tell how tall it is; the body has its usual size. Give it with "
            "--set height=METRES."
        )
        return fitted
    return resized(fitted, factor)


def size_source(shot: MeshShot) -> str:
    """Where the body's size comes from: ``setting``, ``landmarks``, ``cameras`` or ``easymocap``."""
    if shot.settings.easymocap_results is not None:
        return "easymocap"
    if shot.views:
        return "cameras"
    return "landmarks" if shot.settings.height is None else "setting"
