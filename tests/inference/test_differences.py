from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.calibrate.cells import Cell, measure
from benchmarks.calibrate.differences import OF_DIFFERENCES
from benchmarks.calibrate.page import rate
from tests.trajectories import brownian
from trajscope.inference.comparison.blocks import (
    Shape,
    blocks_of_factor,
    blocks_of_gram,
    drift_pseudo_values,
    pseudo_values,
)
from trajscope.inference.comparison.differences import Moves, Run, differences, holm
from trajscope.inference.comparison.pair import compare_pair, pairs_of, shape_of
from trajscope.inference.decision.settings import DecisionSettings

FEW = DecisionSettings(n_surrogates=199)
RARE = 5e-4


def moves_of(x, n_weights=None):
    y = np.diff(x, axis=0)
    return Moves((y**2).sum(axis=1), n_weights or x.shape[1], gram=y @ y.T)


def run_of(label, x, steps=None):
    return Run(label, np.arange(len(x)) if steps is None else steps, {"all": moves_of(x)})


def table(found):
    names = ("p_value", "effect", "effect_low", "effect_high")
    return {
        str(q): {name: float(found[name].sel(quantity=q)[0, 0]) for name in names}
        for q in found["quantity"].values
    }


def naive_lagged(y, edges, length):
    return np.array(
        [
            [sum(y[t] @ y[t + h] for t in range(start, stop)) for h in range(length)]
            for start, stop in pairwise(edges)
        ]
    )


@pytest.mark.parametrize("scale", [1e-12, 1, 1e15])
def test_blocks_match_their_definition_whichever_matrix_they_come_from(scale):
    y = scale * np.random.default_rng(0).standard_normal((83, 5))
    length = 9
    edges = np.linspace(0, 74, 9).round().astype(int)
    expected = naive_lagged(y, edges, length)
    sums = np.array([y[a:b].sum(axis=0) for a, b in pairwise(edges)])
    for blocks in (blocks_of_factor(y, length), blocks_of_gram(y @ y.T, length)):
        np.testing.assert_array_equal(blocks.lengths, np.diff(edges))
        np.testing.assert_allclose(blocks.lagged, expected, rtol=1e-9, atol=1e-9 * scale**2)
        np.testing.assert_allclose(blocks.crossed, sums @ sums.T, rtol=1e-9, atol=1e-9 * scale**2)


def test_the_squared_drift_is_unbiased_and_leaves_each_block_out_in_turn():
    rng = np.random.default_rng(1)
    found = [blocks_of_factor(rng.standard_normal((90, 20)) + 0.1, 10).drifts for _ in range(400)]
    means = np.mean(found, axis=0)
    np.testing.assert_allclose(means, 20 * 0.1**2, atol=4 * np.std(found) / 20)
    y = rng.standard_normal((90, 3))
    blocks = blocks_of_factor(y, 10)
    s, n = np.add.reduceat(y[:80], np.arange(0, 80, 10), axis=0), 10
    for left in (0, 3):
        pairs = [
            (j, k) for j in range(8) for k in range(8) if abs(j - k) > 1 and left not in (j, k)
        ]
        expected = sum(s[j] @ s[k] for j, k in pairs) / (len(pairs) * n * n)
        assert blocks.drifts[left] == pytest.approx(expected)


def test_pseudo_values_are_those_of_leaving_one_block_out():
    shape = Shape(10)
    blocks = blocks_of_factor(np.random.default_rng(2).standard_normal((90, 4)), 10)
    sums = blocks.products @ shape.weights
    found = pseudo_values(sums, blocks.lengths, shape)

    def statistic(keep):
        return shape.logarithms(sums[keep].sum(axis=0) / blocks.lengths[keep].sum())

    every = np.arange(8)
    for j in every:
        expected = 8 * statistic(every) - 7 * statistic(every[every != j])
        np.testing.assert_allclose(found[j], expected)
    assert drift_pseudo_values(blocks).shape == (8, 1)


def test_the_variance_ratio_and_the_spectrum_of_white_noise_are_flat():
    y = np.random.default_rng(3).standard_normal((4000, 20))
    shape = Shape(40)
    blocks = blocks_of_factor(y, 40)
    means = pseudo_values(blocks.products @ shape.weights, blocks.lengths, shape).mean(axis=0)
    assert means[0] == pytest.approx(np.log(20), abs=0.02)
    np.testing.assert_allclose(means[1:], 0, atol=0.1)


