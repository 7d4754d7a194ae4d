import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import acf

from tests import naive
from tests.trajectories import brownian, late_training, ornstein_uhlenbeck, trajectories
from trajscope.kernels.autocorrelation import (
    brownian_autocorrelation,
    lagged_from_power,
    pooled_products,
)
from trajscope.kernels.curves import curve_moments
from trajscope.kernels.spread import DEFICITS, sampled


@given(trajectories())
def test_autocorrelations_match_the_definition_at_any_magnitude(x):
    sums = curve_moments(x)
    expected = naive.autocorrelations(x.astype(np.float64))
    tolerance = (1e-5 if x.dtype == np.float32 else 1e-10) * max(len(expected), 1)
    assert sums["n_autocorrelations"] == len(expected)
    np.testing.assert_allclose(sums["autocorrelation"], expected.sum(axis=0), atol=tolerance)


@given(trajectories())
def test_deficits_match_the_definition_at_any_magnitude(x):
    sums = curve_moments(x)
    deficits = 1 - naive.autocorrelations(x.astype(np.float64))
    tolerance = (1e-4 if x.dtype == np.float32 else 1e-9) * max(len(deficits), 1)
    assert sums["n_deficits"] == len(deficits)
    for power, name in enumerate(DEFICITS, 1):
        np.testing.assert_allclose(sums[name], (deficits**power).sum(axis=0), atol=tolerance)


