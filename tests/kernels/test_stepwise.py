from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

from tests import naive
from tests.trajectories import brownian, trajectories
from trajscope.kernels.stepwise import rounding_variance, squared_positions, stepwise_products


@given(trajectories())
def test_products_of_single_steps_match_the_definitions(x):
    wide = x.astype(np.float64)
    sums = stepwise_products(np.diff(x, axis=0))
    y = naive.increments(wide)
    expected = {
        "squared_increments": naive.increment_norms(wide) ** 2,
        "neighbour_products": np.array([a @ b for a, b in pairwise(y)]),
        "squared_displacements": naive.displacement(wide) ** 2,
    }
    scale = np.sum(np.abs(y)) ** 2  # of a path that never turned back
    for name, values in expected.items():
        np.testing.assert_allclose(sums[name], values, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_variance_is_that_of_two_uniform_errors_one_spacing_wide(dtype):
    weights = brownian(2, 500).astype(dtype)
    actual = rounding_variance(weights[1], float(np.finfo(dtype).eps))
    both_ends_alike = weights[[1, 1]]
    expected = len(weights[1]) * naive.rounding_floor(both_ends_alike, dtype) ** 2
    assert actual == pytest.approx(expected, rel=1e-9)


def test_rounding_variance_is_seen_when_a_random_walk_is_rounded_to_bfloat16():
    # Increments of many spacings: the two rounding errors are then independent and uniform.
    x = brownian(2, 200_000) + 0.7
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float64)
    seen = np.sum((np.diff(rounded, axis=0) - np.diff(x, axis=0)) ** 2)
    said = sum(rounding_variance(row, 2**-7) for row in rounded) / 2
    assert said == pytest.approx(seen, rel=0.02)


def test_a_weight_of_zero_has_no_rounding():
    assert rounding_variance(np.zeros(3), 2**-23) == 0


@pytest.mark.parametrize(
    ("dtype", "scale"), [("f4", 1.0), ("f4", 1e25), ("f4", 1e-25), ("f8", 1e100)]
)
def test_squared_norms_are_right_for_any_size_of_weights(dtype, scale):
    x = (scale * np.random.default_rng(0).standard_normal((3, 40_000))).astype(dtype)
    expected = [np.dot(row, row) for row in x.astype(np.longdouble)]
    np.testing.assert_allclose(squared_positions(x), np.array(expected, float), rtol=1e-5)


@pytest.mark.parametrize("sizes", [(1, 1e-25, 0, 1e-30, 1), (1, 1e25, 0, 1)])
def test_squared_norms_are_right_for_checkpoints_of_any_size_beside_each_other(sizes):
    x = np.random.default_rng(0).standard_normal((len(sizes), 3_000)) * np.array(sizes)[:, None]
    x = x.astype("f4")
    expected = (x.astype(np.float64) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared_positions(x), expected, rtol=1e-5)


def test_squared_norms_stay_finite_where_squares_overflow():
    with np.errstate(over="ignore"):
        assert squared_positions(np.full((2, 3), 1e200)).tolist() == [1e290, 1e290]
