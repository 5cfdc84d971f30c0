"""SMPL-X from the user's own file as a body: bakes shape parameters into a rest body. SMPL-H and SMPL are taken too.

The files may not be redistributed, so the user puts them in place (``docs/bodies.md``). Nothing of them is cached.
"""

from models.body.smplx_body.body import BETA_LIMIT, SmplxBody
from models.body.smplx_body.posed import R_model_file, SmplxRestBody, file_pose, file_translation, final_vertices

__all__ = [
    "BETA_LIMIT",
    "R_model_file",
    "SmplxBody",
    "SmplxRestBody",
    "file_pose",
    "file_translation",
    "final_vertices",
]
