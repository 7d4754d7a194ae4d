from itertools import permutations, product

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from trajscope import analyze
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.statistics.brownian import p_value
from trajscope.inference.statistics.growth import exponential_growth
from trajscope.inference.statistics.short import (
    draw_neighbours,
    draw_noise_trend,
    draw_one_way,
    least_p,
    two_sided,
)
from trajscope.inference.statistics.window import Window

DRAWS = 199


def increments(n, d=40, seed=0):
    return np.random.default_rng([1, seed]).standard_normal((n, d))


def decided(y, seed=0):
    return decide(Window(y), DecisionSettings(DRAWS, seed=seed))


def test_every_combination_of_signs_is_counted():
    y = increments(9, 5) + 0.4
    squares = [np.sum((np.array(s) @ y) ** 2) for s in product((1, -1), repeat=9)]
    expected = np.mean(np.array(squares) >= squares[0] * (1 - 1e-9))
    assert p_value(draw_one_way(y, DRAWS, 0)) == expected
    straight = np.ones((9, 3))
    assert p_value(draw_one_way(straight, DRAWS, 0)) == least_p(9, DRAWS) == 2 / 2**9
    assert p_value(draw_one_way(np.ones((20, 3)), DRAWS, 0)) == least_p(20, DRAWS) == 1 / 200


@pytest.mark.parametrize("draw", [draw_neighbours, draw_noise_trend])
def test_random_orders_agree_with_all_of_them(draw):
    y = np.linspace(2, 1, 7)[:, np.newaxis] * increments(7, 4, seed=3)
    options = {"flip": False} if draw is draw_neighbours else {}
    every = [draw(y[list(o)], 1, 0, **options)[0] for o in permutations(range(7))]
    drawn = draw(y, 4999, 0, **options)
    assert drawn[0] == pytest.approx(every[0])
    exact = np.mean(np.array(every) >= every[0] - 1e-12)
    assert p_value(drawn) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4999))


@pytest.mark.parametrize("n", [8, 15, 30])
def test_walks_are_said_to_be_nothing_else(n):
    rejected = []
    for seed in range(100):
        y = increments(n, 3, seed) * (1 if seed % 2 else np.random.default_rng(seed).standard_t(3))
        found = decided(y, seed)
        names = ("noise_trend", "neighbours", "constant_drift")
        rejected.append([found.evidence[name] <= 0.01 for name in names])
    assert np.all(np.mean(rejected, axis=0) <= 0.04)


def test_what_few_checkpoints_show_is_said():
    moving = [decided(increments(15, 40, s) + 0.4, s) for s in range(20)]
    assert sum(found.code == "drifting" for found in moving) >= 18
    alike = lfilter([1.0], [1.0, -0.5], increments(60, 40), axis=0)[-15:]
    found = decided(alike)
    assert (found.code, found.evidence["neighbours"] <= 0.01) == ("too_short", True)
    assert found.evidence["neighbour_correlation"] > 0
    well = np.diff(lfilter([1.0], [1.0, -0.5], increments(80, 40), axis=0)[-31:], axis=0)
    found = decided(well)
    assert found.evidence["neighbours"] <= 0.01
    assert found.evidence["neighbour_correlation"] < 0
    falling = increments(15) * 10 ** -np.linspace(0, 1, 15)[:, np.newaxis]
    found = decided(falling)
    assert found.evidence["noise_trend"] <= 0.01
    assert found.evidence["noise_growth"] == pytest.approx(0.01, rel=1.5)


def test_memory_is_not_called_a_drift():
    codes = [
        decided(lfilter([1.0], [1.0, -0.5], increments(60, 2, s), axis=0)[-12:], s).code
        for s in range(60)
    ]
    assert codes.count("drifting") <= 4


def test_a_short_run_is_told_with_the_smallest_p_it_can_have():
    path = np.concatenate([np.zeros((1, 40)), increments(11).cumsum(axis=0)])
    said = analyze(xr.DataArray(path, dims=("step", "weight")), n_surrogates=999)["verdict"].attrs
    assert said["code"] == "too_short"
    assert "20 more" in said["sentence"]
    assert "the smallest possible is 0.00098" in said["sentence"]
    assert [gate["question"] for gate in said["gates"]][1:] == [
        "noise trend?", "neighbours correlated?", "one direction?"
    ]  # fmt: skip
    assert "12 checkpoints are too few" in said["unseen"][0]


GROWING = {
    "every weight by 2%": lambda t: 1.02**t,
    "turning over": lambda t: (-1.1) ** t,
    "round a circle": lambda t: 1.05**t * np.cos(t / 2),
}


@pytest.mark.parametrize("name", GROWING)
def test_exponential_growth_is_said_to_diverge(name):
    t = np.arange(100)
    path = GROWING[name](t)[:, np.newaxis] * np.ones(30) + 1e-3 * increments(100, 30)
    found = decided(np.diff(path, axis=0))
    assert found.code == "diverging"
    factor = {"every weight by 2%": 1.02, "turning over": 1.1, "round a circle": 1.05}[name]
    assert found.evidence["growth"] == pytest.approx(factor, rel=0.003)
    assert found.evidence["alternates"] == (name == "turning over")


@pytest.mark.parametrize(
    "path",
    [
        np.arange(100.0) ** 2, np.arange(100.0) ** 3, np.sin(np.arange(100) / 30),
        1 - 0.9 ** np.arange(100), np.log1p(np.arange(100)),
    ],
    ids=["square", "cube", "sine", "relaxation", "logarithm"],
)  # fmt: skip
def test_what_moves_otherwise_does_not_diverge(path):
    assert exponential_growth(np.diff(path[:, np.newaxis] * np.ones(5), axis=0)) is None


def test_noise_that_grows_does_not_diverge():
    for seed in range(50):
        scale = np.exp(np.arange(60) / 10)[:, np.newaxis]
        assert exponential_growth(increments(60, 1 + seed % 5, seed) * scale) is None


def test_two_sided_distances_are_from_the_middle_of_the_draws():
    np.testing.assert_allclose(two_sided(np.array([5.0, 1.0, 2.0, 3.0])), [3, 1, 0, 1])


def test_what_stands_still_and_then_jumps_grows_by_a_number():
    y = np.diff(np.outer([1.0] * 6 + [2.0] * 2, [1.0, 2.0]), axis=0)
    with np.errstate(all="raise"):
        assert np.isfinite(decided(y).evidence["noise_growth"])
