"""``.mhw``: which bones move a garment's vertices. JSON in new files; lines of text under a bone's name in old ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from models.body.wardrobe.makehuman.reading import bad, integer, number, read_text


def read_mhw(path: Path, vertices: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read vertex weights.

    Parameters
    ----------
    vertices:
        How many vertices the garment has.

    Returns
    -------
    Bone name -> (indices (M,) int64, weights (M,) float64). Bones that move nothing are left out.

    Raises
    ------
    core.errors.InputError
        The file cannot be read or is not right; the message names the line, or the bone in a JSON file.
    """
    text = read_text(path)
    found = _from_json(path, text) if text.lstrip().startswith("{") else _from_lines(path, text)
    result = {}
    for bone, (where, pairs) in found.items():
        if not pairs:
            continue
        index = np.array([pair[0] for pair in pairs], np.int64)
        weight = np.array([pair[1] for pair in pairs], float)
        wrong = np.flatnonzero((index < 0) | (index >= vertices))
        if len(wrong):
            raise bad(path, where, f"{bone}: the garment has no vertex {index[wrong[0]]} (it has {vertices})")
        result[bone] = index, np.maximum(weight, 0.0)
    return result


_Found = dict[str, tuple[int | None, list[tuple[int, float]]]]


def _from_json(path: Path, text: str) -> _Found:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise bad(path, error.lineno, f"this is not valid JSON ({error.msg})") from None
    weights = content.get("weights")
    if not isinstance(weights, dict):
        raise bad(path, None, "it has no table named weights")
    result: _Found = {}
    for bone, pairs in weights.items():
        try:
            result[bone] = None, [(int(index), float(weight)) for index, weight in pairs]
        except (TypeError, ValueError):
            raise bad(path, None, f"the weights of {bone} are no list of pairs [vertex, weight]") from None
    return result


def _from_lines(path: Path, text: str) -> _Found:
    """``weights BONE`` or ``# weights BONE``, then lines of a vertex and a weight."""
    result: _Found = {}
    pairs: list[tuple[int, float]] | None = None
    for line, content in enumerate(text.splitlines(), start=1):
        words = content.replace("#", " ").split() if content.strip().startswith("#") else content.split()
        if len(words) >= 2 and words[0] == "weights":
            pairs = []
            result[" ".join(words[1:])] = line, pairs
        elif words and not content.strip().startswith("#"):
            if pairs is None:
                raise bad(path, line, "numbers stand before the first line `weights BONE`")
            if len(words) != 2:
                raise bad(path, line, f"a weight is a vertex and a number, not {len(words)} words")
            pairs.append((integer(path, line, words[0], "index of a vertex"), number(path, line, words[1], "weight")))
    if not result:
        raise bad(path, None, "it names no bone")
    return result
