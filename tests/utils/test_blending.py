from __future__ import annotations

import numpy as np
import pytest

from utils.blending import blend, overlap_weights


@pytest.mark.parametrize("count", [1, 2, 5, 24])
def test_weights_of_both_segments_sum_to_one_and_rise_evenly(count: int) -> None:
    incoming = overlap_weights(count)
    outgoing = incoming[::-1]  # seen from the other segment the overlap runs backwards
    assert np.allclose(incoming + outgoing, 1)
    steps = np.diff(np.concatenate([[0], incoming, [1]]))
    assert np.allclose(steps, steps[0])


def test_no_overlap_has_no_weights() -> None:
    assert overlap_weights(0).shape == (0,)
    with pytest.raises(ValueError, match="-1"):
        overlap_weights(-1)


def test_blend_fades_linearly_and_keeps_dtype() -> None:
    dark, bright = np.full((2, 3, 3), 10, np.uint8), np.full((2, 3, 3), 110, np.uint8)
    fade = [int(blend(dark, bright, w)[0, 0, 0]) for w in overlap_weights(4)]
    assert fade == [30, 50, 70, 90]
    assert blend(dark, bright, 0.5).dtype == np.uint8
    assert np.array_equal(blend(dark, bright, 0), dark)
    assert np.array_equal(blend(dark, bright, 1), bright)


def test_blend_refuses_pictures_that_do_not_match() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="alike"):
        blend(picture, picture.astype(np.float32), 0.5)
    with pytest.raises(ValueError, match="outside"):
        blend(picture, picture, 1.5)
