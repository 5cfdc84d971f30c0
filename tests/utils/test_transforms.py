"""Homographies: the algebra holds for whatever is thrown at it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import transforms
from utils.transforms import Similarity

similarities = st.builds(
    Similarity,
    dx=st.floats(-200, 200),
    dy=st.floats(-200, 200),
    angle=st.floats(-1.5, 1.5),
    log_scale=st.floats(-0.7, 0.7),
)
centres = st.tuples(st.floats(-500, 500), st.floats(-500, 500))
POINTS = np.array([[0.0, 0.0], [959.0, 0.0], [480.0, 271.5], [-20.0, 543.0]])


@given(similarities, centres)
def test_parameters_survive_the_matrix(similarity: Similarity, centre: tuple[float, float]) -> None:
    again = Similarity.of(similarity.matrix(centre), centre)
    for name in ("dx", "dy", "angle", "log_scale"):
        assert getattr(again, name) == pytest.approx(getattr(similarity, name), abs=1e-6)


@given(similarities, similarities)
def test_composition_is_application_in_turn_and_inverse_undoes(first: Similarity, second: Similarity) -> None:
    A, B = first.matrix(), second.matrix((480, 270))
    np.testing.assert_allclose(
        transforms.apply(transforms.compose(A, B), POINTS), transforms.apply(A, transforms.apply(B, POINTS)), atol=1e-6
    )
    np.testing.assert_allclose(transforms.apply(transforms.invert(A), transforms.apply(A, POINTS)), POINTS, atol=1e-6)


def test_a_stack_of_transforms_maps_row_by_row() -> None:
    stack = np.stack([transforms.translation(i, -i) for i in range(4)])
    mapped = transforms.apply(stack, np.zeros((4, 5, 2)))
    np.testing.assert_allclose(mapped[:, 0], [[0, 0], [1, -1], [2, -2], [3, -3]])
    np.testing.assert_allclose(transforms.invert(stack) @ stack, np.tile(np.eye(3), (4, 1, 1)))


def test_singular_transform_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        transforms.invert(np.zeros((3, 3)))


def test_scaling_agrees_with_opencv_resizing() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32), (8, 1))
    half = cv2.resize(ramp, (32, 4), interpolation=cv2.INTER_AREA)
    x = transforms.apply(transforms.invert(transforms.scaling(0.5)), np.array([[10.0, 2.0]]))[0, 0]
    assert half[2, 10] == pytest.approx(x)


def test_chain_ends_where_the_steps_lead() -> None:
    steps = np.stack([transforms.translation(2, 1)] * 5)
    np.testing.assert_allclose(transforms.chain(steps)[5], transforms.translation(10, 5))
    assert transforms.corner_distance(transforms.chain(steps)[1], np.eye(3), (960, 544)) == pytest.approx(np.sqrt(5))


def test_whole_pixel_shift_copies_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    moved = transforms.warp(image, transforms.translation(3, 2), (30, 20), cv2.INTER_CUBIC)
    np.testing.assert_array_equal(moved[2:, 3:], image[:-2, :-3])
    mask = image[..., 0] > 128
    assert transforms.warp(mask, np.eye(3), (30, 20)).dtype == bool
