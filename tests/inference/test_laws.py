import numpy as np
import pytest
import scipy.linalg

from trajscope.inference.comparison.law import Half, checks, law_of, likeness, n_directions

DRAWS = 99


def wells(n_steps, taus, variance, seed):
    """Independent Ornstein-Uhlenbeck modes in their steady state, (step, mode)."""
    rng = np.random.default_rng(seed)
    rho = np.exp(-1 / np.asarray(taus, float))
    x = np.empty((n_steps, len(rho)))
    x[0] = rng.standard_normal(len(rho))
    for t in range(1, n_steps):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(len(rho))
    return x * np.sqrt(variance)


def halves(x):
    middle = len(x) // 2
    return Half(x[:middle]), Half(x[middle:])


def law(x, seed, n_draws=DRAWS):
    return law_of(halves(x), n_draws, [seed])


def pair(seed, n_steps=400, taus=(4, 4, 4), variances=(1.0, 1.0), other_taus=None):
    one = law(wells(n_steps, taus, variances[0], [seed, 0]), seed)
    two = law(wells(n_steps, other_taus or taus, variances[1], [seed, 1]), seed + 10_000)
    return likeness(one, two)


def test_the_ratio_is_the_geometric_mean_of_generalised_eigenvalues_in_any_basis():
    x, y = wells(400, [3, 5, 7], 1.0, 1), wells(400, [3, 5, 7], 2.0, 2)
    turn = np.random.default_rng(3).standard_normal((3, 3))
    found = likeness(law(x, 0), law(y, 1))
    turned = likeness(law(x @ turn, 0), law(y @ turn, 1))
    logs = [
        np.log(scipy.linalg.eigh(np.cov(b.T), np.cov(a.T), eigvals_only=True))
        for a, b in ((x[:200], y[:200]), (x[200:], y[200:]))
    ]
    assert found.log_ratio == pytest.approx(np.mean(logs), rel=1e-9)
    assert found.spread[0] == pytest.approx(np.mean([each.var() for each in logs]), rel=1e-9)
    assert turned.log_ratio == pytest.approx(found.log_ratio, rel=1e-9)
    assert turned.interval(0.05) == pytest.approx(found.interval(0.05), rel=0.15)


def test_exchanging_the_runs_inverts_the_ratio():
    one, two = law(wells(400, [4, 4], 1, 1), 0), law(wells(400, [4, 4], 3, 2), 1)
    there, back = likeness(one, two), likeness(two, one)
    assert there.log_ratio == pytest.approx(-back.log_ratio)
    assert there.p_same_shape == back.p_same_shape
    low, high = back.interval(0.05)[1:]
    assert there.interval(0.05)[1:] == pytest.approx((1 / high, 1 / low))


@pytest.mark.slow
@pytest.mark.slice
def test_equal_laws_are_told_apart_as_often_as_the_level_says_and_intervals_cover():
    found = [pair(seed) for seed in range(900, 940)]
    p_law = np.array([each.p_same_law(1.0) for each in found])
    p_shape = np.array([each.p_same_shape for each in found])
    covered = [each.interval(0.05)[1] <= 1 <= each.interval(0.05)[2] for each in found]
    # Of 40 at 5% more than 6 have a probability of 1.4%.
    assert (p_law <= 0.05).sum() <= 6
    assert (p_shape <= 0.05).sum() <= 6
    assert np.mean(covered) >= 0.87


def test_a_ratio_that_is_expected_is_no_difference_and_another_one_is():
    found = [pair(seed, variances=(1.0, 2.0)) for seed in range(800, 810)]
    assert np.mean([each.p_same_law(1.0) <= 0.01 for each in found]) >= 0.9
    assert np.mean([each.p_same_law(2.0) <= 0.01 for each in found]) <= 0.2
    assert np.mean([each.interval(0.05)[0] for each in found]) == pytest.approx(2, rel=0.1)


def test_a_faster_run_of_the_same_law_is_no_other_law():
    found = [pair(seed, taus=(8, 8), other_taus=(4, 4)) for seed in range(700, 715)]
    assert np.mean([each.p_same_law(1.0) <= 0.05 for each in found]) <= 0.2


def test_another_shape_of_the_same_volume_is_seen():
    one = law(wells(2000, [4, 4], 1, 5), 0)
    two = law(wells(2000, [4, 4], 1, 6) * np.sqrt([3.0, 1 / 3]), 1)
    found = likeness(one, two)
    assert found.p_same_shape <= 0.01
    assert found.p_same_law(1.0) <= 0.01
    assert found.log_ratio == pytest.approx(0, abs=0.2)


def test_mixtures_of_fast_and_slow_modes_are_taken_at_a_longer_spacing():
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    mixed = (wells(4000, [2, 2, 2, 60, 60, 60], 1, 7) @ turn)[:, :2]
    stride, fits = Half(mixed).spacing
    assert stride > 1
    assert fits
    assert Half(wells(2000, [6, 6], 1, 8)).spacing == (1, True)


def test_what_is_taken_for_granted_is_checked():
    rng = np.random.default_rng(4)
    good = wells(400, [4, 4], 1, 9)
    assert min(checks(halves(good)).values()) > 0.01
    loud = good * np.repeat(np.exp(rng.standard_normal(20)), 20)[:, np.newaxis]
    assert checks(halves(loud))["normal"] <= 0.01
    bound = np.tanh(5 * good)  # nearly two places, as in a double well
    assert checks(halves(bound))["normal"] <= 0.01
    # The jump is no slow mode of a model; a steady drift is one, and leaves few correlation times.
    jumps = good + 3.0 * (np.arange(400) % 200 >= 100)[:, np.newaxis]
    assert checks(halves(jumps))["drift"] <= 0.02
    moved = good + np.linspace(0, 12, 400)[:, np.newaxis]
    assert sum(half.n_times for half in halves(moved)) < 5


def test_a_random_walk_has_no_correlation_times_and_a_still_direction_is_seen():
    walk = Half(np.cumsum(np.random.default_rng(1).standard_normal((200, 2)), axis=0))
    assert walk.n_times < 5
    still = Half(np.column_stack([np.random.default_rng(1).standard_normal(200), np.zeros(200)]))
    assert still.is_degenerate


def test_short_halves_and_few_weights_have_fewer_directions():
    assert [n_directions(n, 1000) for n in (32, 64, 96, 1000)] == [2, 4, 6, 6]
    assert n_directions(1000, 1) == 1