def test_a_scaled_run_differs_in_its_variance_alone_and_by_the_square():
    x = brownian(200, 30)
    found = table(differences([run_of("a", x), run_of("b", 3 * x)], FEW))
    assert found["increment_variance"]["effect"] == pytest.approx(9)
    assert found["increment_variance"]["p_value"] <= 0.01
    for quantity in ("variance_ratio", "spectrum_shape"):
        assert found[quantity]["effect"] == pytest.approx(1)
        assert found[quantity]["p_value"] == 1
    assert found["drift"]["effect"] == pytest.approx(0, abs=1e-12)


def test_the_order_of_two_runs_turns_effects_around():
    a, b = run_of("a", brownian(200, 30)), run_of("b", 1.3 * brownian(250, 30, 1))
    one, other = (table(differences(pair, FEW)) for pair in ([a, b], [b, a]))
    for quantity in ("increment_variance", "variance_ratio", "spectrum_shape"):
        assert one[quantity]["effect"] == pytest.approx(1 / other[quantity]["effect"])
    assert one["drift"]["effect"] == pytest.approx(-other["drift"]["effect"])


def test_rotating_the_weights_changes_nothing():
    x, y = brownian(150, 12), brownian(150, 12, 1)
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12))).Q
    one = differences([run_of("a", x), run_of("b", y)], FEW)
    other = differences([run_of("a", x @ turn), run_of("b", y)], FEW)
    np.testing.assert_allclose(one["p_value"], other["p_value"])
    np.testing.assert_allclose(one["effect"], other["effect"], atol=1e-9)


def test_p_values_are_those_of_holm_over_pairs():
    p = np.array([0.01, 0.04, 0.03, np.nan]).reshape(4, 1, 1)
    adjusted = holm(p)[:, 0, 0]
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, np.nan])


def test_a_layer_is_tested_among_all_layers():
    rng = np.random.default_rng(8)
    first, second = rng.standard_normal((2, 12, 120, 8)).cumsum(axis=2)
    second[3] *= 2
    runs = [
        Run(label, np.arange(120), {f"layer{k}": moves_of(x) for k, x in enumerate(each)})
        for label, each in (("a", first), ("b", second))
    ]
    found = differences(runs, DecisionSettings(n_surrogates=999))["p_value"][0]
    own = found.sel(quantity="increment_variance")
    assert float(own[3]) <= 0.01
    assert int((own <= 0.05).sum()) == 1
    alone = differences(
        [Run(r.label, r.steps, {"layer3": r.moves["layer3"]}) for r in runs],
        DecisionSettings(n_surrogates=999),
    )["p_value"][0, 0].sel(quantity="increment_variance")
    assert float(alone) <= float(own[3])


def test_effects_of_one_pair_are_inside_their_intervals():
    a, b = (blocks_of_factor(np.diff(brownian(100, 9, seed), axis=0), 11) for seed in (0, 1))
    found = compare_pair(a, b, shape_of((99, 99)), 199, seed=0)
    for name, one in found.items():
        assert one.statistic.shape == (200,), name
        assert one.error > 0


EQUAL = (
    Cell("equal", "Brownian, t3", 200, n_steps=200, second_steps=600),
    Cell("equal", "OU, tau = 10", 200),
    Cell("equal", "Brownian, isotropic", 200, n_steps=64),
)


@pytest.mark.parametrize("cell", EQUAL, ids=lambda cell: cell.key)
def test_equal_runs_are_told_apart_no_more_often_than_the_level(cell):
    runs = measure(cell, 0, cell.n_runs)
    for test in OF_DIFFERENCES:
        for level in (0.01, 0.05):
            found = rate(runs, test, level)
            most = binom.ppf(1 - RARE, found.n, level)
            assert found.rejected <= most, f"{test}: {found.rejected} of {found.n} at {level}"


def test_many_runs_are_each_compared_with_the_first_and_few_with_each_other():
    assert pairs_of(3) == [(0, 1), (0, 2), (1, 2)]
    assert len(pairs_of(8)) == 28
    assert pairs_of(9) == [(0, other) for other in range(1, 9)]


def test_a_difference_among_many_pairs_is_drawn_for_until_it_can_be_seen():
    scales = (1, 1, 1, 1, 1, 1, 5)
    runs = [run_of(str(k), s * brownian(100, 20, k)) for k, s in enumerate(scales)]
    found = differences(runs, FEW)
    assert found.attrs["n_surrogates"] == 4 * 21 / 0.01 - 1
    own = found["p_value"].sel(group="all", quantity="increment_variance")
    assert (own.where(own["second"] == "6", drop=True) <= 0.01).all()
