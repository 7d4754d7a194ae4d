from itertools import pairwise

import numpy as np
import pytest

from tests.trajectories import brownian
from trajscope.kernels.gram import displacement_gram, increment_gram
from trajscope.kernels.river import (
    River,
    average_gram,
    brownian_river,
    river_of_averages,
    river_of_gram,
    rivers_of_increments,
    window_lengths,
)


def naive(x, w):
    """Averages as on paper."""
    windows = [x[start : start + w] for start in range(0, len(x) - w + 1, w)]
    means = np.array([window.mean(axis=0) for window in windows])
    variances = np.linalg.svd(means - means.mean(axis=0), compute_uv=False) ** 2
    steps = np.diff(means, axis=0)
    cosines = [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairwise(steps)]
    hills = [np.sum((window - window.mean(axis=0)) ** 2, axis=1) for window in windows]
    speeds = [np.linalg.norm(step) / w for step in steps]
    return River(variances[0] / variances.sum(), np.mean(cosines), np.mean(hills), np.mean(speeds))


def of_gram(x, w):
    return river_of_gram(displacement_gram(increment_gram(np.diff(x, axis=0))), w)


def of_factor(x, w):
    as_they_are = np.arange(len(x) - 1)[np.newaxis]
    found = rivers_of_increments(np.diff(x, axis=0), as_they_are)[window_lengths(len(x)).index(w)]
    return River(*(each[0] for each in found))


@pytest.mark.parametrize(
    ("river", "n_steps", "w"),
    [(of_gram, 16, 2), (of_gram, 61, 5), (of_gram, 120, 10), (of_factor, 16, 2),
     (of_factor, 61, 4), (of_factor, 127, 8), (of_factor, 128, 16), (of_factor, 129, 2)],
)  # fmt: skip
def test_river_and_hills_match_their_definitions(river, n_steps, w):
    x = brownian(n_steps, 40) + 5
    np.testing.assert_allclose(river(x, w), naive(x, w), rtol=1e-9)


def test_the_reference_is_that_of_increments_at_right_angles():
    for n_steps, w in ((100, 4), (103, 10), (64, 8)):
        walk = np.tri(n_steps, n_steps - 1, -1)
        np.testing.assert_allclose(brownian_river(n_steps, w), naive(walk, w), rtol=1e-9)


def test_averages_of_ten_of_a_walk_look_like_a_river():
    share, cosine, energy, _ = brownian_river(1000, 10)
    assert share == pytest.approx(0.61, abs=0.02)
    assert cosine == pytest.approx(0.25, abs=0.01)
    assert energy == pytest.approx((10 - 1 / 10) / 6)


def test_a_walk_of_many_weights_is_near_its_reference():
    x = brownian(200, 20_000)
    scale = [1, 1, 20_000, np.sqrt(20_000)]
    found = np.array(of_factor(x, 8)) / scale
    np.testing.assert_allclose(found, brownian_river(200, 8), rtol=0.05)


def test_a_river_with_hills_of_known_energy_is_found():
    rng = np.random.default_rng(0)
    x = np.outer(np.arange(400), np.eye(1, 2000)[0]) + 0.5 * rng.standard_normal((400, 2000))
    found = of_gram(x, 20)
    assert found.share > 0.98
    assert found.cosine > 0.6
    assert found.speed == pytest.approx(1, abs=0.1)
    # Deviations from a mean of twenty lose one twentieth; a straight line adds (w^2 - 1) / 12.
    assert found.energy == pytest.approx(0.25 * 2000 * 19 / 20 + (400 - 1) / 12, rel=0.02)


def test_windows_leave_from_eight_to_sixty_four_averages():
    assert window_lengths(15) == []
    assert window_lengths(16) == [2]
    assert window_lengths(300) == [8, 16, 32]
    for n_steps in range(16, 5000, 37):
        assert window_lengths(n_steps)
        assert all(8 <= n_steps // w <= 64 for w in window_lengths(n_steps))


@pytest.mark.parametrize("n_steps", [16, 61, 300])
def test_averages_that_are_summed_over_weights_give_the_same(n_steps):
    x = brownian(n_steps, 40)
    d = x - x[0]
    grams = average_gram(d[:, :7]) + average_gram(d[:, 7:])
    for gram, w in zip(grams, window_lengths(n_steps), strict=True):
        n = n_steps // w
        squared = np.sum(d[: n * w] ** 2) / (n * w)
        found = river_of_averages(gram[:n, :n], squared, w)
        np.testing.assert_allclose(found, naive(x, w), rtol=1e-9)


def test_a_path_that_stands_still_has_no_share():
    found = of_factor(np.ones((40, 3)), 4)
    assert np.isnan(found.share)
    assert (found.cosine, found.energy, found.speed) == (0, 0, 0)


def test_a_drift_takes_no_digits_of_the_hills():
    x = brownian(200, 3) + 1e9 * np.arange(200)[:, None]
    for w in window_lengths(200):
        assert of_factor(x, w).energy == pytest.approx(naive(x, w).energy, rel=1e-12)


@pytest.mark.parametrize(("n_steps", "n_weights"), [(40, 5), (3000, 50)])
def test_several_orders_at_once_are_each_alone(n_steps, n_weights):
    y = np.diff(brownian(n_steps, n_weights), axis=0)
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(len(y)), (3, 1)), axis=1)
    lengths = window_lengths(n_steps)
    for found, w in zip(rivers_of_increments(y, orders), lengths, strict=True):
        for number, order in enumerate(orders):
            x = np.vstack([np.zeros(n_weights), np.cumsum(y[order], axis=0)])
            expected = naive(x, w)
            np.testing.assert_allclose([each[number] for each in found], expected, rtol=1e-9)
