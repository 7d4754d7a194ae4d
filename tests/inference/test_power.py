import numpy as np
import pytest

from trajscope.inference.statistics.circulation import draw_circulation, spectra_of
from trajscope.inference.statistics.increments import pooled_autocovariance, variance_ratio
from trajscope.inference.statistics.permutations import draw_increments
from trajscope.inference.statistics.power import (
    mean_variance_ratio,
    slowest_relaxation,
    slowest_rotation,
)
from trajscope.simulate import ornstein_uhlenbeck


@pytest.mark.parametrize("tau", [5, 20, 100])
def test_the_mean_variance_ratio_of_a_well_is_that_of_simulated_ones(tau):
    path = ornstein_uhlenbeck(150, taus=[tau] * 600, seed=4).to_numpy()
    increments = np.diff(path, axis=0)
    centred = (increments - increments.mean(axis=0)).T[np.newaxis].astype(np.float32)
    ratio = variance_ratio(pooled_autocovariance(centred))[0, -1]
    assert mean_variance_ratio(149, tau) == pytest.approx(ratio, rel=0.05)


def test_a_well_of_no_depth_is_brownian():
    brownian = np.random.default_rng(5).standard_normal((600, 149)).astype(np.float32)
    brownian -= brownian.mean(axis=-1, keepdims=True)
    ratio = variance_ratio(pooled_autocovariance(brownian[np.newaxis]))[0, -1]
    assert mean_variance_ratio(149, 1e5) == pytest.approx(ratio, rel=0.05)


def test_wells_are_seen_four_times_in_five_at_the_slowest_that_is_named():
    null = np.random.default_rng(6).standard_normal((199, 10))
    ratios = draw_increments(null, 999, seed=0).variance_ratio[1:, -1]
    slowest = slowest_relaxation(ratios, 199, 0.01)
    seen = 0
    for seed in range(100):
        increments = np.diff(ornstein_uhlenbeck(200, taus=[slowest] * 10, seed=seed), axis=0)
        draws = draw_increments(increments, 199, seed).variance_ratio[:, -1]
        seen += np.mean(draws <= draws[0]) <= 0.005
    assert 65 <= seen <= 92


def test_nothing_is_seen_where_draws_leave_no_room():
    assert slowest_relaxation(np.array([0.01, 0.9, 0.9, 2.0]), 10, 0.01) is None
    assert slowest_rotation(np.array([1.0, 1e6]), 40, 5.0, 0.01) is None


def test_a_longer_window_sees_slower_circulations():
    found = []
    for n_steps in (200, 800):
        path = ornstein_uhlenbeck(n_steps, taus=[5] * 4, seed=1).to_numpy()
        null = draw_circulation(spectra_of(path), n_steps, 199, 0)[1:]
        found.append(slowest_rotation(null, n_steps, 10.0, 0.01))
    assert found[1] == pytest.approx(found[0] / 2, rel=0.3)
