"""Coats: a jacket down to the waist and a wide skirt of the same cloth, sewn into one garment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from models.body.wardrobe import collars
from models.body.wardrobe.cloth import TWILL, Figure
from models.body.wardrobe.shell import Shell
from models.body.wardrobe.skirts import sew_skirt
from models.body.wardrobe.spec import Coat, Jacket, Skirt
from models.body.wardrobe.tops import sew_top

#: Levels on the trunk of the jacket's hem and of the skirt's top: the one ends under the other's belt.
_HEM, _WAIST = 0.2, 0.27


def make_coat(figure: Figure, coat: Coat) -> None:
    """Sew a coat and put it on ``figure``."""
    cut = {"fit": coat.fit, "sleeve": coat.sleeve, "hem": _HEM, "neck": coat.neck, "front": "buttons"}
    colors = {"color": coat.color, "trim": coat.trim, "buttons": coat.buttons}
    upper = Jacket.model_validate({"kind": "jacket", **cut, **colors})
    parts, depth, shell = sew_top(figure, upper)
    # The skirt goes over the jacket's hem, and both are one layer to whatever comes later.
    over = Figure(figure.body, figure.clearance.copy(), [], list(figure.surfaces))
    over.wear(parts, depth, shell)
    shape = {"waist": _WAIST, "ends": coat.ends, "flare": coat.flare}
    lower = Skirt.model_validate({"kind": "skirt", "color": coat.color, "trim": coat.belt, **shape})
    below, low_depth, tube = sew_skirt(over, lower, TWILL)
    drape, tree = below[0].drape, cKDTree(tube.points)
    for part in collars.make_front(tube, figure.body, upper):
        below.append(replace(part, drape=drape, control=tree.query(part.points)[1]))
    figure.wear(parts + below, np.maximum(depth, low_depth), _joined(shell, tube))


def _joined(first: Shell, second: Shell) -> Shell:
    """Two pieces of cloth as one shell."""
    return Shell(
        sparse.vstack([first.source, second.source], format="csr"),
        np.concatenate([first.faces, second.faces + len(first.points)]),
        np.concatenate([first.points, second.points]),
        np.zeros(len(first.faces) + len(second.faces), int),
    )
