import numpy as np
import pytest
import xarray as xr
from judged_results import with_verdict
from simulated_results import brownian, make_results

from trajscope.inference.decision.catalogue import TESTS
from trajscope.report.content.standings import standings, strongest
from trajscope.report.content.verdict import (
    codes,
    exponent_in_words,
    layers_in_words,
    verdict,
)


@pytest.fixture(scope="module")
def judged():
    return with_verdict(make_results(brownian(40, 100)))


def test_a_result_without_tests_has_no_verdict(results):
    assert verdict(results) is None
    assert codes(results) == {}
    assert standings(results["tests"].to_dataset(), 0.01) == ()


def test_statistics_are_measured_in_edges_of_their_null(judged):
    tests = judged["tests"].to_dataset().copy(deep=True)
    tests["position"].loc[{"group": "all", "test": "slow_planes"}] = 3.0
    tests["critical"].loc[{"group": "all", "test": "relaxation"}] = 0.0
    tests["p_adjusted"].loc[{"group": "all", "test": "slow_planes"}] = 0.005
    found = {one.test: one for one in standings(tests, 0.01)}
    # Those without a statistic of their own, and those that were not run, are not there.
    own = [test.name for test in TESTS if not test.doubled_of]
    assert list(found) == own[:-3]
    assert found["omnibus"].ratio == 0.5
    assert (found["slow_planes"].ratio, found["slow_planes"].spoke) == (2.0, True)
    assert np.isnan(found["relaxation"].ratio)


def test_of_tests_with_one_null_the_one_that_reaches_farthest_stands_for_it(judged):
    tests = judged["tests"].to_dataset().copy(deep=True)
    tests["position"].loc[{"group": "all", "test": "confined"}] = 3.0
    tests["p_adjusted"].loc[{"group": "all", "test": "slow_drift"}] = 0.02
    found = {one.null: one.test for one in strongest(standings(tests, 0.01))}
    assert list(found) == [
        "constant noise", "Brownian", "no drift", "no transient", "reversible",
    ]  # fmt: skip
    assert (found["Brownian"], found["no drift"]) == ("confined", "slow_drift")


def test_gates_say_answer_number_and_whether_a_null_was_rejected(results):
    told = [
        {"test": "length", "question": "long enough?", "answer": "yes", "p_value": None},
        {"test": "brownian", "question": "Brownian?", "answer": "no", "p_value": 0.002},
        {"test": "drift", "question": "drifting?", "answer": "no", "p_value": 0.3},
        {"test": "circulation", "question": "circulating?", "answer": "not asked", "p_value": None},
    ]
    gates = verdict(with_verdict(results, gates=told)).gates
    assert [(g.question, g.answer, g.finding.replace("\u00a0", " "), g.spoke) for g in gates] == [
        ("long enough?", "yes", "", False),
        ("Brownian?", "no", "p = 0.002", True),
        ("drifting?", "no", "p = 0.3", False),
        ("settled?", "yes", "30 correlation times", False),
        ("circulating?", "", "", False),
    ]


@pytest.mark.parametrize("damage", [{"gates": []}, {"evidence": {}}, {"unseen": []}])
def test_a_verdict_that_says_less_is_still_read(results, damage):
    assert verdict(with_verdict(results, **damage)).code == "confined"


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["confined"] * 4, "all 4: confined"),
        (["too_short"], "l0: too short"),
        (["confined", "circulating", "confined"], "1 circulating (l1); 2 confined"),
        (["a", "b", "b", "b", *["a"] * 9], "3 b (l1, l2, 1 more); 10 a"),
    ],
)
def test_the_verdicts_of_layers_are_counted_the_rarer_first(layers, words):
    groups = ["all", *(f"l{i}" for i in range(len(layers)))]
    part = xr.Dataset({"code": ("group", ["drifting", *layers])}, {"group": groups})
    assert layers_in_words(xr.DataTree.from_dict({"/verdict": part})) == words


def test_an_exponent_that_was_not_tested_is_not_said(judged):
    tests = judged["tests"].to_dataset().copy(deep=True)
    tests["diffusion_exponent"][:] = np.nan
    assert exponent_in_words(tests, 0.01) == ""
