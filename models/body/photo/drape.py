"""Loose clothes and hair: the body's surface moved out to the person's silhouette.

Where the posed body's outline runs inside the person's, the distance between the two is measured along the outline's
normals. It is then spread over the surface between the outlines: cloth that stands off at the sides stands off in front.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from models.body.embree import RayScene, project, rasterize
from models.body.photo.fit import Sitting
from models.body.wardrobe.anatomy import Anatomy
from models.body.wardrobe.hair import scalp_field
from models.body.wardrobe.mesh import neighbours, smooth, vertex_normals
from models.body.wardrobe.noise import smoothstep
from models.body.wardrobe.spec import Hair

#: How far cloth may stand off the body, and how far it may lie inside of it, metres.
FURTHEST, DEEPEST = 0.10, 0.012
#: |cosine| between normal and line of sight below which a vertex counts as lying on the outline.
ON_OUTLINE = 0.25
#: How strongly a vertex that nothing is known of keeps to the body, against keeping to its neighbours.
KEEP_TO_BODY = 0.004
#: Least distance of cloth from the body, metres.
CLOTH = 0.002


def drape(sitting: Sitting, posed: np.ndarray, mask: np.ndarray, body: Anatomy) -> np.ndarray:
    """(V,) float64, metres along the normals at rest: how far the person's surface lies off the body's.

    Parameters
    ----------
    posed:
        (V, 3) the body in the photo, metres, camera axes.
    mask:
        (H, W) bool, the person's pixels.
    """
    known, offset = _measured(sitting, posed, mask)
    loose = _may_be_loose(body)
    count = len(posed)
    laplacian = sparse.identity(count) - neighbours(sitting.rest.faces, count)
    weight = np.where(known, 1.0, KEEP_TO_BODY) + 50.0 * (1 - loose) ** 2
    target = np.where(known, offset, CLOTH) * loose
    smoothness = laplacian.T @ laplacian
    solved = spsolve((8.0 * smoothness + sparse.diags(weight)).tocsc(), weight * target)
    solved = smooth(np.clip(solved, -DEEPEST, FURTHEST), neighbours(sitting.rest.faces, count), 3)
    return np.asarray(solved * loose)


def _may_be_loose(body: Anatomy) -> np.ndarray:
    """(V,) 0..1: where something may stand off the body: everywhere but at face, hands and feet; on the scalp it is hair."""
    hands = body.bone_weight("wrist", "finger", "metacarpal")
    feet = body.bone_weight("foot", "toe")
    head = smoothstep(body.points[:, 2], body.face_frame.chin[2] - 0.09, body.face_frame.chin[2] - 0.03)
    head *= 1 - smoothstep(body.arm_weight, 0.0, 0.2)
    scalp = smoothstep(scalp_field(body, Hair.model_validate({})), 0.0, 0.03)
    return (1 - smoothstep(hands, 0.1, 0.6)) * (1 - smoothstep(feet, 0.1, 0.6)) * np.maximum(1 - head, scalp)


def _measured(sitting: Sitting, posed: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V,) bool: vertices on the outline with nothing but the background beyond; (V,) metres from there to the mask's
    outline."""
    height, width = mask.shape
    faces = sitting.rest.faces
    normals = vertex_normals(posed.astype(np.float64), faces)
    toward = -posed / np.linalg.norm(posed, axis=1, keepdims=True)
    outline = np.abs((normals * toward).sum(axis=1)) < ON_OUTLINE
    pixels = project(sitting.intrinsics, np.eye(3), posed)
    ahead = project(sitting.intrinsics, np.eye(3), (posed + 0.01 * normals).astype(np.float32)) - pixels
    per_metre = sitting.intrinsics[0, 0] / posed[:, 2]
    direction = ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-6)
    covered = rasterize(RayScene(posed, faces), sitting.intrinsics, np.eye(3), (width, height)).hit.astype(np.float32)
    inside, outside = (cv2.distanceTransform(picture.astype(np.uint8), cv2.DIST_L2, 5) for picture in (mask, ~mask))
    signed = (inside - outside).astype(np.float32)
    steps = np.linspace(-DEEPEST - 0.004, FURTHEST, 58)
    places = pixels[:, None] + steps[None, :, None] * per_metre[:, None, None] * direction[:, None]
    x, y = places[..., 0].astype(np.float32), places[..., 1].astype(np.float32)
    person = cv2.remap(signed, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Past its own outline a vertex must look at the background: else another limb is in the way.
    beyond = cv2.remap(covered, x, y, cv2.INTER_LINEAR)[:, steps > 0.012].max(axis=1) < 0.5
    leaves = person < 0
    first = leaves.argmax(axis=1)
    in_picture = (pixels > 2).all(axis=1) & (pixels < np.array([width, height]) - 3).all(axis=1)
    known = outline & beyond & leaves.any(axis=1) & (first > 0) & in_picture
    return known, steps[first]
