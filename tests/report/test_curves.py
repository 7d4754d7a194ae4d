import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_results import brownian, make_results

from trajscope.report.content.curves import MOST_POINTS, binned, curves
from trajscope.report.figures.components import drawn_stride, random_walk_arch
from trajscope.report.figures.curves import flat_band, relative_displacement, walk_distance
from trajscope.report.figures.known import PROCESSES


@given(st.integers(1, 5000), st.booleans(), st.integers(0, 2**32))
def test_binning_keeps_the_extremes_the_mean_and_the_order(size, by_ratio, seed):
    x = np.arange(1.0, size + 1)
    y = np.random.default_rng(seed).normal(size=size)
    seen = binned(x, y, by_ratio=by_ratio)
    assert seen.x.size <= MOST_POINTS
    assert seen.high.max() == y.max()
    assert seen.low.min() == y.min()
    assert np.all((seen.low <= seen.mean + 1e-12) & (seen.mean <= seen.high + 1e-12))
    assert np.all(np.diff(seen.x) > 0)
    if size <= MOST_POINTS:
        np.testing.assert_array_equal(seen.mean, y)


def test_a_spike_of_one_point_in_a_long_curve_is_still_there():
    y = np.zeros(100_000)
    y[54_321] = 7.0
    assert binned(np.arange(1.0, y.size + 1), y).high.max() == 7.0


def test_binning_by_ratio_keeps_the_first_decade_point_by_point():
    x = np.arange(1.0, 100_001)
    np.testing.assert_array_equal(binned(x, x, by_ratio=True).x[:20], x[:20])


@pytest.mark.parametrize("steps", [None, np.cumsum(np.arange(1, 61))])
def test_lags_and_frequencies_are_counted_in_checkpoints(steps):
    found = curves(make_results(brownian(60, 100), steps=steps))
    np.testing.assert_array_equal(found.lags, np.arange(60))
    np.testing.assert_allclose(found.frequencies, np.fft.rfftfreq(59)[1:])


def test_displacement_growth_is_in_units_of_one_interval():
    x = brownian(40, 100)
    lag, growth = relative_displacement(curves(make_results(x)))
    one = np.mean(np.sum(np.diff(x, axis=0) ** 2, axis=1))
    five = np.mean(np.sum((x[5:] - x[:-5]) ** 2, axis=1))
    assert lag[4] == 5
    assert growth[0] == 1
    assert growth[4] == pytest.approx(five / one)


def test_the_random_walk_reference_is_the_mean_over_shuffled_signs():
    x = brownian(40, 100)
    increments = np.diff(x, axis=0)
    rng = np.random.default_rng(1)
    signs = rng.choice([-1, 1], size=(4000, 39))
    ends = np.sum((signs @ increments) ** 2, axis=1)
    expected = np.sqrt(ends.mean())
    # 4000 draws of a quadratic form: its relative standard error is below 1%.
    assert walk_distance(curves(make_results(x)))[-1] == pytest.approx(expected, rel=0.03)


def test_the_flat_band_holds_the_mean_over_independent_weights():
    rng = np.random.default_rng(0)
    found = curves(make_results(rng.normal(size=(200, 3000)).cumsum(axis=0), tensors={"w": 3000}))
    low, high = flat_band(found)
    mean = found["increment_fft_mean"][:-1]
    outside = np.mean((mean < low) | (mean > high))
    assert outside < 0.05  # 1% expected, 98 frequencies


def test_the_arch_has_the_variance_of_a_random_walk_and_lies_on_one():
    found = curves(make_results(brownian(150, 4000), tensors={"w": 4000}))
    scores = found["principal_component"]
    for wave, k in zip(random_walk_arch(found), (0, 1), strict=True):
        assert np.corrcoef(wave, scores[:, k])[0, 1] > 0.98
        assert wave.std() == pytest.approx(scores[:, k].std(), rel=0.05)


@pytest.mark.parametrize(("steps", "stride"), [(2, 1), (400, 1), (401, 2), (99_000, 248)])
def test_the_plane_shows_at_most_four_hundred_checkpoints(steps, stride):
    assert drawn_stride(steps) == stride
    assert len(range(0, steps, stride)) <= MOST_POINTS


def test_the_known_processes_have_the_displacement_that_simulation_gives():
    rng = np.random.default_rng(0)
    n, runs = 4000, 40
    lag = np.array([1, 3, 10, 30])

    def measured(x):
        squared = [np.mean(np.abs(x[q:] - x[:-q]) ** 2) for q in lag]
        return np.array(squared) / squared[0]

    def driven(factor, start=1000):
        x = np.zeros((n + start, runs), complex)
        for t in range(1, n + start):
            noise = rng.normal(size=(2, runs))
            x[t] = factor * x[t - 1] + noise[0] + 1j * noise[1]
        return x[start:]

    turn = 2 * np.pi / 30
    simulated = (
        rng.normal(size=(n, runs)).cumsum(axis=0),
        driven(np.exp(-1 / 6)),
        driven(np.exp(-turn / 5 + 1j * turn)),
        driven(0.9).cumsum(axis=0),
    )
    for process, x in zip(PROCESSES, simulated, strict=True):
        closed = process.displacement(lag.astype(float)) / process.displacement(np.ones(1))
        np.testing.assert_allclose(measured(x), closed, rtol=0.08, err_msg=process.name)