@pytest.mark.parametrize("n_steps", [40, 41])
def test_deficits_of_chosen_weights_are_theirs_alone(n_steps):
    x = brownian(n_steps, 1000, dtype=np.float32)
    chosen = sampled(0, 1000, share=0.2, seed=1)
    some, own = curve_moments(x, chosen), curve_moments(x[:, chosen])
    for name in (*DEFICITS, "n_deficits"):
        np.testing.assert_allclose(some[name], own[name], rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(some["autocorrelation"], curve_moments(x)["autocorrelation"])


@given(st.integers(0, 2**40), st.integers(0, 300), st.data())
def test_a_weight_is_in_the_sample_whatever_piece_it_comes_in(first, n_weights, data):
    cut = data.draw(st.integers(0, n_weights))
    whole = sampled(first, n_weights, share=0.3, seed=5)
    parts = [sampled(first, cut, share=0.3, seed=5)]
    parts.append(sampled(first + cut, n_weights - cut, share=0.3, seed=5))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_sample_holds_its_share_of_the_weights():
    assert sampled(0, 100_000, share=0.2, seed=0).mean() == pytest.approx(0.2, abs=0.005)
    assert sampled(0, 1000, share=1.0, seed=0).all()


@pytest.mark.parametrize("n_steps", [2, 3, 10, 101])
def test_autocorrelations_agree_with_statsmodels(n_steps):
    x = brownian(n_steps, 5)
    expected = sum(acf(series, adjusted=False, nlags=n_steps - 1, fft=False) for series in x.T)
    actual = curve_moments(x)["autocorrelation"]
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@given(trajectories())
def test_autocorrelations_do_not_change_when_time_is_reversed(x):
    forwards, backwards = curve_moments(x), curve_moments(x[::-1].copy())
    for name in ("autocorrelation", "n_autocorrelations", "deficit", "deficit_square"):
        np.testing.assert_allclose(backwards[name], forwards[name], atol=1e-5 * x.shape[1])


@given(trajectories(kinds=("walk", "dead", "sparse")), st.floats(-4, 4), st.integers(-8, 8))
def test_autocorrelations_do_not_change_with_origin_or_unit(x, origin, exponent):
    x = x.astype(np.float64)
    expected = curve_moments(x)["autocorrelation"]
    moved = curve_moments(np.ldexp(x, exponent) + origin)["autocorrelation"]
    # Adding the origin to the smallest of these weights rounds off eight of their bits and more.
    np.testing.assert_allclose(moved, expected, atol=1e-8 * x.shape[1])


def test_autocorrelations_of_an_ornstein_uhlenbeck_process_decay_exponentially():
    rho, n_steps, n_weights = 0.8, 4000, 400
    sums = curve_moments(ornstein_uhlenbeck(n_steps, n_weights, rho))
    lags = np.arange(10)
    # The biased estimate is low by about (1 + rho)/(1 - rho)/T = 0.002; the spread adds 0.001.
    np.testing.assert_allclose(
        sums["autocorrelation"][:10] / n_weights, rho**lags * (1 - lags / n_steps), atol=0.01
    )


def test_autocorrelations_of_late_training_keep_their_digits_in_float32():
    x = late_training(300, 500)
    expected = naive.autocorrelations(x.astype(np.float64)).sum(axis=0)
    actual = curve_moments(x)["autocorrelation"]
    np.testing.assert_allclose(actual, expected, atol=500 * 1e-5)


def test_autocorrelations_of_a_long_float32_walk_keep_their_digits():
    x = brownian(50_000, 3, dtype=np.float32)
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    lag = 49_800
    expected = sum((c[:-lag] @ c[lag:]) / (c @ c) for c in centred.T)
    actual = curve_moments(x)["autocorrelation"][lag]
    assert actual == pytest.approx(expected, abs=3e-5)


@given(trajectories(kinds=("walk", "dead", "zero", "late", "sparse", "huge")))
def test_pooled_products_match_the_definition(x):
    wide = x.astype(np.float64)
    centred = wide - wide[0] - (wide - wide[0]).mean(axis=0)
    sums = pooled_products(x)
    norms = np.einsum("tw,tw->t", centred, centred)
    lagged = [np.sum(centred[: len(x) - h] * centred[h:]) for h in range(len(x))]
    scale = norms.sum()
    np.testing.assert_allclose(sums["squared_norms"], norms, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        lagged_from_power(sums["product_power"], len(x)), lagged, rtol=0, atol=1e-12 * scale
    )


@pytest.mark.parametrize("n_steps", [2, 3, 4, 10, 57, 1000])
def test_the_autocorrelation_of_any_series_sums_to_one_half_and_so_does_its_expectation(n_steps):
    # A centred series sums to zero, so r(0) + 2 sum_{h>0} r(h) = 0: from lag 0 the sum is 1/2.
    assert brownian_autocorrelation(n_steps).sum() == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("n_steps", [2, 3, 10, 1000])
def test_the_expected_autocorrelation_is_one_at_lag_zero(n_steps):
    assert brownian_autocorrelation(n_steps)[0] == pytest.approx(1, abs=1e-9)


def test_the_expected_autocorrelation_of_three_positions_has_the_closed_form():
    # Two modes of variances l: E[l1 z1^2 / (l1 z1^2 + l2 z2^2)] = sqrt(l1)/(sqrt(l1) + sqrt(l2)).
    # Their shapes are (1, 0, -1)/sqrt(2) and (1, -2, 1)/sqrt(6).
    roots = 1 / (2 * np.sin(np.pi * np.array([1, 2]) / 6))
    first, second = roots / roots.sum()
    expected = [1, -2 * second / 3, -first / 2 + second / 6]
    np.testing.assert_allclose(brownian_autocorrelation(3), expected, atol=1e-5)


@pytest.mark.parametrize("n_steps", [5, 40])
def test_the_expected_autocorrelation_is_the_mean_over_simulated_paths(n_steps):
    n_paths = 40_000
    sums = curve_moments(brownian(n_steps, n_paths))
    deficit = sums["deficit"] / n_paths
    mean, error = 1 - deficit, np.sqrt((sums["deficit_square"] / n_paths - deficit**2) / n_paths)
    assert np.all(np.abs(mean - brownian_autocorrelation(n_steps)) < 5 * error + 1e-9)


def test_the_expected_autocorrelation_of_a_long_path_takes_no_square_matrix():
    curve = brownian_autocorrelation(20_000)
    short = brownian_autocorrelation(200)
    # The curve depends on lag / T alone when T is large.
    np.testing.assert_allclose(curve[::100], short, atol=0.02)
