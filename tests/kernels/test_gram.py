import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests.trajectories import ORDINARY, brownian, trajectories
from trajscope.kernels.gram import (
    displacement_gram,
    double_centre,
    increment_gram,
    lagged_products,
    mean_squared_displacement,
    periodogram_of_gram,
)
from trajscope.kernels.spectra import pooled_power

ordinary = trajectories(kinds=ORDINARY)
in_double = trajectories(kinds=ORDINARY, dtypes=(np.float64,))


def assert_close(actual, expected, tolerance=1e-6):
    """Within `tolerance` of the largest entry: sums of products cancel, so single entries may."""
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=0.0)
    )


def gram_of(x):
    return increment_gram(np.diff(x, axis=0)).astype(np.float64)


@given(trajectories())
def test_increment_gram_matches_the_definition_at_any_magnitude(x):
    assert_close(gram_of(x), naive.increment_gram(x.astype(np.float64)))


@given(ordinary, st.data())
def test_increment_gram_adds_up_over_any_split_of_the_weights(x, data):
    cut = data.draw(st.integers(0, x.shape[1]))
    assert_close(gram_of(x[:, :cut]) + gram_of(x[:, cut:]), gram_of(x))


@given(ordinary)
def test_increment_gram_of_a_reversed_trajectory_is_the_matrix_reversed(x):
    assert_close(gram_of(x[::-1]), gram_of(x)[::-1, ::-1])


@pytest.mark.parametrize("exponent", [-100, -60, -3, 5, 60])
def test_increment_gram_of_float32_scales_exactly_with_powers_of_two(exponent):
    x = brownian(20, 30, dtype=np.float32)
    scaled = gram_of(np.ldexp(x, exponent).astype(np.float32))
    np.testing.assert_allclose(scaled, np.ldexp(gram_of(x), 2 * exponent), rtol=1e-5, atol=0)


def test_increment_gram_keeps_the_noise_beside_a_drift_ten_thousand_times_as_fast():
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((60, 900))
    increments = (noise + 1e4 * rng.standard_normal(900)).astype(np.float32)
    centred = increments.astype(np.float64) - increments.astype(np.float64).mean(axis=0)
    found = double_centre(increment_gram(increments))
    np.testing.assert_allclose(found, centred @ centred.T, atol=2e-3 * 900)


def test_increment_gram_of_weights_that_never_move_is_zero():
    assert not gram_of(np.ones((4, 3), np.float32)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_increment_gram_keeps_a_number_that_is_not_finite(bad):
    x = brownian(5, 3)
    x[2, 1] = bad
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(gram_of(x)).all()


@given(in_double)
def test_displacement_gram_matches_the_definition(x):
    assert_close(displacement_gram(gram_of(x)), naive.displacement_gram(x), 1e-12)


@given(in_double)
def test_double_centring_is_taking_off_the_mean_over_time(x):
    centred = x - x[0] - (x - x[0]).mean(axis=0)
    scale = np.abs(naive.displacement_gram(x)).max(initial=0.0)
    actual = double_centre(displacement_gram(gram_of(x)))
    np.testing.assert_allclose(actual, centred @ centred.T, rtol=0, atol=1e-12 * scale)


@given(in_double)
def test_lagged_products_are_the_sums_of_lagged_inner_products(x):
    y = naive.increments(x)
    expected = [sum(y[t] @ y[t + h] for t in range(len(y) - h)) for h in range(len(y))]
    assert_close(lagged_products(gram_of(x)), np.array(expected), 1e-12)


@given(in_double)
def test_mean_squared_displacement_matches_the_definition_at_every_lag(x):
    centred = x - x.mean(axis=0)
    products = centred @ centred.T
    actual = mean_squared_displacement(products.diagonal(), lagged_products(products))
    assert_close(actual, naive.mean_squared_displacement(x), 1e-10)


def test_mean_squared_displacement_at_lag_zero_is_exactly_zero():
    x = brownian(50, 7)
    products = x @ x.T
    assert mean_squared_displacement(products.diagonal(), lagged_products(products))[0] == 0


@given(ordinary)
def test_the_periodogram_of_a_gram_matrix_is_that_of_the_increments(x):
    y = np.diff(x.astype(np.float64), axis=0)
    power = pooled_power(y)["power"]
    expected = naive.periodogram(x.astype(np.float64))
    scale = max(float((y**2).sum()), 1e-300)
    np.testing.assert_allclose(power, expected, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(periodogram_of_gram(y @ y.T), expected, rtol=0, atol=1e-9 * scale)
