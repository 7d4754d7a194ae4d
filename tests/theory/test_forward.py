"""The comparison with the prediction: calibrated where it is right, loud where it is not."""

import numpy as np
import pytest

from trajscope.optimizer import Optimizer
from trajscope.theory.forward import Errors, forward, raw_slope
from trajscope.theory.law import response
from trajscope.theory.statistics import currents, moments, windows_of

PLAIN = Optimizer(0.1, 10, 0.0, with_replacement=True)
HEAVY = Optimizer(0.01, 10, 0.9, with_replacement=True)
K = 6


def noise_matrix(seed=0, mixing=0.7):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((2 * K, K)) + mixing * rng.standard_normal((2 * K, 1))
    return rows.T @ rows / len(rows)


def made(optimizer=PLAIN, *, seed, n_steps=400, scale=1.0, currents_flow=True, updates=5):
    """A window of a law, and what is predicted for it."""
    curvatures = np.geomspace(0.4, 4, K)[::-1]
    respond = response(curvatures, optimizer, updates=updates)
    diffusion = noise_matrix()
    law = respond.law(diffusion)
    true = law if currents_flow else law.without_correlations()
    rng = np.random.default_rng([seed, 1])
    path = np.sqrt(scale) * true.paths(1, n_steps, rng)[0]
    halves = np.stack([law.lagged, law.lagged])
    return forward(windows_of(path, law, 200, rng), halves, Errors(np.zeros(K), 0.0))


def test_moments_are_the_plain_sums():
    path = np.random.default_rng(0).standard_normal((2, 9, 3)).cumsum(axis=1)
    found = moments(path)
    for run in range(2):
        x = path[run] - path[run].mean(axis=0)
        lagged = sum(np.outer(x[t + 1], x[t]) for t in range(8)) / 8
        np.testing.assert_allclose(found.covariance[run], np.cov(path[run].T, bias=True))
        np.testing.assert_allclose(found.lagged[run], lagged)
        expected = [
            (lagged[i, j] - lagged[j, i])
            / 2
            / np.sqrt(np.var(path[run][:, i]) * np.var(path[run][:, j]))
            for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        np.testing.assert_allclose(found.currents[run], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(PLAIN, id="plain", marks=pytest.mark.slice),
        pytest.param(HEAVY, id="heavy ball"),
    ],
)
def test_intervals_cover_the_truth_and_the_slope_is_one(optimizer):
    found = [made(optimizer, seed=seed, n_steps=300) for seed in range(40)]
    covered = np.mean([(f.variance.low < 1) & (f.variance.high > 1) for f in found])
    assert 0.90 < covered < 0.99
    for name in ("volume", "budget"):
        ratios = [getattr(f, name) for f in found]
        assert sum(r.low < 1 < r.high for r in ratios) >= 34
        assert np.mean([np.log(r.value) for r in ratios]) == pytest.approx(0, abs=0.05)
    slopes = np.array([f.slope for f in found])
    assert slopes.mean() == pytest.approx(1, abs=4 * slopes.std() / np.sqrt(40))
    assert sum(f.slope_low < 1 < f.slope_high for f in found) >= 34
    lagged = np.array([(f.lagged.low < 1) & (f.lagged.high > 1) for f in found])
    known = np.isfinite(found[0].lagged.value)
    assert known.sum() == K - (optimizer is PLAIN)  # the fastest forgets between checkpoints
    assert 0.90 < lagged[:, known].mean() < 0.99


def test_without_currents_the_slope_is_zero_and_its_p_value_level():
    found = [made(seed=seed, currents_flow=False) for seed in range(40)]
    slopes = np.array([f.slope for f in found])
    assert slopes.mean() == pytest.approx(0, abs=4 * slopes.std() / np.sqrt(40))
    assert slopes.std() == pytest.approx(np.mean([f.slope_null for f in found]), rel=0.35)
    p_values = np.array([f.p_current for f in found])
    assert (p_values <= 0.05).sum() <= 8  # binomial(40, 0.05): 1 in 5,000
    assert (p_values <= 0.5).mean() == pytest.approx(0.5, abs=0.28)


def test_a_temperature_of_twice_the_predicted_is_measured():
    found = [made(seed=seed, scale=2.0) for seed in range(20)]
    assert np.mean([np.log(f.volume.value) for f in found]) == pytest.approx(np.log(2), abs=0.06)
    assert all(f.volume.low > 1 for f in found)
    assert np.mean([f.slope for f in found]) == pytest.approx(1, abs=0.6)


def test_the_noise_of_d_does_not_flatten_the_slope():
    respond = response(np.geomspace(0.4, 4, K)[::-1], PLAIN, updates=5)
    true = respond.law(noise_matrix(mixing=0.3))
    found = currents(true.covariance, true.lagged)
    root = np.linalg.cholesky(noise_matrix(mixing=0.3))
    slopes, flattened = [], []
    for seed in range(300):
        rows = np.random.default_rng([seed, 2]).standard_normal((2, 100, K)) @ root.T
        halves = np.einsum("hni,hnj->hij", rows, rows) / 100
        law = respond.law(halves.mean(axis=0))
        predicted = currents(law.covariance, law.lagged)
        parts = [currents(law.covariance, respond.law(half).lagged) for half in halves]
        slopes.append(raw_slope(found, predicted, parts)[0])
        flattened.append(found @ predicted / (predicted @ predicted))
    slopes = np.array(slopes)
    assert np.isfinite(slopes).mean() > 0.9
    assert np.nanmean(slopes) == pytest.approx(1, abs=0.06)
    assert np.mean(flattened) < 0.99


def test_currents_of_a_law_are_those_of_its_covariances():
    law = response(np.array([2.0, 1.0]), PLAIN, updates=1).law(np.array([[1.0, 0.5], [0.5, 1.0]]))
    turning = (law.lagged[0, 1] - law.lagged[1, 0]) / 2
    sizes = np.sqrt(law.covariance[0, 0] * law.covariance[1, 1])
    np.testing.assert_allclose(currents(law.covariance, law.lagged), [turning / sizes])
