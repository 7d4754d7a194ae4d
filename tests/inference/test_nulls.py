"""Draws of the permutation null, by either way, and the statistics that were added to them."""

import numpy as np
import pytest

from trajscope.inference.nulls.draws import permutations
from trajscope.inference.statistics import redrawn as nulls
from trajscope.inference.statistics.brownian import (
    asymmetry,
    confinement,
    has_memory,
    p_value,
    relaxation,
)
from trajscope.inference.statistics.permutations import IncrementDraws, draw_increments
from trajscope.inference.statistics.redrawn import diagonal_sums
from trajscope.simulate import brownian, ornstein_uhlenbeck


def increments(n=61, d=20, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)) + 0.2


def dickey_fuller(y):
    """Minus the t-value of the rate, with the variance of white increments, as on paper."""
    x = np.concatenate([np.zeros((1, y.shape[1])), y.cumsum(axis=0)])[:-1]
    x = x - x.mean(axis=0)
    variance = ((y - y.mean(axis=0)) ** 2).sum() / len(y)
    return -(y * x).sum() / np.sqrt((x**2).sum() * variance)


def test_the_pull_back_is_a_regression_of_increments_on_positions():
    y = increments()
    draws = draw_increments(y, 5, seed=3).mean_reversion
    orders = permutations(3, 0, len(y))[:5]
    expected = [dickey_fuller(y), *(dickey_fuller(y[order]) for order in orders)]
    np.testing.assert_allclose(draws, expected, rtol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_inner_products_and_transforms_give_the_same_draws(monkeypatch, flip):
    by_gram = draw_increments(increments(), 40, seed=3, flip=flip)
    monkeypatch.setattr(nulls, "_LONGEST_GRAM", 0)
    by_transforms = draw_increments(increments(), 40, seed=3, flip=flip)
    for name in IncrementDraws.__dataclass_fields__:
        one, other = getattr(by_gram, name), getattr(by_transforms, name)
        # Single precision, over sums of some sixty terms.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("flip", [False, True])
def test_how_many_components_are_transformed_together_does_not_matter(monkeypatch, flip):
    y = increments(600, 30)
    whole = draw_increments(y, 8, seed=3, flip=flip)
    monkeypatch.setattr(nulls, "CACHED", 1)
    in_parts = draw_increments(y, 8, seed=3, flip=flip)
    for name in IncrementDraws.__dataclass_fields__:
        one, other = getattr(whole, name), getattr(in_parts, name)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)


def test_fewer_directions_keep_what_is_pooled_on_average_and_scatter_as_fewer_weights():
    y = increments(600, 500)
    whole = draw_increments(y, 60, seed=1)
    fewer = draw_increments(y, 60, seed=1, most=1)  # 64 directions
    ratio = fewer.variance_ratio[1:, -1].std() / whole.variance_ratio[1:, -1].std()
    participation = 1 / (1 / 500 + 1 / 600)  # of 600 draws of 500 equal weights
    expected = (participation * (1 / participation + 1 / 64)) ** 0.5
    assert 0.7 * expected < ratio < 1.4 * expected
    np.testing.assert_allclose(
        fewer.variance_ratio[1:].mean(axis=0), whole.variance_ratio[1:].mean(axis=0), atol=0.02
    )


def test_diagonal_sums_are_those_of_the_diagonals():
    grams = np.random.default_rng(1).standard_normal((3, 7, 7)).astype(np.float32)
    expected = [[np.trace(gram, lag) for lag in range(7)] for gram in grams]
    np.testing.assert_allclose(diagonal_sums(grams, (7, 7)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("drift", [0, 3])
def test_a_walk_is_not_taken_back_however_it_drifts(drift):
    # 99% of a binomial of 60 at 10%.
    paths = (brownian(60, 5, seed=seed, drift=drift) for seed in range(60))
    draws = (draw_increments(np.diff(path, axis=0), 99, seed=1) for path in paths)
    assert sum(p_value(confinement(each)) <= 0.1 for each in draws) <= 12


def test_a_path_that_falls_into_a_well_is_taken_back():
    # The variance ratio alone, which the fall raises, does not see it.
    start = [8.0] * 3 + [0.0] * 7
    path = ornstein_uhlenbeck(200, taus=[40] * 10, start=start, seed=2)
    draws = draw_increments(np.diff(path, axis=0), 199, seed=0)
    assert p_value(confinement(draws)) <= 0.01
    assert p_value(-draws.variance_ratio[:, -1]) > 0.05


def remembering(phi, seed, n_steps=200):
    noise = np.random.default_rng(seed).standard_normal((n_steps + 200, 10))
    y = np.zeros_like(noise)
    for t in range(1, len(y)):
        y[t] = phi * y[t - 1] + noise[t]
    return y[200:]


def test_momentum_is_memory_and_a_fall_into_a_well_is_none():
    for seed in range(5):
        assert has_memory(draw_increments(remembering(0.9, seed), 199, seed=0), 0.01)
        start = [5.0] * 3 + [0.0] * 7
        path = ornstein_uhlenbeck(200, taus=[40] * 10, start=start, seed=seed)
        assert not has_memory(draw_increments(np.diff(path, axis=0), 199, seed=0), 0.01)


def test_movement_of_many_slow_modes_is_no_earlier_than_it_is_late():
    # All leave their first place, so most of what follows the net displacement comes early.
    path = ornstein_uhlenbeck(100, taus=[5] * 300, seed=4)
    draws = draw_increments(np.diff(path, axis=0), 199, seed=0)
    assert p_value(relaxation(draws)) == 0.005
    assert p_value(asymmetry(draws)) > 0.05
