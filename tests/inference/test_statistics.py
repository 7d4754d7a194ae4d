"""Every statistic against its definition, written out or from another library."""

import numpy as np
import pytest
from scipy.signal import lfilter
from statsmodels.regression.linear_model import burg

from trajscope.inference.nulls.autoregression import Autoregression, fit, simulate
from trajscope.inference.statistics import brownian, redrawn
from trajscope.inference.statistics import increments as inc
from trajscope.inference.statistics.brownian import p_value, standardised
from trajscope.inference.statistics.circulation import (
    series_of,
    signed_areas,
    slow_modes,
    spectra_of,
)
from trajscope.inference.statistics.drift import draw_drift, draw_slow_drift
from trajscope.inference.statistics.oscillation import draw_ringing, line
from trajscope.inference.statistics.permutations import draw_increments
from trajscope.inference.statistics.stationarity import (
    correlation_time,
    draw_early_excess,
    early_excess,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def centred(n=61, d=5, seed=0):
    y = rng(seed).standard_normal((n, d)) * np.arange(1, d + 1)
    return y - y.mean(axis=0)


def pooled(y):
    return inc.pooled_autocovariance(y.T[np.newaxis].astype(np.float32))


@pytest.mark.parametrize("n", [40, 61])
def test_autocovariance_and_periodogram_follow_their_definitions(n):
    y = centred(n)
    products = pooled(y)
    naive = [sum(float(y[t] @ y[t + h]) for t in range(n - h)) for h in range(n)]
    np.testing.assert_allclose(products[0], naive, rtol=1e-4, atol=1e-5 * naive[0])
    power = (np.abs(np.fft.fft(y, axis=0)) ** 2).sum(axis=1)[1 : (n - 1) // 2 + 1]
    found = inc.relative_periodogram(products)[0]
    np.testing.assert_allclose(found, power / power.mean(), rtol=1e-4, atol=1e-5)


def test_variance_ratio_follows_its_definition():
    products = pooled(centred(64))[0]
    rho = products / products[0]
    expected = [1 + 2 * sum((1 - h / q) * rho[h] for h in range(1, q)) for q in inc.scales(64)]
    np.testing.assert_allclose(inc.variance_ratio(products[np.newaxis])[0], expected, rtol=1e-6)


def test_draws_are_the_same_in_any_basis_of_weight_space():
    y = centred(50, 4)
    rotation = np.linalg.qr(rng(1).standard_normal((4, 4))).Q
    one = draw_increments(y, 20, seed=3)
    other = draw_increments(y @ rotation, 20, seed=3)
    np.testing.assert_allclose(one.variance_ratio, other.variance_ratio, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.noise_scale, other.noise_scale, rtol=1e-4)


def test_more_draws_leave_the_first_ones_as_they_were():
    y = centred(50, 4)
    few, many = (draw_increments(y, n, seed=3).kolmogorov for n in (5, 40))
    np.testing.assert_array_equal(few, many[:6])


def test_a_constant_drift_changes_no_draw():
    y = centred(50, 4)
    still, moving = (draw_increments(z, 9, seed=3).fisher for z in (y, y + 1e3))
    np.testing.assert_allclose(still, moving, rtol=1e-5)


def test_p_value_counts_the_data_among_the_draws():
    assert p_value(np.array([3.0, 1, 2, 0])) == 0.25
    assert p_value(np.array([0.0, 1, 2, 0])) == 1.0


def test_burg_recovers_what_statsmodels_finds():
    series = simulate(Autoregression(np.array([1, -1.2, 0.5]), 1.0), rng(2).standard_normal(4000))
    ours = fit(series, 6)
    order = len(ours.coefficients) - 1
    theirs, variance = burg(series, order=order, demean=True)
    assert order >= 2
    np.testing.assert_allclose(-ours.coefficients[1:], theirs, atol=1e-6)
    assert ours.variance == pytest.approx(variance, rel=1e-3)  # theirs divides otherwise


def test_simulated_series_have_the_variance_of_their_model():
    # AR(1): variance / (1 - rho^2)
    series = simulate(Autoregression(np.array([1, -0.8]), 1.0), rng(3).standard_normal((400, 1000)))
    assert series.shape == (400, 500)
    assert series.var() == pytest.approx(1 / (1 - 0.64), rel=0.05)


def test_signed_area_is_the_sum_over_time():
    x = rng(4).standard_normal((101, 2)).cumsum(axis=0)
    x -= x.mean(axis=0)
    spectra = spectra_of(x)
    sines = np.sin(2 * np.pi * np.arange(1, 51) / 101)
    areas = signed_areas(spectra, 101)
    power = np.abs(spectra) ** 2
    sd = np.sqrt(8 / 101**2 * (sines**2 * power[0] * power[1]).sum())
    following = np.roll(x, -1, axis=0)  # the sum is over a closed path
    naive = (x[:, 0] * following[:, 1] - x[:, 1] * following[:, 0]).sum()
    assert abs(areas[0, 1] * sd) == pytest.approx(abs(naive), rel=1e-6)
    assert areas[0, 1] == pytest.approx(-areas[1, 0])


def test_modes_are_white_and_uncorrelated_one_step_apart():
    x = rng(5).standard_normal((201, 4)).cumsum(axis=0)
    modes = series_of(slow_modes(spectra_of(x), 201).spectra, 201)
    now = modes @ modes.T
    lagged = modes @ np.roll(modes, -1, axis=1).T
    np.testing.assert_allclose(now, np.diag(np.diag(now)), atol=1e-8)
    np.testing.assert_allclose(lagged + lagged.T, np.diag(np.diag(lagged + lagged.T)), atol=1e-8)


def test_drift_share_is_one_for_a_straight_line():
    y = np.ones((40, 3))
    share = draw_drift(y, 99, seed=0)
    assert share[0] == pytest.approx(40)
    assert p_value(share) == 0.01
    assert draw_slow_drift(y, 8, 99, seed=0)[0] == pytest.approx(1)


def test_correlation_time_of_an_autoregression():
    noise = rng(6).standard_normal((40_000, 3))
    x = np.zeros_like(noise)
    for t in range(1, len(x)):
        x[t] = 0.9 * x[t - 1] + noise[t]
    assert correlation_time(x) == pytest.approx((1 + 0.9) / (1 - 0.9), rel=0.1)


def test_early_excess_sees_a_far_start():
    x = rng(7).standard_normal((2, 200))
    assert early_excess(x).max() < 2
    x[:, :10] += 20
    assert early_excess(x)[0] > 5


def test_line_is_where_two_modes_share_a_peak():
    t = np.arange(200)
    cycle = np.stack([np.cos(2 * np.pi * t / 20), np.sin(2 * np.pi * t / 20)])
    found = line(cycle + 0.1 * rng(8).standard_normal((2, 200)))
    assert found.cycles == 10
    assert found.is_narrow
    assert not line(rng(9).standard_normal((2, 200))).is_narrow


def ringing(n_modes, seed, radius=0.95):
    model = Autoregression(np.array([1, -2 * radius * np.cos(np.pi / 6), radius**2]), 1.0)
    return simulate(model, rng(seed).standard_normal((n_modes, 400)))


def test_leading_components_of_ringing_are_no_narrower_than_draws_of_it():
    # Ten modes make components that are narrower than any one of them, in draws as in the data.
    path = ringing(10, 4)
    path -= path.mean(axis=1, keepdims=True)
    leading = np.linalg.svd(path, full_matrices=False)[2][:6]
    modes = series_of(slow_modes(spectra_of(leading.T), 200).spectra, 200)
    alone = np.median([line(ringing(6, seed)).concentration for seed in range(20)])
    assert line(modes).concentration > alone
    assert p_value(draw_ringing(modes, 0.95, 99, seed=0)) > 0.05


def test_a_line_without_damping_is_narrower_than_ringing():
    t = np.arange(200)
    cycle = np.stack([np.cos(2 * np.pi * t / 20), np.sin(2 * np.pi * t / 20)])
    series = cycle + 0.1 * rng(8).standard_normal((2, 200))
    assert p_value(draw_ringing(series, 0.95, 99, seed=0)) == 0.01


def test_a_plane_that_turns_is_far_out_in_both_components_without_having_begun_elsewhere():
    # Phases of their own for both components would find an excess in 4% of these at level 1%.
    rejected = 0
    for seed in range(60):
        noise = rng(seed).standard_normal((500, 2)) @ np.array([1, 1j])
        z = np.zeros(500, complex)
        for step in range(1, 500):
            z[step] = np.exp(-0.1 + 0.3j) * z[step - 1] + noise[step]
        path = np.stack([z.real, z.imag], axis=1)[300:]
        draws = draw_early_excess(path, 99, seed)
        rejected += p_value(standardised(draws).max(axis=-1)) <= 0.05
    assert rejected <= 7  # 99% of a binomial of 60 at 5%


def test_large_windows_are_drawn_in_fewer_directions_with_the_same_means():
    noise = np.random.default_rng(3).standard_normal((600, 300))
    increments = np.diff(lfilter([1.0], [1.0, -0.8], noise, axis=0), axis=0)
    whole = draw_increments(increments, 99, 0)
    fewer = draw_increments(increments, 99, 0, most=100 * len(increments))
    # Of a hundred directions of three hundred equal ones.
    np.testing.assert_allclose(fewer.variance_ratio[0], whole.variance_ratio[0], rtol=0.1)
    np.testing.assert_allclose(
        fewer.variance_ratio[1:].mean(axis=0), whole.variance_ratio[1:].mean(axis=0), rtol=0.05
    )
    assert np.abs(fewer.relaxation - whole.relaxation).max() < 1e-6  # along the displacement


def test_p_values_in_fewer_directions_keep_their_level(monkeypatch):
    monkeypatch.setattr(redrawn, "_FEWEST", 8)
    monkeypatch.setattr(redrawn, "_LONGEST_GRAM", 0)
    found = []
    for seed in range(60):
        steps = np.random.default_rng([9, seed]).standard_normal((100, 40))
        draws = draw_increments(steps * np.linspace(0.1, 2, 40), 199, seed, most=1)
        found.append([p_value(brownian.omnibus(draws)), p_value(draws.noise_scale)])
    assert np.all(np.mean(np.array(found) <= 0.1, axis=0) <= 0.22)
