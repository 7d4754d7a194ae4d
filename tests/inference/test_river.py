import numpy as np
import pytest

from tests.trajectories import brownian
from trajscope.inference.statistics.river import NUMBERS, draw_river, river_p_values
from trajscope.kernels.river import river_of_gram, window_lengths


def of(x, n_draws=99):
    each, of_all = river_p_values(draw_river(np.diff(x, axis=0), n_draws, 0)[np.newaxis])
    return each[0], of_all[0]


def test_the_first_draw_is_the_data():
    y = np.diff(brownian(70, 12), axis=0)
    draws = draw_river(y, 20, 0) * np.array([1, 1, np.abs(y).max() ** 2, np.abs(y).max()])[:, None]
    assert draws.shape == (21, len(NUMBERS), len(window_lengths(70)))
    positions = np.vstack([np.zeros(12), np.cumsum(y, axis=0)])
    # Draws are in single precision.
    for place, length in enumerate(window_lengths(70)):
        expected = river_of_gram(positions @ positions.T, length)
        np.testing.assert_allclose(draws[0, :, place], expected, rtol=1e-5)


def test_p_values_of_a_walk_are_uniform():
    found = np.array([of(brownian(64, 30, seed), 39)[1] for seed in range(60)])
    # 60 draws of a uniform p: at most 0.05 in 3 on average, in 9 or more once in 500.
    assert np.all((found <= 0.05).sum(axis=0) <= 9)
    assert np.all(np.abs(found.mean(axis=0) - 0.5) < 0.15)


def test_a_river_with_hills_departs_from_reordered_increments():
    hills = np.random.default_rng(0).standard_normal((200, 50))
    x = hills + 0.3 * np.outer(np.sin(np.arange(200) / 60), np.ones(50))
    each, of_all = of(x)
    assert each.shape == (4, len(window_lengths(200)))
    assert of_all[NUMBERS.index("hill_energy")] == 0.01
    assert of_all[NUMBERS.index("river_speed")] == 0.01


@pytest.mark.parametrize("x", [np.zeros((40, 3)), brownian(10, 3)])
def test_nothing_is_said_where_nothing_varies_or_the_run_is_short(x):
    each, of_all = of(x)
    assert np.isnan(each).all()
    assert np.isnan(of_all).all()


def test_layers_are_corrected_for_their_number_and_all_weights_are_not():
    paths = [brownian(64, 30, seed) for seed in range(9)]
    paths.append(np.random.default_rng(0).standard_normal((64, 30)))  # hills alone
    draws = np.array([draw_river(np.diff(x, axis=0), 99, 0) for x in paths])
    each, of_all = river_p_values(draws)
    alone = [river_p_values(draws[[place]]) for place in range(len(paths))]
    for place, (own_each, own_all) in enumerate(alone):
        np.testing.assert_array_equal(each[place], own_each[0])
        assert np.all(of_all[place] >= own_all[0]) if place else np.all(of_all[0] == own_all[0])
    assert of_all[-1, NUMBERS.index("hill_energy")] == 0.01
    assert np.all(of_all[1:-1].mean(axis=0) > np.mean([a[1][0] for a in alone[1:-1]], axis=0))


def test_a_layer_that_stands_still_has_no_p_and_takes_none_from_others():
    moves, still = brownian(64, 30, 1), np.zeros((64, 30))
    draws = np.array([draw_river(np.diff(x, axis=0), 39, 0) for x in (moves, moves, still)])
    each, of_all = river_p_values(draws)
    assert np.all(np.isnan(of_all[2]))
    assert np.all(np.isnan(each[2]))
    np.testing.assert_array_equal(of_all[0], of_all[1])
