"""The areas of twelve parts of a path: against triangles, by symmetry, and on known processes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import lfilter

from trajscope import simulate
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.statistics.areas import N_PARTS, draw_agreement
from trajscope.inference.statistics.brownian import p_value
from trajscope.inference.statistics.permutations import MOST_NUMBERS
from trajscope.inference.statistics.window import Window

EVERYTHING = 1 << 30


def path_of(seed: int, n: int = 61, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).cumsum(axis=0)


def swept(part: np.ndarray) -> np.ndarray:
    """Areas of the triangles from the mean to one point and the next, in every plane, summed."""
    d, middle = part.shape[1], part.mean(axis=0)
    areas = np.zeros((d, d))
    for i in range(d):
        for j in range(d):
            for here, there in pairwise(part - middle):
                areas[i, j] += (here[i] * there[j] - here[j] * there[i]) / 2
    return areas


def test_areas_are_those_of_triangles_about_the_mean():
    path = path_of(0)
    ends = np.linspace(0, 60, N_PARTS + 1).round().astype(int)
    areas = [swept(path[a : b + 1]) for a, b in pairwise(ends)]
    wanted, squares = 0.0, 0.0
    for b in range(N_PARTS):
        for c in range(b - 2):
            product = float((areas[b] * areas[c]).sum())
            wanted, squares = wanted + product, squares + product**2
    found = draw_agreement(path, EVERYTHING, 0)
    assert found[0] == pytest.approx(wanted / squares**0.5, rel=1e-4)
    assert len(found) == 2 ** (N_PARTS - 1)
    # All signs are as likely: products of different parts have mean 0 and are not correlated.
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert found.std() == pytest.approx(1, rel=1e-6)


def test_the_other_way_round_and_in_other_coordinates_the_agreement_is_the_same():
    path = path_of(1)
    turned, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    for other in (path[::-1], path @ turned, 5 * path + 7):
        np.testing.assert_allclose(
            np.sort(draw_agreement(other, EVERYTHING, 0)),
            np.sort(draw_agreement(path, EVERYTHING, 0)),
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip


def test_what_reads_the_same_backwards_is_not_said_to_turn():
    """Walks, wells long and short, many and few modes, volatile and heavy-tailed noise."""
    made = {
        "walk": lambda seed: simulate.driven_walk(150, n_modes=20, seed=seed),
        "long well": lambda seed: simulate.ornstein_uhlenbeck(150, taus=[2] * 40, seed=seed),
        "short well": lambda seed: simulate.ornstein_uhlenbeck(150, taus=[50] * 40, seed=seed),
        "two modes": lambda seed: simulate.ornstein_uhlenbeck(150, taus=[5, 9], seed=seed),
        "volatile": lambda seed: simulate.driven_well(
            150, taus=[5] * 20, seed=seed, noise=simulate.clustered(persistence=20, spread=1)
        ),
        "t3": lambda seed: simulate.driven_well(
            150, taus=[5] * 20, seed=seed, noise=simulate.student_t(3)
        ),
    }
    runs = 30
    p = [
        p_value(draw_agreement(make(seed).values, EVERYTHING, 0))
        for make in made.values()
        for seed in range(runs)
    ]
    n = runs * len(made)
    for level in (0.05, 0.2):
        wrong = sum(each <= level for each in p) / n
        assert wrong <= level + 3 * (level * (1 - level) / n) ** 0.5


def test_a_little_rotation_in_many_planes_is_a_circulation():
    run = simulate.driven_well(200, taus=[10] * 20, angular_velocity=0.1, seed=5)
    found = decide(Window(np.diff(run.values, axis=0)), DecisionSettings(n_surrogates=199))
    assert found.code == "circulating"
    assert found.evidence["all_planes"] <= 0.005 < found.evidence["slow_planes"]
    assert found.evidence["circulation"] == pytest.approx(2 * found.evidence["all_planes"])


def test_long_runs_are_looked_at_in_fewer_directions():
    run = simulate.driven_well(1200, taus=[10] * 100, angular_velocity=0.1, seed=4).values
    few, all_of_them = (draw_agreement(run, most, 0) for most in (1, MOST_NUMBERS))
    assert few.shape == all_of_them.shape
    assert p_value(few) == p_value(all_of_them) == 2.0 ** (1 - N_PARTS)


def ringing(seed: int, steps: float, n: int = 200, d: int = 100) -> np.ndarray:
    """Independent modes that ring at a period of 12 steps, and decay in so many."""
    rng = np.random.default_rng(seed)
    r, w = np.exp(-1 / steps), 2 * np.pi / 12
    noise = rng.standard_normal((n + 200, d))
    return lfilter([1.0], [1.0, -2 * r * np.cos(w), r * r], noise, axis=0)[-n:]


def test_what_rings_on_into_the_next_part_is_no_rotation():
    # Neighbouring parts turn alike: with them, each of these is called a rotation.
    p = [p_value(draw_agreement(ringing(seed, 6), EVERYTHING, 0)) for seed in range(20)]
    assert sum(each <= 0.05 for each in p) <= 4


def test_what_rings_for_most_of_a_part_is_not_asked():
    assert all(draw_agreement(ringing(seed, 40), EVERYTHING, 0) is None for seed in range(5))
