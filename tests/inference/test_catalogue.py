"""The records of the tests, and what a result tells of them."""

import numpy as np
import pytest

from trajscope.analysis.run import analyze
from trajscope.inference.decision.catalogue import BROWNIAN, DRIFT, NAMES, TESTS
from trajscope.simulate import brownian


def test_names_are_those_that_results_have_always_had():
    assert NAMES == (
        "noise_scale", "omnibus", "confined", "brownian", "constant_drift", "relaxation", "drift",
        "slow_drift", "early_excess", "slow_planes", "all_planes", "circulation", "line",
        "noise_trend", "neighbours",
    )  # fmt: skip


def test_a_test_has_a_statistic_of_its_own_or_is_doubled_of_tests_before_it():
    for place, test in enumerate(TESTS):
        assert bool(test.statistic) == bool(test.draws) == (not test.doubled_of), test.name
        assert set(test.doubled_of) <= set(NAMES[:place])


@pytest.mark.parametrize(
    ("test", "p_values", "expected"),
    [
        (BROWNIAN, {"omnibus": 0.02, "confined": 0.3}, 0.04),
        (BROWNIAN, {"omnibus": np.nan, "confined": 0.3}, 0.6),
        (DRIFT, {"constant_drift": 0.9, "relaxation": 0.8, "omnibus": 0.001}, 1.0),
        (DRIFT, {"constant_drift": np.nan, "relaxation": np.nan}, np.nan),
    ],
)
def test_twice_the_smaller_is_at_most_one_and_missing_where_both_are(test, p_values, expected):
    np.testing.assert_equal(test.twice_the_smaller(p_values), expected)


def test_a_result_says_in_words_what_its_tests_are():
    tests = analyze(brownian(40, 5, seed=0), n_surrogates=199)["tests"].to_dataset()
    assert tuple(tests["test"].values) == NAMES
    line = tests.sel(test="line")
    assert line["test_label"] == "spectral peak"
    assert line["null_label"] == "no spectral peak"
    for name in ("test_label", "null_label", "null_hypothesis", "statistic", "rejects"):
        assert tests[name].dims == ("test",)
        assert all(tests[name].values), name
    assert tests["statistic"].sel(test="drift") == (
        "twice the smaller p-value of constant_drift and relaxation"
    )
    shown = tests["test"].values[tests["in_layer_table"].values]
    assert list(shown) == ["omnibus", "confined", "constant_drift", "slow_planes", "all_planes"]
