import numpy as np
import pytest
from scipy import stats
from statsmodels.tsa.arima_process import arma_acovf

from tests.simulate.standard_errors import (
    assert_agrees,
    assert_distributed,
    lagged_products,
    squared_displacements,
)
from trajscope.errors import OptionError
from trajscope.simulate import autoregressive_increments, brownian


def test_increments_of_brownian_motion_are_independent_standard_normal():
    y = brownian(101, 200, seed=0).diff("step").values
    assert_distributed(y.ravel(), "norm")
    for lag in (1, 2, 7):
        assert_agrees(lagged_products(y, lag), 0.0, precision=0.01)
    assert np.abs(np.corrcoef(y.T) - np.eye(200)).max() < 0.5  # 5 standard errors of 1/10


@pytest.mark.parametrize("drift", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("lag", [1, 3, 20])
def test_brownian_displacement_grows_with_the_lag_and_drift_with_its_square(drift, lag):
    x = brownian(60, 3000, seed=1, drift=drift).values
    expected = lag + drift**2 * lag**2
    assert_agrees(squared_displacements(x, lag), expected, precision=0.02)


def test_brownian_motion_of_low_rank_sums_to_the_closed_form_of_its_modes():
    x = [brownian(6, 40, seed=seed, rank=3, drift=0.5).values for seed in range(2000)]
    squares = np.sum((np.array(x)[:, 5] - np.array(x)[:, 1]) ** 2, axis=1)
    assert_agrees(squares, 3 * (4 + 0.5**2 * 4**2), precision=0.02)


def test_brownian_motion_starts_at_the_origin():
    assert not brownian(3, 4, seed=0, drift=1.0)[0].any()


@pytest.mark.parametrize("degrees_of_freedom", [2.5, 3, 10])
def test_heavy_tails_are_students_t_scaled_to_unit_variance(degrees_of_freedom):
    x = brownian(51, 400, seed=2, degrees_of_freedom=degrees_of_freedom)
    scale = np.sqrt((degrees_of_freedom - 2) / degrees_of_freedom)
    law = stats.t(degrees_of_freedom, scale=scale)
    assert law.std() == pytest.approx(1)
    assert_distributed(x.diff("step").values.ravel(), law.cdf)


@pytest.mark.parametrize(("noise_change", "n_before"), [(0.5, 20), (0.1, 4), (0.0, 0), (1.0, 40)])
def test_the_noise_changes_where_it_should_by_the_ratio_given(noise_change, n_before):
    changing = brownian(41, 500, seed=3, noise_ratio=3.0, noise_change=noise_change)
    steady = brownian(41, 500, seed=3)
    ratio = changing.diff("step") / steady.diff("step")
    np.testing.assert_allclose(ratio[:n_before], 1.0)
    np.testing.assert_allclose(ratio[n_before:], 3.0)


def test_principal_components_of_brownian_motion_explain_the_fractions_of_a_random_walk():
    n_steps, n_weights = 30, 20000
    x = brownian(n_steps, n_weights, seed=4).values
    centred = x - x.mean(axis=0)
    variances = np.linalg.eigvalsh(centred @ centred.T)[:0:-1]
    k = np.arange(1, n_steps)
    expected = 1 / np.sin(np.pi * k / (2 * n_steps)) ** 2
    # Eigenvalues of a Wishart matrix have relative error sqrt(2 / n_weights) = 1%, and some bias.
    np.testing.assert_allclose(variances[:5] / variances.sum(), expected[:5] / expected.sum(), 0.04)


@pytest.mark.parametrize("phi", [(0.9,), (-0.5,), (0.5, -0.3), (1.6, -0.8), (0.3, 0.2, -0.4)])
def test_increments_have_the_autocovariance_of_their_process_from_the_first_one_on(phi):
    y = autoregressive_increments(9, 20000, phi=phi, seed=5).diff("step").values
    covariance = arma_acovf(np.r_[1, -np.array(phi)], [1], 8)
    for lag in range(8):
        products = np.column_stack([y[0] * y[lag], y[7 - lag] * y[7]])
        assert_agrees(products, covariance[lag] / covariance[0], precision=0.02, of=1)
    assert_agrees(y[0] ** 2, 1.0, precision=0.02)


@pytest.mark.parametrize("phi", [0.9, 0.5, -0.5])
@pytest.mark.parametrize("lag", [1, 4, 40])
def test_increments_of_one_coefficient_have_their_variance_ratio(phi, lag):
    x = autoregressive_increments(81, 4000, phi=[phi], seed=6).values
    ratio = (1 + phi) / (1 - phi) - 2 * phi * (1 - phi**lag) / (lag * (1 - phi) ** 2)
    assert_agrees(squared_displacements(x, lag), lag * ratio, precision=0.03)


def test_increments_with_complex_roots_have_the_spectral_density_of_their_formula():
    phi, n = (1.6, -0.8), 400
    y = autoregressive_increments(n + 1, 500, phi=phi, seed=7).diff("step").values
    taper = np.hanning(n)
    power = np.abs(np.fft.rfft(y.T * taper)) ** 2 / np.sum(taper**2)
    w = 2 * np.pi * np.fft.rfftfreq(n)
    density = 1 / np.abs(1 - phi[0] * np.exp(-1j * w) - phi[1] * np.exp(-2j * w)) ** 2
    density /= arma_acovf([1, -phi[0], -phi[1]], [1], 1)[0]
    # At both ends the taper mixes the mirror image in.
    assert_agrees(power[:, 5:-5], density[5:-5], precision=0.05)
    assert 0.05 < np.argmax(density) / n < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, r"^rank=0: between 1 and the 4 weights expected\.$"),
        ({"rank": 5}, r"^rank=5: between 1 and the 4 weights expected\.$"),
        ({"drift": np.nan}, r"^drift=nan: a finite number expected\.$"),
        ({"noise_ratio": -1}, r"^noise_ratio=-1: a finite number of at least 0 expected\.$"),
        ({"noise_change": 2}, r"^noise_change=2: a fraction between 0 and 1 expected\.$"),
        ({"degrees_of_freedom": 2},
         r"^degrees_of_freedom=2: a finite number above 2, where the variance exists, expected\.$"),
    ],
)  # fmt: skip
def test_brownian_motion_that_cannot_be_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        brownian(3, 4, seed=0, **options)


def test_a_walk_without_weights_is_refused():
    with pytest.raises(OptionError, match=r"^n_weights=0: at least 1 weight expected\.$"):
        brownian(3, 0, seed=0)


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        ([], r"^phi=\[\]: a sequence of one or more finite numbers expected\.$"),
        (0.5, r"^phi=0.5: a sequence of one or more finite numbers expected\.$"),
        ([np.nan], r"^phi=\[nan\]: a sequence of one or more finite numbers expected\.$"),
        ([1.0], r"roots inside the unit circle \(the largest is 1\) expected\.$"),
        ([0.5, 0.6], r"roots inside the unit circle \(the largest is 1\.06\d+\) expected\.$"),
    ],
)
def test_increments_that_are_not_stationary_are_refused(phi, message):
    with pytest.raises(OptionError, match=message):
        autoregressive_increments(3, 4, phi=phi, seed=0)
