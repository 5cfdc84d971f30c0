"""Weights: which there are, where they lie, and how they are read. Nothing is fetched unless the user says so.

``require`` gives the folder of a set, ``checkpoint`` finds a checkpoint, ``load_tensors`` reads a file without running it.
"""

from models.weights.store import checkpoint_names, local_checkpoints, missing, require, variant_of, weights_folder
from models.weights.table import CHECKPOINTS, WEIGHTS, WeightSet, weight_set
from models.weights.tensors import Checkpoint, checkpoint, load_tensors, load_yolo

__all__ = [
    "CHECKPOINTS",
    "WEIGHTS",
    "Checkpoint",
    "WeightSet",
    "checkpoint",
    "checkpoint_names",
    "load_tensors",
    "load_yolo",
    "local_checkpoints",
    "missing",
    "require",
    "variant_of",
    "weight_set",
    "weights_folder",
]
